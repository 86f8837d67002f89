package policy_test

import (
	"testing"
	"time"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

var (
	terminated = ec2(func(e *policy.EC2) { e.State, e.Running, e.Terminated = "terminated", false, true })
	unknownID  = ec2(func(e *policy.EC2) { *e = policy.EC2{Unknown: true} })
	stopped    = ec2(func(e *policy.EC2) { e.State, e.Running, e.Stopped = "stopped", false, true })
	byPerson   = ec2(func(e *policy.EC2) { e.ByPerson = true })
	unwatched  = change(func(in *policy.Input) { in.Facts.Unwatched, in.Findings, in.Settings = true, nil, &incident.Settings{} })
	ec2Blind   = change(func(in *policy.Input) { in.Facts.EC2 = policy.CouldNotAsk[policy.EC2]("EC2: throttled") })
)

func paused(until time.Duration) option {
	return ec2(func(e *policy.EC2) { e.Pause = &policy.Pause{Until: now.Add(until), By: "ann"} })
}

func unknownBefore(looks int) option {
	return instance(func(i *policy.Instance) { i.UnknownToEC2 = looks })
}

func slackSaid(key string, d time.Duration) option {
	return instance(func(i *policy.Instance) { i.SlackKey, i.SlackAt = key, ago(d) })
}

func TestRow1Gone(t *testing.T) {
	decisions(t, []decisionCase{
		{"terminated", is(down, terminated), "1 slack gone"},
		{"terminated, a member", is(down, terminated, member(self, sevDown, hour)), "1 resolve gone"},
		{"unknown to EC2 in two looks", is(down, unknownID, unknownBefore(1)), "1 slack gone"},
		{"unknown to EC2 in one look", is(down, unknownID), "1 wait 60s"},
		{"stopped by a person", is(down, stopped, byPerson), "1 slack stopped"},
		{"stopped by a person, a member", is(down, stopped, byPerson, member("url/attention", sevUnknown, hour)), "1 resolve stopped"},
		{"stopped, but not by a person", is(down, stopped), "10 page not_rebooted down guard:ec2 @i-self"},
		{"no longer watched", is(unwatched), "1 slack unwatched"},
		{"no longer watched, a member", is(unwatched, member(self, sevDown, hour)), "1 resolve unwatched"},
		{"EC2 cannot be asked", is(down, ec2Blind, unknownBefore(1)), "10 page not_rebooted down guard:ec2 @i-self"},
		{"gone comes before paused", is(down, terminated, paused(hour)), "1 slack gone"},
		{"said before", is(down, terminated, slackSaid("gone", day)), "1 done"},
		{"not counted: something else was said a minute ago", is(down, terminated, slackSaid("url/busy", min)), "1 slack gone"},
	})
}

func TestRow1KnownAgain(t *testing.T) {
	out := policy.Decide(input(down, unknownBefore(1)))
	if n := out.State.Instance.UnknownToEC2; n != 0 {
		t.Errorf("UnknownToEC2 is %d after EC2 knew it", n)
	}
	if n := policy.Decide(input(down, ec2Blind, unknownBefore(1))).State.Instance.UnknownToEC2; n != 1 {
		t.Errorf("UnknownToEC2 is %d after EC2 could not be asked, want 1 as before", n)
	}
}

func TestRow1EndsAReboot(t *testing.T) {
	out := policy.Decide(input(down, terminated, rebooted(min, "")))
	if got := out.State.Instance.Reboots[0].Outcome; got != incident.OutcomeOverridden {
		t.Errorf("the instance's reboot has outcome %q", got)
	}
	if got := out.State.Region.Reboots[0].Outcome; got != incident.OutcomeOverridden {
		t.Errorf("the region's reboot has outcome %q", got)
	}
	if s := policy.Closed(policy.SlackTold(out.State, out.Decision, now), out.Decision); !s.Instance.AtRest {
		t.Error("it is not at rest")
	}
}

func TestRow2Paused(t *testing.T) {
	regionPaused := region(func(r *policy.Region) { r.Pause = &policy.Pause{Until: now.Add(min)} })
	const said = "paused/failed/"
	decisions(t, []decisionCase{
		{"failed", is(down, paused(sec)), "2 slack paused"},
		{"the pause has just ended", is(down, paused(0)), "10 reboot 60s"},
		{"paused per region", is(down, regionPaused), "2 slack paused"},
		{"healthy", is(healthy, paused(hour)), "2 done"},
		{"busy", is(allBusy, paused(hour)), "2 slack paused"},
		{"said before", is(down, paused(hour), slackSaid(said, 23*hour+59*min+59*sec)), "2 done"},
		{"said a day ago", is(down, paused(hour), slackSaid(said, day)), "2 slack paused"},
		{"something else was said 59:59 ago", is(down, paused(hour), slackSaid("url/busy", hour-sec)), "2 done"},
		{"something else was said an hour ago", is(down, paused(hour), slackSaid("url/busy", hour)), "2 slack paused"},
		{"a member, well", is(healthy, paused(hour), member(self, sevDown, hour), healthyFor(30*min, 6)), "2 resolve well"},
		{"a member, healthy for 29:59", is(healthy, paused(hour), member(self, sevDown, hour), healthyFor(30*min-sec, 6)), "2 handed_over"},
		{"a member, failed", is(down, paused(hour), member(self, sevUnknown, hour)), "2 slack paused"},
		{"a reboot whose outcome is open", is(down, paused(hour), rebooted(hour, "")), "2 slack paused"},
		{"EC2 cannot be asked: what is stored counts", is(down, ec2Blind, instance(func(i *policy.Instance) { i.Pause = &policy.Pause{Until: now.Add(min)} })), "2 slack paused"},
	})
}

func TestRow2SaysWhoPausedWhat(t *testing.T) {
	d := policy.Decide(input(down, paused(hour))).Decision
	if d.PauseScope != "instance" || d.PausedBy != "ann" || d.PausedUntil != now.Add(hour) {
		t.Errorf("scope %q, by %q, until %v", d.PauseScope, d.PausedBy, d.PausedUntil.Time())
	}
	d = policy.Decide(input(down, region(func(r *policy.Region) { r.Pause = &policy.Pause{Until: now.Add(hour)} }))).Decision
	if d.PauseScope != "region" {
		t.Errorf("scope %q", d.PauseScope)
	}
}

// A pause that EC2 no longer shows is over.
func TestRow2PauseIsRemoved(t *testing.T) {
	out := policy.Decide(input(down, instance(func(i *policy.Instance) { i.Pause = &policy.Pause{Until: now.Add(hour)} })))
	if out.Decision.Row != 10 || out.State.Instance.Pause != nil {
		t.Errorf("row %d, pause %v", out.Decision.Row, out.State.Instance.Pause)
	}
}

// A paused instance that failed is not at rest: it is looked at when the pause ends.
func TestRow2NotAtRest(t *testing.T) {
	out := policy.Decide(input(down, paused(hour), slackSaid("paused/failed/", min)))
	if out.State.Instance.AtRest || !policy.Due(&out.State.Instance, false) {
		t.Error("a paused instance that failed is at rest")
	}
	if out := policy.Decide(input(healthy, paused(hour))); !out.State.Instance.AtRest {
		t.Error("a paused instance that is healthy is not at rest")
	}
}

func TestRow3Recovered(t *testing.T) {
	oneBefore := healthyFor(20*sec, 1)
	twice := options(rebooted(3*day, incident.OutcomeCured), rebooted(2*day, incident.OutcomeCured))
	oftenPaged := func(d time.Duration) option {
		return instance(func(i *policy.Instance) { i.OftenPagedAt = ago(d) })
	}
	decisions(t, []decisionCase{
		{"healthy twice", is(rebooted(2*min, ""), oneBefore), "3 slack recovered"},
		{"healthy once", is(rebooted(2*min, ""), healthyFor(0, 0)), "4 wait 20s"},
		{"healthy twice after the window", is(rebooted(hour, ""), oneBefore), "3 slack recovered"},
		{"cured, but Slack never took it", is(rebooted(hour, incident.OutcomeCured), instance(func(i *policy.Instance) { i.Reboots[0].Told = false }), healthyFor(0, 0)), "3 slack recovered"},
		{"cured and told", is(rebooted(hour, incident.OutcomeCured), oneBefore), "9 done"},
		{"EC2 refused the reboot", is(rebooted(hour, ""), instance(func(i *policy.Instance) { i.Reboots[0].Request = incident.RequestRefused }), oneBefore), "9 done"},
		{"it is not known whether EC2 took it", is(rebooted(hour, ""), instance(func(i *policy.Instance) { i.Reboots[0].Request = incident.RequestUnknown }), oneBefore), "3 slack recovered"},
		{"the second in 7 days", is(rebooted(2*day, incident.OutcomeCured), rebooted(2*min, ""), oneBefore), "3 slack recovered"},
		{"the third in 7 days", is(twice, rebooted(2*min, ""), oneBefore), "3 page rebooted_often unknown @i-self"},
		{"the third in 7 days and a moment", is(rebooted(7*day, incident.OutcomeCured), rebooted(2*day, incident.OutcomeCured), rebooted(2*min, ""), oneBefore), "3 slack recovered"},
		{"the third in just below 7 days", is(rebooted(7*day-sec, incident.OutcomeCured), rebooted(2*day, incident.OutcomeCured), rebooted(2*min, ""), oneBefore), "3 page rebooted_often unknown @i-self"},
		{"paged for it 23:59:59 ago", is(twice, rebooted(2*min, ""), oneBefore, oftenPaged(day-sec)), "3 slack recovered"},
		{"paged for it a day ago", is(twice, rebooted(2*min, ""), oneBefore, oftenPaged(day)), "3 page rebooted_often unknown @i-self"},
		{"not counted: something was said a minute ago", is(rebooted(2*min, ""), oneBefore, slackSaid("url/busy", min)), "3 slack recovered"},
	})
}

func TestRow3SkippedCheck(t *testing.T) {
	// Route 53 covers URL, which is what had failed before the reboot.
	skipsURL := look(blind, passed, passed)
	decisions(t, []decisionCase{
		{"skips what had failed", is(skipsURL, rebooted(2*min, ""), healthyFor(20*sec, 5)), "4 wait 20s"},
		{"skips another check", is(look(passed, blind, passed), rebooted(2*min, ""), healthyFor(20*sec, 5)), "3 slack recovered"},
		{"what had failed is off now", is(look(off, passed, passed), rebooted(2*min, ""), healthyFor(20*sec, 5)), "3 slack recovered"},
	})
	if i := policy.Decide(input(skipsURL, rebooted(2*min, ""), healthyFor(20*sec, 5))).State.Instance; i.HealthyRun != 0 {
		t.Errorf("the look counts as healthy: HealthyRun is %d", i.HealthyRun)
	}
}

func TestRow3Outcome(t *testing.T) {
	out := policy.Decide(input(rebooted(2*min, ""), healthyFor(20*sec, 1)))
	if i, r := out.State.Instance.Reboots[0].Outcome, out.State.Region.Reboots[0].Outcome; i != incident.OutcomeCured || r != incident.OutcomeCured {
		t.Errorf("outcomes %q and %q, want cured", i, r)
	}
	if out.State.Instance.AtRest {
		t.Error("it is at rest before its outcome was told")
	}
	s := policy.Closed(policy.SlackTold(out.State, out.Decision, now), out.Decision)
	if !s.Instance.AtRest || !s.Instance.Reboots[0].Told {
		t.Errorf("after Slack took it: at rest %v, told %v", s.Instance.AtRest, s.Instance.Reboots[0].Told)
	}
}

func TestRow4And5BootWindow(t *testing.T) {
	failedOver := look(elsewhere(passed), off, passed)
	decisions(t, []decisionCase{
		{"failed, 9:59 after the reboot", is(down, rebooted(10*min-sec, "")), "4 wait 20s"},
		{"failed, 10:00 after the reboot", is(down, rebooted(10*min, "")), "5 page down_after_reboot down-after-reboot @i-self"},
		{"blind in the window", is(allBlind, rebooted(5*min, "")), "4 wait 20s"},
		{"needs attention after the window", is(attention, rebooted(11*min, "")), "5 page down_after_reboot down-after-reboot @i-self"},
		{"another machine answers what failed, in the window", is(failedOver, rebooted(5*min, ""), healthyFor(20*sec, 5)), "4 wait 20s"},
		{"another machine answers what failed, after the window", is(failedOver, rebooted(11*min, ""), healthyFor(20*sec, 5)), "5 page down_after_reboot down-after-reboot @i-self"},
		{"another machine answers what failed, Route 53 passes", is(look(elsewhere(passed), passed, passed), rebooted(11*min, ""), healthyFor(20*sec, 5)), "3 slack recovered"},
		{"another machine answers what had not failed", is(look(passed, off, elsewhere(passed)), rebooted(11*min, ""), healthyFor(20*sec, 5)), "3 slack recovered"},
		{"healthy once after the window", is(rebooted(11*min, ""), healthyFor(0, 0)), "4 wait 20s"},
		{"another window", is(down, rebooted(15*min, ""), setting(func(s *incident.Settings) { s.Boot.WindowSeconds = 1200 })), "4 wait 20s"},
		{"not confirmed first", is(down, rebooted(10*min, ""), held(0)), "5 page down_after_reboot down-after-reboot @i-self"},
		{"the breaker is not asked", is(down, rebooted(10*min, ""), alert("a/breaker", "breaker", min, other)), "5 page down_after_reboot down-after-reboot @i-self"},
		{"EC2 refused the reboot", is(down, rebooted(7*hour, ""), instance(func(i *policy.Instance) { i.Reboots[0].Request = incident.RequestRefused })), "10 reboot 60s"},
	})
	out := policy.Decide(input(down, rebooted(10*min, "")))
	if i, r := out.State.Instance.Reboots[0].Outcome, out.State.Region.Reboots[0].Outcome; i != incident.OutcomeNotCured || r != incident.OutcomeNotCured {
		t.Errorf("outcomes %q and %q, want not_cured", i, r)
	}
}

func TestRow6HandedOverHealthy(t *testing.T) {
	own := member(self, sevDown, 3*hour)
	resolvedBefore := func(d time.Duration) option {
		return instance(func(i *policy.Instance) { i.LastResolvedAt = ago(d) })
	}
	saidAgain := membership(func(m *policy.Membership) { m.AgainAt = ago(min) })
	decisions(t, []decisionCase{
		{"well", is(own, saidAgain, healthyFor(30*min, 6)), "6 resolve well"},
		{"healthy for 29:59", is(own, saidAgain, healthyFor(30*min-sec, 6)), "6 handed_over"},
		{"30 minutes, but only this look", is(own, saidAgain, healthyFor(0, 0)), "6 handed_over"},
		{"resolved 5:59:59 ago: 1:59:59 is not enough", is(own, saidAgain, resolvedBefore(6*hour-sec), healthyFor(2*hour-sec, 24)), "6 handed_over"},
		{"resolved 5:59:59 ago: 2 h are", is(own, saidAgain, resolvedBefore(6*hour-sec), healthyFor(2*hour, 24)), "6 resolve well"},
		{"resolved 6 h ago: 30 minutes are enough", is(own, saidAgain, resolvedBefore(6*hour), healthyFor(30*min, 6)), "6 resolve well"},
		{"unsteady: 1:59:59 is not enough", is(own, unsteady, healthyFor(2*hour-sec, 24)), "6 handed_over"},
		{"unsteady: 2 h are", is(own, unsteady, healthyFor(2*hour, 24)), "6 resolve well"},
		{"closed by a person: two looks are enough", is(own, closed(self, hour), healthyFor(min, 1)), "6 resolve well"},
		{"closed by a person: one look is not", is(own, closed(self, hour), healthyFor(0, 0)), "6 wait 60s"},
		{"closed by a person, unsteady: two looks are not", is(own, closed(self, hour), membership(func(m *policy.Membership) { m.Unsteady = true }), healthyFor(min, 1)), "6 handed_over"},
		{"closed by a person, resolved before", is(own, closed(self, hour), resolvedBefore(hour), healthyFor(min, 1)), "6 resolve well"},
		{"a person closes it now", is(own, change(func(in *policy.Input) { in.Facts.Alerts["a/"+self] = policy.AlertClosed }), healthyFor(min, 1)), "6 resolve well"},
		{"the pager cannot tell", is(own, saidAgain, change(func(in *policy.Input) { in.Facts.Alerts["a/"+self] = policy.AlertUnreadable }), healthyFor(min, 1)), "6 handed_over"},

		{"healthy for 10 minutes", is(own, healthyFor(10*min, 2)), "6 page healthy_again note @i-self"},
		{"healthy for 9:59", is(own, healthyFor(10*min-sec, 2)), "6 handed_over"},
		{"healthy for 10 minutes, and unsteady", is(own, unsteady, healthyFor(10*min, 2)), "6 handed_over"},
		{"said to be healthy again before", is(own, saidAgain, healthyFor(20*min, 4)), "6 handed_over"},
		{"the page was never confirmed", is(own, membership(func(m *policy.Membership) { m.Confirmed = false }), healthyFor(10*min, 2)), "6 handed_over"},
		{"EC2 cannot be asked", is(own, ec2Blind, saidAgain, healthyFor(30*min, 6)), "6 resolve well"},
	})
}

func TestRow6SkippedCheck(t *testing.T) {
	urlFailed := options(member(self, sevDown, 3*hour), membership(func(m *policy.Membership) { m.Failed = []string{"url"}; m.AgainAt = ago(min) }))
	decisions(t, []decisionCase{
		{"skips what had failed", is(look(blind, passed, passed), urlFailed, healthyFor(3*hour, 30)), "6 handed_over"},
		{"skips another check", is(look(passed, blind, passed), urlFailed, healthyFor(3*hour, 30)), "6 resolve well"},
	})
}

func TestRow6LeavesItsAlert(t *testing.T) {
	out := policy.Decide(input(member(self, sevDown, 3*hour), healthyFor(30*min, 6)))
	i, r := out.State.Instance, out.State.Region
	if i.Membership != nil || i.LastResolvedAt != now {
		t.Errorf("membership %v, last resolved %v", i.Membership, i.LastResolvedAt)
	}
	if refs := r.ToResolve(); len(refs) != 1 || refs[0].ID != "a/"+self || refs[0].Ended == "" {
		t.Errorf("to resolve: %+v", refs)
	}
	out = policy.Decide(input(member("url/attention", sevUnknown, 3*hour, other), healthyFor(30*min, 6)))
	if refs := out.State.Region.ToResolve(); len(refs) != 0 {
		t.Errorf("an alert with another member is to be resolved: %+v", refs)
	}
}

func TestRow7HandedOverPage(t *testing.T) {
	own := member(self, sevDown, 3*hour)
	unconfirmed := membership(func(m *policy.Membership) { m.Confirmed = false })
	longWell := membership(func(m *policy.Membership) { m.LongWell = true })
	saidAgain := membership(func(m *policy.Membership) { m.AgainAt = ago(hour) })
	note := "8 page note down note @i-self"
	decisions(t, []decisionCase{
		{"not confirmed", is(down, own, unconfirmed), "7 page not_confirmed down @i-self"},
		{"not confirmed, not held for long", is(down, own, unconfirmed, held(0)), "7 page not_confirmed down @i-self"},
		{"not confirmed, and busy now", is(allBusy, own, unconfirmed), "7 page not_confirmed down @i-self"},
		{"confirmed", is(down, own), note},

		{"worse: down after unknown", is(down, member("url/attention", sevUnknown, 3*hour)), "7 page worse down @i-self"},
		{"worse: not after down", is(down, own), note},
		{"worse: not if Route 53 alone fails", is(r53Alone, member("url/blind", sevUnknown, 3*hour)), "8 page note unknown note @url/blind"},
		{"worse: must hold first", is(down, member("url/attention", sevUnknown, 3*hour), held(2*min-sec)), "7 wait 10s confirming:page"},
		{"worse: after a person closed it", is(down, member("url/attention", sevUnknown, 3*hour), closed("url/attention", min)), "7 page worse down @i-self"},
		{"worse: the breaker holds it", is(down, member("url/attention", sevUnknown, 3*hour), alert("a/breaker", "breaker", min, other)), "7 page held_back down note @breaker"},
		{"down after a page of down-after-reboot", is(down, member(self, sevAfter, 3*hour)), "8 page note down-after-reboot note @i-self"},

		{"died again", is(down, own, longWell, failedFor(20*min)), "7 page died_again down @i-self"},
		{"failed for 19:59 only", is(down, own, longWell, failedFor(20*min-sec)), note},
		{"it was never well", is(down, own, failedFor(20*min)), note},
		{"well, and busy now", is(allBusy, own, longWell, failedFor(20*min)), note},
		{"died again after a person closed it", is(down, own, longWell, closed(self, hour), failedFor(20*min)), "7 page died_again down @i-self"},

		{"said to be healthy again, failed for 20 minutes", is(down, own, saidAgain, failedFor(20*min)), "7 page died_again down @i-self"},
		{"said to be healthy again, then a person closed it", is(down, own, saidAgain, closed(self, hour), failedFor(20*min)), "7 page died_again down @i-self"},
		{"said to be healthy again, failed for 19:59", is(down, own, saidAgain, failedFor(20*min-sec)), note},

		{"unsteady: worse for 20 minutes", is(down, member(cause, sevUnknown, 3*hour), unsteady, failedFor(20*min)), "7 page worse down @i-self"},
		{"unsteady: unhealthy for 20 minutes, failed for 3", is(down, member(cause, sevUnknown, 3*hour), unsteady, failedFor(3*min), instance(func(i *policy.Instance) { i.UnhealthySince = ago(20 * min) })), "7 page worse down @i-self"},
		{"unsteady: worse for 19:59", is(down, member(cause, sevUnknown, 3*hour), unsteady, failedFor(20*min-sec)), "8 page note unknown note @url/attention"},
		{"unsteady: died again for 2 h", is(down, own, unsteady, longWell, failedFor(2*hour)), "7 page died_again down @i-self"},
		{"unsteady: died again for 1:59:59", is(down, own, unsteady, longWell, saidAgain, failedFor(2*hour-sec)), note},

		{"closed 4 h ago", is(down, own, closed(self, 4*hour)), "7 page still_down down @i-self"},
		{"closed 3:59:59 ago", is(down, own, closed(self, 4*hour-sec)), "8 handed_over"},
		{"closed now", is(down, own, change(func(in *policy.Input) { in.Facts.Alerts["a/"+self] = policy.AlertClosed })), "8 handed_over"},
		{"attention: closed 24 h ago", is(attention, member("url/attention", sevUnknown, 30*hour), membership(func(m *policy.Membership) { m.Kind = incident.Attention }), closed("url/attention", day)), "7 page still_down unknown @url/attention"},
		{"attention: closed 23:59:59 ago", is(attention, member("url/attention", sevUnknown, 30*hour), membership(func(m *policy.Membership) { m.Kind = incident.Attention }), closed("url/attention", day-sec)), "8 handed_over"},
		{"blind: closed 4 h ago", is(allBlind, member("url/blind", sevUnknown, 30*hour), membership(func(m *policy.Membership) { m.Kind = incident.Blind }), closed("url/blind", 4*hour)), "7 page still_down unknown @url/blind"},
	})
}

func TestRow7PagerCannotTell(t *testing.T) {
	unreadable := func(key string) option {
		return change(func(in *policy.Input) { in.Facts.Alerts["a/"+key] = policy.AlertUnreadable })
	}
	joined := alertOf("a/url/attention", func(a *policy.Alert) { a.JoinedByNoteAt = a.LastWakeAt.Add(sec) })
	cause := func(woke time.Duration) option { return member("url/attention", sevUnknown, woke, other) }
	page, note, quiet := "7 page still_down unknown @url/attention", "8 page note unknown note @url/attention", "8 handed_over"
	decisions(t, []decisionCase{
		{"woke 24 h ago", is(attention, cause(day), unreadable("url/attention")), page},
		{"woke 23:59:59 ago", is(attention, cause(day-sec), unreadable("url/attention")), note},
		{"woke 24 h ago, the pager says it is open", is(attention, cause(day), change(func(in *policy.Input) { in.Facts.Alerts["a/url/attention"] = policy.AlertOpen })), note},
		{"woke 24 h ago, the pager could not be asked", is(attention, cause(day)), note},
		{"joined by a note since, woke an hour ago", is(attention, cause(hour), joined, unreadable("url/attention")), page},
		{"joined by a note since, woke 59:59 ago", is(attention, cause(hour-sec), joined, unreadable("url/attention")), quiet},
		{"joined by a note before, woke an hour ago", is(attention, cause(hour), alertOf("a/url/attention", func(a *policy.Alert) { a.JoinedByNoteAt = a.LastWakeAt - 1 }), unreadable("url/attention")), note},
		{"must hold first", is(attention, cause(day), unreadable("url/attention"), held(min)), "7 wait 60s confirming:page"},
	})

	out := policy.Decide(input(attention, cause(day), unreadable("url/attention")))
	a := out.State.Region.Alerts["a/url/attention"]
	if a.Wake != 2 || a.Alias == "prod/eu-west-1/url/attention/1" || len(a.Old) != 1 || len(a.Members) != 2 {
		t.Errorf("the alert must have a new alias, its old one and all members: %+v", a)
	}
}

func TestRow8Note(t *testing.T) {
	notedAgo := func(d time.Duration) option {
		return alertOf("a/"+self, func(a *policy.Alert) { a.NoteAt = ago(d) })
	}
	decisions(t, []decisionCase{
		{"woke somebody an hour ago", is(down, member(self, sevDown, hour)), "8 page note down note @i-self"},
		{"woke somebody 59:59 ago", is(down, member(self, sevDown, hour-sec)), "8 handed_over"},
		{"noted an hour ago", is(down, member(self, sevDown, 5*hour), notedAgo(hour)), "8 page note down note @i-self"},
		{"noted 59:59 ago", is(down, member(self, sevDown, 5*hour), notedAgo(hour-sec)), "8 handed_over"},
		{"all is right for a reboot: never", is(down, member(self, sevUnknown, 5*hour), membership(func(m *policy.Membership) { m.Severity = sevDown })), "8 page note down note @i-self"},
	})
	out := policy.Decide(input(down, member(self, sevDown, hour)))
	if got := out.State.Region.Alerts["a/"+self].NoteAt; got != now {
		t.Errorf("NoteAt is %v, want now", got)
	}
	if out.Decision.Slack {
		t.Error("an hourly note goes to Slack")
	}
}

func TestRow9Healthy(t *testing.T) {
	covered := look(passed, blind, passed)
	decisions(t, []decisionCase{
		{"healthy", is(healthy, healthyFor(0, 0)), "9 done"},
		{"a check is blind", is(covered, healthyFor(0, 0)), "9 slack covered"},
		{"a check is blind, told before", is(covered, healthyFor(0, 0), slackSaid("covered", 9*hour)), "9 done"},
		{"a check is blind, something else was said 59:59 ago", is(covered, healthyFor(0, 0), slackSaid("url/busy", hour-sec)), "9 done"},
		{"a check is blind, something else was said an hour ago", is(covered, healthyFor(0, 0), slackSaid("url/busy", hour)), "9 slack covered"},
		{"the third recovery within two hours", is(healthy, recovered(2*hour-sec, 30*min)), "9 slack unsteady"},
		{"the third, but the first is two hours ago", is(healthy, recovered(2*hour, 30*min)), "9 done"},
		{"three before, but this look is none", is(healthy, recovered(3*min, 2*min, min), healthyFor(min, 1)), "9 done"},
	})
}

func TestRow10Failed(t *testing.T) {
	decisions(t, []decisionCase{
		{"all is right for a reboot", is(down), "10 reboot 60s"},
		{"one check failed", is(look(badAnswer, passed, passed)), "10 reboot 60s"},
		{"held for 2 minutes", is(down, held(2*min)), "10 reboot 60s"},
		{"held for 1:59", is(down, held(2*min-sec)), "10 wait 10s confirming:reboot"},
		{"held for 1:30", is(down, held(90*sec)), "10 wait 31s confirming:reboot"},
		{"held for 60 s", is(down, held(min)), "10 wait 60s confirming:reboot"},
		{"first look", is(down, held(0)), "10 wait 60s confirming:reboot"},
		{"confirm_seconds 180, held for 2:59", is(down, setting(func(s *incident.Settings) { s.ConfirmSeconds = 180 }), held(3*min-sec)), "10 wait 10s confirming:reboot"},
		{"confirm_seconds 0, first look", is(down, setting(func(s *incident.Settings) { s.ConfirmSeconds = 0 }), held(0)), "10 reboot 60s"},
		{"another check failed before", is(look(badAnswer, passed, passed), instance(func(i *policy.Instance) {
			i.Execution.FailedSince = map[string]incident.Millis{"ssh": ago(hour)}
		})), "10 wait 60s confirming:reboot"},
		{"one of the failed checks has held", is(look(badAnswer, off, mute), instance(func(i *policy.Instance) {
			i.Execution.FailedSince = map[string]incident.Millis{"url": ago(min), "ssh": ago(2 * min)}
		})), "10 reboot 60s"},
		{"the looks were another execution's", is(down, instance(func(i *policy.Instance) { i.Execution.ID = "e-before" })), "10 wait 60s confirming:reboot"},
		{"a guard refuses, held for 1:59", is(down, noAlarm, held(2*min-sec)), "10 wait 10s confirming:page"},
		{"a guard refuses", is(down, noAlarm), "10 page not_rebooted down guard:alarm @i-self"},
	})
}

// What had to be confirmed first leaves no trace but what the look saw.
func TestConfirmingChangesNothing(t *testing.T) {
	in := input(down, held(0), alert("a/breaker", "breaker", min, other))
	out := policy.Decide(in)
	if out.State.Instance.Membership != nil || len(out.State.Region.Alerts["a/breaker"].Members) != 1 {
		t.Error("an unconfirmed failure joined the breaker's alert")
	}
	if e := out.State.Instance.Execution; e.FailedSince["url"] != now.Add(0) || e.Looks != 4 {
		t.Errorf("what the look saw is not stored: %+v", e)
	}
}

func TestRow11SlackAlone(t *testing.T) {
	since := func(d time.Duration) option {
		return instance(func(i *policy.Instance) { i.UnhealthySince = ago(d) })
	}
	blindFor := func(d time.Duration) option {
		return instance(func(i *policy.Instance) { i.Execution.BlindSince = ago(d) })
	}
	sshPasses := look(off, blind, passed)
	decisions(t, []decisionCase{
		{"busy while another check passes", is(look(busy, off, passed)), "11 slack busy"},
		{"busy while none passes", is(allBusy), "12 page busy unknown @url/busy"},
		{"busy while another check is blind", is(look(busy, blind, off)), "12 page busy unknown @url/busy"},
		{"busy, told before", is(look(busy, off, passed), slackSaid("url/busy", day)), "11 done"},
		{"busy, something else was said 59:59 ago", is(look(busy, off, passed), slackSaid("covered", hour-sec)), "11 done"},
		{"busy, something else was said an hour ago", is(look(busy, off, passed), slackSaid("covered", hour)), "11 slack busy"},
		{"busy for 20 minutes", is(look(busy, off, passed), since(20*min), slackSaid("url/busy", 20*min)), "12 page busy unknown @url/busy"},
		{"busy for 19:59", is(look(busy, off, passed), since(20*min-sec), slackSaid("url/busy", 20*min)), "11 done"},
		{"SSH is busy for 20 minutes", is(look(passed, off, busy), since(20*min), slackSaid("ssh/busy", 20*min)), "11 done"},
		{"blind while SSH passes", is(sshPasses, since(20*min-sec)), "11 slack blind"},
		{"blind while SSH passes, for 20 minutes", is(sshPasses, since(20*min)), "12 page blind unknown @route53/blind"},
		{"blind while SSH passes, first look", is(sshPasses, held(0)), "11 wait 30s"},
		{"blind while SSH passes, for 1:59", is(sshPasses, blindFor(2*min-sec)), "11 wait 30s"},
		{"blind while SSH passes, told before", is(sshPasses, blindFor(0), slackSaid("route53/blind", day)), "11 done"},
		{"attention while another check passes", is(attention), "12 page attention unknown @url/attention"},
	})
}

func TestRow12Unknown(t *testing.T) {
	blindFor := func(d time.Duration) option {
		return instance(func(i *policy.Instance) { i.Execution.BlindSince = ago(d) })
	}
	decisions(t, []decisionCase{
		{"attention", is(attention), "12 page attention unknown @url/attention"},
		{"attention, held for 1:59", is(attention, held(2*min-sec)), "12 wait 10s confirming:page"},
		{"contradicted", is(look(passed, noReply, passed)), "12 page contradicted unknown @route53/contradicted"},
		{"busy", is(allBusy), "12 page busy unknown @url/busy"},
		{"blind for 2 minutes", is(allBlind), "12 page blind unknown @url/blind"},
		{"blind for 1:59", is(allBlind, blindFor(2*min-sec)), "12 wait 30s"},
		{"blind for 1:59, confirm_seconds 0", is(allBlind, blindFor(2*min-sec), setting(func(s *incident.Settings) { s.ConfirmSeconds = 0 })), "12 wait 30s"},
		{"the cause is the check with the first kind", is(look(busy, off, forbidden)), "12 page attention unknown @ssh/attention"},
		{"no alarm is needed", is(attention, noAlarm), "12 page attention unknown @url/attention"},
		{"the breaker is not asked", is(attention, alert("a/breaker", "breaker", min, other)), "12 page attention unknown @url/attention"},
	})
}

// An execution ends after 200 looks without being at rest.
func TestMaxLooks(t *testing.T) {
	atLook := func(n int) option { return change(func(in *policy.Input) { in.Look = n }) }
	decisions(t, []decisionCase{
		{"look 199 waits", is(down, held(0), atLook(199)), "10 wait 60s confirming:reboot"},
		{"look 200 does not wait", is(down, held(0), atLook(200)), "10 done confirming:reboot"},
		{"look 200 does not reboot, since no look could follow", is(down, atLook(200)), "10 done"},
		{"look 199 reboots", is(down, atLook(199)), "10 reboot 60s"},
		{"look 200 pages", is(attention, atLook(200)), "12 page attention unknown @url/attention"},
	})
	for name, o := range map[string]option{"failed": options(down, held(0)), "healthy after a reboot": options(rebooted(min, ""), healthyFor(0, 0))} {
		if policy.Decide(input(o, atLook(200))).State.Instance.AtRest {
			t.Errorf("%s: at rest after the last look", name)
		}
	}
}

func TestAtRest(t *testing.T) {
	for _, tt := range []struct {
		name string
		is   option
		want bool
	}{
		{"healthy", healthyFor(0, 0), true},
		{"failed", down, false},
		{"busy, told before", options(look(busy, off, passed), slackSaid("url/busy", min)), false},
		{"handed over", options(member(self, sevDown, hour), healthyFor(min, 1)), false},
		{"well, its alert not yet closed", options(member(self, sevDown, hour), healthyFor(hour, 9)), false},
		{"a reboot whose outcome is open", options(rebooted(min, ""), healthyFor(0, 0)), false},
		{"gone, told before", options(down, terminated, slackSaid("gone", min)), true},
	} {
		i := policy.Decide(input(tt.is)).State.Instance
		if i.AtRest != tt.want {
			t.Errorf("%s: at rest is %v", tt.name, i.AtRest)
		}
		if policy.Due(&i, false) == tt.want || !policy.Due(&i, true) {
			t.Errorf("%s: due is %v, with an alarm %v", tt.name, policy.Due(&i, false), policy.Due(&i, true))
		}
	}
}
