package notify

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"firstline/internal/fault"
)

// jsm is Jira Service Management, whose integrations take the calls of OpsGenie.
// They document no way to ask what became of a request, nor of an alert, so what
// is accepted is taken for done; some do answer, and are then heard. With a cloud id
// both are read from the Operations API
// (https://developer.atlassian.com/cloud/jira/service-desk-ops/rest/v2/).
var jsm = service{
	name: "jsm", title: "Jira Service Management",
	urls: map[string]string{"": "https://api.atlassian.com/jsm/ops/integration"},
	can:  Capabilities{Notes: true, Resolvable: true, Deduplicates: true, Priorities: alertPriorities, Title: limitMessage, Text: limitDescription},
}

// jsmWithCloudID is what it can do with a cloud id and an API token.
var jsmWithCloudID = opsgenie.can

// opsSettings are what the Operations API is read with.
type opsSettings struct {
	CloudID        string `json:"cloud_id"`
	Email          string `json:"email"`
	TokenParameter string `json:"token_parameter"`
}

// callOps reads from the Operations API, whose answers have their fields at the top.
// What is not there has noAlert.
func (o *alertAPI) callOps(ctx context.Context, path string) (a *opsgenieAnswer, r *refusal) {
	base, err := url.Parse(o.address())
	if err != nil {
		return nil, refuse(fault.InvalidInput, "the address makes no request")
	}
	base.Path = ""
	c := newClient("ask the Operations API", "the Jira API token", o.token, o.http)
	err = c.deliver(ctx, func() *refusal {
		basic := base64.StdEncoding.EncodeToString([]byte(o.Email + ":" + c.key))
		c.used = append(c.used, basic)
		header := map[string]string{"Authorization": "Basic " + basic, "Accept": "application/json"}
		got, r := c.send(ctx, http.MethodGet, base.String()+"/jsm/ops/api/"+url.PathEscape(o.CloudID)+path, header, nil)
		if r != nil {
			return r
		}
		a = &opsgenieAnswer{answer: got}
		_ = json.Unmarshal(a.body, &a.said)
		_ = json.Unmarshal(a.body, &a.said.Data)
		if a.ok() {
			return nil
		}
		r = a.refused(a.said.Message)
		if r.auth {
			r.err = fmt.Errorf("%w: renew the Jira API token, and let its user read alerts and heartbeats", r.err)
		}
		r.noAlert = a.StatusCode == http.StatusNotFound && json.Valid(a.body)
		return r
	})
	if err != nil {
		return nil, &refusal{kind: fault.KindOf(err), err: err, noAlert: errors.Is(err, ErrNoAlert)}
	}
	return a, nil
}

// opsAlias is where the Operations API has an open alert.
func opsAlias(alias string) string { return "/v1/alerts/alias?alias=" + url.QueryEscape(alias) }

// status asks what became of a request. The Operations API does not tell one that is
// not processed from one that it does not know, which may be every one that was made
// with an integration's key.
func (o *alertAPI) status(ctx context.Context, c *client, request string) (*opsgenieAnswer, *refusal) {
	if o.CloudID == "" {
		return o.call(ctx, c, http.MethodGet, alertsPath+"/requests/"+request, nil)
	}
	a, r := o.callOps(ctx, "/v1/alerts/requests/"+request)
	if r != nil && r.noAlert {
		r = refuse(fault.Unavailable, "the Operations API knows neither the request nor such an open alert; check jsm.cloud_id if it never does")
	}
	return a, r
}

// shows reports whether the alert itself shows that a request was carried out, where it
// can be read: one that was made is open, and one that was closed is not. A note needs
// an open one.
func (o *alertAPI) shows(ctx context.Context, alias, below string) (bool, *refusal) {
	if o.CloudID == "" {
		return false, nil
	}
	a, r := o.callOps(ctx, opsAlias(alias))
	open, r := a.open(r)
	switch {
	case r != nil:
		return false, nil
	case below == notesPath && !open:
		r = refuse(fault.Unavailable, "the note was accepted, and no alert is open")
		r.noAlert = true
	}
	return open == (below != closePath), r
}
