package checks

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"firstline/internal/incident"
)

// What a check may need beyond its attempts and pauses. README.md has the sum,
// budget_test.go computes it, and so does the Terraform module settings
// (problems.tf), which refuses what the function has no time for.
const (
	// lookupAllowance bounds DescribeInstances, the SDK's retries included.
	lookupAllowance = 10 * time.Second
	// elsewhereAllowance bounds DescribeInstances where it only tells whether an
	// address is the instance's.
	elsewhereAllowance = 5 * time.Second
	// secretAllowance bounds reading the parameters of secret_headers.
	secretAllowance = 5 * time.Second
	// egressAllowance bounds one proof of our own connectivity.
	egressAllowance = 3 * time.Second
	// healthCheckAllowance bounds one attempt at Route 53: its health check, its
	// reports, and whether they are about the instance, the SDK's retries included.
	healthCheckAllowance = 10 * time.Second
)

// series is how often, how long and how far apart a check asks its target.
type series struct {
	attempts          int
	timeout, interval time.Duration
}

func newSeries(attempts int, timeoutSeconds, intervalSeconds float64) series {
	return series{attempts: attempts, timeout: seconds(timeoutSeconds), interval: seconds(intervalSeconds)}
}

// seconds rounds a setting's time to milliseconds.
func seconds(n float64) time.Duration {
	return time.Duration(math.Round(1000*n)) * time.Millisecond
}

// tryFunc returns what it saw; the cause is nil for a pass.
type tryFunc func(context.Context, *attempt) (saw string, c *cause)

// answer is what a series of attempts came to.
type answer struct {
	attempts int
	// cause is nil for a pass; then saw is what passed.
	cause *cause
	saw   string
	// answered: a byte came in one of the attempts.
	answered bool
	// remotes are the addresses that the newest attempt asked; see attempt.
	remotes []netip.Addr
	// reach ranks the attempt that gave the cause; see weigh.
	reach int
}

// run asks until an attempt passes, all are used up, or a cause is final. The
// target has failed only when every single attempt says so.
//
// No attempt begins with less time than it may take, and what an attempt says
// after ctx has ended is not believed unless it passed: the target is never
// blamed for our own deadline.
func (s series) run(ctx context.Context, try tryFunc) answer {
	var a answer
	var pause time.Duration
	for a.attempts < s.attempts {
		if err := s.wait(ctx, pause); err != nil {
			return a.outOfTime(err)
		}
		pause = s.interval
		a.attempts++
		p := &attempt{timeout: s.timeout}
		saw, c := s.once(ctx, p, try)
		a.answered, a.remotes = a.answered || p.heard(), p.remotes
		if c == nil {
			a.cause, a.saw = nil, saw
			return a
		}
		if err := ended(ctx); err != nil {
			return a.outOfTime(err)
		}
		a.weigh(c, p.heard())
		if c.final {
			return a
		}
	}
	return a
}

func (s series) once(ctx context.Context, p *attempt, try tryFunc) (string, *cause) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	defer p.close()
	return try(ctx, p)
}

func (a answer) outOfTime(why error) answer {
	so := ""
	if a.cause != nil {
		so = " (so far: " + a.cause.text + ")"
	}
	a.cause = blind("our own time is up: %v%s", why, so)
	return a
}

// unreached: every attempt timed out before any connection to a public address
// stood. A dead machine looks like that, and so does our own broken network. No
// other cause weighs less.
func (a answer) unreached() bool {
	return a.cause != nil && a.cause.connection == incident.NoConnection && !a.answered && !slices.ContainsFunc(a.remotes, private)
}

// weigh keeps the cause that says most, the newest of equals: what is not the
// target's failure before what is, kinds in their order, and of failures the
// one that got furthest.
func (a *answer) weigh(c *cause, heard bool) {
	reach := slices.Index(byReach, c.connection)
	if heard {
		reach = len(byReach)
	}
	if c.outcome == incident.Unknown {
		reach = len(byReach) + len(incident.Kinds) - slices.Index(incident.Kinds, c.kind)
	}
	if a.cause == nil || reach >= a.reach {
		a.cause, a.reach = c, reach
	}
}

// byReach is how connections without a byte end, the one that got furthest last.
var byReach = []incident.Connection{
	incident.NoConnection, incident.Refused, incident.ClosedEarly, incident.Silent,
}

// wait pauses before an attempt, unless ctx leaves too little time for both.
func (s series) wait(ctx context.Context, pause time.Duration) error {
	if err := ended(ctx); err != nil {
		return err
	}
	need := pause + s.timeout
	deadline, ok := ctx.Deadline()
	if left := time.Until(deadline); ok && left < need {
		return fmt.Errorf("%v left, and the next attempt may need %v", left.Round(time.Millisecond), need)
	}
	select {
	case <-ctx.Done():
	case <-time.After(pause):
	}
	return ended(ctx)
}

// ended returns why ctx is over, also where its own timer has not said so yet: a
// timer of the attempt may fire a moment before.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ctx.Err() == nil && ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return context.Cause(ctx)
}
