package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// pagerDutyCan: there is no way to ask what became of an event with a routing key.
// Title is the limit of an event's summary
// (https://developer.pagerduty.com/docs/send-alert-event). A whole event may have 512 KB.
var pagerDutyCan = Capabilities{
	Resolvable: true, Deduplicates: true,
	Priorities: []string{"critical", "error", "warning", "info"}, Title: 1024, Text: limitDescription,
}

const limitDedupKey = 255

var pagerDutyURLs = map[string]string{"us": "https://events.pagerduty.com", "eu": "https://events.eu.pagerduty.com"}

// pagerDuty pages through the Events API v2 of PagerDuty.
type pagerDuty struct {
	pagerDutySettings
	key  Secret
	http http.RoundTripper
}

// pagerDutySettings are its settings, as Terraform has checked them.
type pagerDutySettings struct {
	Type string `json:"type"`
	// Endpoint is one of pagerDutyURLs, or a base URL.
	Endpoint     string `json:"endpoint"`
	KeyParameter string `json:"key_parameter"`
	// Severity is that of every event but those whose own is "unknown".
	Severity        string            `json:"severity"`
	SeverityUnknown string            `json:"severity_unknown"`
	Group           string            `json:"group"`
	Class           string            `json:"class"`
	Component       string            `json:"component"`
	Details         map[string]string `json:"details"`
}

func makePagerDuty(config json.RawMessage, deps Deps) (Pager, error) {
	p := &pagerDuty{http: deps.HTTP}
	err := incident.DecodeStrict(config, &p.pagerDutySettings)
	p.key = deps.secretIn(p.KeyParameter)
	return p, err
}

// pagerDutyEvent is the body of every call. Only a trigger has a payload.
type pagerDutyEvent struct {
	RoutingKey string            `json:"routing_key"`
	Action     string            `json:"event_action"`
	DedupKey   string            `json:"dedup_key"`
	Client     string            `json:"client,omitempty"`
	Payload    *pagerDutyPayload `json:"payload,omitempty"`
	Links      []pagerDutyLink   `json:"links,omitempty"`
}

type pagerDutyPayload struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  string            `json:"severity"`
	Timestamp string            `json:"timestamp,omitempty"`
	Component string            `json:"component,omitempty"`
	Group     string            `json:"group,omitempty"`
	Class     string            `json:"class,omitempty"`
	Details   map[string]string `json:"custom_details"`
}

type pagerDutyLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

// Name is its type.
func (p *pagerDuty) Name() string { return "pagerduty" }

// Capabilities are the Events API's.
func (p *pagerDuty) Capabilities() Capabilities { return pagerDutyCan }

func (p *pagerDuty) address() string {
	return strings.TrimRight(cmp.Or(pagerDutyURLs[p.Endpoint], p.Endpoint), "/")
}

// trigger is the message as the event that makes an alert.
func (p *pagerDuty) trigger(m Message) pagerDutyEvent {
	r := describe(m)
	e := pagerDutyEvent{Action: "trigger", DedupKey: dedupKey(m), Client: r.deployment, Payload: &pagerDutyPayload{
		Summary: r.headline(limitTitle), Source: cmp.Or(r.about(), r.deployment), Severity: p.Severity,
		Timestamp: m.Now.UTC().Format(time.RFC3339),
		Component: p.Component, Group: cmp.Or(p.Group, r.deployment), Class: cmp.Or(p.Class, r.situation), Details: map[string]string{},
	}}
	switch {
	case r.situation == incident.SituationTest:
		e.Payload.Severity = "info"
	case r.dec.Severity == incident.SeverityUnknown:
		e.Payload.Severity = p.SeverityUnknown
	}
	for _, l := range r.links {
		e.Links = append(e.Links, pagerDutyLink{l.value, l.label})
	}
	r.links = nil
	maps.Copy(e.Payload.Details, p.Details)
	maps.Copy(e.Payload.Details, r.details())
	e.Payload.Details["text"] = join(r.lines(), pagerDutyCan.Text)
	return e
}

func dedupKey(m Message) string { return incident.ClipLine(alias(m), limitDedupKey) }

func (p *pagerDuty) client(do string) *client {
	return newClient(do+" through PagerDuty", "the PagerDuty routing key", p.key, p.http)
}

// send has an event accepted.
func (p *pagerDuty) send(ctx context.Context, do string, e pagerDutyEvent) error {
	c := p.client(do)
	return c.deliver(ctx, func() *refusal { return p.enqueue(ctx, c, e) })
}

func (p *pagerDuty) enqueue(ctx context.Context, c *client, e pagerDutyEvent) *refusal {
	e.RoutingKey = c.key
	body, _ := json.Marshal(e) // of texts: it cannot fail
	a, r := c.send(ctx, http.MethodPost, p.address()+"/v2/enqueue", map[string]string{"Content-Type": "application/json"}, body)
	if r != nil {
		return r
	}
	var said struct {
		Status  string   `json:"status"`
		Message string   `json:"message"`
		Errors  []string `json:"errors"`
	}
	_ = json.Unmarshal(a.body, &said) // what it can: an oddity in one field does not hide the others
	switch {
	case a.StatusCode == http.StatusAccepted && said.Status == "success":
		return nil
	case a.ok():
		return refuse(fault.Unavailable, "the answer, %s, does not say that the event was accepted", a)
	}
	errs := strings.Join(said.Errors, "; ")
	r = a.refused(strings.Join(slices.DeleteFunc([]string{said.Message, errs}, func(s string) bool { return s == "" }), ": "))
	// What is wrong with a key is in the words only: "Invalid routing key", "Length of
	// 'routing_key' is incorrect".
	isKey := a.StatusCode == http.StatusBadRequest && strings.Contains(strings.ToLower(errs+said.Message), "routing")
	if r.auth = r.auth || isKey; r.auth {
		r.kind = fault.Denied
		r.err = fmt.Errorf("%w: store the integration key of the service's integration \"Events API V2\"", r.err)
	}
	return r
}

// Rehearse is as Pager says: it resolves an alert that was never made, which PagerDuty
// accepts and ignores.
func (p *pagerDuty) Rehearse(ctx context.Context, m Message) (string, error) {
	c := p.client("page")
	err := c.rehearse(ctx, func() *refusal {
		return p.enqueue(ctx, c, pagerDutyEvent{Action: "resolve", DedupKey: neverMade})
	})
	if err != nil {
		return "", err
	}
	page := p.trigger(m).Payload
	return page.Summary + "\n" + page.Details["text"], nil
}

// Page triggers an alert. Under the key of an open one it wakes nobody again.
func (p *pagerDuty) Page(ctx context.Context, m Message) (Delivery, error) {
	return Delivery{}, p.send(ctx, "page", p.trigger(m))
}

// Note is not for the Events API: it has none, and a trigger would change the alert.
func (p *pagerDuty) Note(context.Context, Message) error { return ErrNoAlert }

// Resolve resolves the alert.
func (p *pagerDuty) Resolve(ctx context.Context, m Message) error {
	return p.send(ctx, "resolve the alert", pagerDutyEvent{Action: "resolve", DedupKey: dedupKey(m)})
}

// Open is not for the Events API.
func (p *pagerDuty) Open(context.Context, string) (bool, error) { return false, errors.ErrUnsupported }

// Test triggers an alert of the severity "info" and resolves it.
func (p *pagerDuty) Test(ctx context.Context, m Message) (Delivery, error) {
	return makeAndClose(ctx, "PagerDuty", m, p.Page, func(ctx context.Context, m Message) (bool, error) { return false, p.Resolve(ctx, m) })
}
