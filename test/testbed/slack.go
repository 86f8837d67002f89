package testbed

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// SlackChannel is the channel that a played Slack has unless it is told of others.
const SlackChannel = "C0123456789"

// Limits of a message's text, in characters: the reference of chat.postMessage.
const (
	maxText     = 40_000
	advisedText = 4_000
)

// NewSlack plays Slack's chat.postMessage, auth.test and conversations.info for one
// token and some channels; without any, for SlackChannel. It refuses what Slack's reference does
// not allow, and names the field.
func NewSlack(ctx context.Context, token string, channels ...string) (*Service, error) {
	s := &Service{channels: channels}
	if len(channels) == 0 {
		s.channels = []string{SlackChannel}
	}
	mux := http.NewServeMux()
	handle := func(method string, known []string, h func(w http.ResponseWriter, fields map[string]string)) {
		mux.HandleFunc("POST /api/"+method, func(w http.ResponseWriter, r *http.Request) {
			fields, err := slackFields(r)
			if err != nil {
				s.wrong(w, "invalid_form_data", err.Error())
				return
			}
			if r.Header.Get("Authorization") != "Bearer "+token && fields["token"] != token {
				notOK(w, "invalid_auth")
				return
			}
			delete(fields, "token")
			for name := range fields {
				// Slack takes no notice of them: a name that is spelt wrong loses a
				// value without a word.
				if !slices.Contains(known, name) {
					s.wrong(w, "invalid_arguments", "[ERROR] unknown argument: "+name)
					return
				}
			}
			w.Header().Set("X-Oauth-Scopes", "chat:write,channels:read,groups:read")
			if slices.Contains(known, "channel") && !slices.Contains(s.channels, fields["channel"]) {
				notOK(w, "channel_not_found")
				return
			}
			h(w, fields)
		})
	}
	handle("chat.postMessage", []string{
		"channel", "text", "blocks", "thread_ts", "reply_broadcast", "unfurl_links", "unfurl_media", "parse", "link_names", "mrkdwn", "metadata",
		"icon_emoji", "icon_url", "username", "as_user",
	}, s.post)
	handle("auth.test", nil, func(w http.ResponseWriter, _ map[string]string) {
		reply(w, http.StatusOK, map[string]any{"ok": true, "user": "firstline"})
	})
	handle("conversations.info", []string{"channel"}, func(w http.ResponseWriter, fields map[string]string) {
		reply(w, http.StatusOK, map[string]any{"ok": true, "channel": map[string]any{"id": fields["channel"], "is_member": true}})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { s.wrong(w, "unknown_method") })
	if err := s.start(ctx, mux); err != nil {
		return nil, err
	}
	s.URL += "/api/"
	return s, nil
}

// notOK answers as Slack does when it refuses.
func notOK(w http.ResponseWriter, code string, messages ...string) {
	answer := map[string]any{"ok": false, "error": code}
	if len(messages) > 0 {
		answer["response_metadata"] = map[string]any{"messages": messages}
	}
	reply(w, http.StatusOK, answer)
}

// wrong refuses what is in a request.
func (s *Service) wrong(w http.ResponseWriter, code string, messages ...string) {
	s.refused(code, messages...)
	notOK(w, code, messages...)
}

// message reads a message's text and blocks, or refuses them.
func (s *Service) message(w http.ResponseWriter, fields map[string]string) (m Received, ok bool) {
	m = Received{Text: fields["text"], Channel: fields["channel"], Body: fields["text"] + "\n" + fields["blocks"]}
	if n := utf8.RuneCountInString(m.Text); n > maxText {
		s.wrong(w, "msg_too_long", fmt.Sprintf("[ERROR] text has %d characters, and at most %d are allowed", n, maxText))
		return m, false
	} else if n > advisedText {
		m.Warnings = append(m.Warnings, fmt.Sprintf("text has %d characters, and at most %d are advised", n, advisedText))
	}
	if fields["blocks"] == "" {
		if m.Text == "" {
			s.wrong(w, "no_text")
			return m, false
		}
		return m, true
	}
	var blocks []any
	if err := json.Unmarshal([]byte(fields["blocks"]), &blocks); err != nil {
		s.wrong(w, "invalid_blocks_format", "[ERROR] blocks is no list in JSON: "+err.Error())
		return m, false
	}
	if len(blocks) == 0 && m.Text == "" {
		s.wrong(w, "no_text")
		return m, false
	}
	if wrong := checkBlocks(blocks); len(wrong) > 0 {
		s.wrong(w, "invalid_blocks", wrong...)
		return m, false
	}
	if m.Text == "" {
		m.Warnings = append(m.Warnings, "text is empty: a notification has nothing to show")
	}
	m.Blocks = json.RawMessage(fields["blocks"])
	return m, true
}

// tsForm is what the name of a message looks like.
var tsForm = regexp.MustCompile(`^\d{10}\.\d{6}$`)

// post answers chat.postMessage.
func (s *Service) post(w http.ResponseWriter, fields map[string]string) {
	m, ok := s.message(w, fields)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if thread, given := fields["thread_ts"]; given {
		if !tsForm.MatchString(thread) {
			notOK(w, "invalid_thread_ts", fmt.Sprintf("[ERROR] %s is not a valid thread_ts", thread))
			return
		}
		root := s.posted(m.Channel, thread)
		switch {
		case root == nil:
			// Slack takes it, and nobody ever sees it.
			notOK(w, "thread_not_found", fmt.Sprintf("[ERROR] there is no message %s in %s", thread, m.Channel))
			return
		case root.ThreadTS != "":
			notOK(w, "cannot_reply_to_message", fmt.Sprintf("[ERROR] %s is an answer itself, in the thread %s", thread, root.ThreadTS))
			return
		}
		m.ThreadTS = thread
	}
	now := time.Now()
	m.At = now
	m.TS = fmt.Sprintf("1700000000.%06d", len(s.received)+1)
	s.received = append(s.received, m)
	answer := map[string]any{"type": "message", "text": m.Text, "ts": m.TS}
	if m.ThreadTS != "" {
		answer["thread_ts"] = m.ThreadTS
	}
	reply(w, http.StatusOK, map[string]any{"ok": true, "channel": m.Channel, "ts": m.TS, "message": answer})
}

// posted is a message by its name, nil for none.
func (s *Service) posted(channel, ts string) *Received {
	i := slices.IndexFunc(s.received, func(m Received) bool { return m.Channel == channel && m.TS == ts })
	if i < 0 {
		return nil
	}
	return &s.received[i]
}

// slackFields reads a form or a JSON body, as Slack does.
func slackFields(r *http.Request) (map[string]string, error) {
	body := text(r)
	fields := map[string]string{}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			return nil, err
		}
		for k, v := range m {
			var plain string
			if json.Unmarshal(v, &plain) != nil {
				plain = string(v)
			}
			fields[k] = plain
		}
		return fields, nil
	}
	r.Body = io.NopCloser(bytes.NewReader([]byte(body)))
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	for k := range r.PostForm {
		fields[k] = r.PostForm.Get(k)
	}
	return fields, nil
}

// checker looks at blocks, and gathers what Slack does not allow in them.
type checker struct{ wrong []string }

// checkBlocks says what is wrong with the blocks of a message: the reference of
// Block Kit.
func checkBlocks(blocks []any) []string {
	const most = 50
	c := &checker{}
	if len(blocks) > most {
		c.say("/blocks", "no more than %d items allowed, and there are %d", most, len(blocks))
	}
	ids := map[string]bool{}
	for n, b := range blocks {
		at := fmt.Sprintf("/blocks/%d", n)
		block, ok := b.(map[string]any)
		if !ok {
			c.say(at, "must be an object")
			continue
		}
		c.block(at, block)
		if id, _ := block["block_id"].(string); id != "" {
			if ids[id] {
				c.say(at+"/block_id", "block_id %q already exists", id)
			}
			ids[id] = true
		}
	}
	return c.wrong
}

func (c *checker) say(at, format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf("[ERROR] "+format+" [json-pointer:%s]", append(args, at)...))
}

// known says which fields an object has that it may not have.
func (c *checker) known(at string, object map[string]any, fields ...string) {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(fields, name) {
			c.say(at, "invalid additional property: %s", name)
		}
	}
}

func (c *checker) block(at string, b map[string]any) {
	kind, _ := b["type"].(string)
	c.chars(at+"/block_id", b["block_id"], 255)
	switch kind {
	case "header":
		c.known(at, b, "type", "block_id", "text", "level")
		c.text(at+"/text", b["text"], 150, "plain_text")
	case "section":
		c.known(at, b, "type", "block_id", "text", "fields", "accessory", "expand")
		if b["text"] == nil && b["fields"] == nil {
			c.say(at, "must define either `text` or `fields`")
		}
		if b["text"] != nil {
			c.text(at+"/text", b["text"], 3000)
		}
		if b["fields"] != nil {
			for n, field := range c.list(at+"/fields", b["fields"], 10) {
				c.text(fmt.Sprintf("%s/fields/%d", at, n), field, 2000)
			}
		}
		if b["accessory"] != nil {
			c.element(at+"/accessory", b["accessory"], map[string]bool{})
		}
	case "context":
		c.known(at, b, "type", "block_id", "elements")
		for n, e := range c.list(at+"/elements", b["elements"], 10) {
			c.text(fmt.Sprintf("%s/elements/%d", at, n), e, 3000)
		}
	case "actions":
		c.known(at, b, "type", "block_id", "elements")
		ids := map[string]bool{}
		for n, e := range c.list(at+"/elements", b["elements"], 25) {
			c.element(fmt.Sprintf("%s/elements/%d", at, n), e, ids)
		}
	case "divider":
		c.known(at, b, "type", "block_id")
	default:
		c.say(at+"/type", "unsupported type: %s (known here are header, section, context, actions and divider)", cmp.Or(kind, "none"))
	}
}

// element looks at a button, the only element that is known here. Its action_id
// must be another than those of the block's others.
func (c *checker) element(at string, e any, ids map[string]bool) {
	button, ok := e.(map[string]any)
	if kind, _ := button["type"].(string); !ok || kind != "button" {
		c.say(at+"/type", "unsupported type: %v (known here is button)", button["type"])
		return
	}
	c.known(at, button, "type", "text", "action_id", "url", "value", "style", "confirm", "accessibility_label")
	c.text(at+"/text", button["text"], 75, "plain_text")
	c.chars(at+"/action_id", button["action_id"], 255)
	c.chars(at+"/value", button["value"], 2000)
	c.chars(at+"/accessibility_label", button["accessibility_label"], 75)
	c.chars(at+"/url", button["url"], 3000)
	if address, given := button["url"].(string); given {
		if u, err := url.Parse(address); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			c.say(at+"/url", "must be a valid URL")
		}
	}
	if style, given := button["style"]; given && style != "primary" && style != "danger" {
		c.say(at+"/style", "must be primary or danger")
	}
	if id, _ := button["action_id"].(string); id != "" {
		if ids[id] {
			c.say(at+"/action_id", "action_id %q already exists in this block", id)
		}
		ids[id] = true
	}
}

// list looks at a list that must have 1 item, and most at most.
func (c *checker) list(at string, v any, most int) []any {
	items, ok := v.([]any)
	switch {
	case !ok:
		c.say(at, "must be an array")
	case len(items) == 0:
		c.say(at, "no fewer than 1 item allowed")
	case len(items) > most:
		c.say(at, "no more than %d items allowed, and there are %d", most, len(items))
	}
	return items
}

// chars looks at a string that need not be there.
func (c *checker) chars(at string, v any, most int) {
	if v == nil {
		return
	}
	text, ok := v.(string)
	if n := utf8.RuneCountInString(text); !ok || n == 0 {
		c.say(at, "must be a string that is not empty")
	} else if n > most {
		c.say(at, "must be less than %d characters, and there are %d", most+1, n)
	}
}

// text looks at a text object: plain_text or mrkdwn, unless just some kinds are
// allowed.
func (c *checker) text(at string, v any, most int, kinds ...string) {
	if len(kinds) == 0 {
		kinds = []string{"plain_text", "mrkdwn"}
	}
	object, ok := v.(map[string]any)
	if !ok {
		c.say(at, "missing required field, or no text object")
		return
	}
	kind, _ := object["type"].(string)
	if !slices.Contains(kinds, kind) {
		c.say(at+"/type", "must be %s, and is %s", strings.Join(kinds, " or "), cmp.Or(kind, "missing"))
	}
	if kind == "mrkdwn" {
		c.known(at, object, "type", "text", "verbatim")
	} else {
		c.known(at, object, "type", "text", "emoji")
	}
	if object["text"] == nil {
		c.say(at+"/text", "missing required field: text")
	}
	c.chars(at+"/text", object["text"], most)
}
