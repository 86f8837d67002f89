package testbed

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fields of a message to the webhook: notify/webhook.schema.json.
var (
	webhookFields = map[string]rule{"type": oneOf("firing", "note", "resolved"), "timestamp": moment, "data": holding(webhookData, "alert", "title", "text", "situation", "test", "deployment", "region")}
	webhookData   = map[string]rule{
		"alert": chars(512), "title": chars(120), "text": chars(15_000), "situation": chars(40), "test": flag,
		"severity":   oneOf("down-after-reboot", "down", "unknown"),
		"deployment": chars(50), "region": chars(24), "account": chars(40), "instance": chars(40), "name": chars(256), "links": details(15_000),
	}
)

// signedFor is how old a signature may be: a message that somebody has kept is not
// to be sent again.
const signedFor = 5 * time.Minute

// NewWebhook plays a receiver of the signed webhook, as notify/README.md asks for one.
// It answers 200 when a message is carried out; with a lag (see SetLag) 202, and
// carries it out afterwards.
func NewWebhook(ctx context.Context, secret string) (*Service, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return nil, fmt.Errorf("the webhook's secret: %w", err)
	}
	s := &Service{messages: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /firstline", func(w http.ResponseWriter, r *http.Request) { s.receive(w, r, key) })
	err = s.start(ctx, mux)
	s.URL += "/firstline"
	return s, err
}

// receive takes a message. The same one again is answered alike and not carried out
// again.
func (s *Service) receive(w http.ResponseWriter, r *http.Request, key []byte) {
	body := text(r)
	turnDown := func(status int, name, what string) {
		s.refused(name, what)
		http.Error(w, name+" "+what, status)
	}
	if name, what := unsigned(r.Header, key, body); what != "" {
		turnDown(http.StatusUnauthorized, name, what)
		return
	}
	fields, status, what := object(r, body)
	if what != "" {
		turnDown(status, "body", what)
		return
	}
	for name, what := range wrong(fields, webhookFields, "type", "timestamp", "data") {
		turnDown(http.StatusUnprocessableEntity, name, what)
		return
	}
	var m struct {
		Type string
		Data struct{ Alert, Title, Text, Deployment string }
	}
	_ = json.Unmarshal([]byte(body), &m) // the fields are as they should be
	id, about := r.Header.Get("webhook-id"), m.Type+" "+m.Data.Alert
	s.mu.Lock()
	s.catchUp()
	earlier, a, done := s.messages[id], s.openAlert(m.Data.Alert), http.StatusOK
	if s.lag > 0 {
		done = http.StatusAccepted
	}
	if earlier == "" && (a != nil || m.Type == "firing") {
		s.messages[id] = about
	}
	s.mu.Unlock()
	switch {
	case earlier != "" && earlier != about:
		turnDown(http.StatusConflict, "webhook-id", "is that of another message")
		return
	case earlier == "" && a == nil && m.Type != "firing":
		http.Error(w, "no such alert is open", http.StatusNotFound)
		return
	case earlier == "":
		said := Received{Text: m.Data.Title + "\n" + m.Data.Text, Alias: m.Data.Alert, Source: m.Data.Deployment, Body: body}
		s.accept(&accepted{body: body, action: m.Type, do: func() (string, *alert) { return "", s.carryOut(m.Type, said) }})
	}
	w.WriteHeader(done)
}

// carryOut does what a message to the webhook is for. s.mu is held.
func (s *Service) carryOut(kind string, said Received) *alert {
	a := s.openAlert(said.Alias)
	switch {
	case kind == "firing":
		return s.page(said)
	case a == nil: // closed meanwhile
	case kind == "note":
		s.note(a, said)
	default:
		s.close(a, said)
	}
	return a
}

// unsigned says what is wrong with a message's signature, and which header has it: the
// Standard Webhooks specification, "Verifying webhook authenticity".
func unsigned(h http.Header, key []byte, body string) (header, what string) {
	id, at := h.Get("webhook-id"), h.Get("webhook-timestamp")
	if id == "" || strings.Contains(id, ".") {
		return "webhook-id", fmt.Sprintf("is %q, and a text without a full stop is wanted", id)
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if age := time.Since(time.Unix(seconds, 0)); err != nil || age.Abs() > signedFor {
		return "webhook-timestamp", fmt.Sprintf("is %q, and the seconds since 1970 of now are wanted", at)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + at + "." + body))
	wanted := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if !slices.ContainsFunc(strings.Fields(h.Get("webhook-signature")), func(signature string) bool { return hmac.Equal([]byte(signature), []byte(wanted)) }) {
		return "webhook-signature", "is not that of this message"
	}
	return "", ""
}
