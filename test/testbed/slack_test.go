package testbed

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// slackSaid is Slack's answer.
type slackSaid struct {
	OK        bool
	Error, TS string
	Metadata  struct{ Messages []string } `json:"response_metadata"`
}

// call calls a method with a form, as an app does.
func call(t *testing.T, s *Service, method string, pairs ...string) slackSaid {
	t.Helper()
	form := url.Values{"channel": {SlackChannel}}
	for pair := range slices.Chunk(pairs, 2) {
		form.Set(pair[0], pair[1])
	}
	got := do(t, http.MethodPost, s.URL+method, "Bearer "+testToken, "application/x-www-form-urlencoded", form.Encode())
	var said slackSaid
	if err := json.Unmarshal([]byte(got.body), &said); got.err != nil || err != nil || got.status != 200 {
		t.Fatalf("%+v: %v", got, err)
	}
	return said
}

func TestBlocks(t *testing.T) {
	s := playedSlack(t)
	type object = map[string]any
	plain := func(n int) object {
		return object{"type": "plain_text", "text": strings.Repeat("ü", n), "emoji": true}
	}
	markdown := func(n int) object { return object{"type": "mrkdwn", "text": strings.Repeat("x", n), "verbatim": true} }
	section := func(text any) object { return object{"type": "section", "text": text} }
	fields := func(count, n int) object {
		var all []any
		for range count {
			all = append(all, markdown(n))
		}
		return object{"type": "section", "fields": all}
	}
	button := func(more object) object {
		b := object{"type": "button", "text": plain(75), "action_id": strings.Repeat("i", 255), "url": "https://example.com/x"}
		maps.Copy(b, more)
		return b
	}
	actions := func(buttons ...object) object { return object{"type": "actions", "elements": buttons} }
	many := func(n int, o object) (all []object) {
		for range n {
			all = append(all, o)
		}
		return all
	}
	var buttons []object
	for n := range 26 {
		buttons = append(buttons, button(object{"action_id": fmt.Sprint(n)}))
	}
	for name, tt := range map[string]struct {
		blocks any
		at     string // where something is wrong; "" where nothing is
	}{
		"all kinds": {[]object{
			{"type": "header", "text": plain(150), "block_id": "h"},
			section(markdown(3000)), fields(10, 2000),
			{"type": "divider"},
			{"type": "context", "elements": []object{markdown(3000)}},
			actions(button(nil), button(object{"action_id": "other", "style": "danger"})),
		}, ""},
		"50":                        {many(50, object{"type": "divider"}), ""},
		"51":                        {many(51, object{"type": "divider"}), "/blocks"},
		"no object":                 {[]any{"x"}, "/blocks/0"},
		"no type":                   {[]object{{"text": plain(1)}}, "/blocks/0/type"},
		"unknown type":              {[]object{{"type": "table"}}, "/blocks/0/type"},
		"unknown field":             {[]object{{"type": "divider", "text": plain(1)}}, "/blocks/0"},
		"long header":               {[]object{{"type": "header", "text": plain(151)}}, "/blocks/0/text/text"},
		"header in markdown":        {[]object{{"type": "header", "text": markdown(5)}}, "/blocks/0/text/type"},
		"header without text":       {[]object{{"type": "header"}}, "/blocks/0/text"},
		"section without a thing":   {[]object{{"type": "section"}}, "/blocks/0"},
		"empty section":             {[]object{section(markdown(0))}, "/blocks/0/text/text"},
		"long section":              {[]object{{"type": "divider"}, section(plain(3001))}, "/blocks/1/text/text"},
		"emoji in markdown":         {[]object{section(object{"type": "mrkdwn", "text": "x", "emoji": true})}, "/blocks/0/text"},
		"11 fields":                 {[]object{fields(11, 1)}, "/blocks/0/fields"},
		"long field":                {[]object{fields(2, 2001)}, "/blocks/0/fields/0/text"},
		"no fields":                 {[]object{{"type": "section", "fields": []any{}}}, "/blocks/0/fields"},
		"empty context":             {[]object{{"type": "context", "elements": []any{}}}, "/blocks/0/elements"},
		"11 in a context":           {[]object{{"type": "context", "elements": many(11, markdown(1))}}, "/blocks/0/elements"},
		"25 buttons":                {[]object{actions(buttons[:25]...)}, ""},
		"26 buttons":                {[]object{actions(buttons...)}, "/blocks/0/elements"},
		"long button":               {[]object{actions(button(object{"text": plain(76)}))}, "/blocks/0/elements/0/text/text"},
		"button in markdown":        {[]object{actions(button(object{"text": markdown(5)}))}, "/blocks/0/elements/0/text/type"},
		"url of 3000":               {[]object{actions(button(object{"url": "https://example.com/" + strings.Repeat("x", 2980)}))}, ""},
		"long url":                  {[]object{actions(button(object{"url": "https://example.com/" + strings.Repeat("x", 2981)}))}, "/blocks/0/elements/0/url"},
		"no url":                    {[]object{actions(button(object{"url": "example"}))}, "/blocks/0/elements/0/url"},
		"long action_id":            {[]object{actions(button(object{"action_id": strings.Repeat("i", 256)}))}, "/blocks/0/elements/0/action_id"},
		"empty action_id":           {[]object{actions(button(object{"action_id": ""}))}, "/blocks/0/elements/0/action_id"},
		"action_id twice":           {[]object{actions(button(nil), button(nil))}, "/blocks/0/elements/1/action_id"},
		"action_id in other blocks": {[]object{actions(button(nil)), actions(button(nil))}, ""},
		"style":                     {[]object{actions(button(object{"style": "default"}))}, "/blocks/0/elements/0/style"},
		"block_id twice":            {[]object{{"type": "divider", "block_id": "x"}, {"type": "divider", "block_id": "x"}}, "/blocks/1/block_id"},
		"long block_id":             {[]object{{"type": "divider", "block_id": strings.Repeat("x", 256)}}, "/blocks/0/block_id"},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := json.Marshal(tt.blocks)
			if err != nil {
				t.Fatal(err)
			}
			said := call(t, s, "chat.postMessage", "text", "fallback", "blocks", string(raw))
			if tt.at == "" {
				if !said.OK {
					t.Errorf("%+v", said)
				}
				return
			}
			if m := strings.Join(said.Metadata.Messages, "\n"); said.OK || said.Error != "invalid_blocks" || !strings.Contains(m, "[json-pointer:"+tt.at+"]") {
				t.Errorf("%+v", said)
			}
		})
	}
	if said := call(t, s, "chat.postMessage", "text", "x", "blocks", `{"blocks": []}`); said.Error != "invalid_blocks_format" {
		t.Errorf("%+v", said)
	}
}

func TestSlackRefuses(t *testing.T) {
	s := playedSlack(t)
	root := call(t, s, "chat.postMessage", "text", "root")
	answer := call(t, s, "chat.postMessage", "text", "answer", "thread_ts", root.TS)
	for name, tt := range map[string]struct {
		method string
		pairs  []string
		want   string
	}{
		"another channel":        {"chat.postMessage", []string{"channel", "C9", "text", "x"}, "channel_not_found"},
		"a channel's name":       {"chat.postMessage", []string{"channel", "#alerts", "text", "x"}, "channel_not_found"},
		"no text":                {"chat.postMessage", nil, "no_text"},
		"no text and no blocks":  {"chat.postMessage", []string{"blocks", "[]"}, "no_text"},
		"40,001":                 {"chat.postMessage", []string{"text", strings.Repeat("ü", 40_001)}, "msg_too_long"},
		"40,000":                 {"chat.postMessage", []string{"text", strings.Repeat("ü", 40_000)}, ""},
		"blocks only":            {"chat.postMessage", []string{"blocks", `[{"type": "divider"}]`}, ""},
		"a thread of nobody":     {"chat.postMessage", []string{"text", "x", "thread_ts", "1600000000.000001"}, "thread_not_found"},
		"no name of a thread":    {"chat.postMessage", []string{"text", "x", "thread_ts", "0"}, "invalid_thread_ts"},
		"an answer to an answer": {"chat.postMessage", []string{"text", "x", "thread_ts", answer.TS}, "cannot_reply_to_message"},
		"spelt wrong":            {"chat.postMessage", []string{"text", "x", "threadTs", root.TS}, "invalid_arguments"},
		"a post with a ts":       {"chat.postMessage", []string{"text", "x", "ts", root.TS}, "invalid_arguments"},
		"another method":         {"chat.shout", nil, "unknown_method"},
	} {
		t.Run(name, func(t *testing.T) {
			if said := call(t, s, tt.method, tt.pairs...); said.Error != tt.want || said.OK != (tt.want == "") {
				t.Errorf("%+v, want %q", said, tt.want)
			}
		})
	}
	for _, m := range s.Received(strings.Repeat("ü", 4001)) {
		if len(m.Warnings) != 1 {
			t.Errorf("warnings: %q", m.Warnings)
		}
	}
	if got := do(t, http.MethodPost, s.URL+"chat.postMessage", "Bearer other", "application/x-www-form-urlencoded", "channel=C0123456789&text=x"); !strings.Contains(got.body, "invalid_auth") {
		t.Errorf("%+v", got)
	}
}

func TestThread(t *testing.T) {
	s := playedSlack(t)
	// JSON is taken too.
	body := fmt.Sprintf(`{"channel": %q, "text": "down", "blocks": [{"type": "divider"}]}`, SlackChannel)
	got := do(t, http.MethodPost, s.URL+"chat.postMessage", "Bearer "+testToken, "application/json; charset=utf-8", body)
	var root slackSaid
	if err := json.Unmarshal([]byte(got.body), &root); err != nil || !root.OK || root.TS == "" {
		t.Fatalf("%+v, %v", got, err)
	}
	call(t, s, "chat.postMessage", "text", "another instance")
	call(t, s, "chat.postMessage", "text", "down still", "thread_ts", root.TS)
	all := s.Received()
	if diff := cmp.Diff([]string{"down", "another instance", "down still"}, texts(all)); diff != "" {
		t.Error(diff)
	}
	if all[0].ThreadTS != "" || all[1].ThreadTS != "" || all[2].ThreadTS != root.TS || string(all[0].Blocks) != `[{"type": "divider"}]` {
		t.Errorf("%+v", all)
	}
}
