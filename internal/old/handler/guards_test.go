package handler

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

// table stands for the table of guards: one reservation, and otherwise what a test
// tells it to say.
type table struct {
	handledBy *incident.Execution
	// holder has a lease, unless it is known to be over.
	holder  *incident.Execution
	region  *incident.Pause
	own     *time.Time
	refusal *incident.Refusal
	first   bool
	states  map[string]guard.State
	// errs are errors by the name of the call.
	errs map[string]error
	// hangs names the calls that answer when the context ends.
	hangs []string

	calls    []string
	until    time.Time
	failed   checks.Finding
	limits   guard.Limits
	evidence []guard.Evidence
	aliases  []string
	pagers   []string
	ends     []string
	// claims are the answers to one claim of an alert after the other, then always
	// a new one.
	claims []claimed
	// gone is how each alert was that another one was claimed instead of, sent those
	// that a pager has, and threads where Slack was told.
	gone    []string
	sent    []guard.Alert
	threads []incident.Thread
	// alert is the instance's; unsettled makes its version another one before it
	// is cleared.
	alert     *guard.Alert
	unsettled bool
	watchers  []string
	watched   time.Time
	cleared   []string
	// last is the incident of the last call.
	last *incident.Incident
}

func (t *table) call(ctx context.Context, name string, inc *incident.Incident) error {
	t.calls = append(t.calls, name)
	if inc != nil {
		copied := *inc
		t.last = &copied
	}
	if slices.Contains(t.hangs, name) {
		<-ctx.Done()
		return fault.New(fault.Unavailable, name, "%w", ctx.Err())
	}
	return t.errs[name]
}

func (t *table) Open(ctx context.Context, inc *incident.Incident, until time.Time, ended func(context.Context, incident.Execution) bool) (*incident.Execution, *incident.Pause, error) {
	t.until = until
	if err := t.call(ctx, "Open", inc); err != nil {
		return nil, nil, err
	}
	if t.holder != nil && !ended(ctx, *t.holder) {
		return t.holder, nil, nil
	}
	return t.handledBy, t.region, nil
}

func (t *table) Look(ctx context.Context, inc *incident.Incident) (*time.Time, *incident.Pause, error) {
	if err := t.call(ctx, "Look", inc); err != nil {
		return nil, nil, err
	}
	return t.own, t.region, nil
}

func (t *table) Reserve(ctx context.Context, inc *incident.Incident, failed checks.Finding, l guard.Limits) (*time.Time, *incident.Refusal, error) {
	t.failed, t.limits = failed, l
	if err := t.call(ctx, "Reserve", inc); err != nil {
		return nil, nil, err
	}
	if t.own != nil || t.refusal != nil {
		return t.own, t.refusal, nil
	}
	if !inc.Settings.Reboot.DryRun {
		t.own = new(time.Now())
	}
	return nil, nil, nil
}

func (t *table) Cancel(ctx context.Context, inc *incident.Incident) error {
	if err := t.call(ctx, "Cancel", inc); err != nil {
		return err
	}
	t.own = nil
	return nil
}

func (t *table) Learn(ctx context.Context, inc *incident.Incident) error {
	return t.call(ctx, "Learn", inc)
}

func (t *table) Paged(ctx context.Context, inc *incident.Incident, alias, pager string) error {
	t.aliases, t.pagers = append(t.aliases, alias), append(t.pagers, pager)
	return t.call(ctx, "Paged", inc)
}

// claimed is an answer to a claim of an alert.
type claimed struct {
	alert guard.Alert
	claim guard.Claim
	err   error
}

func (t *table) claimAlert() (guard.Alert, guard.Claim, error) {
	if len(t.claims) == 0 {
		return guard.Alert{Open: true, Generation: 1}, guard.ClaimNew, nil
	}
	c := t.claims[0]
	t.claims = t.claims[1:]
	return c.alert, c.claim, c.err
}

func (t *table) ClaimAlert(ctx context.Context, inc *incident.Incident, outcome string) (guard.Alert, guard.Claim, error) {
	if err := t.call(ctx, "ClaimAlert", inc); err != nil {
		return guard.Alert{}, "", err
	}
	a, claim, err := t.claimAlert()
	if a.Outcome == "" {
		a.Outcome = outcome
	}
	return a, claim, err
}

func (t *table) ReclaimAlert(ctx context.Context, inc *incident.Incident, _ string, gone guard.Alert, how string) (guard.Alert, guard.Claim, error) {
	t.gone = append(t.gone, how+" "+gone.Alias)
	if err := t.call(ctx, "ReclaimAlert", inc); err != nil {
		return guard.Alert{}, "", err
	}
	return t.claimAlert()
}

func (t *table) AlertSent(ctx context.Context, inc *incident.Incident, a guard.Alert, pager string) error {
	a.Pager = pager
	t.sent = append(t.sent, a)
	return t.call(ctx, "AlertSent", inc)
}

func (t *table) AlertThread(ctx context.Context, inc *incident.Incident, thread incident.Thread) error {
	t.threads = append(t.threads, thread)
	return t.call(ctx, "AlertThread", inc)
}

func (t *table) AlertOf(ctx context.Context, _ string) (*guard.Alert, error) {
	if err := t.call(ctx, "AlertOf", nil); err != nil || t.alert == nil {
		return nil, err
	}
	a := *t.alert
	return &a, nil
}

func (t *table) WatchAlert(ctx context.Context, _, execution string, until time.Time) (*guard.Alert, error) {
	if err := t.call(ctx, "WatchAlert", nil); err != nil || t.alert == nil || !t.alert.Open {
		return nil, err
	}
	t.watchers, t.watched = append(t.watchers, execution), until
	t.alert.Watcher = execution
	if until.After(t.alert.WatchUntil) {
		t.alert.WatchUntil = until
	}
	a := *t.alert
	return &a, nil
}

func (t *table) ClearAlert(ctx context.Context, _, execution string, seen guard.Alert, how string) (bool, error) {
	if err := t.call(ctx, "ClearAlert", nil); err != nil {
		return false, err
	}
	if t.unsettled {
		t.alert.Version++
	}
	if t.alert.Generation != seen.Generation || t.alert.Version != seen.Version || !t.alert.Open {
		return false, nil
	}
	t.cleared = append(t.cleared, how)
	t.alert.Open, t.alert.ClosedHow, t.alert.ClosedBy = false, how, execution
	return true, nil
}

func (t *table) ClaimBrakePage(ctx context.Context, inc *incident.Incident) (bool, error) {
	return t.first, t.call(ctx, "ClaimBrakePage", inc)
}

func (t *table) Close(ctx context.Context, inc *incident.Incident, end string) error {
	t.ends = append(t.ends, end)
	return t.call(ctx, "Close", inc)
}

func (t *table) KeepEvidence(ctx context.Context, inc *incident.Incident, e guard.Evidence) error {
	t.evidence = append(t.evidence, e)
	return t.call(ctx, "KeepEvidence", inc)
}

func (t *table) Standing(ctx context.Context, _ []string) (map[string]guard.State, *incident.Pause, error) {
	return t.states, t.region, t.call(ctx, "Standing", nil)
}

// guarded are the calls of a reboot that no guard is against.
var guarded = []string{"Look", "KeepEvidence", "Reserve"}

func TestOpenTakesTheLease(t *testing.T) {
	f := &fake{parameters: settingsAt(`{}`), state: "running"}
	h, _ := newHandler(f)
	inc, lerr := invoke(t, h, openPayload(sampleEvent(t)))
	if lerr.Type != "" {
		t.Fatal(lerr)
	}
	// From the start of the execution, which is what Step Functions counts from.
	if want := time.Date(2026, 11, 22, 12, 5, 42, 0, time.UTC); !f.table.until.Equal(want) {
		t.Errorf("until %s, want %s", f.table.until, want)
	}
	held := f.table.last
	if held.InstanceID != instance || held.Execution.Name != "x" || held.EventAt.IsZero() {
		t.Errorf("held by %+v", held)
	}
	if inc.HandledBy != nil || inc.Paused != nil || !slices.Equal(f.table.calls, []string{"Open"}) {
		t.Errorf("%+v after %v", inc, f.table.calls)
	}
	// The answer got lost: the same again.
	again, lerr := invoke(t, h, openPayload(sampleEvent(t)))
	if diff := cmp.Diff(toJSON(t, inc), toJSON(t, again)); diff != "" || lerr.Type != "" {
		t.Errorf("%v, a second time (-first +second):\n%s", lerr, diff)
	}
}

// Whoever never closed what it opened is asked about, and only what is certain
// ends its lease.
func TestOpenAsksAboutTheHolder(t *testing.T) {
	const arn = "arn:aws:states:eu-west-1:123456789012:execution:firstline:holder"
	is := func(status sfntypes.ExecutionStatus) func(context.Context) (sfntypes.ExecutionStatus, error) {
		return func(context.Context) (sfntypes.ExecutionStatus, error) { return status, nil }
	}
	fails := func(err error) func(context.Context) (sfntypes.ExecutionStatus, error) {
		return func(context.Context) (sfntypes.ExecutionStatus, error) { return "", err }
	}
	gone := fails(&sfntypes.ExecutionDoesNotExist{Message: aws.String("no such execution")})
	for _, tt := range []struct {
		name   string
		age    time.Duration
		status func(context.Context) (sfntypes.ExecutionStatus, error)
		over   bool
		log    string
	}{
		{"it runs", time.Hour, is(sfntypes.ExecutionStatusRunning), false, ""},
		{"it is being redriven", time.Hour, is(sfntypes.ExecutionStatusPendingRedrive), false, ""},
		{"it was stopped", time.Second, is(sfntypes.ExecutionStatusAborted), true, "ABORTED"},
		{"it ran out of time", time.Hour, is(sfntypes.ExecutionStatusTimedOut), true, "TIMED_OUT"},
		{"it failed", time.Hour, is(sfntypes.ExecutionStatusFailed), true, "FAILED"},
		{"it succeeded", time.Hour, is(sfntypes.ExecutionStatusSucceeded), true, "SUCCEEDED"},
		{"a status that nobody knows", time.Hour, is("DREAMING"), false, "DREAMING"},
		{"no status", time.Hour, is(""), false, "no status that is known"},
		{"it does not exist", 61 * time.Second, gone, true, "GONE"},
		{"it does not exist yet", 59 * time.Second, gone, false, "no such execution"},
		{"it does not exist, and began in the future", -time.Hour, gone, false, "no such execution"},
		{"it does not exist, and began nobody knows when", -1, gone, false, "no such execution"},
		{"denied", time.Hour, fails(&smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not you"}), false, "AccessDeniedException"},
		{"throttled", time.Hour, fails(&smithy.GenericAPIError{Code: "ThrottlingException"}), false, "ThrottlingException"},
		{"no answer", time.Hour, func(ctx context.Context) (sfntypes.ExecutionStatus, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}, false, "deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				holder := incident.Execution{ID: arn, Name: "holder", StartedAt: began.Add(-tt.age)}
				if tt.age == -1 {
					holder.StartedAt = time.Time{}
				}
				var asked []string
				f := &fake{parameters: settingsAt(`{}`), state: "running", table: &table{holder: &holder}}
				f.execution = func(ctx context.Context, arn string) (sfntypes.ExecutionStatus, error) {
					asked = append(asked, arn)
					return tt.status(ctx)
				}
				h, log := newHandler(f)
				inc, lerr := invoke(t, h, openPayload(sampleEvent(t)))
				if lerr.Type != "" || tt.over != (inc.HandledBy == nil) || tt.over != (inc.Settings != nil) {
					t.Errorf("%v, %+v", lerr, inc)
				}
				if !slices.Equal(asked, []string{arn}) || time.Since(began) > askTime {
					t.Errorf("asked about %q, for %s", asked, time.Since(began))
				}
				warned := strings.Contains(log.String(), `"level":"WARN"`)
				said := strings.Contains(log.String(), tt.log) && strings.Contains(log.String(), `"instance":"`+instance+`","holder":"holder"`)
				if warned != (tt.log != "") || warned && !said {
					t.Errorf("log %s, want %q", log, tt.log)
				}
			})
		})
	}
}

func TestOpenOfWhatIsHandledAlready(t *testing.T) {
	other := &incident.Execution{ID: "arn:other", Name: "other", StartedAt: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	// Nothing else is asked: there are no settings, no EC2.
	f := &fake{table: &table{handledBy: other, region: &incident.Pause{Until: time.Now()}}}
	h, log := newHandler(f)
	h.EC2 = nil
	inc, lerr := invoke(t, h, openPayload(sampleEvent(t)))
	if lerr.Type != "" || inc.HandledBy == nil || *inc.HandledBy != *other || inc.Settings != nil || inc.InstanceID != instance {
		t.Errorf("%v, %+v", lerr, inc)
	}
	if !strings.Contains(log.String(), `"handledBy":"other"`) {
		t.Errorf("log %s", log)
	}
	// It has nothing to close.
	if _, lerr := invoke(t, h, payload(t, "close", inc)); lerr.Type != "" || len(f.table.ends) != 0 {
		t.Errorf("%v, closed %v", lerr, f.table.ends)
	}
}

func TestOpenWithoutTheTable(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Handler, *fake)
		kind   fault.Kind
		want   string
	}{
		"throttled": {func(_ *Handler, f *fake) {
			f.table.errs = map[string]error{"Open": &smithy.GenericAPIError{Code: "ThrottlingException"}}
		}, fault.Unavailable, "take the lease of " + instance},
		"no answer": {func(_ *Handler, f *fake) { f.table.errs = map[string]error{"Open": errors.New("i/o timeout")} }, fault.Unavailable, "i/o timeout"},
		"denied": {func(_ *Handler, f *fake) {
			f.table.errs = map[string]error{"Open": fault.New(fault.Denied, "open", "no")}
		}, fault.Denied, "no"},
		"no time-out":  {func(h *Handler, _ *fake) { h.ExecutionTimeout = 0 }, fault.InvalidInput, "FIRSTLINE_EXECUTION_TIMEOUT_SECONDS"},
		"no such name": {func(h *Handler, _ *fake) { h.Guards = noGuards }, fault.InvalidInput, "no table"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{parameters: settingsAt(`{}`), state: "running"}
			h, _ := newHandler(f)
			tt.change(h, f)
			_, lerr := invoke(t, h, openPayload(sampleEvent(t)))
			if lerr.Type != string(tt.kind) || !strings.Contains(lerr.Message, tt.want) {
				t.Errorf("got %v, want %s with %q", lerr, tt.kind, tt.want)
			}
		})
	}
}

// A table that takes its time takes none of what the checks will have.
func TestOpenWithASlowTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{parameters: settingsAt(`{"url":{"attempts":2,"timeoutMs":20000,"intervalMs":1000}}`), state: "running"}
		h, _ := newHandler(f)
		h.Guards = func(context.Context) (Guards, error) {
			time.Sleep(8 * time.Second)
			return f.table, nil
		}
		// In a minute, of which the check may take 54 s.
		if _, lerr := invoke(t, h, openPayload(sampleEvent(t))); lerr.Type != "" {
			t.Error(lerr)
		}
	})
}

func noGuards(context.Context) (Guards, error) {
	return nil, fault.New(fault.InvalidInput, "ask the guards", "no table")
}

// A dry incident does nothing, so it needs no lease, and neither table nor pause.
func TestOpenOfACanaryAsksNoGuard(t *testing.T) {
	f := &fake{parameters: settingsAt(`{}`), state: "running", tags: pauseTag(time.Now().Add(time.Hour).Format(time.RFC3339)), table: &table{handledBy: &incident.Execution{ID: "other"}}}
	h, _ := newHandler(f)
	inc, lerr := invoke(t, h, openPayload(rehearsal(t)))
	if lerr.Type != "" || inc.HandledBy != nil || inc.Paused != nil || len(f.table.calls) != 0 {
		t.Errorf("%v, %+v after %v", lerr, inc, f.table.calls)
	}
}

func pauseTag(value string) []ec2types.Tag {
	return []ec2types.Tag{{Key: aws.String("Name"), Value: aws.String("web")}, {Key: aws.String(incident.PauseTag), Value: &value}}
}

func TestOpenOfWhatIsPaused(t *testing.T) {
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	region := &incident.Pause{Until: soon, Scope: incident.PauseRegion, By: "jo"}
	for _, tt := range []struct {
		name string
		fake fake
		want *incident.Pause
		log  string
	}{
		{"no", fake{state: "running"}, nil, ""},
		{"by its tag", fake{state: "running", tags: pauseTag(soon.Format(time.RFC3339))}, &incident.Pause{Until: soon, Scope: incident.PauseInstance}, "pausedUntil"},
		{"stopped, for that matter", fake{state: "stopped", tags: pauseTag(soon.Format(time.RFC3339))}, &incident.Pause{Until: soon, Scope: incident.PauseInstance}, "pausedUntil"},
		{"the whole region", fake{state: "running", table: &table{region: region}}, region, "pausedUntil"},
		{"until the past", fake{state: "running", tags: pauseTag("2020-01-01T00:00:00Z")}, nil, ""},
		{"until nobody knows when", fake{state: "running", tags: pauseTag("tomorrow")}, nil, "tomorrow"},
		{"with nothing in the tag", fake{state: "running", tags: pauseTag("")}, nil, "is not known yet"},
		{"for too long", fake{state: "running", tags: pauseTag(soon.Add(8 * 24 * time.Hour).Format(time.RFC3339))}, nil, "is not known yet"},
		{"EC2 does not say", fake{describe: errors.New("no answer")}, nil, "no answer"},
		{"EC2 does not know it", fake{}, nil, "knows no such instance"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.fake.parameters = settingsAt(`{}`)
			h, log := newHandler(&tt.fake)
			inc, lerr := invoke(t, h, openPayload(sampleEvent(t)))
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			if diff := cmp.Diff(tt.want, inc.Paused); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !strings.Contains(log.String(), tt.log) {
				t.Errorf("log %s, want %q in it", log, tt.log)
			}
		})
	}
}

func TestRebootAsksTheGuards(t *testing.T) {
	f := &fake{state: "running", console: func(bool) (*ec2.GetConsoleOutputOutput, error) {
		return &ec2.GetConsoleOutputOutput{Output: aws.String(base64.StdEncoding.EncodeToString([]byte("Oops: 0002"))), Timestamp: new(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))}, nil
	}}
	h, _ := newHandler(f)
	inc := failed()
	inc.Findings[0].TimedOut = true
	got, lerr := invoke(t, h, payload(t, "reboot", inc))
	if lerr.Type != "" || got.Refusal != nil || f.reboots != 1 {
		t.Fatalf("%v, %+v, %d reboots", lerr, got, f.reboots)
	}
	if diff := cmp.Diff(guarded, f.table.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if !f.table.failed.TimedOut || f.table.failed.Check != "url" || f.table.limits != (guard.Limits{InFlight: 2, PerHour: 6}) {
		t.Errorf("reserved for %+v within %+v", f.table.failed, f.table.limits)
	}
	e := f.table.evidence[0]
	if e.Console != "Oops: 0002" || e.ConsoleAt.Hour() != 10 || e.SystemStatus != "ok" || e.InstanceStatus != "ok" || time.Since(e.At) > time.Minute {
		t.Errorf("evidence %+v", e)
	}
}

func TestRebootThatAGuardRefuses(t *testing.T) {
	now := time.Now().UTC()
	soon := now.Add(time.Hour).Truncate(time.Second)
	paused := pauseTag(soon.Format(time.RFC3339))
	status := func(change func(*ec2types.InstanceStatus)) *ec2types.InstanceStatus {
		s := well()
		change(s)
		return s
	}
	summary := func(s ec2types.SummaryStatus) *ec2types.InstanceStatusSummary {
		return &ec2types.InstanceStatusSummary{Status: s}
	}
	event := func(code ec2types.EventCode, from time.Duration, description string) *ec2types.InstanceStatus {
		return status(func(s *ec2types.InstanceStatus) {
			s.Events = []ec2types.InstanceStatusEvent{{Code: code, NotBefore: new(now.Add(from)), Description: &description}}
		})
	}
	sent := func(age time.Duration) *incident.Incident {
		i := failed()
		i.EventAt = now.Add(-age)
		return i
	}
	brake := &incident.Refusal{Guard: incident.GuardBrake, Reason: "2 reboots in flight", At: now}
	for _, tt := range []struct {
		name   string
		fake   fake
		inc    *incident.Incident
		guard  string // "" means that it is rebooted
		reason string
		paused string // its scope
	}{
		{"the region is paused", fake{state: "running", table: &table{region: &incident.Pause{Until: soon, Scope: "region", By: "jo"}}}, failed(), "pause", "all of eu-west-1 is paused until " + clock(soon) + " by jo", "region"},
		{"the region is paused, and EC2 is down", fake{describe: errors.New("no"), table: &table{region: &incident.Pause{Until: soon, Scope: "region"}}}, failed(), "pause", "eu-west-1 is paused", "region"},
		{"its tag pauses it", fake{state: "running", tags: paused}, failed(), "pause", "firstline:pause pauses it until " + clock(soon), "instance"},
		{"its tag pauses it, and it is stopped", fake{state: "stopped", tags: paused}, failed(), "pause", "pauses it", "instance"},
		{"its tag pauses it, and the event is old", fake{state: "running", tags: paused}, sent(time.Hour), "pause", "pauses it", "instance"},
		{"a tag that is no time", fake{state: "running", tags: pauseTag("after lunch")}, failed(), "pause", `somebody meant to pause the instance, and until when is not known: tag firstline:pause: "after lunch"`, ""},
		{"an empty tag", fake{state: "running", tags: pauseTag("")}, failed(), "pause", "somebody meant to pause", ""},
		{"a tag for too long", fake{state: "running", tags: pauseTag(soon.Add(8 * 24 * time.Hour).Format(time.RFC3339))}, failed(), "pause", "at most", ""},
		{"a tag whose time is over", fake{state: "running", tags: pauseTag("2020-01-01T00:00:00Z")}, failed(), "", "", ""},

		{"an old event", fake{state: "running"}, sent(901 * time.Second), "freshness", "after more than 15m0s nothing is rebooted", ""},
		{"an event just fresh", fake{state: "running"}, sent(890 * time.Second), "", "", ""},
		{"an event of another version", fake{state: "running"}, func() *incident.Incident { i := failed(); i.EventAt = time.Time{}; return i }(), "freshness", "another version of the function opened the incident", ""},

		{"the system is impaired", fake{state: "running", status: status(func(s *ec2types.InstanceStatus) { s.SystemStatus = summary("impaired") })}, failed(), "state", "status check of the system underneath it has failed", ""},
		{"the instance is impaired", fake{state: "running", status: status(func(s *ec2types.InstanceStatus) { s.InstanceStatus = summary("impaired") })}, failed(), "", "", ""},
		{"it is starting", fake{state: "running", status: status(func(s *ec2types.InstanceStatus) { s.InstanceStatus = summary("initializing") })}, failed(), "state", "started a short time ago", ""},
		{"too little data", fake{state: "running", status: status(func(s *ec2types.InstanceStatus) { s.InstanceStatus = summary("insufficient-data") })}, failed(), "", "", ""},
		{"to be retired some day", fake{state: "running", status: event("instance-retirement", 240*time.Hour, "The instance is running on degraded hardware")}, failed(), "state", `"instance-retirement" of the instance, which would explain it`, ""},
		{"to be stopped some day", fake{state: "running", status: event("instance-stop", 240*time.Hour, "")}, failed(), "state", "has scheduled for " + clock(now.Add(240*time.Hour)), ""},
		{"maintenance later", fake{state: "running", status: event("system-maintenance", time.Hour, "")}, failed(), "", "", ""},
		{"maintenance now", fake{state: "running", status: event("system-maintenance", -time.Minute, "")}, failed(), "state", `"system-maintenance"`, ""},
		{"a reboot of the system, now", fake{state: "running", status: event("system-reboot", -time.Minute, "")}, failed(), "state", `"system-reboot"`, ""},
		{"a reboot of the instance, at an unknown time", fake{state: "running", status: status(func(s *ec2types.InstanceStatus) {
			s.Events = []ec2types.InstanceStatusEvent{{Code: "instance-reboot"}}
		})}, failed(), "state", `AWS has scheduled the event "instance-reboot"`, ""},
		{"maintenance that is over", fake{state: "running", status: event("system-maintenance", -time.Hour, "[Completed] power maintenance")}, failed(), "", "", ""},
		{"a retirement that was canceled", fake{state: "running", status: event("instance-retirement", -time.Hour, "[Canceled] degraded hardware")}, failed(), "", "", ""},
		{"one over and one to come", fake{state: "running", status: status(func(s *ec2types.InstanceStatus) {
			s.Events = []ec2types.InstanceStatusEvent{{Code: "instance-stop", Description: aws.String("[Completed] x")}, {Code: "instance-stop"}}
		})}, failed(), "state", "instance-stop", ""},

		{"the table", fake{state: "running", table: &table{refusal: brake}}, failed(), "brake", "2 reboots in flight", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, log := newHandler(&tt.fake)
			metrics := new(bytes.Buffer)
			h.Metrics = &Metrics{Out: metrics, Deployment: "firstline"}
			inc, lerr := invoke(t, h, payload(t, "reboot", tt.inc))
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			if tt.guard == "" {
				if inc.Refusal != nil || tt.fake.reboots != 1 || inc.Run != 2 {
					t.Errorf("refused: %+v, %d reboots", inc.Refusal, tt.fake.reboots)
				}
				return
			}
			if tt.fake.reboots+tt.fake.dryRuns != 0 || inc.Reboot != nil || inc.Run != 1 || inc.Refusal == nil {
				t.Fatalf("%d reboots, %+v", tt.fake.reboots, inc)
			}
			if r := inc.Refusal; r.Guard != tt.guard || !strings.Contains(r.Reason, tt.reason) || r.At.Location() != time.UTC || time.Since(r.At) > time.Minute {
				t.Errorf("got %+v, want %s with %q", r, tt.guard, tt.reason)
			}
			scope := ""
			if inc.Paused != nil {
				scope = inc.Paused.Scope
			}
			if scope != tt.paused {
				t.Errorf("paused %q, want %q", scope, tt.paused)
			}
			if slices.Contains(tt.fake.table.calls, "Reserve") != (tt.guard == "brake") {
				t.Errorf("calls %v", tt.fake.table.calls)
			}
			if !strings.Contains(log.String(), `"guard":"`+tt.guard+`"`) || !strings.Contains(metrics.String(), `"Guard":"`+tt.guard+`"`) {
				t.Errorf("log %s, metrics %s", log, metrics)
			}
		})
	}
}

// A guard that cannot decide is an error, which pages, and never a reboot.
func TestRebootWhenAGuardCannotDecide(t *testing.T) {
	throttled := &smithy.GenericAPIError{Code: "ThrottlingException"}
	denied := &smithy.GenericAPIError{Code: "UnauthorizedOperation"}
	for _, tt := range []struct {
		name   string
		fake   fake
		change func(*Handler)
		kind   fault.Kind
		want   string
	}{
		{"the table is throttled", fake{table: &table{errs: map[string]error{"Look": throttled}}}, nil, fault.Unavailable, "ask the guards: "},
		{"the table's item is damaged", fake{table: &table{errs: map[string]error{"Look": fault.New(fault.Internal, "read", "not a number")}}}, nil, fault.Internal, "not a number"},
		{"the reservation is denied", fake{table: &table{errs: map[string]error{"Reserve": fault.New(fault.Denied, "reserve", "no")}}}, nil, fault.Denied, "reserve it: "},
		{"the reservation may stand", fake{table: &table{errs: map[string]error{"Reserve": errors.New("connection reset")}}}, nil, fault.Unavailable, "connection reset"},
		{"no table", fake{}, func(h *Handler) { h.Guards = noGuards }, fault.InvalidInput, "no table"},
		{"no brake", fake{}, func(h *Handler) { h.Brake = nil }, fault.InvalidInput, "FIRSTLINE_BRAKE_IN_FLIGHT"},
		{"no client", fake{}, func(h *Handler) { h.EC2 = noEC2 }, fault.Internal, "no client"},
		{"the status is denied", fake{statusErr: denied}, nil, fault.Denied, "ask for its status first"},
		{"the status does not come", fake{statusErr: errors.New("i/o timeout")}, nil, fault.Unavailable, "i/o timeout"},
		{"a status without its half", fake{status: &ec2types.InstanceStatus{InstanceStatus: well().InstanceStatus}}, nil, fault.Unavailable, "EC2 gives none"},
		{"a status that says nothing", fake{status: &ec2types.InstanceStatus{InstanceStatus: &ec2types.InstanceStatusSummary{}, SystemStatus: &ec2types.InstanceStatusSummary{}}}, nil, fault.Unavailable, "EC2 gives none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.fake.state = "running"
			h, _ := newHandler(&tt.fake)
			if tt.change != nil {
				tt.change(h)
			}
			_, lerr := invoke(t, h, payload(t, "reboot", failed()))
			if lerr.Type != string(tt.kind) || !strings.Contains(lerr.Message, tt.want) {
				t.Errorf("got %v, want %s with %q", lerr, tt.kind, tt.want)
			}
			if tt.fake.reboots != 0 || slices.Contains(tt.fake.table.calls, "Cancel") {
				t.Errorf("%d reboots, calls %v", tt.fake.reboots, tt.fake.table.calls)
			}
		})
	}
}

func noEC2(context.Context) (Rebooter, error) {
	return nil, fault.New(fault.Internal, "make the client", "no client")
}

// The answer to the step got lost: whatever has happened since, EC2 is not asked
// again, and the incident says that it may have been.
func TestRebootFindsItsOwnReservation(t *testing.T) {
	at := time.Now().Add(-time.Minute).UTC().Truncate(time.Millisecond)
	starting := well()
	starting.InstanceStatus = &ec2types.InstanceStatusSummary{Status: ec2types.SummaryStatusInitializing}
	stale := failed()
	stale.EventAt, stale.Findings[0].At = time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)
	for name, tt := range map[string]struct {
		fake fake
		inc  *incident.Incident
	}{
		"nothing has changed":          {fake{state: "running"}, failed()},
		"it is starting again":         {fake{state: "running", status: starting}, failed()},
		"it is stopping":               {fake{state: "stopping"}, failed()},
		"it was paused meanwhile":      {fake{state: "running", tags: pauseTag(time.Now().Add(time.Hour).Format(time.RFC3339))}, failed()},
		"the region is paused":         {fake{state: "running", table: &table{region: &incident.Pause{Until: time.Now().Add(time.Hour)}}}, failed()},
		"EC2 is down":                  {fake{describe: errors.New("no answer")}, failed()},
		"it took long":                 {fake{state: "running"}, stale},
		"another one was faster to it": {fake{state: "running"}, failed()},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.fake.table == nil {
				tt.fake.table = &table{}
			}
			h, log := newHandler(&tt.fake)
			tt.fake.table.own = &at
			if name == "another one was faster to it" {
				h.Guards = func(context.Context) (Guards, error) { return late{tt.fake.table}, nil }
			}
			inc, lerr := invoke(t, h, payload(t, "reboot", tt.inc))
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			r := inc.Reboot
			if tt.fake.reboots != 0 || inc.Refusal != nil || inc.Run != 2 || r == nil || r.Outcome != incident.RebootUnknown || !r.At.Equal(at) || r.Reason != "refused" {
				t.Errorf("%d reboots, %+v", tt.fake.reboots, inc)
			}
			if want := at.Add(30 * time.Second).Truncate(time.Second); !r.WindowClosesAt.Equal(want) {
				t.Errorf("the window closes at %s, want %s", r.WindowClosesAt, want)
			}
			if slices.Contains(tt.fake.table.calls, "Cancel") || !strings.Contains(log.String(), "its outcome is unknown") {
				t.Errorf("calls %v, log %s", tt.fake.table.calls, log)
			}
		})
	}
}

// late is a table that learns of the reservation after it was looked at.
type late struct{ *table }

func (l late) Look(ctx context.Context, inc *incident.Incident) (*time.Time, *incident.Pause, error) {
	_, paused, err := l.table.Look(ctx, inc)
	return nil, paused, err
}

// The reservation goes exactly when EC2 has certainly not rebooted.
func TestRebootCancels(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		cancel bool
	}{
		"accepted":        {nil, false},
		"throttled":       {&smithy.GenericAPIError{Code: "RequestLimitExceeded"}, true},
		"denied":          {&smithy.GenericAPIError{Code: "UnauthorizedOperation"}, true},
		"refused":         {&smithy.GenericAPIError{Code: "IncorrectState"}, true},
		"never sent":      {errors.New("dial tcp: connection refused"), true},
		"a server fault":  {&smithy.GenericAPIError{Code: "InternalError", Fault: smithy.FaultServer}, false},
		"taken for a dry": {allowed, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{state: "running", rebootErr: tt.err}
			h, _ := newHandler(f)
			_, lerr := invoke(t, h, payload(t, "reboot", failed()))
			if (lerr.Type != "") != tt.cancel || (f.table.own == nil) != tt.cancel {
				t.Errorf("%v, reserved %v, want cancel %t", lerr, f.table.own, tt.cancel)
			}
			// If it cannot be taken back, the next try does not ask EC2 again.
			f = &fake{state: "running", rebootErr: tt.err, table: &table{errs: map[string]error{"Cancel": errors.New("no answer")}}}
			h, log := newHandler(f)
			_, again := invoke(t, h, payload(t, "reboot", failed()))
			if again.Type != lerr.Type || again.Message != lerr.Message || tt.cancel != strings.Contains(log.String(), "stays") {
				t.Errorf("got %v, before %v; log %s", again, lerr, log)
			}
			inc, lerr := invoke(t, h, payload(t, "reboot", failed()))
			if lerr.Type != "" || f.reboots != 1 || inc.Reboot.Outcome != incident.RebootUnknown {
				t.Errorf("the next try: %v, %d reboots", lerr, f.reboots)
			}
		})
	}
}

// Evidence is kept if it can be had, and never stops the reboot.
func TestEvidence(t *testing.T) {
	said := func(text string) *ec2.GetConsoleOutputOutput {
		return &ec2.GetConsoleOutputOutput{Output: aws.String(base64.StdEncoding.EncodeToString([]byte(text)))}
	}
	type answer struct {
		out *ec2.GetConsoleOutputOutput
		err error
	}
	for name, tt := range map[string]struct {
		latest, kept answer
		keepErr      error
		want         string
		missing      bool
	}{
		"the latest":            {answer{out: said("new")}, answer{}, nil, "new", false},
		"no Nitro":              {answer{err: &smithy.GenericAPIError{Code: "UnsupportedOperation"}}, answer{out: said("old")}, nil, "old", false},
		"nothing was said":      {answer{out: &ec2.GetConsoleOutputOutput{}}, answer{}, nil, "", false},
		"denied":                {answer{err: &smithy.GenericAPIError{Code: "UnauthorizedOperation"}}, answer{out: said("old")}, nil, "", true},
		"no answer":             {answer{err: errors.New("i/o timeout")}, answer{out: said("old")}, nil, "", true},
		"none at all":           {answer{err: &smithy.GenericAPIError{Code: "UnsupportedOperation"}}, answer{err: &smithy.GenericAPIError{Code: "UnsupportedOperation"}}, nil, "", true},
		"garbage":               {answer{out: &ec2.GetConsoleOutputOutput{Output: aws.String("%%%")}}, answer{}, nil, "", true},
		"it could not be kept":  {answer{out: said("new")}, answer{}, errors.New("throttled"), "new", true},
		"neither read nor kept": {answer{err: errors.New("i/o timeout")}, answer{}, errors.New("throttled"), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{state: "running", table: &table{errs: map[string]error{"KeepEvidence": tt.keepErr}}, console: func(latest bool) (*ec2.GetConsoleOutputOutput, error) {
				if latest {
					return tt.latest.out, tt.latest.err
				}
				return tt.kept.out, tt.kept.err
			}}
			h, log := newHandler(f)
			if _, lerr := invoke(t, h, payload(t, "reboot", failed())); lerr.Type != "" || f.reboots != 1 {
				t.Fatalf("%v, %d reboots", lerr, f.reboots)
			}
			if e := f.table.evidence; len(e) != 1 || e[0].Console != tt.want || e[0].SystemStatus != "ok" {
				t.Errorf("kept %+v, want %q", e, tt.want)
			}
			if tt.missing != strings.Contains(log.String(), "evidence is missing") {
				t.Errorf("log %s", log)
			}
		})
	}
}

// In a function of 30 s nothing that hangs takes the reboot its time, or is blamed
// on it.
func TestRebootInThirtySeconds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		hangs []string // of the table
		ec2   []string
		want  string // of the error; "" means that it is rebooted
		most  time.Duration
	}{
		{"nothing hangs", nil, nil, "", 0},
		{"the console", nil, []string{"console"}, "", 6 * time.Second},
		{"the evidence", []string{"KeepEvidence"}, []string{"console"}, "", 8 * time.Second},
		{"the first look", []string{"Look"}, nil, "ask the guards", 4 * time.Second},
		{"the description", nil, []string{"describe"}, "describe it first", 5 * time.Second},
		{"the status", nil, []string{"status"}, "ask for its status first", 5 * time.Second},
		{"the reservation", []string{"Reserve"}, nil, "reserve it", 19 * time.Second},
		{"the reboot", nil, []string{"reboot"}, "", 29 * time.Second},
		{"the evidence and the reservation", []string{"KeepEvidence", "Reserve"}, []string{"console"}, "reserve it", 19 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{state: "running", table: &table{hangs: tt.hangs}}
				h, _ := newHandler(f)
				h.EC2 = func(context.Context) (Rebooter, error) { return hanging{f, tt.ec2}, nil }
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				start := time.Now()
				inc := failed()
				out, err := h.Invoke(ctx, []byte(payload(t, "reboot", inc)))
				if took := time.Since(start); took > tt.most {
					t.Errorf("took %s, want at most %s", took, tt.most)
				}
				if tt.want != "" {
					if err == nil || !strings.Contains(err.Error(), tt.want) || f.reboots != 0 {
						t.Errorf("got %v and %d reboots, want %q", err, f.reboots, tt.want)
					}
					return
				}
				if err != nil || f.reboots != 1 || json.Unmarshal(out, inc) != nil || inc.Reboot == nil {
					t.Errorf("%v, %d reboots, %s", err, f.reboots, out)
				}
			})
		})
	}
}

// hanging is an EC2 of which some calls do not answer.
type hanging struct {
	*fake
	calls []string
}

func (e hanging) wait(ctx context.Context, call string) error {
	if !slices.Contains(e.calls, call) {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (e hanging) DescribeInstances(ctx context.Context, in *ec2.DescribeInstancesInput, o ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	if err := e.wait(ctx, "describe"); err != nil {
		return nil, err
	}
	return e.fake.DescribeInstances(ctx, in, o...)
}

func (e hanging) DescribeInstanceStatus(ctx context.Context, in *ec2.DescribeInstanceStatusInput, o ...func(*ec2.Options)) (*ec2.DescribeInstanceStatusOutput, error) {
	if err := e.wait(ctx, "status"); err != nil {
		return nil, err
	}
	return e.fake.DescribeInstanceStatus(ctx, in, o...)
}

func (e hanging) GetConsoleOutput(ctx context.Context, in *ec2.GetConsoleOutputInput, o ...func(*ec2.Options)) (*ec2.GetConsoleOutputOutput, error) {
	if err := e.wait(ctx, "console"); err != nil {
		return nil, err
	}
	return e.fake.GetConsoleOutput(ctx, in, o...)
}

func (e hanging) RebootInstances(ctx context.Context, in *ec2.RebootInstancesInput, o ...func(*ec2.Options)) (*ec2.RebootInstancesOutput, error) {
	out, err := e.fake.RebootInstances(ctx, in, o...)
	if e.wait(ctx, "reboot") != nil {
		// Sent, and no answer: as the real client has it when EC2 fails.
		return nil, &smithy.GenericAPIError{Code: "InternalError", Fault: smithy.FaultServer}
	}
	return out, err
}

// The setting dryRun: the guards are asked, nothing is reserved, EC2 only says
// what it would do, and people are told.
func TestDryRunAsASetting(t *testing.T) {
	inc := failed()
	inc.Settings.Reboot.DryRun = true
	f := &fake{state: "running", dryErr: allowed}
	h, log := newHandler(f)
	metrics := new(bytes.Buffer)
	h.Metrics = &Metrics{Out: metrics}
	got, lerr := invoke(t, h, payload(t, "reboot", inc))
	if lerr.Type != "" {
		t.Fatal(lerr)
	}
	if f.reboots != 0 || f.dryRuns != 1 || f.table.own != nil || got.Run != 2 || got.Dry {
		t.Errorf("%d reboots, %d dry runs, reserved %v, %+v", f.reboots, f.dryRuns, f.table.own, got)
	}
	if diff := cmp.Diff(guarded, f.table.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if r := got.Reboot; r.Outcome != incident.RebootSuppressed || r.WindowClosesAt.After(r.At) || len(got.Suppressed) != 1 || got.Suppressed[0].Action != incident.ActionReboot {
		t.Errorf("%+v, %+v", r, got.Suppressed)
	}
	if strings.Contains(metrics.String(), metricReboots) || strings.Contains(log.String(), `"dry":true`) {
		t.Errorf("metrics %s, log %s", metrics, log)
	}
	// Nothing was rebooted, so Route 53's old reports still count.
	if _, lerr := invoke(t, h, payload(t, "route53", got)); lerr.Type != "" || !f.since.IsZero() {
		t.Errorf("%v, since %s", lerr, f.since)
	}
	// People hear of it.
	if _, lerr := invoke(t, h, payload(t, "opsgenie", got)); lerr.Type != "" || len(f.sent) != 1 || len(f.rehearsed) != 0 {
		t.Errorf("%v, %d sent, %d rehearsed", lerr, len(f.sent), len(f.rehearsed))
	}

	t.Run("tried again", func(t *testing.T) {
		again, lerr := invoke(t, h, payload(t, "reboot", inc))
		if lerr.Type != "" || f.reboots != 0 || f.dryRuns != 2 || again.Reboot.Outcome != incident.RebootSuppressed {
			t.Errorf("%v, %d reboots, %d dry runs", lerr, f.reboots, f.dryRuns)
		}
	})
	t.Run("a guard is against it", func(t *testing.T) {
		f := &fake{state: "running", table: &table{refusal: &incident.Refusal{Guard: incident.GuardCoolDown}}}
		h, _ := newHandler(f)
		got, lerr := invoke(t, h, payload(t, "reboot", inc))
		if lerr.Type != "" || f.dryRuns+f.reboots != 0 || got.Refusal == nil {
			t.Errorf("%v, %d dry runs, %+v", lerr, f.dryRuns, got)
		}
	})
	t.Run("EC2 would not", func(t *testing.T) {
		f := &fake{state: "running", dryErr: &smithy.GenericAPIError{Code: "UnauthorizedOperation"}}
		h, _ := newHandler(f)
		if _, lerr := invoke(t, h, payload(t, "reboot", inc)); lerr.Type != string(fault.Denied) || slices.Contains(f.table.calls, "Cancel") {
			t.Errorf("%v, calls %v", lerr, f.table.calls)
		}
	})
}

// A dry incident asks no guard: it is not to be kept from trying the rest.
func TestDryRebootAsksNoGuard(t *testing.T) {
	f := &fake{state: "running", dryErr: allowed, tags: pauseTag(time.Now().Add(time.Hour).Format(time.RFC3339)), table: &table{refusal: &incident.Refusal{Guard: "x"}}}
	h, _ := newHandler(f)
	h.Brake = nil
	inc, lerr := invoke(t, h, payload(t, "reboot", dry(failed())))
	if lerr.Type != "" || f.dryRuns != 1 || inc.Refusal != nil || inc.Paused != nil || len(f.table.calls) != 0 {
		t.Errorf("%v, %d dry runs, %+v after %v", lerr, f.dryRuns, inc, f.table.calls)
	}
}

// What an older version of the function has opened has no lease, no time of its
// event and no settings of reboots: it is not rebooted, and somebody is paged.
func TestIncidentOfAnOlderVersion(t *testing.T) {
	var old map[string]any
	raw, err := json.Marshal(failed())
	if err != nil || json.Unmarshal(raw, &old) != nil {
		t.Fatal(err)
	}
	delete(old, "eventAt")
	delete(old["settings"].(map[string]any), "reboot")
	p, err := json.Marshal(map[string]any{"step": "reboot", "incident": old})
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{state: "running"}
	h, _ := newHandler(f)
	inc, lerr := invoke(t, h, string(p))
	if lerr.Type != "" || f.reboots != 0 || inc.Refusal == nil || inc.Refusal.Guard != incident.GuardFreshness {
		t.Fatalf("%v, %d reboots, %+v", lerr, f.reboots, inc)
	}
	for _, step := range []string{"opsgenie", "close"} {
		if inc, lerr = invoke(t, h, payload(t, step, inc)); lerr.Type != "" {
			t.Fatal(lerr)
		}
	}
	if len(f.sent) != 1 || !slices.Equal(f.table.ends, []string{incident.EndPaged}) {
		t.Errorf("%d sent, ends %v", len(f.sent), f.table.ends)
	}
}

// The page of a brake: one for its region, and notes for whoever else it stops.
func TestBrakePage(t *testing.T) {
	gone := fault.New(fault.InvalidInput, "note", "%w", notify.ErrNoAlert)
	unconfirmed := fault.New(fault.Unavailable, "note", "%w", notify.ErrNoAlert)
	down := fault.New(fault.Unavailable, "note", "HTTP 500")
	open := func(alias string) (bool, error) { return alias != brakeAlias, nil }
	for _, tt := range []struct {
		name  string
		table table
		fake  fake
		sent  []bool // alone or not
		noted int
		alias string
	}{
		{"the first", table{first: true}, fake{}, []bool{false}, 0, brakeAlias},
		{"the first, and whether one is open is not known", table{first: true}, fake{closed: func(string) (bool, error) { return false, errors.New("no answer") }}, []bool{true}, 0, pageAlias},
		{"the first of this hour, and that of the last is still open", table{first: true}, fake{closed: open}, []bool{true}, 0, pageAlias},
		{"another one", table{}, fake{closed: open}, nil, 1, brakeAlias},
		{"another one, and the first is about to be made", table{}, fake{noteErrs: []error{gone, gone}}, nil, 3, brakeAlias},
		{"another one, and the first was closed", table{}, fake{noteErrs: []error{gone, gone, gone}}, []bool{false}, 4, brakeAlias},
		{"the same, and the note fails again", table{}, fake{noteErrs: []error{gone, gone, gone, down}}, []bool{false, true}, 4, pageAlias},
		{"the pager does not tell what became of it", table{}, fake{noteErrs: []error{unconfirmed}}, []bool{false}, 1, brakeAlias},
		{"the note fails", table{}, fake{noteErrs: []error{down}}, []bool{true}, 1, pageAlias},
		{"nobody knows who is the first", table{errs: map[string]error{"ClaimBrakePage": errors.New("throttled")}}, fake{}, []bool{true}, 0, pageAlias},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.fake.table = &tt.table
				h, _ := newHandler(&tt.fake)
				inc := failed()
				inc.Refusal = &incident.Refusal{Guard: incident.GuardBrake, Reason: "2 reboots in flight"}
				got, lerr := invoke(t, h, payload(t, "opsgenie", inc))
				if lerr.Type != "" || got.Told == nil || got.Told.Page == nil {
					t.Fatalf("%v, told %+v", lerr, got)
				}
				var sent []bool
				for _, m := range tt.fake.sent {
					sent = append(sent, m.Alone)
				}
				if diff := cmp.Diff(tt.sent, sent); diff != "" || len(tt.fake.noted) != tt.noted {
					t.Errorf("%d notes, want %d; sent (-want +got):\n%s", len(tt.fake.noted), tt.noted, diff)
				}
				if !slices.Equal(tt.table.aliases, []string{tt.alias}) {
					t.Errorf("remembered %v, want %s", tt.table.aliases, tt.alias)
				}
			})
		})
	}
	for name, never := range map[string]guard.Limits{"none in flight": {PerHour: 6}, "none an hour": {InFlight: 2}} {
		t.Run("one that is always on, "+name, func(t *testing.T) {
			f := &fake{table: &table{}}
			h, _ := newHandler(f)
			h.Brake = &never
			inc := failed()
			inc.Refusal = &incident.Refusal{Guard: incident.GuardBrake, Reason: "set to 0"}
			if _, lerr := invoke(t, h, payload(t, "opsgenie", inc)); lerr.Type != "" || len(f.sent) != 1 || !f.sent[0].Alone || len(f.noted) != 0 || slices.Contains(f.table.calls, "ClaimBrakePage") {
				t.Errorf("%v, %+v sent, %d noted, calls %v", lerr, f.sent, len(f.noted), f.table.calls)
			}
		})
	}
	t.Run("any other guard", func(t *testing.T) {
		f := &fake{table: &table{first: true}}
		h, _ := newHandler(f)
		inc := failed()
		inc.Refusal = &incident.Refusal{Guard: incident.GuardBudget}
		if _, lerr := invoke(t, h, payload(t, "opsgenie", inc)); lerr.Type != "" || len(f.sent) != 1 || slices.Contains(f.table.calls, "ClaimBrakePage") {
			t.Errorf("%v, %d sent, calls %v", lerr, len(f.sent), f.table.calls)
		}
	})
	t.Run("Slack has no brake", func(t *testing.T) {
		f := &fake{}
		h, _ := newHandler(f)
		inc := failed()
		inc.Refusal = &incident.Refusal{Guard: incident.GuardBrake}
		if _, lerr := invoke(t, h, payload(t, "slack", inc)); lerr.Type != "" || len(f.sent) != 1 || len(f.table.calls) != 0 {
			t.Errorf("%v, %d sent, calls %v", lerr, len(f.sent), f.table.calls)
		}
	})
}

// However slow everything around it is, the page gets its share of 30 s.
func TestBrakePageInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{table: &table{hangs: []string{"ClaimBrakePage", "Paged", "Look"}}}
		h, _ := newHandler(f)
		inc := failed()
		inc.Refusal = &incident.Refusal{Guard: incident.GuardBrake}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := h.Invoke(ctx, []byte(payload(t, "opsgenie", inc))); err != nil || len(f.sent) != 1 || time.Since(start) > 7*time.Second {
			t.Errorf("%v, %d sent after %s", err, len(f.sent), time.Since(start))
		}
		notes := &fake{table: &table{}}
		h, _ = newHandler(notes)
		h.Pagers = only1(slowNotes{notes})
		ctx, cancel = context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		start = time.Now()
		if _, err := h.Invoke(ctx, []byte(payload(t, "opsgenie", inc))); err != nil || len(notes.sent) != 1 || time.Since(start) > 15*time.Second {
			t.Errorf("%v, %d sent after %s", err, len(notes.sent), time.Since(start))
		}
	})
}

type slowNotes struct{ *fake }

func (s slowNotes) Note(ctx context.Context, _ notify.Message) error {
	<-ctx.Done()
	return fault.New(fault.Unavailable, "note", "%w", ctx.Err())
}

func TestTellSaysWhoWasTold(t *testing.T) {
	for step, at := range map[string]func(*incident.Told) *time.Time{
		"slack":    func(told *incident.Told) *time.Time { return told.Slack },
		"opsgenie": func(told *incident.Told) *time.Time { return told.Page },
	} {
		for _, isDry := range []bool{false, true} {
			f := &fake{}
			h, log := newHandler(f)
			metrics := new(bytes.Buffer)
			h.Metrics = &Metrics{Out: metrics}
			inc := failed()
			inc.Dry = isDry
			got, lerr := invoke(t, h, payload(t, step, inc))
			if lerr.Type != "" || got.Told == nil || at(got.Told) == nil || time.Since(*at(got.Told)) > time.Minute {
				t.Fatalf("%s: %v, %+v", step, lerr, got)
			}
			if (metrics.Len() > 0) == isDry || (len(f.table.calls) > 0) != (step == "opsgenie" && !isDry) {
				t.Errorf("%s, dry %t: metrics %s, calls %v", step, isDry, metrics, f.table.calls)
			}
			if want := map[string]string{"slack": "told Slack", "opsgenie": "paged"}[step]; strings.Contains(log.String(), `"`+want+`"`) == isDry && step == "opsgenie" {
				t.Errorf("log %s", log)
			}
			// Both.
			other := map[string]string{"slack": "opsgenie", "opsgenie": "slack"}[step]
			if got, lerr = invoke(t, h, payload(t, other, got)); lerr.Type != "" || got.Told.Slack == nil || got.Told.Page == nil {
				t.Errorf("%s, then %s: %v, %+v", step, other, lerr, got.Told)
			}
			f.sendErr = fault.New(fault.Unavailable, "send", "down")
			metrics.Reset()
			if _, lerr := invoke(t, h, payload(t, step, inc)); lerr.Type == "" || metrics.Len() > 0 {
				t.Errorf("%s: %v, metrics %s", step, lerr, metrics)
			}
		}
	}
}

// That the table does not know of a page is no reason to fail it.
func TestPageThatIsNotRemembered(t *testing.T) {
	f := &fake{table: &table{errs: map[string]error{"Paged": errors.New("throttled")}}}
	h, log := newHandler(f)
	inc, lerr := invoke(t, h, payload(t, "opsgenie", failed()))
	if lerr.Type != "" || inc.Told.Page == nil || len(f.sent) != 1 || !strings.Contains(log.String(), "throttled") {
		t.Errorf("%v, %+v, log %s", lerr, inc, log)
	}
	h.Guards = noGuards
	if _, lerr := invoke(t, h, payload(t, "opsgenie", failed())); lerr.Type != "" || len(f.sent) != 2 {
		t.Errorf("without a table: %v", lerr)
	}
}

// One that says that the instance is back, since Slack did not take it, keeps
// nobody from being told when it fails again while its alarm stays on.
func TestPageOfARecoveryKeepsNoSweepAway(t *testing.T) {
	inc := failed()
	inc.Reboot = &incident.Reboot{At: time.Now(), Outcome: incident.RebootRequested}
	inc.Run, inc.Passed = 2, true
	inc.SlackError = &incident.Error{Error: "Unavailable"}
	f := &fake{}
	h, _ := newHandler(f)
	if got, lerr := invoke(t, h, payload(t, "opsgenie", inc)); lerr.Type != "" || got.Told.Page == nil || len(f.sent) != 1 || len(f.table.calls) != 0 {
		t.Errorf("%v, %d sent, calls %v", lerr, len(f.sent), f.table.calls)
	}
	for name, change := range map[string]func(*incident.Incident){
		"it is down":               func(inc *incident.Incident) { inc.Passed = false },
		"it could not be checked":  func(inc *incident.Incident) { inc.Error = &incident.Error{Error: "Denied"} },
		"it is not known to be up": func(inc *incident.Incident) { inc.Run = 1 },
	} {
		other := *inc
		change(&other)
		f := &fake{}
		h, _ := newHandler(f)
		if _, lerr := invoke(t, h, payload(t, "opsgenie", &other)); lerr.Type != "" || !slices.Contains(f.table.calls, "Paged") {
			t.Errorf("%s: %v, calls %v", name, lerr, f.table.calls)
		}
	}
}

// A page about an alarm that could not be opened is remembered for its instance.
func TestPageWithoutAnIncidentIsRemembered(t *testing.T) {
	f := &fake{}
	h, _ := newHandler(f)
	p := `{"step":"opsgenie","incident":{"event":` + sampleEvent(t) + `,"execution":` + execution + `,"error":{"Error":"Denied","Cause":"no"}}}`
	inc, lerr := invoke(t, h, p)
	if lerr.Type != "" || f.table.last.InstanceID != instance || !slices.Equal(f.table.calls, []string{"ClaimAlert", "AlertSent", "Paged"}) {
		t.Errorf("%v, %v for %+v", lerr, f.table.calls, f.table.last)
	}
	// The message is about the alarm, and so is the state.
	if inc.InstanceID != "" || f.sent[0].Incident.InstanceID != "" {
		t.Errorf("%+v", inc)
	}
	if _, lerr := invoke(t, h, `{"step":"opsgenie","incident":"hello"}`); lerr.Type != "" || len(f.table.calls) != 3 {
		t.Errorf("%v, %v", lerr, f.table.calls)
	}
}

// A step that was cut off after it had asked EC2, and then could not ask the table
// until the retries were used up: nobody is told that nothing was done.
func TestTellFindsAReboot(t *testing.T) {
	at := time.Now().UTC().Truncate(time.Millisecond)
	lost := func() *incident.Incident {
		inc := failed()
		inc.Error = &incident.Error{Error: "Unavailable", Cause: "the table"}
		return inc
	}
	for _, step := range []string{"slack", "opsgenie"} {
		f := &fake{table: &table{own: &at}}
		h, _ := newHandler(f)
		got, lerr := invoke(t, h, payload(t, step, lost()))
		if lerr.Type != "" {
			t.Fatal(lerr)
		}
		if r := got.Reboot; r == nil || r.Outcome != incident.RebootUnknown || !r.At.Equal(at) || r.Reason != "refused" || got.Run != 1 || f.sent[0].Incident.Reboot == nil {
			t.Errorf("%s: %+v", step, got)
		}
	}
	for name, tt := range map[string]struct {
		change func(*incident.Incident)
		table  table
		asked  bool
	}{
		"none was reserved":  {func(*incident.Incident) {}, table{}, true},
		"it is not known":    {func(*incident.Incident) {}, table{own: &at, errs: map[string]error{"Look": errors.New("throttled")}}, true},
		"no error":           {func(i *incident.Incident) { i.Error = nil }, table{own: &at}, false},
		"refused":            {func(i *incident.Incident) { i.Refusal = &incident.Refusal{Guard: "x"} }, table{own: &at}, false},
		"rebooted":           {func(i *incident.Incident) { i.Reboot = &incident.Reboot{At: at, Outcome: "requested"} }, table{own: &at}, false},
		"a check's error":    {func(i *incident.Incident) { i.Passed = true; i.Findings[0].Passed = true }, table{own: &at}, false},
		"a dry incident's":   {func(i *incident.Incident) { i.Dry = true }, table{own: &at}, false},
		"nothing was looked": {func(i *incident.Incident) { i.Findings = nil }, table{own: &at}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{table: &tt.table}
			h, _ := newHandler(f)
			inc := lost()
			tt.change(inc)
			got, lerr := invoke(t, h, payload(t, "slack", inc))
			if lerr.Type != "" || slices.Contains(tt.table.calls, "Look") != tt.asked || !cmp.Equal(got.Reboot, inc.Reboot) {
				t.Errorf("%v, calls %v, %+v", lerr, tt.table.calls, got.Reboot)
			}
			// What is not known is not told as if it were.
			if known := tt.table.errs == nil; (got.RebootError == nil) != known || len(f.sent) > 0 && (f.sent[0].Incident.RebootError == nil) != known {
				t.Errorf("rebootError %+v", got.RebootError)
			}
		})
	}
}

// What EC2 itself gets to see before a reboot.
func TestGuardsOnTheWire(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		for field := range strings.SplitSeq(string(body), "&") {
			if name, value, _ := strings.Cut(field, "="); name == "Action" || name == "Latest" || strings.HasPrefix(name, "InstanceId") {
				asked = append(asked, value)
			}
		}
		if !describes(w, string(body)) {
			_, _ = io.WriteString(w, `<RebootInstancesResponse><return>true</return></RebootInstancesResponse>`)
		}
	}))
	defer server.Close()
	f := &fake{}
	h, _ := newHandler(f)
	h.EC2 = func(context.Context) (Rebooter, error) { return ec2Client(server.URL), nil }
	if _, lerr := invoke(t, h, payload(t, "reboot", failed())); lerr.Type != "" {
		t.Fatal(lerr)
	}
	want := []string{"DescribeInstances", instance, "DescribeInstanceStatus", instance, "GetConsoleOutput", instance, "true", "RebootInstances", instance}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if f.table.evidence[0].Console != "hello" {
		t.Errorf("evidence %+v", f.table.evidence)
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// sinceNow is an event that was sent just now.
func sinceNow(event string) string {
	return strings.Replace(event, `"time": "2026-11-22T10:04:40Z"`, `"time": "`+time.Now().UTC().Format(time.RFC3339)+`"`, 1)
}
