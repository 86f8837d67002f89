package notify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
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
	// maxRetryAfter is the longest Retry-After that is waited out here. Anything
	// longer is the state machine's to wait for, where waiting costs nothing.
	maxRetryAfter = 5 * time.Second
	// maxRateRetries is how often a rate limit is waited out here.
	maxRateRetries = 2
	// maxError caps an error, with what it quotes of an answer, in runes.
	maxError = 600
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
	err       error
}

func refuse(kind fault.Kind, format string, args ...any) *refusal {
	return &refusal{kind: kind, after: -1, err: fmt.Errorf(format, args...)}
}

// client makes calls to one service that carry a secret.
type client struct {
	// op is what is done and what names the secret, for errors.
	op, what string
	source   Secret
	http     *http.Client
	// used are all values of the secret so far: none may show in an error.
	used []string
}

// newClient returns a client that follows no redirect: the secret goes to the
// configured host only.
func newClient(op, what string, source Secret, transport http.RoundTripper) *client {
	return &client{op: op, what: what, source: source, http: &http.Client{
		Transport:     transport,
		Timeout:       callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// secret returns the secret's value, in the form in which it can be sent.
func (c *client) secret(ctx context.Context, fresh bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	key, err := c.source(ctx, fresh)
	if err != nil {
		return "", clean(fault.KindOf(err), c.op, fmt.Errorf("read %s: %w", c.what, err), c.used)
	}
	key = strings.TrimSpace(key)
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fault.New(fault.InvalidInput, c.op, "%s is empty or has characters that no such secret has: store it again", c.what)
	}
	c.used = append(c.used, key)
	return key, nil
}

// rehearse reads the secret at its source: what a warm function still remembers
// says nothing about the next incident.
func (c *client) rehearse(ctx context.Context) error {
	_, err := c.secret(ctx, true)
	return err
}

// deliver reads the secret and makes a call with it: once more with a fresh
// secret after an authentication error, once more when the other side accepted the
// request and then discarded it, and again after a short rate limit. Its errors
// have a kind and no secret in them.
func (c *client) deliver(ctx context.Context, call func(ctx context.Context, key string) *refusal) error {
	if c.http.Transport == nil {
		// A connection that is kept may have died while the function was frozen.
		own := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
		defer own.CloseIdleConnections()
		c.http.Transport = own
	}
	key, err := c.secret(ctx, false)
	refreshed, repeated, waits := false, false, 0
	for err == nil {
		r := call(ctx, key)
		switch {
		case r == nil:
			return nil
		case r.auth && !refreshed:
			refreshed = true
			key, err = c.secret(ctx, true)
		case r.discarded && !repeated && worthWaiting(ctx, time.Second):
			repeated = true
		case r.limited && waits < maxRateRetries && worthWaiting(ctx, r.after) && pause(ctx, r.after) == nil:
			waits++
		default:
			return clean(r.kind, c.op, r.err, c.used)
		}
	}
	return err
}

// worthWaiting reports whether a wait that the other side asked for is short
// and leaves time for another call.
func worthWaiting(ctx context.Context, after time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return after >= 0 && after <= maxRetryAfter && (!ok || time.Until(deadline) > after+time.Second)
}

// pause waits, or returns the context's error when that ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// clean is the one way out for an error: it keeps the kind, the words without
// secrets, and whether there was no alert; nothing else of the chain.
func clean(kind fault.Kind, op string, err error, secrets []string) error {
	text := incident.ClipLine(err.Error(), maxAnswer)
	for _, secret := range secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			text = regexp.MustCompile(`(?i)`+regexp.QuoteMeta(form)).ReplaceAllLiteralString(text, "[redacted]")
		}
	}
	text = incident.ClipLine(redact.Text(text), maxError) // cut last: half a secret is not known for one
	if errors.Is(err, ErrNoAlert) {
		return &fault.Error{Kind: kind, Op: op, Err: noAlert(text)}
	}
	return &fault.Error{Kind: kind, Op: op, Err: errors.New(text)}
}

// noAlert is the text of an error that there is no such alert.
type noAlert string

func (e noAlert) Error() string { return string(e) }
func (e noAlert) Unwrap() error { return ErrNoAlert }

// answer is what the other side said.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send makes a request and reads the whole answer. What went wrong on the way is
// Unavailable, in words that do not hold the URL.
func (c *client) send(ctx context.Context, method, address string, header map[string]string, body []byte) (*answer, *refusal) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, refuse(fault.InvalidInput, "the address makes no request")
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // without the URL
		}
		return nil, refuse(fault.Unavailable, "no answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, refuse(fault.Unavailable, "the answer broke off: %w", err)
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: said}, nil
}

func (a *answer) ok() bool { return a.status >= 200 && a.status <= 299 }

// decode reads what it can of a JSON object: an oddity in one field does not hide
// the others. It reports whether the answer is one.
func (a *answer) decode(v any) bool {
	err := json.Unmarshal(a.body, v)
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return te.Field != ""
	}
	return err == nil
}

// String describes the answer for an error.
func (a *answer) String() string {
	s := strings.TrimSpace(fmt.Sprintf("HTTP %d %s", a.status, http.StatusText(a.status)))
	if a.ok() {
		s += " with " + cmp.Or(incident.ClipLine(a.header.Get("Content-Type"), 60), "no content type")
	}
	return s
}

// retryAfter is the Retry-After header, in seconds; -1 without a readable one.
func (a *answer) retryAfter() time.Duration {
	s, err := strconv.ParseUint(strings.TrimSpace(a.header.Get("Retry-After")), 10, 31)
	if err != nil {
		return -1
	}
	return time.Duration(s) * time.Second
}

// refused turns a status other than 2xx into a refusal; detail is what the
// body said, or empty.
func (a *answer) refused(detail string) *refusal {
	said := a.String()
	if detail != "" {
		said += ": " + detail
	}
	switch s := a.status; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		r := refuse(fault.Denied, "%s", said)
		r.auth = true
		return r
	case s == http.StatusPaymentRequired:
		return refuse(fault.Denied, "%s: the account's plan does not allow it", said)
	case s == http.StatusTooManyRequests:
		r := refuse(fault.Unavailable, "%s", said)
		r.limited, r.after = true, a.retryAfter()
		return r
	case s < 400:
		return refuse(fault.Unavailable, "%s: redirects are not followed, since they could carry the key to another host", said)
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s >= 500:
		return refuse(fault.Unavailable, "%s", said)
	case s == http.StatusNotFound:
		return refuse(fault.InvalidInput, "%s: is the configured address right?", said)
	default:
		return refuse(fault.InvalidInput, "%s", said)
	}
}

// baseURL accepts an address that a secret may be sent to: https, or http on
// loopback. Its errors do not quote the address, which may hold a password.
func baseURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return "", errors.New("use a base URL without user, query and fragment: https, or http on loopback")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
