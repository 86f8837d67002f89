package checks

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
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

// urlAttempt is one attempt with all its redirects.
type urlAttempt struct {
	*urlRequest
	*progress
	// redirectedTo is the last redirect's target.
	redirectedTo *url.URL
}

func (r *urlRequest) try(ctx context.Context, p *progress) (string, *cause) {
	t := &urlAttempt{urlRequest: r, progress: p}
	client := &http.Client{Transport: t, CheckRedirect: t.redirect}
	req := &http.Request{Method: r.settings.Method, URL: r.target, Header: r.header.Clone(), Host: r.header.Get("Host")}
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

// RoundTrip makes each request on a connection of its own, in this goroutine.
// http.Transport dials in another one, and logs what a server says unasked.
func (t *urlAttempt) RoundTrip(req *http.Request) (*http.Response, error) {
	conn, err := t.open(req.Context(), req.URL)
	if err != nil {
		return nil, err
	}
	t.at = phaseAnswer
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: conn, N: maxHeader}
	reader := bufio.NewReader(limited)
	resp, err := http.ReadResponse(reader, req)
	for err == nil && resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
		resp, err = http.ReadResponse(reader, req) // the one before was informational
	}
	switch {
	case err != nil && limited.N <= 0:
		return nil, failed("", "the head of the answer is longer than 1 MiB")
	case err != nil:
		// A line that is cut off by the time-out is not a malformed one.
		return nil, cmp.Or(req.Context().Err(), err)
	}
	limited.N = math.MaxInt64
	// Closing it would read it to its end. The connection ends with the attempt.
	resp.Body = io.NopCloser(resp.Body)
	return resp, nil
}

// open makes a connection, and makes it secure where the URL wants that.
func (t *urlAttempt) open(ctx context.Context, u *url.URL) (net.Conn, error) {
	name, s := u.Hostname(), t.settings
	if c := t.vantage.connect(ctx, t.progress, s.AddressFamily, name, portOf(u)); c != nil {
		return nil, c
	}
	if u.Scheme != incident.SchemeHTTPS {
		return t.conn, nil
	}
	t.at = phaseTLS
	// The server name is about the target, not about where it redirects to.
	if s.ServerName != "" && strings.EqualFold(name, t.target.Hostname()) {
		name = s.ServerName
	}
	secure := tls.Client(t.conn, &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: name,
		RootCAs:    t.vantage.roots,
		//nolint:gosec // the setting verify_certificate = false asks for it: liveness of a machine whose certificate nobody can verify
		InsecureSkipVerify: !s.VerifyCertificate,
	})
	err := secure.HandshakeContext(ctx)
	if _, notAddress := netip.ParseAddr(name); notAddress == nil && remoteAlert(err) == internalError {
		return nil, wrong("TLS handshake: the server ended it with an internal error, as many do that get no server name (we send none, since %s is an address); set url.server_name, or name a host in url.address", name)
	}
	return secure, err
}

// judge says what an answer means.
func (t *urlAttempt) judge(resp *http.Response) error {
	s, status := t.settings, resp.StatusCode
	if !accepted(s.Status, status) {
		got := fmt.Sprintf("got status %d", status)
		if len(s.SecretHeaders) > 0 && (status == http.StatusUnauthorized || status == http.StatusForbidden) {
			return wrong("%s: the target refuses what url.secret_headers sends; put valid values into the SSM parameters", got)
		}
		retryAfter := resp.Header.Get("Retry-After") != ""
		if status == http.StatusServiceUnavailable && retryAfter {
			got += " with Retry-After"
		}
		c := &cause{text: got + ", want " + strings.Join(s.Status, " or ")}
		c.outcome, c.kind = unexpected(status, retryAfter)
		return c
	}
	// Read also without a pattern: a machine that stops in the middle of an
	// answer is not well.
	t.at = phaseBody
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return err
	}
	if !t.pattern.Match(body) {
		return failed("", "the body (%d bytes read) does not match %q", len(body), s.BodyPattern)
	}
	return nil
}

// accepted reports whether a status is in a list of codes and ranges, "200" or
// "200-299". Codes have three digits, so that they compare as text.
func accepted(list []string, status int) bool {
	code := strconv.Itoa(status)
	return slices.ContainsFunc(list, func(s string) bool {
		first, last, isRange := strings.Cut(s, "-")
		return code == s || isRange && first <= code && code <= last
	})
}

// unexpected says what an HTTP status that is not wanted means, whoever saw it:
// a 5xx is the target's failure, unless it says that it is too busy now; any
// other status is an answer that only a person can put right.
func unexpected(status int, retryAfter bool) (incident.Outcome, incident.Kind) {
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable && retryAfter:
		return incident.Unknown, incident.Busy
	case status >= 500 && status <= 599:
		return incident.Failed, ""
	default:
		return incident.Unknown, incident.Attention
	}
}

// redirect lets a redirect be followed. Whoever answers with one is alive; where
// it leads is a matter of configuration.
func (t *urlAttempt) redirect(req *http.Request, via []*http.Request) error {
	if !t.settings.FollowRedirects {
		return http.ErrUseLastResponse
	}
	t.at, t.redirectedTo, t.addresses = phaseConnect, req.URL, nil
	switch {
	case !isWeb(req.URL):
		return wrong("redirect: want one to http or https; name the final address in url.address")
	case len(via) > maxRedirects:
		return wrong("redirect: gave up after %d of them; name the final address in url.address", maxRedirects)
	case len(t.settings.SecretHeaders) > 0 && !mayFollow(t.target, req.URL):
		return wrong("the redirect leads to another origin, which does not get url.secret_headers; name the final address in url.address")
	}
	// It would tell the next host the query string of this one.
	req.Header.Del("Referer")
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
	own := t.target.Hostname()
	if t.redirectedTo == nil || strings.EqualFold(t.redirectedTo.Hostname(), own) {
		return ""
	}
	if addr, err := netip.ParseAddr(own); err == nil && len(t.addresses) > 0 &&
		!slices.ContainsFunc(t.addresses, func(a netip.Addr) bool { return a != addr.Unmap() }) {
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
	if around, ok := errors.AsType[*url.Error](err); ok {
		err = around.Err
	}
	c := t.otherProtocol()
	if c == nil {
		c = t.classify(err, t.protocolCause)
	}
	if other := t.redirectedAway(); other != "" && c.outcome == incident.Failed {
		c = unknown(incident.Attention, false, "%s: that is %s, not the target, which sent us there and so is alive; if that is the instance too, name the final address in url.address",
			c.text, other)
	}
	c.text = t.via() + c.text
	return c
}

// otherProtocol is the cause where the answer to a request without TLS began like
// another protocol's, whatever became of the connection then; else nil.
func (t *urlAttempt) otherProtocol() *cause {
	// While connecting, conn is still that of the request before the redirect.
	if t.conn == nil || t.at == phaseConnect || cmp.Or(t.redirectedTo, t.target).Scheme == incident.SchemeHTTPS {
		return nil
	}
	head, _ := t.conn.seen()
	switch speaks(head) {
	case aTLSServer:
		return wrong("the server speaks TLS here; use https")
	case anSSHServer:
		return wrong("an SSH server answers on this port; name the web server's port")
	}
	return nil
}

// protocolCause says what is neither the network's nor the clock's doing. A reboot
// changes neither a certificate nor a configuration, and what our own TLS client
// refuses is no fault of the server's.
func (t *urlAttempt) protocolCause(err error) *cause {
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	cert, badCert := errors.AsType[*tls.CertificateVerificationError](err)
	// With TLS 1.3 a server may refuse us after our handshake is done.
	switch alert := remoteAlert(err); {
	case alert == internalError:
		// With a name that it has served until today, it has lost its certificates
		// or its memory. All other alerts say that it does not want what we have.
		return failed(incident.ClosedEarly, "the server ended the TLS handshake with an internal error")
	case alert == "tls: protocol version not supported", alert == "tls: handshake failure", alert == "tls: insufficient security level":
		return ours("TLS: the server is alive and shares no TLS version or algorithm with this check: %s", alert)
	case alert != "":
		return wrong("TLS: the server refuses: %s", alert)
	case badCert:
		return wrong("TLS handshake: the certificate is not valid: %s", clip(cert.Err.Error()))
	case notTLS, errors.Is(err, http.ErrSchemeMismatch):
		return wrong("TLS handshake: the server does not speak TLS on this port; use http, or another port")
	case t.at == phaseTLS:
		return ours("TLS handshake: our client refuses what the server offers: %s", clip(err.Error()))
	case strings.Contains(err.Error(), "Location header"):
		return wrong("redirect: it leads to something that is not a URL; name the final address in url.address")
	default:
		// Its words may hold what the target sent, which is not for a log.
		return failed("", "did not answer with valid HTTP")
	}
}

// internalError is an alert as crypto/tls words it.
const internalError = "tls: internal error"

// remoteAlert returns the alert that the server sent (RFC 8446, 6.2); "" if err
// is none. crypto/tls exports no names for its alerts.
func remoteAlert(err error) string {
	if operation, ok := errors.AsType[*net.OpError](err); ok && operation.Op == "remote error" {
		return operation.Err.Error()
	}
	return ""
}
