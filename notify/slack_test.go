package notify

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slacktest"

	"firstline/internal/fault"
)

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
	for _, g := range goldens(t) {
		posted = nil
		s := &Slack{Token: secretOf("xoxb-1"), ChannelID: "C0123456789", APIURL: server.GetAPIURL()}
		if err := s.Send(t.Context(), g.message); err != nil {
			t.Fatalf("%s: %v", g.name, err)
		}
		if len(posted) != 1 {
			t.Fatalf("%s: %d posts", g.name, len(posted))
		}
		form := posted[0]
		for key, want := range map[string]string{"channel": "C0123456789", "token": "xoxb-1", "parse": "none", "unfurl_links": "false", "unfurl_media": "false", "link_names": ""} {
			if got := form.Get(key); got != want {
				t.Errorf("%s: %s is %q, want %q", g.name, key, got, want)
			}
		}
		var blocks slack.Blocks
		if err := json.Unmarshal([]byte(form.Get("blocks")), &blocks); err != nil {
			t.Fatal(err)
		}
		r := describe(g.message)
		text, sections := r.slack()
		if form.Get("text") != text || len(blocks.BlockSet) != len(sections) {
			t.Errorf("%s: %d blocks, text %q", g.name, len(blocks.BlockSet), form.Get("text"))
		}
		for i, block := range blocks.BlockSet {
			section, ok := block.(*slack.SectionBlock)
			if !ok || section.Text.Text != sections[i] || !section.Text.Verbatim {
				t.Errorf("%s: block %d is %+v", g.name, i, block)
			}
		}
	}
}

// The server as slack-go made it, whose answers have no JSON content type.
func TestSlackStockServer(t *testing.T) {
	t.Parallel()
	server := slacktest.NewTestServer()
	server.Start()
	t.Cleanup(server.Stop)
	s := &Slack{Token: secretOf("xoxb-1"), ChannelID: "C0123456789", APIURL: strings.TrimSuffix(server.GetAPIURL(), "/")}
	if err := s.Send(t.Context(), message(t, "recovered")); err != nil {
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
		{`{"ok":false,"error":"invalid_auth"}`, fault.Denied, "renew the token", 2},
		{`{"ok":false,"error":"not_authed"}`, fault.Denied, "token", 2},
		{`{"ok":false,"error":"token_revoked"}`, fault.Denied, "renew the token", 2},
		{`{"ok":false,"error":"token_expired"}`, fault.Denied, "renew the token", 2},
		{`{"ok":false,"error":"account_inactive"}`, fault.Denied, "install the app again", 2},
		{`{"ok":false,"error":"missing_scope","needed":"chat:write"}`, fault.Denied, "chat:write", 1},
		{`{"ok":false,"error":"not_in_channel"}`, fault.InvalidInput, "invite the app to the channel", 1},
		{`{"ok":false,"error":"channel_not_found"}`, fault.InvalidInput, "invite the app to the channel", 1},
		{`{"ok":false,"error":"is_archived"}`, fault.InvalidInput, "archived", 1},
		{`{"ok":false,"error":"msg_too_long"}`, fault.InvalidInput, "msg_too_long", 1},
		{`{"ok":false,"error":"invalid_blocks","response_metadata":{"messages":["x"]}}`, fault.InvalidInput, "invalid_blocks", 1},
		{`{"ok":false,"error":"brand_new","response_metadata":{"messages":["[ERROR] must be\nso"]}}`, fault.InvalidInput, "brand_new: [ERROR] must be so", 1},
		{`{"ok":false,"error":"internal_error"}`, fault.Unavailable, "internal_error", 1},
		{`{"ok":false,"error":"fatal_error"}`, fault.Unavailable, "fatal_error", 1},
		{`{"ok":false,"error":"ratelimited"}`, fault.Unavailable, "ratelimited", 1},
		{`{"ok":false}`, fault.Unavailable, "neither ok nor an error", 1},
		{`{}`, fault.Unavailable, "neither ok nor an error", 1},
		{`{"ok":"yes"}`, fault.Unavailable, "not Slack's", 1},
		{`[]`, fault.Unavailable, "not Slack's", 1},
		// It was posted: what else the answer holds is no reason to post again.
		{`{"ok":true,"message":{"blocks":[{"type":7}]}}`, "", "", 1},
	} {
		calls := 0
		client := direct(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			calls++
			_, _ = io.WriteString(w, tt.body)
		}))
		s := &Slack{Token: secretOf("xoxb-1"), ChannelID: "C0123456789", HTTP: client}
		wantError(t, s.Send(t.Context(), message(t, "recovered")), tt.kind, tt.want)
		if calls != tt.calls {
			t.Errorf("%s: %d calls, want %d", tt.body, calls, tt.calls)
		}
	}
}

func TestSlackInvalidSettings(t *testing.T) {
	t.Parallel()
	s := &Slack{Token: secretOf("xoxb-1")}
	wantError(t, s.Send(t.Context(), message(t, "recovered")), fault.InvalidInput, "slack.channel_id")
	s = &Slack{Token: secretOf("xoxb-1"), ChannelID: "C1", APIURL: "http://slack.example"}
	wantError(t, s.Send(t.Context(), message(t, "recovered")), fault.InvalidInput, "want https, or http on loopback")
}
