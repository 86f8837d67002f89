package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"firstline/internal/incident"
)

// Explanation is what would be decided if an alarm of the instance fired now and what is
// seen now lasted, and on what.
type Explanation struct {
	// At is when it was asked, State what is stored then.
	At    incident.Millis `json:"at"`
	State State           `json:"state"`
	Facts []FactSaid      `json:"facts"`
	// Assumed says what the decision takes for granted and is not so now.
	Assumed []string `json:"assumed"`
	// Decision is the policy's, as if it had been confirmed.
	Decision incident.Decision `json:"decision"`
	// Guards are the answers of the breaker and of all guards, in the order in which
	// row 10 asks them until one refuses.
	Guards []GuardSaid `json:"guards"`
}

// FactSaid is a fact in words: its value, or why it could not be asked.
type FactSaid struct {
	Fact  string `json:"fact"`
	Value string `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
}

// GuardSaid is what a guard says to a reboot.
type GuardSaid struct {
	Guard  string `json:"guard"`
	Passes bool   `json:"passes"`
	// Reason is why it refuses.
	Reason string `json:"reason,omitempty"`
}

// Explain decides as Decide does, as if an alarm were in ALARM and the verdict had held
// for long enough. Nothing follows from it.
func Explain(in Input) Explanation {
	x := Explanation{At: in.Now, State: in.State, Facts: in.Facts.said(), Assumed: []string{}}
	x.assume(&in)
	x.Decision = Decide(in).Decision
	d := newDecider(in)
	d.see()
	why := d.breaker()
	x.Guards = append([]GuardSaid{{KeyBreaker, why == "", why}}, d.answers()...)
	return x
}

// assume makes the input one that is confirmed, and says what is assumed for that.
func (x *Explanation) assume(in *Input) {
	say := func(format string, args ...any) { x.Assumed = append(x.Assumed, fmt.Sprintf(format, args...)) }
	if l := in.State.Instance.Lease; l.Held(in.Execution, false, in.Now) {
		say("no incident of the instance is under way; now: %s, and an alarm would be already handled", cmp.Or(l.Name, l.Execution))
	}
	if a := in.Facts.Alarm; !in.Alarm && a.Value != StateAlarm {
		say("an alarm of the instance is in ALARM; now: %s", cmp.Or(a.Value, a.Err, "not known"))
	}
	need := time.Duration(in.Settings.ConfirmSeconds) * time.Second
	if l := weigh(in); l.Verdict != incident.VerdictHealthy {
		seen := "this look is the first"
		if since := in.State.Instance.UnhealthySince; since > 0 {
			seen = "not healthy since " + clock(since)
		}
		say("each look of the incident says the same for %s (confirm_seconds); now: %s", incident.Span(need), seen)
	}
	long := in.Now.Add(-need - time.Hour)
	e := Execution{ID: in.Execution, UnhealthySince: long, BlindSince: long, FailedSince: map[string]incident.Millis{}}
	for _, check := range incident.Checks {
		e.FailedSince[check] = long
	}
	in.Alarm, in.State.Instance.Execution = true, e
}

// answers asks all guards, also after one has refused.
func (d *decider) answers() (all []GuardSaid) {
	for _, g := range guards {
		reason := g.refusal(d)
		switch {
		case !d.f.EC2.Asked && slices.Contains([]string{GuardStatus, GuardInitializing, GuardCredits}, g.name):
			reason = "EC2 could not be asked"
		case d.l.Verdict != incident.VerdictFailed && (g.name == GuardRoute53Alone || g.name == GuardVantage):
			reason = "no failure that another place could confirm"
		case reason != "" && g.name == GuardDryRun:
			reason = "reboot.dry_run is set"
		}
		n := slices.IndexFunc(all, func(s GuardSaid) bool { return s.Guard == g.name })
		if n < 0 {
			n, all = len(all), append(all, GuardSaid{Guard: g.name})
		}
		all[n].Reason = cmp.Or(all[n].Reason, reason)
		all[n].Passes = all[n].Reason == ""
	}
	return all
}

// say puts a fact into words.
func say[T any](name string, f Fact[T], words func(T) string) FactSaid {
	switch {
	case f.Asked:
		return FactSaid{Fact: name, Value: words(f.Value)}
	case f.Err != "":
		return FactSaid{Fact: name, Error: f.Err}
	}
	return FactSaid{Fact: name, Value: "not asked: this look does not need it"}
}

// said puts the facts into words.
func (f *Facts) said() []FactSaid {
	all := []FactSaid{
		say("alarm", f.Alarm, func(state string) string { return state }),
		say("EC2", f.EC2, EC2.words),
	}
	if e := f.EC2.Value; f.EC2.Asked && !e.Unknown {
		pause := "none"
		if e.Pause != nil {
			pause = "until " + e.Pause.Until.Time().Format("2006-01-02 15:04 UTC")
		}
		all = append(all, sayOr("pause tag", pause, e.PauseErr), sayOr("CPU credits", cmp.Or(e.NoCredits, "it has some, or needs none"), e.CreditsErr))
	}
	all = append(all,
		say("security groups", f.Closed, func(closed map[string]string) string {
			return cmp.Or(strings.Join(slices.Sorted(maps.Values(closed)), "; "), "they keep no check out")
		}),
		say("other instances", f.Others, func(o Others) string {
			switch {
			case o.Answered:
				return "another instance of the region answers"
			case o.Any:
				return "none that was asked answers"
			}
			return "there is no other"
		}),
		say("our connectivity", f.Connected, func(works bool) string {
			return map[bool]string{true: "works", false: "does not work"}[works]
		}))
	for _, p := range f.Peers {
		all = append(all, sayOr(p.Region, p.Check+" "+string(p.Finding.Outcome)+": "+p.Finding.Reason, p.Err))
	}
	for _, id := range slices.Sorted(maps.Keys(f.Alerts)) {
		all = append(all, FactSaid{Fact: "alert", Value: id + ": " + cmp.Or(string(f.Alerts[id]), "its pager could not be asked")})
	}
	return all
}

func sayOr(name, value, err string) FactSaid {
	if err != "" {
		return FactSaid{Fact: name, Error: err}
	}
	return FactSaid{Fact: name, Value: value}
}

// words say what EC2 knows of the instance.
func (e EC2) words() string {
	if e.Unknown {
		return "it knows no such instance"
	}
	said := []string{e.State}
	add := func(isSo bool, words string) {
		if isSo {
			said = append(said, words)
		}
	}
	add(e.Stopped && e.ByPerson, "by a person")
	add(e.LaunchedAt > 0, "started at "+e.LaunchedAt.Time().Format("2006-01-02 15:04 UTC"))
	n := len(said)
	add(e.Initializing, "status checks initializing")
	add(e.Unclear, "no status")
	add(e.System, "system impaired")
	add(e.Instance, "instance impaired")
	add(e.EBS, "EBS impaired")
	add(e.Running && len(said) == n, "status checks ok")
	add(e.Scheduled != "", e.Scheduled)
	return strings.Join(said, ", ")
}
