package checks

import (
	"cmp"
	"context"
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

// URL asks an instance's web server up to s.Attempts times and passes as soon as
// an answer has an accepted status, a whole body (or its first MiB), and matches
// the pattern. README.md says how much time ctx needs.
func (v *Vantage) URL(ctx context.Context, instanceID string, s incident.URLSettings) incident.Finding {
	if !s.Enabled {
		return skipped(incident.CheckURL, "url.enabled is false")
	}
	q := question{check: incident.CheckURL, start: time.Now(), public: v.public}
	v = v.knowing(ctx, instanceID, s.Address != "")
	r, c := v.request(ctx, instanceID, s)
	if c != nil {
		return q.finding(answer{cause: c})
	}
	q.what = s.Method + " " + shown(r.target)
	a := newSeries(s.Attempts, s.TimeoutSeconds, s.IntervalSeconds).run(ctx, r.try)
	if !s.Private {
		a = v.Egress.confirm(ctx, a)
	}
	switch {
	case s.Address == "":
		return q.finding(a)
	case s.LoadBalancer:
		return q.finding(a.throughLoadBalancer())
	default:
		return elsewhere(q.finding(a), v.DescribeInstances.foreign(ctx, instanceID, a.remotes))
	}
}

// throughLoadBalancer reads the answer as that of a load balancer or a CDN in
// front of the instance alone. What fails without an HTTP answer is the load
// balancer itself; a 5xx is its own word that the instance does not answer it.
func (a answer) throughLoadBalancer() answer {
	a.remotes = nil // it is not the instance that was asked
	c := a.cause
	switch {
	case c == nil || c.outcome != incident.Failed:
	case c.status == 0:
		a.cause = unknown(incident.Attention, false, "the load balancer does not answer: %s", c.text)
		a.answered = false
	case c.status >= 500:
		a.answered = false
	}
	return a
}

// urlRequest is a request that can be made again and again.
type urlRequest struct {
	vantage  *Vantage
	settings incident.URLSettings
	target   *url.URL
	header   http.Header
	pattern  *regexp.Regexp
	// tries is the number of the attempt.
	tries int
}

func (v *Vantage) request(ctx context.Context, instanceID string, s incident.URLSettings) (*urlRequest, *cause) {
	target, c := v.target(ctx, instanceID, s)
	if c != nil {
		return nil, c
	}
	agent := userAgent
	if v.only.IsValid() {
		agent = incident.ProbeAgent
	}
	header := http.Header{"User-Agent": {agent}, "Connection": {"close"}}
	for name, value := range s.Headers {
		header.Set(name, value)
	}
	if c := v.addSecrets(ctx, s.SecretHeaders, header); c != nil {
		return nil, c
	}
	pattern, err := regexp.Compile(s.BodyPattern)
	if err != nil {
		return nil, wrong("url.body_pattern: %v", err)
	}
	return &urlRequest{vantage: v, settings: s, target: target, header: header, pattern: pattern}, nil
}

func (v *Vantage) target(ctx context.Context, instanceID string, s incident.URLSettings) (*url.URL, *cause) {
	if s.Address != "" {
		u, err := url.Parse(s.Address)
		if err != nil || !isWeb(u) { // the error would repeat the address
			return nil, wrong("url.address: is not a URL with http or https and a host")
		}
		return u, nil
	}
	addr, c := v.DescribeInstances.address(ctx, instanceID, s.AddressFamily, s.Private)
	if c != nil {
		return nil, c
	}
	u, err := url.ParseRequestURI(s.Path)
	if err != nil {
		return nil, wrong("url.path: is not a path that begins with /")
	}
	u.Scheme = s.Scheme
	u.Host = strings.TrimSuffix(net.JoinHostPort(addr, ""), ":")
	if s.Port != 0 {
		u.Host = net.JoinHostPort(addr, strconv.Itoa(s.Port))
	}
	return u, nil
}

// addSecrets reads the secret headers: every time, since whoever rotates one does
// not tell a function that is warm.
func (v *Vantage) addSecrets(ctx context.Context, parameters map[string]string, header http.Header) *cause {
	ctx, cancel := context.WithTimeout(ctx, secretAllowance)
	defer cancel()
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		what := "read url.secret_headers." + name + " from " + parameters[name]
		value, err := v.Secret(ctx, parameters[name])
		if err != nil {
			return unaided(what, err)
		}
		// A parameter that was put from a file ends in a line break.
		value = strings.TrimSpace(value)
		if value == "" || !httpguts.ValidHeaderFieldValue(value) {
			return wrong("%s: the parameter's value is empty or holds control characters; put printable text on one line", what)
		}
		header.Set(name, value)
	}
	return nil
}

func isWeb(u *url.URL) bool {
	return (u.Scheme == incident.SchemeHTTP || u.Scheme == incident.SchemeHTTPS) && u.Hostname() != ""
}

func portOf(u *url.URL) string {
	return cmp.Or(u.Port(), map[string]string{incident.SchemeHTTPS: "443"}[u.Scheme], "80")
}

// maxShown bounds a URL in a reason, in runes, so that two of them leave room
// for what happened.
const maxShown = 180

// shown is the part of a URL that may stand in a message: no user info, no
// query string, no fragment.
func shown(u *url.URL) string {
	return incident.ClipLine((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String(), maxShown)
}
