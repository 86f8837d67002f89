package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// Slack's limits, in characters: the references of blocks and of composition objects.
// All blocks together may have about 13,200.
const (
	limitSlackText    = 3900 // of about 4,000
	limitSlackHeader  = 150
	limitSlackSection = 3000
)

// Slack posts to one channel.
type Slack struct {
	// Token returns the bot token, which needs the scope chat:write.
	Token Secret
	// ChannelID is the channel's id (C0123456789), not its name. The app must
	// have been invited to it.
	ChannelID string
	// Mention is whom a page mentions that no pager has taken: "channel", "here", a user's
	// id (U…, W…) or a user group's (S…); empty: "channel".
	Mention string
	// APIURL is the API's base URL; empty means Slack's own.
	APIURL string
	// HTTP makes the calls; nil: see newClient.
	HTTP http.RoundTripper
}

func (s *Slack) client() *client { return newClient("tell Slack", "the Slack token", s.Token, s.HTTP) }

// Rehearse is as Pager says. Whether the app may post in the channel shows where the
// token has the scopes to read that.
func (s *Slack) Rehearse(ctx context.Context, m Message) (string, error) {
	c := s.client()
	if err := c.rehearse(ctx, func() *refusal { return s.try(ctx, c) }); err != nil {
		return "", err
	}
	return describe(m).slackText(), nil
}

// try asks whose the token is, which needs no scope, and whether the app is in the
// channel, which needs scopes that firstline has no other use for.
func (s *Slack) try(ctx context.Context, c *client) *refusal {
	a, _, r := s.call(ctx, c, "auth.test", url.Values{})
	if r != nil {
		return r
	}
	header := a.Header.Get("X-Oauth-Scopes")
	scopes := strings.FieldsFunc(header, func(r rune) bool { return r == ',' || r == ' ' })
	if header != "" && !slices.Contains(scopes, "chat:write") {
		return slackRefusal("missing_scope")
	}
	// With one of both, a channel of the other kind may seem not to be there.
	if !slices.Contains(scopes, "channels:read") || !slices.Contains(scopes, "groups:read") {
		return nil
	}
	if a, _, r = s.call(ctx, c, "conversations.info", url.Values{"channel": {s.ChannelID}}); r != nil {
		return r
	}
	var said struct {
		Channel struct {
			IsMember   bool `json:"is_member"`
			IsPrivate  bool `json:"is_private"`
			IsIM       bool `json:"is_im"`
			IsArchived bool `json:"is_archived"`
		} `json:"channel"`
	}
	_ = json.Unmarshal(a.body, &said)
	open := slices.Contains(scopes, "chat:write.public") && !said.Channel.IsPrivate
	switch {
	case said.Channel.IsArchived:
		return slackRefusal("is_archived")
	case !said.Channel.IsMember && !said.Channel.IsIM && !open:
		return slackRefusal("not_in_channel")
	}
	return nil
}

// call calls a method of Slack's. posted is what its answer says of a post.
func (s *Slack) call(ctx context.Context, c *client, method string, form url.Values) (a *answer, posted incident.Thread, r *refusal) {
	form.Set("token", c.key)
	address := strings.TrimRight(cmp.Or(s.APIURL, slack.APIURL), "/") + "/" + method
	if a, r = c.send(ctx, http.MethodPost, address, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, []byte(form.Encode())); r == nil {
		posted, r = slackAnswer(a)
	}
	return a, posted, r
}

// Post posts the message once, as a reply in its thread if it has one, and returns
// the thread it is in, whose TS is empty if Slack did not say what the post is called.
// What Slack refuses for good is tried again without blocks if they are the reason,
// and else without the thread, which may be gone: a message must get through. A
// retry after an Unavailable error may make a second post, if an answer got lost.
func (s *Slack) Post(ctx context.Context, m Message) (incident.Thread, error) {
	c, form := s.client(), s.form(m)
	var posted incident.Thread
	err := c.deliver(ctx, func() (r *refusal) {
		for {
			_, posted, r = s.call(ctx, c, "chat.postMessage", form)
			switch {
			case r == nil || r.auth || r.kind == fault.Unavailable || m.Kind == KindTest:
				return r
			case form.Has("blocks") && strings.Contains(r.err.Error(), "blocks"):
				form.Del("blocks")
			case form.Has("thread_ts"):
				form.Set("channel", s.ChannelID)
				form.Del("thread_ts")
				form.Del("reply_broadcast")
			default:
				return r
			}
		}
	})
	if err == nil && form.Has("thread_ts") {
		return *m.Thread, nil
	}
	return posted, err
}

// mention is whom a page wakes, in Slack's markup
// (https://docs.slack.dev/messaging/formatting-message-text/).
func (s *Slack) mention() string {
	switch whom := cmp.Or(s.Mention, "channel"); {
	case whom == "channel" || whom == "here":
		return "<!" + whom + ">"
	case strings.HasPrefix(whom, "S"):
		return "<!subteam^" + whom + ">"
	default:
		return "<@" + whom + ">"
	}
}

// form is what is posted: the arguments of chat.postMessage. A reply that is more than
// a note shows in the channel too. What mentions somebody begins a thread: in a thread
// Slack tells of @channel and @here only those who follow it.
func (s *Slack) form(m Message) url.Values {
	r := describe(m)
	text, shown := r.slackText(), r.slackBlocks()
	if m.Mention {
		text = s.mention() + " " + text
		shown = slices.Insert(shown, 1, slack.Block(slack.NewSectionBlock(mrkdwn(s.mention()), nil, nil)))
	}
	blocks, _ := json.Marshal(shown) // of texts: it cannot fail
	form := url.Values{
		"channel": {s.ChannelID}, "text": {text}, "blocks": {string(blocks)},
		"parse": {"none"}, "unfurl_links": {"false"}, "unfurl_media": {"false"},
	}
	if m.Thread != nil && m.Thread.TS != "" && !m.Mention {
		form.Set("channel", cmp.Or(m.Thread.Channel, s.ChannelID))
		form.Set("thread_ts", m.Thread.TS)
		if !r.dec.Note {
			form.Set("reply_broadcast", "true")
		}
	}
	return form
}

// Test posts a test message, with all of its blocks or not at all. It stays.
func (s *Slack) Test(ctx context.Context, m Message) (Delivery, error) {
	posted, err := s.Post(ctx, m)
	if err != nil {
		return Delivery{}, err
	}
	return Delivery{Confirmed: true, Detail: "posted to " + posted.Channel + " as " + posted.TS}, nil
}

// slackAnswer is the thread that a post begins, or what Slack said against it. Codes
// are from the reference of chat.postMessage.
func slackAnswer(a *answer) (posted incident.Thread, r *refusal) {
	var said struct {
		OK       bool   `json:"ok"`
		Error    string `json:"error"`
		Channel  string `json:"channel"`
		TS       string `json:"ts"`
		Metadata struct {
			Messages []string `json:"messages"`
		} `json:"response_metadata"`
	}
	_ = json.Unmarshal(a.body, &said) // what it can: an oddity in one field does not hide the others
	code := said.Error
	switch {
	case !a.ok():
		return posted, a.refused(code)
	case said.OK:
		return incident.Thread{Channel: incident.ClipLine(said.Channel, 50), TS: incident.ClipLine(said.TS, 50)}, nil
	case code == "":
		return posted, refuse(fault.Unavailable, "the answer, %s, says neither ok nor an error", a)
	}
	return posted, slackRefusal(code, said.Metadata.Messages...)
}

// slackRefusal is what an error of Slack's means, and what to do about it.
func slackRefusal(code string, messages ...string) (r *refusal) {
	switch code {
	case "ratelimited", "rate_limited", "internal_error", "fatal_error", "request_timeout", "service_unavailable", "team_added_to_org":
		r = refuse(fault.Unavailable, "%s", code)
	case "invalid_auth", "not_authed", "token_expired", "token_revoked", "account_inactive", "missing_scope", "no_permission", "not_allowed_token_type":
		r = refuse(fault.Denied, "%s: give the app the scope chat:write, install it again and store its bot token (xoxb-…)", code)
		r.auth = true
	case "channel_not_found", "not_in_channel", "is_archived":
		r = refuse(fault.InvalidInput, "%s: invite the app to the channel, and check slack.channel_id: the id, not the name, of a channel that is not archived", code)
	case "access_denied", "team_access_not_granted", "ekm_access_denied", "org_login_required", "channel_is_limited_access", "message_limit_exceeded",
		"restricted_action", "restricted_action_read_only_channel", "restricted_action_thread_only_channel":
		r = refuse(fault.Denied, "%s: a setting of the channel or workspace keeps the app from posting: change it, or set slack.channel_id to another channel", code)
	default:
		r = refuse(fault.InvalidInput, "%s", strings.Join(append([]string{code}, messages...), ": "))
	}
	return r
}

// slackEscapes make text from outside harmless in Slack's markup, where <, > and &
// make links and mentions and a backtick begins code.
var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "`", "ˋ")

// slackText is the text that notifications show, and whatever shows no blocks.
func (r *report) slackText() string {
	lines := r.text()
	for n, line := range lines {
		lines[n] = slackEscapes.Replace(line)
	}
	return join(lines, limitSlackText)
}

// slackBlocks renders the report as blocks of Slack: what is wrong, what to do,
// then the evidence.
func (r *report) slackBlocks() []slack.Block {
	icon, head := situations[r.situation].icon, ""
	for room := limitTitle - runes(icon) - 1; head == "" || runes(head) > limitSlackHeader; room -= 5 {
		head = icon + " " + slackEscapes.Replace(r.headline(room))
	}
	blocks := []slack.Block{slack.NewHeaderBlock(plainText(head))}
	for _, p := range r.paragraphs() {
		var lines []string
		for _, i := range p {
			lines = append(lines, i.mrkdwn())
		}
		blocks = append(blocks, slack.NewSectionBlock(mrkdwn(join(lines, limitSlackSection)), nil, nil))
	}
	var buttons []slack.BlockElement
	for _, l := range r.links {
		buttons = append(buttons, slack.NewButtonBlockElement("open-"+strings.ToLower(l.label), "", plainText(l.label)).WithURL(l.value))
	}
	if len(buttons) > 0 {
		blocks = append(blocks, slack.NewActionBlock("", buttons...))
	}
	return append(blocks, slack.NewContextBlock("", mrkdwn(slackEscapes.Replace(r.deployment))))
}

// mrkdwn is the line in Slack's markup.
func (i item) mrkdwn() string {
	label, value := slackEscapes.Replace(i.label), slackEscapes.Replace(i.value)
	switch {
	case i.command:
		return label + ": `" + value + "`"
	case i.label != "":
		return "*" + label + ":* " + value
	}
	return value
}

func plainText(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, text, true, false)
}

// mrkdwn is a text in Slack's markup. Verbatim: Slack is not to make links or mentions
// of what it finds.
func mrkdwn(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, text, false, true)
}
