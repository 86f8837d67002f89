package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/notify"
)

const instance = "i-0c1cbf2e7abdedf75"

func env(values map[string]string) func(string) string {
	return func(k string) string { return values[k] }
}

// onAWS is a server that stands for AWS, and the environment that leads to it.
func onAWS(t *testing.T, answer http.HandlerFunc, values map[string]string) func(string) string {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	own := map[string]string{"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
	return func(k string) string {
		if v, ok := values[k]; ok {
			return v
		}
		return own[k]
	}
}

func TestEgressAddresses(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want []string
	}{
		{"a service's own names", map[string]string{"FIRSTLINE_PAGERS": `[{"type":"opsgenie","endpoint":"eu"}]`}, []string{"EC2", "api.eu.opsgenie.com:443", "slack.com:443"}},
		{"ports as given", map[string]string{"FIRSTLINE_PAGERS": `[{"type":"opsgenie","endpoint":"https://pager.example.com:8443"}]`, "AWS_ENDPOINT_URL": "http://127.0.0.1", "FIRSTLINE_SLACK_API_URL": "http://127.0.0.1:8080/"}, []string{"127.0.0.1:80", "pager.example.com:8443", "127.0.0.1:8080"}},
		{"several pagers", map[string]string{"FIRSTLINE_PAGERS": `[{"type":"opsgenie","endpoint":"us"},{"type":"jsm"},{"type":"sns","topic_arn":"arn:aws:sns:eu-west-1:123456789012:x"}]`}, []string{"EC2", "api.opsgenie.com:443", "api.atlassian.com:443", "slack.com:443"}},
		{"one set wrongly", map[string]string{"FIRSTLINE_PAGERS": `[{"type":"opsgenie","endpoint":"jsm"},{"type":"jsm","endpoint":"https://jsm.example.com"}]`}, []string{"EC2", "jsm.example.com:443", "slack.com:443"}},
		{"pagers set wrongly", nil, []string{"EC2", "slack.com:443"}},
	} {
		for region, ec2 := range map[string][]string{
			// It has no dual-stack name of EC2's, and no other one is needed.
			"ap-northeast-3": {"ec2.eu-west-1.api.aws:443", "ec2.us-east-1.api.aws:443", "ec2.us-west-2.api.aws:443"},
			// An interface endpoint may answer for the function's own region.
			"eu-west-1": {"ec2.us-east-1.api.aws:443", "ec2.us-west-2.api.aws:443"},
			"us-east-1": {"ec2.eu-west-1.api.aws:443", "ec2.us-west-2.api.aws:443"},
		} {
			t.Run(tt.name+" in "+region, func(t *testing.T) {
				got := egressAddresses(func(k string) string {
					if k == "AWS_REGION" {
						return region
					}
					return tt.env[k]
				})
				want := tt.want
				if want[0] == "EC2" {
					want = slices.Concat(ec2, want[1:])
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// Outside of a VPC a private address is a mistake, and nothing is asked there.
func TestVPC(t *testing.T) {
	settings := incident.DefaultSettings()
	settings.URL.Enabled, settings.URL.Address = true, "http://192.168.255.254:9"
	settings.URL.Attempts, settings.URL.TimeoutSeconds = 1, 0.1
	settings.SSH.Enabled, settings.SSH.Host, settings.SSH.Attempts, settings.SSH.TimeoutSeconds = true, "192.168.255.254", 1, 0.1
	inc := &incident.Incident{InstanceID: instance, Settings: &settings}
	for value, want := range map[string]bool{"true": false, "false": true, "": true} {
		h := newHandler(onAWS(t, http.NotFound, map[string]string{"FIRSTLINE_VPC": value}))
		if h.VPC == want {
			t.Errorf("FIRSTLINE_VPC=%q: the handler's VPC is %t", value, h.VPC)
		}
		for _, check := range []string{incident.CheckURL, incident.CheckSSH} {
			f := h.Checks[check](t.Context(), inc)
			if mistake := f.Kind == incident.Attention && strings.Contains(f.Reason, "private"); mistake != want {
				t.Errorf("FIRSTLINE_VPC=%q: %s is %s %s, %q", value, check, f.Outcome, f.Kind, f.Reason)
			}
		}
	}
}

func TestBreaker(t *testing.T) {
	for value, want := range map[string]incident.Breaker{
		`{"in_flight":2,"per_hour":6}`:             {InFlight: 2, PerHour: 6},
		`{"in_flight":0,"per_hour":0}`:             {},
		`{"in_flight":-1,"per_hour":6}`:            {InFlight: -1, PerHour: 6}, // the policy never reboots then
		`{"in_flight":2,"per_hour":"many"}`:        {},
		`{"in_flight":2,"per_hour":6,"per_day":1}`: {},
		``: {},
	} {
		if diff := cmp.Diff(want, newHandler(env(map[string]string{"FIRSTLINE_BREAKER": value})).Breaker); diff != "" {
			t.Errorf("%s (-want +got):\n%s", value, diff)
		}
	}
}

func TestLogLevel(t *testing.T) {
	for value, want := range map[string][2]bool{"warn": {false, true}, "info": {true, true}, "error": {false, false}, "": {true, true}} {
		log := newHandler(env(map[string]string{"FIRSTLINE_LOG_LEVEL": value})).Log
		if got := [2]bool{log.Enabled(t.Context(), slog.LevelInfo), log.Enabled(t.Context(), slog.LevelWarn)}; got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}

// Lambda takes a line without exactly these keys for one of INFO, and drops it
// where the log begins at WARN: the metrics with it, and an alarm watches one of them
// (https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html).
func TestLinesOfTheLogHaveWhatLambdaReads(t *testing.T) {
	levels := []string{"DEBUG", "INFO", "WARN", "ERROR"}
	for n, least := range levels {
		out, err := os.Create(filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		stdout := os.Stdout
		os.Stdout = out
		log := newHandler(env(map[string]string{"FIRSTLINE_LOG_LEVEL": strings.ToLower(least)})).Log
		os.Stdout = stdout
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			log.Log(t.Context(), level, "m")
		}
		raw, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for text := range strings.Lines(string(raw)) {
			var line map[string]string
			err := json.Unmarshal([]byte(text), &line)
			if _, invalid := time.Parse(time.RFC3339, line["timestamp"]); err != nil || invalid != nil || line["message"] != "m" {
				t.Errorf("%s: %s: %v, %v", least, text, err, invalid)
			}
			got = append(got, line["level"])
		}
		if diff := cmp.Diff(levels[n:], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", least, diff)
		}
	}
}

// A table that says nothing is asked again while there is time.
func TestTableThatHangs(t *testing.T) {
	var asked atomic.Int32
	getenv := onAWS(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = io.WriteString(w, `{"Responses":{"firstline-incidents":[]},"UnprocessedKeys":{}}`)
	}, map[string]string{"FIRSTLINE_TABLE": "firstline-incidents"})
	start := time.Now()
	if e, err := newHandler(getenv).Table.Load(t.Context(), instance); err != nil || e.Exists || asked.Load() != 2 || time.Since(start) < tableTimeout {
		t.Errorf("%+v, %v after %d questions and %s", e, err, asked.Load(), time.Since(start))
	}
}

func TestPagers(t *testing.T) {
	h := newHandler(env(map[string]string{"FIRSTLINE_PAGERS": `[{"type":"jsm"},{"type":"sns"},{"type":"opsgenie","endpoint":"eu"}]`}))
	pagers, err := h.Pagers()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range pagers {
		names = append(names, p.Name())
	}
	if diff := cmp.Diff([]string{"jsm", "sns", "opsgenie"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// What is not right is the error of a step that pages, and the others work.
	h = newHandler(env(nil))
	if pagers, err := h.Pagers(); pagers != nil || fault.KindOf(err) != fault.InvalidInput || h.Slack != nil || h.Heartbeat != nil || len(h.Checks) != len(incident.Checks) {
		t.Errorf("without pagers: %v, %v", pagers, err)
	}
}

// SNS is asked in the topic's region.
func TestTopicElsewhere(t *testing.T) {
	var asked, body string
	getenv := onAWS(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("Authorization")
		raw, _ := io.ReadAll(r.Body)
		body = string(raw)
		w.Header().Set("Content-Type", "text/xml")
		_, _ = io.WriteString(w, `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>m</MessageId></PublishResult></PublishResponse>`)
	}, map[string]string{"FIRSTLINE_PAGERS": `[{"type":"sns","topic_arn":"arn:aws:sns:us-east-1:123456789012:on-call"}]`})
	pagers, err := newHandler(getenv).Pagers()
	if err != nil {
		t.Fatal(err)
	}
	m := notify.Message{Kind: notify.KindPage, Incident: &incident.Incident{InstanceID: instance}, Now: time.Now()}
	if _, err := pagers[0].Page(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(asked, "/us-east-1/sns/") || !strings.Contains(body, "on-call") || !strings.Contains(body, "Action=Publish") {
		t.Errorf("asked with %q: %s", asked, body)
	}
}

// The secrets are read from their own parameters, and "unset" is none.
func TestSecrets(t *testing.T) {
	var asked []string
	getenv := onAWS(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		asked = append(asked, string(raw))
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = io.WriteString(w, `{"Parameter":{"Type":"SecureString","Value":"unset"}}`)
	}, map[string]string{
		"FIRSTLINE_PAGERS":                `[{"type":"opsgenie","endpoint":"eu","key_parameter":"/x/opsgenie"},{"type":"jsm","key_parameter":"/x/jsm"}]`,
		"FIRSTLINE_SLACK_TOKEN_PARAMETER": "/x/slack", "FIRSTLINE_SLACK_CHANNEL_ID": "C0123456789", "FIRSTLINE_SLACK_MENTION": "S0123456789",
		"FIRSTLINE_HEARTBEAT": `{"service":"url","key_parameter":"/x/heartbeat"}`,
	})
	h := newHandler(getenv)
	pagers, err := h.Pagers()
	if err != nil {
		t.Fatal(err)
	}
	heartbeat, err := h.Heartbeat()
	if err != nil || h.Slack.(*notify.Slack).Mention != "S0123456789" {
		t.Fatal(err)
	}
	m := notify.Message{Kind: notify.KindPage, Incident: &incident.Incident{InstanceID: instance}}
	for parameter, rehearse := range map[string]func() (string, error){
		"/x/opsgenie":  func() (string, error) { return pagers[0].Rehearse(t.Context(), m) },
		"/x/jsm":       func() (string, error) { return pagers[1].Rehearse(t.Context(), m) },
		"/x/slack":     func() (string, error) { return h.Slack.Rehearse(t.Context(), m) },
		"/x/heartbeat": func() (string, error) { return "", heartbeat.Ping(t.Context(), nil) },
	} {
		asked = nil
		if _, err := rehearse(); err == nil || !strings.Contains(err.Error(), parameter) || len(asked) != 1 || !strings.Contains(asked[0], parameter) {
			t.Errorf("got %v after %v, want %s", err, asked, parameter)
		}
	}
}

func TestSlackPages(t *testing.T) {
	for value, want := range map[string]bool{"true": true, "false": false, "": false} {
		if got := newHandler(env(map[string]string{"FIRSTLINE_SLACK_PAGES": value})).SlackPages; got != want {
			t.Errorf("%q: %t", value, got)
		}
	}
}

func TestPeers(t *testing.T) {
	for value, want := range map[string]struct {
		peers    []string
		required bool
	}{
		`{"function":"firstline-probe","peers":["eu-central-1","us-east-1"],"required":false}`: {[]string{"eu-central-1", "us-east-1"}, false},
		`{"function":"firstline-probe","peers":["us-east-1"],"required":true}`:                 {[]string{"us-east-1"}, true},
		`{"function":"firstline-probe","peers":[],"required":false}`:                           {[]string{}, false},
		``: {},
		// Then nothing with a public address is rebooted.
		`{"peers":"us-east-1"}`: {nil, true},
		`{"peer":[]}`:           {nil, true},
	} {
		h := newHandler(env(map[string]string{"FIRSTLINE_VANTAGE": value}))
		if diff := cmp.Diff(want.peers, h.Peers); diff != "" || h.VantageRequired != want.required {
			t.Errorf("%s: required %t, peers (-want +got):\n%s", value, h.VantageRequired, diff)
		}
	}
}

func TestAskPeer(t *testing.T) {
	probe := incident.Probe{Check: incident.CheckSSH, Address: "203.0.113.7", SSH: &incident.SSHSettings{Host: "203.0.113.7", Port: 22}}
	for _, tt := range []struct {
		name, answer, failed string
		status               int
		want                 incident.Finding
		kind                 fault.Kind
		err                  string
	}{
		{
			name: "down", answer: `{"check":"ssh","outcome":"failed","reason":"r","address":"203.0.113.7","at":1796083200000}`,
			want: incident.Finding{Check: "ssh", Outcome: incident.Failed, Reason: "r", Address: "203.0.113.7"},
		},
		{
			name: "another version", answer: `{"check":"ssh","outcome":"passed","answered":true,"newer":{"a":1}}`,
			want: incident.Finding{Check: "ssh", Outcome: incident.Passed, Answered: true},
		},
		{name: "another check", answer: `{"check":"url","outcome":"passed"}`, kind: fault.Unavailable, err: "its answer is no finding of the check ssh"},
		{name: "nothing", answer: `null`, kind: fault.Unavailable, err: "its answer is no finding of the check ssh"},
		{name: "no JSON", answer: `<html>`, kind: fault.Unavailable, err: "its answer is no finding: invalid character"},
		{
			name: "it failed", answer: `{"errorType":"InvalidInput","errorMessage":"decode payload: step"}`, failed: "Unhandled",
			kind: fault.Unavailable, err: "ask firstline-probe in us-east-1: the function failed: InvalidInput: decode payload: step",
		},
		{
			name: "no right", status: http.StatusForbidden, answer: `{"Message":"is not authorized to perform: lambda:InvokeFunction"}`, failed: "AccessDeniedException",
			kind: fault.Denied, err: "AccessDeniedException: is not authorized",
		},
		{name: "no concurrency", status: http.StatusTooManyRequests, answer: `{"Message":"Rate Exceeded."}`, failed: "TooManyRequestsException", kind: fault.Unavailable, err: "Rate Exceeded"},
		{name: "down itself", status: http.StatusInternalServerError, answer: `{"Message":"oh"}`, failed: "ServiceException", kind: fault.Unavailable, err: "oh"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			h := newHandler(onAWS(t, func(w http.ResponseWriter, r *http.Request) {
				raw, _ := io.ReadAll(r.Body)
				asked++
				if r.URL.Path != "/2015-03-31/functions/firstline-probe/invocations" || r.URL.RawQuery != "" || !strings.Contains(r.Header.Get("Authorization"), "/us-east-1/lambda/") ||
					!strings.HasPrefix(string(raw), `{"probe":{"check":"ssh","address":"203.0.113.7","ssh":{`) || !strings.HasSuffix(string(raw), `,"step":"probe"}`) {
					t.Errorf("asked %s %s %s", r.URL, r.Header, raw)
				}
				if tt.status == 0 && tt.failed != "" {
					w.Header().Set("X-Amz-Function-Error", tt.failed)
				} else if tt.failed != "" {
					w.Header().Set("X-Amzn-ErrorType", tt.failed)
				}
				w.WriteHeader(max(tt.status, http.StatusOK))
				_, _ = io.WriteString(w, tt.answer)
			}, map[string]string{"FIRSTLINE_VANTAGE": `{"function":"firstline-probe","peers":["us-east-1"],"required":false}`}))
			f, err := h.AskPeer(t.Context(), "us-east-1", probe)
			f.At = 0
			if diff := cmp.Diff(tt.want, f); diff != "" || asked != 1 {
				t.Errorf("after %d questions (-want +got):\n%s", asked, diff)
			}
			if tt.err == "" && err == nil {
				return
			}
			if err == nil || tt.err == "" || fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, want %s %q", err, tt.kind, tt.err)
			}
		})
	}
}

// On the local AWS, and there alone, loopback addresses stand for public ones.
func TestLocal(t *testing.T) {
	settings := incident.DefaultSettings()
	settings.SSH.Host, settings.SSH.Port, settings.SSH.Attempts = "127.0.0.1", 1, 1
	local := onAWS(t, http.NotFound, nil)
	for endpoint, want := range map[string]string{local("AWS_ENDPOINT_URL"): "127.0.0.1", "http://[::1]:1": "127.0.0.1", "https://vpce.example.com": "", "": ""} {
		h := newHandler(env(map[string]string{"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": endpoint}))
		f := h.Probe(t.Context(), incident.Probe{Check: incident.CheckSSH, Address: settings.SSH.Host, SSH: &settings.SSH})
		if f.Address != want || (f.Outcome == incident.Failed) != (want != "") {
			t.Errorf("%q: %+v", endpoint, f)
		}
	}
}
