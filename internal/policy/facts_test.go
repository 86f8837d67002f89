package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

// after is the instance as the decision on an input leaves it.
func after(options ...option) policy.Instance {
	return policy.Decide(input(options...)).State.Instance
}

// A look leaves what it saw, and since when.
func TestLookIsStored(t *testing.T) {
	fresh := instance(func(i *policy.Instance) { i.Execution, i.UnhealthySince = policy.Execution{}, 0 })
	got := after(look(noReply, off, forbidden), fresh)
	want := policy.Instance{
		ID: self, LastLookAt: now, LastVerdict: incident.VerdictFailed, LastRow: 10,
		UnhealthySince: now, FailedSince: now,
		Execution: policy.Execution{
			ID: "e-now", Alarm: true, Looks: 1, UnhealthySince: now, FailedSince: map[string]incident.Millis{"url": now},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(policy.Instance{}, "Baseline", "Findings", "LastReason")); diff != "" {
		t.Error(diff)
	}
	if len(got.Findings) != 3 || got.Findings[2].Kind != incident.Attention || got.LastReason == "" {
		t.Errorf("findings %+v, reason %q", got.Findings, got.LastReason)
	}
	if got := after(allBusy); got.LastKind != incident.Busy {
		t.Errorf("kind %q", got.LastKind)
	}
}

// The type of the pinned key is known for as long as the baseline that it was seen
// with.
func TestKnownHostKeyType(t *testing.T) {
	pinned := setting(func(s *incident.Settings) { s.SSH.HostKeyFingerprint = "SHA256:x" })
	shown := func(check string) *incident.Finding {
		f := passed(check)
		f.HostKeyType = "ssh-rsa"
		return f
	}
	in := input(pinned, look(passed, off, shown))
	i := policy.Decide(in).State.Instance
	if got := i.KnownHostKeyType(in.Settings); got != "ssh-rsa" {
		t.Errorf("after it was shown: %q", got)
	}
	in.Findings, in.State.Instance, in.Look = []incident.Finding{*noReply("ssh"), *passed("url")}, i, in.Look+1
	i = policy.Decide(in).State.Instance
	if got := i.KnownHostKeyType(in.Settings); got != "ssh-rsa" {
		t.Errorf("after a failure: %q", got)
	}
	for name, change := range map[string]func(*incident.Settings){
		"another pinned key": func(s *incident.Settings) { s.SSH.HostKeyFingerprint = "SHA256:y" },
		"another host":       func(s *incident.Settings) { s.SSH.Host = "bastion.example.com" },
	} {
		s := *in.Settings
		change(&s)
		if got := i.KnownHostKeyType(&s); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := i.KnownHostKeyType(nil); got != "" {
		t.Errorf("no settings: %q", got)
	}
	in.Settings.SSH.HostKeyFingerprint = ""
	in.Findings = []incident.Finding{*passed("ssh"), *passed("url")}
	if i = policy.Decide(in).State.Instance; i.HostKeyType != "" {
		t.Errorf("no key is pinned: %q", i.HostKeyType)
	}
}

// A finding that is used again is one observation: it neither confirms nor ends that
// the instance is healthy.
func TestAFindingThatIsUsedAgain(t *testing.T) {
	at := func(what seen, when incident.Millis) seen {
		return func(check string) *incident.Finding {
			f := what(check)
			f.At = when
			return f
		}
	}
	first := after(look(off, at(passed, ago(min)), off), instance(func(i *policy.Instance) { i.HealthyRun, i.HealthySince = 0, 0 }))
	since := first.HealthySince
	for _, tt := range []struct {
		name string
		is   option
		run  int
	}{
		{"used again", look(off, at(passed, ago(min)), off), 1},
		{"asked again", look(off, at(passed, now), off), 2},
		{"beside another check that passes", look(at(passed, now), at(passed, ago(min)), off), 2},
		{"beside one that cannot tell", look(at(blind, now), at(passed, ago(min)), off), 1},
		{"its failure is used again", look(off, at(noReply, ago(min)), off), 0},
	} {
		got := after(tt.is, instance(func(i *policy.Instance) { *i = first }))
		if got.HealthyRun != tt.run || tt.run > 0 && got.HealthySince != since {
			t.Errorf("%s: run of %d since %v, want %d since %v", tt.name, got.HealthyRun, got.HealthySince, tt.run, since)
		}
	}
}

func TestSinceWhen(t *testing.T) {
	before := options(held(5*min), failedFor(6*min))
	for _, tt := range []struct {
		name                   string
		is                     option
		unhealthy, failed, url incident.Millis
		blind                  incident.Millis
	}{
		{"still failed", options(down, before), ago(6 * min), ago(6 * min), ago(5 * min), 0},
		{"unknown after failed", options(allBusy, before), ago(6 * min), 0, 0, 0},
		{"blind still", options(allBlind, before), ago(6 * min), 0, 0, ago(5 * min)},
		{"another check failed", options(look(passed, passed, mute), before), ago(6 * min), ago(6 * min), 0, 0},
		{"healthy", options(healthy, before), 0, 0, 0, 0},
	} {
		i := after(tt.is)
		e := i.Execution
		if i.UnhealthySince != tt.unhealthy || i.FailedSince != tt.failed || e.FailedSince["url"] != tt.url || e.BlindSince != tt.blind {
			t.Errorf("%s: unhealthy %v, failed %v, url %v, blind %v", tt.name, i.UnhealthySince, i.FailedSince, e.FailedSince["url"], e.BlindSince)
		}
		if isHealthy := tt.unhealthy == 0; isHealthy != (e.UnhealthySince == 0) || isHealthy != (i.HealthySince == now) || isHealthy != (i.HealthyRun == 1) {
			t.Errorf("%s: execution unhealthy since %v, healthy since %v in %d looks", tt.name, e.UnhealthySince, i.HealthySince, i.HealthyRun)
		}
	}
	if i := after(healthy, healthyFor(5*min, 3)); i.HealthySince != ago(5*min) || i.HealthyRun != 4 {
		t.Errorf("healthy again: since %v in %d looks", i.HealthySince, i.HealthyRun)
	}
}

// A healthy look after one that was not is a recovery, unless that one was blind.
func TestRecoveries(t *testing.T) {
	for _, tt := range []struct {
		name string
		is   option
		want int
	}{
		{"after a failure", healthy, 1},
		{"after another execution's failure", instance(func(i *policy.Instance) { i.Execution.ID = "e-before" }), 1},
		{"handed over", member(self, sevDown, hour), 1},
		{"after a healthy look", healthyFor(min, 1), 0},
		{"still failing", down, 0},
		{"after a blind look", instance(func(i *policy.Instance) { i.LastVerdict, i.LastKind = incident.VerdictUnknown, incident.Blind }), 0},
	} {
		if got := after(tt.is).Recoveries; len(got) != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// Three recoveries within two hours make an instance unsteady, until it has left
// its alert.
func TestUnsteady(t *testing.T) {
	for _, tt := range []struct {
		name string
		is   option
		want bool
	}{
		{"the third recovery", options(member(self, sevDown, 3*hour), recovered(2*hour-sec, hour)), true},
		{"the third, but the first is two hours ago", options(member(self, sevDown, 3*hour), recovered(2*hour, hour)), false},
		{"it was before", options(member(self, sevDown, 3*hour), unsteady), true},
		{"paged after three recoveries", options(attention, recovered(hour, 30*min, 10*min)), true},
		{"paged after two", options(attention, recovered(hour, 30*min)), false},
		{"paged as worse, unsteady before", options(down, noAlarm, member(cause, sevUnknown, hour), unsteady, failedFor(20*min)), true},
	} {
		m := after(tt.is).Membership
		if m == nil || m.Unsteady != tt.want {
			t.Errorf("%s: %+v", tt.name, m)
		}
	}
}

// recovered adds recoveries some time ago.
func recovered(times ...time.Duration) option {
	return instance(func(i *policy.Instance) {
		for _, d := range times {
			i.Recoveries = append(i.Recoveries, ago(d))
		}
	})
}

var unsteady = membership(func(m *policy.Membership) { m.Unsteady = true })

func TestAlarmOfTheExecution(t *testing.T) {
	earlier := instance(func(i *policy.Instance) { i.Execution.Alarm = true })
	if !after(down, noAlarm, earlier).Execution.Alarm {
		t.Error("an alarm that was on earlier in this execution is forgotten")
	}
	if after(down, noAlarm).Execution.Alarm {
		t.Error("there was no alarm")
	}
}

func TestLongWell(t *testing.T) {
	resolvedBefore := instance(func(i *policy.Instance) { i.LastResolvedAt = ago(hour) })
	for d, want := range map[incident.Millis]bool{ago(30*min - sec): false, ago(30 * min): true} {
		i := after(member(self, sevDown, 2*hour), resolvedBefore, healthyFor(now.Sub(d), 5))
		if i.Membership == nil || i.Membership.LongWell != want {
			t.Errorf("healthy for %v: %+v", now.Sub(d), i.Membership)
		}
	}
}

func TestSaidAgainIsStored(t *testing.T) {
	if m := after(member(self, sevDown, 2*hour), healthyFor(10*min, 5)).Membership; m.AgainAt != now {
		t.Errorf("AgainAt is %v", m.AgainAt)
	}
}

func TestRebootedOftenIsStored(t *testing.T) {
	i := after(rebooted(3*day, incident.OutcomeCured), rebooted(2*day, incident.OutcomeCured), rebooted(2*min, ""), healthyFor(20*sec, 1))
	if i.OftenPagedAt != now || i.Membership == nil {
		t.Errorf("OftenPagedAt %v, membership %v", i.OftenPagedAt, i.Membership)
	}
}

// What is too old to count is dropped.
func TestForget(t *testing.T) {
	in := input(down, paused(hour), rebooted(7*day, incident.OutcomeCured), rebooted(7*day-sec, incident.OutcomeCured), silent(10*min-sec),
		instance(func(i *policy.Instance) { i.Recoveries = []incident.Millis{ago(2 * hour), ago(2*hour - sec)} }))
	in.State.Region.Silent["i-third"] = ago(10 * min)
	in.State.Region.Reboots = []policy.RegionReboot{{Instance: other, At: ago(day)}, {Instance: other, At: ago(day - sec)}}
	s := policy.Decide(in).State
	if len(s.Instance.Reboots) != 1 || len(s.Instance.Recoveries) != 1 || len(s.Region.Reboots) != 1 {
		t.Errorf("%d reboots, %d recoveries, %d reboots of the region are left, want 1 each", len(s.Instance.Reboots), len(s.Instance.Recoveries), len(s.Region.Reboots))
	}
	if _, isThere := s.Region.Silent["i-third"]; isThere || s.Region.Silent[other] == 0 {
		t.Errorf("silent: %v", s.Region.Silent)
	}
}

func TestDecisionTellsWhatIsKnown(t *testing.T) {
	in := input(down, ec2Blind, rebooted(7*hour, incident.OutcomeCured), failedFor(3*min))
	in.Facts.Others = policy.CouldNotAsk[policy.Others]("SSM: denied")
	d := policy.Decide(in).Decision
	if diff := cmp.Diff([]string{"EC2: throttled", "SSM: denied"}, d.Unasked); diff != "" {
		t.Error(diff)
	}
	if d.AlarmState != "ALARM" || d.Since != ago(3*min) || len(d.Reboots) != 1 || d.Verdict != incident.VerdictFailed || len(d.Findings) != 3 || d.Look != 4 || d.At != now {
		t.Errorf("%+v", d)
	}
	if d := policy.Decide(input(healthyFor(5*min, 3))).Decision; d.Since != ago(5*min) {
		t.Errorf("healthy since %v", d.Since)
	}
	if d := policy.Decide(input(attention)).Decision; !strings.Contains(d.Reason, "what url saw") {
		t.Errorf("reason %q", d.Reason)
	}
}
