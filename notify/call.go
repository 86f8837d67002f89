package notify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"firstline/internal/fault"
	"firstline/internal/redact"
)

// Secret returns a secret's value. With fresh it is read again at its source,
// past every cache. Its errors pass through with their kind, so they must not
// hold the value.
type Secret func(ctx context.Context, fresh bool) (string, error)

const (
	// secretTimeout bounds the reading of a secret: a page must not wait for SSM.
	secretTimeout = 6 * time.Second
	// callTimeout bounds one request with its answer; the context may end it
	// sooner.
	callTimeout = 15 * time.Second
	// maxAnswer is how much of an answer is read. Real ones have a few KB.
	maxAnswer = 1 << 20
	// maxRetryAfter is the longest Retry-After that is sat out here. Anything
	// longer is the state machine's to wait for, where waiting costs nothing.
	maxRetryAfter = 5 * time.Second
	// maxRateRetries is how often a rate limit is sat out here.
	maxRateRetries = 2
	// maxServerWords caps what is quoted of an answer in an error, in runes.
	maxServerWords = 300
)

// refusal is how one call failed, before its text is cleaned of secrets.
type refusal struct {
	kind fault.Kind
	// auth says that a newer secret may cure it.
	auth bool
	// limited says that the other side asked for fewer calls; after is how long
	// it asked to wait, negative when it did not say.
	limited bool
	after   time.Duration
	// discarded says that the request was accepted and then not carried out.
	discarded bool
	// code is the name that Slack has for it.
	code string
	err  error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(kind fault.Kind, format string, args ...any) *refusal {
	return &refusal{kind: kind, after: -1, err: fmt.Errorf(format, args...)}
}

// credential is a secret on its way into a call, with all its values so far:
// none of them may show in an error.
type credential struct {
	op, what string
	source   Secret
	used     []string
}

// read returns the secret's value, in the form in which it can be sent.
func (c *credential) read(ctx context.Context, fresh bool) (string, error) {
	if c.source == nil {
		return "", fault.New(fault.Internal, c.op, "no source for %s", c.what)
	}
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	key, err := c.source(ctx, fresh)
	if err != nil {
		return "", clean(fault.KindOf(err), c.op, fmt.Errorf("read %s: %w", c.what, err), c.used)
	}
	key = strings.TrimSpace(key)
	c.used = append(c.used, key)
	if key == "" {
		return "", fault.New(fault.InvalidInput, c.op, "%s is missing: store it and try again", c.what)
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fault.New(fault.InvalidInput, c.op, "%s holds characters that no such secret has: store it again", c.what)
	}
	return key, nil
}

// rehearse does what deliver does before its first call. It reads the secret at
// its source: what a warm function still remembers says nothing about the next
// incident.
func rehearse(ctx context.Context, op, what string, secret Secret) error {
	c := &credential{op: op, what: what, source: secret}
	_, err := c.read(ctx, true)
	return err
}

// deliver reads the secret and makes a call with it: once more with a fresh
// secret after an authentication error, once more when the other side accepted the
// request and then discarded it, and again after a short rate limit. Its errors
// have a kind and no secret in them.
func deliver(ctx context.Context, op, what string, secret Secret, call func(ctx context.Context, key string) *refusal) error {
	c := &credential{op: op, what: what, source: secret}
	key, err := c.read(ctx, false)
	if err != nil {
		return err
	}
	refreshed, repeated := false, false
	for waits := 0; ; {
		r := call(ctx, key)
		switch {
		case r == nil:
			return nil
		case r.auth && !refreshed:
			refreshed = true
			if key, err = c.read(ctx, true); err != nil {
				return err
			}
			continue
		case r.discarded && !repeated && worthWaiting(ctx, time.Second):
			repeated = true
			continue
		case r.limited && waits < maxRateRetries && worthWaiting(ctx, r.after):
			waits++
			if pause(ctx, r.after) == nil {
				continue
			}
		}
		return clean(r.kind, op, r.err, c.used)
	}
}

// worthWaiting reports whether a wait that the other side asked for is short
// and leaves time for another call.
func worthWaiting(ctx context.Context, after time.Duration) bool {
	if after < 0 || after > maxRetryAfter {
		return false
	}
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > after+time.Second
}

// pause waits, or returns the context's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// clean is the one way out for an error: it keeps the kind, the words without
// secrets, and whether a context ended it, there was no alert or no way to tell;
// nothing else of the chain.
func clean(kind fault.Kind, op string, err error, secrets []string) error {
	text := redact.Text(hide(oneLine(err.Error()), secrets))
	var cause error
	switch {
	case errors.Is(err, context.Canceled):
		cause = context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		cause = context.DeadlineExceeded
	case errors.Is(err, ErrNoAlert):
		cause = ErrNoAlert
	case errors.Is(err, ErrCannotTell):
		cause = ErrCannotTell
	}
	return &fault.Error{Kind: kind, Op: op, Err: &words{text: text, cause: cause}}
}

// words is an error of which only the text and one known cause are left.
type words struct {
	text  string
	cause error
}

func (w *words) Error() string { return w.text }
func (w *words) Unwrap() error { return w.cause }

// hide takes known secrets out of text, plain or URL-encoded, in any case.
func hide(text string, secrets []string) string {
	for _, secret := range secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			text = replaceFold(text, form, "[redacted]")
		}
	}
	return text
}

// replaceFold replaces every occurrence of old, which is ASCII, in whatever
// case it is written.
func replaceFold(s, old, replacement string) string {
	if old == "" {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if len(s)-i >= len(old) && strings.EqualFold(s[i:i+len(old)], old) {
			b.WriteString(replacement)
			i += len(old)
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

// answer is what the other side said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// caller makes HTTP calls that carry a secret.
type caller struct {
	client *http.Client
	close  func()
}

// newCaller returns a caller on a copy of client, or on a client of its own,
// that follows no redirect: the secret goes to the configured host only.
func newCaller(client *http.Client) *caller {
	c := &http.Client{Timeout: callTimeout}
	done := func() {}
	if client != nil {
		*c = *client
		if c.Timeout <= 0 || c.Timeout > callTimeout {
			c.Timeout = callTimeout
		}
	} else {
		transport := &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			ForceAttemptHTTP2:     true,
			TLSHandshakeTimeout:   5 * time.Second,
			ResponseHeaderTimeout: 10 * time.Second,
		}
		c.Transport = transport
		done = transport.CloseIdleConnections
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &caller{client: c, close: done}
}

// do sends a request and reads the whole answer. What went wrong on the way is
// Unavailable, in words that do not hold the URL.
func (c *caller) do(req *http.Request) (*answer, *refusal) {
	resp, err := c.client.Do(req) //nolint:gosec // G704: baseURL has vetted the address, which is the operator's
	if err != nil {
		return nil, lost("no answer", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, lost("the answer broke off", err)
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: body}, nil
}

// lost is a call without an answer: whether it was carried out is unknown.
func lost(how string, err error) *refusal {
	// A url.Error prints the URL.
	for {
		ue, ok := errors.AsType[*url.Error](err)
		if !ok || ue.Err == nil {
			break
		}
		err = ue.Err
	}
	return refuse(fault.Unavailable, "%s: %w", how, err)
}

// html reports whether the answer is a web page: a proxy's, a login's, an error
// page, never an API's. Other content types are judged by whether they parse.
func (a *answer) html() bool {
	t, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	return strings.HasSuffix(t, "html")
}

// contentType names the content type for an error.
func (a *answer) contentType() string {
	t := truncate(oneLine(a.header.Get("Content-Type")), 60)
	if t == "" {
		return "no content type"
	}
	return t
}

// retryAfter is the Retry-After header, in seconds or as a date; -1 without a
// readable one.
func (a *answer) retryAfter(now time.Time) time.Duration {
	v := strings.TrimSpace(a.header.Get("Retry-After"))
	if s, err := strconv.ParseInt(v, 10, 32); err == nil && s >= 0 {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(now))
	}
	return -1
}

// refused turns a status other than 2xx into a refusal; detail is what the
// body said, or empty.
func (a *answer) refused(detail string) *refusal {
	said := ""
	if detail = truncate(oneLine(detail), maxServerWords); detail != "" {
		said = ": " + detail
	}
	status := fmt.Sprintf("HTTP %d", a.status)
	if text := http.StatusText(a.status); text != "" {
		status += " " + text
	}
	switch s := a.status; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		r := refuse(fault.Denied, "%s%s", status, said)
		r.auth = true
		return r
	case s == http.StatusPaymentRequired:
		return refuse(fault.Denied, "%s%s: the account's plan does not allow it", status, said)
	case s == http.StatusTooManyRequests:
		r := refuse(fault.Unavailable, "%s%s", status, said)
		r.limited, r.after = true, a.retryAfter(time.Now())
		return r
	case s == http.StatusMovedPermanently || s == http.StatusPermanentRedirect:
		return refuse(fault.InvalidInput, "%s: redirects are not followed, since they could carry the key to another host: configure the address it points to", status)
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s >= 500, s < 400:
		return refuse(fault.Unavailable, "%s%s", status, said)
	case s == http.StatusNotFound, s == http.StatusMethodNotAllowed:
		return refuse(fault.InvalidInput, "%s%s: is the configured address right?", status, said)
	default:
		return refuse(fault.InvalidInput, "%s%s", status, said)
	}
}

// baseURL accepts an address that a secret may be sent to: https, or http on
// loopback. Its errors do not quote the address, which may hold a password.
func baseURL(raw string) (string, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	switch {
	case err != nil:
		return "", errors.New("it does not parse as a URL")
	case u.Host == "" || u.Hostname() == "":
		return "", errors.New("it has no host")
	case u.User != nil:
		return "", errors.New("it holds user info, which belongs in a secret")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("it has a query or a fragment")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "", errors.New("plain http is for loopback addresses only")
	case u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New("its scheme is not https")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
