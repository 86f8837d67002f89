package handler

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
)

func TestProbe(t *testing.T) {
	const url, ssh = `{"check":"url","address":"203.0.113.7","url":{"address":"http://203.0.113.7/"}}`, `{"check":"ssh","address":"203.0.113.7","ssh":{"host":"203.0.113.7","port":22}}`
	for name, tt := range map[string]struct {
		payload string
		want    incident.Probe
		err     string
	}{
		"URL":                {`{"step":"probe","probe":` + url + `}`, incident.Probe{Check: "url", Address: "203.0.113.7", URL: &incident.URLSettings{Address: "http://203.0.113.7/"}}, ""},
		"SSH":                {`{"step":"probe","probe":` + ssh + `}`, incident.Probe{Check: "ssh", Address: "203.0.113.7", SSH: &incident.SSHSettings{Host: "203.0.113.7", Port: 22}}, ""},
		"another step":       {`{"step":"reconcile"}`, incident.Probe{}, `step: this function does not run reconcile, since its FIRSTLINE_ONLY_STEP is "probe"`},
		"no probe":           {`{"step":"probe"}`, incident.Probe{}, "probe: missing"},
		"an incident beside": {`{"step":"probe","probe":` + url + `,"incident":{}}`, incident.Probe{}, "incident: the step probe takes none"},
		"unknown field":      {`{"step":"probe","probe":{"check":"ssh","ssh":{"hots":""}}}`, incident.Probe{}, `unknown field "hots"`},
		"no check":           {`{"step":"probe","probe":{}}`, incident.Probe{}, `probe.check: ""`},
		"Route 53":           {`{"step":"probe","probe":{"check":"route53"}}`, incident.Probe{}, `probe.check: "route53"`},
		"no settings":        {`{"step":"probe","probe":{"check":"url"}}`, incident.Probe{}, "probe.url: "},
		"settings of SSH":    {`{"step":"probe","probe":` + strings.Replace(ssh, `"ssh",`, `"url","url":{},`, 1) + `}`, incident.Probe{}, "probe.ssh: "},
		"no address":         {`{"step":"probe","probe":{"check":"url","url":{}}}`, incident.Probe{}, "probe.url.address: missing"},
		"no host":            {`{"step":"probe","probe":{"check":"ssh","ssh":{"port":22}}}`, incident.Probe{}, "probe.ssh.host: missing"},
		"no IP address":      {`{"step":"probe","probe":{"check":"url","address":"a.example","url":{"address":"http://a.example/"}}}`, incident.Probe{}, `probe.address: "a.example"`},
		"no port":            {`{"step":"probe","probe":{"check":"ssh","ssh":{"host":"203.0.113.7"}}}`, incident.Probe{}, "probe.ssh.port: 0"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(w *world) {
				var asked incident.Probe
				w.h.OnlyStep = StepProbe
				w.h.Probe = func(_ context.Context, p incident.Probe) incident.Finding {
					asked = p
					return incident.Finding{Check: p.Check, Outcome: incident.Failed}
				}
				answer, err := w.h.Invoke(t.Context(), []byte(tt.payload))
				if tt.err != "" {
					if kindOf(err) != "InvalidInput" || !strings.Contains(messageOf(err), tt.err) {
						t.Errorf("got %v, want InvalidInput with %q", err, tt.err)
					}
				} else if err != nil || !strings.Contains(string(answer), `"check":"`+tt.want.Check+`","outcome":"failed"`) {
					t.Errorf("got %s, %v", answer, err)
				}
				if diff := cmp.Diff(tt.want, asked); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
			})
		})
	}
}
