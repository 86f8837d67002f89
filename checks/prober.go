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
	lookup, cancel := context.WithTimeout(ctx, answersAllowance)
	defer cancel()
	var try attempt
	switch {
	case settings.SSH.Enabled:
		s := settings.SSH
		s.HostKeyFingerprint = "" // one connection is enough
		target, c := p.SSH.target(lookup, instanceID, s)
		if c != nil {
			return false
		}
		try = target.try
	case settings.URL.Enabled:
		s := settings.URL
		s.SecretHeaders, s.FollowRedirects = nil, false // a 401 is an answer
		request, c := p.URL.prepare(lookup, instanceID, s)
		if c != nil {
			return false
		}
		try = request.try
	default:
		return false
	}
	_, progress, _ := series{timeout: answersAllowance}.once(ctx, try) // any answer will do
	return progress.now().byteCame
}
