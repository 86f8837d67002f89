package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"firstline/internal/fault"
	"firstline/internal/lazy"
	"firstline/internal/old/incident"
)

// Limits of an alert, in characters: the reference of OpsGenie's Alert API,
// "Create Alert" and "Add Note".
const (
	limitMessage     = 130
	limitAlias       = 512
	limitDescription = 15000
	limitTags        = 20
	limitTag         = 50
	limitDetails     = 8000
	limitDetail      = 1000 // ours: no detail takes the room of the others
	limitEntity      = 512
	limitSource      = 100
	limitNote        = 25000
	limitNoteHead    = 300 // ours: of its first line
)

const (
	defaultPoll   = 500 * time.Millisecond
	maxPoll       = 2 * time.Second
	defaultFollow = 10 * time.Second
	followJSM     = 4 * time.Second
)

// Base URLs of the pagers that have a short name.
const (
	urlUS  = "https://api.opsgenie.com"
	urlEU  = "https://api.eu.opsgenie.com"
	urlJSM = "https://api.atlassian.com/jsm/ops/integration"
)

// OpsGenieURL returns the base URL of an endpoint of OpsGenie: "us" and "eu" are its
// own. Anything else must be a base URL itself: https, or http on loopback, without
// the /v2/alerts. Else the error is InvalidInput and says what would be right.
func OpsGenieURL(endpoint string) (string, error) {
	switch strings.ToLower(strings.TrimSpace(endpoint)) {
	case "us":
		return urlUS, nil
	case "eu":
		return urlEU, nil
	case NameJSM:
		return "", fault.New(fault.InvalidInput, "opsgenie endpoint", "not usable: jsm is a pager of its own: name it in pagers, and set it in the block jsm")
	}
	return pagerURL("opsgenie endpoint", endpoint, "us, eu, or a base URL such as "+urlUS)
}

// JSMURL returns the base URL of an endpoint of Jira Service Management, whose
// integrations take the calls of OpsGenie: "" is Atlassian's own, anything else a
// base URL as for OpsGenieURL.
func JSMURL(endpoint string) (string, error) {
	if strings.TrimSpace(endpoint) == "" {
		return urlJSM, nil
	}
	return pagerURL("jsm endpoint", endpoint, "nothing for "+urlJSM+", or a base URL")
}

func pagerURL(op, endpoint, want string) (string, error) {
	base, err := baseURL(endpoint)
	if err == nil && strings.Contains(base+"/", "/v2/") {
		err = errors.New("it holds the path /v2, which is added")
	}
	if err != nil {
		return "", fault.New(fault.InvalidInput, op, "not usable: %w: want %s (https, or http on loopback)", err, want)
	}
	return base, nil
}

// OpsGenie pages through OpsGenie, Jira Service Management, or whatever speaks the
// Alert API v2. What JSM does not tell is taken for done once it is accepted: its
// integrations document no way to ask what became of a request, nor of an alert.
type OpsGenie struct {
	// Type is NameOpsGenie or NameJSM; "" means OpsGenie.
	Type string
	// Key returns the API key of an integration.
	Key Secret
	// BaseURL is what OpsGenieURL takes, or JSMURL.
	BaseURL string
	// Responders are who is woken. None leaves it to the integration.
	Responders []Responder
	// Priority is P1 to P5; empty leaves it to the service (P3). PriorityUnknown is
	// that of an alert about what is not known to be down, see AlertOutcome; empty
	// means the same as Priority.
	Priority, PriorityUnknown string
	// Tags and Details are added to ours. Of the details, ours keep half of the
	// room, and their names.
	Tags    []string
	Details map[string]string
	// Entity and Source take the place of ours, unless they are empty.
	Entity, Source string
	// HTTP makes the calls; nil means a client with time-outs of its own.
	// Redirects are never followed.
	HTTP *http.Client
	// PollInterval is the first pause between two looks at whether the alert
	// was made; pauses double up to 2 s. Zero means 500 ms.
	PollInterval time.Duration
	// FollowFor bounds those looks; the context may end them sooner. Zero means
	// 10 s, and for JSM no more than 4 s.
	FollowFor time.Duration
}

// Responder is who is woken: a "team", "user", "escalation" or "schedule" by exactly
// one of the others. Only a user has a username.
type Responder struct {
	Type     string `json:"type"`
	ID       string `json:"id,omitempty"`
	Name     string `json:"name,omitempty"`
	Username string `json:"username,omitempty"`
}

// alert is the body of "Create Alert".
type alert struct {
	Message     string            `json:"message"`
	Alias       string            `json:"alias,omitempty"`
	Description string            `json:"description,omitempty"`
	Responders  []Responder       `json:"responders,omitempty"`
	Tags        []string          `json:"tags,omitempty"`
	Details     map[string]string `json:"details,omitempty"`
	Entity      string            `json:"entity,omitempty"`
	Source      string            `json:"source,omitempty"`
	Priority    string            `json:"priority,omitempty"`
}

// note is the body of "Add Note" and "Close Alert".
type note struct {
	Note   string `json:"note"`
	User   string `json:"user,omitempty"`
	Source string `json:"source,omitempty"`
}

// What is done, for errors.
const (
	doPage  = "page"
	doNote  = "add a note to the page"
	doClose = "close the page"
)

// What a key must be allowed to do, for the error when it is not.
const (
	mayCreate = "create alerts"
	mayUpdate = "create and update alerts"
	mayRead   = "read alerts"
)

// Name is the pager's type.
func (o *OpsGenie) Name() string { return orElse(o.Type, NameOpsGenie) }

// URL returns the base URL that BaseURL stands for.
func (o *OpsGenie) URL() (string, error) {
	if o.Name() == NameJSM {
		return JSMURL(o.BaseURL)
	}
	return OpsGenieURL(o.BaseURL)
}

// op is an operation as errors name it: with the pager, since there may be several.
func (o *OpsGenie) op(do string) string {
	if o.Name() == NameJSM {
		return do + " through " + pagerName(NameJSM)
	}
	return do
}

// keyName names the API key in errors.
func (o *OpsGenie) keyName() string {
	return "the " + orElse(pagerName(o.Name()), o.Name()) + " API key"
}

// at returns the base URL, with an error of the operation.
func (o *OpsGenie) at(do string) (string, error) {
	base, err := o.URL()
	if err != nil {
		return "", fault.New(fault.InvalidInput, o.op(do), "%w", err)
	}
	return base, nil
}

// compose makes an alert of a message, or says what of the settings is not
// right.
func (o *OpsGenie) compose(m Message) (base string, a alert, err error) {
	if m.Incident == nil && m.Kind != KindTest {
		return "", alert{}, fault.New(fault.Internal, o.op(doPage), "there is no incident to page about")
	}
	if base, err = o.at(doPage); err != nil {
		return "", alert{}, err
	}
	for field, p := range map[string]string{"priority": o.Priority, "priority_unknown": o.PriorityUnknown} {
		switch p {
		case "", "P1", "P2", "P3", "P4", "P5":
		default:
			return "", alert{}, fault.New(fault.InvalidInput, o.op(doPage), "%s.%s is %q: want P1, P2, P3, P4 or P5", o.Name(), field, truncate(oneLine(p), 20))
		}
	}
	return base, o.alert(m), nil
}

// Rehearse returns the text of the alert that Send would create, with Send's
// errors of the settings and the key. It makes no call.
func (o *OpsGenie) Rehearse(ctx context.Context, m Message) (string, error) {
	_, page, err := o.compose(m)
	if err != nil {
		return "", err
	}
	if err := rehearse(ctx, o.op(doPage), o.keyName(), o.Key); err != nil {
		return "", err
	}
	return page.Message + "\n" + page.Description, nil
}

// Send creates an alert and returns nil once it is known to be made, or, where
// the service offers no way to know (Jira Service Management, a key that may
// not read), once it is accepted. An alert that was accepted and then discarded is
// sent once more. One that was accepted and not confirmed in time is Unavailable: to
// send it again is harmless, since the alias makes it the same alert, and a page that
// never comes is not.
func (o *OpsGenie) Send(ctx context.Context, m Message) error {
	_, err := o.create(ctx, m)
	return err
}

func (o *OpsGenie) create(ctx context.Context, m Message) (receipt, error) {
	base, page, err := o.compose(m)
	if err != nil {
		return receipt{}, err
	}
	body, err := json.Marshal(page)
	if err != nil {
		return receipt{}, fault.New(fault.Internal, o.op(doPage), "encode the alert: %w", err)
	}
	return o.ask(ctx, asked{op: o.op(doPage), base: base, address: base + "/v2/alerts", what: "the alert", done: "made", right: mayCreate}, body)
}

// Note adds the message as a note to the alert that Send would make of it, and
// returns nil once it is known to be there. The error holds ErrNoAlert when no
// such alert is open, and also when the service accepted the note and does not
// tell what became of it (Jira Service Management, a key that may not read): a
// note on an alert that was closed meanwhile is lost without a word. Send is then
// right either way: it makes the alert anew, or raises the count of the one that
// has the note. A note that is tried again may stand there twice.
func (o *OpsGenie) Note(ctx context.Context, m Message) error {
	_, err := o.onAlert(ctx, m, doNote, "/notes", "note", asked{what: "the note", done: "added", confirm: true})
	return err
}

// Close closes the alert that Send would make of the message, with the message as the
// note, and returns nil once it is known to be closed, or accepted where the service
// does not tell. The error holds ErrNoAlert when no such alert is open.
func (o *OpsGenie) Close(ctx context.Context, m Message) error {
	_, err := o.onAlert(ctx, m, doClose, "/close", "closing", asked{what: "the request to close it", done: "carried out"})
	return err
}

// onAlert posts the message, in one of the channel's forms, to the alert it is about.
func (o *OpsGenie) onAlert(ctx context.Context, m Message, do, path, form string, to asked) (receipt, error) {
	to.op, to.right, to.onAlert = o.op(do), mayUpdate, true
	if m.Incident == nil && m.Kind != KindTest {
		return receipt{}, fault.New(fault.Internal, to.op, "there is no incident to tell about")
	}
	base, err := o.at(do)
	if err != nil {
		return receipt{}, err
	}
	alias := Alias(m)
	if alias == "" {
		return receipt{}, fault.New(fault.InvalidInput, to.op, "the message has no alias, so nothing says to which alert it belongs: %w", ErrNoAlert)
	}
	body, err := json.Marshal(o.noteOf(m, form))
	if err != nil {
		return receipt{}, fault.New(fault.Internal, to.op, "encode the note: %w", err)
	}
	to.base, to.address = base, aliasURL(base, alias, path)
	return o.ask(ctx, to, body)
}

// settle is how long a test waits for an alert to be there: what is not there yet
// cannot be closed.
const settle = 3 * time.Second

// Test makes an alert that says it is a test, at P5 and under an alias of its own, and
// closes it. An error after it was made says so, and names its alias: somebody has to
// close it.
func (o *OpsGenie) Test(ctx context.Context, m Message) (Delivery, error) {
	m.Kind = KindTest
	made, err := o.create(ctx, m)
	if err != nil {
		return Delivery{}, err
	}
	take := func() (receipt, error) {
		return o.onAlert(ctx, m, doClose, "/close", "closing", asked{what: "the request to close it", done: "carried out"})
	}
	if !made.confirmed {
		_ = pause(ctx, settle) // what follows tells of an ended context
	}
	closed, err := take()
	if errors.Is(err, ErrNoAlert) && pause(ctx, settle) == nil {
		closed, err = take() // it may not be found by its alias yet
	}
	alias := Alias(m)
	d := Delivery{Confirmed: made.confirmed && closed.confirmed && err == nil}
	key := "test.accepted"
	switch {
	case err != nil:
		return Delivery{}, fault.New(fault.KindOf(err), o.op("test"), "the alert %s was made, and may be open: %w", alias, err)
	case d.Confirmed && made.alertID != "":
		key = "test.confirmed"
	case d.Confirmed:
		key = "test.confirmed-no-id"
	case made.confirmed:
		key = "test.half"
	}
	d.Detail = opsgenieWords.say(key, "service", orElse(pagerName(o.Name()), o.Name()), "id", made.alertID, "alias", alias)
	return d, nil
}

// Closed reports whether the alert of an alias is closed. By an alias OpsGenie
// finds open alerts only, so it answers 404 for one that is closed as well as
// for one that somebody has deleted: both count as closed, since nobody is at
// work on them. A 404 without the request id that all its answers have comes from
// something else and tells nothing; so does any of Jira Service Management's
// integration API, of which no such call is documented. These are errors, as is
// everything else that does not tell; JSM's holds ErrCannotTell.
func (o *OpsGenie) Closed(ctx context.Context, alias string) (bool, error) {
	do := "look whether the page " + truncate(oneLine(alias), 100) + " is closed"
	op := o.op(do)
	base, err := o.at(do)
	if err != nil {
		return false, err
	}
	if alias == "" {
		// The path would be that of all alerts.
		return false, fault.New(fault.InvalidInput, op, "the alias is empty: want the one that the page was sent with")
	}
	c := newCaller(o.HTTP)
	defer c.close()
	closed := false
	err = deliver(ctx, op, o.keyName(), o.Key, func(ctx context.Context, key string) *refusal {
		a, r := call(ctx, c, http.MethodGet, aliasURL(base, alias, ""), key, nil)
		if r != nil {
			return r
		}
		said, isJSON := a.opsgenie()
		switch {
		case a.status >= 200 && a.status <= 299 && isJSON && said.Data.Status != "":
			closed = strings.EqualFold(said.Data.Status, "closed")
			return nil
		case a.status >= 200 && a.status <= 299:
			return refuse(fault.Unavailable, "the answer, HTTP %d with %s, does not say: it is not OpsGenie's", a.status, a.contentType())
		case o.isJSM(base) && noSuchCall(a.status):
			return refuse(fault.InvalidInput, "HTTP %d: Jira Service Management's integration API does not tell: %w", a.status, ErrCannotTell)
		case a.unknownAlert(said, isJSON):
			closed = true
			return nil
		}
		return opsgenieRefusal(a, said, mayRead)
	})
	return closed, err
}

// isJSM reports whether it is Jira Service Management, also by its address.
func (o *OpsGenie) isJSM(base string) bool { return o.Name() == NameJSM || base == urlJSM }

// aliasURL is the address of an alert by its alias, or of something below it.
func aliasURL(base, alias, below string) string {
	return base + "/v2/alerts/" + url.PathEscape(alias) + below + "?identifierType=alias"
}

// noSuchCall reports whether a status may mean that the service does not have
// the path or the method.
func noSuchCall(status int) bool {
	return status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status == http.StatusNotImplemented
}

// asked is a request of which the service says later what became of it.
type asked struct {
	op, base, address string
	// what is asked for, and what it is when that was done; right is what the key
	// must be allowed to do. All three are for errors.
	what, done, right string
	// onAlert says that it is about an alert that must be open; confirm, that to be
	// accepted is not enough.
	onAlert, confirm bool
}

// receipt is what the service says of a request that did not fail.
type receipt struct {
	// confirmed says that it was carried out, not merely accepted.
	confirmed bool
	// alertID is the service's own name of the alert.
	alertID string
}

// unconfirmed is what becomes of an accepted request that cannot be followed.
func (to asked) unconfirmed() *refusal {
	if !to.confirm {
		return nil
	}
	return refuse(fault.Unavailable, "%s was accepted, and the service does not tell whether it was %s: %w", to.what, to.done, ErrNoAlert)
}

// ask posts a request that the service accepts first and carries out later, and
// follows it.
func (o *OpsGenie) ask(ctx context.Context, to asked, body []byte) (receipt, error) {
	c := newCaller(o.HTTP)
	defer c.close()
	var got receipt
	err := deliver(ctx, to.op, o.keyName(), o.Key, func(ctx context.Context, key string) *refusal {
		got = receipt{}
		a, r := call(ctx, c, http.MethodPost, to.address, key, body)
		if r != nil {
			return r
		}
		said, isJSON := a.opsgenie()
		if a.status < 200 || a.status > 299 {
			r := opsgenieRefusal(a, said, to.right)
			if to.onAlert && a.unknownAlert(said, isJSON) {
				r.err = fmt.Errorf("%w: %w", r.err, ErrNoAlert)
			}
			return r
		}
		switch {
		case !isJSON:
			return refuse(fault.Unavailable, "the answer is not OpsGenie's: %s that is not its JSON", a.contentType())
		case requestID().MatchString(said.RequestID):
			return o.follow(ctx, c, to.base+"/v2/alerts/requests/"+said.RequestID, key, to, &got)
		case a.status == http.StatusAccepted:
			return to.unconfirmed() // Nothing to follow it by.
		}
		return refuse(fault.Unavailable, "the answer, HTTP %d, does not say that %s was accepted", a.status, to.what)
	})
	return got, err
}

var requestID = lazy.Regexp(`^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$`)

// call makes one request of the Alert API.
func call(ctx context.Context, c *caller, method, address, key string, body []byte) (*answer, *refusal) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, reader)
	if err != nil {
		return nil, refuse(fault.InvalidInput, "the address makes no request")
	}
	req.Header.Set("Authorization", "GenieKey "+key)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.do(req)
}

// opsgenieAnswer holds the fields of all answers that matter here.
type opsgenieAnswer struct {
	Message   string            `json:"message"`
	Errors    map[string]string `json:"errors"`
	RequestID string            `json:"requestId"`
	Data      struct {
		Success   *bool  `json:"success"`
		IsSuccess *bool  `json:"isSuccess"`
		Status    string `json:"status"`
		AlertID   string `json:"alertId"`
	} `json:"data"`
}

// opsgenie decodes the answer and reports whether it is a JSON object.
func (a *answer) opsgenie() (opsgenieAnswer, bool) {
	var said opsgenieAnswer
	var object map[string]json.RawMessage
	if a.html() || json.Unmarshal(a.body, &object) != nil || object == nil {
		return said, false
	}
	// Field by field: an oddity in one does not hide the others.
	_ = json.Unmarshal(object["message"], &said.Message)
	_ = json.Unmarshal(object["errors"], &said.Errors)
	_ = json.Unmarshal(object["requestId"], &said.RequestID)
	_ = json.Unmarshal(object["data"], &said.Data)
	return said, true
}

// unknownAlert reports whether OpsGenie says that it knows no such alert. An
// answer without the request id that all of its own have says nothing.
func (a *answer) unknownAlert(said opsgenieAnswer, isJSON bool) bool {
	return a.status == http.StatusNotFound && isJSON && requestID().MatchString(said.RequestID)
}

// opsgenieRefusal is the refusal of a request; right is what the key must be
// allowed to do.
func opsgenieRefusal(a *answer, said opsgenieAnswer, right string) *refusal {
	details := make([]string, 0, 1+len(said.Errors))
	if said.Message != "" {
		details = append(details, said.Message)
	}
	for _, field := range slices.Sorted(maps.Keys(said.Errors)) {
		details = append(details, field+": "+said.Errors[field])
	}
	r := a.refused(strings.Join(details, "; "))
	if r.auth {
		r.err = fmt.Errorf("%w: renew the API key, and let its integration %s", r.err, right)
	}
	return r
}

// follow asks what became of an accepted request until that is known.
func (o *OpsGenie) follow(ctx context.Context, c *caller, address, key string, to asked, got *receipt) *refusal {
	bound := o.FollowFor
	if bound <= 0 {
		bound = defaultFollow
	}
	jsm := o.isJSM(to.base)
	if jsm {
		bound = min(bound, followJSM)
	}
	if deadline, ok := ctx.Deadline(); ok {
		// What is left must do for saying so.
		bound = min(bound, max(time.Until(deadline)-500*time.Millisecond, 0))
	}
	bounded, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	wait := o.PollInterval
	if wait <= 0 {
		wait = defaultPoll
	}
	last := "it was not asked"
	for {
		a, r := call(bounded, c, http.MethodGet, address, key, nil)
		if r != nil {
			if bounded.Err() == nil {
				last = r.Error()
			}
		} else {
			said, isJSON := a.opsgenie()
			switch {
			case a.status == http.StatusOK && isJSON && (isTrue(said.Data.IsSuccess) || isTrue(said.Data.Success)):
				*got = receipt{confirmed: true, alertID: truncate(oneLine(said.Data.AlertID), 100)}
				return nil
			case a.status == http.StatusOK && isJSON && (said.Data.IsSuccess != nil || said.Data.Success != nil):
				return notDone(to, said.Data.Status)
			case a.status == http.StatusNotFound && notProcessed(a, said):
				last = "the request is not processed yet"
			case a.status >= 300 && a.status < 500 && a.status != http.StatusTooManyRequests && a.status != http.StatusRequestTimeout && a.status != http.StatusTooEarly,
				a.status == http.StatusNotImplemented:
				// No such path here (Jira Service Management), or a key that may
				// create and not read: the request cannot be followed, and was
				// accepted.
				return to.unconfirmed()
			case a.status == http.StatusOK:
				last = "the status of the request is " + a.contentType() + " without an outcome"
			default:
				last = a.refused(said.Message).Error()
			}
		}
		if pause(bounded, wait) != nil {
			break
		}
		wait = min(wait*2, max(maxPoll, o.PollInterval))
	}
	if jsm {
		// No way to ask is documented: what answers there may know nothing of it.
		return to.unconfirmed()
	}
	if err := ctx.Err(); err != nil {
		return refuse(fault.Unavailable, "%s was accepted, and our time ended before it was confirmed: %s: %w", to.what, last, err)
	}
	return refuse(fault.Unavailable, "%s was accepted and not confirmed within %s: %s", to.what, bound.Round(time.Millisecond), last)
}

func notProcessed(a *answer, said opsgenieAnswer) bool {
	return a.header.Get("X-Opsgenie-Errortype") == "RequestNotProcessed" ||
		strings.Contains(strings.ToLower(said.Message), "not processed")
}

func isTrue(b *bool) bool { return b != nil && *b }

// notDone is the refusal of a request that was accepted first. That there is no
// such alert is in the words only
// (https://docs.opsgenie.com/docs/alert-api#get-request-status).
func notDone(to asked, status string) *refusal {
	why := orElse(truncate(oneLine(status), maxServerWords), "no reason given")
	low := strings.ToLower(status)
	gone := strings.Contains(low, "alert") && (strings.Contains(low, "not exist") || strings.Contains(low, "already closed"))
	if to.onAlert && gone {
		return refuse(fault.InvalidInput, "%s was accepted and then not %s: %s: %w", to.what, to.done, why, ErrNoAlert)
	}
	r := refuse(fault.Unavailable, "%s was accepted and then not %s: %s", to.what, to.done, why)
	r.discarded = true
	return r
}

// alert is the message within the limits of the API.
func (o *OpsGenie) alert(m Message) alert {
	r := describe(m, toPager)
	a := alert{
		Message:     opsgenieWords.say("message", "headline", r.head(limitMessage)),
		Alias:       Alias(m),
		Description: r.plain(opsgenieWords, "description", limitMessage, limitDescription),
		Responders:  o.Responders,
		Entity:      truncate(orElse(oneLine(o.Entity), r.entity()), limitEntity),
		Source:      o.source(r),
		Priority:    o.Priority,
		Details:     map[string]string{},
	}
	switch {
	case r.outcome == tested:
		a.Priority = "P5"
	case r.severity == incident.AlertUnknown:
		a.Priority = orElse(o.PriorityUnknown, o.Priority)
	}
	seen := map[string]bool{}
	ours := []string{"firstline", r.deployment, string(r.outcome), r.guard, r.dryTag, r.region, r.account, r.instance}
	for _, tag := range append(ours, o.Tags...) {
		if tag = truncate(oneLine(tag), limitTag); tag != "" && !seen[tag] && len(a.Tags) < limitTags {
			seen[tag] = true
			a.Tags = append(a.Tags, tag)
		}
	}
	taken := map[string]bool{}
	for _, d := range r.details {
		taken[d.label] = true
	}
	left, theirs := limitDetails, limitDetails/2
	for _, name := range slices.Sorted(maps.Keys(o.Details)) {
		label := oneLine(name)
		value := truncate(oneLine(o.Details[name]), theirs-runes(label))
		if label == "" || value == "" || taken[label] {
			continue
		}
		a.Details[label] = value
		theirs -= runes(label) + runes(value)
		left -= runes(label) + runes(value)
	}
	for _, d := range r.details {
		value := truncate(d.value, min(limitDetail, left-runes(d.label)))
		if value == "" {
			continue
		}
		a.Details[d.label] = value
		left -= runes(d.label) + runes(value)
	}
	return a
}

func (o *OpsGenie) source(r report) string {
	return truncate(orElse(oneLine(o.Source), r.deployment), limitSource)
}

// noteOf is the message within the limits of a note, in one of the channel's forms. It
// begins with the instance, since the alert that it is added to may be about others
// too.
func (o *OpsGenie) noteOf(m Message, form string) note {
	m.Alone = true
	r := describe(m, toPager)
	return note{Note: r.plain(opsgenieWords, form, limitNoteHead, limitNote), User: opsgenieWords.say("user"), Source: o.source(r)}
}

// Alias returns the alias of the alert that a message makes or is about; "" where the
// service is to choose one. It is the same for every incident of one instance of a
// deployment, so that what is open already is not opened twice. An alert that takes
// another's place has the number of its generation at the end, or a suffix: the
// service may still know the earlier one. A repeat and an all-clear are about the
// incident's alert, where the incident names one.
//
// A brake has an alias for its region, of three parts where an instance's has four,
// so that no two are the same whatever the parts are; so has a test. An event without
// an incident goes by its alarm, else by its execution.
func Alias(m Message) string {
	if m.Incident == nil && m.Kind != KindTest {
		return ""
	}
	if m.Kind == KindRepeat || m.Kind == KindAllClear {
		// One that no service would take is none.
		if a := m.Incident.Alert; a != nil && a.Alias != "" && runes(a.Alias) <= limitAlias && utf8.ValidString(a.Alias) {
			return a.Alias
		}
	}
	id := aliasBase(describe(m, toPager), m)
	switch {
	case id == "":
		// Without an alias the service makes one: better two alerts than one
		// that takes another's.
		return ""
	case m.Kind == KindTest:
	case m.Suffix != "":
		id += "/" + url.PathEscape(m.Suffix)
	case m.Generation > 1:
		id += "/" + strconv.Itoa(m.Generation)
	}
	if runes(id) <= limitAlias {
		return id
	}
	// Cut short it would not be unique any more.
	sum := sha256.Sum256([]byte(id))
	return truncate(id, limitAlias-33) + "-" + hex.EncodeToString(sum[:16])
}

func aliasBase(r report, m Message) string {
	switch {
	case r.outcome == tested:
		return path(r.deployment, "test", r.account+":"+r.region+":"+m.Now.UTC().Format("20060102T150405.000Z"))
	case r.fleet:
		return path(r.deployment, "brake", r.account+":"+r.region)
	case r.outcome != noIncident:
		return path(r.deployment, r.account, r.region, r.instance)
	case r.alarmARN != "":
		return r.deployment + "/alarm/" + r.alarmARN
	case r.alarmName != "":
		return strings.Join([]string{r.deployment, "alarm", r.account, r.region, r.alarmName}, "/")
	case r.execution != "":
		return r.deployment + "/execution/" + r.execution
	}
	return ""
}

// path joins parts, none of which can look like several.
func path(parts ...string) string {
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}
