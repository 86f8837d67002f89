package checks

import (
	"context"
	"time"

	"firstline/internal/incident"
)

// answersAllowance bounds each half of Prober.Answers: the address and the
// attempt.
const answersAllowance = 4 * time.Second

// Prober asks an instance once, to see whether our vantage works.
type Prober struct {
	URL *URL
	SSH *SSH
}

// Answers reports whether a byte comes from an instance, whatever it says: one
// attempt at its SSH server, or at its web server where SSH is off. It takes at
// most 8 seconds, 4 for the instance's address and 4 for the attempt. It is
// false where both are off.
func (p *Prober) Answers(ctx context.Context, instanceID string, settings *incident.Settings) bool {
	switch {
	case settings.SSH.Enabled:
		return p.answersSSH(ctx, instanceID, settings.SSH)
	case settings.URL.Enabled:
		return p.answersURL(ctx, instanceID, settings.URL)
	}
	return false
}

func (p *Prober) answersSSH(ctx context.Context, instanceID string, s incident.SSHSettings) bool {
	s.HostKeyFingerprint = "" // one connection is enough
	lookup, cancel := context.WithTimeout(ctx, answersAllowance)
	defer cancel()
	target, failure := p.SSH.target(lookup, instanceID, s)
	return failure == nil && oneByte(ctx, target.try)
}

func (p *Prober) answersURL(ctx context.Context, instanceID string, s incident.URLSettings) bool {
	s.SecretHeaders, s.FollowRedirects = nil, false // a 401 is an answer
	lookup, cancel := context.WithTimeout(ctx, answersAllowance)
	defer cancel()
	request, failure := p.URL.prepare(lookup, instanceID, s)
	return failure == nil && oneByte(ctx, request.try)
}

func oneByte(ctx context.Context, try func(context.Context, *progress) (string, error)) bool {
	_, progress, _ := series{timeout: answersAllowance}.attempt(ctx, try) // any answer will do
	return progress.heard()
}
