package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/old/handler"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

func env(values map[string]string) func(string) string {
	return func(k string) string { return values[k] }
}

func TestPagers(t *testing.T) {
	const value = `[
		{"type":"jsm","keyParameter":"/firstline/secrets/jsm-api-key"},
		{"type":"opsgenie","url":"eu","keyParameter":"/firstline/secrets/opsgenie-api-key",
		 "responders":[{"type":"team","id":"t"},{"type":"user","username":"jo@example.com"},{"type":"schedule","name":"nights"}],
		 "priority":"P2","priorityUnknown":"P4","tags":["shop"],"details":{"runbook":"https://example.com"},"entity":"shop","source":"eu"},
		{"type":"sns","topicArn":"arn:aws:sns:us-east-1:123456789012:on-call"}
	]`
	pagers, err := newHandler(env(map[string]string{"FIRSTLINE_PAGERS": value})).Pagers()
	if err != nil {
		t.Fatal(err)
	}
	if len(pagers.All) != 3 {
		t.Fatalf("%+v", pagers.All)
	}
	for n, name := range []string{"jsm", "opsgenie", "sns"} {
		if pagers.All[n].Name() != name || pagers.ByName(name) != pagers.All[n] {
			t.Errorf("%d is %s, want %s", n, pagers.All[n].Name(), name)
		}
	}
	jsm, og, topic := pagers.All[0].(*notify.OpsGenie), pagers.All[1].(*notify.OpsGenie), pagers.All[2].(*notify.SNS)
	if jsm.Type != "jsm" || jsm.BaseURL != "" || og.Type != "opsgenie" || og.BaseURL != "eu" || topic.TopicARN != "arn:aws:sns:us-east-1:123456789012:on-call" {
		t.Errorf("%+v, %+v, %+v", jsm, og, topic)
	}
	want := []notify.Responder{{Type: "team", ID: "t"}, {Type: "user", Username: "jo@example.com"}, {Type: "schedule", Name: "nights"}}
	if diff := cmp.Diff(want, og.Responders); diff != "" {
		t.Errorf("responders (-want +got):\n%s", diff)
	}
	if og.Priority != "P2" || og.PriorityUnknown != "P4" || og.Entity != "shop" || og.Source != "eu" || !cmp.Equal(og.Tags, []string{"shop"}) || og.Details["runbook"] != "https://example.com" {
		t.Errorf("%+v", og)
	}
}

// What is not right is the error of a step that pages, and the others work.
func TestPagersThatAreSetWrongly(t *testing.T) {
	for value, want := range map[string]string{
		``:                                     "the function's environment has none",
		` `:                                    "the function's environment has none",
		`eu`:                                   "not JSON",
		`{}`:                                   "cannot unmarshal object",
		`[]`:                                   "the list is empty",
		`null`:                                 "the list is empty",
		`[{}]`:                                 `[0].type: "" is no pager's: use opsgenie, jsm or sns`,
		`[{"type":"pagerduty"}]`:               `[0].type: "pagerduty" is no pager's`,
		`["opsgenie"]`:                         "[0]: ",
		`[null]`:                               `[0].type: ""`,
		`[{"type":"sns"},{"type":"sns"}]`:      "[1].type: sns is there twice",
		`[{"type":"opsgenie","priorty":"P1"}]`: `[0]: unknown field "priorty"`,
		`[{"type":"opsgenie","priority":1}]`:   "[0]: priority: got a JSON number",
		`[{"type":"opsgenie"}] []`:             "data after the JSON value",
		`[{"type":"opsgenie","responders":["x"]}`: "not JSON",
	} {
		h := newHandler(env(map[string]string{"FIRSTLINE_PAGERS": value}))
		pagers, err := h.Pagers()
		if pagers != nil || fault.KindOf(err) != fault.InvalidInput || !strings.Contains(err.Error(), "read FIRSTLINE_PAGERS: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", value, err, want)
		}
		if h.Slack == nil || h.URL == nil {
			t.Errorf("%s: nothing else works either", value)
		}
	}
	// One that cannot work keeps nobody from the others.
	pagers, err := newHandler(env(map[string]string{"FIRSTLINE_PAGERS": `[{"type":"opsgenie","url":"jsm"},{"type":"sns","topicArn":"on-call"},{"type":"jsm"}]`})).Pagers()
	if err != nil {
		t.Fatal(err)
	}
	m := notify.Message{Incident: &incident.Incident{InstanceID: "i-0c1cbf2e7abdedf75"}}
	for n, want := range []string{"name it in pagers", "sns.topic_arn", "names no parameter"} {
		if _, err := pagers.All[n].Rehearse(t.Context(), m); fault.KindOf(err) != fault.InvalidInput || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", pagers.All[n].Name(), err, want)
		}
	}
}

// SNS is asked in the topic's region.
func TestTopicElsewhere(t *testing.T) {
	var asked, body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("Authorization")
		raw, _ := io.ReadAll(r.Body)
		body = string(raw)
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>`)
	}))
	defer server.Close()
	h := newHandler(env(map[string]string{
		"FIRSTLINE_PAGERS": `[{"type":"sns","topicArn":"arn:aws:sns:us-east-1:123456789012:on-call"}]`,
		"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
	}))
	pagers, err := h.Pagers()
	if err != nil {
		t.Fatal(err)
	}
	if err := pagers.All[0].Send(t.Context(), notify.Message{Incident: &incident.Incident{InstanceID: "i-0c1cbf2e7abdedf75"}, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(asked, "/us-east-1/sns/") || !strings.Contains(body, "on-call") || !strings.Contains(body, "Action=Publish") {
		t.Errorf("asked with %q: %s", asked, body)
	}
}

// The secrets of the pagers are read from their own parameters.
func TestPagersKeys(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		asked = append(asked, string(raw))
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = io.WriteString(w, `{"Parameter":{"Type":"SecureString","Value":"unset"}}`)
	}))
	defer server.Close()
	h := newHandler(env(map[string]string{
		"FIRSTLINE_PAGERS":                `[{"type":"opsgenie","url":"eu","keyParameter":"/x/opsgenie"},{"type":"jsm","keyParameter":"/x/jsm"}]`,
		"FIRSTLINE_SLACK_TOKEN_PARAMETER": "/x/slack", "FIRSTLINE_SLACK_CHANNEL_ID": "C0123456789",
		"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
	}))
	pagers, err := h.Pagers()
	if err != nil {
		t.Fatal(err)
	}
	m := notify.Message{Incident: &incident.Incident{InstanceID: "i-0c1cbf2e7abdedf75"}}
	rehearse := func(by interface {
		Rehearse(ctx context.Context, m notify.Message) (string, error)
	}, want string,
	) {
		t.Helper()
		asked = nil
		if _, err := by.Rehearse(t.Context(), m); err == nil || !strings.Contains(err.Error(), want) || len(asked) != 1 || !strings.Contains(asked[0], want) {
			t.Errorf("got %v after %v, want %s", err, asked, want)
		}
	}
	rehearse(pagers.All[0], "/x/opsgenie")
	rehearse(pagers.All[1], "/x/jsm")
	rehearse(h.Slack, "/x/slack")
}

func TestSlackPages(t *testing.T) {
	for value, want := range map[string]*bool{"true": new(true), "false": new(false), "": nil, "True": nil, "1": nil, "yes": nil} {
		h := newHandler(env(map[string]string{"FIRSTLINE_SLACK_PAGES": value}))
		if diff := cmp.Diff(want, h.SlackPages); diff != "" {
			t.Errorf("%q (-want +got):\n%s", value, diff)
		}
	}
}

func TestAllClear(t *testing.T) {
	for _, tt := range []struct {
		every, lasts string
		want         *handler.AllClear
	}{
		{"5", "120", &handler.AllClear{Every: 5 * time.Minute, For: 2 * time.Hour}},
		{"1", "0", &handler.AllClear{Every: time.Minute}},
		{"60", "1440", &handler.AllClear{Every: time.Hour, For: 24 * time.Hour}},
		{"0", "120", nil},
		{"61", "120", nil},
		{"5", "1441", nil},
		{"5", "-1", nil},
		{"5", "", nil},
		{"", "120", nil},
		{"5m", "120", nil},
		{"5", "99999999999999999999", nil},
	} {
		h := newHandler(env(map[string]string{"FIRSTLINE_ALL_CLEAR_EVERY_MINUTES": tt.every, "FIRSTLINE_ALL_CLEAR_FOR_MINUTES": tt.lasts}))
		if diff := cmp.Diff(tt.want, h.AllClear); diff != "" {
			t.Errorf("%q, %q (-want +got):\n%s", tt.every, tt.lasts, diff)
		}
	}
}
