package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
)

func TestEgressAddresses(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want []string
	}{
		{"a service's own names", map[string]string{"FIRSTLINE_PAGERS": `[{"type":"opsgenie","url":"eu"}]`}, []string{"ec2.eu-west-1.api.aws:443", "api.eu.opsgenie.com:443", "slack.com:443"}},
		{"ports as given", map[string]string{"FIRSTLINE_PAGERS": `[{"type":"opsgenie","url":"https://pager.example.com:8443"}]`, "AWS_ENDPOINT_URL": "http://127.0.0.1", "FIRSTLINE_SLACK_API_URL": "http://127.0.0.1:8080/"}, []string{"127.0.0.1:80", "pager.example.com:8443", "127.0.0.1:8080"}},
		{"several pagers", map[string]string{"FIRSTLINE_PAGERS": `[{"type":"opsgenie","url":"us"},{"type":"jsm"},{"type":"sns","topicArn":"arn:aws:sns:eu-west-1:123456789012:x"}]`}, []string{"ec2.eu-west-1.api.aws:443", "api.opsgenie.com:443", "api.atlassian.com:443", "slack.com:443"}},
		{"one set wrongly", map[string]string{"FIRSTLINE_PAGERS": `[{"type":"opsgenie","url":"jsm"},{"type":"jsm","url":"https://jsm.example.com"}]`}, []string{"ec2.eu-west-1.api.aws:443", "jsm.example.com:443", "slack.com:443"}},
		{"pagers set wrongly", nil, []string{"ec2.eu-west-1.api.aws:443", "slack.com:443"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := egressAddresses(func(k string) string { return tt.env[k] }, "eu-west-1")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestVPC(t *testing.T) {
	for value, want := range map[string]bool{"true": true, "false": false, "": false} {
		h := newHandler(func(k string) string { return map[string]string{"FIRSTLINE_VPC": value}[k] })
		url, ssh := h.URL.(*checks.URL), h.SSH.(*checks.SSH)
		if url.VPC != want || ssh.VPC != want {
			t.Errorf("FIRSTLINE_VPC=%q: url %t, ssh %t, want %t", value, url.VPC, ssh.VPC, want)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want *guard.Limits
	}{
		{"both", map[string]string{"FIRSTLINE_BRAKE_IN_FLIGHT": "2", "FIRSTLINE_BRAKE_PER_HOUR": "6"}, &guard.Limits{InFlight: 2, PerHour: 6}},
		{"never", map[string]string{"FIRSTLINE_BRAKE_IN_FLIGHT": "0", "FIRSTLINE_BRAKE_PER_HOUR": "0"}, &guard.Limits{}},
		{"one is missing", map[string]string{"FIRSTLINE_BRAKE_IN_FLIGHT": "2"}, nil},
		{"negative", map[string]string{"FIRSTLINE_BRAKE_IN_FLIGHT": "-1", "FIRSTLINE_BRAKE_PER_HOUR": "6"}, nil},
		{"not a number", map[string]string{"FIRSTLINE_BRAKE_IN_FLIGHT": "2", "FIRSTLINE_BRAKE_PER_HOUR": "many"}, nil},
		{"none", nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHandler(func(k string) string { return tt.env[k] })
			if diff := cmp.Diff(tt.want, h.Brake); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestExecutionTimeout(t *testing.T) {
	for value, want := range map[string]time.Duration{"7200": 2 * time.Hour, "": 0, "-1": 0, "2h": 0, "99999999999999999999": 0} {
		h := newHandler(func(k string) string { return map[string]string{"FIRSTLINE_EXECUTION_TIMEOUT_SECONDS": value}[k] })
		if h.ExecutionTimeout != want {
			t.Errorf("%q: %s, want %s", value, h.ExecutionTimeout, want)
		}
	}
}

// What the environment lacks is an error of the step that needs it, and names it.
func TestTable(t *testing.T) {
	if _, err := newHandler(func(string) string { return "" }).Guards(t.Context()); fault.KindOf(err) != fault.InvalidInput || !strings.Contains(err.Error(), "FIRSTLINE_TABLE") {
		t.Errorf("got %v", err)
	}
	h := newHandler(func(k string) string {
		return map[string]string{"FIRSTLINE_TABLE": "firstline-incidents", "FIRSTLINE_NAME": "blue", "FIRSTLINE_LOG_LEVEL": "warn"}[k]
	})
	guards, err := h.Guards(t.Context())
	if err != nil || guards.(*guard.Table).Name != "firstline-incidents" {
		t.Errorf("%v, %v", guards, err)
	}
	if h.Metrics.Deployment != "blue" || h.Metrics.Level != slog.LevelWarn || h.Metrics.Out != os.Stdout {
		t.Errorf("metrics %+v", h.Metrics)
	}
}

// A table that says nothing is asked again while there is time.
func TestTableThatHangs(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = io.WriteString(w, `{"Responses":{"firstline-incidents":[]},"UnprocessedKeys":{}}`)
	}))
	defer server.Close()
	h := newHandler(func(k string) string {
		return map[string]string{"FIRSTLINE_TABLE": "firstline-incidents", "AWS_ENDPOINT_URL": server.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}[k]
	})
	guards, err := h.Guards(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	own, paused, err := guards.Look(t.Context(), &incident.Incident{InstanceID: "i-0c1cbf2e7abdedf75", Execution: incident.Execution{ID: "arn", Name: "x", StartedAt: start}})
	if err != nil || own != nil || paused != nil || asked.Load() != 2 || time.Since(start) < tableTimeout {
		t.Errorf("%v, %v, %v after %d questions and %s", own, paused, err, asked.Load(), time.Since(start))
	}
}
