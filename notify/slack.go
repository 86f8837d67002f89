package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"firstline/internal/fault"
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
}

// compose makes a post of a message, or says what of the settings is not right.
func (s *Slack) compose(m Message) (post, error) {
	if m.Incident == nil {
		return post{}, fault.New(fault.Internal, opSlack, "there is no incident to tell about")
	}
	if s.ChannelID == "" {
		return post{}, fault.New(fault.InvalidInput, opSlack, "the channel id is missing: set slack.channel_id, such as C0123456789")
	}
	p := post{api: slack.APIURL}
	if s.APIURL != "" {
		base, err := baseURL(s.APIURL)
		if err != nil {
			return post{}, fault.New(fault.InvalidInput, opSlack, "the API URL is not usable: %w: want https, or http on loopback", err)
		}
		p.api = base + "/"
	}
	r := describe(m)
	text, sections := r.slack()
	p.text, p.blocks = text, make([]slack.Block, 0, len(sections))
	for _, section := range sections {
		// Verbatim: Slack is not to make links or mentions of what it finds.
		object := slack.NewTextBlockObject(slack.MarkdownType, section, false, true)
		p.blocks = append(p.blocks, slack.NewSectionBlock(object, nil, nil))
	}
	return p, nil
}

// Rehearse returns the text that Send would post, with Send's errors of the
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

// Send posts the message once. InvalidInput and Denied errors name what would
// cure them; Unavailable ones are worth a retry, of which Slack may make a
// second post if it was an answer that got lost.
func (s *Slack) Send(ctx context.Context, m Message) error {
	p, err := s.compose(m)
	if err != nil {
		return err
	}
	c := newCaller(s.HTTP)
	defer c.close()
	return deliver(ctx, opSlack, slackToken, s.Token, func(ctx context.Context, token string) *refusal {
		tap := &slackTap{caller: c}
		client := slack.New(token, slack.OptionHTTPClient(tap), slack.OptionAPIURL(p.api),
			slack.OptionLog(log.New(io.Discard, "", 0)))
		_, _, err := client.PostMessageContext(ctx, s.ChannelID,
			slack.MsgOptionText(p.text, false),
			slack.MsgOptionBlocks(p.blocks...),
			slack.MsgOptionParse(false),
			slack.MsgOptionDisableLinkUnfurl(),
			slack.MsgOptionDisableMediaUnfurl(),
		)
		switch {
		case tap.lost != nil:
			return tap.lost
		case tap.answer != nil:
			return slackRefusal(tap.answer)
		case err != nil:
			return refuse(fault.Internal, "build the request: %w", err)
		default:
			return refuse(fault.Internal, "the request was not sent")
		}
	})
}

// slackTap is the client below slack-go. It keeps the answer, since slack-go
// takes an answer without "ok" and without "error" for a success.
type slackTap struct {
	caller *caller
	answer *answer
	lost   *refusal
}

func (t *slackTap) Do(req *http.Request) (*http.Response, error) {
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
	"invalid_auth":            {fault.Denied, true, "renew the token"},
	"not_authed":              {fault.Denied, true, "store the app's bot token"},
	"token_expired":           {fault.Denied, true, "renew the token"},
	"token_revoked":           {fault.Denied, true, "renew the token"},
	"account_inactive":        {fault.Denied, true, "the token's app or workspace is gone: install the app again and store its new token"},
	"missing_scope":           {fault.Denied, false, "give the app the scope chat:write, install it again and store its token"},
	"no_permission":           {fault.Denied, false, "give the app the scope chat:write, install it again and store its token"},
	"not_allowed_token_type":  {fault.Denied, false, "store a bot token (xoxb-…)"},
	"access_denied":           {fault.Denied, false, "let the app post to this channel"},
	"team_access_not_granted": {fault.Denied, false, "let the app into the channel's workspace"},
	"ekm_access_denied":       {fault.Denied, false, "an administrator suspended posting"},
	"org_login_required":      {fault.Denied, false, "the workspace is moving to an organization: renew the token afterwards"},
	"restricted_action":       {fault.Denied, false, "a workspace setting forbids the app to post: an administrator can change it"},
	"channel_not_found":       {fault.InvalidInput, false, "invite the app to the channel and check slack.channel_id: it is an id, not a name"},
	"not_in_channel":          {fault.InvalidInput, false, "invite the app to the channel"},
	"is_archived":             {fault.InvalidInput, false, "the channel is archived: restore it or set slack.channel_id to another"},
	"msg_too_long":            {fault.InvalidInput, false, "this is a fault of firstline: please report it"},
	"invalid_blocks":          {fault.InvalidInput, false, "this is a fault of firstline: please report it"},
	"no_text":                 {fault.InvalidInput, false, "this is a fault of firstline: please report it"},
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
		return refuse(fault.InvalidInput, "%s", truncate(oneLine(strings.Join(words, ": ")), maxServerWords))
	}
	r := refuse(known.kind, "%s: %s", code, known.cure)
	r.auth = known.auth
	return r
}
