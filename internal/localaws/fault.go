package localaws

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Drop says at which point a fault closes the connection without an answer.
type Drop int

const (
	// DropNothing answers the call.
	DropNothing Drop = iota
	// DropRequest loses the request: it never reaches AWS.
	DropRequest
	// DropAnswer loses the answer: AWS has done what it was asked to.
	DropAnswer
)

// Kill says at which point a fault ends the process of the function that calls.
type Kill int

const (
	// KillNothing ends no process.
	KillNothing Kill = iota
	// KillBefore ends it before AWS hears of the call.
	KillBefore
	// KillAfter ends it when AWS has done what it was asked to, before it can
	// know.
	KillAfter
)

// Fault breaks calls. The fields up to Skip say which calls; an empty one
// matches any.
type Fault struct {
	// Service is as in a policy, as in "ssm" or "cloudwatch".
	Service string
	// Action is the API's name or the policy's: "Invoke" or "InvokeFunction".
	Action string
	Region string
	// Role is the ARN of the role that calls, or a part of it.
	Role string
	// Contains has to occur in the body or the address of the request, such as
	// an instance's id.
	Contains string
	// During has to occur, all of it, in the event that the calling function is
	// at work on, as compact JSON: `"step":"reboot"`, say, and an instance's id.
	// On lambda:Invoke it is the event that is handed to the function. Other
	// calls of others than functions do not match.
	During []string
	// Skip is how many of those calls work before the first one breaks.
	Skip int

	// Status and Code refuse the call: 400 and "ThrottlingException". A Status
	// of 0 with a Code means 400.
	//
	// On lambda:Invoke the codes "Sandbox.Timedout" (out of time),
	// "Runtime.ExitError" and "Runtime.OutOfMemory" refuse nothing: the function
	// starts, is killed after Delay in the middle of its work, and the
	// invocation ends with that error.
	Status        int
	Code, Message string
	// Body answers with these bytes and Status (default 200) whatever was asked.
	Body string
	// Drop closes the connection.
	Drop Drop
	// Kill ends the process of the function that makes the call; calls of others
	// do not match. The invocation that it was at work on ends with Code, which
	// is one of those above, Runtime.ExitError if empty.
	Kill Kill
	// Hang leaves the caller without an answer until it gives up. AWS has done
	// what it was asked to where Drop is DropAnswer, and never hears of it else.
	Hang bool
	// Delay passes before anything else. A fault with nothing but a delay makes
	// the call slow.
	Delay time.Duration
	// Until holds the call until it is closed; nil holds nothing.
	Until <-chan struct{}
	// Times is how many calls break; 0 means all until the fault is removed.
	Times int
}

// kills says whether the fault is the end of a running function.
func (f *Fault) kills() bool {
	return f.Code == errTimedOut || strings.HasPrefix(f.Code, "Runtime.")
}

// answer is what the fault answers with, or nil when the call goes on.
func (f *Fault) answer(q *request) *response {
	switch {
	case f.Drop != DropNothing:
		return nil
	case f.Body != "":
		status := f.Status
		if status == 0 {
			status = http.StatusOK
		}
		return &response{status: status, header: http.Header{"Content-Type": {"text/plain"}}, body: []byte(f.Body)}
	case q.is("lambda", "Invoke") && f.kills():
		return nil
	case f.Code != "" || f.Status != 0:
		status := f.Status
		if status == 0 {
			status = http.StatusBadRequest
		}
		code := f.Code
		if code == "" {
			code = "InternalFailure"
		}
		message := f.Message
		if message == "" {
			message = "A fault was asked for."
		}
		return q.refuse(status, code, message)
	}
	return nil
}

// AddFault breaks calls from now on, until they were Times or the fault is
// removed. Of several faults that match a call, the oldest takes effect.
func (a *AWS) AddFault(f Fault) *Injected {
	i := &Injected{fault: f, faults: &a.faults}
	a.faults.mu.Lock()
	defer a.faults.mu.Unlock()
	a.faults.all = append(a.faults.all, i)
	return i
}

// Injected is a fault that was added.
type Injected struct {
	fault  Fault
	faults *faults
	seen   int // calls that match; guarded by faults.mu, as hits
	hits   int
}

// Hits is how many calls the fault has broken so far.
func (i *Injected) Hits() int {
	i.faults.mu.Lock()
	defer i.faults.mu.Unlock()
	return i.hits
}

// Remove lets calls work again.
func (i *Injected) Remove() {
	i.faults.mu.Lock()
	defer i.faults.mu.Unlock()
	i.faults.all = slices.DeleteFunc(i.faults.all, func(other *Injected) bool { return other == i })
}

type faults struct {
	mu  sync.Mutex
	all []*Injected // those that may still break a call
}

// take finds the fault of a call, if there is one, and counts it.
func (fs *faults) take(q *request, role string) *Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for n, i := range fs.all {
		if !i.fault.matches(q, role) {
			continue
		}
		if i.seen++; i.seen <= i.fault.Skip {
			continue
		}
		if i.hits++; i.hits == i.fault.Times {
			fs.all = slices.Delete(fs.all, n, n+1)
		}
		return &i.fault
	}
	return nil
}

func (f *Fault) matches(q *request, role string) bool {
	if f.Service != "" && f.Service != q.policyService() && f.Service != q.signed {
		return false
	}
	if f.Action != "" && !strings.EqualFold(f.Action, q.action) && !strings.EqualFold(f.Action, q.policyAction()) {
		return false
	}
	if f.Region != "" && f.Region != q.region {
		return false
	}
	if f.Role != "" && !strings.Contains(role, f.Role) {
		return false
	}
	if f.Kill != KillNothing && q.process == nil {
		return false
	}
	if len(f.During) > 0 {
		var event []byte
		if q.is("lambda", "Invoke") {
			event = compact(q.body)
		} else if q.process != nil {
			event = q.process.event()
		}
		if event == nil || slices.ContainsFunc(f.During, func(words string) bool { return !bytes.Contains(event, []byte(words)) }) {
			return false
		}
	}
	return f.Contains == "" || bytes.Contains(q.body, []byte(f.Contains)) ||
		strings.Contains(q.http.URL.Path, f.Contains) || strings.Contains(q.http.URL.RawQuery, f.Contains)
}
