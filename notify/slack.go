package notify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// Slack posts to one channel.
type Slack struct {
	// Token returns the bot token, which needs the scope chat:write.
	Token Secret
	// ChannelID is the channel's id (C0123456789), not its name. The app must
	// have been invited to it.
	ChannelID string
	// APIURL is the API's base URL: https, or http on loopback. Empty means
	// Slack's own.
	APIURL string
	// HTTP makes the calls; nil means a client with time-outs of its own.
	// Redirects are never followed.
	HTTP *http.Client
}

const (
	opSlack    = "tell Slack"
	slackToken = "the Slack token"
)

// post is a message as Slack gets it.
type post struct {
	api    string
	text   string
	blocks []slack.Block
	// quiet keeps a reply out of the channel: it is there for whoever follows the
	// thread.
	quiet bool
}

// compose makes a post of a message, or says what of the settings is not right.
func (s *Slack) compose(m Message) (post, error) {
	if m.Incident == nil && m.Kind != KindTest {
		return post{}, fault.New(fault.Internal, opSlack, "there is no incident to tell about")
	}
	if s.ChannelID == "" {
		return post{}, fault.New(fault.InvalidInput, opSlack, "the channel id is missing: set slack.channel_id, such as C0123456789")
	}
	p := post{api: slack.APIURL}
	if s.APIURL != "" {
		base, err := baseURL(s.APIURL)
		if err != nil {
			return post{}, fault.New(fault.InvalidInput, opSlack, "the API URL is not usable: %w; use https, or http on loopback", err)
		}
		p.api = base + "/"
	}
	r := describe(m)
	p.text, p.blocks, p.quiet = r.slackText(), r.slackBlocks(), r.dec.Note
	return p, nil
}

// Rehearse returns the text that Post would post, with Post's errors of the
// settings and the token. It makes no call.
func (s *Slack) Rehearse(ctx context.Context, m Message) (string, error) {
	p, err := s.compose(m)
	if err != nil {
		return "", err
	}
	if err := rehearse(ctx, opSlack, slackToken, s.Token); err != nil {
		return "", err
	}
	return p.text, nil
}

// Post posts the message once, as a reply in its thread if it has one, and returns
// the thread it is in. A reply that is more than a note shows in the channel too.
// Where that thread is gone it begins a new one, and where Slack
// takes no blocks it posts the text. InvalidInput and Denied errors name what would
// cure them; Unavailable ones are worth a retry, of which Slack may make a second
// post if it was an answer that got lost. The thread's TS is empty if Slack took the
// post and did not say what it is called.
func (s *Slack) Post(ctx context.Context, m Message) (incident.Thread, error) {
	return s.post(ctx, m, true)
}

func (s *Slack) post(ctx context.Context, m Message, lenient bool) (incident.Thread, error) {
	p, err := s.compose(m)
	if err != nil {
		return incident.Thread{}, err
	}
	in, blocks := m.Thread, true
	if in != nil && in.TS == "" {
		in = nil
	}
	var posted incident.Thread
	err = s.deliver(ctx, p, func(ctx context.Context, client *slack.Client, tap *slackTap) *refusal {
		for {
			channel, options := s.ChannelID, p.options(blocks)
			if in != nil {
				channel, options = cmp.Or(in.Channel, s.ChannelID), append(options, slack.MsgOptionTS(in.TS))
				if !p.quiet {
					options = append(options, slack.MsgOptionBroadcast())
				}
			}
			_, _, err := client.PostMessageContext(ctx, channel, options...)
			r := tap.outcome(err)
			switch {
			case r == nil && in != nil:
				posted = *in
				return nil
			case r == nil:
				posted = tap.thread(channel)
				return nil
			case in != nil && (threadGone[r.code] || channel != s.ChannelID && channelGone[r.code]):
				in = nil
			case blocks && lenient && blocksRefused[r.code]:
				blocks = false
			default:
				return r
			}
		}
	})
	return posted, err
}

// Test posts a message that says it is a test, with all of its blocks or not at all.
// It stays.
func (s *Slack) Test(ctx context.Context, m Message) (Delivery, error) {
	m.Kind, m.Thread = KindTest, nil
	posted, err := s.post(ctx, m, false)
	if err != nil {
		return Delivery{}, err
	}
	return Delivery{Confirmed: true, Detail: "posted to " + posted.Channel + " as " + cmp.Or(posted.TS, "?")}, nil
}

// deliver makes calls with a client of Slack.
func (s *Slack) deliver(ctx context.Context, p post, call func(context.Context, *slack.Client, *slackTap) *refusal) error {
	c := newCaller(s.HTTP)
	defer c.close()
	return deliver(ctx, opSlack, slackToken, s.Token, func(ctx context.Context, token string) *refusal {
		tap := &slackTap{caller: c}
		client := slack.New(token, slack.OptionHTTPClient(tap), slack.OptionAPIURL(p.api),
			slack.OptionLog(log.New(io.Discard, "", 0)))
		return call(ctx, client, tap)
	})
}

// options are what a post consists of.
func (p post) options(blocks bool) []slack.MsgOption {
	shown := []slack.Block{}
	if blocks {
		shown = p.blocks
	}
	return []slack.MsgOption{
		slack.MsgOptionText(p.text, false),
		slack.MsgOptionBlocks(shown...),
		slack.MsgOptionParse(false),
		slack.MsgOptionDisableLinkUnfurl(),
		slack.MsgOptionDisableMediaUnfurl(),
	}
}

// Errors after which something else is tried.
var (
	// threadGone: there is no such thread any more, or none to reply in.
	threadGone = map[string]bool{
		"thread_not_found": true, "message_not_found": true, "invalid_thread_ts": true, "cannot_reply_to_message": true,
		"restricted_action_thread_locked": true, "restricted_action_non_threadable_channel": true,
	}
	// channelGone: of a thread in a channel that is not the configured one any more.
	channelGone = map[string]bool{"channel_not_found": true, "not_in_channel": true, "is_archived": true}
	// blocksRefused: the text alone may pass.
	blocksRefused = map[string]bool{"invalid_blocks": true, "invalid_blocks_format": true, "msg_blocks_too_long": true}
)

// slackTap is the client below slack-go. It keeps the answer, since slack-go
// takes an answer without "ok" and without "error" for a success.
type slackTap struct {
	caller *caller
	answer *answer
	lost   *refusal
}

// outcome is what became of the call just made; err is slack-go's.
func (t *slackTap) outcome(err error) *refusal {
	switch {
	case t.lost != nil:
		return t.lost
	case t.answer != nil:
		return slackRefusal(t.answer)
	case err != nil:
		return refuse(fault.Internal, "build the request: %w", err)
	}
	return refuse(fault.Internal, "the request was not sent")
}

// thread is the thread that the message just posted begins.
func (t *slackTap) thread(channel string) incident.Thread {
	var said struct {
		Channel string `json:"channel"`
		TS      string `json:"ts"`
	}
	// It was posted, whatever else the answer holds.
	_ = json.Unmarshal(t.answer.body, &said)
	return incident.Thread{Channel: cmp.Or(truncate(oneLine(said.Channel), 50), channel), TS: truncate(oneLine(said.TS), 50)}
}

func (t *slackTap) Do(req *http.Request) (*http.Response, error) {
	t.answer, t.lost = nil, nil
	a, r := t.caller.do(req)
	if r != nil {
		t.lost = r
		return nil, r
	}
	t.answer = a
	return &http.Response{
		StatusCode: a.status, Status: http.StatusText(a.status), Header: a.header,
		Body: io.NopCloser(bytes.NewReader(a.body)), Request: req,
	}, nil
}

// slackCures are Slack's permanent errors with what cures them. Codes are from
// the reference of chat.postMessage.
var slackCures = map[string]struct {
	kind fault.Kind
	auth bool
	cure string
}{
	"invalid_auth":                          {fault.Denied, true, "renew the token"},
	"not_authed":                            {fault.Denied, true, "store the app's bot token"},
	"token_expired":                         {fault.Denied, true, "renew the token"},
	"token_revoked":                         {fault.Denied, true, "renew the token"},
	"account_inactive":                      {fault.Denied, true, "the token's app or workspace is gone: install the app again and store its new token"},
	"missing_scope":                         {fault.Denied, false, "give the app the scope chat:write, install it again and store its token"},
	"no_permission":                         {fault.Denied, false, "give the app the scope chat:write, install it again and store its token"},
	"not_allowed_token_type":                {fault.Denied, false, "store a bot token (xoxb-…)"},
	"access_denied":                         {fault.Denied, false, "let the app post to this channel"},
	"team_access_not_granted":               {fault.Denied, false, "let the app into the channel's workspace"},
	"ekm_access_denied":                     {fault.Denied, false, "an administrator suspended posting"},
	"org_login_required":                    {fault.Denied, false, "the workspace is moving to an organization: renew the token afterwards"},
	"restricted_action":                     {fault.Denied, false, "a workspace setting forbids the app to post: an administrator can change it"},
	"channel_not_found":                     {fault.InvalidInput, false, "invite the app to the channel and check slack.channel_id: it is an id, not a name"},
	"not_in_channel":                        {fault.InvalidInput, false, "invite the app to the channel"},
	"is_archived":                           {fault.InvalidInput, false, "the channel is archived: restore it or set slack.channel_id to another"},
	"channel_is_limited_access":             {fault.Denied, false, "a setting of the channel keeps the app from posting: an administrator can change it"},
	"restricted_action_read_only_channel":   {fault.Denied, false, "the channel is read-only: let the app post there, or set slack.channel_id to another"},
	"restricted_action_thread_only_channel": {fault.Denied, false, "the channel takes replies only: set slack.channel_id to another"},
	"message_limit_exceeded":                {fault.Denied, false, "the workspace is over its limit of messages: an administrator can change its plan"},
	"msg_too_long":                          {fault.InvalidInput, false, "this is a fault of firstline: please report it"},
	"msg_blocks_too_long":                   {fault.InvalidInput, false, "this is a fault of firstline: please report it"},
	"invalid_blocks_format":                 {fault.InvalidInput, false, "this is a fault of firstline: please report it"},
	"invalid_blocks":                        {fault.InvalidInput, false, "this is a fault of firstline: please report it"},
	"no_text":                               {fault.InvalidInput, false, "this is a fault of firstline: please report it"},
}

// slackTransient are Slack's errors that pass by themselves.
var slackTransient = map[string]bool{
	"ratelimited":         true,
	"rate_limited":        true,
	"internal_error":      true,
	"fatal_error":         true,
	"request_timeout":     true,
	"service_unavailable": true,
	"team_added_to_org":   true,
}

func slackRefusal(a *answer) *refusal {
	var said struct {
		OK       bool   `json:"ok"`
		Error    string `json:"error"`
		Needed   string `json:"needed"`
		Metadata struct {
			Messages []string `json:"messages"`
		} `json:"response_metadata"`
	}
	err := json.Unmarshal(a.body, &said)
	if a.status < 200 || a.status > 299 {
		if err != nil || a.html() {
			said.Error = ""
		}
		return a.refused(said.Error)
	}
	switch {
	case err != nil || a.html():
		return refuse(fault.Unavailable, "the answer is not Slack's: %s that is not its JSON", a.contentType())
	case said.OK:
		return nil
	case said.Error == "":
		return refuse(fault.Unavailable, "the answer says neither ok nor an error")
	}
	code := truncate(oneLine(said.Error), 80)
	if slackTransient[code] {
		r := refuse(fault.Unavailable, "%s", code)
		if code == "ratelimited" || code == "rate_limited" {
			r.limited, r.after = true, a.retryAfter(time.Now())
		}
		return r
	}
	known, ok := slackCures[code]
	if !ok {
		words := append([]string{code}, said.Metadata.Messages...)
		r := refuse(fault.InvalidInput, "%s", truncate(oneLine(strings.Join(words, ": ")), maxServerWords))
		r.code = code
		return r
	}
	r := refuse(known.kind, "%s: %s", code, known.cure)
	r.auth, r.code = known.auth, code
	return r
}
