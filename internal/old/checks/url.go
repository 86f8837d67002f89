package checks

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"firstline/internal/fault"
)

const (
	// maxBody is how much of a body is read, and matched with the pattern.
	maxBody = 1 << 20
	// maxHeader bounds the head of an answer, in bytes.
	maxHeader = 1 << 20
	// maxRedirects is the number that browsers and net/http settle for.
	maxRedirects = 10

	userAgent = "firstline (health check)"
)

// URL asks an instance's web server. The zero value asks explicit addresses
// without secret headers; the fields are for the rest.
type URL struct {
	// DescribeInstances finds the instance's address where the settings name
	// none.
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

	way way
	// roots verify certificates; nil: the system's.
	roots *x509.CertPool
}

// Check asks up to s.Attempts times and passes as soon as an answer has an
// accepted status, a whole body (or its first MiB), and matches the pattern.
//
// The finding has not passed when every attempt met a refused, reset, closed
// or timed-out connection, a wrong status or body, or no valid HTTP. An error
// is
//
//   - InvalidInput for wrong settings, an instance that is unknown, not
//     running or without the address asked for, a name that does not resolve,
//     a private address without a VPC, a certificate that is not valid, a
//     server that speaks no TLS that we do or TLS where http is asked for or
//     wants a server name where none is set, a redirect that leads nowhere, in
//     circles, or away from where the secret headers may go;
//   - Denied where AWS refused us, and where the target refuses (401, 403)
//     the secret headers though they were read afresh;
//   - Unavailable for our own way out, name servers, AWS, the failure of
//     another host that the target redirects to, and for too little time left
//     in ctx: s.Budget is always enough.
func (c *URL) Check(ctx context.Context, instanceID string, s URLSettings) (Finding, error) {
	if !s.Enabled {
		return skipped(NameURL, "url.enabled is false"), nil
	}
	if err := s.Validate(); err != nil {
		return Finding{}, fault.New(fault.InvalidInput, "url settings", "%w", err)
	}
	start := time.Now()
	ask, err := c.prepare(ctx, instanceID, s)
	if err != nil {
		return Finding{}, err
	}
	op := s.Method + " " + shown(ask.target)
	a, err := s.series().run(ctx, op, ask.once)
	if err != nil {
		return Finding{}, err
	}
	if !s.Private {
		if err := c.Egress.blame(ctx, op, s.AddressFamily, a); err != nil {
			return Finding{}, err
		}
	}
	f := newFinding(NameURL, start, a.attempts, a.passed, op+": "+a.reason)
	f.TimedOut = a.silent
	return f, nil
}

// question is a request that can be asked again and again.
type question struct {
	way      way
	roots    *x509.CertPool
	settings URLSettings
	target   *url.URL
	header   http.Header
	// secrets are the canonical names of the headers that only the target
	// itself may see; renew reads them again, once, and is nil after that.
	secrets []string
	renew   func(ctx context.Context) error
	host    string
	status  []statusRange
	pattern *regexp.Regexp
}

func (c *URL) prepare(ctx context.Context, instanceID string, s URLSettings) (*question, error) {
	q := &question{way: c.way, roots: c.roots, settings: s}
	q.way.vpc = c.VPC
	var err error
	if q.target, err = c.target(ctx, instanceID, s); err != nil {
		return nil, err
	}
	q.header = http.Header{"User-Agent": {userAgent}}
	for name, value := range s.Headers {
		if strings.EqualFold(name, "Host") {
			q.host = value
			continue
		}
		q.header.Set(name, value)
	}
	if err := c.addSecrets(ctx, q, s, false); err != nil {
		return nil, err
	}
	if len(q.secrets) > 0 {
		q.renew = func(ctx context.Context) error {
			q.renew = nil
			return c.addSecrets(ctx, q, s, true)
		}
	}
	// Neither can fail: Validate has seen them.
	if q.status, err = parseStatus(s.Status); err != nil {
		return nil, fault.New(fault.Internal, "url.status", "%w", err)
	}
	if q.pattern, err = regexp.Compile(s.BodyPattern); err != nil {
		return nil, fault.New(fault.Internal, "url.bodyPattern", "%w", err)
	}
	return q, nil
}

func (c *URL) target(ctx context.Context, instanceID string, s URLSettings) (*url.URL, error) {
	if s.Address != "" {
		u, err := url.Parse(s.Address)
		if err != nil { // the error would repeat the address
			return nil, fault.New(fault.Internal, "url.address", "is not a URL")
		}
		return u, nil
	}
	addr, err := c.DescribeInstances.address(ctx, instanceID, s.AddressFamily, s.Private)
	if err != nil {
		return nil, err
	}
	u, err := url.ParseRequestURI(s.Path)
	if err != nil {
		return nil, fault.New(fault.Internal, "url.path", "is not a path")
	}
	u.Scheme = s.Scheme
	u.Host = addr.String()
	if addr.Is6() {
		u.Host = "[" + u.Host + "]"
	}
	if s.Port != 0 {
		u.Host = net.JoinHostPort(addr.String(), strconv.Itoa(s.Port))
	}
	return u, nil
}

func (c *URL) addSecrets(ctx context.Context, q *question, s URLSettings, fresh bool) error {
	if len(s.SecretHeaders) == 0 {
		return nil
	}
	if c.Secret == nil {
		return fault.New(fault.Internal, "read url.secretHeaders", "the check was built without Secret")
	}
	ctx, cancel := context.WithTimeout(ctx, secretAllowance)
	defer cancel()
	q.secrets = nil
	for _, name := range slices.Sorted(maps.Keys(s.SecretHeaders)) {
		parameter := s.SecretHeaders[name]
		op := "read url.secretHeaders." + name + " from " + parameter
		value, err := c.Secret(ctx, parameter, fresh)
		if err != nil {
			return withKind(op, err)
		}
		// A parameter that was put from a file ends in a line break.
		value = strings.TrimSpace(value)
		if value == "" || !httpguts.ValidHeaderFieldValue(value) {
			return fault.New(fault.InvalidInput, op, "the parameter's value is empty or holds control characters; put printable text on one line")
		}
		name = http.CanonicalHeaderKey(name)
		q.header.Set(name, value)
		q.secrets = append(q.secrets, name)
	}
	return nil
}

// once makes one attempt: nil for a pass, else a *targetFault or an error
// with a kind.
func (q *question) once(ctx context.Context) (string, error) {
	trip := &trip{journey: journey{timeout: milliseconds(q.settings.TimeoutMs)}, question: q}
	trip.enter(stageConnect)
	transport := trip.transport(ctx)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: trip.redirect}

	req, err := http.NewRequestWithContext(ctx, q.settings.Method, q.target.String(), nil)
	if err != nil { // the error may repeat the address
		return "", fault.New(fault.Internal, "make the request", "the address is not one to ask")
	}
	req.Header = q.header.Clone()
	req.Host = q.host

	resp, err := client.Do(req)
	if err != nil {
		return "", trip.explain(err)
	}
	defer func() { _ = resp.Body.Close() }() // it has told what it has to tell
	if err := q.judge(trip, resp); err != nil {
		return "", trip.explain(err)
	}
	return trip.via() + fmt.Sprintf("got status %d", resp.StatusCode), nil
}

func (q *question) judge(t *trip, resp *http.Response) error {
	accepted := slices.ContainsFunc(q.status, func(r statusRange) bool {
		return r.first <= resp.StatusCode && resp.StatusCode <= r.last
	})
	if !accepted {
		if err := q.refused(t, resp.StatusCode); err != nil {
			return err
		}
		if wantsTLS(resp) {
			return q.speaksTLS()
		}
		return &targetFault{reason: fmt.Sprintf("got status %d, want %s", resp.StatusCode, strings.Join(q.settings.Status, " or "))}
	}
	// Read also without a pattern: a machine that runs out of breath in the
	// middle of an answer is not well.
	t.enter(stageBody)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return err
	}
	if q.settings.BodyPattern != "" && !q.pattern.Match(body) {
		return &targetFault{reason: fmt.Sprintf("the body (%d bytes read) does not match %q", len(body), q.settings.BodyPattern)}
	}
	return nil
}

// refused tells what a 401 or a 403 that is not wanted means to a question
// with secret headers: our credential is at fault, which no reboot cures. It is
// nil for any other answer.
func (q *question) refused(t *trip, status int) error {
	if len(q.secrets) == 0 || status != http.StatusUnauthorized && status != http.StatusForbidden {
		return nil
	}
	op := fmt.Sprintf("got status %d", status)
	t.mu.Lock()
	stripped := t.stripped
	t.mu.Unlock()
	switch {
	case stripped:
		return fault.New(fault.InvalidInput, op, "the redirect leads to another origin, which does not get url.secret_headers; name the final address in url.address")
	case q.renew != nil:
		// They are kept while the function is warm: a rotation may have
		// passed it by.
		return &staleError{reason: op, renew: q.renew}
	default:
		return fault.New(fault.Denied, op, "the target refuses what url.secret_headers sends, also when read afresh; put valid values into the SSM parameters")
	}
}

// plainToTLS are the words of nginx, Apache and net/http, which speak TLS and
// yet understand that they were asked without.
var plainToTLS = []string{
	"plain HTTP request was sent to HTTPS port",
	"speaking plain HTTP to an SSL-enabled server port",
	"Client sent an HTTP request to an HTTPS server",
}

func wantsTLS(resp *http.Response) bool {
	if resp.StatusCode != http.StatusBadRequest || resp.Request.URL.Scheme != schemeHTTP {
		return false
	}
	// What does not come in whole says nothing, and the status all the same.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return slices.ContainsFunc(plainToTLS, func(words string) bool { return strings.Contains(string(body), words) })
}

func (q *question) speaksTLS() error {
	cure := "set url.scheme to https"
	if q.settings.Address != "" {
		cure = "begin url.address with https://"
	}
	return fault.New(fault.InvalidInput, "http", "the server speaks TLS here; %s", cure)
}

// trip is one attempt with all its redirects. The journey's lock holds for its
// fields too.
type trip struct {
	journey
	question *question
	// redirectedTo is the last redirect's target.
	redirectedTo *url.URL
	// stripped: a redirect led to where the secret headers may not go. They
	// are gone for the rest of the trip, as net/http does it with those that
	// it knows.
	stripped bool
	// head is the first bytes of the answer of the last connection without
	// TLS.
	head []byte
}

// plain is a connection without TLS that notes how the answer begins.
type plain struct {
	net.Conn
	trip *trip
}

func (p plain) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.trip.mu.Lock()
	defer p.trip.mu.Unlock()
	p.trip.head = append(p.trip.head, b[:min(n, len(alertRecord)-len(p.trip.head))]...)
	return n, err
}

// alertRecord is how a TLS alert begins: the record's type and the major
// version (RFC 8446, 5.1).
const alertRecord = "\x15\x03"

func (t *trip) gotAlert() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.head) == alertRecord
}

// transport returns one for a single attempt: every attempt makes a connection
// of its own, without proxies from the environment. It dials within ctx, since
// net/http would let a dial outlive the request that asked for it.
func (t *trip) transport(ctx context.Context) *http.Transport {
	family := t.question.settings.AddressFamily
	dial := func(address string) (net.Conn, string, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, "", fault.New(fault.Internal, "connect", "%w", err)
		}
		conn, err := t.question.way.connect(ctx, &t.journey, family, host, port)
		return conn, host, err
	}
	return &http.Transport{
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			conn, _, err := dial(address)
			if err != nil {
				return nil, err
			}
			t.enter(stageAnswer)
			t.mu.Lock()
			t.head = nil
			t.mu.Unlock()
			return plain{conn, t}, nil
		},
		DialTLSContext: func(_ context.Context, _, address string) (net.Conn, error) {
			conn, host, err := dial(address)
			if err != nil {
				return nil, err
			}
			t.enter(stageTLS)
			t.mu.Lock()
			t.head = nil
			t.mu.Unlock()
			cure := "name the final address in url.address, with a host name"
			// The name is about the target, not about where it redirects to.
			if strings.EqualFold(host, t.question.target.Hostname()) {
				cure = "set url.server_name to a name that it serves"
				host = cmp.Or(t.question.settings.ServerName, host)
			}
			secure := tls.Client(conn, &tls.Config{
				MinVersion: tls.VersionTLS12,
				ServerName: host,
				RootCAs:    t.question.roots,
				//nolint:gosec // the setting verifyCertificate=false asks for it: liveness of a machine whose certificate nobody can verify
				InsecureSkipVerify: !t.question.settings.VerifyCertificate,
			})
			if err := secure.HandshakeContext(ctx); err != nil {
				_ = conn.Close() // the handshake's error is the one that tells
				if _, parseErr := netip.ParseAddr(host); parseErr == nil && isInternalAlert(err) {
					return nil, fault.New(fault.InvalidInput, "TLS handshake",
						"the server ended it with an internal error, as many do that get no server name (we send none, since %s is an address); %s", host, cure)
				}
				return nil, t.classify(err, tlsError)
			}
			t.enter(stageAnswer)
			return secure, nil
		},
	}
}

// redirect lets a redirect be followed, without what only the target itself
// may see.
func (t *trip) redirect(req *http.Request, via []*http.Request) error {
	if !t.question.settings.FollowRedirects {
		return http.ErrUseLastResponse
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.redirectedTo = req.URL
	t.addresses = nil
	// Whoever answers with a redirect is alive; where it leads is a matter of
	// configuration.
	if req.URL.Scheme != schemeHTTP && req.URL.Scheme != schemeHTTPS {
		return fault.New(fault.InvalidInput, "redirect", "want one to http or https; name the final address in url.address")
	}
	if len(via) > maxRedirects {
		return fault.New(fault.InvalidInput, "redirect", "gave up after %d of them; name the final address in url.address", maxRedirects)
	}
	t.at = stageConnect
	// It would tell the next host the query string of this one.
	req.Header.Del("Referer")
	t.stripped = t.stripped || !mayFollow(via[0].URL, req.URL)
	if t.stripped {
		for _, name := range t.question.secrets {
			req.Header.Del(name)
		}
	}
	return nil
}

// mayFollow reports whether secret headers may follow a redirect: to the same
// origin, and from http to https on the same host, both on their usual ports,
// which is what web servers do with whoever comes without TLS.
func mayFollow(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	upgrade := from.Scheme == schemeHTTP && portOf(from) == "80" && to.Scheme == schemeHTTPS && portOf(to) == "443"
	return upgrade || from.Scheme == to.Scheme && portOf(from) == portOf(to)
}

// elsewhere returns the host that a redirect led to, if it is not the
// target's, else "". A name is the target's also if the target is an IP
// address and the name resolved to just that: an instance that is asked by its
// address sends us to its name.
func (t *trip) elsewhere() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	own := t.question.target.Hostname()
	if t.redirectedTo == nil || strings.EqualFold(t.redirectedTo.Hostname(), own) {
		return ""
	}
	if addr, err := netip.ParseAddr(own); err == nil && len(t.addresses) > 0 &&
		!slices.ContainsFunc(t.addresses, func(a netip.Addr) bool { return a != addr.Unmap() }) {
		return ""
	}
	return t.redirectedTo.Hostname()
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == schemeHTTPS:
		return "443"
	default:
		return "80"
	}
}

// via says where redirects led.
func (t *trip) via() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.redirectedTo == nil {
		return ""
	}
	return "redirected to " + shown(t.redirectedTo) + ": "
}

// explain classifies the error of an attempt, and words it without what
// net/http puts around it: whole URLs.
func (t *trip) explain(err error) error {
	if _, ok := errors.AsType[*staleError](err); ok {
		return err
	}
	if t.gotAlert() {
		err = t.question.speaksTLS() // whatever became of the connection then
	}
	err = t.classify(err, func(err error) error {
		// With TLS 1.3 a server may refuse us after our handshake is done.
		if remote := remoteAlert(err); remote != nil {
			return remote
		}
		words := err.Error()
		switch {
		case strings.Contains(words, "server closed idle connection"):
			return &targetFault{reason: "connection closed " + string(t.reached())}
		case strings.Contains(words, "Location header"):
			return fault.New(fault.InvalidInput, "redirect", "it leads to something that is not a URL; name the final address in url.address")
		case strings.Contains(words, "response headers exceeded"):
			return &targetFault{reason: "the head of the answer is longer than 1 MiB"}
		default:
			// Its words may hold what the target sent, which is not for a log.
			return &targetFault{reason: "did not answer with valid HTTP"}
		}
	})
	if target, ok := errors.AsType[*targetFault](err); ok {
		if other := t.elsewhere(); other != "" {
			err = fault.New(fault.Unavailable, "", "%s: that is %s, not the target, which sent us there and so is alive; if that is the instance too, name the final address in url.address",
				target.reason, other)
			return t.wrap(err)
		}
		return &targetFault{reason: t.via() + target.reason, noConnection: target.noConnection, silent: target.silent}
	}
	return t.wrap(err)
}

func (t *trip) wrap(err error) error {
	return fault.New(fault.KindOf(err), t.question.settings.Method+" "+shown(t.question.target), "%s%w", t.via(), err)
}

// tlsError words what is neither the network's nor the clock's doing in a
// handshake: a reboot changes neither a certificate nor a configuration.
func tlsError(err error) error {
	const op = "TLS handshake"
	if remote := remoteAlert(err); remote != nil {
		return remote
	}
	_, noRoots := errors.AsType[x509.SystemRootsError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	cert, badCert := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case noRoots:
		return fault.New(fault.Internal, op, "our own side has no root certificates")
	case badCert:
		return fault.New(fault.InvalidInput, op, "the certificate is not valid: %s", clip(cert.Err.Error()))
	case notTLS:
		return fault.New(fault.InvalidInput, op, "the server does not speak TLS on this port; use http, or another port")
	default:
		return fault.New(fault.InvalidInput, op, "%s", clip(err.Error()))
	}
}

// remoteAlert classifies an alert that the server sent; nil if err is none. An
// internal error is the server's failure, unless it got no server name, which
// is for the caller to tell: with a name that it has served until today,
// it has lost its certificates or its head. All other alerts say that it does
// not want what we have.
func remoteAlert(err error) error {
	alert := alertOf(err)
	switch {
	case alert == nil:
		return nil
	case isInternalAlert(err):
		return &targetFault{reason: "the server ended the TLS handshake with an internal error"}
	default:
		return fault.New(fault.InvalidInput, "TLS", "the server refuses: %w", alert)
	}
}

// isInternalAlert reports whether err is the alert "internal error" of the
// server. crypto/tls exports no names for its alerts.
func isInternalAlert(err error) bool {
	alert := alertOf(err)
	return alert != nil && alert.Error() == "tls: internal error"
}

func alertOf(err error) error {
	operation, ok := errors.AsType[*net.OpError](err)
	if !ok || operation.Op != "remote error" {
		return nil
	}
	return operation.Err
}

// maxShown bounds a URL in a reason, in runes, so that two of them leave room
// for what happened.
const maxShown = 180

// shown is the part of a URL that may stand in a message: no user info, no
// query string, no fragment.
func shown(u *url.URL) string {
	return clipTo((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String(), maxShown)
}
