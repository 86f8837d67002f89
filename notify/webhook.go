package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// webhookCan is what README.md asks of a receiver. Its limits are webhook.schema.json's.
var webhookCan = Capabilities{
	Confirms: true, Notes: true, Resolvable: true, Deduplicates: true,
	Priorities: []string{
		incident.SeverityDownAfterReboot.String(), incident.SeverityDown.String(), incident.SeverityUnknown.String(),
	}, Title: limitTitle, Text: limitDescription,
}

// webhook sends messages to a receiver of the operator's, signed as
// https://www.standardwebhooks.com says.
type webhook struct {
	Type         string `json:"type"`
	URL          string `json:"url"`
	KeyParameter string `json:"key_parameter"`

	secret Secret
	http   http.RoundTripper
}

func makeWebhook(config json.RawMessage, deps Deps) (Pager, error) {
	w := &webhook{http: deps.HTTP}
	err := incident.DecodeStrict(config, w)
	w.secret = deps.secretIn(w.KeyParameter)
	return w, err
}

// Types of event.
const (
	webhookFiring   = "firing"
	webhookNote     = "note"
	webhookResolved = "resolved"
)

// webhookEvent is the body of a call; webhook.schema.json describes it.
type webhookEvent struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      struct {
		Alert      string            `json:"alert"`
		Title      string            `json:"title"`
		Text       string            `json:"text"`
		Severity   string            `json:"severity,omitempty"`
		Situation  string            `json:"situation"`
		Test       bool              `json:"test"`
		Deployment string            `json:"deployment"`
		Region     string            `json:"region"`
		Account    string            `json:"account,omitempty"`
		Instance   string            `json:"instance,omitempty"`
		Name       string            `json:"name,omitempty"`
		Links      map[string]string `json:"links,omitempty"`
	} `json:"data"`
}

// Name is its type.
func (w *webhook) Name() string { return "webhook" }

// Capabilities are the receiver's.
func (w *webhook) Capabilities() Capabilities { return webhookCan }

// event is the message as a receiver gets it.
func (w *webhook) event(kind string, m Message) webhookEvent {
	r := describe(m)
	e := webhookEvent{Type: kind, Timestamp: m.Now.UTC()}
	d := &e.Data
	d.Alert, d.Title, d.Severity, d.Situation = alias(m), r.headline(limitTitle), r.dec.Severity.String(), r.situation
	d.Test, d.Deployment = m.Kind == KindTest, r.deployment
	d.Region, d.Account, d.Instance, d.Name = r.region, r.account, r.instance, r.name
	d.Links = map[string]string{}
	for _, l := range r.links {
		d.Links[strings.ToLower(l.label)] = l.value
	}
	r.links = nil
	d.Text = join(r.lines(), webhookCan.Text)
	return e
}

// messageID is the same for every retry of one message: an execution says one thing
// of an alert per look.
func messageID(kind string, m Message) string {
	look := 0
	if m.Incident.Decision != nil {
		look = m.Incident.Decision.Look
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q %q %d", kind, alias(m), m.Incident.Execution.ID, look))
	return "msg_" + hex.EncodeToString(sum[:16])
}

func (w *webhook) client(do string) *client {
	return newClient(do+" through the webhook", "the webhook secret", w.secret, w.http)
}

// send has the receiver take an event.
func (w *webhook) send(ctx context.Context, do, kind string, m Message) (confirmed bool, err error) {
	c, e, id := w.client(do), w.event(kind, m), messageID(kind, m)
	err = c.deliver(ctx, func() (r *refusal) {
		confirmed, r = w.post(ctx, c, id, e)
		return r
	})
	return confirmed, err
}

// post makes one call. What is not for machines, as the page of a login in between, is
// no receiver's answer.
func (w *webhook) post(ctx context.Context, c *client, id string, e webhookEvent) (confirmed bool, r *refusal) {
	key, err := webhookKey(c.key)
	if err != nil {
		return false, refuse(fault.InvalidInput, "%s %w: store it again", c.what, err)
	}
	body, _ := json.Marshal(e) // of texts: it cannot fail
	sent := strconv.FormatInt(time.Now().Unix(), 10)
	a, r := c.send(ctx, http.MethodPost, w.URL, map[string]string{
		"Content-Type": "application/json", "User-Agent": "firstline",
		"Webhook-Id": id, "Webhook-Timestamp": sent, "Webhook-Signature": sign(key, id, sent, body),
	}, body)
	if r != nil {
		return false, r
	}
	isHTML := strings.Contains(strings.ToLower(a.Header.Get("Content-Type")), "html")
	switch {
	case a.ok() && isHTML:
		return false, refuse(fault.Unavailable, "the answer, %s, is a page for people: is the configured address right?", a)
	case a.ok():
		return a.StatusCode != http.StatusAccepted, nil
	}
	said := string(a.body)
	if isHTML {
		said = ""
	}
	r = a.refused(incident.ClipLine(said, 200))
	r.noAlert = e.Type != webhookFiring && (a.StatusCode == http.StatusNotFound || a.StatusCode == http.StatusGone)
	if r.auth {
		r.err = fmt.Errorf("%w: store the secret that the receiver knows", r.err)
	}
	return false, r
}

// webhookKey is the key in a secret of the form that Standard Webhooks has for one.
func webhookKey(secret string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(secret, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("is not whsec_ and the base64 of 24 to 64 bytes")
	}
	return key, nil
}

// sign is the value of the header Webhook-Signature.
func sign(key []byte, id, sent string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, sent, body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Rehearse is as Pager says: it resolves an alert that was never made.
func (w *webhook) Rehearse(ctx context.Context, m Message) (string, error) {
	page := w.event(webhookFiring, m).Data
	m.Kind, m.Alert.Alias = KindResolve, neverMade
	never := w.event(webhookResolved, m)
	never.Data.Title, never.Data.Text, never.Data.Test = triedIt, triedIt, true
	c := w.client("page")
	err := c.rehearse(ctx, func() *refusal {
		_, r := w.post(ctx, c, messageID(webhookResolved, m), never)
		if r != nil && r.noAlert {
			return nil
		}
		return r
	})
	if err != nil {
		return "", err
	}
	return page.Title + "\n" + page.Text, nil
}

// Page says that an alert fires. It is confirmed unless the receiver says that it
// cannot tell (202).
func (w *webhook) Page(ctx context.Context, m Message) (Delivery, error) {
	confirmed, err := w.send(ctx, "page", webhookFiring, m)
	return Delivery{Confirmed: confirmed}, err
}

// Note adds to the alert.
func (w *webhook) Note(ctx context.Context, m Message) error {
	confirmed, err := w.send(ctx, addNote, webhookNote, m)
	return noteTaken(addNote+" through the webhook", confirmed, err)
}

// Resolve says that the alert has ended.
func (w *webhook) Resolve(ctx context.Context, m Message) error {
	_, err := w.close(ctx, m)
	return err
}

func (w *webhook) close(ctx context.Context, m Message) (confirmed bool, err error) {
	return w.send(ctx, "resolve the alert", webhookResolved, m)
}

// Open is not for a webhook.
func (w *webhook) Open(context.Context, string) (bool, error) { return false, errors.ErrUnsupported }

// Test fires an alert that is marked as a test, and resolves it.
func (w *webhook) Test(ctx context.Context, m Message) (Delivery, error) {
	return makeAndClose(ctx, "the webhook's receiver", m, w.Page, w.close)
}
