package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// Deps are what pagers need beside their settings.
type Deps struct {
	// Secret reads a secret by the name of its parameter; see the type Secret.
	Secret func(ctx context.Context, parameter string, fresh bool) (string, error)
	// SNS returns a client for a region.
	SNS func(region string) SNSPublisher
	// HTTP makes the calls; nil: see newClient.
	HTTP http.RoundTripper
}

func (d Deps) secretIn(parameter string) Secret {
	return func(ctx context.Context, fresh bool) (string, error) { return d.Secret(ctx, parameter, fresh) }
}

// Type is a type of pager.
type Type struct {
	// Name is what the settings call it, and Title what people do.
	Name, Title string
	// Needs is the setting that this type needs beside its required ones for what it
	// Can do; empty: none.
	Needs string
	Can   Capabilities
}

// registry has every type of pager, in the default order of fallback. An entry decodes
// the pager's settings strictly.
var registry = []struct {
	Type
	pager func(config json.RawMessage, deps Deps) (Pager, error)
}{
	{Type{Name: opsgenie.name, Title: opsgenie.title, Can: opsgenie.can}, opsgenie.pager},
	{Type{Name: jsm.name, Title: jsm.title, Can: jsm.can}, jsm.pager},
	{Type{Name: jsm.name, Title: jsm.title, Needs: "cloud_id", Can: jsmWithCloudID}, jsm.pager},
	{Type{Name: "pagerduty", Title: "PagerDuty", Can: pagerDutyCan}, makePagerDuty},
	{Type{Name: "webhook", Title: "Webhook", Can: webhookCan}, makeWebhook},
	{Type{Name: "sns", Title: "SNS", Can: snsCan}, makeSNS},
}

// Types are the types of pager in the default order of fallback, and what each can do.
// One that can more with a setting follows once more, with what it Needs.
func Types() []Type {
	var all []Type
	for _, e := range registry {
		all = append(all, e.Type)
	}
	return all
}

// New makes the pagers of the JSON that Terraform's modules/function writes into
// FIRSTLINE_PAGERS, the first choice first.
func New(config []byte, deps Deps) ([]Pager, error) {
	const op = "read FIRSTLINE_PAGERS"
	var all []json.RawMessage
	if err := incident.DecodeStrict(config, &all); err != nil {
		return nil, fault.New(fault.InvalidInput, op, "%w; apply the Terraform root again", err)
	}
	pagers := make([]Pager, 0, len(all))
	for n, raw := range all {
		var kind struct {
			Type string `json:"type"`
		}
		_ = json.Unmarshal(raw, &kind) // the pager decodes it strictly
		var known []string
		for _, e := range registry {
			known = append(known, e.Name)
		}
		of := slices.Index(known, kind.Type)
		if of < 0 {
			return nil, fault.New(fault.InvalidInput, op, "[%d].type: %q is not a pager; use %s", n, kind.Type, strings.Join(slices.Compact(known), ", "))
		}
		p, err := registry[of].pager(raw, deps)
		if err != nil {
			return nil, fault.New(fault.InvalidInput, op, "[%d]: %w; apply the Terraform root again", n, err)
		}
		pagers = append(pagers, p)
	}
	return pagers, nil
}

// Addresses are the base URLs that the pagers of a configuration are called at,
// which shows whether our own way out works.
func Addresses(config []byte) []string {
	pagers, _ := New(config, Deps{})
	var urls []string
	for _, p := range pagers {
		if a, ok := p.(interface{ address() string }); ok {
			urls = append(urls, a.address())
		}
	}
	return urls
}
