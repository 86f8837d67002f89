package policy_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

// The instance that most tests decide on, another one, and the time of the look.
const (
	self  = "i-self"
	other = "i-other"
)

var now = incident.At(time.Date(2026, 1, 5, 3, 0, 0, 0, time.UTC))

// ago is a time before the look.
func ago(d time.Duration) incident.Millis { return now.Add(-d) }

const (
	sec  = time.Second
	min  = time.Minute
	hour = time.Hour
	day  = 24 * time.Hour
)

// scene is an input under construction.
type scene struct {
	policy.Input
	never []string
}

type option func(*scene)

// input is a healthy look of a watched instance whose alarm is on, with all
// three checks enabled and nothing stored but their baselines, as changed by the
// options. Everything else answers, and all failures have been seen for long
// enough to be confirmed (see held).
func input(options ...option) policy.Input {
	s := &scene{Input: policy.Input{
		Now: now, Settings: new(incident.DefaultSettings()), Breaker: incident.Breaker{InFlight: 2, PerHour: 6},
		AliasPrefix: "prod/eu-west-1", Execution: "e-now", StartedAt: ago(5 * min), Alarm: true, Look: 4,
		Facts: policy.Facts{
			Alarm:     policy.Known(policy.StateAlarm),
			EC2:       policy.Known(policy.EC2{State: "running", Running: true}),
			Others:    policy.Known(policy.Others{Any: true, Answered: true}),
			Connected: policy.Known(true),
			Alerts:    map[string]policy.AlertState{},
		},
	}}
	s.Settings.Route53.HealthCheckID = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b"
	s.State.Instance.ID = self
	s.State.Instance.Baseline = map[string]string{}
	look(passed, passed, passed)(s)
	held(2 * min)(s)
	for _, o := range options {
		o(s)
	}
	for _, check := range incident.Checks {
		s.State.Instance.Baseline[check] = s.Settings.Fingerprint(check)
	}
	for _, check := range s.never {
		delete(s.State.Instance.Baseline, check)
	}
	for _, region := range s.Peers {
		for _, check := range incident.Checks {
			key := check + "@" + region
			if _, ok := s.State.Instance.Reach[key]; !ok {
				if s.State.Instance.Reach == nil {
					s.State.Instance.Reach = map[string]policy.Reach{}
				}
				s.State.Instance.Reach[key] = policy.Reach{Print: s.Settings.Fingerprint(check), At: now, OK: true}
			}
		}
	}
	return s.Input
}

// options makes one option of several.
func options(list ...option) option {
	return func(s *scene) {
		for _, o := range list {
			o(s)
		}
	}
}

// seen is what a check saw; off turns the check off.
type seen func(check string) *incident.Finding

func finding(o incident.Outcome, kind incident.Kind, isAnswered bool, c incident.Connection) seen {
	return func(check string) *incident.Finding {
		return &incident.Finding{Check: check, Outcome: o, Kind: kind, Answered: isAnswered, Connection: c, Reason: "what " + check + " saw"}
	}
}

var (
	passed      = finding(incident.Passed, "", true, "")
	badAnswer   = finding(incident.Failed, "", true, "")
	noReply     = finding(incident.Failed, "", false, incident.NoConnection)
	refused     = finding(incident.Failed, "", false, incident.Refused)
	mute        = finding(incident.Failed, "", false, incident.Silent)
	closedEarly = finding(incident.Failed, "", false, incident.ClosedEarly)
	forbidden   = finding(incident.Unknown, incident.Attention, true, "")
	noName      = finding(incident.Unknown, incident.Attention, false, "")
	busy        = finding(incident.Unknown, incident.Busy, true, "")
	busyClosed  = finding(incident.Unknown, incident.Busy, false, incident.ClosedEarly)
	blind       = finding(incident.Unknown, incident.Blind, false, "")
	off         seen
)

// missing is an enabled check without a finding.
func missing(string) *incident.Finding { return nil }

// elsewhere is an answer from an address that is not the instance's.
func elsewhere(what seen) seen {
	return func(check string) *incident.Finding {
		f := what(check)
		f.Elsewhere = true
		return f
	}
}

// look sets what the checks saw.
func look(url, route53, ssh seen) option {
	return func(s *scene) {
		s.Findings = nil
		for n, what := range []seen{url, route53, ssh} {
			check := incident.Checks[n]
			switch {
			case what != nil:
				if f := what(check); f != nil {
					s.Findings = append(s.Findings, *f)
				}
			case check == incident.CheckURL:
				s.Settings.URL.Enabled = false
			case check == incident.CheckRoute53:
				s.Settings.Route53.HealthCheckID = ""
			case check == incident.CheckSSH:
				s.Settings.SSH.Enabled = false
			}
		}
	}
}

// Looks that several tests use.
var (
	healthy   = look(passed, passed, passed)
	down      = look(noReply, noReply, noReply)
	attention = look(forbidden, passed, passed)
	allBusy   = look(busy, off, busy)
	allBlind  = look(blind, blind, blind)
	r53Alone  = look(blind, noReply, passed)
)

// held says for how long this execution has seen what this look sees.
func held(d time.Duration) option {
	return func(s *scene) {
		e := &s.State.Instance.Execution
		*e = policy.Execution{ID: s.Execution, Alarm: e.Alarm, Looks: 3, UnhealthySince: ago(d), BlindSince: ago(d), FailedSince: map[string]incident.Millis{}}
		for _, check := range incident.Checks {
			e.FailedSince[check] = ago(d)
		}
		s.State.Instance.UnhealthySince = ago(d)
	}
}

// change changes the input in ways that need no name.
func change(f func(*policy.Input)) option { return func(s *scene) { f(&s.Input) } }

// setting changes the instance's settings.
func setting(f func(*incident.Settings)) option { return func(s *scene) { f(s.Settings) } }

// instance changes what is stored of the instance.
func instance(f func(*policy.Instance)) option { return func(s *scene) { f(&s.State.Instance) } }

// region changes what is stored of the region.
func region(f func(*policy.Region)) option { return func(s *scene) { f(&s.State.Region) } }

// ec2 changes what EC2 says.
func ec2(f func(*policy.EC2)) option { return func(s *scene) { f(&s.Facts.EC2.Value) } }

// neverPassed takes away the baseline of checks.
func neverPassed(checks ...string) option { return func(s *scene) { s.never = checks } }

// noAlarm: no alarm of the instance is on, and none was.
var noAlarm = change(func(in *policy.Input) { in.Alarm, in.Facts.Alarm = false, policy.Known("OK") })

// healthyFor says for how long, and in how many looks before this one, the
// instance has been healthy.
func healthyFor(d time.Duration, looks int) option {
	return instance(func(i *policy.Instance) {
		i.HealthySince, i.HealthyRun = ago(d), looks
		i.UnhealthySince, i.FailedSince = 0, 0
		i.Execution = policy.Execution{}
	})
}

// failedFor says for how long every look has failed.
func failedFor(d time.Duration) option {
	return instance(func(i *policy.Instance) { i.FailedSince, i.UnhealthySince = ago(d), ago(d) })
}

// alert adds an alert that woke somebody some time ago, with these members.
func alert(id, key string, woke time.Duration, members ...string) option {
	return region(func(r *policy.Region) {
		if r.Alerts == nil {
			r.Alerts = map[string]policy.Alert{}
		}
		a := policy.Alert{
			Key: key, Alias: "prod/eu-west-1/" + key + "/1", Wake: 1, Pager: "pager", OpenedAt: ago(woke), LastWakeAt: ago(woke),
			Members: map[string]incident.Millis{}, Why: map[bool]string{true: "2 reboots are in flight"}[key == policy.KeyBreaker],
		}
		for _, m := range members {
			a.Members[m] = ago(woke)
		}
		r.Alerts[id] = a
	})
}

// member makes the instance a member of an alert that woke somebody some time
// ago. The id of the alert is "a/" and its key.
func member(key string, sev incident.Severity, woke time.Duration, others ...string) option {
	return options(alert("a/"+key, key, woke, append(others, self)...), instance(func(i *policy.Instance) {
		i.Membership = &policy.Membership{Alert: "a/" + key, Severity: sev, JoinedAt: ago(woke), Confirmed: true}
	}))
}

// membership changes the instance's membership.
func membership(f func(*policy.Membership)) option {
	return instance(func(i *policy.Instance) { f(i.Membership) })
}

// alertOf changes an alert.
func alertOf(id string, f func(*policy.Alert)) option {
	return region(func(r *policy.Region) {
		a := r.Alerts[id]
		f(&a)
		r.Alerts[id] = a
	})
}

// closed: a person closed the alert with a key some time ago.
func closed(key string, d time.Duration) option {
	return alertOf("a/"+key, func(a *policy.Alert) { a.ClosedAt = ago(d) })
}

// rebooted adds a reboot of the instance some time ago.
func rebooted(d time.Duration, outcome string) option {
	return options(instance(func(i *policy.Instance) {
		i.Reboots = append(i.Reboots, incident.Reboot{
			At: ago(d), Execution: fmt.Sprintf("e-%d", ago(d)), Request: incident.RequestAccepted, Outcome: outcome,
			Told: outcome != "", Failed: []string{incident.CheckURL},
		})
	}), otherRebooted(self, d, outcome))
}

// lastReboot changes the newest reboot of the instance.
func lastReboot(f func(*incident.Reboot)) option {
	return instance(func(i *policy.Instance) { f(&i.Reboots[len(i.Reboots)-1]) })
}

// otherRebooted adds a reboot to the region's.
func otherRebooted(id string, d time.Duration, outcome string) option {
	return region(func(r *policy.Region) {
		if d < day {
			r.Reboots = append(r.Reboots, policy.RegionReboot{Instance: id, Execution: fmt.Sprintf("e-%d", ago(d)), At: ago(d), Outcome: outcome})
		}
	})
}

// Severities, for short lines.
const (
	sevUnknown = incident.SeverityUnknown
	sevDown    = incident.SeverityDown
	sevAfter   = incident.SeverityDownAfterReboot
)

// summary writes a decision on one line: row, word, seconds, situation,
// severity, guard, whether it is a note, and the key of its alert.
func summary(d incident.Decision) string {
	parts := []string{fmt.Sprint(d.Row), d.Next}
	add := func(isThere bool, part string) {
		if isThere {
			parts = append(parts, part)
		}
	}
	add(d.WaitSeconds != 0, fmt.Sprintf("%ds", d.WaitSeconds))
	add(d.Confirming != "", "confirming:"+d.Confirming)
	add(d.Situation != "", d.Situation)
	add(d.Severity != 0, d.Severity.String())
	add(d.Guard != "", "guard:"+d.Guard)
	add(d.Note, "note")
	add(d.Alert != nil, "")
	if d.Alert != nil {
		parts[len(parts)-1] = "@" + d.Alert.Key
	}
	return strings.Join(parts, " ")
}

// decisions runs Decide on a table of situations.
func decisions(t *testing.T, cases []decisionCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Helper()
			out := policy.Decide(input(c.is...))
			if got := summary(out.Decision); got != c.want {
				t.Errorf("got  %s\nwant %s\nreason: %s", got, c.want, out.Decision.Reason)
			}
		})
	}
}

type decisionCase struct {
	name string
	is   []option
	want string
}

func is(list ...option) []option { return list }

// keys are the sorted keys of the alerts that have members, for comparisons.
func members(r policy.Region) map[string][]string {
	all := map[string][]string{}
	for id := range r.Alerts {
		all[id] = r.Ref(id).Members
	}
	maps.DeleteFunc(all, func(_ string, m []string) bool { return len(m) == 0 })
	return all
}
