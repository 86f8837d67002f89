package checks

import (
	"context"
	"errors"
	"time"

	"firstline/internal/fault"
)

// series is how often, how long and how far apart a check asks its target.
type series struct {
	attempts          int
	timeout, interval time.Duration
	// stopOnError: an error ends the series even if it is worth a retry.
	stopOnError bool
}

// slack is what a series takes beyond its attempts and pauses, on a machine
// with a fraction of a core.
const slack = time.Second

func (s series) budget() time.Duration {
	return time.Duration(s.attempts)*s.timeout + time.Duration(s.attempts-1)*s.interval + slack
}

// targetFault is what an attempt returns when the target is at fault and a
// reboot may cure it.
type targetFault struct {
	reason string
	// noConnection: the attempt ran out of time before any connection stood.
	// That is how a dead machine looks, and also how our own missing way out
	// looks.
	noConnection bool
	// silent: the attempt ran out of time, and not one byte had come.
	silent bool
}

func (f *targetFault) Error() string { return f.reason }

// staleError is what an attempt returns when the target refused a credential
// that may be out of date, which says nothing about the target.
type staleError struct {
	reason string
	// renew gets the current one. It bounds its time itself.
	renew func(ctx context.Context) error
}

func (e *staleError) Error() string { return e.reason }

// answer is what a series of attempts came to.
type answer struct {
	attempts int
	passed   bool
	// reason is what the last attempt saw.
	reason string
	// noConnection: every attempt ended as targetFault.noConnection describes.
	noConnection bool
	// silent: the same of targetFault.silent.
	silent bool
}

// run asks until an attempt passes or all are used up. try returns what it saw
// and nil for a pass, a *targetFault, a *staleError, or an error with a kind.
// After a *staleError there is one attempt more, at once, with the renewed
// credential. Errors worth a retry count as attempts, others end the series.
// The target is found at fault only when every single attempt says so, or all
// but the one with the stale credential.
//
// No attempt begins with less time than it may take, and what an attempt says
// after ctx has ended is not believed unless it passed: the target is never
// blamed for our own deadline.
func (s series) run(ctx context.Context, op string, try func(context.Context) (string, error)) (answer, error) {
	a := answer{noConnection: true, silent: true}
	var unknown error
	limit, atOnce := s.attempts, true
	for a.attempts < limit {
		if !atOnce {
			if err := s.pause(ctx, op, a.reason); err != nil {
				return a, err
			}
		}
		if err := enoughTime(ctx, op, s.timeout, a.reason); err != nil {
			return a, err
		}
		atOnce = false
		a.attempts++
		attempt, cancel := context.WithTimeout(ctx, s.timeout)
		saw, err := try(attempt)
		cancel()
		if err == nil {
			a.passed, a.silent, a.reason = true, false, saw
			return a, nil
		}
		if ctx.Err() != nil {
			return a, outOfTime(ctx, op, a.reason)
		}
		if stale, ok := errors.AsType[*staleError](err); ok {
			a.reason = stale.reason
			a.noConnection, a.silent = false, false
			if err := stale.renew(ctx); err != nil {
				return a, err
			}
			limit++
			atOnce = true
			continue
		}
		if target, ok := errors.AsType[*targetFault](err); ok {
			a.reason = target.reason
			a.noConnection = a.noConnection && target.noConnection
			a.silent = a.silent && target.silent
			continue
		}
		a.reason = err.Error()
		a.noConnection, a.silent = false, false
		unknown = err
		if s.stopOnError || fault.KindOf(err) != fault.Unavailable {
			break
		}
	}
	return a, unknown
}

func (s series) pause(ctx context.Context, op, seen string) error {
	// Rather say so now than after the pause.
	if err := enoughTime(ctx, op, s.interval+s.timeout, seen); err != nil {
		return err
	}
	timer := time.NewTimer(s.interval)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return outOfTime(ctx, op, seen)
	case <-timer.C:
		return nil
	}
}

func enoughTime(ctx context.Context, op string, need time.Duration, seen string) error {
	if ctx.Err() != nil {
		return outOfTime(ctx, op, seen)
	}
	deadline, ok := ctx.Deadline()
	if left := time.Until(deadline); ok && left < need {
		return fault.New(fault.Unavailable, op, "our own time is up: %v left, and the next attempt may need %v%s",
			left.Round(time.Millisecond), need, soFar(seen))
	}
	return nil
}

func outOfTime(ctx context.Context, op, seen string) error {
	return fault.New(fault.Unavailable, op, "our own time is up: %w%s", context.Cause(ctx), soFar(seen))
}

func soFar(seen string) string {
	if seen == "" {
		return ""
	}
	return " (so far: " + seen + ")"
}
