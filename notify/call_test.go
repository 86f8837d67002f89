package notify

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"firstline/internal/fault"
)

// direct is a client that calls a handler without a network, so that time in a
// synctest bubble moves by itself.
func direct(h http.Handler) http.RoundTripper { return handlerTransport{h} }

type handlerTransport struct{ h http.Handler }

func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if r.Body == nil {
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	t.h.ServeHTTP(w, r)
	return w.Result(), nil
}

func wantError(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	if text == "" {
		if err != nil {
			t.Errorf("unexpected error: %v", err)
		}
		return
	}
	if err == nil {
		t.Errorf("no error, want %s: %s", kind, text)
		return
	}
	if _, ok := errors.AsType[*fault.Error](err); !ok {
		t.Errorf("%T is no fault.Error: %v", err, err)
	}
	if got := fault.KindOf(err); got != kind {
		t.Errorf("kind %s, want %s: %v", got, kind, err)
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("error %q does not say %q", err, text)
	}
}

var _ Pager = (*snsTopic)(nil)

// channel makes one channel of a secret, a base URL and a client. All of them run
// the same tests of secrets, retries and errors.
type channel struct {
	// call is one that carries the secret.
	call func(ctx context.Context, secret Secret, base string, client http.RoundTripper, m Message) error
	// rehearse is nil for calls that have no rehearsal of their own.
	rehearse func(ctx context.Context, secret Secret, base string, client http.RoundTripper, m Message) (string, error)
	status   int // of an answer that is a success
	ok       string
	// accepts says that any answer of that status is one, and anyBody that any answer
	// of 2xx is one that is no page for people.
	accepts, anyBody bool
	// signs says that the secret signs what is sent, and is not sent.
	signs bool
}

func ofService(s service, secret Secret, base string, client http.RoundTripper) *alertAPI {
	return &alertAPI{service: s, alertSettings: alertSettings{Endpoint: base}, key: secret, http: client}
}

var channels = func() map[string]channel {
	const accepted = `{"result":"Request will be processed"}`
	all := map[string]channel{
		"slack": {
			call: func(ctx context.Context, secret Secret, base string, client http.RoundTripper, m Message) error {
				_, err := (&Slack{Token: secret, ChannelID: "C0123456789", APIURL: base, HTTP: client}).Post(ctx, m)
				return err
			},
			rehearse: func(ctx context.Context, secret Secret, base string, client http.RoundTripper, m Message) (string, error) {
				return (&Slack{Token: secret, ChannelID: "C0123456789", APIURL: base, HTTP: client}).Rehearse(ctx, m)
			},
			status: http.StatusOK, ok: `{"ok":true,"channel":"C0123456789","ts":"1.2"}`,
		},
		"opsgenie open": {
			call: func(ctx context.Context, secret Secret, base string, client http.RoundTripper, m Message) error {
				open, err := ofService(opsgenie, secret, base, client).Open(ctx, m.Alert.Alias)
				if err == nil && !open {
					return errors.New("the open alert is said to be closed")
				}
				return err
			},
			status: http.StatusOK, ok: `{"data":{"status":"open","alias":"a"},"requestId":"r-1"}`,
		},
	}
	for _, s := range []service{opsgenie, jsm} {
		page := channel{
			call: func(ctx context.Context, secret Secret, base string, client http.RoundTripper, m Message) error {
				_, err := ofService(s, secret, base, client).Page(ctx, m)
				return err
			},
			rehearse: func(ctx context.Context, secret Secret, base string, client http.RoundTripper, m Message) (string, error) {
				return ofService(s, secret, base, client).Rehearse(ctx, m)
			},
			status: http.StatusAccepted, ok: accepted, accepts: true,
		}
		resolve, note := page, page
		resolve.rehearse, note.rehearse, note.accepts = nil, nil, false
		resolve.call = func(ctx context.Context, secret Secret, base string, client http.RoundTripper, m Message) error {
			return ofService(s, secret, base, client).Resolve(ctx, m)
		}
		note.call = func(ctx context.Context, secret Secret, base string, client http.RoundTripper, m Message) error {
			return ofService(s, secret, base, confirming(client)).Note(ctx, m)
		}
		note.ok = `{"result":"Request will be processed","requestId":"r-1"}`
		all[s.name+" page"], all[s.name+" resolve"], all[s.name+" note"] = page, resolve, note
	}
	all["pagerduty"] = ofPager(channel{status: http.StatusAccepted, ok: `{"status":"success","message":"Event processed","dedup_key":"a"}`}, func(secret Secret, base string, client http.RoundTripper) Pager {
		return &pagerDuty{pagerDutySettings{Endpoint: base, Severity: "critical"}, secret, client}
	})
	all["webhook"] = ofPager(channel{status: http.StatusNoContent, anyBody: true, signs: true}, func(secret Secret, base string, client http.RoundTripper) Pager {
		return &webhook{URL: base, secret: signing(secret), http: client}
	})
	return all
}()

// ofPager adds the calls of a pager to a channel.
func ofPager(n channel, pagerOf func(secret Secret, base string, client http.RoundTripper) Pager) channel {
	n.call = func(ctx context.Context, secret Secret, base string, client http.RoundTripper, m Message) error {
		_, err := pagerOf(secret, base, client).Page(ctx, m)
		return err
	}
	n.rehearse = func(ctx context.Context, secret Secret, base string, client http.RoundTripper, m Message) (string, error) {
		return pagerOf(secret, base, client).Rehearse(ctx, m)
	}
	return n
}

// signing makes of each secret that a service could have one of the form for signing.
func signing(secret Secret) Secret {
	return func(ctx context.Context, fresh bool) (string, error) {
		value, err := secret(ctx, fresh)
		if value = strings.TrimSpace(value); err != nil || value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return value, err
		}
		return " whsec_" + base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%-24s", value)) + "\n", nil
	}
}

// confirming answers for the status of a request by itself.
func confirming(inner http.RoundTripper) http.RoundTripper {
	if inner == nil {
		return nil
	}
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		if !strings.Contains(r.URL.Path, "/v2/alerts/requests/") {
			return inner.RoundTrip(r)
		}
		w := httptest.NewRecorder()
		_, _ = io.WriteString(w, `{"data":{"isSuccess":true,"success":true,"status":"Added note"},"requestId":"r-1"}`)
		return w.Result(), nil
	})
}

// step is one answer of a server.
type step struct {
	status   int
	html     bool
	location string
	body     string
	err      error // instead of an answer
}

func TestRetriesAndKinds(t *testing.T) {
	t.Parallel()
	ok := step{status: 200, body: "OK"} // replaced by the channel's own
	for _, tt := range []struct {
		name  string
		steps []step
		kind  fault.Kind
		want  string // of the error; empty for none
		calls int
		fresh int // reads of the secret past the cache
	}{
		{name: "success", steps: []step{ok}, calls: 1},
		{name: "unauthorized, then renewed", steps: []step{{status: 401}, ok}, calls: 2, fresh: 1},
		{name: "unauthorized twice", steps: []step{{status: 401}, {status: 401}}, kind: fault.Denied, want: "HTTP 401 Unauthorized", calls: 2, fresh: 1},
		{name: "forbidden twice", steps: []step{{status: 403}, {status: 403}}, kind: fault.Denied, want: "HTTP 403 Forbidden", calls: 2, fresh: 1},
		{name: "unauthorized, then down", steps: []step{{status: 401}, {status: 503}}, kind: fault.Unavailable, want: "HTTP 503", calls: 2, fresh: 1},
		{name: "payment required", steps: []step{{status: 402}}, kind: fault.Denied, want: "plan", calls: 1},
		{name: "bad request", steps: []step{{status: 400}}, kind: fault.InvalidInput, want: "HTTP 400 Bad Request", calls: 1},
		{name: "unprocessable", steps: []step{{status: 422}}, kind: fault.InvalidInput, want: "HTTP 422", calls: 1},
		{name: "not found", steps: []step{{status: 404}}, kind: fault.InvalidInput, want: "is the configured address right?", calls: 1},
		{name: "request time-out", steps: []step{{status: 408}}, kind: fault.Unavailable, want: "HTTP 408", calls: 1},
		{name: "server error", steps: []step{{status: 500}}, kind: fault.Unavailable, want: "HTTP 500", calls: 1},
		{name: "bad gateway page", steps: []step{{status: 502, html: true, body: "<html>"}}, kind: fault.Unavailable, want: "HTTP 502 Bad Gateway", calls: 1},
		{name: "unknown status", steps: []step{{status: 599}}, kind: fault.Unavailable, want: "HTTP 599", calls: 1},
		{name: "web page", steps: []step{{status: 200, html: true, body: "<html>login</html>"}}, kind: fault.Unavailable, want: "text/html", calls: 1},
		// So a web application firewall challenges a client: the request went no further.
		{name: "accepted web page", steps: []step{{status: 202, html: true, body: "<html>"}}, kind: fault.Unavailable, want: "the answer, HTTP 202 Accepted with text/html", calls: 1},
		{name: "accepted, empty", steps: []step{{status: 202}}, kind: fault.Unavailable, want: "the answer, HTTP 202 Accepted", calls: 1},
		{name: "not JSON", steps: []step{{status: 200, body: "fine"}}, kind: fault.Unavailable, want: "the answer", calls: 1},
		{name: "empty", steps: []step{{status: 200}}, kind: fault.Unavailable, want: "the answer", calls: 1},
		{name: "JSON of something else", steps: []step{{status: 200, body: `{"hello":"world"}`}}, kind: fault.Unavailable, want: "the answer", calls: 1},
		{name: "JSON null", steps: []step{{status: 200, body: "null"}}, kind: fault.Unavailable, want: "answer", calls: 1},
		{name: "moved", steps: []step{{status: 301, location: "https://elsewhere.example/"}}, kind: fault.Unavailable, want: "redirects are not followed", calls: 1},
		{name: "redirected, method kept", steps: []step{{status: 308, location: "/there"}}, kind: fault.Unavailable, want: "redirects are not followed", calls: 1},
		{name: "redirected for now", steps: []step{{status: 307, location: "https://elsewhere.example/"}}, kind: fault.Unavailable, want: "HTTP 307", calls: 1},
		{name: "rate limit", steps: []step{{status: 429}}, kind: fault.Unavailable, want: "HTTP 429 Too Many Requests", calls: 1},
		{name: "rate limit, then a renewed secret", steps: []step{{status: 401}, {status: 429}}, kind: fault.Unavailable, want: "HTTP 429", calls: 2, fresh: 1},
		{name: "connection lost", steps: []step{{err: io.ErrUnexpectedEOF}}, kind: fault.Unavailable, want: "no answer: unexpected EOF", calls: 1},
		{name: "no such host", steps: []step{{err: &net.DNSError{Err: "no such host", Name: "pager.example", IsNotFound: true}}}, kind: fault.Unavailable, want: "no such host", calls: 1},
		{name: "timed out", steps: []step{{err: context.DeadlineExceeded}}, kind: fault.Unavailable, want: "deadline exceeded", calls: 1},
	} {
		for name, n := range channels {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					made, fresh := 0, 0
					client := roundTrip(func(r *http.Request) (*http.Response, error) {
						s := tt.steps[min(made, len(tt.steps)-1)]
						made++
						if s.err != nil {
							return nil, s.err
						}
						if r.Body != nil {
							if _, err := io.ReadAll(r.Body); err != nil {
								return nil, err
							}
						}
						if r.URL.Host != "service.example" {
							t.Errorf("the secret went to %s", r.URL.Host)
						}
						w := httptest.NewRecorder()
						w.Header().Set("Content-Type", "application/json")
						if s.html {
							w.Header().Set("Content-Type", "text/html; charset=utf-8")
						}
						if s.location != "" {
							w.Header().Set("Location", s.location)
						}
						if s.body == "OK" {
							s.status, s.body = n.status, n.ok
						}
						w.WriteHeader(s.status)
						_, _ = io.WriteString(w, s.body)
						return w.Result(), nil
					})
					secret := func(_ context.Context, again bool) (string, error) {
						if again {
							fresh++
						}
						return "secret-value", nil
					}
					start := time.Now()
					err := n.call(t.Context(), secret, "https://service.example/base", client, message(t, "worse"))
					want := tt.want
					if last := tt.steps[len(tt.steps)-1]; n.anyBody && last.status/100 == 2 && !last.html {
						want = ""
					}
					wantError(t, err, tt.kind, want)
					if made != tt.calls || fresh != tt.fresh {
						t.Errorf("%d calls and %d fresh secrets, want %d and %d", made, fresh, tt.calls, tt.fresh)
					}
					if waited := time.Since(start); waited != 0 {
						t.Errorf("waited %s", waited)
					}
				})
			})
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestSilentServerTimesOut(t *testing.T) {
	t.Parallel()
	for name, n := range channels {
		for _, left := range []time.Duration{0, 2 * time.Second} {
			t.Run(fmt.Sprintf("%s/%s", name, left), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					ctx, want := t.Context(), callTimeout
					if left > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, left)
						defer cancel()
						want = left
					}
					silent := roundTrip(func(r *http.Request) (*http.Response, error) {
						<-r.Context().Done()
						return nil, r.Context().Err()
					})
					start := time.Now()
					err := n.call(ctx, secretOf("secret-value"), "https://service.example", silent, message(t, "worse"))
					wantError(t, err, fault.Unavailable, "deadline exceeded")
					if took := time.Since(start); took != want {
						t.Errorf("it took %s, want %s", took, want)
					}
				})
			})
		}
	}
}

func TestSecretSource(t *testing.T) {
	t.Parallel()
	for name, n := range channels {
		for _, tt := range []struct {
			name   string
			secret Secret
			kind   fault.Kind
			want   string
		}{
			{"empty", secretOf(" \n"), fault.InvalidInput, "store it again"},
			{"two lines", secretOf("secret\nvalue"), fault.InvalidInput, "store it again"},
			{"not ASCII", secretOf("sécret"), fault.InvalidInput, "store it again"},
			{"denied", func(context.Context, bool) (string, error) {
				return "", fault.New(fault.Denied, "read /firstline/key", "AccessDenied")
			}, fault.Denied, "read /firstline/key: AccessDenied"},
			{"throttled", func(context.Context, bool) (string, error) {
				return "", fault.New(fault.Unavailable, "read /firstline/key", "Throttled")
			}, fault.Unavailable, "Throttled"},
			{"late", func(context.Context, bool) (string, error) { return "", context.DeadlineExceeded }, fault.Unavailable, "deadline"},
			{"fresh one is denied", func(_ context.Context, fresh bool) (string, error) {
				if fresh {
					return "", fault.New(fault.Unavailable, "read /firstline/key", "Throttled")
				}
				return "old", nil
			}, fault.Unavailable, "Throttled"},
		} {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				refuses := direct(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
				err := n.call(t.Context(), tt.secret, "https://service.example", refuses, message(t, "worse"))
				wantError(t, err, tt.kind, tt.want)
			})
		}
		t.Run(name+"/trimmed and renewed", func(t *testing.T) {
			t.Parallel()
			var seen []string
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				sent := r.Header.Get("Authorization") + string(body)
				for _, secret := range []string{"old-secret", "new-secret"} {
					key := fmt.Appendf(nil, "%-24s", secret)
					if n.signs && r.Header.Get("Webhook-Signature") == sign(key, r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), body) {
						sent += secret
					}
				}
				seen = append(seen, sent)
				if len(seen) == 1 {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				w.WriteHeader(n.status)
				_, _ = io.WriteString(w, n.ok)
			})
			if err := n.call(t.Context(), secretOf("old-secret\n", " new-secret"), "https://service.example", direct(h), message(t, "worse")); err != nil {
				t.Fatal(err)
			}
			if len(seen) != 2 || !strings.Contains(seen[0], "old-secret") || !strings.Contains(seen[1], "new-secret") || strings.Contains(seen[1], "old-secret") {
				t.Errorf("%d calls", len(seen))
			}
		})
	}
}

// TestNoSecretInErrors is not parallel: it looks at what is logged.
func TestNoSecretInErrors(t *testing.T) {
	var logged bytes.Buffer
	before := log.Writer()
	log.SetOutput(&logged)
	t.Cleanup(func() { log.SetOutput(before) })

	//nolint:gosec // G101: no real secrets
	const secret, renewed = "xoxb-4711/Se+cret=Value", "xoxb-0815/Re+newed=Value"
	forms := []string{
		secret, renewed, "xoxb-4711%2FSe%2Bcret%3DValue", "xoxb-4711%2FSe+cret=Value", "xoxb-0815%2FRe%2Bnewed%3DValue",
		"xoxb-", "hunter2", "query-secret",
	}
	echo := func(status int, format string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			key := strings.TrimPrefix(r.Header.Get("Authorization"), "GenieKey ")
			if _, rest, ok := strings.Cut(string(body), `"routing_key":"`); ok {
				key, _, _ = strings.Cut(rest, `"`)
			}
			if key == "" {
				form, _, _ := strings.Cut(string(body), "&text=")
				_, key, _ = strings.Cut(form, "token=")
			}
			//nolint:gosec // G705: the echo is the point
			_, _ = fmt.Fprintf(w, format, key, strings.ToUpper(key))
		}
	}
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	tests := map[string]struct {
		base string
		h    http.Handler
	}{
		"closed port": {base: closed.URL},
		"no URL":      {base: "https://hunter2%zz"},
		"no host":     {base: "https://"},
		"redirect": {h: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/?token=query-secret", http.StatusFound)
		})},
		"broken answer": {h: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"ok":`)
		})},
		"lost connection": {h: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })},
	}
	for _, status := range []int{200, 202, 400, 401, 403, 404, 422, 429, 500} {
		for i, format := range []string{
			`{"ok":false,"error":"Authorization: %s %s","message":"Authorization: GenieKey %[1]s","errors":{"a":"%[2]s"}}`,
			`{"ok":false,"error":"invalid_arguments","response_metadata":{"messages":["token=%s","%s"]},"message":"GenieKey %[1]s"}`,
			`{"ok":false,"error":"invalid_auth %s %s"}`,
			"Authorization: Bearer %s %s",
			`{"ok":false,"error":"` + strings.Repeat("x", maxError-30) + ` %s","message":"` + strings.Repeat("x", maxError-80) + ` %[2]s"}`,
		} {
			tests[fmt.Sprintf("echo %d/%d", status, i)] = struct {
				base string
				h    http.Handler
			}{h: echo(status, format)}
		}
	}
	for name, n := range channels {
		for test, tt := range tests {
			t.Run(name+"/"+test, func(t *testing.T) {
				base := tt.base
				if tt.h != nil {
					server := httptest.NewServer(tt.h)
					server.Config.ErrorLog = log.New(io.Discard, "", 0)
					t.Cleanup(server.Close)
					base = server.URL
				}
				err := n.call(t.Context(), secretOf(secret, renewed), base, nil, message(t, "worse"))
				if err == nil {
					if n.accepts && strings.HasPrefix(test, "echo 202/") || n.anyBody && strings.HasPrefix(test, "echo 20") {
						return // That is an acceptance.
					}
					t.Fatal("no error")
				}
				if _, ok := errors.AsType[*fault.Error](err); !ok {
					t.Errorf("%T is no fault.Error", err)
				}
				// %+v and %#v too: somebody may log it so.
				for e := err; e != nil; e = errors.Unwrap(e) {
					for _, text := range []string{e.Error(), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e), logged.String()} {
						for _, form := range forms {
							if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
								t.Errorf("%q is in %q", form, text)
							}
						}
						if base != "" && strings.Contains(text, base+"/") {
							t.Errorf("the URL is in %q", text)
						}
					}
				}
			})
		}
	}
}

// A page does not wait for SSM: reading a secret ends after some seconds, and what is
// left of the time is for another way.
func TestSecretIsBounded(t *testing.T) {
	t.Parallel()
	for name, n := range channels {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				stuck := func(ctx context.Context, _ bool) (string, error) {
					<-ctx.Done()
					return "", fault.New(fault.Unavailable, "read secret /firstline/key", "%w", ctx.Err())
				}
				start := time.Now()
				err := n.call(ctx, stuck, "https://service.example", nil, message(t, "worse"))
				wantError(t, err, fault.Unavailable, "read secret /firstline/key: context deadline exceeded")
				if took := time.Since(start); took != secretTimeout {
					t.Errorf("it took %s, want %s", took, secretTimeout)
				}
			})
		})
	}
}

// A rehearsal returns what Page would send, reads the secret past every cache, and
// makes no call that tells anybody. Its errors are Page's.
func TestRehearse(t *testing.T) {
	t.Parallel()
	nobody := roundTrip(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		var body struct {
			pagerDutyEvent
			webhookEvent
		}
		if r.URL.Path == "" || strings.HasSuffix(r.URL.Path, "/enqueue") {
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
		}
		switch {
		case strings.HasSuffix(r.URL.Path, "/auth.test"):
			_, _ = io.WriteString(w, `{"ok":true}`)
		case strings.HasSuffix(r.URL.Path, "/never-made/close"):
			w.WriteHeader(http.StatusAccepted)
		case body.Action == "resolve" && body.DedupKey == neverMade:
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"status":"success"}`)
		case body.Type == "resolved" && body.Data.Alert == neverMade && body.Data.Test:
			w.WriteHeader(http.StatusNotFound)
		default:
			t.Errorf("it called %s", r.URL)
			return nil, errors.New("nobody is to be called")
		}
		return w.Result(), nil
	})
	const base = "https://service.example"
	for name, n := range channels {
		if n.rehearse == nil {
			continue
		}
		for about := range messages {
			var asked []bool
			secret := func(_ context.Context, fresh bool) (string, error) {
				asked = append(asked, fresh)
				return "secret-value", nil
			}
			m := message(t, about)
			text, err := n.rehearse(t.Context(), secret, base, nobody, m)
			if err != nil || len(asked) != 1 || !asked[0] {
				t.Fatalf("%s, %s: %v, the secret was asked for %v", name, about, err, asked)
			}
			r := describe(m)
			a := pagerOf().alert(m)
			e, h := (&pagerDuty{}).trigger(m).Payload, (&webhook{}).event(webhookFiring, m).Data
			if want := []string{r.slackText(), a.Message + "\n" + a.Description, e.Summary + "\n" + e.Details["text"], h.Title + "\n" + h.Text}; !slices.Contains(want, text) {
				t.Errorf("%s, %s: got %q", name, about, text)
			}
			if m.Incident.Dry != strings.HasPrefix(text, dryLabel) || strings.Contains(text, "secret-value") {
				t.Errorf("%s, %s: dry %v: %q", name, about, m.Incident.Dry, text)
			}
		}
		for _, tt := range []struct {
			name   string
			secret Secret
			base   string
			kind   fault.Kind
			want   string
		}{
			{"empty", secretOf(""), base, fault.InvalidInput, "store it again"},
			{"denied", func(context.Context, bool) (string, error) {
				return "", fault.New(fault.Denied, "read /firstline/key", "AccessDenied")
			}, base, fault.Denied, "read /firstline/key: AccessDenied"},
		} {
			text, err := n.rehearse(t.Context(), tt.secret, tt.base, nobody, message(t, "dry"))
			wantError(t, err, tt.kind, tt.want)
			if text != "" {
				t.Errorf("%s, %s: and says %q", name, tt.name, text)
			}
			if sent := n.call(t.Context(), tt.secret, tt.base, nobody, message(t, "dry")); sent == nil || sent.Error() != err.Error() {
				t.Errorf("%s, %s: Page says %v, Rehearse %v", name, tt.name, sent, err)
			}
		}
	}
}
