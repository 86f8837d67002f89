package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/redact"
)

// Heartbeat tells a service outside of AWS that firstline is at work in a region. The
// service alerts when nothing arrives: then firstline itself, or the region, is dead.
type Heartbeat struct {
	heartbeatSettings
	// keeper is the service that keeps the heartbeat. Of a URL it has only the secret,
	// which is the URL.
	keeper *alertAPI
}

// heartbeatSettings are the settings of a heartbeat, as Terraform has checked them.
type heartbeatSettings struct {
	// Service is "opsgenie", "jsm" or "url".
	Service string `json:"service"`
	// Name is what its service calls the heartbeat, and TeamID the team that has it.
	Name   string `json:"name"`
	TeamID string `json:"team_id"`
	// KeyParameter has the service's API key, or the URL.
	Endpoint     string `json:"endpoint"`
	KeyParameter string `json:"key_parameter"`
	// FailureSuffix is added to the URL's path when something failed; "": nothing is
	// sent then.
	FailureSuffix string `json:"failure_suffix"`
	opsSettings
}

// limitFailure is how much of a failure is sent to a URL, in bytes.
const limitFailure = 4000

// NewHeartbeat makes the heartbeat of the JSON that Terraform's modules/function writes
// into FIRSTLINE_HEARTBEAT; nil where there is none.
func NewHeartbeat(config []byte, deps Deps) (*Heartbeat, error) {
	if len(config) == 0 {
		return nil, nil //nolint:nilnil // there is none, and that is no error
	}
	h := &Heartbeat{}
	err := incident.DecodeStrict(config, &h.heartbeatSettings)
	s, ok := map[string]service{opsgenie.name: opsgenie, jsm.name: jsm, "url": {title: "a URL"}}[h.Service]
	if err == nil && !ok {
		err = fmt.Errorf("service: %q is none; use opsgenie, jsm or url", h.Service)
	}
	if err != nil {
		return nil, fault.New(fault.InvalidInput, "read FIRSTLINE_HEARTBEAT", "%w; apply the Terraform root again", err)
	}
	h.keeper = s.api(alertSettings{Endpoint: h.Endpoint, KeyParameter: h.KeyParameter, opsSettings: h.opsSettings}, deps)
	return h, nil
}

// Ping says that all is well or, with a failure, what is not. A service without a form
// for a failure is sent nothing then: silence is the alarm. OpsGenie takes a ping of a
// heartbeat that it does not have (https://docs.opsgenie.com/docs/heartbeats); Test
// finds that out.
func (h *Heartbeat) Ping(ctx context.Context, failure error) error {
	switch {
	case failure != nil && h.FailureSuffix == "":
		return nil
	case h.Service == "url":
		return h.pingURL(ctx, failure)
	}
	return h.get(ctx, "ping", "/ping", "/ping", func(a *opsgenieAnswer) *refusal {
		if !json.Valid(a.body) {
			return refuse(fault.Unavailable, "the answer, %s, does not say that the ping was taken", a)
		}
		return nil
	})
}

// Test pings the heartbeat and, where its service tells that, sees whether it is there
// and enabled: one that is not would never alert.
func (h *Heartbeat) Test(ctx context.Context, _ Message) (Delivery, error) {
	if err := h.Ping(ctx, nil); err != nil {
		return Delivery{}, err
	}
	if h.Service == "url" {
		return Delivery{Confirmed: true, Detail: "the heartbeat's URL took a ping"}, nil
	}
	type state struct {
		Name    string `json:"name"`
		Enabled *bool  `json:"enabled"`
	}
	err := h.get(ctx, "read", "", "", func(a *opsgenieAnswer) *refusal {
		var said struct {
			Data   state   `json:"data"`
			Values []state `json:"values"` // of Jira Service Management
		}
		_ = json.Unmarshal(a.body, &said)
		for _, s := range append(said.Values, said.Data) {
			switch {
			case s.Name != h.Name || s.Enabled == nil:
			case *s.Enabled:
				return nil
			default:
				return refuse(fault.InvalidInput, "it is not enabled, so it never alerts: enable it")
			}
		}
		return refuse(fault.InvalidInput, "there is none of this name: make it, or set heartbeat.name to that of one")
	})
	took := fmt.Sprintf("%s took a ping of the heartbeat %s", h.keeper.title, h.Name)
	switch fault.KindOf(err) {
	case fault.Denied: // a key that may ping need not be one that may read
		return Delivery{Detail: took + "; its key may not read whether there is such a heartbeat"}, nil
	case fault.Unavailable:
		return Delivery{Detail: took + "; whether there is such a heartbeat could not be read: " + err.Error()}, nil
	}
	return Delivery{Confirmed: err == nil, Detail: took + ", and has it enabled"}, err
}

// get makes a call about the heartbeat; below is behind its name at OpsGenie, and
// opsBelow behind its team's heartbeats at Jira Service Management.
func (h *Heartbeat) get(ctx context.Context, do, below, opsBelow string, use func(*opsgenieAnswer) *refusal) error {
	own := "/v2/heartbeats/" + url.PathEscape(h.Name) + below
	ops := "/v1/teams/" + url.PathEscape(h.TeamID) + "/heartbeats" + opsBelow + "?name=" + url.QueryEscape(h.Name)
	return h.keeper.read(ctx, do+" the heartbeat "+h.Name, own, ops, func(a *opsgenieAnswer, r *refusal) *refusal {
		switch {
		case r != nil && r.noAlert:
			return refuse(fault.InvalidInput, "there is none of this name: make it, or set heartbeat.name to that of one")
		case r != nil:
			return r
		}
		return use(a)
	})
}

// pingURL posts to the URL. healthchecks.io answers 200 also for a check that it does
// not have (https://healthchecks.io/docs/http_api/).
func (h *Heartbeat) pingURL(ctx context.Context, failure error) error {
	c := newClient("ping the heartbeat", "the heartbeat's URL", h.keeper.key, h.keeper.http)
	return c.deliver(ctx, func() *refusal {
		u, err := url.Parse(c.key)
		if err != nil || u.Host == "" {
			return refuse(fault.InvalidInput, "the heartbeat's URL is none: store it again")
		}
		body := ""
		if failure != nil {
			u = u.JoinPath(h.FailureSuffix)
			body = incident.Clip(redact.Error(failure), limitFailure)
		}
		a, r := c.send(ctx, http.MethodPost, u.String(), map[string]string{"Content-Type": "text/plain; charset=utf-8"}, []byte(body))
		switch {
		case r != nil:
			return r
		case !a.ok():
			return a.refused("")
		case strings.Contains(string(a.body), "(not found)"):
			return refuse(fault.InvalidInput, "the service does not know the heartbeat's URL: store it again")
		}
		return nil
	})
}
