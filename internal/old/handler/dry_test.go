package handler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

// allowed is how EC2 answers a dry run that it would carry out.
var allowed = &smithy.GenericAPIError{Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set."}

// rehearsal is the sample event as a canary sends it.
func rehearsal(t *testing.T) string {
	t.Helper()
	return strings.Replace(sampleEvent(t), `"aws.cloudwatch"`, `"firstline.canary"`, 1)
}

// dry makes an incident dry.
func dry(inc *incident.Incident) *incident.Incident {
	inc.Dry = true
	return inc
}

func TestOpenOfACanaryIsDryAndShort(t *testing.T) {
	f := &fake{parameters: settingsAt(`{"boot":{"firstLookSeconds":60,"intervalSeconds":20,"windowSeconds":3600},"reboot":{"coolDownSeconds":3600}}`)}
	h, _ := newHandler(f)
	inc, lerr := invoke(t, h, openPayload(rehearsal(t)))
	if lerr.Type != "" {
		t.Fatal(lerr)
	}
	if !inc.Dry || inc.InstanceID != instance || inc.Run != 1 {
		t.Errorf("got %+v", inc)
	}
	if want := (incident.Boot{FirstLookSeconds: 1, IntervalSeconds: 1, WindowSeconds: 1}); inc.Settings.Boot != want {
		t.Errorf("boot %+v, want %+v", inc.Settings.Boot, want)
	}
	// Every later step takes what open made.
	if err := inc.Validate(); err != nil {
		t.Error(err)
	}
}

// What CloudWatch sends is meant, whatever else it holds.
func TestAnAlarmIsNeverDry(t *testing.T) {
	event := sampleEvent(t)
	extra := func(fields string) string { return "{" + fields + "," + strings.TrimSpace(event)[1:] }
	behind := func(fields string) string {
		s := strings.TrimSpace(event)
		return s[:len(s)-1] + "," + fields + "}"
	}
	within := func(fields string) string {
		return strings.Replace(event, `"detail": {`, `"detail": {`+fields+`,`, 1)
	}
	for name, e := range map[string]string{
		"as it comes":                  event,
		"dry":                          extra(`"dry":true`),
		"dry behind":                   behind(`"dry":true`),
		"dry in capitals":              behind(`"DRY":true,"Dry":true`),
		"dry in the detail":            within(`"dry":true,"incident":{"dry":true}`),
		"another source in capitals":   behind(`"Source":"firstline.canary","SOURCE":"firstline.canary"`),
		"another source in front":      extra(`"Source":"firstline.canary"`),
		"another source in detail":     within(`"source":"firstline.canary"`),
		"suppressed":                   extra(`"suppressed":[{"action":"reboot"}]`),
		"an incident":                  extra(`"incident":{"dry":true},"event":{"source":"firstline.canary"}`),
		"a resource that speaks of it": strings.Replace(event, `"resources": [`, `"resources": ["firstline.canary",`, 1),
		"a reason that speaks of it":   strings.Replace(event, `"reason": "`, `"reason": "firstline.canary `, 2),
		"a description with the word":  strings.Replace(event, `"description": "`, `"description": "\"source\":\"firstline.canary\" `, 1),
	} {
		t.Run(name, func(t *testing.T) {
			h, log := newHandler(&fake{parameters: settingsAt(`{}`)})
			inc, lerr := invoke(t, h, openPayload(e))
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			if inc.Dry || inc.Settings.Boot != incident.DefaultSettings().Boot || strings.Contains(log.String(), `"dry"`) {
				t.Errorf("dry %v, boot %+v, log %s", inc.Dry, inc.Settings.Boot, log)
			}

			// Nor when it could not be opened: somebody is paged.
			f := &fake{}
			h, log = newHandler(f)
			inc, lerr = invoke(t, h, `{"step":"opsgenie","incident":{"event":`+e+`,"execution":`+execution+`,"error":{"Error":"Denied","Cause":"no"}}}`)
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			if inc.Dry || len(f.sent) != 1 || len(f.rehearsed) != 0 || strings.Contains(log.String(), `"dry"`) {
				t.Errorf("dry %v, %d sent, %d rehearsed, log %s", inc.Dry, len(f.sent), len(f.rehearsed), log)
			}
		})
	}
}

func TestOtherSourcesAreNeither(t *testing.T) {
	for _, source := range []string{`"firstline.canary2"`, `"firstline.Canary"`, `" firstline.canary"`, `"firstline"`, `""`, `null`, `7`, `["firstline.canary"]`} {
		h, _ := newHandler(&fake{parameters: settingsAt(`{}`)})
		_, lerr := invoke(t, h, openPayload(strings.Replace(sampleEvent(t), `"aws.cloudwatch"`, source, 1)))
		if lerr.Type != string(fault.InvalidInput) || !strings.Contains(lerr.Message, "is not an alarm's") {
			t.Errorf("%s: got %v", source, lerr)
		}
	}
}

// A dry flag of a form that is not ours does not silence anybody.
func TestTellOfAMalformedDryIncident(t *testing.T) {
	f := &fake{}
	h, _ := newHandler(f)
	p := strings.Replace(payload(t, "opsgenie", dry(failed())), `"dry":true`, `"dry":"yes"`, 1)
	if _, lerr := invoke(t, h, p); lerr.Type != "" || len(f.sent) != 1 || len(f.rehearsed) != 0 {
		t.Errorf("%v, %d sent, %d rehearsed", lerr, len(f.sent), len(f.rehearsed))
	}
}

// Of an incident that is not valid as a whole, dry is kept.
func TestTellOfADryIncidentThatIsSalvaged(t *testing.T) {
	f := &fake{}
	h, _ := newHandler(f)
	p := strings.Replace(payload(t, "opsgenie", dry(failed())), `"run":1`, `"run":"one"`, 1)
	inc, lerr := invoke(t, h, p)
	if lerr.Type != "" || len(f.sent) != 0 || len(f.rehearsed) != 1 || !inc.Dry || inc.Error == nil {
		t.Errorf("%v, %d sent, %d rehearsed, %+v", lerr, len(f.sent), len(f.rehearsed), inc)
	}
}

func TestDryReboot(t *testing.T) {
	passed := func() *incident.Incident {
		inc := open1(`{}`)
		inc.Record(checks.Finding{Check: "ssh", Passed: true, At: time.Now()})
		return inc
	}
	old := failed()
	old.Findings[0].At = time.Now().Add(-time.Hour)
	for _, tt := range []struct {
		name, reason string
		inc          *incident.Incident
		want         string
	}{
		{"a check failed", "refused", failed(), "The reason: refused"},
		{"nothing was checked", "", open1(`{}`), "No check failed."},
		{"every check passed", "", passed(), "No check failed."},
		{"failed long ago", "refused", old, "The reason: refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{state: "running", dryErr: allowed}
			h, log := newHandler(f)
			inc, lerr := invoke(t, h, payload(t, "reboot", dry(tt.inc)))
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			if f.reboots != 0 || f.dryRuns != 1 || inc.Run != 2 || inc.Passed || !inc.Dry {
				t.Errorf("%d reboots, %d dry runs, %+v", f.reboots, f.dryRuns, inc)
			}
			if inc.Reboot.Outcome != incident.RebootSuppressed || inc.Reboot.Reason != tt.reason || inc.Recovery == nil {
				t.Errorf("%+v", inc.Reboot)
			}
			// Whatever the next look sees, it comes later.
			if closes := inc.Reboot.WindowClosesAt; closes.After(inc.Reboot.At) || closes.Nanosecond() != 0 || time.Since(closes) > 5*time.Second {
				t.Errorf("the window closes at %s, the reboot was at %s", closes, inc.Reboot.At)
			}
			if len(inc.Suppressed) != 1 || inc.Suppressed[0].Action != "reboot" || !inc.Suppressed[0].At.Equal(inc.Reboot.At) {
				t.Fatalf("suppressed %+v", inc.Suppressed)
			}
			text := inc.Suppressed[0].Text
			if !strings.HasPrefix(text, "[dry run] "+instance+" in eu-west-1 would have been rebooted") || !strings.Contains(text, tt.want) {
				t.Errorf("says %q", text)
			}
			if !strings.Contains(log.String(), `"dry":true`) {
				t.Errorf("the log line does not say that it is dry: %s", log)
			}

			again, lerr := invoke(t, h, payload(t, "reboot", inc))
			if lerr.Type != "" || f.dryRuns != 1 || f.reboots != 0 || len(again.Suppressed) != 1 {
				t.Errorf("again: %v, %d dry runs, %d reboots, %+v", lerr, f.dryRuns, f.reboots, again)
			}
		})
	}
}

func TestDryRebootAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer error
		state  ec2types.InstanceStateName
		inc    *incident.Incident
		kind   fault.Kind
		want   string
		asked  int
	}{
		{"accepted as if it were meant", nil, "running", failed(), fault.Internal, "EC2 accepted a dry run as if it were none, and may be rebooting the instance", 1},
		{"not authorized", &smithy.GenericAPIError{Code: "UnauthorizedOperation", Message: "You are not authorized"}, "running", failed(), fault.Denied, "dry run: api error UnauthorizedOperation", 1},
		{"throttled", &smithy.GenericAPIError{Code: "RequestLimitExceeded"}, "running", failed(), fault.Unavailable, "RequestLimitExceeded", 1},
		{"a server fault", &smithy.GenericAPIError{Code: "InternalError", Fault: smithy.FaultServer}, "running", failed(), fault.Unavailable, "InternalError", 1},
		{"refused", &smithy.GenericAPIError{Code: "IncorrectState"}, "running", failed(), fault.InvalidInput, "IncorrectState", 1},
		{"no answer", errors.New("connection reset"), "running", failed(), fault.Unavailable, "connection reset", 1},
		{"stopped", allowed, "stopped", failed(), fault.InvalidInput, "the instance is stopped", 0},
		{"run 2 without a reboot", allowed, "running", func() *incident.Incident { i := failed(); i.Run = 2; return i }(), fault.InvalidInput, "only run 1", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{state: tt.state, dryErr: tt.answer}
			h, _ := newHandler(f)
			_, lerr := invoke(t, h, payload(t, "reboot", dry(tt.inc)))
			if lerr.Type != string(tt.kind) || !strings.Contains(lerr.Message, tt.want) {
				t.Errorf("got %s: %s\nwant %s with %q", lerr.Type, lerr.Message, tt.kind, tt.want)
			}
			if f.reboots != 0 || f.dryRuns != tt.asked {
				t.Errorf("%d reboots and %d dry runs, want 0 and %d", f.reboots, f.dryRuns, tt.asked)
			}
		})
	}
}

// A reboot that is meant takes EC2's answer to a dry run for a refusal.
func TestRebootThatEC2TakesForADryRun(t *testing.T) {
	h, _ := newHandler(&fake{state: "running", rebootErr: allowed})
	if _, lerr := invoke(t, h, payload(t, "reboot", failed())); lerr.Type != string(fault.InvalidInput) || !strings.Contains(lerr.Message, "DryRunOperation") {
		t.Errorf("got %v", lerr)
	}
}

// What EC2 itself gets to see, of either kind.
func TestDryRunOnTheWire(t *testing.T) {
	for _, isDry := range []bool{true, false} {
		var asked []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			switch {
			case describes(w, string(body)):
			case strings.Contains(string(body), "DryRun=true"):
				asked = append(asked, "dry")
				w.WriteHeader(http.StatusPreconditionFailed)
				_, _ = io.WriteString(w, `<Response><Errors><Error><Code>DryRunOperation</Code><Message>Request would have succeeded, but DryRun flag is set.</Message></Error></Errors><RequestID>x</RequestID></Response>`)
			case strings.Contains(string(body), "DryRun"):
				t.Errorf("asked %s", body)
			default:
				asked = append(asked, "meant")
				_, _ = io.WriteString(w, `<RebootInstancesResponse><return>true</return></RebootInstancesResponse>`)
			}
		}))
		h, _ := newHandler(&fake{})
		h.EC2 = func(context.Context) (Rebooter, error) { return ec2Client(server.URL), nil }
		inc := failed()
		inc.Dry = isDry
		got, lerr := invoke(t, h, payload(t, "reboot", inc))
		server.Close()
		if lerr.Type != "" {
			t.Fatal(lerr)
		}
		outcome, way := incident.RebootRequested, "meant"
		if isDry {
			outcome, way = incident.RebootSuppressed, "dry"
		}
		if got.Reboot.Outcome != outcome || !slices.Equal(asked, []string{way}) {
			t.Errorf("dry %v: %s, asked %v", isDry, got.Reboot.Outcome, asked)
		}
	}
}

// If dry gets lost on the way, the ordinary guards still stand before a healthy
// machine; and a version that does not know dry carries it along.
func TestRebootOfAHealthyMachineThatLostItsDry(t *testing.T) {
	f := &fake{parameters: settingsAt(`{}`), state: "running", finding: checks.Finding{Check: "url", Passed: true}}
	h, _ := newHandler(f)
	inc, lerr := invoke(t, h, openPayload(rehearsal(t)))
	if lerr.Type != "" {
		t.Fatal(lerr)
	}
	for _, step := range []string{"", "url", "route53", "ssh"} {
		if step != "" {
			f.finding.Check, f.finding.At = step, time.Now()
			if inc, lerr = invoke(t, h, payload(t, step, inc)); lerr.Type != "" {
				t.Fatal(lerr)
			}
		}
		p := payload(t, "reboot", inc)
		lost := strings.Replace(p, `"dry":true,`, "", 1)
		if lost == p {
			t.Fatal("there was no dry to lose")
		}
		if _, lerr := invoke(t, h, lost); lerr.Type != string(fault.InvalidInput) || !strings.Contains(lerr.Message, "no check of run 1 has failed") {
			t.Errorf("after %q: got %v", step, lerr)
		}
	}
	if f.reboots+f.dryRuns != 0 {
		t.Errorf("%d reboots and %d dry runs", f.reboots, f.dryRuns)
	}
}

// Nothing was rebooted, so what Route 53's checkers saw before still counts.
func TestRoute53OfADryIncidentCountsEverything(t *testing.T) {
	f := &fake{since: time.Now()}
	h, _ := newHandler(f)
	inc := dry(open1(`{}`))
	inc.Run, inc.Reboot = 2, &incident.Reboot{At: time.Now(), Outcome: incident.RebootSuppressed}
	if _, lerr := invoke(t, h, payload(t, "route53", inc)); lerr.Type != "" || !f.since.IsZero() {
		t.Errorf("%v, asked for observations since %s", lerr, f.since)
	}
}

func TestDryTell(t *testing.T) {
	for step, action := range map[string]string{"slack": "slack", "opsgenie": "page"} {
		for name, inc := range map[string]*incident.Incident{"opened": open1(`{}`), "failed": failed()} {
			t.Run(step+"/"+name, func(t *testing.T) {
				f := &fake{}
				h, log := newHandler(f)
				got, lerr := invoke(t, h, payload(t, step, dry(inc)))
				if lerr.Type != "" {
					t.Fatal(lerr)
				}
				if len(f.sent) != 0 || len(f.rehearsed) != 1 || f.asked != 0 {
					t.Errorf("%d sent, %d rehearsed, %d questions for the alarm", len(f.sent), len(f.rehearsed), f.asked)
				}
				if m := f.rehearsed[0]; m.Deployment != "firstline" || m.Now.IsZero() || !m.Incident.Dry {
					t.Errorf("rehearsed %+v", m)
				}
				if len(got.Suppressed) != 1 || got.Suppressed[0].Action != action || got.Suppressed[0].Text != "the message" || got.Suppressed[0].At.IsZero() {
					t.Errorf("suppressed %+v", got.Suppressed)
				}
				if n := strings.Count(log.String(), "\n"); n != strings.Count(log.String(), `"dry":true`) {
					t.Errorf("a log line does not say that it is dry: %s", log)
				}
				f.sendErr = fault.New(fault.InvalidInput, "read secret", "it was never given a value")
				if _, lerr := invoke(t, h, payload(t, step, dry(inc))); lerr.Type != string(fault.InvalidInput) {
					t.Errorf("got %v", lerr)
				}
			})
		}
	}
}

// What could not be opened is dry for its event's source.
func TestDryTellWithoutAnIncident(t *testing.T) {
	f := &fake{}
	h, log := newHandler(f)
	got, lerr := invoke(t, h, `{"step":"opsgenie","incident":{"event":`+rehearsal(t)+`,"execution":`+execution+`,"error":{"Error":"Denied","Cause":"no"}}}`)
	if lerr.Type != "" {
		t.Fatal(lerr)
	}
	if len(f.sent) != 0 || len(f.rehearsed) != 1 || !got.Dry || len(got.Suppressed) != 1 {
		t.Errorf("%d sent, %d rehearsed, %+v", len(f.sent), len(f.rehearsed), got)
	}
	if !strings.Contains(log.String(), `"dry":true`) {
		t.Errorf("log %s", log)
	}
}

// Also when a step fails, or the function itself does.
func TestEveryLogLineOfADryStepSaysSo(t *testing.T) {
	noSettings := &fake{parameters: map[string]ssmtypes.Parameter{}}
	for name, tt := range map[string]struct {
		f       *fake
		payload string
	}{
		"no settings":  {noSettings, openPayload(rehearsal(t))},
		"not an alarm": {&fake{}, openPayload(strings.Replace(rehearsal(t), `"value": "ALARM"`, `"value": "OK"`, 1))},
		"panic":        {&fake{panics: true}, payload(t, "url", dry(open1(`{}`)))},
		"not valid":    {&fake{}, strings.Replace(payload(t, "url", dry(open1(`{}`))), instance, "i-x", 1)},
		"error":        {&fake{checkErr: fault.New(fault.Denied, "x", "no")}, payload(t, "url", dry(open1(`{}`)))},
		"unknown step": {&fake{}, payload(t, "shutdown", dry(open1(`{}`)))},
	} {
		t.Run(name, func(t *testing.T) {
			h, log := newHandler(tt.f)
			if _, lerr := invoke(t, h, tt.payload); lerr.Type == "" {
				t.Fatal("no error")
			}
			for line := range bytes.Lines(log.Bytes()) {
				var fields struct{ Dry bool }
				if err := json.Unmarshal(line, &fields); err != nil || !fields.Dry {
					t.Errorf("%s (%v)", line, err)
				}
			}
			// The next step of a warm function is nobody's rehearsal.
			log.Reset()
			tt.f.panics = false
			_, _ = invoke(t, h, payload(t, "url", open1(`{}`)))
			if log.Len() == 0 || strings.Contains(log.String(), "dry") {
				t.Errorf("the next line is %s", log)
			}
		})
	}
}

// The whole of a dry incident, with the real notifiers and nobody to answer
// them: what is suppressed is what would have been said.
func TestDryIncidentFromEndToEnd(t *testing.T) {
	const token, key = "xoxb-very-secret", "key-very-secret" //nolint:gosec // G101: no real secrets
	secure := func(v string) ssmtypes.Parameter {
		return ssmtypes.Parameter{Value: &v, Type: ssmtypes.ParameterTypeSecureString}
	}
	f := &fake{parameters: settingsAt(`{}`), state: "running", dryErr: allowed, finding: checks.Finding{Check: "url", Reason: "connection refused"}}
	f.parameters["/slack"], f.parameters["/key"] = secure(token), secure(key)
	h, log := newHandler(f)
	called := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called++ }))
	defer server.Close()
	secrets := &Secrets{SSM: h.SSM}
	from := func(parameter string) notify.Secret {
		return func(ctx context.Context, fresh bool) (string, error) { return secrets.Get(ctx, parameter, fresh) }
	}
	h.Slack = &notify.Slack{Token: from("/slack"), ChannelID: "C0123456789", APIURL: server.URL}
	h.Pagers = func() (*notify.Pagers, error) {
		return &notify.Pagers{All: []notify.Pager{&notify.OpsGenie{Key: from("/key"), BaseURL: server.URL}}}, nil
	}

	inc, lerr := invoke(t, h, openPayload(rehearsal(t)))
	for _, step := range []string{"url", "reboot", "url", "opsgenie", "slack"} {
		if lerr.Type != "" {
			t.Fatal(lerr)
		}
		f.finding.At = time.Now()
		inc, lerr = invoke(t, h, payload(t, step, inc))
	}
	if lerr.Type != "" {
		t.Fatal(lerr)
	}
	var actions []string
	for _, s := range inc.Suppressed {
		actions = append(actions, s.Action)
		if !strings.Contains(s.Text, "[dry run]") || !strings.Contains(s.Text, instance) || len(s.Text) > 2010 {
			t.Errorf("%s: %q", s.Action, s.Text)
		}
	}
	if diff := cmp.Diff([]string{"reboot", "page", "slack"}, actions); diff != "" {
		t.Errorf("suppressed (-want +got):\n%s", diff)
	}
	if page := inc.Suppressed[1].Text; !strings.HasPrefix(page, "[dry run] "+instance+" in eu-west-1 is down after a suppressed reboot\n") || !strings.Contains(page, "connection refused") {
		t.Errorf("the page says %q", page)
	}
	// As Step Functions compares them.
	if inc.LookedAt.Before(inc.Reboot.WindowClosesAt) {
		t.Errorf("looked at %s, the window closes at %s", inc.LookedAt, inc.Reboot.WindowClosesAt)
	}
	if called != 0 || f.reboots != 0 || f.asked != 0 {
		t.Errorf("%d requests, %d reboots, %d questions for the alarm", called, f.reboots, f.asked)
	}
	state, err := json.Marshal(inc)
	if err != nil || bytes.Contains(state, []byte("very-secret")) || strings.Contains(log.String(), "very-secret") {
		t.Errorf("a secret shows: %s, %s (%v)", state, log, err)
	}

	// What is gone now would be missing at the next incident, also to a warm
	// function.
	f.parameters["/key"] = secure(Unset)
	if _, lerr := invoke(t, h, payload(t, "opsgenie", inc)); lerr.Type != string(fault.InvalidInput) || !strings.Contains(lerr.Message, "never given a value") {
		t.Errorf("got %v", lerr)
	}
	delete(f.parameters, "/slack")
	if _, lerr := invoke(t, h, payload(t, "slack", inc)); lerr.Type != string(fault.InvalidInput) || !strings.Contains(lerr.Message, "does not exist") {
		t.Errorf("got %v", lerr)
	}
}

// missing is a pager whose key was never given a value.
type missing struct {
	notify.Pager
	name string
}

func (m missing) Name() string { return m.name }

func (m missing) Rehearse(context.Context, notify.Message) (string, error) {
	return "", fault.New(fault.InvalidInput, "read secret /firstline/secrets/"+m.name, "it was never given a value")
}

func TestARehearsalNamesEveryPagerThatWouldFail(t *testing.T) {
	h, _ := newHandler(&fake{})
	h.Pagers = func() (*notify.Pagers, error) {
		return &notify.Pagers{All: []notify.Pager{missing{name: notify.NameOpsGenie}, missing{name: notify.NameJSM}}}, nil
	}
	_, lerr := invoke(t, h, payload(t, "opsgenie", dry(failed())))
	if lerr.Type != string(fault.InvalidInput) {
		t.Errorf("got the error %q, want InvalidInput", lerr.Type)
	}
	for _, name := range []string{notify.NameOpsGenie, notify.NameJSM} {
		if !strings.Contains(lerr.Message, "pager "+name) || !strings.Contains(lerr.Message, "/firstline/secrets/"+name) {
			t.Errorf("%q does not name %s", lerr.Message, name)
		}
	}
}
