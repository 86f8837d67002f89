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
		{"private", is(sshDown, look(off, off, noReply), peer(frankfurt, "url", noReply)), "down from eu-west-1 (not confirmed from a second place: its address is not public)"},
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
