package checks

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"firstline/internal/incident"
)

// series is how often, how long and how far apart a check asks its target.
type series struct {
	attempts          int
	timeout, interval time.Duration
}

// attempt returns what it saw and nil for a pass, else an error with a *cause.
type attempt func(context.Context, *progress) (string, error)

// once makes one attempt within the series' time-out.
func (s series) once(ctx context.Context, try attempt) (string, *progress, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	p := &progress{timeout: s.timeout}
	saw, err := try(ctx, p)
	return saw, p, err
}

// answer is what a series of attempts came to.
type answer struct {
	attempts int
	// cause is nil for a pass; then saw is what passed.
	cause *cause
	saw   string
	// answered: a byte came in one of the attempts.
	answered bool
	// remotes are the addresses that the newest attempt asked: the one that
	// accepted the connection, else all it tried.
	remotes []netip.Addr
	// reach ranks the attempt that gave the cause; see weigh.
	reach int
}

// run asks until an attempt passes, all are used up, or a cause is final. After a
// cause with a renew there is one attempt more, at once, with the renewed
// credential. The target has failed only when every single attempt says so, or
// all but the one with the outdated credential.
//
// No attempt begins with less time than it may take, and what an attempt says
// after ctx has ended is not believed unless it passed: the target is never
// blamed for our own deadline.
func (s series) run(ctx context.Context, try attempt) answer {
	var a answer
	var pause time.Duration
	for limit := s.attempts; a.attempts < limit; {
		if err := s.wait(ctx, pause); err != nil {
			return a.outOfTime(err)
		}
		a.attempts++
		saw, p, err := s.once(ctx, try)
		now := p.now()
		a.answered, a.remotes = a.answered || now.byteCame, now.remotes
		if err == nil {
			a.cause, a.saw = nil, saw
			return a
		}
		if err := ended(ctx); err != nil {
			return a.outOfTime(err)
		}
		c := causeOf(err)
		if c.renew != nil {
			if c := c.renew(); c != nil {
				a.cause = c
				return a
			}
			limit++
			pause = 0
			continue
		}
		a.weigh(c, now.byteCame)
		if c.final {
			return a
		}
		pause = s.interval
	}
	return a
}

func (a answer) outOfTime(why error) answer {
	so := ""
	if a.cause != nil {
		so = " (so far: " + a.cause.text + ")"
	}
	a.cause = blind("our own time is up: %v%s", why, so)
	return a
}

func (a answer) reason() string {
	if a.cause == nil {
		return ""
	}
	return a.cause.text
}

// unreached: every attempt ended as cause.unreached describes. No other cause
// weighs less.
func (a answer) unreached() bool { return a.cause != nil && a.cause.unreached && !a.answered }

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
// connection's deadline may fire a moment before.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ctx.Err() == nil && ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return context.Cause(ctx)
}
