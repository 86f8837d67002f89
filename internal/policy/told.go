package policy

import (
	"cmp"
	"slices"
	"time"

	"firstline/internal/incident"
)

// Paged records that a pager has taken a page or a note.
func Paged(s State, dec incident.Decision, p incident.Paged, thread *incident.Thread) State {
	s = s.clone()
	if dec.Alert == nil {
		return s
	}
	a, ok := s.Region.Alerts[dec.Alert.ID]
	if !ok || a.Alias != dec.Alert.Alias {
		return s
	}
	m := s.Instance.Membership
	isJoining := m != nil && m.Alert == dec.Alert.ID && !m.Confirmed
	switch {
	case !dec.Note:
		if a.Pager, a.LastWakeAt = p.Pager, p.At; a.JoinedByNoteAt > dec.At {
			a.JoinedByNoteAt = p.At + 1 // its page was on its way
		}
	case isJoining:
		a.JoinedByNoteAt = max(p.At, a.LastWakeAt+1)
	}
	if isJoining {
		m.Confirmed = true
	}
	if thread != nil && a.Thread == nil {
		a.Thread = thread
	}
	s.Region.Alerts[dec.Alert.ID] = a
	// The message lists the reboots and their outcomes.
	for n := range s.Instance.Reboots {
		if r := &s.Instance.Reboots[n]; r.Outcome != "" {
			r.Told = true
		}
	}
	return s
}

// SlackTold records that Slack has taken a message.
func SlackTold(s State, dec incident.Decision, now incident.Millis) State {
	s = s.clone()
	i := &s.Instance
	if ref := dec.Alert; ref != nil {
		if a := s.Region.Alerts[ref.ID]; a.Alias == ref.Alias && a.MentionedAt < ref.MentionedAt {
			a.MentionedAt, a.Thread = ref.MentionedAt, cmp.Or(ref.Thread, a.Thread)
			s.Region.Alerts[ref.ID] = a
		}
	}
	if dec.SlackKey != "" {
		i.SlackKey = dec.SlackKey
		if dec.Situation != incident.SituationRecovered && dec.Row != 1 {
			i.SlackAt = now
		}
	}
	if r := i.lastReboot(); r != nil && r.Outcome == incident.OutcomeCured && dec.Situation == incident.SituationRecovered {
		r.Told = true
	}
	return s
}

// Closed records that an execution has ended after it said what had to be said.
func Closed(s State, dec incident.Decision) State {
	s.Instance.AtRest = (dec.Verdict == incident.VerdictHealthy || dec.Row == 1) && s.Instance.settled()
	return s
}

// Resolved records that an alias is closed at its pager.
func Resolved(r Region, ref incident.AlertRef) Region {
	a, ok := r.Alerts[ref.ID]
	if !ok {
		return r
	}
	r = State{Region: r}.clone().Region
	if ref.Alias == a.Alias && len(a.Members) == 0 && len(a.Old) == 0 {
		delete(r.Alerts, ref.ID)
		return r
	}
	a = r.Alerts[ref.ID]
	a.Old = slices.DeleteFunc(a.Old, func(o OldAlias) bool { return o.Alias == ref.Alias })
	r.Alerts[ref.ID] = a
	return r
}

// Resume takes an instance out of the breaker's alert, so that it is looked at
// at once and may be rebooted. It reports whether it was a member.
func Resume(s State, now incident.Millis) (State, bool) {
	s = s.clone()
	m := s.Instance.Membership
	if m == nil {
		return s, false
	}
	if key := s.Region.Alerts[m.Alert].Key; key != KeyBreaker && key != KeyHeld {
		return s, false
	}
	leave(&s.Instance, &s.Region, now, "a person closed the breaker", "")
	s.Instance.AtRest = false
	s.Region.BreakerResetAt = now
	return s, true
}

// WithoutStore decides where the table cannot be read or written: somebody is
// paged, once an hour for the whole region, unless this look was healthy, and
// then nothing has to be said.
func WithoutStore(in Input, why string) incident.Decision {
	l := Weigh(in.Findings, in.Settings, func(string) bool { return true }, in.Caught)
	dec := incident.Decision{Look: in.Look, At: in.Now, Verdict: l.Verdict, Kind: l.Kind, Findings: l.Findings}
	if l.Verdict == incident.VerdictHealthy {
		dec.Next, dec.Reason = incident.NextDone, "healthy; the decision could not be stored: "+why
		return dec
	}
	dec.Next, dec.Situation, dec.Slack = incident.NextPage, incident.SituationStore, true
	dec.Severity = l.severity()
	dec.Reason = "the table cannot be read or written, so nothing is rebooted: " + why
	dec.Alert = AlertWithoutStore(in.AliasPrefix, KeyStore, in.Now)
	dec.Alert.Members = []string{in.State.Instance.ID}
	return dec
}

// Keys of alerts that the table does not know.
const (
	KeyStore      = "store"       // the table cannot be read or written
	KeyNoIncident = "no-incident" // an event could not be made an incident
)

// AlertWithoutStore is an alert that the table does not know: the pager
// deduplicates it within the hour.
func AlertWithoutStore(prefix, key string, now incident.Millis) *incident.AlertRef {
	return &incident.AlertRef{Key: key, Alias: prefix + "/" + key + "/" + now.Time().Format("20060102T15"), OpenedAt: now}
}

// EndedWithoutStore are the alerts that the table does not know and that have
// lasted for an hour at least: what goes on has an alert of a later hour. The
// older ones are there since a pager may not answer for a while.
func EndedWithoutStore(prefix string, now incident.Millis) (refs []incident.AlertRef) {
	for hours := 2; hours <= 6; hours++ {
		for _, key := range []string{KeyStore, KeyNoIncident} {
			ref := AlertWithoutStore(prefix, key, now.Add(-time.Duration(hours)*time.Hour))
			ref.Ended = "its hour is over; if it happens again, somebody is paged again"
			refs = append(refs, *ref)
		}
	}
	return refs
}
