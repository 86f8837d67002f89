package notify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
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
	// callTimeout bounds one request with its answer.
	callTimeout = 15 * time.Second
	// maxAnswer is how much of an answer is read. Real ones have a few KB.
	maxAnswer = 1 << 20
	// maxError caps an error, with what it quotes of an answer, in runes.
	maxError = 600
)

// refusal is why one call failed, before its text is cleaned of secrets.
type refusal struct {
	kind fault.Kind
	err  error
	// auth: a newer secret may cure it. noAlert and discarded: ErrNoAlert and ErrDiscarded
	// are in its chain.
	auth, noAlert, discarded bool
}

func refuse(kind fault.Kind, format string, args ...any) *refusal {
	return &refusal{kind: kind, err: fmt.Errorf(format, args...)}
}

// client makes calls to one service that carry a secret.
type client struct {
	// op is what is done and what names the secret, for errors.
	op, what string
	source   Secret
	http     *http.Client
	// key is the secret, and used are all its values so far: none may show in an error.
	key  string
	used []string
}

// newClient returns a client that follows no redirect: the secret goes to the
// configured host only. Without a transport each request has a connection of its
// own: one that is kept may have died while the function was frozen.
func newClient(op, what string, source Secret, transport http.RoundTripper) *client {
	if transport == nil {
		transport = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	}
	return &client{op: op, what: what, source: source, http: &http.Client{
		Transport:     transport,
		Timeout:       callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// readSecret reads the secret into c.key.
func (c *client) readSecret(ctx context.Context, fresh bool) error {
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	key, err := c.source(ctx, fresh)
	if err != nil {
		return clean(c.op, refuse(fault.KindOf(err), "read %s: %w", c.what, err), c.used...)
	}
	c.key = strings.TrimSpace(key)
	if c.key == "" || strings.ContainsFunc(c.key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fault.New(fault.InvalidInput, c.op, "%s is empty or has characters that no such secret has: store it again", c.what)
	}
	c.used = append(c.used, c.key)
	return nil
}

// deliver makes a call with the secret, and once more with a fresh one if the
// first is refused. All other failures are the state machine's to retry. Its
// errors have a kind and no secret in them.
func (c *client) deliver(ctx context.Context, call func() *refusal) error {
	for fresh := false; ; fresh = true {
		if err := c.readSecret(ctx, fresh); err != nil {
			return err
		}
		r := call()
		switch {
		case r == nil:
			return nil
		case fresh || !r.auth:
			return clean(c.op, r, c.used...)
		}
	}
}

// rehearse makes a call that does nothing with a secret that was read just now.
func (c *client) rehearse(ctx context.Context, call func() *refusal) error {
	if err := c.readSecret(ctx, true); err != nil {
		return err
	}
	if r := call(); r != nil {
		return clean(c.op, r, c.used...)
	}
	return nil
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
// secrets, and whether there was no alert or a request was discarded; nothing else of the chain.
func clean(op string, r *refusal, secrets ...string) error {
	text := incident.ClipLine(r.err.Error(), maxAnswer)
	for _, secret := range secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			text = regexp.MustCompile(`(?i)`+regexp.QuoteMeta(form)).ReplaceAllLiteralString(text, "[redacted]")
		}
	}
	text = incident.ClipLine(redact.Text(text), maxError) // cut last: half a secret is not known for one
	switch {
	case r.noAlert:
		return fault.New(r.kind, op, "%s: %w", text, ErrNoAlert)
	case r.discarded:
		return fault.New(r.kind, op, "%s: %w", text, ErrDiscarded)
	}
	return fault.New(r.kind, op, "%s", text)
}

const addNote = "add a note to the alert"

// noteTaken is what becomes of a note: one that was accepted, and of which nobody
// tells whether it was added, may be lost, since a person may have closed the alert.
func noteTaken(op string, confirmed bool, err error) error {
	if err == nil && !confirmed {
		err = fault.New(fault.Unavailable, op, "the note was accepted, and it is not known whether it was added: %w", ErrNoAlert)
	}
	return err
}

// answer is what the other side said.
type answer struct {
	*http.Response
	body []byte
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
	return &answer{resp, said}, nil
}

func (a *answer) ok() bool { return a.StatusCode >= 200 && a.StatusCode <= 299 }

// String describes the answer for an error.
func (a *answer) String() string {
	s := strings.TrimSpace(fmt.Sprintf("HTTP %d %s", a.StatusCode, http.StatusText(a.StatusCode)))
	if a.ok() {
		s += " with " + cmp.Or(incident.ClipLine(a.Header.Get("Content-Type"), 60), "no content type")
	}
	return s
}

// refused turns a status other than 2xx into a refusal; detail is what the
// body said, or empty.
func (a *answer) refused(detail string) *refusal {
	said := strings.TrimSuffix(a.String()+": "+detail, ": ")
	r := refuse(fault.InvalidInput, "%s", said)
	switch s := a.StatusCode; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		r.kind, r.auth = fault.Denied, true
	case s == http.StatusPaymentRequired:
		return refuse(fault.Denied, "%s: the account's plan does not allow it", said)
	case s < 400:
		return refuse(fault.Unavailable, "%s: redirects are not followed, since they could carry the key to another host", said)
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests, s >= 500:
		r.kind = fault.Unavailable
	case s == http.StatusNotFound:
		return refuse(fault.InvalidInput, "%s: is the configured address right?", said)
	}
	return r
}
