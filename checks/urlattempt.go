package checks

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"firstline/internal/incident"
	"firstline/internal/lazy"
)

const (
	// maxHeader bounds the head of an answer, in bytes.
	maxHeader = 1 << 20
	// maxRedirects is the number that browsers and net/http settle for.
	maxRedirects = 10
)

// urlAttempt is one attempt with all its redirects.
type urlAttempt struct {
	*urlRequest
	*attempt
	// redirectedTo is the last redirect's target.
	redirectedTo *url.URL
	// proxied puts a line of the PROXY protocol in front of what is sent.
	proxied bool
	// web is what HTTP is spoken over: conn, or TLS over it once its handshake is
	// done.
	web *recordedConn
	// certificateWanted: the server has asked for a client certificate.
	certificateWanted bool
	// status is that of the last answer; 0 before.
	status int
}

func (r *urlRequest) try(ctx context.Context, p *attempt) (string, *cause) {
	r.tries++
	t := &urlAttempt{urlRequest: r, attempt: p}
	resp, err := t.send(ctx, t.redirect)
	if err == nil {
		defer func() { _ = resp.Body.Close() }() // it has told what it has to tell
		err = t.judge(resp)
	}
	if err == nil {
		return t.via() + fmt.Sprintf("got status %d", resp.StatusCode), nil
	}
	c := t.explain(err)
	if other := t.askWithProxyLine(ctx, c); other != nil {
		c = other
	}
	return "", c
}

// send sends the request and follows redirects.
func (t *urlAttempt) send(ctx context.Context, redirect func(*http.Request, []*http.Request) error) (*http.Response, error) {
	client := &http.Client{Transport: t, CheckRedirect: redirect}
	req := &http.Request{Method: t.settings.Method, URL: t.target, Header: t.header.Clone(), Host: t.header.Get("Host")}
	return client.Do(req.WithContext(ctx))
}

// RoundTrip makes each request on a connection of its own, in this goroutine.
// http.Transport dials in another one, and logs what a server says unasked.
func (t *urlAttempt) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := t.open(req.Context(), req.URL); err != nil {
		return nil, err
	}
	t.at = phaseAnswer
	if err := req.Write(t.web); err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: t.web, N: maxHeader}
	reader := bufio.NewReader(limited)
	resp, err := http.ReadResponse(reader, req)
	for err == nil && resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
		resp, err = http.ReadResponse(reader, req) // the one before was informational
	}
	switch {
	case err != nil && limited.N <= 0:
		return nil, failed("", "the head of the answer is longer than 1 MiB")
	case err != nil:
		// A line that is cut off is not a malformed one.
		if _, ended := t.web.seen(); isClosed(ended) || isReset(ended) {
			err = ended
		}
		return nil, cmp.Or(req.Context().Err(), err)
	}
	limited.N = math.MaxInt64
	// Closing it would read it to its end. The connection ends with the attempt.
	resp.Body = io.NopCloser(resp.Body)
	return resp, nil
}

// open makes a connection, and makes it secure where the URL wants that.
func (t *urlAttempt) open(ctx context.Context, u *url.URL) error {
	t.web, t.status = nil, 0
	if c := t.vantage.connect(ctx, t.attempt, t.settings.AddressFamily, u.Hostname(), portOf(u)); c != nil {
		return c
	}
	if t.proxied {
		if _, err := io.WriteString(t.conn, proxyLine(t.conn)); err != nil {
			return err
		}
	}
	if u.Scheme == incident.SchemeHTTPS {
		return t.secure(ctx, u.Hostname())
	}
	t.web = t.conn
	return nil
}

// judge says what an answer means.
func (t *urlAttempt) judge(resp *http.Response) error {
	if c := t.judgeStatus(resp.StatusCode, resp.Header.Get("Retry-After") != ""); c != nil {
		return c
	}
	// Read also without a pattern: a machine that stops in the middle of an
	// answer is not well.
	t.at = phaseBody
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	pattern := t.settings.BodyPattern
	if err != nil || pattern == "" {
		return err
	}
	encoding := strings.ToLower(strings.Join(resp.Header.Values("Content-Encoding"), ", "))
	body, isRead := plain(raw, encoding)
	switch {
	case t.pattern.Match(body):
		return nil
	case !isRead:
		return wrong("url.body_pattern cannot be matched: the body comes in the encoding %q, and this check reads gzip and deflate; serve it as it is, or remove url.body_pattern", incident.ClipLine(encoding, 40))
	default:
		return failed("", "the body (%d bytes read) does not match %q", len(body), pattern)
	}
}

// judgeStatus returns nil for a status that is wanted.
func (t *urlAttempt) judgeStatus(status int, retryAfter bool) *cause {
	t.status = status
	s := t.settings
	if accepted(s.Status, status) {
		return nil
	}
	got := fmt.Sprintf("got status %d", status)
	if len(s.SecretHeaders) > 0 && (status == http.StatusUnauthorized || status == http.StatusForbidden) {
		return wrong("%s: the target refuses what url.secret_headers sends; put valid values into the SSM parameters", got)
	}
	if status == http.StatusServiceUnavailable && retryAfter {
		got += " with Retry-After"
	}
	c := &cause{text: got + ", want " + strings.Join(s.Status, " or ")}
	c.outcome, c.kind = unexpected(status, retryAfter)
	return c
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
		return wrong("redirect: it leads to neither http nor https; name the final address in url.address")
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
	switch {
	case c.connection == incident.ClosedEarly && t.web != nil && t.web != t.conn:
		// As with HTTP: it may close each connection on purpose.
		head, _ := t.web.seen()
		c.unanswered = len(head) == 0
	case c.connection == incident.Refused:
		c.unanswered = t.redirectedTo != nil // it may be refused to us alone
	}
	if other := t.redirectedAway(); other != "" && c.outcome == incident.Failed {
		c = unknown(incident.Attention, false, "%s: that is %s, not the target, and the target is alive, since it redirected us; if that host is the instance too, name the final address in url.address",
			c.text, other)
	}
	// The kernel of a machine that answers refuses where no server listens.
	if t.redirectedTo != nil && c.outcome == incident.Failed && c.connection == incident.NoConnection {
		c = unknown(incident.Attention, false, "%s: the target has just answered and redirected us there, so a firewall may block that port; let firstline through, or name the final address in url.address", c.text)
	}
	c.text, c.status = t.via()+c.text, t.status
	return c
}

// protocolCause says what is neither the network's nor the clock's doing.
func (t *urlAttempt) protocolCause(err error) *cause {
	if c := t.tlsCause(err); c != nil {
		return c
	}
	if strings.Contains(err.Error(), "Location header") {
		return wrong("redirect: it leads to something that is not a URL; name the final address in url.address")
	}
	// The words of err may hold what the target sent, which is not for a log.
	if status := t.statusLine(); status != 0 && t.at == phaseAnswer {
		return cmp.Or(t.judgeStatus(status, false), ours("got status %d, and our client refuses what follows in the head", status))
	}
	return failed("", "did not answer with valid HTTP")
}

var statusLine = lazy.Regexp(`^HTTP/1\.[01] ([1-9][0-9]{2})[ \r\n]`)

// statusLine returns the status that the newest answer begins with; 0 if it
// begins in another way.
func (t *urlAttempt) statusLine() (status int) {
	if t.web == nil {
		return 0
	}
	head, _ := t.web.seen()
	if m := statusLine().FindSubmatch(head); m != nil {
		status, _ = strconv.Atoi(string(m[1])) // three digits, says the pattern
	}
	return status
}
