package cli

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"firstline/internal/deadletter"
	"firstline/internal/deployed"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/probe"
	"firstline/internal/store"
)

func TestTable(t *testing.T) {
	long := strings.Repeat("word ", 12) + "end"
	for _, tt := range []struct{ name, in, want string }{
		{"fits", "A\tB\n1\t22\n333\t4\n", "A    B\n1    22\n333  4\n"},
		{"two, and lines between", "\nA\tB\n1\t2\nno table\n\nA\tB\n333\t4\n", "\nA  B\n1  2\nno table\n\nA    B\n333  4\n"},
		{
			"text beside", "REGION\tWHAT\neu-west-1\t" + long + " " + long + "\nus-east-1\t\n",
			"REGION     WHAT\neu-west-1  " + strings.Repeat("word ", 12) + "end word\n           " + strings.Repeat("word ", 11) + "end\nus-east-1\n",
		},
		{
			"a word that does not fit beside", "REGION\tWHAT\neu-west-1\ta " + strings.Repeat("x", 70) + "\nus-east-1\tshort\n",
			"REGION     WHAT\neu-west-1\n    a " + strings.Repeat("x", 70) + "\nus-east-1  short\n",
		},
		{
			"no room beside", "A\tWHAT\n" + strings.Repeat("y", 60) + "\t" + strings.Repeat("x", 80) + "\n",
			"A\n    WHAT\n" + strings.Repeat("y", 60) + "\n    " + strings.Repeat("x", 76) + "\n    xxxx\n",
		},
		{
			"cut, but for ids", "TIME\tID\tNAME\tEND\n2026-11-30T18:17:13Z\ti-0c1cbf2e7abdedf75\t" + strings.Repeat("n", 40) + "\tdone\n",
			"TIME                  ID                   NAME                             END\n2026-11-30T18:17:13Z  i-0c1cbf2e7abdedf75  " + strings.Repeat("n", 30) + "…  done\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := printed(t, func(w *bytes.Buffer) error {
				table := newTable(w)
				_, _ = io.WriteString(table, tt.in)
				return table.Flush()
			})
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// Every table of every command fits a terminal, whatever is in it, and no id is lost.
func TestTablesFit(t *testing.T) {
	const (
		region, id = "ap-southeast-3", "i-0c1cbf2e7abdedf75"
		name       = "the-web-server-of-the-shop-in-jakarta-production-blue-0001"
		execution  = "8b1c0a77-4d2f-4f7e-9a55-3c6a0f5f2c11_0e3e7d9a-6a0a-4a0c-8f8e-2f0c8f1d5a21"
		reason     = "the reboot of 22 November 10:05 UTC did not cure the same failure: GET http://203.0.113.7/healthz"
		alias      = "firstline-of-the-operations/ap-southeast-3/i-0c1cbf2e7abdedf75/1764526633000/2"
		person     = "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Operators_0123456789abcdef/jane.doe@example.com"
	)
	where := deployment{regions: []deployed.Region{{Region: region, InstanceIDs: []string{id}}}}
	worst := func(checks ...string) (all []probe.CheckResult) {
		for _, check := range checks {
			all = append(all, probe.CheckResult{Check: check, Result: probe.Result(incident.Attention), Reason: "of " + check})
		}
		return all
	}
	rec := record(execution, id, time.Hour, 999*time.Hour, "already_handled", refused)
	rec.Region, rec.Name, rec.Dry, rec.Execution = region, name, true, person
	rec.Reboot = &incident.Reboot{At: rec.StartedAt, Request: incident.RequestAccepted, Outcome: incident.OutcomeNotCured, Reason: alias}
	rec.Paged = &incident.Paged{Pager: "opsgenie", Alias: alias, At: rec.StartedAt}
	printed := func(command string, w io.Writer) error {
		r := rolloutRun{c: &cobra.Command{Use: command}, out: w}
		r.result.Regions = []regionResult{{Region: region, Result: "interrupted", Added: 12345, Changed: 12345, Destroyed: 12345, Seconds: 12345}}
		return r.print()
	}
	for _, tt := range []struct {
		name  string
		print func(io.Writer) error
		whole []string
	}{
		{"incidents", func(w io.Writer) error {
			return printIncidents(w, incidentsResult{Incidents: []store.Record{rec}}, where, nil)
		}, []string{"8b1c0a77", id, region, "the-web-server-of-the-shop-"}},
		{"incident", func(w io.Writer) error {
			var text bytes.Buffer
			err := printIncident(&text, &incidentResult{Incident: rec})
			_, timeline, _ := strings.Cut(text.String(), "\n\n") // what is above it may be longer, such as a link
			return errors.Join(err, func() error { _, err := io.WriteString(w, timeline); return err }())
		}, []string{alias}},
		{"pause", func(w io.Writer) error {
			return printPause(w, pauseResult{Command: "resume", Until: noon, Results: []pauseLine{{Region: region, Instance: id, Result: pauseSet}, {Region: region, Instance: id, Result: pauseReleased}}}, "")
		}, []string{id, region}},
		{"paused", func(w io.Writer) error {
			return printPaused(w, pausedResult{
				Pauses: []standing{{Region: region, Until: noon.Add(167 * time.Hour), By: person}, {Region: region, Instance: id, Until: noon.Add(167 * time.Hour)}},
				HandedOver: []handedOver{{
					Region: region, Instance: id, Name: name, Since: noon.Add(-1000 * time.Hour), Alert: alias, Pager: "opsgenie", Situation: "down_after_reboot", ClosedAt: noon, Unconfirmed: true,
				}},
			}, noon, "")
		}, []string{id, region, person, alias}},
		{"explain", func(w io.Writer) error {
			reboot := incident.Reboot{At: incident.At(noon), Request: incident.RequestAccepted, Outcome: incident.OutcomeNotCured, Reason: reason}
			return printExplanation(w, &explainResult{
				Region: region, Instance: id, Name: name, At: incident.At(noon), Assumed: []string{"no incident of the instance is under way; now: " + execution},
				Stored: known{
					HandedOver: &handedOver{Since: noon, Alert: alias, Situation: "down_after_reboot", Unconfirmed: true, HandedBackBy: person},
					Pauses:     []standing{{Until: noon, By: person}}, Reboots: []incident.Reboot{reboot}, UnderWay: execution,
				},
				Facts:    []policy.FactSaid{{Fact: "alert " + alias, Error: reason}},
				Decision: rec.Looks[0], Guards: []policy.GuardSaid{{Guard: policy.GuardInitializing, Reason: reason}},
			})
		}, []string{id, region, person, alias}},
		{"incidents --dry", func(w io.Writer) error {
			return printDryRuns(w, dryResult{
				Rows:  []rowCount{{10, "reboot", 1234}},
				Would: []would{{region, rec.ID, incident.At(noon), id, name, 12, "page", policy.GuardInitializing, reason}},
			}, where)
		}, []string{"8b1c0a77", id, region}},
		{"redrive", func(w io.Writer) error {
			r := redriveResult{Messages: []letter{{Region: region, InstanceID: id, Alarm: "firstline-of-the-operations-alarm-" + id + "-cpu", At: noon, SentAt: noon, Code: "SDK_CLIENT_ERROR", Reason: person, Result: deadletter.NotDeleted, Execution: execution}}}
			if err := printLetters(w, r, where); err != nil {
				return err
			}
			return printReplayed(w, r)
		}, []string{id, region, execution, person, "firstline-of-the-operations-alarm-" + id + "-cpu"}},
		{"notify test", func(w io.Writer) error {
			return printNotifications(w, []probe.Notification{{Region: region, Deliveries: []probe.Delivery{{Channel: "jsm", OK: true, Confirmed: true, ElapsedMs: 123456, Detail: "made the alert " + alias}}}})
		}, []string{region, alias}},
		{"verify", func(w io.Writer) error {
			return printVerification(w, []probe.Verification{{
				Region: region, Instances: []probe.InstanceResult{{ID: id, Checks: worst("url", "route53", "ssh", "reboot", "alarm")}},
				Deployment: worst("slack", "pager", "concurrency", "rules", "subscriptions", "subscribers", "heartbeat"),
			}})
		}, []string{id, region}},
		{"deploy", func(w io.Writer) error { return printed("deploy", w) }, []string{region}},
		{"drift", func(w io.Writer) error { return printed("drift", w) }, []string{region}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if err := tt.print(&out); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(out.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			text := strings.Join(strings.Fields(out.String()), "")
			for _, whole := range tt.whole {
				if !strings.Contains(text, whole) {
					t.Errorf("it does not show %s:\n%s", whole, out.String())
				}
			}
		})
	}
}
