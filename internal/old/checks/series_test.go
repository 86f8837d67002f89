package checks

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"firstline/internal/fault"
)

func TestSeries(t *testing.T) {
	down := &targetFault{reason: "down"}
	unreached := &targetFault{reason: "unreached", noConnection: true}
	ours := fault.New(fault.Unavailable, "connect", "no route")
	wrong := fault.New(fault.InvalidInput, "connect", "no such name")
	three := series{attempts: 3, timeout: 3 * time.Second, interval: 2 * time.Second}
	for _, tc := range []struct {
		name         string
		series       series
		answers      []error // nil: a pass
		attempts     int
		passed       bool
		noConnection bool
		kind         fault.Kind
		took         time.Duration
	}{
		{"passes at once", three, []error{nil}, 1, true, true, "", 0},
		{"passes in the end", three, []error{down, ours, nil}, 3, true, false, "", 4 * time.Second},
		{"all fail", three, []error{down, down, down}, 3, false, false, "", 4 * time.Second},
		{"none connects", three, []error{unreached, unreached, unreached}, 3, false, true, "", 4 * time.Second},
		{"one connects", three, []error{unreached, down, unreached}, 3, false, false, "", 4 * time.Second},
		{"one could not tell", three, []error{down, ours, down}, 3, false, false, fault.Unavailable, 4 * time.Second},
		{"none could tell", three, []error{ours, ours, ours}, 3, false, false, fault.Unavailable, 4 * time.Second},
		{"no use to go on", three, []error{down, wrong}, 2, false, false, fault.InvalidInput, 2 * time.Second},
		{"told to stop on errors", series{attempts: 3, stopOnError: true}, []error{down, ours}, 2, false, false, fault.Unavailable, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, n := time.Now(), 0
				a, err := tc.series.run(t.Context(), "look", func(context.Context) (string, error) {
					n++
					return "up", tc.answers[n-1]
				})
				if n != tc.attempts || a.attempts != tc.attempts {
					t.Errorf("%d attempts, %d told, want %d", n, a.attempts, tc.attempts)
				}
				if a.passed != tc.passed || !tc.passed && a.noConnection != tc.noConnection {
					t.Errorf("got %+v, want passed %t, no connection %t", a, tc.passed, tc.noConnection)
				}
				if took := time.Since(start); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				switch {
				case tc.kind != "":
					wantKind(t, err, tc.kind)
				case err != nil:
					t.Errorf("error %v, want none", err)
				}
			})
		})
	}
}

// Whatever the reason why our time is up, the target is not blamed for it.
func TestSeriesOwnTime(t *testing.T) {
	s := series{attempts: 3, timeout: 3 * time.Second, interval: 2 * time.Second}
	wait := func(ctx context.Context) (string, error) {
		<-ctx.Done()
		return "", &targetFault{reason: "timed out"}
	}
	for _, tc := range []struct {
		name     string
		left     time.Duration
		cancel   time.Duration
		try      func(context.Context) (string, error)
		attempts int
		took     time.Duration
		words    string
	}{
		{"too little for one attempt", 2 * time.Second, 0, wait, 0, 0, "2s left, and the next attempt may need 3s"},
		{"too little for the next", 9 * time.Second, 0, wait, 2, 8 * time.Second, "1s left, and the next attempt may need 5s (so far: timed out)"},
		{"cancelled in an attempt", time.Minute, time.Second, wait, 1, time.Second, "context canceled"},
		{"cancelled in a pause", time.Minute, 4 * time.Second, wait, 1, 4 * time.Second, "context canceled (so far: timed out)"},
		{"cancelled before", time.Minute, -1, wait, 0, 0, "context canceled"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tc.left)
				defer cancel()
				switch {
				case tc.cancel > 0:
					time.AfterFunc(tc.cancel, cancel)
				case tc.cancel < 0:
					cancel()
				}
				start := time.Now()
				a, err := s.run(ctx, "look", tc.try)
				wantKind(t, err, fault.Unavailable, "look: our own time is up", tc.words)
				if _, blamed := errors.AsType[*targetFault](err); blamed || a.passed || a.attempts != tc.attempts {
					t.Errorf("got %+v after %v", a, err)
				}
				if took := time.Since(start); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
			})
		})
	}
}

func TestBudgetIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := series{attempts: 3, timeout: 3 * time.Second, interval: 2 * time.Second}
		ctx, cancel := context.WithTimeout(t.Context(), s.budget())
		defer cancel()
		a, err := s.run(ctx, "look", func(ctx context.Context) (string, error) {
			<-ctx.Done()
			time.Sleep(slack / 4)
			return "", &targetFault{reason: "timed out"}
		})
		if err != nil || a.attempts != 3 || !strings.Contains(a.reason, "timed out") {
			t.Errorf("got %+v, %v", a, err)
		}
	})
}

// One attempt in which the target said something is enough: then the network in
// between is there.
func TestSeriesSilence(t *testing.T) {
	silent := func() error { return &targetFault{reason: "timed out", silent: true} }
	refused := func() error { return &targetFault{reason: "refused"} }
	unknown := func() error { return fault.New(fault.Unavailable, "look", "a name server") }
	for _, tc := range []struct {
		name  string
		tries []func() error
		want  bool
	}{
		{"every attempt", []func() error{silent, silent, silent}, true},
		{"not the first", []func() error{refused, silent, silent}, false},
		{"not the last", []func() error{silent, silent, refused}, false},
		{"in the end it passes", []func() error{silent, silent, func() error { return nil }}, false},
		{"one that could not tell", []func() error{silent, unknown, silent}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := 0
			a, _ := series{attempts: 3, timeout: time.Second}.run(t.Context(), "look", func(context.Context) (string, error) {
				n++
				return "saw", tc.tries[n-1]()
			})
			if a.silent != tc.want || a.attempts != 3 {
				t.Errorf("got %+v, want silent %t", a, tc.want)
			}
		})
	}
}
