package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
)

func TestSinceWhen(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"24h", "2026-11-22T12:00:00Z"},
		{"7d", "2026-11-16T12:00:00Z"},
		{"0s", "2026-11-23T12:00:00Z"},
		{"2026-11-01T01:00:00+01:00", "2026-11-01T00:00:00Z"},
	} {
		if got, err := sinceWhen(tt.text, noon); err != nil || stamp(got) != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.text, stamp(got), err, tt.want)
		}
	}
	const malformed = "is not a time: give a time ago such as 24h or 7d, or RFC 3339 with its zone, such as 2026-11-22T12:00:00Z"
	for _, tt := range []struct{ text, want string }{
		{"", `--since: "" ` + malformed},
		{"yesterday", `--since: "yesterday" ` + malformed},
		{"-24h", `--since: "-24h" ` + malformed},
		{"2026-11-22", `--since: "2026-11-22" ` + malformed},
		{"2026-11-23T12:00:01Z", "--since: 2026-11-23T12:00:01Z is in the future, it is 2026-11-23T12:00:00Z now: give a time that has passed"},
	} {
		_, err := sinceWhen(tt.text, noon)
		if _, ok := errors.AsType[usageError](err); !ok || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestIncidentID(t *testing.T) {
	for in, want := range map[string]string{
		"2f6a":                               "2f6a",
		"reconcile-i-0a1b2c3d-20261123T1200": "reconcile-i-0a1b2c3d-20261123T1200",
		"arn:aws:states:eu-west-1:123456789012:execution:firstline:2f6a_1": "2f6a_1",
	} {
		if got, err := incidentID(in); got != want || err != nil {
			t.Errorf("%s: got %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "a b", "a/b", "a\x1b", "arn:", strings.Repeat("a", 81)} {
		_, err := incidentID(in)
		if _, ok := errors.AsType[usageError](err); !ok || !strings.HasSuffix(err.Error(), " is not an incident's id: give one that `firstline incidents` lists, or its beginning") {
			t.Errorf("%q: got %v", in, err)
		}
	}
}

// after is so long after noon.
func after(d time.Duration) incident.Millis { return incident.At(noon.Add(d)) }

// record is an incident that began so long before noon, took so long (0: it is
// open), and decided once.
func record(id, instance string, ago, took time.Duration, end string, l incident.Decision) store.Record {
	r := store.Record{ID: id, InstanceID: instance, StartedAt: after(-ago), Trigger: incident.TriggerAlarm, LeaseUntil: after(time.Hour)}
	if took > 0 {
		r.EndedAt, r.End = after(took-ago), end
	}
	if l.Next != "" {
		l.Look, l.At = 1, after(time.Second-ago)
		r.Looks = []incident.Decision{l}
	}
	return r
}

// keep stores records, with their looks.
func (p *played) keep(all ...store.Record) *played {
	p.t.Helper()
	for _, r := range all {
		_, err := p.table().Update(p.t.Context(), "", func(e *store.Entry) error {
			e.Record = &r
			return nil
		})
		if err != nil {
			p.t.Fatal(err)
		}
	}
	return p
}

var (
	healthy = incident.Decision{Verdict: incident.VerdictHealthy, Row: 9, Next: incident.NextDone, Reason: "healthy"}
	refused = incident.Decision{
		Verdict: incident.VerdictFailed, Row: 10, Next: incident.NextPage, Situation: incident.SituationNotRebooted, Guard: policy.GuardCooldown,
		Reason: "it was rebooted at 10:55 UTC, and the cool-down of 6 h has not passed; the URL check failed three times with connection refused",
	}
)

func TestIncidents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(noon))
		recovered := record("5e1f0a77-recovered", "i-1a1b2c3d", 2*time.Hour, 3*time.Minute+20*time.Second, "told", healthy)
		recovered.Name = "web-1"
		recovered.Reboot = &incident.Reboot{At: after(-2 * time.Hour), Request: incident.RequestAccepted, Outcome: incident.OutcomeCured}
		lost := record("e-lost", "i-0a1b2c3d", 2*time.Hour+2*time.Minute, 0, "", incident.Decision{})
		lost.LeaseUntil = after(-time.Hour)
		dry := record("u-dry", "i-2a1b2c3d", 3*time.Hour, 40*time.Second, "done", healthy)
		dry.Dry = true
		unknown := record("u-unknown", "i-2a1b2c3d", 4*time.Hour, 11*time.Minute, "handed_over", healthy)
		unknown.Reboot = &incident.Reboot{Request: incident.RequestUnknown}
		w := world{
			"eu-west-1": newPlayed(t).keep(record("e-open", "i-0a1b2c3d", 5*time.Minute, 0, "", incident.Decision{}), recovered, lost, record("e-nothing", "", 30*time.Hour, time.Second, "told", incident.Decision{})),
			"us-east-1": newPlayed(t).keep(record("u-refused", "i-2a1b2c3d", time.Hour, 70*time.Second, "told", refused), dry, unknown),
		}
		d := deployment{regions: two}
		since := noon.Add(-7 * 24 * time.Hour)
		result := tables(w.table).incidents(t.Context(), d.regions, since, nil, 0)
		text, err := printed(t, func(w *bytes.Buffer) error { return printIncidents(w, result, d, nil) })
		if diff := cmp.Diff(`TIME                  ID        REGION     INSTANCE    END
    NAME, LOOKS: LAST DECISION
2026-11-23T11:55:00Z  841e23c1  eu-west-1  i-0a1b2c3d  open
    0 looks
2026-11-23T11:00:00Z  b43dff6d  us-east-1  i-2a1b2c3d  told
    1 look in 1m10s: failed; row 10: page (not_rebooted, cooldown): it was rebo…
2026-11-23T10:00:00Z  5e1f0a77  eu-west-1  i-1a1b2c3d  told
    web-1, 1 look in 3m20s, reboot cured: healthy; row 9: done: healthy
2026-11-23T09:58:00Z  a9d018bc  eu-west-1  i-0a1b2c3d  unconcluded
    0 looks
2026-11-23T09:00:00Z  0070276f  us-east-1  i-2a1b2c3d  done (dry)
    1 look in 40s: healthy; row 9: done: healthy
2026-11-23T08:00:00Z  fd705019  us-east-1  i-2a1b2c3d  handed_over
    1 look in 11m, reboot unknown: healthy; row 9: done: healthy
2026-11-22T06:00:00Z  1d6290d3  eu-west-1  -           told
    0 looks in 1s
`, text); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}

		// The newest of each region are enough for the newest of all.
		result = tables(w.table).incidents(t.Context(), d.regions, since, nil, 3)
		var ids []string
		for _, l := range result.Incidents {
			ids = append(ids, l.ID)
		}
		text, _ = printed(t, func(w *bytes.Buffer) error { return printIncidents(w, result, d, nil) })
		if diff := cmp.Diff([]string{"e-open", "u-refused", "5e1f0a77-recovered"}, ids); diff != "" || !result.More ||
			!strings.HasSuffix(text, "\nThere are more: the newest 3 are listed. --limit 0 lists all, --since fewer.\n") {
			t.Errorf("more %v (-want +got):\n%s\n%s", result.More, diff, text)
		}
		if result = tables(w.table).incidents(t.Context(), d.regions, since, nil, 7); result.More || len(result.Incidents) != 7 {
			t.Errorf("more %v, %d incidents", result.More, len(result.Incidents))
		}

		// Of instances, each once, watched or not.
		instances := []string{"i-9a1b2c3d", "i-0a1b2c3d", "i-0a1b2c3d"}
		result = tables(w.table).incidents(t.Context(), d.regions, since, instances, 0)
		text, err = printed(t, func(w *bytes.Buffer) error { return printIncidents(w, result, d, instances[:2]) })
		if err != nil || len(result.Incidents) != 2 || !strings.HasSuffix(text, "  unconcluded\n    0 looks\n\ni-9a1b2c3d is not watched in eu-west-1, us-east-1: is the id right?\n") {
			t.Errorf("%v\n%s", err, text)
		}
	})
}

// One region that does not answer takes nothing from the others.
func TestIncidentsTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{"eu-west-1": newPlayed(t).keep(record("e", "i-0a1b2c3d", time.Hour, time.Minute, "done", healthy)), "us-east-1": newPlayed(t)}
		w["us-east-1"].refuse["table"] = context.DeadlineExceeded // it hangs
		d := deployment{regions: two}
		result := tables(w.table).incidents(t.Context(), d.regions, noon.Add(-24*time.Hour), nil, 0)
		text, err := printed(t, func(w *bytes.Buffer) error { return printIncidents(w, result, d, nil) })
		if diff := cmp.Diff(`TIME                  ID        REGION     INSTANCE    END
    NAME, LOOKS: LAST DECISION
2026-11-23T11:00:00Z  3f79bb7b  eu-west-1  i-0a1b2c3d  done
    1 look in 1m: healthy; row 9: done: healthy

us-east-1: no answer in time
`, text); diff != "" || err == nil || err.Error() != "incidents could not be listed in us-east-1: see above" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
	w := world{"eu-west-1": newPlayed(t)}
	w["eu-west-1"].refuse["table"] = denied
	d := deployment{regions: two}
	result := tables(w.table).incidents(t.Context(), d.regions, noon.Add(-24*time.Hour), nil, 0)
	text, err := printed(t, func(w *bytes.Buffer) error { return printIncidents(w, result, d, nil) })
	if diff := cmp.Diff(`no incident since 2026-11-22T12:00:00Z in no region

eu-west-1: AccessDeniedException: not you
us-east-1: no table is deployed here: deploy this version first
`, text); diff != "" || err == nil || err.Error() != "incidents could not be listed in eu-west-1, us-east-1: see above" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestIncidentsJSON(t *testing.T) {
	rec := record("e-1", "i-0a1b2c3d", time.Hour, 90*time.Second, "told", incident.Decision{
		Verdict: incident.VerdictUnknown, Kind: incident.Blind, Row: 12, Next: incident.NextPage, Situation: incident.SituationBlind, Reason: `denied: "at":1`,
		Findings: []incident.Finding{{Check: incident.CheckURL, Outcome: incident.Unknown, Kind: incident.Blind, Reason: "denied", At: after(-time.Hour)}},
	})
	rec.Settings, rec.LeaseUntil = new(incident.DefaultSettings()), 0
	w := world{"eu-west-1": newPlayed(t).keep(rec)}
	var out bytes.Buffer
	if err := printJSON(&out, likeAll{tables(w.table).incidents(t.Context(), two[:1], noon.Add(-24*time.Hour), nil, 0)}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{
  "command": "incidents",
  "since": "2026-11-22T12:00:00Z",
  "incidents": [
    {
      "id": "e-1",
      "started_at": "2026-11-23T11:00:00Z",
      "instance_id": "i-0a1b2c3d",
      "region": "eu-west-1",
      "trigger": "alarm",
      "ended_at": "2026-11-23T11:01:30Z",
      "end": "told",
      "looks": [
        {
          "look": 1,
          "at": "2026-11-23T11:00:01Z",
          "verdict": "unknown",
          "kind": "blind",
          "findings": [
            {
              "look": 0,
              "check": "url",
              "outcome": "unknown",
              "kind": "blind",
              "reason": "denied",
              "at": "2026-11-23T11:00:00Z"
            }
          ],
          "row": 12,
          "next": "page",
          "reason": "denied: \"at\":1",
          "situation": "blind"
        }
      ]
    }
  ],
  "more": false,
  "errors": []
}
`, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestIncidentSearch(t *testing.T) {
	const hangs, refuses = "hangs", "refuses"
	for _, tt := range []struct {
		name, id        string
		europe, america []string // ids, or what its table does
		want            string   // region and id
		errs            []regionError
		err             string
		usage           bool
	}{
		{name: "found", id: "abc-1", america: []string{"abc-1"}, want: "us-east-1 abc-1"},
		{name: "its beginning", id: "abc", europe: []string{"abd"}, america: []string{"abc-1"}, want: "us-east-1 abc-1"},
		{name: "an id that is the beginning of another", id: "abc", europe: []string{"abc-1"}, america: []string{"abc"}, want: "us-east-1 abc"},
		{name: "nothing waits once it is found", id: "abc", europe: []string{"abc"}, america: []string{hangs}, want: "eu-west-1 abc"},
		{
			name: "a beginning, and a region that does not answer", id: "ab", europe: []string{"abc"}, america: []string{refuses},
			want: "eu-west-1 abc", errs: []regionError{{"us-east-1", "AccessDeniedException: not you"}},
		},
		{
			name: "several in one region", id: "ab", europe: []string{"abc", "abd"}, usage: true,
			err: "ab: several incidents begin with that: give more of the id of one: abd (2026-11-23T11:00:00Z, i-0a1b2c3d in eu-west-1), abc (2026-11-23T11:00:00Z, i-0a1b2c3d in eu-west-1)",
		},
		{
			name: "several in two", id: "8b1c", europe: []string{"8b1c0a77-4d"}, america: []string{"8b1c1a77-4d"}, usage: true,
			err: "8b1c: several incidents begin with that: give more of the id of one: 8b1c0a77 (2026-11-23T11:00:00Z, i-0a1b2c3d in eu-west-1), 8b1c1a77 (2026-11-23T11:00:00Z, i-0a1b2c3d in us-east-1)",
		},
		{
			name: "several of one short id", id: "8b1c0a77", europe: []string{"8b1c0a77-4d", "8b1c0a77-4e"}, usage: true,
			err: "8b1c0a77: several incidents begin with that: give more of the id of one: 8b1c0a77-4e (2026-11-23T11:00:00Z, i-0a1b2c3d in eu-west-1), 8b1c0a77-4d (2026-11-23T11:00:00Z, i-0a1b2c3d in eu-west-1)",
		},
		{name: "the short id of one that an event did not start", id: shortID("reconcile-i-0a1b2c3d-29408400"), europe: []string{"reconcile-i-0a1b2c3d-29408400", "reconcile-i-1a1b2c3d-29408400"}, want: "eu-west-1 reconcile-i-0a1b2c3d-29408400"},
		{
			name: "none", id: "ab", usage: true,
			err: "ab: no incident of this id in eu-west-1, us-east-1 (they are kept for 90 days): `firstline incidents` lists them",
		},
		{
			name: "none, as far as is known", id: "ab", america: []string{hangs},
			err: "ab was not found in the regions that answered; not all did: us-east-1: no answer in time",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := world{"eu-west-1": newPlayed(t), "us-east-1": newPlayed(t)}
				for region, ids := range map[string][]string{"eu-west-1": tt.europe, "us-east-1": tt.america} {
					for _, id := range ids {
						switch id {
						case hangs:
							w[region].refuse["table"] = context.DeadlineExceeded
						case refuses:
							w[region].refuse["table"] = denied
						default:
							w[region].keep(record(id, "i-0a1b2c3d", time.Hour, time.Minute, "told", healthy))
						}
					}
				}
				start := time.Now()
				got, err := tables(w.table).incident(t.Context(), two, tt.id)
				if took := time.Since(start); tt.err == "" && took != 0 {
					t.Errorf("it took %s", took)
				}
				if tt.err != "" {
					_, usage := errors.AsType[usageError](err)
					if err == nil || err.Error() != tt.err || usage != tt.usage {
						t.Errorf("got %v, want %v", err, tt.err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if where := got.Incident.Region + " " + got.Incident.ID; where != tt.want || got.region.Region != got.Incident.Region {
					t.Errorf("found %s, want %s", where, tt.want)
				}
				if diff := cmp.Diff(append([]regionError{}, tt.errs...), append([]regionError{}, got.Errors...)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// wholeIncident is one: down, rebooted, still down, paged, and its instance is
// handed over.
func wholeIncident(t *testing.T) *played {
	p := newPlayed(t)
	at := func(seconds int) incident.Millis { return after(time.Duration(seconds) * time.Second) }
	rec := store.Record{
		ID: "2f6a", Execution: "arn:aws:states:eu-west-1:123456789012:execution:firstline:2f6a", StartedAt: at(0),
		InstanceID: "i-0a1b2c3d", Name: "web", Trigger: incident.TriggerAlarm, LeaseUntil: at(1000), EndedAt: at(680), End: "told",
		Alarm:  &incident.Alarm{Name: "firstline-alarm-i-0a1b2c3d-cpu", Trigger: "cpu", Reason: "Threshold Crossed: 1 datapoint [100.0]", At: at(-3)},
		Reboot: &incident.Reboot{At: at(10), Request: incident.RequestAccepted, Outcome: incident.OutcomeNotCured, Reason: "connection refused"},
		Paged:  &incident.Paged{Pager: "opsgenie", Alias: "firstline/eu-west-1/i-0a1b2c3d", At: at(679)}, Told: true,
		Thread: &incident.Thread{Channel: "C0", TS: "1.2"},
		Caught: map[string]incident.Caught{"slack": {Error: "Denied", Cause: "post: invalid_auth"}},
		Looks: []incident.Decision{
			{
				Look: 1, At: at(7), Verdict: incident.VerdictFailed, Row: 10, Next: incident.NextReboot, WaitSeconds: 60, Reason: "GET: connection refused\x1b[2J",
				Findings: []incident.Finding{
					{Check: incident.CheckURL, Outcome: incident.Failed, Reason: "GET: connection refused\x1b[2J", Attempts: 3, ElapsedMs: 4012, At: at(6)},
					{Check: incident.CheckRoute53, Outcome: incident.Skipped, Reason: "it is off", At: at(6)},
					{Check: incident.CheckSSH, Outcome: incident.Passed, Reason: "key exchange", Attempts: 1, ElapsedMs: 90, At: at(7)},
				},
			},
			{Look: 2, At: at(675), Verdict: incident.VerdictFailed, Row: 5, Next: incident.NextPage, Situation: incident.SituationDownAfterReboot, Reason: "the boot window has closed: time-out"},
		},
	}
	rec.Evidence = &store.Evidence{
		At: at(8), SystemStatus: "ok", InstanceStatus: "impaired", ConsoleAt: at(-60),
		Console: "[   12.3] Out of memory: Killed process 812\r\n\n\x1b[1mlogin:\x07\n",
	}
	p.handOver("i-0a1b2c3d", nil, "i-0a1b2c3d")
	return p.keep(rec)
}

func TestIncident(t *testing.T) {
	p := wholeIncident(t)
	got, err := tables(world{"eu-west-1": p}.table).incident(t.Context(), two[:1], "2f6a")
	if err != nil || len(got.Errors) > 0 {
		t.Fatal(err, got)
	}
	text, err := printed(t, func(w *bytes.Buffer) error { return printIncident(w, got) })
	if diff := cmp.Diff(`i-0a1b2c3d (web) in eu-west-1: told, 2 looks, took 11m20s, reboot not_cured
incident 2f6a of 2026-11-23T12:00:00Z
https://console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/arn:aws:states:eu-west-1:123456789012:execution:firstline:2f6a

TIME       AFTER    WHAT
11:59:57Z  -3s      alarm     cpu: Threshold Crossed: 1 datapoint [100.0]
12:00:00Z  +0s      opened    started by: alarm
12:00:06Z  +6s      url       failed: GET: connection refused[2J (3 attempts,
                              4012 ms)
12:00:07Z  +7s      ssh       passed: key exchange (1 attempt, 90 ms)
12:00:07Z  +7s      look 1    failed; row 10: reboot 60 s: GET: connection
                              refused[2J
12:00:08Z  +8s      evidence  kept; see below
12:00:10Z  +10s     reboot    accepted, outcome not_cured: connection refused
12:11:15Z  +11m15s  look 2    failed; row 5: page (down_after_reboot): the boot
                              window has closed: time-out
                    slack     failed: Denied: post: invalid_auth
12:11:19Z  +11m19s  page      taken by opsgenie, alias
                              firstline/eu-west-1/i-0a1b2c3d
                    slack     in the thread 1.2 of channel C0
12:11:20Z  +11m20s  end       told

handed over since 2026-11-23T11:00:00Z: not_rebooted
  alert firstline/eu-west-1/i-0a1b2c3d at opsgenie

evidence of 2026-11-23T12:00:08Z
  status checks: system ok, instance impaired, EBS not known
  console, its last lines as of 2026-11-23T11:59:00Z, redacted
  | [   12.3] Out of memory: Killed process 812
  |
  | [1mlogin:
`, text); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := printIncident(brokenPipe{}, got); err == nil {
		t.Error("what cannot be written is no error")
	}
	// The same as JSON, in which nothing can do anything to a terminal.
	var out bytes.Buffer
	if err := printJSON(&out, likeAll{got}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"row": 5`, `"instance_status": "impaired"`, `"console_at": "2026-11-23T11:59:00Z"`, `"since": "2026-11-23T11:00:00Z"`} {
		if strings.Contains(out.String(), "\x1b") || !strings.Contains(out.String(), want) {
			t.Errorf("want %s in\n%s", want, out.String())
		}
	}

	// What cannot be read beside the incident takes nothing from it.
	broken := p.db.Get("instance", "i-0a1b2c3d")
	delete(broken, "schema")
	p.db.Put(broken)
	got, err = tables(world{"eu-west-1": p}.table).incident(t.Context(), two[:1], "2f6")
	if err != nil || got.HandedOver != nil || len(got.Errors) != 1 || !strings.HasPrefix(got.Errors[0].Error, "whether the instance is handed over now: ") {
		t.Errorf("%v, %+v", err, got)
	}
}

// Every other thing that may happen in an incident has its line.
func TestMoments(t *testing.T) {
	for _, tt := range []struct {
		name string
		rec  store.Record
		want []string
	}{
		{"no instance", store.Record{EndedAt: after(time.Minute), End: "told"}, []string{"opened: started by: an event that names no instance", "end: told"}},
		{"open", store.Record{Trigger: incident.TriggerSchedule, End: endOpen}, []string{"opened: started by: schedule", "now: still open"}},
		{
			"unconcluded",
			store.Record{Trigger: incident.TriggerPerson, End: endUnconcluded, LeaseUntil: after(time.Hour)},
			[]string{"opened: started by: person", "end: its execution ended without its last step; the schedule has looked at the instance since"},
		},
		{
			"dry",
			store.Record{Trigger: incident.TriggerCanary, Dry: true, EndedAt: after(time.Minute), End: "done", Suppressed: []incident.Suppressed{{Action: incident.NextPage, Text: "*text*", At: after(time.Second)}}},
			[]string{"opened: started by: canary", "page: left undone, since it is dry", "end: done"},
		},
		{
			"a reboot whose outcome is open",
			store.Record{Trigger: incident.TriggerAlarm, End: endOpen, Alarm: &incident.Alarm{Name: "cpu"}, Reboot: &incident.Reboot{At: after(time.Minute), Request: incident.RequestReserved, Reason: "refused"}},
			[]string{"alarm: cpu: it gives no reason", "opened: started by: alarm", "reboot: reserved, outcome open: refused", "now: still open"},
		},
	} {
		tt.rec.StartedAt = after(0)
		var got []string
		for _, m := range moments(&incidentResult{Incident: tt.rec}) {
			got = append(got, m.what+": "+m.text)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
