package notify

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slacktest"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// slackFaults is what Slack would refuse a message for, and what would make a link or
// a mention of text from outside: the references of blocks and composition objects.
func slackFaults(text string, blocks []slack.Block) []string {
	var faults []string
	check := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	is := func(what, s string, most int) {
		n := utf8.RuneCountInString(s)
		check(n == 0 || n > most || !utf8.ValidString(s), "%s has %d characters, 1 to %d are allowed, in UTF-8: %.50q", what, n, most, s)
		check(strings.ContainsAny(s, "<>"), "%s has a link or a mention: %q", what, s)
	}
	object := func(what string, o *slack.TextBlockObject, kind string, most int) {
		is(what, o.Text, most)
		check(o.Type != kind, "%s is %s, not %s", what, o.Type, kind)
		check(kind == slack.MarkdownType && !o.Verbatim, "%s is not verbatim", what)
	}
	is("the text", text, 4000)
	check(len(blocks) == 0 || len(blocks) > 50, "%d blocks", len(blocks))
	for i, block := range blocks {
		what := fmt.Sprintf("block %d", i)
		switch block := block.(type) {
		case *slack.HeaderBlock:
			check(i > 0, "a header below the top")
			object(what, block.Text, slack.PlainTextType, 150)
		case *slack.SectionBlock:
			check(block.Text == nil && len(block.Fields) == 0 || len(block.Fields) > 10, "%s: no text, and %d fields", what, len(block.Fields))
			if block.Text != nil {
				object(what, block.Text, slack.MarkdownType, 3000)
			}
			for _, f := range block.Fields {
				object(what+" field", f, slack.MarkdownType, 2000)
			}
		case *slack.ActionBlock:
			n := len(block.Elements.ElementSet)
			check(n == 0 || n > 25, "%d buttons", n)
			ids := map[string]bool{}
			for _, e := range block.Elements.ElementSet {
				b, ok := e.(*slack.ButtonBlockElement)
				if !ok {
					check(true, "%T is no button", e)
					continue
				}
				object(what+" button", b.Text, slack.PlainTextType, 75)
				is(what+" URL", b.URL, 3000)
				check(b.ActionID == "" || len(b.ActionID) > 255 || ids[b.ActionID], "action_id %q", b.ActionID)
				ids[b.ActionID] = true
			}
		case *slack.ContextBlock:
			n := len(block.ContextElements.Elements)
			check(n == 0 || n > 10, "%d elements", n)
			for _, e := range block.ContextElements.Elements {
				o, ok := e.(*slack.TextBlockObject)
				if !ok {
					check(true, "%T is no text", e)
					continue
				}
				object(what, o, slack.MarkdownType, 3000)
			}
		default:
			check(true, "%T", block)
		}
	}
	return faults
}

// TestSlackServer posts to slack-go's own server.
func TestSlackServer(t *testing.T) {
	t.Parallel()
	var posted []url.Values
	server := slacktest.NewTestServer(func(c slacktest.Customize) {
		c.Handle("/chat.postMessage", func(w http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err != nil {
				t.Error(err)
			}
			posted = append(posted, r.PostForm)
			//nolint:gosec // G705: a test's own answer
			_, _ = fmt.Fprintf(w, `{"ok":true,"channel":%q,"ts":"1.2"}`, r.PostForm.Get("channel"))
		})
	})
	server.Start()
	t.Cleanup(server.Stop)
	s := &Slack{Token: secretOf("xoxb-1"), ChannelID: "C0123456789", APIURL: server.GetAPIURL()}
	for name := range messages {
		for _, in := range []*incident.Thread{nil, {Channel: "C9876543210", TS: "7.8"}} {
			m := message(t, name)
			m.Thread = in
			posted = nil
			thread, err := s.Post(t.Context(), m)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want := map[string]string{"token": "xoxb-1", "parse": "none", "unfurl_links": "false", "unfurl_media": "false", "link_names": "", "channel": "C0123456789", "thread_ts": "", "reply_broadcast": ""}
			root := incident.Thread{Channel: "C0123456789", TS: "1.2"}
			if in != nil {
				want["channel"], want["thread_ts"], root = in.Channel, in.TS, *in
				if dec := m.Incident.Decision; dec == nil || !dec.Note {
					want["reply_broadcast"] = "true"
				}
			}
			if len(posted) != 1 || thread != root {
				t.Fatalf("%s: %d posts, thread %+v", name, len(posted), thread)
			}
			for key, want := range want {
				if got := posted[0].Get(key); got != want {
					t.Errorf("%s: %s is %q, want %q", name, key, got, want)
				}
			}
			var blocks slack.Blocks
			if err := json.Unmarshal([]byte(posted[0].Get("blocks")), &blocks); err != nil {
				t.Fatal(err)
			}
			r := describe(m)
			if diff := cmp.Diff(shown(t, r.slackBlocks()), shown(t, blocks.BlockSet)); diff != "" || posted[0].Get("text") != r.slackText() {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

// What Slack has no more, or does not take, does not keep a message from being read.
func TestSlackFallsBack(t *testing.T) {
	t.Parallel()
	thread := &incident.Thread{Channel: "C0123456789", TS: "7.8"}
	elsewhere := &incident.Thread{Channel: "C9876543210", TS: "7.8"}
	for _, tt := range []struct {
		name    string
		thread  *incident.Thread
		refuses func(form url.Values) string
		want    []string // the posts: channel, thread, whether with blocks
		err     string
		in      incident.Thread
	}{
		{"the thread is gone", thread, func(f url.Values) string {
			return map[bool]string{true: "thread_not_found"}[f.Get("thread_ts") != ""]
		}, []string{"C0123456789 7.8 true", "C0123456789  true"}, "", incident.Thread{Channel: "C0123456789", TS: "1.2"}},
		{"the channel was changed", elsewhere, func(f url.Values) string {
			return map[bool]string{true: "not_in_channel"}[f.Get("channel") == "C9876543210"]
		}, []string{"C9876543210 7.8 true", "C0123456789  true"}, "", incident.Thread{Channel: "C0123456789", TS: "1.2"}},
		{"not in the channel", thread, func(url.Values) string { return "not_in_channel" }, []string{"C0123456789 7.8 true", "C0123456789  true"}, "invite the app to the channel", incident.Thread{}},
		{"no blocks", thread, func(f url.Values) string {
			return map[bool]string{true: "invalid_blocks"}[f.Has("blocks")]
		}, []string{"C0123456789 7.8 true", "C0123456789 7.8 false"}, "", *thread},
		{"neither", thread, func(f url.Values) string {
			if f.Get("thread_ts") != "" {
				return "message_not_found"
			}
			return map[bool]string{true: "msg_blocks_too_long"}[f.Has("blocks")]
		}, []string{"C0123456789 7.8 true", "C0123456789  true", "C0123456789  false"}, "", incident.Thread{Channel: "C0123456789", TS: "1.2"}},
		{"a thread without a name", &incident.Thread{Channel: "C0123456789"}, func(url.Values) string { return "" }, []string{"C0123456789  true"}, "", incident.Thread{Channel: "C0123456789", TS: "1.2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []string
			s := &Slack{Token: secretOf("xoxb-1"), ChannelID: "C0123456789", HTTP: direct(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := r.ParseForm(); err != nil {
					t.Error(err)
				}
				got = append(got, fmt.Sprint(r.PostForm.Get("channel"), " ", r.PostForm.Get("thread_ts"), " ", r.PostForm.Has("blocks")))
				if code := tt.refuses(r.PostForm); code != "" {
					_, _ = fmt.Fprintf(w, `{"ok":false,"error":%q}`, code)
					return
				}
				//nolint:gosec // G705: a test's own answer
				_, _ = fmt.Fprintf(w, `{"ok":true,"channel":%q,"ts":"1.2"}`, r.PostForm.Get("channel"))
			}))}
			m := message(t, "note")
			m.Thread = tt.thread
			in, err := s.Post(t.Context(), m)
			wantError(t, err, fault.InvalidInput, tt.err)
			if diff := cmp.Diff(tt.want, got); diff != "" || in != tt.in {
				t.Errorf("thread %+v, posts (-want +got):\n%s", in, diff)
			}
		})
	}
}

// A page that Slack takes wakes whom the setting names, in a message of its own: with
// blocks, without them, and in what a notification shows.
func TestSlackMentions(t *testing.T) {
	t.Parallel()
	for whom, want := range map[string]string{"": "<!channel>", "channel": "<!channel>", "here": "<!here>", "U012AB3CD": "<@U012AB3CD>", "W012AB3CD": "<@W012AB3CD>", "S012AB3CD": "<!subteam^S012AB3CD>"} {
		m := message(t, "down-after-reboot")
		m.Kind, m.Thread = KindSlack, &incident.Thread{Channel: "C0123456789", TS: "7.8"}
		for _, m.Mention = range []bool{false, true} {
			form := (&Slack{ChannelID: "C0123456789", Mention: whom}).form(m)
			var blocks slack.Blocks
			if err := json.Unmarshal([]byte(form.Get("blocks")), &blocks); err != nil {
				t.Fatal(err)
			}
			// The mention is all that these hold of Slack's control characters.
			text, all := strings.TrimPrefix(form.Get("text"), want+" "), blocks.BlockSet
			if m.Mention {
				all = slices.Delete(slices.Clone(all), 1, 2)
			}
			if faults := slackFaults(text, all); len(faults) > 0 {
				t.Errorf("Slack would refuse: %v", faults)
			}
			inBlocks := strings.Contains(shown(t, blocks.BlockSet), "[section] "+want+"\n")
			if inBlocks != m.Mention || strings.HasPrefix(form.Get("text"), want+" ") != m.Mention || form.Has("thread_ts") == m.Mention || form.Has("reply_broadcast") == m.Mention {
				t.Errorf("%s: mention %v: %v", whom, m.Mention, form)
			}
		}
	}
}

// A test of Slack has all of its blocks, or is an error.
func TestSlackTest(t *testing.T) {
	t.Parallel()
	answering := func(body string) *Slack {
		return &Slack{Token: secretOf("xoxb-1"), ChannelID: "C0123456789", HTTP: direct(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, body)
		}))}
	}
	d, err := answering(`{"ok":true,"channel":"C0123456789","ts":"1700000000.000001"}`).Test(t.Context(), message(t, "test"))
	if err != nil || !d.Confirmed || d.Detail != "posted to C0123456789 as 1700000000.000001" {
		t.Errorf("%+v, %v", d, err)
	}
	_, err = answering(`{"ok":false,"error":"invalid_blocks"}`).Test(t.Context(), message(t, "test"))
	wantError(t, err, fault.InvalidInput, "invalid_blocks")
}

// The server as slack-go made it, whose answers have no JSON content type.
func TestSlackStockServer(t *testing.T) {
	t.Parallel()
	server := slacktest.NewTestServer()
	server.Start()
	t.Cleanup(server.Stop)
	s := &Slack{Token: secretOf("xoxb-1"), ChannelID: "C0123456789", APIURL: strings.TrimSuffix(server.GetAPIURL(), "/")}
	if _, err := s.Post(t.Context(), message(t, "recovered")); err != nil {
		t.Fatal(err)
	}
}

func TestSlackErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		body  string
		kind  fault.Kind
		want  string
		calls int
	}{
		{`{"ok":false,"error":"invalid_auth"}`, fault.Denied, "install it again and store its bot token", 2},
		{`{"ok":false,"error":"not_authed"}`, fault.Denied, "install it again and store its bot token", 2},
		{`{"ok":false,"error":"token_revoked"}`, fault.Denied, "install it again and store its bot token", 2},
		{`{"ok":false,"error":"token_expired"}`, fault.Denied, "install it again and store its bot token", 2},
		{`{"ok":false,"error":"account_inactive"}`, fault.Denied, "install it again and store its bot token", 2},
		{`{"ok":false,"error":"missing_scope","needed":"chat:write"}`, fault.Denied, "chat:write", 2},
		{`{"ok":false,"error":"not_in_channel"}`, fault.InvalidInput, "invite the app to the channel", 1},
		{`{"ok":false,"error":"channel_not_found"}`, fault.InvalidInput, "invite the app to the channel", 1},
		{`{"ok":false,"error":"restricted_action_read_only_channel"}`, fault.Denied, "a setting of the channel", 1},
		{`{"ok":false,"error":"is_archived"}`, fault.InvalidInput, "archived", 1},
		{`{"ok":false,"error":"msg_too_long"}`, fault.InvalidInput, "msg_too_long", 1},
		{`{"ok":false,"error":"invalid_blocks","response_metadata":{"messages":["x"]}}`, fault.InvalidInput, "invalid_blocks", 2},
		{`{"ok":false,"error":"brand_new","response_metadata":{"messages":["[ERROR] must be\nso"]}}`, fault.InvalidInput, "brand_new: [ERROR] must be so", 1},
		{`{"ok":false,"error":"internal_error"}`, fault.Unavailable, "internal_error", 1},
		{`{"ok":false,"error":"fatal_error"}`, fault.Unavailable, "fatal_error", 1},
		{`{"ok":false,"error":"ratelimited"}`, fault.Unavailable, "ratelimited", 1},
		{`{"ok":false}`, fault.Unavailable, "neither ok nor an error", 1},
		{`{}`, fault.Unavailable, "neither ok nor an error", 1},
		{`{"ok":"yes"}`, fault.Unavailable, "neither ok nor an error", 1},
		{`[]`, fault.Unavailable, "neither ok nor an error", 1},
		// It was posted: what else the answer holds is no reason to post again.
		{`{"ok":true,"message":{"blocks":[{"type":7}]}}`, "", "", 1},
	} {
		calls := 0
		client := direct(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			calls++
			_, _ = io.WriteString(w, tt.body)
		}))
		s := &Slack{Token: secretOf("xoxb-1"), ChannelID: "C0123456789", HTTP: client}
		_, err := s.Post(t.Context(), message(t, "recovered"))
		wantError(t, err, tt.kind, tt.want)
		if calls != tt.calls {
			t.Errorf("%s: %d calls, want %d", tt.body, calls, tt.calls)
		}
	}
}

// A rehearsal has Slack take the token, and finds out that the app is not in the
// channel where the token's scopes let it.
func TestSlackRehearse(t *testing.T) {
	t.Parallel()
	const reads = "chat:write,channels:read,groups:read"
	for _, tt := range []struct {
		name, scopes, auth, info string
		kind                     fault.Kind
		want                     string
	}{
		{"a token of nobody's", "", `{"ok":false,"error":"invalid_auth"}`, "", fault.Denied, "invalid_auth: give the app the scope chat:write"},
		{"a token that may not post", "channels:read", `{"ok":true}`, "", fault.Denied, "missing_scope"},
		{"a token that may post alone", "chat:write", `{"ok":true}`, "", "", ""},
		{"one scope is not enough to tell", "chat:write, channels:read", `{"ok":true}`, "", "", ""},
		{"scopes that are not told", "", `{"ok":true}`, "", "", ""},
		{"in the channel", reads, `{"ok":true}`, `{"ok":true,"channel":{"is_member":true,"is_private":true}}`, "", ""},
		{"not in the channel", reads, `{"ok":true}`, `{"ok":true,"channel":{"is_member":false}}`, fault.InvalidInput, "not_in_channel: invite the app"},
		{"not in a channel that is open to it", reads + ",chat:write.public", `{"ok":true}`, `{"ok":true,"channel":{"is_member":false}}`, "", ""},
		{"not in a private channel", reads + ",chat:write.public", `{"ok":true}`, `{"ok":true,"channel":{"is_private":true}}`, fault.InvalidInput, "not_in_channel"},
		{"no such channel", reads, `{"ok":true}`, `{"ok":false,"error":"channel_not_found"}`, fault.InvalidInput, "channel_not_found"},
		{"an archived channel", reads, `{"ok":true}`, `{"ok":true,"channel":{"is_member":true,"is_archived":true}}`, fault.InvalidInput, "is_archived"},
		{"Slack is down", "", `<html>`, "", fault.Unavailable, "neither ok nor an error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			slack := &Slack{Token: secretOf("xoxb-1"), ChannelID: "C0123456789", HTTP: roundTrip(func(r *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				w.Header().Set("X-OAuth-Scopes", tt.scopes)
				answer := map[string]string{"/api/auth.test": tt.auth, "/api/conversations.info": tt.info}[r.URL.Path]
				if answer == "" {
					t.Errorf("it called %s", r.URL)
				}
				_, _ = io.WriteString(w, answer)
				return w.Result(), nil
			})}
			_, err := slack.Rehearse(t.Context(), message(t, "worse"))
			if tt.want == "" && err != nil || tt.want != "" && (fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %s %q", err, tt.kind, tt.want)
			}
		})
	}
}
