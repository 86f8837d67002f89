package checks

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"firstline/internal/incident"
)

const (
	// maxBody is how much of a body is read, and matched with the pattern.
	maxBody = 1 << 20
	// maxHeader bounds the head of an answer, in bytes.
	maxHeader = 1 << 20
	// maxRedirects is the number that browsers and net/http settle for.
	maxRedirects = 10
)

// try makes one attempt: nil for a pass, else a *cause.
func (r *urlRequest) try(ctx context.Context, p *progress) (string, error) {
	t := &urlAttempt{progress: p, request: r}
	p.enter(phaseConnect)
	transport := t.transport(ctx)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: t.redirect}
	req := &http.Request{Method: r.settings.Method, URL: r.target, Header: r.header.Clone(), Host: r.host}
	resp, err := client.Do(req.WithContext(ctx))
	if err != nil {
		return "", t.explain(err)
	}
	defer func() { _ = resp.Body.Close() }() // it has told what it has to tell
	if err := t.judge(resp); err != nil {
		return "", t.explain(err)
	}
	return t.via() + fmt.Sprintf("got status %d", resp.StatusCode), nil
}

func (t *urlAttempt) judge(resp *http.Response) error {
	r := t.request
	if !slices.ContainsFunc(r.status, func(s statusRange) bool { return s.has(resp.StatusCode) }) {
		return t.rejected(resp)
	}
	// Read also without a pattern: a machine that stops in the middle of an
	// answer is not well.
	t.progress.enter(phaseBody)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return err
	}
	if !r.pattern.Match(body) {
		return failed("", "the body (%d bytes read) does not match %q", len(body), r.settings.BodyPattern)
	}
	return nil
}

// rejected says what a status that is not wanted means.
func (t *urlAttempt) rejected(resp *http.Response) *cause {
	status := resp.StatusCode
	got := fmt.Sprintf("got status %d", status)
	if len(t.request.secrets) > 0 && (status == http.StatusUnauthorized || status == http.StatusForbidden) {
		return t.credential(got)
	}
	if wantsTLS(resp) {
		return t.speaksTLS()
	}
	retryAfter := resp.Header.Get("Retry-After") != ""
	if status == http.StatusServiceUnavailable && retryAfter {
		got += " with Retry-After"
	}
	c := &cause{text: got + ", want " + strings.Join(t.request.settings.Status, " or ")}
	c.outcome, c.kind = unexpected(status, retryAfter)
	return c
}

// credential: what the target refuses are the secret headers. They are kept while
// the function is warm, so that a rotation may have passed it by.
func (t *urlAttempt) credential(got string) *cause {
	switch {
	case t.stripped:
		return wrong("%s: the redirect leads to another origin, which does not get url.secret_headers; name the final address in url.address", got)
	case t.request.renew != nil:
		return &cause{outcome: incident.Unknown, kind: incident.Attention, text: got, renew: t.request.renew}
	default:
		return wrong("%s: the target refuses what url.secret_headers sends, also when read afresh; put valid values into the SSM parameters", got)
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
	if resp.StatusCode != http.StatusBadRequest || resp.Request.URL.Scheme != incident.SchemeHTTP {
		return false
	}
	// What does not come in whole says nothing, and the status all the same.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return slices.ContainsFunc(plainToTLS, func(words string) bool { return strings.Contains(string(body), words) })
}

func (t *urlAttempt) speaksTLS() *cause {
	cure := "set url.scheme to https"
	if t.request.settings.Address != "" {
		cure = "begin url.address with https://"
	}
	return wrong("the server speaks TLS here; %s", cure)
}

// urlAttempt is one attempt with all its redirects.
type urlAttempt struct {
	progress *progress
	request  *urlRequest
	// redirectedTo is the last redirect's target.
	redirectedTo *url.URL
	// stripped: a redirect led to where the secret headers may not go. They
	// are gone for the rest of the attempt, as net/http does it with those that
	// it knows.
	stripped bool
}

// plain is a connection without TLS. It does not read before something was
// written: net/http logs what comes unasked, and an SSH server's banner does.
type plain struct {
	net.Conn
	wrote context.Context
	start context.CancelFunc
}

func (p plain) Write(b []byte) (int, error) {
	p.start()
	return p.Conn.Write(b)
}

func (p plain) Read(b []byte) (int, error) {
	<-p.wrote.Done()
	return p.Conn.Read(b)
}

// How the answer of another protocol begins: an alert and a handshake of TLS (the
// record's type and the major version, RFC 8446, 5.1), a banner of SSH (RFC 4253,
// 4.2).
const (
	tlsAlert     = "\x15\x03"
	tlsHandshake = "\x16\x03"
	sshPrefix    = "SSH-"
	httpPrefix   = "HTTP/"
)

// otherProtocol is the cause where the answer to a request without TLS began like
// another protocol's, whatever became of the connection then; else nil.
func (t *urlAttempt) otherProtocol() *cause {
	head := string(t.progress.now().head)
	switch {
	case cmp.Or(t.redirectedTo, t.request.target).Scheme == incident.SchemeHTTPS:
		return nil
	case strings.HasPrefix(head, tlsAlert):
		return t.speaksTLS()
	case strings.HasPrefix(head, sshPrefix):
		return wrong("an SSH server answers on this port; name the web server's port")
	}
	return nil
}

// transport returns one for a single attempt: every attempt makes a connection
// of its own, without proxies from the environment. It dials within ctx, since
// net/http would let a dial outlive the request that asked for it.
func (t *urlAttempt) transport(ctx context.Context) *http.Transport {
	return &http.Transport{
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			return t.dial(ctx, address, false)
		},
		DialTLSContext: func(_ context.Context, _, address string) (net.Conn, error) {
			return t.dial(ctx, address, true)
		},
	}
}

func (t *urlAttempt) dial(ctx context.Context, address string, secure bool) (net.Conn, error) {
	host, port, _ := net.SplitHostPort(address) // net/http has joined them
	conn, err := t.request.dialer.connect(ctx, t.progress, t.request.settings.AddressFamily, host, port)
	switch {
	case err != nil:
		return nil, err
	case secure:
		return t.handshake(ctx, conn, host)
	default:
		t.progress.enter(phaseAnswer)
		wrote, start := context.WithCancel(ctx)
		return plain{conn, wrote, start}, nil
	}
}

// redirect lets a redirect be followed, without what only the target itself
// may see.
func (t *urlAttempt) redirect(req *http.Request, via []*http.Request) error {
	if !t.request.settings.FollowRedirects {
		return http.ErrUseLastResponse
	}
	t.redirectedTo = req.URL
	t.progress.update(func(s *state) { s.at, s.addresses = phaseConnect, nil })
	// Whoever answers with a redirect is alive; where it leads is a matter of
	// configuration.
	if req.URL.Scheme != incident.SchemeHTTP && req.URL.Scheme != incident.SchemeHTTPS {
		return wrong("redirect: want one to http or https; name the final address in url.address")
	}
	if len(via) > maxRedirects {
		return wrong("redirect: gave up after %d of them; name the final address in url.address", maxRedirects)
	}
	// It would tell the next host the query string of this one.
	req.Header.Del("Referer")
	t.stripped = t.stripped || !mayFollow(via[0].URL, req.URL)
	if t.stripped {
		for _, name := range t.request.secrets {
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
	upgrade := from.Scheme == incident.SchemeHTTP && portOf(from) == "80" && to.Scheme == incident.SchemeHTTPS && portOf(to) == "443"
	return upgrade || from.Scheme == to.Scheme && portOf(from) == portOf(to)
}

// redirectedAway returns the host that a redirect led to, if it is not the
// target's, else "". A name is the target's also if the target is an IP
// address and the name resolved to just that: an instance that is asked by its
// address sends us to its name.
func (t *urlAttempt) redirectedAway() string {
	own := t.request.target.Hostname()
	if t.redirectedTo == nil || strings.EqualFold(t.redirectedTo.Hostname(), own) {
		return ""
	}
	addrs := t.progress.now().addresses
	if addr, err := netip.ParseAddr(own); err == nil && len(addrs) > 0 &&
		!slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a != addr.Unmap() }) {
		return ""
	}
	return t.redirectedTo.Hostname()
}

// via says where redirects led.
func (t *urlAttempt) via() string {
	if t.redirectedTo == nil {
		return ""
	}
	return "redirected to " + shown(t.redirectedTo) + ": "
}

// explain classifies the error of an attempt, and words it without what
// net/http puts around it: whole URLs.
func (t *urlAttempt) explain(err error) *cause {
	c := t.otherProtocol()
	if c == nil {
		c = t.progress.classify(err, t.httpCause)
	}
	if c.outcome == incident.Failed {
		if other := t.redirectedAway(); other != "" {
			c = attention("%s: that is %s, not the target, which sent us there and so is alive; if that is the instance too, name the final address in url.address",
				c.text, other)
		}
	}
	c.text = t.via() + c.text
	return c
}

// httpCause says what net/http made of an answer.
func (t *urlAttempt) httpCause(err error) *cause {
	// With TLS 1.3 a server may refuse us after our handshake is done.
	if alert := remoteAlert(err); alert != "" {
		return alertCause(alert)
	}
	words := err.Error()
	switch {
	case strings.Contains(words, "server closed idle connection"):
		return failed(incident.ClosedEarly, "%s %s", endClosed, t.progress.now().at)
	case strings.Contains(words, "Location header"):
		return wrong("redirect: it leads to something that is not a URL; name the final address in url.address")
	case strings.Contains(words, "response headers exceeded"):
		return failed("", "the head of the answer is longer than 1 MiB")
	default:
		// Its words may hold what the target sent, which is not for a log.
		return failed("", "did not answer with valid HTTP")
	}
}
