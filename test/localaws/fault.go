package localaws

import (
	"bytes"
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Fault refuses calls, or holds them. The fields up to Contains say which calls;
// an empty one matches any.
type Fault struct {
	// Service is as in a policy, as in "ssm" or "cloudwatch".
	Service string
	// Action is the API's name or the policy's: "Invoke" or "InvokeFunction".
	Action string
	Region string
	// Contains has to occur in the body or the address of the request, such as
	// an instance's id.
	Contains string

	// Status and Code refuse the call: 400 and "ThrottlingException". A Status
	// of 0 with a Code means 400.
	Status        int
	Code, Message string
	// Until holds the call until it is closed; nil holds nothing.
	Until <-chan struct{}
	// Times is how many calls break; 0 means all until the fault is removed.
	Times int
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
	hits   int // guarded by faults.mu
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
	all []*Injected
}

// take finds the fault of a call, nil for none, and counts it.
func (fs *faults) take(q *request) *Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for n, i := range fs.all {
		if !i.fault.matches(q) {
			continue
		}
		if i.hits++; i.hits == i.fault.Times {
			fs.all = slices.Delete(fs.all, n, n+1)
		}
		return &i.fault
	}
	return nil
}

func (f *Fault) matches(q *request) bool {
	switch {
	case f.Service != "" && f.Service != q.policyService() && f.Service != q.signed,
		f.Action != "" && !strings.EqualFold(f.Action, q.action) && !strings.EqualFold(f.Action, q.policyAction()),
		f.Region != "" && f.Region != q.region:
		return false
	}
	return f.Contains == "" || bytes.Contains(q.body, []byte(f.Contains)) ||
		strings.Contains(q.http.URL.Path, f.Contains) || strings.Contains(q.http.URL.RawQuery, f.Contains)
}

// refuse is the fault's answer to a call; nil lets it go on.
func (f *Fault) refuse(ctx context.Context, q *request) *response {
	if f.Until != nil {
		select {
		case <-f.Until:
		case <-ctx.Done():
		}
	}
	if f.Code == "" && f.Status == 0 {
		return nil
	}
	return q.refuse(cmp.Or(f.Status, http.StatusBadRequest), cmp.Or(f.Code, "InternalFailure"), cmp.Or(f.Message, "A fault was asked for."))
}
