package peers

import (
	"time"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

// rest is the rest of the world that the policy sees beside a finding.
type rest int

// The rests of the world. In the first three there is no Route 53 health check; in
// the others there is nothing else.
const (
	otherPasses rest = iota
	otherOff
	otherSame // the other check fails the same way
	route53Passes
	route53Fails
	rests
)

var restNames = [rests]string{"other passes", "other off", "other the same", "Route 53 passes", "Route 53 fails"}

// anything is what the policy may do where the table does not say: whatever is not
// a reboot.
const anything = ""

// other is the check beside one of our own checks, or beside Route 53.
func other(check string) string {
	if check == incident.CheckURL {
		return incident.CheckSSH
	}
	return incident.CheckURL
}

// beside returns the findings of a look with f in it, and its settings.
func (r rest) beside(f incident.Finding, s incident.Settings) ([]incident.Finding, *incident.Settings) {
	o := incident.Finding{Check: other(f.Check), Outcome: incident.Passed, Answered: true, Reason: "well"}
	switch r {
	case otherOff:
		s.URL.Enabled = f.Check == incident.CheckURL
		s.SSH.Enabled = f.Check == incident.CheckSSH
		return []incident.Finding{f}, &s
	case otherSame:
		o = f
		o.Check = other(f.Check)
	case route53Passes, route53Fails:
		s.URL.Enabled = f.Check == incident.CheckURL
		s.SSH.Enabled = f.Check == incident.CheckSSH
		s.Route53.HealthCheckID = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b"
		o = incident.Finding{Check: incident.CheckRoute53, Outcome: incident.Passed, Reason: "16 of 16 checkers report success"}
		if r == route53Fails {
			o.Outcome, o.Reason = incident.Failed, "0 of 16 checkers report success"
		}
		return []incident.Finding{f, o}, &s
	}
	s.URL.Enabled = f.Check == incident.CheckURL || o.Check == incident.CheckURL
	s.SSH.Enabled = f.Check == incident.CheckSSH || o.Check == incident.CheckSSH
	return []incident.Finding{f, o}, &s
}

// then says what the policy does in the end, if every look of an execution sees
// what this finding says: "reboot", "page" with a situation, "slack", "nothing".
// The instance's alarm is on, EC2 calls it running and well, its checks have passed
// before, and another instance answers us.
func (r rest) then(f incident.Finding, settings incident.Settings) string {
	findings, s := r.beside(f, settings)
	now := incident.At(time.Date(2026, 1, 5, 3, 0, 0, 0, time.UTC))
	in := policy.Input{
		Now: now.Add(-time.Hour), Settings: s, Breaker: incident.Breaker{InFlight: 2, PerHour: 6}, AliasPrefix: "test",
		Execution: "before", Look: 1,
		Facts: policy.Facts{
			EC2:       policy.Known(policy.EC2{State: "running", Running: true}),
			Others:    policy.Known(policy.Others{Any: true, Answered: true}),
			Connected: policy.Known(true),
		},
	}
	in.State.Instance.ID = "i-0c1cbf2e7abdedf75"
	for _, check := range incident.Checks { // a pass of all, which is the baseline
		if s.Enabled(check) {
			in.Findings = append(in.Findings, incident.Finding{Check: check, Outcome: incident.Passed, Answered: true, At: in.Now})
		}
	}
	in.State = policy.Decide(in).State
	in.Now, in.StartedAt, in.Execution, in.Alarm, in.Facts.Alarm = now, now, "now", true, policy.Known(policy.StateAlarm)
	for ; in.Look < incident.MaxLooks; in.Look++ {
		in.Findings = nil
		for _, f := range findings {
			f.Look, f.At = in.Look, in.Now
			in.Findings = append(in.Findings, f)
		}
		out := policy.Decide(in)
		switch d := out.Decision; d.Next {
		case incident.NextWait:
			in.State, in.Now = out.State, in.Now.Add(time.Duration(d.WaitSeconds)*time.Second)
		case incident.NextReboot:
			return "reboot"
		case incident.NextSlack:
			return "slack"
		case incident.NextPage:
			return "page " + d.Situation
		default:
			return "nothing"
		}
	}
	return "wait"
}
