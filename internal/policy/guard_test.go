package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

// refuses is the decision where a guard refuses the reboot of a failed instance.
func refuses(guard string) string { return "10 page not_rebooted down guard:" + guard + " @i-self" }

const reboots = "10 reboot 60s"

func TestGuardEC2(t *testing.T) {
	state := func(f func(*policy.EC2)) []option { return is(down, ec2(f)) }
	started := func(d time.Duration) option {
		return change(func(in *policy.Input) { in.StartedAt = ago(d) })
	}
	initializing := ec2(func(e *policy.EC2) { e.Initializing = true })
	decisions(t, []decisionCase{
		{"running", is(down), reboots},
		{"stopping", state(func(e *policy.EC2) { e.State, e.Running = "stopping", false }), refuses("ec2")},
		{"EC2 cannot be asked", is(down, ec2Blind), refuses("ec2")},
		{"its pause tag cannot be read", state(func(e *policy.EC2) { e.PauseErr = `"tomorrow" is not a time` }), refuses("ec2")},
		{"no status", state(func(e *policy.EC2) { e.Unclear = true }), refuses("ec2")},
		{"system status impaired", state(func(e *policy.EC2) { e.System = true }), refuses("status")},
		{"EBS status impaired", state(func(e *policy.EC2) { e.EBS = true }), refuses("status")},
		{"instance status impaired", state(func(e *policy.EC2) { e.Instance = true }), reboots},
		{"a scheduled event", state(func(e *policy.EC2) { e.Scheduled = "AWS retires the instance on 6 January" }), refuses("status")},
		{"initializing, 9:59 after the incident began", is(down, initializing, started(10*min-sec)), "10 wait 60s"},
		{"started 9:59 ago", is(down, ec2(func(e *policy.EC2) { e.LaunchedAt = ago(10*min - sec) })), "10 wait 60s"},
		{"started 10:00 ago", is(down, ec2(func(e *policy.EC2) { e.LaunchedAt = ago(10 * min) })), reboots},
		{"initializing, 10:00 after the incident began", is(down, initializing, started(10*min)), refuses("initializing")},
	})
}

func TestGuardHistory(t *testing.T) {
	resolved := func(d time.Duration) option {
		return instance(func(i *policy.Instance) { i.LastResolvedAt = ago(d) })
	}
	alarmState := func(state string) option {
		return options(noAlarm, change(func(in *policy.Input) { in.Facts.Alarm = policy.Known(state) }))
	}
	cooldown := func(seconds int) option {
		return setting(func(s *incident.Settings) { s.Reboot.CooldownSeconds = seconds })
	}
	decisions(t, []decisionCase{
		{"an alarm is on now", is(down, alarmState("ALARM")), reboots},
		{"an alarm was on when the incident began", is(down, alarmState("OK"), change(func(in *policy.Input) { in.Alarm = true })), reboots},
		{"no alarm", is(down, alarmState("OK")), refuses("alarm")},
		{"insufficient data", is(down, alarmState("INSUFFICIENT_DATA")), refuses("alarm")},
		{"the alarm cannot be asked", is(down, noAlarm, change(func(in *policy.Input) { in.Facts.Alarm = policy.CouldNotAsk[string]("CloudWatch: throttled") })), refuses("alarm")},
		{"an alarm of an earlier execution", is(down, noAlarm, instance(func(i *policy.Instance) { i.Execution = policy.Execution{ID: "e-before", Alarm: true} }), setting(func(s *incident.Settings) { s.ConfirmSeconds = 0 })), refuses("alarm")},
		{"this incident has rebooted it", is(down, rebooted(7*hour, incident.OutcomeNotCured), instance(func(i *policy.Instance) { i.Execution.Rebooted = true })), refuses("once")},
		{"another incident has rebooted it, which cured it", is(down, rebooted(7*hour, incident.OutcomeCured)), reboots},
		{"the last reboot did not cure the same check", is(down, rebooted(7*hour, incident.OutcomeNotCured)), refuses("not_cured")},
		{"the last reboot did not cure another check", is(down, rebooted(7*hour, incident.OutcomeNotCured), lastReboot(func(r *incident.Reboot) { r.Failed = []string{"none"} })), reboots},
		{"nobody knows whether there was a last reboot", is(down, rebooted(7*hour, incident.OutcomeNotCured), lastReboot(func(r *incident.Reboot) { r.Request = incident.RequestReserved })), reboots},
		{"EC2 refused this incident's reboot", is(down, rebooted(min, ""), instance(func(i *policy.Instance) {
			i.Reboots[0].Request, i.Execution.Rebooted = incident.RequestRefused, true
		})), refuses("once")},
		{"rebooted 5:59:59 ago", is(down, rebooted(6*hour-sec, incident.OutcomeCured)), refuses("cooldown")},
		{"rebooted 6 h ago", is(down, rebooted(6*hour, incident.OutcomeCured)), reboots},
		{"cooldown of an hour, rebooted 59:59 ago", is(down, cooldown(3600), rebooted(hour-sec, incident.OutcomeCured)), refuses("cooldown")},
		{"cooldown of an hour, rebooted an hour ago", is(down, cooldown(3600), rebooted(hour, incident.OutcomeCured)), reboots},
		{"a reboot that EC2 refused is none", is(down, rebooted(hour, ""), instance(func(i *policy.Instance) { i.Reboots[0].Request = incident.RequestRefused })), reboots},
		{"its alert was resolved 3:59:59 ago", is(down, resolved(4*hour-sec)), refuses("cooldown")},
		{"its alert was resolved 4 h ago", is(down, resolved(4*hour)), reboots},
	})
}

func TestGuardSettings(t *testing.T) {
	reboot := func(f func(*incident.RebootSettings)) option {
		return setting(func(s *incident.Settings) { f(&s.Reboot) })
	}
	breaker := func(inFlight, perHour int) option {
		return change(func(in *policy.Input) { in.Breaker = incident.Breaker{InFlight: inFlight, PerHour: perHour} })
	}
	unreachable := reboot(func(r *incident.RebootSettings) { r.On = incident.OnUnreachable })
	decisions(t, []decisionCase{
		{"twice within a day", is(down, rebooted(day-sec, incident.OutcomeCured), rebooted(7*hour, incident.OutcomeCured)), refuses("budget")},
		{"twice, the first a day ago", is(down, rebooted(day, incident.OutcomeCured), rebooted(7*hour, incident.OutcomeCured)), reboots},
		{"once, budget 1", is(down, rebooted(7*hour, incident.OutcomeCured), reboot(func(r *incident.RebootSettings) { r.PerDay = 1 })), refuses("budget")},
		{"budget 0", is(down, reboot(func(r *incident.RebootSettings) { r.PerDay = 0 })), refuses("never")},
		{"breaker.in_flight 0", is(down, breaker(0, 6)), refuses("never")},
		{"breaker.per_hour 0", is(down, breaker(2, 0)), refuses("never")},
		{"breaker 1 and 1", is(down, breaker(1, 1)), reboots},
		{"unreachable: no check got an answer", is(down, unreachable), reboots},
		{"unreachable: refused and silent are no answers", is(look(refused, noReply, mute), unreachable), reboots},
		{"unreachable: SSH is blind", is(look(noReply, noReply, blind), unreachable), refuses("answered")},
		{"unreachable: Route 53 is blind", is(look(mute, blind, mute), unreachable), reboots},
		{"unreachable: SSH passes", is(look(noReply, noReply, passed), unreachable), refuses("answered")},
		{"unreachable: URL answers 500", is(look(badAnswer, off, off), unreachable), refuses("answered")},
		{"unreachable: a checker of Route 53 got a status", is(look(noReply, badAnswer, noReply), unreachable), refuses("answered")},
		{"unreachable: only an address that is not the instance's answers", is(look(elsewhere(forbidden), noReply, noReply), unreachable), reboots},
		{"dry run", is(down, reboot(func(r *incident.RebootSettings) { r.DryRun = true })), refuses("dry_run")},
		{"dry run is asked last", is(look(noReply, off, noReply), reboot(func(r *incident.RebootSettings) { r.DryRun = true })), refuses("vantage")},
	})
}

func TestGuardVantage(t *testing.T) {
	others := func(isAnswered bool) option {
		return change(func(in *policy.Input) {
			in.Facts.Others = policy.Known(policy.Others{Any: isAnswered, Answered: isAnswered})
		})
	}
	unconnected := change(func(in *policy.Input) { in.Facts.Connected = policy.Known(false) })
	alone := options(others(false), unconnected)
	impaired := ec2(func(e *policy.EC2) { e.Instance = true })
	decisions(t, []decisionCase{
		{"Route 53 alone fails", is(r53Alone), "10 page not_rebooted unknown guard:route53 @route53/failed"},
		{"Route 53 alone fails, EC2 calls it impaired", is(r53Alone, impaired), "10 page not_rebooted unknown guard:route53 @route53/failed"},
		{"Route 53 is the only check", is(look(off, noReply, off), alone), reboots},
		{"Route 53 agrees", is(look(noReply, noReply, passed), alone), reboots},
		{"Route 53 is blind", is(look(noReply, blind, noReply)), refuses("vantage")},

		{"no connection", is(look(noReply, off, noReply)), refuses("vantage")},
		{"no connection, EC2 calls it impaired", is(look(noReply, off, noReply), impaired), reboots},
		{"no connection, impaired, only our connectivity is proven", is(look(noReply, off, noReply), impaired, others(false)), reboots},
		{"no connection, impaired, nothing else answers us", is(look(noReply, off, noReply), impaired, alone), refuses("vantage")},
		{"impaired, others and connectivity cannot be asked", is(look(noReply, off, noReply), impaired, change(func(in *policy.Input) {
			in.Facts.Others, in.Facts.Connected = policy.CouldNotAsk[policy.Others]("x"), policy.CouldNotAsk[bool]("x")
		})), refuses("vantage")},

		{"closed after a TLS handshake, SSH passes", is(look(finding(incident.Failed, "", true, incident.ClosedEarly), off, passed)), refuses("vantage")},
		{"accepted and silent, SSH passes, Route 53 is blind", is(look(mute, blind, passed)), refuses("vantage")},
		{"refused, SSH passes, Route 53 is blind", is(look(refused, blind, passed)), refuses("vantage")},
		{"SSH accepted and silent, URL passes, Route 53 is off", is(look(passed, off, mute)), reboots},
		{"refused where a redirect led, SSH is off", is(look(finding(incident.Failed, "", true, incident.Refused), off, off)), refuses("vantage")},
		{"refused where a redirect led, Route 53 passes", is(look(finding(incident.Failed, "", true, incident.Refused), passed, passed)), "12 page contradicted unknown @url/contradicted"},
		{"refused, SSH got bytes", is(look(refused, off, passed), alone), reboots},
		{"refused, SSH failed with bytes", is(look(refused, off, badAnswer), alone), reboots},
		{"refused, SSH got no bytes", is(look(refused, off, noReply)), refuses("vantage")},
		{"refused by both", is(look(refused, off, refused)), refuses("vantage")},
		{"refused, no other check", is(look(refused, off, off)), refuses("vantage")},
		{"SSH refused, URL got bytes elsewhere only", is(look(elsewhere(passed), off, refused)), refuses("vantage")},

		{"silent, another own check got bytes", is(look(passed, off, mute), alone), reboots},
		{"silent, another instance answers us", is(look(mute, off, noReply), unconnected), reboots},
		{"silent, only our connectivity is proven", is(look(mute, off, noReply), others(false)), refuses("vantage")},
		{"SSH silent, no URL check, another instance answers us", is(look(off, off, mute)), reboots},
		{"SSH silent, the URL check is blind", is(look(blind, off, mute)), refuses("vantage")},
		{"SSH silent, the URL check is blind, Route 53 passes", is(look(blind, passed, mute)), refuses("vantage")},
		{"SSH silent, the URL check is blind, Route 53 fails", is(look(blind, noReply, mute)), reboots},
		{"closed early, another instance answers us", is(look(closedEarly, off, off)), refuses("vantage")},

		// sshd that is busy may reject us alone, and so may what refuses us the web server.
		{"refused, SSH is busy", is(look(refused, off, busy)), refuses("vantage")},
		{"refused, SSH is busy, Route 53 fails", is(look(refused, noReply, busy), alone), reboots},
		{"silent, SSH is busy", is(look(mute, off, busy), alone), reboots},

		// dropbear at its limit per source closes the connection, /etc/hosts.deny resets it.
		{"SSH is closed in an orderly way, URL passes", is(look(passed, off, busyClosed)), "11 slack busy"},
		{"SSH is closed in an orderly way, no other check", is(look(off, off, busyClosed)), "12 page busy unknown @ssh/busy"},
		{"SSH is closed in an orderly way, URL is closed", is(look(closedEarly, off, busyClosed)), refuses("vantage")},
		{"SSH is closed in an orderly way, URL is refused", is(look(refused, off, busyClosed)), refuses("vantage")},
		{"SSH is reset, URL passes", is(look(passed, off, closedEarly)), "12 page contradicted unknown @ssh/contradicted"},
		{"SSH is reset, Route 53 passes", is(look(off, passed, closedEarly)), "12 page contradicted unknown @ssh/contradicted"},
		{"SSH is reset, no other check", is(look(off, off, closedEarly)), refuses("vantage")},
		{"both are reset", is(look(closedEarly, off, closedEarly)), refuses("vantage")},
		{"SSH is reset, URL is refused", is(look(refused, off, closedEarly)), refuses("vantage")},

		{"a failure with bytes needs no other vantage", is(look(badAnswer, off, off), alone), reboots},
		{"a failure with bytes beside Route 53 that passes", is(look(badAnswer, passed, passed), alone), reboots},
		{"a failure elsewhere is no failure here", is(look(elsewhere(badAnswer), off, noReply)), refuses("vantage")},
	})
}

func TestNeedsOthers(t *testing.T) {
	for _, tt := range []struct {
		name string
		is   option
		want bool
	}{
		{"no byte from us, no Route 53", look(noReply, off, noReply), true},
		{"no byte from us, Route 53 is blind", look(mute, blind, off), true},
		{"Route 53 agrees", down, false},
		{"a byte from the instance", look(badAnswer, off, noReply), false},
		{"SSH passes", look(noReply, off, passed), false},
		{"nothing of ours failed", r53Alone, false},
	} {
		if got := policy.NeedsOthers(input(tt.is)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// mayReboot asks MayReboot after a look decided to reboot; later changes what is
// known by then.
func mayReboot(t *testing.T, age time.Duration, later ...option) (policy.State, string) {
	t.Helper()
	out := policy.Decide(input(down))
	if out.Decision.Next != incident.NextReboot {
		t.Fatalf("the look does not lead to a reboot: %s", summary(out.Decision))
	}
	in := input(append([]option{down}, later...)...)
	in.Now = now.Add(age)
	return policy.MayReboot(in, out.Decision)
}

func TestMayReboot(t *testing.T) {
	for _, tt := range []struct {
		name    string
		age     time.Duration
		later   option
		refusal string
	}{
		{"nothing has changed", sec, healthy, ""},
		{"the look is 90 s old", 90 * sec, down, ""},
		{"the look is 90 s and a moment old", 90*sec + time.Millisecond, down, "seconds old"},
		{"paused", sec, paused(hour), "instance is paused"},
		{"the region is paused", sec, region(func(r *policy.Region) { r.Pause = &policy.Pause{Until: now.Add(hour)} }), "region is paused"},
		{"the pause ends now", sec, paused(sec), ""},
		{"a person has been paged", sec, member(self, sevUnknown, hour), "a person has been paged"},
		{"the breaker has opened", sec, alert("a/breaker", "breaker", min, other), "breaker is open"},
		{"another instance fell silent", sec, region(func(r *policy.Region) { r.Silent = map[string]incident.Millis{other: ago(min)} }), "fell silent"},
		{"a person has stopped it", sec, options(stopped, byPerson), "stopped"},
		{"EC2 cannot be asked", sec, ec2Blind, "could not be asked"},
		{"it is no longer watched", sec, unwatched, "no longer watched"},
		{"somebody else has rebooted it", sec, rebooted(min, ""), "cooldown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, refusal := mayReboot(t, tt.age, tt.later)
			if !strings.Contains(refusal, tt.refusal) || (refusal == "") != (tt.refusal == "") {
				t.Errorf("refusal %q, want %q", refusal, tt.refusal)
			}
			if refusal != "" && (len(s.Instance.Reboots) > 0 || s.Instance.ID != "") {
				t.Errorf("a refusal changes the state: %+v", s.Instance)
			}
		})
	}
}

// A decision may come long after the checks that it is made on: it is their age
// that counts.
func TestLateDecision(t *testing.T) {
	seen := func(at incident.Millis) option {
		return change(func(in *policy.Input) {
			in.Findings = slices.Clone(in.Findings)
			for n := range in.Findings {
				in.Findings[n].At = at
			}
		})
	}
	decisions(t, []decisionCase{
		{"held for two minutes", is(down, held(2*min), seen(now)), reboots},
		{"held for two minutes, as seen a minute ago", is(down, held(2*min), seen(ago(min))), "10 wait 60s confirming:reboot"},
	})
	for age, want := range map[time.Duration]string{90 * sec: "", 91 * sec: "the look is 91 seconds old"} {
		in := input(down, seen(ago(age)))
		if _, refusal := policy.MayReboot(in, incident.Decision{At: now, Findings: in.Findings}); refusal != want {
			t.Errorf("seen %v ago: refusal %q, want %q", age, refusal, want)
		}
	}
}

func TestMayRebootReserves(t *testing.T) {
	s, refusal := mayReboot(t, sec)
	if refusal != "" {
		t.Fatal(refusal)
	}
	want := incident.Reboot{
		At: now.Add(sec), Execution: "e-now", Look: 4, Reason: "URL: what url saw",
		Request: incident.RequestReserved, Failed: incident.Checks,
	}
	if diff := cmp.Diff([]incident.Reboot{want}, s.Instance.Reboots); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]policy.RegionReboot{{Instance: self, Execution: "e-now", At: now.Add(sec)}}, s.Region.Reboots); diff != "" {
		t.Error(diff)
	}
	if !s.Instance.Execution.Rebooted || s.Instance.AtRest {
		t.Errorf("rebooted %v, at rest %v", s.Instance.Execution.Rebooted, s.Instance.AtRest)
	}
	// Asked again by the same execution, it refuses.
	in := input(down)
	in.State, in.Now = s, now.Add(2*sec)
	if _, refusal := policy.MayReboot(in, policy.Decide(input(down)).Decision); refusal == "" {
		t.Error("one execution may reboot twice")
	}
}

func TestRequested(t *testing.T) {
	reserved, _ := mayReboot(t, sec)
	s := policy.Requested(reserved, "e-now", incident.RequestAccepted, "")
	if got := s.Instance.Reboots[0].Request; got != incident.RequestAccepted || len(s.Region.Reboots) != 1 {
		t.Errorf("accepted: request %q, %d reboots in the region", got, len(s.Region.Reboots))
	}
	s = policy.Requested(reserved, "e-now", incident.RequestRefused, "UnauthorizedOperation")
	if got := s.Instance.Reboots[0]; got.Request != incident.RequestRefused || got.Reason != "UnauthorizedOperation" || len(s.Region.Reboots) != 0 {
		t.Errorf("refused: %+v, %d reboots in the region", got, len(s.Region.Reboots))
	}
	// The reboots of others stay, and so do earlier ones of this instance.
	many := reserved
	many.Region.Reboots = []policy.RegionReboot{{Instance: other, At: now.Add(sec)}, {Instance: self, At: ago(7 * hour)}, reserved.Region.Reboots[0]}
	if kept := policy.Requested(many, "e-now", incident.RequestRefused, "").Region.Reboots; len(kept) != 2 || kept[0] != many.Region.Reboots[0] || kept[1] != many.Region.Reboots[1] {
		t.Errorf("refused: the region keeps %+v", kept)
	}
	if len(reserved.Region.Reboots) != 1 || reserved.Instance.Reboots[0].Request != incident.RequestReserved {
		t.Error("Requested changed the state that it was given")
	}
	s = policy.Requested(reserved, "e-other", incident.RequestRefused, "")
	if diff := cmp.Diff(reserved, s); diff != "" {
		t.Errorf("another execution's request: %s", diff)
	}
}
