package test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"firstline/internal/localaws"
	"firstline/internal/old/handler"
	"firstline/internal/old/incident"
	"firstline/internal/stage"
)

// patience is the boot window of the dry stories: none of them waits for it.
var patience = map[string]any{
	"boot":   map[string]any{"first_look_seconds": 300, "interval_seconds": 60, "window_seconds": 3600},
	"reboot": map[string]any{"cool_down_seconds": 3600}, // at least the window
}

// dryStories are rehearsals: no reboot and no message, whatever comes of them.
func dryStories() []story {
	return []story{
		{name: "a dry incident of a healthy instance", dry: true, settings: patience, set: func(*scene) {}, end: "All good"},
		{
			name: "a dry incident whose URL is refused", dry: true, settings: patience,
			set: func(s *scene) { _ = s.i.SetHTTP(stage.Refuse) },
			end: "Paged", suppressed: []string{"reboot", "page", "slack"},
			says: []string{"would have been rebooted", "is down after a suppressed reboot", "refused"},
		},
		{
			// Of its looks only the first fails, though nothing was rebooted.
			name: "a dry incident that recovers", dry: true, healthCheck: true,
			set: func(s *scene) {
				looks := 0
				s.AWS.SetHealthCheckFunc(s.healthCheck, func() []localaws.Observation {
					looks++
					return reports(8 * min(looks-1, 1))
				})
			},
			end: "Recovered", suppressed: []string{"reboot", "slack"},
			says: []string{"would have been rebooted", "recovered after a suppressed reboot", "checkers"},
		},
		{
			name: "a dry incident whose reboot is denied", dry: true, settings: patience,
			set: func(s *scene) {
				_ = s.i.SetHTTP(stage.Refuse)
				s.breakCalls(localaws.Fault{Service: "ec2", Action: "RebootInstances", Contains: s.i.ID, Status: 403, Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation."})
			},
			end: "Paged", suppressed: []string{"page", "slack"},
			says: []string{"Denied", "could not be rebooted", "No reboot was made"},
		},
	}
}

// checkDry asserts what is true of every dry incident, and what it suppressed.
func (s story) checkDry(t *testing.T, sc *scene, e ending) {
	t.Helper()
	inc := dryIncident(t, e)
	var actions []string
	texts := ""
	for _, a := range inc.Suppressed {
		actions = append(actions, a.Action)
		texts += a.Text + "\n"
		if !strings.Contains(a.Text, "[dry run]") {
			t.Errorf("what was suppressed is not labelled: %s", a.Text)
		}
	}
	if diff := cmp.Diff(s.suppressed, actions, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("suppressed (-want +got):\n%s", diff)
	}
	for _, want := range s.says {
		if !strings.Contains(texts, want) {
			t.Errorf("what was suppressed does not say %q:\n%s", want, texts)
		}
	}
	// The checks take seconds, and the waits one each: less than the first wait
	// of an incident that is meant.
	if e.took > time.Minute {
		t.Errorf("it took %s", e.took)
	}
	lines := 0
	for line := range strings.Lines(sc.AWS.Logs(functionARN(sc.name(), sc.i.Region))) {
		if strings.Contains(line, e.name) {
			lines++
			if !strings.Contains(line, `"dry":true`) {
				t.Errorf("a log line does not say that it is dry: %s", line)
			}
		}
	}
	if lines < 4 {
		t.Errorf("the function logged %d lines, want one a step", lines)
	}
}

// dryIncident is the incident with which an execution ended.
func dryIncident(t *testing.T, e ending) incident.Incident {
	t.Helper()
	var inc incident.Incident
	if err := json.Unmarshal([]byte(e.state), &inc); err != nil {
		t.Fatalf("%v: %s", err, e.state)
	}
	if !inc.Dry {
		t.Errorf("it is not dry at its end: %s", e.state)
	}
	return inc
}

// rehearse sends a canary's event for an instance to the default bus, and
// waits for the end of the one execution whose input it is.
func rehearse(t *testing.T, w *stage.World, deployment, region, id string, executions *started) ending {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	alarm := deployment + "-cpu-" + id
	detail, err := json.Marshal(alarmDetail(alarm, id, time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	out, err := eventbridge.NewFromConfig(w.AWS.Config(region)).PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{{
		Source: aws.String(incident.SourceCanary), DetailType: aws.String("CloudWatch Alarm State Change"), Detail: aws.String(string(detail)),
		Resources: []string{"arn:aws:cloudwatch:" + region + ":" + localaws.AccountID + ":alarm:" + alarm},
	}}})
	if err != nil || out.FailedEntryCount != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	return follow(ctx, t, w, region, startedBy(ctx, t, w, deployment, region, aws.ToString(out.Entries[0].EventId)), executions)
}

// startedBy waits for the execution whose input is the event.
func startedBy(ctx context.Context, t *testing.T, w *stage.World, deployment, region, event string) string {
	t.Helper()
	client := sfn.NewFromConfig(w.AWS.Config(region))
	machine := "arn:aws:states:" + region + ":" + localaws.AccountID + ":stateMachine:" + deployment
	var found []string
	for {
		pages := sfn.NewListExecutionsPaginator(client, &sfn.ListExecutionsInput{StateMachineArn: &machine})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Executions {
				x, err := client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: e.ExecutionArn})
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(aws.ToString(x.Input), event) {
					found = append(found, *e.ExecutionArn)
				}
			}
		}
		switch {
		case len(found) == 1:
			return found[0]
		case len(found) > 1:
			t.Fatalf("the event %s started %d executions", event, len(found))
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the event %s started nothing", event)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// rehearseUnknownInstance plays a canary for an instance that has no settings:
// no incident can be opened, and still nobody is woken.
func rehearseUnknownInstance(t *testing.T, w *stage.World, executions *started) {
	const id = "i-0fffffffffffffffe"
	e := rehearse(t, w, plain, home, id, executions)
	inc := dryIncident(t, e)
	if e.last != "Paged" || len(inc.Suppressed) != 2 || inc.Suppressed[0].Action != "page" || !strings.Contains(inc.Suppressed[0].Text, "[dry run] ") ||
		!strings.Contains(inc.Suppressed[0].Text, "regions.tfvars") {
		t.Errorf("ended in %q (%s), suppressed %+v\n%s", e.last, e.status, inc.Suppressed, strings.Join(e.lines, "\n"))
	}
	if pages := w.Pager.Received(id); len(pages) != 0 {
		t.Errorf("%d pages: %+v", len(pages), pages)
	}
}

// withoutSecret leaves a secret as it is where it was never given, until it is put
// back.
func withoutSecret(t *testing.T, w *stage.World, region, name string) (putBack func()) {
	t.Helper()
	client := ssm.NewFromConfig(w.AWS.Config(region))
	out, err := client.GetParameter(t.Context(), &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	put := func(value *string) {
		t.Helper()
		_, err := client.PutParameter(context.WithoutCancel(t.Context()), &ssm.PutParameterInput{Name: &name, Value: value, Type: ssmtypes.ParameterTypeSecureString, Overwrite: aws.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
	}
	put(aws.String(handler.Unset))
	return func() { put(out.Parameter.Value) }
}

// rehearseWithoutKey plays a canary in a region whose pager has lost its key: no
// page would arrive, and that shows.
func rehearseWithoutKey(t *testing.T, w *stage.World, i *stage.Instance, executions *started) {
	defer withoutSecret(t, w, i.Region, "/firstline/secrets/opsgenie-api-key")()
	if err := i.SetSSH(stage.Refuse); err != nil {
		t.Fatal(err)
	}
	e := rehearse(t, w, plain, i.Region, i.ID, executions)
	inc := dryIncident(t, e)
	if e.last != "Page failed" || inc.PageError == nil || inc.PageError.Error != "InvalidInput" || !strings.Contains(inc.PageError.Cause, "never given a value") {
		t.Errorf("ended in %q (%s), page error %+v\n%s", e.last, e.status, inc.PageError, strings.Join(e.lines, "\n"))
	}
	if n := len(inc.Suppressed); n != 2 || inc.Suppressed[1].Action != "slack" || !strings.Contains(inc.Suppressed[1].Text, "[dry run] Pager failed") {
		t.Errorf("suppressed %+v", inc.Suppressed)
	}
	if slack, pages := w.Slack.Received(i.ID), w.Pager.Received(i.ID); len(slack)+len(pages) != 0 || i.Reboots() != 0 {
		t.Errorf("%d Slack messages, %d pages, %d reboots", len(slack), len(pages), i.Reboots())
	}
}
