package checks

import (
	"context"
	"crypto/x509"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"firstline/internal/incident"
)

const userAgent = "firstline (health check)"

// URL asks an instance's web server.
type URL struct {
	// DescribeInstances finds the instance's address where the settings name
	// none, and tells whether an address they name is the instance's.
	DescribeInstances DescribeInstances
	// Secret reads the value of a secret header from its SSM parameter: a kept
	// one will do unless fresh. An error of its that has no kind gets the one
	// of an AWS call.
	Secret func(ctx context.Context, parameter string, fresh bool) (string, error)
	// Egress may be nil: then every time-out is blamed on the target.
	Egress Egress
	// VPC: the function runs in a VPC. Outside of one it reaches no private
	// address.
	VPC bool

	dialer dialer
	// roots verify certificates; nil: the system's.
	roots *x509.CertPool
}

// Check asks up to s.Attempts times and passes as soon as an answer has an
// accepted status, a whole body (or its first MiB), and matches the pattern. Of
// attempts that differ, a pass counts first, then what is not the target's
// failure. README.md says how much time ctx needs.
func (c *URL) Check(ctx context.Context, instanceID string, s incident.URLSettings) incident.Finding {
	if !s.Enabled {
		return skipped(incident.CheckURL, "url.enabled is false")
	}
	q := inquiry{check: incident.CheckURL, start: time.Now()}
	request, failure := c.prepare(ctx, instanceID, s)
	if request != nil {
		q.what = s.Method + " " + shown(request.target)
		q.endpoint = net.JoinHostPort(request.target.Hostname(), portOf(request.target))
	}
	if failure != nil {
		return q.finding(answer{cause: failure})
	}
	a := urlSeries(s).run(ctx, request.try)
	if !s.Private {
		a = c.Egress.confirm(ctx, s.AddressFamily, a)
	}
	f := q.finding(a)
	if s.Address != "" {
		f = elsewhere(f, c.DescribeInstances.foreign(ctx, instanceID, a.remotes))
	}
	return f
}

// urlRequest is a request that can be made again and again.
type urlRequest struct {
	dialer   dialer
	roots    *x509.CertPool
	settings incident.URLSettings
	target   *url.URL
	header   http.Header
	// secrets are the names of the headers that only the target
	// itself may see; renew reads them again, once, and is nil after that.
	secrets []string
	renew   func() *cause
	host    string
	status  []statusRange
	pattern *regexp.Regexp
}

// prepare returns the request as far as it is known, and what is in its way.
func (c *URL) prepare(ctx context.Context, instanceID string, s incident.URLSettings) (*urlRequest, *cause) {
	target, failure := c.target(ctx, instanceID, s)
	if failure != nil {
		return nil, failure
	}
	r := &urlRequest{dialer: c.dialer, roots: c.roots, settings: s, target: target, header: http.Header{"User-Agent": {userAgent}}}
	r.dialer.vpc = c.VPC
	for name, value := range s.Headers {
		if strings.EqualFold(name, "Host") {
			r.host = value
			continue
		}
		r.header.Set(name, value)
	}
	if failure := c.addSecrets(ctx, r, false); failure != nil {
		return r, failure
	}
	r.renew = func() *cause {
		r.renew = nil
		return c.addSecrets(ctx, r, true)
	}
	var err error
	if r.status, err = parseStatus(s.Status); err != nil {
		return r, wrong("url.status: %v", err)
	}
	if r.pattern, err = regexp.Compile(s.BodyPattern); err != nil {
		return r, wrong("url.body_pattern: %v", err)
	}
	return r, nil
}

func (c *URL) target(ctx context.Context, instanceID string, s incident.URLSettings) (*url.URL, *cause) {
	if s.Address != "" {
		u, err := url.Parse(s.Address)
		if err != nil || u.Host == "" { // the error would repeat the address
			return nil, wrong("url.address: is not a URL")
		}
		return u, nil
	}
	addr, failure := c.DescribeInstances.address(ctx, instanceID, s.AddressFamily, s.Private)
	if failure != nil {
		return nil, failure
	}
	u, err := url.ParseRequestURI(s.Path)
	if err != nil {
		return nil, wrong("url.path: is not a path")
	}
	u.Scheme = s.Scheme
	u.Host = strings.TrimSuffix(net.JoinHostPort(addr.String(), ""), ":")
	if s.Port != 0 {
		u.Host = net.JoinHostPort(addr.String(), strconv.Itoa(s.Port))
	}
	return u, nil
}

// addSecrets sets the secret headers, read afresh if the kept ones will not do.
func (c *URL) addSecrets(ctx context.Context, r *urlRequest, fresh bool) *cause {
	ctx, cancel := context.WithTimeout(ctx, secretAllowance)
	defer cancel()
	r.secrets = nil
	for _, name := range slices.Sorted(maps.Keys(r.settings.SecretHeaders)) {
		parameter := r.settings.SecretHeaders[name]
		what := "read url.secret_headers." + name + " from " + parameter
		value, err := c.Secret(ctx, parameter, fresh)
		if err != nil {
			return unaided(what, err)
		}
		// A parameter that was put from a file ends in a line break.
		value = strings.TrimSpace(value)
		if value == "" || !httpguts.ValidHeaderFieldValue(value) {
			return wrong("%s: the parameter's value is empty or holds control characters; put printable text on one line", what)
		}
		r.header.Set(name, value)
		r.secrets = append(r.secrets, name)
	}
	return nil
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == incident.SchemeHTTPS:
		return "443"
	default:
		return "80"
	}
}

// maxShown bounds a URL in a reason, in runes, so that two of them leave room
// for what happened.
const maxShown = 180

// shown is the part of a URL that may stand in a message: no user info, no
// query string, no fragment.
func shown(u *url.URL) string {
	return incident.ClipLine((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String(), maxShown)
}
