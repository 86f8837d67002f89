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
	"regexp"
	"slices"
	"strings"
	"time"

	"firstline/internal/fault"
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
)

const (
	defaultPoll   = 500 * time.Millisecond
	maxPoll       = 2 * time.Second
	defaultFollow = 10 * time.Second
)

// Base URLs of the pagers that have a short name.
const (
	urlUS  = "https://api.opsgenie.com"
	urlEU  = "https://api.eu.opsgenie.com"
	urlJSM = "https://api.atlassian.com/jsm/ops/integration"
)

// OpsGenieURL returns the base URL of an endpoint: "us" and "eu" are
// OpsGenie's, "jsm" is Jira Service Management's, which takes the same calls.
// Anything else must be a base URL itself: https, or http on loopback, without
// the /v2/alerts. Else the error is InvalidInput and says what would be right.
func OpsGenieURL(endpoint string) (string, error) {
	switch strings.ToLower(strings.TrimSpace(endpoint)) {
	case "us":
		return urlUS, nil
	case "eu":
		return urlEU, nil
	case "jsm":
		return urlJSM, nil
	}
	const op = "opsgenie endpoint"
	base, err := baseURL(endpoint)
	if err == nil && strings.Contains(base+"/", "/v2/") {
		err = fmt.Errorf("it holds the path /v2, which is added")
	}
	if err != nil {
		return "", fault.New(fault.InvalidInput, op, "not usable: %w: want us, eu, jsm, or a base URL such as %s (https, or http on loopback)", err, urlUS)
	}
	return base, nil
}

// OpsGenie pages through OpsGenie or whatever speaks its Alert API v2.
type OpsGenie struct {
	// Key returns the API key of an integration.
	Key Secret
	// BaseURL is what OpsGenieURL takes.
	BaseURL string
	// TeamID is who responds. Empty leaves it to the integration.
	TeamID string
	// Priority is P1 to P5; empty leaves it to the service (P3).
	Priority string
	// HTTP makes the calls; nil means a client with time-outs of its own.
	// Redirects are never followed.
	HTTP *http.Client
	// PollInterval is the first pause between two looks at whether the alert
	// was made; pauses double up to 2 s. Zero means 500 ms.
	PollInterval time.Duration
	// FollowFor bounds those looks; the context may end them sooner. Zero means
	// 10 s.
	FollowFor time.Duration
}

// alert is the body of "Create Alert".
type alert struct {
	Message     string            `json:"message"`
	Alias       string            `json:"alias,omitempty"`
	Description string            `json:"description,omitempty"`
	Responders  []responder       `json:"responders,omitempty"`
	Tags        []string          `json:"tags,omitempty"`
	Details     map[string]string `json:"details,omitempty"`
	Entity      string            `json:"entity,omitempty"`
	Source      string            `json:"source,omitempty"`
	Priority    string            `json:"priority,omitempty"`
}

type responder struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// note is the body of "Add Note".
type note struct {
	Note   string `json:"note"`
	User   string `json:"user,omitempty"`
	Source string `json:"source,omitempty"`
}

const (
	opPage      = "page"
	opNote      = "add a note to the page"
	opsgenieKey = "the OpsGenie API key"
)

// What a key must be allowed to do, for the error when it is not.
const (
	mayCreate = "create alerts"
	mayUpdate = "create and update alerts"
	mayRead   = "read alerts"
)

// ErrNoAlert is in the chain of Note's error when there is, as far as is known,
// no open alert to add it to: somebody has closed it, or never was it made.
var ErrNoAlert = errors.New("such an alert may not be open")

// compose makes an alert of a message, or says what of the settings is not
// right.
func (o *OpsGenie) compose(m Message) (base string, a alert, err error) {
	if m.Incident == nil {
		return "", alert{}, fault.New(fault.Internal, opPage, "there is no incident to page about")
	}
	if base, err = OpsGenieURL(o.BaseURL); err != nil {
		return "", alert{}, fault.New(fault.InvalidInput, opPage, "%w", err)
	}
	switch o.Priority {
	case "", "P1", "P2", "P3", "P4", "P5":
	default:
		return "", alert{}, fault.New(fault.InvalidInput, opPage, "opsgenie.priority is %q: want P1, P2, P3, P4 or P5", truncate(oneLine(o.Priority), 20))
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
	if err := rehearse(ctx, opPage, opsgenieKey, o.Key); err != nil {
		return "", err
	}
	return page.Message + "\n" + page.Description, nil
}

// Send creates an alert and returns nil once it is known to be made, or, where
// the service offers no way to know (Jira Service Management, a key that may
// not read), once it is accepted. An alert that was accepted and not confirmed
// in time is Unavailable: to send it again is harmless, since the alias makes
// it the same alert, and a page that never comes is not.
func (o *OpsGenie) Send(ctx context.Context, m Message) error {
	base, page, err := o.compose(m)
	if err != nil {
		return err
	}
	body, err := json.Marshal(page)
	if err != nil {
		return fault.New(fault.Internal, opPage, "encode the alert: %w", err)
	}
	return o.ask(ctx, asked{op: opPage, base: base, address: base + "/v2/alerts", what: "the alert", done: "made", right: mayCreate}, body)
}

// Note adds the message as a note to the alert that Send would make of it, and
// returns nil once it is known to be there. The error holds ErrNoAlert when no
// such alert is open, and also when the service accepted the note and does not
// tell what became of it (Jira Service Management, a key that may not read): a
// note on an alert that was closed meanwhile is lost without a word. Send is then
// right either way: it makes the alert anew, or raises the count of the one that
// has the note. A note that is tried again may stand there twice.
func (o *OpsGenie) Note(ctx context.Context, m Message) error {
	if m.Incident == nil {
		return fault.New(fault.Internal, opNote, "there is no incident to tell about")
	}
	base, err := OpsGenieURL(o.BaseURL)
	if err != nil {
		return fault.New(fault.InvalidInput, opNote, "%w", err)
	}
	to := o.Alias(m)
	if to == "" {
		return fault.New(fault.InvalidInput, opNote, "the message has no alias, so nothing says to which alert it belongs: %w", ErrNoAlert)
	}
	body, err := json.Marshal(noteOf(m))
	if err != nil {
		return fault.New(fault.Internal, opNote, "encode the note: %w", err)
	}
	return o.ask(ctx, asked{op: opNote, base: base, address: aliasURL(base, to, "/notes"), what: "the note", done: "added", right: mayUpdate, confirm: true}, body)
}

// Closed reports whether the alert of an alias is closed. By an alias OpsGenie
// finds open alerts only, so it answers 404 for one that is closed as well as
// for one that somebody has deleted: both count as closed, since nobody is at
// work on them. A 404 without the request id that all its answers have comes from
// something else and tells nothing; so does any of Jira Service Management's
// integration API, of which no such call is documented. These are errors, as is
// everything else that does not tell.
func (o *OpsGenie) Closed(ctx context.Context, alias string) (bool, error) {
	op := "look whether the page " + truncate(oneLine(alias), 100) + " is closed"
	base, err := OpsGenieURL(o.BaseURL)
	if err != nil {
		return false, fault.New(fault.InvalidInput, op, "%w", err)
	}
	if alias == "" {
		// The path would be that of all alerts.
		return false, fault.New(fault.InvalidInput, op, "the alias is empty: want the one that the page was sent with")
	}
	c := newCaller(o.HTTP)
	defer c.close()
	closed := false
	err = deliver(ctx, op, opsgenieKey, o.Key, func(ctx context.Context, key string) *refusal {
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
		case base == urlJSM && noSuchCall(a.status):
			return refuse(fault.InvalidInput, "HTTP %d: Jira Service Management's integration API does not tell", a.status)
		case a.unknownAlert(said, isJSON):
			closed = true
			return nil
		}
		return opsgenieRefusal(a, said, mayRead)
	})
	return closed, err
}

// Alias returns the alias of the alert that Send makes of the message; "" where
// the service is to choose one.
func (o *OpsGenie) Alias(m Message) string {
	if m.Incident == nil {
		return ""
	}
	return alias(describe(m))
}

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
	// confirm says that to be accepted is not enough.
	confirm bool
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
func (o *OpsGenie) ask(ctx context.Context, to asked, body []byte) error {
	c := newCaller(o.HTTP)
	defer c.close()
	return deliver(ctx, to.op, opsgenieKey, o.Key, func(ctx context.Context, key string) *refusal {
		a, r := call(ctx, c, http.MethodPost, to.address, key, body)
		if r != nil {
			return r
		}
		said, isJSON := a.opsgenie()
		if a.status < 200 || a.status > 299 {
			r := opsgenieRefusal(a, said, to.right)
			if to.confirm && a.unknownAlert(said, isJSON) {
				r.err = fmt.Errorf("%w: %w", r.err, ErrNoAlert)
			}
			return r
		}
		switch {
		case !isJSON:
			return refuse(fault.Unavailable, "the answer is not OpsGenie's: %s that is not its JSON", a.contentType())
		case requestID.MatchString(said.RequestID):
			return o.follow(ctx, c, to.base+"/v2/alerts/requests/"+said.RequestID, key, to)
		case a.status == http.StatusAccepted:
			return to.unconfirmed() // Nothing to follow it by.
		}
		return refuse(fault.Unavailable, "the answer, HTTP %d, does not say that %s was accepted", a.status, to.what)
	})
}

var requestID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$`)

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
	return a.status == http.StatusNotFound && isJSON && requestID.MatchString(said.RequestID)
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
func (o *OpsGenie) follow(ctx context.Context, c *caller, address, key string, to asked) *refusal {
	bound := o.FollowFor
	if bound <= 0 {
		bound = defaultFollow
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
	if low := strings.ToLower(status); to.confirm && strings.Contains(low, "alert") && strings.Contains(low, "not exist") {
		return refuse(fault.InvalidInput, "%s was accepted and then not %s: %s: %w", to.what, to.done, why, ErrNoAlert)
	}
	return refuse(fault.Unavailable, "%s was accepted and then not %s: %s", to.what, to.done, why)
}

// alert is the message within the limits of the API.
func (o *OpsGenie) alert(m Message) alert {
	r := describe(m)
	a := alert{
		Message:     truncate(r.headline, limitMessage),
		Alias:       alias(r),
		Description: r.plain(limitDescription),
		Entity:      truncate(r.entity(), limitEntity),
		Source:      truncate(r.deployment, limitSource),
		Priority:    o.Priority,
		Details:     map[string]string{},
	}
	if o.TeamID != "" {
		a.Responders = []responder{{Type: "team", ID: o.TeamID}}
	}
	seen := map[string]bool{}
	for _, tag := range []string{"firstline", r.deployment, string(r.outcome), r.guard, r.dryTag, r.region, r.account, r.instance} {
		if tag = truncate(tag, limitTag); tag != "" && !seen[tag] && len(a.Tags) < limitTags {
			seen[tag] = true
			a.Tags = append(a.Tags, tag)
		}
	}
	left := limitDetails
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

// noteOf is the message within the limits of a note. It begins with the instance,
// since the alert that it is added to is about others too.
func noteOf(m Message) note {
	m.Alone = true
	r := describe(m)
	head := truncate(r.headline, 300) + "\n"
	return note{Note: head + r.plain(limitNote-runes(head)), User: "firstline", Source: truncate(r.deployment, limitSource)}
}

// alias is the same for every incident of one instance of a deployment, so that
// what is open already is not opened twice. A brake has one for its region, of
// three parts where an instance's has four, so that no two are the same whatever
// the parts are. An event without an incident goes by its alarm, else by its
// execution.
func alias(r report) string {
	var id string
	switch {
	case r.fleet:
		id = path(r.deployment, "brake", r.account+":"+r.region)
	case r.outcome != noIncident:
		id = path(r.deployment, r.account, r.region, r.instance)
	case r.alarmARN != "":
		id = r.deployment + "/alarm/" + r.alarmARN
	case r.alarmName != "":
		id = strings.Join([]string{r.deployment, "alarm", r.account, r.region, r.alarmName}, "/")
	case r.execution != "":
		id = r.deployment + "/execution/" + r.execution
	default:
		// Without an alias the service makes one: better two alerts than one
		// that takes another's.
		return ""
	}
	if runes(id) <= limitAlias {
		return id
	}
	// Cut short it would not be unique any more.
	sum := sha256.Sum256([]byte(id))
	return truncate(id, limitAlias-33) + "-" + hex.EncodeToString(sum[:16])
}

// path joins parts, none of which can look like several.
func path(parts ...string) string {
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}
