package checks

import (
	"context"
	"net/netip"

	"firstline/internal/incident"
)

// probeSeconds bounds the attempt of Probe. With the proof of our own connectivity
// beside it, the asking region has its answer within 8 seconds.
const probeSeconds = 4

// Probe makes the one attempt that another region asks for, at the public address that
// it names, without EC2 and without secrets. What counts is whether a byte comes: a
// redirect is an answer and is not followed, and neither are a certificate, a host
// key or a body compared with what the settings want.
func (v *Vantage) Probe(ctx context.Context, p incident.Probe) incident.Finding {
	w := *v
	w.DescribeInstances, w.Secret, w.VPC = nil, nil, false
	w.only, _ = netip.ParseAddr(p.Address) // the caller has checked it
	w.only = w.only.Unmap()
	if p.Check == incident.CheckSSH {
		s := *p.SSH
		s.Enabled, s.Private, s.HostKeyFingerprint = true, false, ""
		s.Attempts, s.TimeoutSeconds = 1, probeSeconds
		return w.SSH(ctx, "", s, "")
	}
	s := *p.URL
	s.Enabled, s.Private, s.LoadBalancer, s.FollowRedirects, s.VerifyCertificate = true, false, false, false, false
	s.SecretHeaders, s.BodyPattern = nil, ""
	s.Attempts, s.TimeoutSeconds = 1, probeSeconds
	return w.URL(ctx, "", s)
}
