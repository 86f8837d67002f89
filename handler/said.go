package handler

import (
	"cmp"
	"fmt"
	"time"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/notify"
)

// said is the decision that people are told of: the incident's own, or, where
// it has none, that somebody is to be paged since none could be made or stored.
// Each step that tells makes the same of the same incident.
func (h *Handler) said(inc *incident.Incident) incident.Decision {
	dec := inc.Decision
	caught, undecided := inc.Caught["decide"]
	isWhole := dec != nil && (dec.Next == incident.NextPage && dec.Alert != nil || dec.Next == incident.NextSlack || dec.Next == incident.NextResolve)
	switch {
	case isWhole && (!undecided || dec.Row == 0): // or an earlier step has made it
		return *dec
	case inc.InstanceID == "":
		return h.noIncident(inc)
	}
	if inc.Settings == nil {
		inc = new(*inc)
		inc.Settings = new(incident.DefaultSettings())
	}
	why := fmt.Sprintf("the word %q says nothing", inc.Next)
	if undecided {
		why = sentence(caught)
	}
	return policy.WithoutStore(h.input(inc, policy.State{Instance: policy.Instance{ID: inc.InstanceID}}), why)
}

// maxWhy bounds why there is no decision, in runes.
const maxWhy = 300

// sentence says what was caught. Its cause is plain text already (redactCaught),
// and may be missing, as where Step Functions ended the step.
func sentence(c incident.Caught) string {
	if c.Cause == "" {
		return c.Error
	}
	return incident.ClipLine(c.Cause, maxWhy) + " (" + incident.ClipLine(c.Error, maxWhy) + ")"
}

// noIncident is the decision about an event that no incident could be made of.
func (h *Handler) noIncident(inc *incident.Incident) incident.Decision {
	reason := "the event could not be made an incident"
	if c, ok := inc.Caught["open"]; ok {
		reason = sentence(c)
	}
	return h.withoutPolicy(policy.KeyNoIncident, incident.SituationNoIncident, incident.SeverityUnknown, reason)
}

// withoutPolicy is the decision to page about what concerns no instance.
func (h *Handler) withoutPolicy(key, situation string, severity incident.Severity, reason string) incident.Decision {
	now := incident.At(time.Now())
	return incident.Decision{
		Look: 1, At: now, Next: incident.NextPage, Situation: situation, Severity: severity,
		Reason: reason, Alert: policy.AlertWithoutStore(h.aliasPrefix(), key, now), Slack: true,
	}
}

// message is what is told of a decision.
func (h *Handler) message(inc *incident.Incident, dec incident.Decision, kind notify.Kind) notify.Message {
	about := new(*inc)
	about.Decision = &dec
	about.Region = cmp.Or(inc.Region, h.Region)
	m := notify.Message{Kind: kind, Incident: about, Deployment: h.Deployment, Now: time.Now().UTC()}
	if dec.Alert != nil {
		m.Alert, m.Thread = *dec.Alert, dec.Alert.Thread
	}
	return m
}
