package checks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"

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
	attempt := &urlAttempt{progress: p, request: r}
	p.enter(phaseConnect)
	transport := attempt.transport(ctx)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: attempt.redirect}

	req, err := http.NewRequestWithContext(ctx, r.settings.Method, r.target.String(), nil)
	if err != nil { // the error may repeat the address
		return "", wrong("make the request: the address is not one to ask")
	}
	req.Header = r.header.Clone()
	req.Host = r.host

	resp, err := client.Do(req)
	if err != nil {
		return "", attempt.explain(err)
	}
	defer func() { _ = resp.Body.Close() }() // it has told what it has to tell
	if err := r.judge(attempt, resp); err != nil {
		return "", attempt.explain(err)
	}
	return attempt.via() + fmt.Sprintf("got status %d", resp.StatusCode), nil
}

func (r *urlRequest) judge(t *urlAttempt, resp *http.Response) error {
	accepted := slices.ContainsFunc(r.status, func(s statusRange) bool {
		return s.first <= resp.StatusCode && resp.StatusCode <= s.last
	})
	if !accepted {
		return r.rejected(t, resp)
	}
	// Read also without a pattern: a machine that stops in the middle of an
	// answer is not well.
	t.progress.enter(phaseBody)
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return err
	}
	if r.settings.BodyPattern != "" && !r.pattern.Match(body) {
		return failed("", "the body (%d bytes read) does not match %q", len(body), r.settings.BodyPattern)
	}
	return nil
}

// rejected says what a status that is not wanted means.
func (r *urlRequest) rejected(t *urlAttempt, resp *http.Response) *cause {
	status := resp.StatusCode
	if c := r.credential(t, status); c != nil {
		return c
	}
	if wantsTLS(resp) {
		return r.speaksTLS()
	}
	c := &cause{text: fmt.Sprintf("got status %d, want %s", status, strings.Join(r.settings.Status, " or "))}
	retryAfter := resp.Header.Get("Retry-After") != ""
	if status == http.StatusServiceUnavailable && retryAfter {
		c.text = fmt.Sprintf("got status %d with Retry-After, want %s", status, strings.Join(r.settings.Status, " or "))
	}
	c.outcome, c.kind = unexpected(status, retryAfter)
	return c
}

// credential tells what a 401 or a 403 that is not wanted means to a request
// with secret headers: our credential is at fault. It is nil for any other
// answer.
func (r *urlRequest) credential(t *urlAttempt, status int) *cause {
	if len(r.secrets) == 0 || status != http.StatusUnauthorized && status != http.StatusForbidden {
		return nil
	}
	t.progress.mu.Lock()
	stripped := t.stripped
	t.progress.mu.Unlock()
	switch {
	case stripped:
		return wrong("got status %d: the redirect leads to another origin, which does not get url.secret_headers; name the final address in url.address", status)
	case r.renew != nil:
		// They are kept while the function is warm: a rotation may have
		// passed it by.
		c := attention("got status %d", status)
		c.renew = r.renew
		return c
	default:
		return wrong("got status %d: the target refuses what url.secret_headers sends, also when read afresh; put valid values into the SSM parameters", status)
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

func (r *urlRequest) speaksTLS() *cause {
	cure := "set url.scheme to https"
	if r.settings.Address != "" {
		cure = "begin url.address with https://"
	}
	return wrong("the server speaks TLS here; %s", cure)
}

// urlAttempt is one attempt with all its redirects. The progress's lock holds
// for its fields too.
type urlAttempt struct {
	progress *progress
	request  *urlRequest
	// redirectedTo is the last redirect's target.
	redirectedTo *url.URL
	// stripped: a redirect led to where the secret headers may not go. They
	// are gone for the rest of the attempt, as net/http does it with those that
	// it knows.
	stripped bool
	// head is the first bytes of the answer of the last connection without
	// TLS.
	head []byte
}

// plain is a connection without TLS that notes how the answer begins. It does
// not read before something was written: net/http logs what comes unasked, and
// an SSH server's banner does.
type plain struct {
	net.Conn
	attempt *urlAttempt
	wrote   chan struct{}
	once    *sync.Once
}

func (p plain) Write(b []byte) (int, error) {
	p.once.Do(func() { close(p.wrote) })
	return p.Conn.Write(b)
}

func (p plain) Close() error {
	p.once.Do(func() { close(p.wrote) })
	return p.Conn.Close()
}

func (p plain) Read(b []byte) (int, error) {
	<-p.wrote
	n, err := p.Conn.Read(b)
	p.attempt.progress.mu.Lock()
	defer p.attempt.progress.mu.Unlock()
	p.attempt.head = append(p.attempt.head, b[:min(n, headLength-len(p.attempt.head))]...)
	return n, err
}

// How the answer of another protocol begins.
const (
	// tlsAlert is the record's type and the major version (RFC 8446, 5.1).
	tlsAlert = "\x15\x03"
	// tlsHandshake is the same of a handshake record.
	tlsHandshake = "\x16\x03"
	// sshBanner is RFC 4253's, 4.2.
	sshBanner = "SSH-"
	httpHead  = "HTTP/"

	headLength = len(sshBanner)
)

// otherProtocol is the cause where the answer began like another protocol's,
// whatever became of the connection then; else nil.
func (t *urlAttempt) otherProtocol() *cause {
	t.progress.mu.Lock()
	head := string(t.head)
	t.progress.mu.Unlock()
	switch {
	case strings.HasPrefix(head, tlsAlert):
		return t.request.speaksTLS()
	case strings.HasPrefix(head, sshBanner):
		return wrong("an SSH server answers on this port; name the web server's port")
	}
	return nil
}

// dial connects within ctx, since net/http would let a dial outlive the request
// that asked for it.
func (t *urlAttempt) dial(ctx context.Context, address string, next phase) (net.Conn, string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", wrong("connect: %v", err)
	}
	conn, err := t.request.dialer.connect(ctx, t.progress, t.request.settings.AddressFamily, host, port)
	if err != nil {
		return nil, "", err
	}
	t.progress.mu.Lock()
	defer t.progress.mu.Unlock()
	t.progress.at, t.head = next, nil
	return conn, host, nil
}

// transport returns one for a single attempt: every attempt makes a connection
// of its own, without proxies from the environment.
func (t *urlAttempt) transport(ctx context.Context) *http.Transport {
	return &http.Transport{
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			conn, _, err := t.dial(ctx, address, phaseAnswer)
			if err != nil {
				return nil, err
			}
			return plain{conn, t, make(chan struct{}), new(sync.Once)}, nil
		},
		DialTLSContext: func(_ context.Context, _, address string) (net.Conn, error) {
			conn, host, err := t.dial(ctx, address, phaseTLS)
			if err != nil {
				return nil, err
			}
			return t.handshake(ctx, conn, host)
		},
	}
}

// redirect lets a redirect be followed, without what only the target itself
// may see.
func (t *urlAttempt) redirect(req *http.Request, via []*http.Request) error {
	if !t.request.settings.FollowRedirects {
		return http.ErrUseLastResponse
	}
	t.progress.mu.Lock()
	defer t.progress.mu.Unlock()
	t.redirectedTo = req.URL
	t.progress.addresses = nil
	// Whoever answers with a redirect is alive; where it leads is a matter of
	// configuration.
	if req.URL.Scheme != incident.SchemeHTTP && req.URL.Scheme != incident.SchemeHTTPS {
		return wrong("redirect: want one to http or https; name the final address in url.address")
	}
	if len(via) > maxRedirects {
		return wrong("redirect: gave up after %d of them; name the final address in url.address", maxRedirects)
	}
	t.progress.at = phaseConnect
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
	t.progress.mu.Lock()
	defer t.progress.mu.Unlock()
	own := t.request.target.Hostname()
	if t.redirectedTo == nil || strings.EqualFold(t.redirectedTo.Hostname(), own) {
		return ""
	}
	if addr, err := netip.ParseAddr(own); err == nil && len(t.progress.addresses) > 0 &&
		!slices.ContainsFunc(t.progress.addresses, func(a netip.Addr) bool { return a != addr.Unmap() }) {
		return ""
	}
	return t.redirectedTo.Hostname()
}

// via says where redirects led.
func (t *urlAttempt) via() string {
	t.progress.mu.Lock()
	defer t.progress.mu.Unlock()
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
	return c.prefixed(t.via())
}

// httpCause says what net/http made of an answer.
func (t *urlAttempt) httpCause(err error) *cause {
	// With TLS 1.3 a server may refuse us after our handshake is done.
	if c := remoteAlert(err); c != nil {
		return c
	}
	words := err.Error()
	switch {
	case strings.Contains(words, "server closed idle connection"):
		return failed(incident.ClosedEarly, "connection closed %s", t.progress.reached())
	case strings.Contains(words, "Location header"):
		return wrong("redirect: it leads to something that is not a URL; name the final address in url.address")
	case strings.Contains(words, "response headers exceeded"):
		return failed("", "the head of the answer is longer than 1 MiB")
	case errors.Is(err, context.Canceled):
		return blind("%v", context.Canceled)
	default:
		// Its words may hold what the target sent, which is not for a log.
		return failed("", "did not answer with valid HTTP")
	}
}
