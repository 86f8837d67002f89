package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
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
	// Secret reads the value of a secret header from its SSM parameter. An
	// error of its that has no kind gets the one of an AWS call.
	Secret func(ctx context.Context, parameter string) (string, error)
	// Egress may be nil: then every time-out is blamed on the target.
	Egress Egress

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
//     a certificate that is not valid, a server that speaks no TLS that we do;
//   - Denied where AWS refused us;
//   - Unavailable for our own way out, name servers, AWS, and for too little
//     time left in ctx: s.Budget is always enough.
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
	return newFinding(NameURL, start, a.attempts, a.passed, op+": "+a.reason), nil
}

// question is a request that can be asked again and again.
type question struct {
	way      way
	roots    *x509.CertPool
	settings URLSettings
	target   *url.URL
	header   http.Header
	// secrets are the canonical names of the headers that only the target
	// itself may see.
	secrets []string
	host    string
	status  []statusRange
	pattern *regexp.Regexp
}

func (c *URL) prepare(ctx context.Context, instanceID string, s URLSettings) (*question, error) {
	q := &question{way: c.way, roots: c.roots, settings: s}
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
	if err := c.addSecrets(ctx, q, s); err != nil {
		return nil, err
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

func (c *URL) addSecrets(ctx context.Context, q *question, s URLSettings) error {
	if len(s.SecretHeaders) == 0 {
		return nil
	}
	if c.Secret == nil {
		return fault.New(fault.Internal, "read url.secretHeaders", "the check was built without Secret")
	}
	ctx, cancel := context.WithTimeout(ctx, secretAllowance)
	defer cancel()
	for _, name := range slices.Sorted(maps.Keys(s.SecretHeaders)) {
		parameter := s.SecretHeaders[name]
		op := "read url.secretHeaders." + name + " from " + parameter
		value, err := c.Secret(ctx, parameter)
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

// trip is one attempt with all its redirects.
type trip struct {
	journey
	question *question
	// redirectedTo is the last redirect's target, under the journey's lock.
	redirectedTo *url.URL
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
			return conn, nil
		},
		DialTLSContext: func(_ context.Context, _, address string) (net.Conn, error) {
			conn, host, err := dial(address)
			if err != nil {
				return nil, err
			}
			t.enter(stageTLS)
			// The name is about the target, not about where it redirects to.
			if name := t.question.settings.ServerName; name != "" && strings.EqualFold(host, t.question.target.Hostname()) {
				host = name
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
	t.redirectedTo = req.URL
	t.mu.Unlock()
	if req.URL.Scheme != schemeHTTP && req.URL.Scheme != schemeHTTPS {
		return &targetFault{reason: "want a redirect to http or https"}
	}
	if len(via) > maxRedirects {
		return &targetFault{reason: fmt.Sprintf("gave up after %d redirects", maxRedirects)}
	}
	t.enter(stageConnect)
	// It would tell the next host the query string of this one.
	req.Header.Del("Referer")
	if !sameOrigin(req.URL, via[0].URL) {
		for _, name := range t.question.secrets {
			req.Header.Del(name)
		}
	}
	return nil
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a) == portOf(b)
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
			return &targetFault{reason: "redirected to something that is not a URL"}
		case strings.Contains(words, "response headers exceeded"):
			return &targetFault{reason: "the head of the answer is longer than 1 MiB"}
		default:
			// Its words may hold what the target sent, which is not for a log.
			return &targetFault{reason: "did not answer with valid HTTP"}
		}
	})
	if target, ok := errors.AsType[*targetFault](err); ok {
		return &targetFault{reason: t.via() + target.reason, noConnection: target.noConnection}
	}
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

// remoteAlert classifies an alert that the server sent; nil if err is none. An internal error is the
// server's failure; all others say that it does not want what we have.
func remoteAlert(err error) error {
	operation, ok := errors.AsType[*net.OpError](err)
	if !ok || operation.Op != "remote error" {
		return nil
	}
	// crypto/tls exports no names for its alerts.
	if operation.Err.Error() == "tls: internal error" {
		return &targetFault{reason: "the server ended the TLS handshake with an internal error"}
	}
	return fault.New(fault.InvalidInput, "TLS", "the server refuses: %w", operation.Err)
}

// maxShown bounds a URL in a reason, in runes, so that two of them leave room
// for what happened.
const maxShown = 180

// shown is the part of a URL that may stand in a message: no user info, no
// query string, no fragment.
func shown(u *url.URL) string {
	return clipTo((&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String(), maxShown)
}
