package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/notify"
)

// secrets are those of the played services, by their parameters.
var secrets = map[string]string{
	"opsgenie": OpsGenieKey, "jsm": JSMKey, "token": JSMToken, "pagerduty": RoutingKey, "webhook": WebhookSecret,
	"another": strings.Repeat("x", 32), "another-webhook": "whsec_" + strings.Repeat("A", 43) + "=",
}

func secretOf(_ context.Context, parameter string, _ bool) (string, error) {
	return secrets[parameter], nil
}

// channel is a pager with the service that it pages through.
type channel struct {
	*Service
	notify.Pager
	// with makes the same pager with a setting changed.
	with func(setting, value string) notify.Pager
}

// message is what a pager is told of an alert.
func message(kind notify.Kind, alias string) notify.Message {
	const id = "i-0123456789abcdef0"
	return notify.Message{
		Kind: kind, Deployment: "firstline", Now: time.Now(),
		Alert: incident.AlertRef{Alias: alias, Key: id},
		Incident: &incident.Incident{
			InstanceID: id, Region: "eu-west-1", AccountID: "123456789012", Name: "shop",
			Execution: incident.Execution{ID: "arn:aws:states:eu-west-1:123456789012:execution:firstline:alarm-1", Name: "alarm-1"},
			Decision:  &incident.Decision{Look: 2, Situation: incident.SituationNotRebooted, Severity: incident.SeverityDown, Guard: "budget", Reason: "its budget is 0 reboots per day"},
		},
	}
}

// channels are all types of pager, each with a service that is played for it alone.
func channels(t *testing.T) map[string]*channel {
	t.Helper()
	operations := func(requests bool) Operations {
		o := jsmOperations
		o.Requests = requests
		return o
	}
	og, err1 := NewPager(t.Context(), OpsGenieKey)
	bare, err2 := NewJSM(t.Context(), JSMKey, Operations{})
	tells, err3 := NewJSM(t.Context(), JSMKey, Operations{Integration: true})
	knows, err4 := NewJSM(t.Context(), JSMKey, operations(true))
	blind, err5 := NewJSM(t.Context(), JSMKey, operations(false))
	pd, err6 := NewPagerDuty(t.Context(), RoutingKey)
	hook, err7 := NewWebhook(t.Context(), WebhookSecret)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		t.Fatal(err)
	}
	api := func(kind string, s *Service) map[string]string {
		return map[string]string{"type": kind, "endpoint": s.URL, "key_parameter": kind}
	}
	cloud := func(s *Service) map[string]string {
		c := api("jsm", s)
		c["cloud_id"], c["email"], c["token_parameter"] = jsmOperations.CloudID, jsmOperations.Email, "token"
		return c
	}
	all := map[string]*channel{}
	for name, of := range map[string]struct {
		s      *Service
		config map[string]string
	}{
		"opsgenie":                          {og, api("opsgenie", og)},
		"jsm":                               {bare, api("jsm", bare)},
		"jsm whose integration tells":       {tells, api("jsm", tells)},
		"jsm cloud_id":                      {knows, cloud(knows)},
		"jsm cloud_id, not of integrations": {blind, cloud(blind)},
		"pagerduty":                         {pd, map[string]string{"type": "pagerduty", "endpoint": pd.URL, "key_parameter": "pagerduty", "severity": "critical", "severity_unknown": "error"}},
		"webhook":                           {hook, map[string]string{"type": "webhook", "url": hook.URL, "key_parameter": "webhook"}},
	} {
		t.Cleanup(of.s.Close)
		with := func(setting, value string) notify.Pager {
			config := maps.Clone(of.config)
			config[setting] = value
			raw, err := json.Marshal([]any{config})
			if err != nil {
				t.Fatal(err)
			}
			pagers, err := notify.New(raw, notify.Deps{Secret: secretOf})
			if err != nil {
				t.Fatal(err)
			}
			return pagers[0]
		}
		all[name] = &channel{Service: of.s, Pager: with("type", of.config["type"]), with: with}
	}
	return all
}

// TestPagers has every type of pager page, note and resolve through the service that is
// played for it, which does not know what the other side is meant to be: what the type
// says that it can do is what comes of it.
func TestPagers(t *testing.T) {
	t.Parallel()
	for name, c := range channels(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.plays(t)
			c.fails(t)
			if got := c.Refusals(); len(got) != 0 {
				t.Errorf("refused for what is in it: %q", got)
			}
			c.denied(t)
		})
	}
}

// plays pages, notes and resolves where all works, once with a service that takes its
// time.
func (c *channel) plays(t *testing.T) {
	t.Helper()
	ctx, can := t.Context(), c.Capabilities()
	confirms := can.Confirms || strings.HasSuffix(t.Name(), "tells")
	open := func(alias string, want bool) {
		t.Helper()
		if got, err := c.Open(ctx, alias); can.Readable && (err != nil || got != want) {
			t.Errorf("open: %t, %v; want %t", got, err, want)
		}
		if status, _ := c.Alert(alias); (status == "open") != want {
			t.Errorf("the alert is %q, want it open: %t", status, want)
		}
	}
	if text, err := c.Rehearse(ctx, message(notify.KindPage, "a")); err != nil || text == "" || len(c.Received()) != 0 {
		t.Errorf("rehearsed %q, %v; received %+v", text, err, c.Received())
	}
	if err := c.Note(ctx, message(notify.KindNote, "a/b")); !errors.Is(err, notify.ErrNoAlert) {
		t.Errorf("a note without an alert: %v", err)
	}
	for range 2 { // the second is a retry
		if d, err := c.Page(ctx, message(notify.KindPage, "a/b")); err != nil || d.Confirmed != confirms {
			t.Errorf("%+v, %v; want it confirmed: %t", d, err, confirms)
		}
		open("a/b", true)
	}
	if got := c.OpenAlerts(); len(got) != 1 {
		t.Errorf("open are %q", got)
	}
	pages := c.Received("i-0123456789abcdef0")
	if title, _, _ := strings.Cut(pages[0].Text, "\n"); len([]rune(title)) > 120 || !strings.Contains(title, "i-0123456789abcdef0") || !strings.Contains(title, "eu-west-1") {
		t.Errorf("the title is %q", title)
	}
	if err := c.Note(ctx, message(notify.KindNote, "a/b")); can.Notes && err != nil && !errors.Is(err, notify.ErrNoAlert) {
		t.Errorf("the note: %v", err)
	}
	if got := slices.ContainsFunc(c.Received(), func(r Received) bool { return r.Note }); got != can.Notes {
		t.Errorf("a note has come: %t", got)
	}
	if err := c.Resolve(ctx, message(notify.KindResolve, "a/b")); err != nil {
		t.Error(err)
	}
	open("a/b", false)
	if got := c.Closings("a/b"); len(got) != 1 {
		t.Errorf("closed by %+v", got)
	}
	// Nobody hears of a close of what is closed.
	if err := c.Resolve(ctx, message(notify.KindResolve, "a/b")); (err != nil) && !errors.Is(err, notify.ErrNoAlert) {
		t.Error(err)
	}
	c.SetLag(time.Second)
	m := message(notify.KindPage, "slow")
	m.Incident.Look, m.Incident.Decision.Look = 3, 3
	if d, err := c.Page(ctx, m); err != nil || d.Confirmed != (confirms && c.Name() != "webhook") {
		t.Errorf("where it takes a second: %+v, %v", d, err)
	}
	c.SetLag(0)
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if status, _ := c.Alert("slow"); status == "open" {
			break
		} else if time.Now().After(end) {
			t.Fatal("it never comes")
		}
	}
	if d, err := c.Test(ctx, message(notify.KindTest, "")); err != nil || d.Confirmed != confirms || d.Detail == "" {
		t.Errorf("the test: %+v, %v", d, err)
	}
	if got := c.OpenAlerts(); len(got) != 1 || got[0] != "slow" {
		t.Errorf("the test leaves open %q", got)
	}
}

// soon bounds a step in which a page is never confirmed.
const soon = 4 * time.Second

// fails has the service fail, which must show, without a secret.
func (c *channel) fails(t *testing.T) {
	t.Helper()
	can := c.Capabilities()
	for status, kind := range map[int]fault.Kind{500: fault.Unavailable, 429: fault.Unavailable, 401: fault.Denied, 422: fault.InvalidInput} {
		trouble := c.Trouble(Failing(status))
		_, err := c.Page(t.Context(), message(notify.KindPage, "trouble"))
		leaks := slices.ContainsFunc([]string{OpsGenieKey, JSMKey, JSMToken, RoutingKey, WebhookSecret}, func(s string) bool { return err != nil && strings.Contains(err.Error(), s) })
		if fault.KindOf(err) != kind || err == nil || leaks || trouble.Hits() == 0 {
			t.Errorf("status %d: %v, want %s", status, err, kind)
		}
		trouble.End()
	}
	c.SetDiscards(true)
	defer c.SetDiscards(false)
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	switch d, err := c.Page(ctx, message(notify.KindPage, "discarded")); {
	case c.Name() == "opsgenie" || c.Name() == "jsm" && can.Confirms || strings.HasSuffix(t.Name(), "tells"):
		if err == nil {
			t.Errorf("discarded: %+v", d)
		}
	case err != nil || d.Confirmed != can.Confirms:
		t.Errorf("%+v, %v", d, err)
	}
}

// denied tries another's secret.
func (c *channel) denied(t *testing.T) {
	t.Helper()
	another := map[bool]string{true: "another-webhook", false: "another"}[c.Name() == "webhook"]
	_, err := c.with("key_parameter", another).Page(t.Context(), message(notify.KindPage, "denied"))
	if fault.KindOf(err) != fault.Denied || strings.Contains(err.Error(), secrets[another]) {
		t.Errorf("another's secret: %v", err)
	}
	if !c.Capabilities().Readable || c.Name() != "jsm" {
		return
	}
	for setting, value := range map[string]string{"token_parameter": "another", "email": "nobody@example.com"} {
		if open, err := c.with(setting, value).Open(t.Context(), "slow"); err == nil {
			t.Errorf("with another %s it reads that the alert is open: %t", setting, open)
		}
	}
	// A site that is not there reads like one without alerts, and shows with each page.
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if d, err := c.with("cloud_id", "99999999-2222-4333-8444-555555555555").Page(ctx, message(notify.KindPage, "nowhere")); err == nil {
		t.Errorf("with another cloud_id: %+v", d)
	}
}
