package notify

import (
	"context"
	"encoding/json"
	"maps"
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

// registry has every type of pager. An entry decodes the pager's settings strictly.
var registry = map[string]func(config json.RawMessage, deps Deps) (Pager, error){
	"opsgenie": opsgenie.pager,
	"jsm":      jsm.pager,
	"sns":      makeSNS,
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
		pagerOf, ok := registry[kind.Type]
		if !ok {
			known := strings.Join(slices.Sorted(maps.Keys(registry)), ", ")
			return nil, fault.New(fault.InvalidInput, op, "[%d].type: %q is not a pager; use %s", n, kind.Type, known)
		}
		p, err := pagerOf(raw, deps)
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
