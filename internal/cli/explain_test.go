package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
)

func TestExplain(t *testing.T) {
	p := newPlayed(t)
	p.handOver("i-0a1b2c3d", nil, "i-0a1b2c3d")
	p.setRegion(func(r *policy.Region) { r.Pause = &policy.Pause{Until: after(time.Hour), By: jane} })
	p.set("i-0a1b2c3d", func(i *policy.Instance) {
		i.Name, i.LastLookAt, i.UnhealthySince = "web-1", after(-time.Minute), after(-2*time.Hour)
		i.Pause = &policy.Pause{Until: after(-time.Hour)} // it is over
		i.Reboots = []incident.Reboot{{At: after(-2 * time.Hour), Request: incident.RequestAccepted, Outcome: incident.OutcomeNotCured, Reason: "URL: no answer"}}
		i.Lease = policy.Lease{Execution: "arn:aws:states:x", Until: after(time.Minute)}
	})
	got := explained("eu-west-1", &policy.Explanation{
		At: after(0), State: *p.stored("i-0a1b2c3d"),
		Facts:   []policy.FactSaid{{Fact: "alarm", Value: "OK"}, {Fact: "EC2", Error: "EC2: DescribeInstances: denied"}},
		Assumed: []string{"an alarm of the instance is in ALARM; now: OK"},
		Decision: incident.Decision{
			Look: 1, Verdict: incident.VerdictFailed, Row: 8, Next: incident.NextHandedOver, Reason: "handed over",
			Findings: []incident.Finding{{Check: incident.CheckURL, Outcome: incident.Failed, Reason: "GET http://203.0.113.7/: no connection within 3s", Attempts: 3, ElapsedMs: 9012}},
		},
		Guards: []policy.GuardSaid{{Guard: "breaker", Passes: true}, {Guard: "ec2", Reason: "EC2 could not be asked about the instance: denied"}},
	})
	text, err := printed(t, func(w *bytes.Buffer) error { return printExplanation(w, &got) })
	if diff := cmp.Diff(`i-0a1b2c3d in eu-west-1 at 2026-11-23T12:00:00Z

IF AN ALARM FIRED NOW
decided  failed; row 8: handed_over: handed over
assumed  an alarm of the instance is in ALARM; now: OK

STORED
name             web-1
handed over      since 2026-11-23T11:00:00Z: not_rebooted; alert
                 firstline/eu-west-1/i-0a1b2c3d
paused           the region until 2026-11-23T13:00:00Z, by
                 arn:aws:sts::123456789012:assumed-role/ops/jane
breaker          closed
last look        2026-11-23T11:59:00Z
healthy since    -
unhealthy since  2026-11-23T10:00:00Z
reboot           2026-11-23T10:00:00Z: accepted, outcome not_cured: URL: no
                 answer
under way        arn:aws:states:x

CHECK  SEES
url    failed: GET http://203.0.113.7/: no connection within 3s (3 attempts,
       9012 ms)

FACT   VALUE
alarm  OK
EC2    COULD NOT BE ASKED: EC2: DescribeInstances: denied

GUARD    SAYS TO A REBOOT (ROW 10)
breaker  passes
ec2      REFUSES: EC2 could not be asked about the instance: denied
`, text); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// Without dry_run an instance would have been rebooted where dry_run alone refused it.
func TestDryRuns(t *testing.T) {
	dry := func(id, instance string, ago time.Duration, looks ...incident.Decision) (r store.Record) {
		r = record(id, instance, ago, time.Minute, "told", looks[0])
		s := incident.DefaultSettings()
		s.Reboot.DryRun = true
		r.Settings = &s
		for n, l := range looks[1:] {
			l.Look, l.At = n+2, after(time.Minute-ago)
			r.Looks = append(r.Looks, l)
		}
		return r
	}
	confirming := incident.Decision{Verdict: incident.VerdictFailed, Row: 10, Next: incident.NextWait, Reason: "must hold first", Confirming: "reboot"}
	refusedReboot := refused
	refusedReboot.Guard, refusedReboot.Reason = policy.GuardDryRun, "reboot.dry_run is set: it would have been rebooted: URL: no answer"
	attention := incident.Decision{Verdict: incident.VerdictUnknown, Kind: incident.Attention, Row: 12, Next: incident.NextPage, Reason: "URL: 404 Not Found"}
	canary := dry("e-canary", "i-0a1b2c3d", time.Hour, refusedReboot)
	canary.Dry = true
	named := dry("5e1f0a77-rebooted", "i-0a1b2c3d", 2*time.Hour, confirming, refusedReboot)
	named.Name = "web-1"
	w := world{
		"eu-west-1": newPlayed(t).keep(
			named, dry("e-healthy", "i-0a1b2c3d", 3*time.Hour, healthy), dry("e-healthy-2", "i-1a1b2c3d", 4*time.Hour, healthy),
			dry("e-refused", "i-1a1b2c3d", 5*time.Hour, refused), canary, record("e-real", "i-1a1b2c3d", time.Hour, time.Minute, "told", refused)),
		"us-east-1": newPlayed(t).keep(dry("u-attention", "i-2a1b2c3d", time.Hour, attention)),
	}
	d := deployment{regions: two}
	result := tables(w.table).dryRuns(t.Context(), two, noon.Add(-24*time.Hour), nil, 0)
	text, err := printed(t, func(w *bytes.Buffer) error { return printDryRuns(w, result, d) })
	if diff := cmp.Diff(`ROW  WOULD   INCIDENTS
9    done    2
10   page    1
10   reboot  1
12   page    1

TIME                  ID        REGION     INSTANCE    ROW
    NAME, WOULD: REASON
2026-11-23T11:00:01Z  96756423  us-east-1  i-2a1b2c3d  12
    page: URL: 404 Not Found
2026-11-23T10:01:00Z  5e1f0a77  eu-west-1  i-0a1b2c3d  10
    web-1, reboot: URL: no answer
2026-11-23T07:00:01Z  49c610f3  eu-west-1  i-1a1b2c3d  10
    page (cooldown): it was rebooted at 10:55 UTC, and the cool-down of 6 h has…
`, text); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	// The limit bounds the list, not the counts.
	result = tables(w.table).dryRuns(t.Context(), two, noon.Add(-24*time.Hour), []string{"i-0a1b2c3d", "i-2a1b2c3d"}, 1)
	if len(result.Would) != 1 || !result.More || len(result.Rows) != 3 {
		t.Errorf("%+v", result)
	}
	w["us-east-1"].refuse["table"] = denied
	result = tables(w.table).dryRuns(t.Context(), two, noon.Add(-time.Minute), nil, 0)
	text, err = printed(t, func(w *bytes.Buffer) error { return printDryRuns(w, result, d) })
	if text != "no incident of an instance with reboot.dry_run since 2026-11-23T11:59:00Z in eu-west-1\n\nus-east-1: AccessDeniedException: not you\n" || err == nil {
		t.Errorf("%v\n%s", err, text)
	}
}
