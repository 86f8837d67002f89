package checks

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"firstline/internal/incident"
)

func text(a answer) string {
	if a.cause == nil {
		return ""
	}
	return a.cause.text
}

func TestSeries(t *testing.T) {
	down := failed(incident.Refused, "down")
	silent := failed(incident.Silent, "silent")
	unreached := failed(incident.NoConnection, "unreached")
	three := series{attempts: 3, timeout: 3 * time.Second, interval: 2 * time.Second}
	for _, tc := range []struct {
		name      string
		answers   []*cause // nil: a pass
		attempts  int
		want      string // the cause; "": passed
		unreached bool
	}{
		{"passes at once", []*cause{nil}, 1, "", false},
		{"passes in the end", []*cause{down, blind("ours"), nil}, 3, "", false},
		{"all fail", []*cause{down, down, down}, 3, "down", false},
		{"none connects", []*cause{unreached, unreached, unreached}, 3, "unreached", true},
		{"one connects", []*cause{unreached, down, unreached}, 3, "down", false},
		{"the one that got furthest", []*cause{down, silent, unreached}, 3, "silent", false},
		{"one could not tell", []*cause{down, blind("ours"), down}, 3, "ours", false},
		{"one was busy", []*cause{blind("ours"), busy("busy"), down}, 3, "busy", false},
		{"one needs a person", []*cause{unknown(incident.Attention, false, "person"), busy("busy"), down}, 3, "person", false},
		{"no use to go on", []*cause{down, wrong("wrong"), nil}, 2, "wrong", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, n := time.Now(), 0
				a := three.run(t.Context(), func(context.Context, *attempt) (string, *cause) {
					n++
					if c := tc.answers[n-1]; c != nil {
						return "", c
					}
					return "up", nil
				})
				if n != tc.attempts || a.attempts != tc.attempts || a.unreached() != tc.unreached {
					t.Errorf("%d attempts, want %d; got %+v", n, tc.attempts, a)
				}
				if text(a) != tc.want {
					t.Errorf("cause %q, want %q", text(a), tc.want)
				}
				if took, want := time.Since(start), time.Duration(tc.attempts-1)*three.interval; took != want {
					t.Errorf("took %v, want %v", took, want)
				}
			})
		})
	}
}

// Whatever the reason why our time is up, the target is not blamed for it.
func TestSeriesOwnTime(t *testing.T) {
	s := series{attempts: 3, timeout: 3 * time.Second, interval: 2 * time.Second}
	for _, tc := range []struct {
		name     string
		left     time.Duration
		cancel   time.Duration
		attempts int
		took     time.Duration
		words    string
	}{
		{"too little for one attempt", 2 * time.Second, 0, 0, 0, "2s left, and the next attempt may need 3s"},
		{"too little for the next", 9 * time.Second, 0, 2, 8 * time.Second, "1s left, and the next attempt may need 5s (so far: timed out)"},
		{"just enough for one", 3 * time.Second, 0, 1, 3 * time.Second, "deadline exceeded"},
		{"cancelled in an attempt", time.Minute, time.Second, 1, time.Second, "context canceled"},
		{"cancelled in a pause", time.Minute, 4 * time.Second, 1, 4 * time.Second, "context canceled (so far: timed out)"},
		{"cancelled before", time.Minute, -1, 0, 0, "context canceled"},
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
				a := s.run(ctx, func(ctx context.Context, _ *attempt) (string, *cause) {
					<-ctx.Done()
					return "", failed(incident.Silent, "timed out")
				})
				wantUnknown(t, question{}.finding(a), incident.Blind, "our own time is up", tc.words)
				if took := time.Since(start); took != tc.took || a.attempts != tc.attempts {
					t.Errorf("took %v, want %v; %d attempts, want %d", took, tc.took, a.attempts, tc.attempts)
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
		a := s.run(ctx, func(ctx context.Context, _ *attempt) (string, *cause) {
			<-ctx.Done()
			time.Sleep(slack / 4)
			return "", failed(incident.Silent, "timed out")
		})
		if a.attempts != 3 || text(a) != "timed out" {
			t.Errorf("got %+v", a)
		}
	})
}

// A byte in one attempt is an answer, and then no connection is named.
func TestSeriesAnswered(t *testing.T) {
	n := 0
	a := series{attempts: 3, timeout: time.Second}.run(t.Context(), func(_ context.Context, p *attempt) (string, *cause) {
		if n++; n == 2 {
			p.answered = true
			return "", failed("", "got status 502")
		}
		return "", failed(incident.Silent, "silent")
	})
	if f := (question{}).finding(a); !f.Answered || f.Connection != "" || f.Reason != "got status 502" || f.NoAnswer() {
		t.Errorf("got %+v", f)
	}
}
