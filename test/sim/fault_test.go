package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/smithy-go"

	"firstline/internal/store"
	"firstline/test/dynamo"
)

// invocation is one run of the function.
type invocation struct {
	id        string
	step      string
	instance  string
	execution *execution
	// troubled: its calls may fail. planned is a scene's fault, dead that the
	// function was killed.
	troubled bool
	planned  *plannedFault
	dead     bool
	kill     context.CancelFunc
	calls    map[string]int
	// waits counts the calls to the table that took their time.
	waits map[string]int
	// after is what happens to a call of the table once it has had its effect.
	after map[string]func() error
}

// plannedFault is a fault of a scene: what happens to the next call of a kind in
// the next invocation of a step.
type plannedFault struct {
	step, call string
	kind       faultKind
}

type faultKind string

const (
	killedBefore faultKind = "killed-before"
	killedAfter  faultKind = "killed-after"
	lostAnswer   faultKind = "lost"
	refusedCall  faultKind = "error"
	throttled    faultKind = "throttled"
	hung         faultKind = "hung"
)

var faultKinds = []faultKind{killedBefore, killedAfter, lostAnswer, refusedCall, throttled, hung}

// troubledCalls is the share of the calls of a troubled invocation that fail.
const troubledCalls = .3

type invocationKey struct{}

func invocationOf(ctx context.Context) *invocation {
	i, _ := ctx.Value(invocationKey{}).(*invocation)
	return i
}

var (
	errKilled = errors.New("the function was killed")
	errReset  = errors.New("connection reset by peer")
)

func awsError(code string) error {
	return &smithy.GenericAPIError{Code: code, Message: "the simulation says so"}
}

// fault says what happens to a call. mu is held.
func (w *world) fault(i *invocation, call string) faultKind {
	i.calls[call]++
	n := i.calls[call]
	name, _, _ := strings.Cut(call, " ")
	if p := i.planned; p != nil && (p.call == "" || p.call == name) {
		i.planned, w.faultAt = nil, time.Now()
		return p.kind
	}
	if !i.troubled || !w.chance(troubledCalls, i.id, call, n) {
		return ""
	}
	kind := faultKinds[int(w.draw(i.id, call, n, "kind")*float64(len(faultKinds)))]
	w.count["fault "+string(kind)]++
	return kind
}

// enter is called before a call to a service has its effect; after, once it has
// had it. call is its name and, behind a blank, what it is about. Calls of people
// and of the world have no faults.
func (w *world) enter(ctx context.Context, service, call string) (after func() error, err error) {
	i := invocationOf(ctx)
	if i == nil {
		return func() error { return nil }, nil
	}
	if i.troubled {
		// Of calls made side by side, one that is killed keeps away those that come
		// after it: which these are is to be the same each time.
		time.Sleep(untilPhase(time.Now(), w.phaseOf(i.id+call)))
	}
	w.mu.Lock()
	if i.dead {
		w.mu.Unlock()
		return nil, errKilled
	}
	kind := w.fault(i, call)
	if kind != "" {
		w.logf("fault: %s in %s of %s", kind, call, i.id)
	}
	if kind == killedBefore {
		i.die()
	}
	isOut := w.isOut(service)
	w.mu.Unlock()
	if err := ctx.Err(); err != nil && kind != killedBefore {
		return nil, err
	}
	switch {
	case kind == killedBefore:
		return nil, errKilled
	case kind == hung:
		<-ctx.Done()
		return nil, ctx.Err()
	case kind == refusedCall:
		return nil, errReset
	case kind == throttled, isOut:
		return nil, awsError("ThrottlingException")
	}
	return func() error { return w.leave(i, kind) }, nil
}

func (w *world) leave(i *invocation, kind faultKind) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch kind {
	case killedAfter:
		i.die()
		return errKilled
	case lostAnswer:
		return errReset
	}
	return nil
}

func (i *invocation) die() {
	i.dead = true
	i.kill()
}

func (w *world) tableClient(context.Context) (store.API, error) { return w.db, nil }

func (w *world) beforeTable(ctx context.Context, c dynamo.Call) error {
	call := "table:" + c.Op + " " + strings.Join(c.Keys, " ")
	w.wait(ctx, call)
	after, err := w.enter(ctx, "table", call)
	if err != nil {
		return err
	}
	if i := invocationOf(ctx); i != nil {
		w.mu.Lock()
		i.after[call] = after
		w.mu.Unlock()
	}
	return nil
}

// wait lets a call of the function to the table take its time, so that writers
// meet.
func (w *world) wait(ctx context.Context, call string) {
	i := invocationOf(ctx)
	if i == nil || w.tableTakes == 0 {
		return
	}
	w.mu.Lock()
	i.waits[call]++
	about := fmt.Sprintf("%s %s %d takes", i.id, call, i.waits[call])
	span := time.Duration(w.draw(about) * float64(w.tableTakes))
	wake := untilPhase(time.Now().Add(span), w.phaseOf(about))
	w.mu.Unlock()
	time.Sleep(wake)
}

func (w *world) afterTable(ctx context.Context, c dynamo.Call) error {
	i := invocationOf(ctx)
	if i == nil {
		return nil
	}
	call := "table:" + c.Op + " " + strings.Join(c.Keys, " ")
	w.mu.Lock()
	after := i.after[call]
	delete(i.after, call)
	w.mu.Unlock()
	if after == nil {
		return nil
	}
	return after()
}
