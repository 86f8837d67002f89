package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// Deps are what pagers need beside their settings.
type Deps struct {
	// Secret reads a secret by the name of its parameter; with fresh at its
	// source, past every cache. See Secret.
	Secret func(ctx context.Context, parameter string, fresh bool) (string, error)
	// SNS returns a client of SNS for a region.
	SNS func(region string) SNSPublisher
	// HTTP makes the calls; nil means a client with time-outs of its own.
	HTTP *http.Client
}

// secret is the secret of a parameter.
func (d Deps) secret(parameter string) Secret {
	if d.Secret == nil {
		return nil
	}
	return func(ctx context.Context, fresh bool) (string, error) { return d.Secret(ctx, parameter, fresh) }
}

// registry has every type of pager. make decodes its settings strictly; whether
// they are right, the pager itself says when it is used, so that the others work.
var registry = []struct {
	name string
	make func(config json.RawMessage, deps Deps) (Pager, error)
}{
	{"opsgenie", makeOpsGenie},
	{"jsm", makeJSM},
	{"sns", makeSNS},
}

// addressed is a pager that is called at an address of its own.
type addressed interface{ Address() (string, error) }

// New makes the pagers of the JSON that Terraform's modules/function writes into
// FIRSTLINE_PAGERS, the first choice first.
func New(config []byte, deps Deps) ([]Pager, error) {
	const op = "read FIRSTLINE_PAGERS"
	const want = `use a list such as [{"type":"opsgenie","url":"eu","keyParameter":"/firstline/secrets/opsgenie-api-key"}]; apply the Terraform root again`
	invalid := func(format string, args ...any) error {
		return fault.New(fault.InvalidInput, op, format+": %s", append(args, want)...)
	}
	if strings.TrimSpace(string(config)) == "" {
		return nil, invalid("the function's environment has none")
	}
	var all []json.RawMessage
	if err := incident.DecodeStrict(config, &all); err != nil {
		return nil, invalid("%w", err)
	}
	if len(all) == 0 {
		return nil, invalid("the list is empty, so nobody could be paged")
	}
	pagers, seen := make([]Pager, len(all)), map[string]bool{}
	for n, raw := range all {
		var kind struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(raw, &kind); err != nil {
			return nil, invalid("[%d]: want an object with a type", n)
		}
		p, err := newPager(kind.Type, raw, deps)
		switch {
		case err != nil:
			return nil, invalid("[%d]%w", n, err)
		case seen[kind.Type]:
			return nil, invalid("[%d].type: %s is there twice; name each pager once", n, kind.Type)
		}
		pagers[n], seen[kind.Type] = p, true
	}
	return pagers, nil
}

// newPager makes the pager of a type. Its errors begin with what follows the
// pager's index.
func newPager(name string, raw json.RawMessage, deps Deps) (Pager, error) {
	names := make([]string, len(registry))
	for n, entry := range registry {
		names[n] = entry.name
	}
	n := slices.Index(names, name)
	if n < 0 {
		return nil, fmt.Errorf(".type: %q is not a pager; use %s", name, strings.Join(names, ", "))
	}
	p, err := registry[n].make(raw, deps)
	if err != nil {
		return nil, fmt.Errorf(": %w", err)
	}
	return p, nil
}

// Addresses are the base URLs that the pagers of a configuration are called at,
// which shows whether our own way out works. A wrong one is an error of its own
// when its pager is used, and is left out here.
func Addresses(config []byte) []string {
	pagers, _ := New(config, Deps{})
	var urls []string
	for _, p := range pagers {
		a, ok := p.(addressed)
		if !ok {
			continue
		}
		if base, err := a.Address(); err == nil {
			urls = append(urls, base)
		}
	}
	return urls
}
