package policy_test

import (
	"testing"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

// at gives what a check saw a public address.
func at(what seen) seen {
	return func(check string) *incident.Finding {
		f := what(check)
		f.Address = "203.0.113.7"
		return f
	}
}

// peer is what another region saw of what a check asked.
func peer(name, check string, what seen) option {
	return change(func(in *policy.Input) {
		in.Region, in.Peers = "eu-west-1", []string{"eu-central-1", "us-east-1"}
		in.Facts.Peers = append(in.Facts.Peers, policy.Peer{Region: name, Check: check, Finding: *what(check)})
	})
}

// reach is what is known of a peer's way to what SSH asks, and never that it has none.
func reach(name string, r policy.Reach) option {
	return instance(func(i *policy.Instance) { i.Reach = map[string]policy.Reach{"ssh@" + name: r} })
}

func never(name string) option { return reach(name, policy.Reach{At: now}) }

// deaf is a peer that could not be asked.
func deaf(name, check string) option {
	return change(func(in *policy.Input) {
		in.Region, in.Peers = "eu-west-1", []string{"eu-central-1", "us-east-1"}
		in.Facts.Peers = append(in.Facts.Peers, policy.Peer{Region: name, Check: check, Err: name + ": access denied"})
	})
}

func TestVantage(t *testing.T) {
	const (
		frankfurt, virginia = "eu-central-1", "us-east-1"
		contradicted        = "12 page only_here unknown @vantage/contradicted"
	)
	sshDown := look(off, off, at(noReply))
	onUnreachable := change(func(in *policy.Input) { in.Settings.Reboot.On = incident.OnUnreachable })
	required := change(func(in *policy.Input) { in.VantageRequired = true })
	closed := change(func(in *policy.Input) {
		in.Facts.Closed = policy.Known(map[string]string{incident.CheckSSH: "no security group of it admits 0.0.0.0/0 to TCP 22 any more"})
	})
	reachedAt := func(at incident.Millis) option {
		return instance(func(i *policy.Instance) { i.OnlyHereAt = at })
	}
	decisions(t, []decisionCase{
		{"nobody is asked", is(sshDown), refuses("vantage")},
		{"a peer sees it down", is(sshDown, peer(frankfurt, "ssh", noReply)), reboots},
		{"a peer is refused", is(sshDown, peer(frankfurt, "ssh", refused)), reboots},
		{"a peer gets a byte", is(sshDown, peer(frankfurt, "ssh", badAnswer)), contradicted},
		{"a peer finds it busy", is(sshDown, peer(frankfurt, "ssh", busyClosed)), contradicted},
		{"one peer sees it down, the other reaches it", is(sshDown, peer(frankfurt, "ssh", noReply), peer(virginia, "ssh", passed)), contradicted},
		{"a peer is blind", is(sshDown, peer(frankfurt, "ssh", blind)), refuses("vantage")},
		{"a peer sees another check's target down", is(sshDown, peer(frankfurt, "url", noReply)), refuses("vantage")},
		{"no peer can be asked, and one reached it 14:59 ago", is(sshDown, deaf(frankfurt, "ssh"), reachedAt(ago(15*min-sec))), contradicted},
		{"no peer can be asked, and one reached it 15:00 ago", is(sshDown, deaf(frankfurt, "ssh"), reachedAt(ago(15*min))), refuses("vantage")},
		{"a peer reached it just now and sees it down", is(sshDown, peer(frankfurt, "ssh", noReply), reachedAt(ago(min))), reboots},
		{"a peer that never reached it", is(sshDown, peer(frankfurt, "ssh", noReply), never(frankfurt)), refuses("vantage")},
		{"a peer that reached it with other settings", is(sshDown, peer(frankfurt, "ssh", noReply), reach(frankfurt, policy.Reach{Print: "other", OK: true})), refuses("vantage")},
		{"a peer is accepted, and we have no connection", is(sshDown, peer(frankfurt, "ssh", mute)), contradicted},
		{"accepted and silent here and there", is(look(off, off, at(mute)), peer(frankfurt, "ssh", mute)), reboots},
		{"closed in order here and there", is(look(off, off, at(closedEarly)), peer(frankfurt, "ssh", closedEarly)), refuses("vantage")},
		{"no connection here and there, and SSH passes", is(look(at(noReply), off, passed), peer(frankfurt, "url", noReply)), refuses("vantage")},
		{"a peer reaches the web server", is(look(at(noReply), off, at(noReply)), peer(frankfurt, "url", passed), peer(frankfurt, "ssh", noReply)), contradicted},
		{"a peer reaches SSH alone", is(look(at(refused), off, at(noReply)), peer(frankfurt, "ssh", passed), peer(frankfurt, "url", refused), onUnreachable), contradicted},
		{"a peer reaches SSH, and URL hangs here and there", is(look(at(mute), off, at(noReply)), peer(frankfurt, "ssh", passed), peer(frankfurt, "url", mute)), reboots},
		{
			"a peer reaches SSH, URL hangs here and there, unreachable",
			is(look(at(mute), off, at(noReply)), peer(frankfurt, "ssh", passed), peer(frankfurt, "url", mute), onUnreachable), refuses("answered"),
		},
		{"required, and no peer can be asked", is(look(at(noReply), noReply, off), deaf(frankfurt, "url"), required), refuses("vantage")},
		{"required, and a peer sees it down", is(look(at(noReply), noReply, off), peer(frankfurt, "url", noReply), required), reboots},
		{"required, at a private address", is(look(noReply, noReply, off), required), reboots},
		{"its security groups are closed", is(sshDown, peer(frankfurt, "ssh", noReply), closed), "12 page attention unknown @ssh/attention"},
		{"its security groups cannot be asked", is(sshDown, peer(frankfurt, "ssh", noReply), change(func(in *policy.Input) {
			in.Facts.Closed = policy.CouldNotAsk[map[string]string]("security groups: denied")
		})), refuses("vantage")},
		{"nobody else of the region answers, and a peer sees it down", is(sshDown, peer(frankfurt, "ssh", noReply), change(func(in *policy.Input) {
			in.Facts.Others, in.Facts.Connected = policy.Known(policy.Others{Any: true}), policy.Known(false)
		})), reboots},
	})
	for _, tt := range []struct {
		name string
		is   []option
		want string
	}{
		{
			"confirmed", is(look(at(noReply), noReply, off), peer(frankfurt, "url", noReply), peer(virginia, "url", noReply)),
			"down from eu-west-1 and eu-central-1 and us-east-1, and from Route 53's checkers",
		},
		{"private", is(sshDown, look(off, off, noReply), peer(frankfurt, "url", noReply)), "down from eu-west-1 (not confirmed from a second place: it has no public IPv4 address)"},
		{"no answer", is(sshDown, deaf(frankfurt, "ssh")), "down from eu-west-1 (not confirmed from a second place: no peer could tell)"},
		{"reached", is(sshDown, peer(frankfurt, "ssh", passed)), ""},
		{"it answered", is(look(badAnswer, off, off)), ""},
	} {
		if got := policy.Decide(input(tt.is...)).Decision.Vantage; got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestUnansweredAreAskedAbout(t *testing.T) {
	for _, tt := range []struct {
		name string
		is   []option
		want int
	}{
		{"down", is(down), 3},
		{"healthy", is(healthy), 0},
		{"an answer", is(look(badAnswer, off, off)), 0},
		{"booting for 9:59", is(down, rebooted(10*min-sec, "")), 0},
		{"rebooted 10:00 ago", is(down, rebooted(10*min, "")), 3},
	} {
		if got := policy.Unanswered(input(tt.is...)); len(got) != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// Peers are asked about what passes until they have said whether they reach it, and
// once a day.
func TestPeersAreLearned(t *testing.T) {
	asked := peer("eu-central-1", "ssh", passed)
	for _, tt := range []struct {
		name string
		is   []option
		want int
	}{
		{"just learned", is(look(off, off, at(passed)), asked), 0},
		{"never asked", is(look(off, off, at(passed)), asked, reach("eu-central-1", policy.Reach{Print: "other"})), 1},
		{"no public address", is(look(off, off, passed), asked, reach("eu-central-1", policy.Reach{Print: "other"})), 0},
		{"not healthy", is(look(noReply, off, at(passed)), asked, reach("eu-central-1", policy.Reach{Print: "other"})), 0},
		{"no peers", is(look(off, off, at(passed))), 0},
	} {
		if got := policy.Unlearned(input(tt.is...)); len(got) != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	for _, tt := range []struct {
		name     string
		own, saw seen
		before   bool
		want     bool
	}{
		{"reached", passed, passed, false, true},
		{"reached, though we do not", noReply, badAnswer, false, true},
		{"not reached", passed, noReply, true, false},
		{"not reached, and we do not", noReply, noReply, true, true},
		{"blind", passed, blind, true, true},
	} {
		i := policy.Instance{Reach: map[string]policy.Reach{"ssh@eu-central-1": {OK: tt.before}}}
		s := input().Settings
		i.LearnReach([]policy.Peer{{Region: "eu-central-1", Check: "ssh", Finding: *tt.saw("ssh")}}, []incident.Finding{*tt.own("ssh")}, s, now)
		if got := i.Reach["ssh@eu-central-1"]; got.OK != tt.want {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	before := input(look(off, off, at(passed)), asked)
	if out := policy.Decide(before); before.State.Instance.Reach["ssh@eu-central-1"].At != now || out.State.Instance.Reach["ssh@eu-central-1"].Print == "" || out.State.Instance.OnlyHereAt != 0 {
		t.Errorf("%+v", out.State.Instance)
	}
}

// An execution that was to reboot three times and did not pages.
func TestRebootThatIsNotMade(t *testing.T) {
	tried := func(n int) option { return instance(func(i *policy.Instance) { i.Execution.Tries = n }) }
	decisions(t, []decisionCase{
		{"twice before", is(down, tried(2)), reboots},
		{"three times before", is(down, tried(3)), refuses("tries")},
	})
	if out := policy.Decide(input(down, tried(1))); out.State.Instance.Execution.Tries != 2 {
		t.Errorf("%+v", out.State.Instance.Execution)
	}
}

// No later look undoes what other regions said while they can be asked.
func TestOnlyOurRegionIsOneCause(t *testing.T) {
	out := policy.Decide(input(look(off, off, at(noReply)), peer("us-east-1", "ssh", passed)))
	if got := out.State.Instance.OnlyHereAt; got != now {
		t.Errorf("a peer reached it at %v", got)
	}
	ask := policy.AlertsToAsk(input(look(off, off, at(noReply)), peer("us-east-1", "ssh", passed), alert("v", policy.KeyVantage, min, other)))
	if len(ask) != 1 || ask[0].ID != "v" {
		t.Errorf("asked for %v", ask)
	}
}

func TestCreditsAndImpairment(t *testing.T) {
	spent := ec2(func(e *policy.EC2) { e.NoCredits = "it has no CPU credits left" })
	since := func(d incident.Millis) option {
		return ec2(func(e *policy.EC2) { e.System, e.ImpairedSince = true, d })
	}
	decisions(t, []decisionCase{
		{"no CPU credits", is(down, spent), refuses("credits")},
		{"no CPU credits, and it hangs", is(down, spent, ec2(func(e *policy.EC2) { e.Instance = true })), reboots},
		{"credits could not be asked", is(down, ec2(func(e *policy.EC2) { e.CreditsErr = "denied" })), refuses("credits")},
		{"no CPU credits, and healthy", is(healthy, spent), "9 done"},
		{"healthy, and impaired for 10:00", is(healthy, since(ago(10*min))), "9 slack impaired"},
		{"healthy, and impaired for 9:59", is(healthy, since(ago(10*min-sec))), "9 done"},
		{"healthy, impaired, and Slack knows", is(healthy, since(ago(hour)), instance(func(i *policy.Instance) { i.SlackKey = incident.SituationImpaired })), "9 done"},
	})
}
