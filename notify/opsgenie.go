package notify

import (
	"bytes"
	"cmp"
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
	"strings"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/lazy"
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
	defaultPoll = 500 * time.Millisecond
	maxPoll     = 2 * time.Second
)

// Base URLs that have a short name.
const (
	urlUS = "https://api.opsgenie.com"
	urlEU = "https://api.eu.opsgenie.com"
)

// service is one that speaks OpsGenie's Alert API v2.
type service struct {
	// name is the pager's type, and title what people call the service.
	name, title string
	// url makes a base URL of the setting.
	url func(endpoint string) (string, error)
	can Capabilities
	// followFor bounds how long it is asked what became of a request.
	followFor time.Duration
}

var opsgenie = service{
	name: "opsgenie", title: "OpsGenie", url: opsgenieURL,
	can:       Capabilities{Confirms: true, Readable: true, Notes: true, Resolvable: true, Deduplicates: true},
	followFor: 10 * time.Second,
}

// opsgenieURL returns the base URL of an endpoint: "us" and "eu" are OpsGenie's
// own.
func opsgenieURL(endpoint string) (string, error) {
	switch strings.ToLower(strings.TrimSpace(endpoint)) {
	case "us":
		return urlUS, nil
	case "eu":
		return urlEU, nil
	}
	base, err := alertAPIURL(endpoint)
	if err != nil {
		return "", errors.New("opsgenie.endpoint: " + err.Error() + "; use us, eu, or a base URL such as " + urlUS + " (https, or http on loopback)")
	}
	if base == urlJSM {
		return "", errors.New("opsgenie.endpoint: this is Jira Service Management; name jsm in pagers, and configure it in the block jsm")
	}
	return base, nil
}

// alertAPIURL accepts a base URL: https, or http on loopback, without the
// /v2/alerts.
func alertAPIURL(endpoint string) (string, error) {
	base, err := baseURL(endpoint)
	if err == nil && strings.Contains(base+"/", "/v2/") {
		err = errors.New("it holds the path /v2, which is added")
	}
	return base, err
}

// alertAPI pages through a service that speaks the Alert API.
type alertAPI struct {
	service
	alertSettings
	// key returns the API key of an integration.
	key Secret
	// http makes the calls; nil means a client with time-outs of its own.
	// Redirects are never followed.
	http *http.Client
	// poll is the first pause between two requests for the outcome; pauses double
	// up to 2 s. Zero means 500 ms.
	poll time.Duration
}

// alertSettings are the settings of such a service.
type alertSettings struct {
	Type string `json:"type"`
	// URL is the endpoint.
	URL          string `json:"url"`
	KeyParameter string `json:"keyParameter"`
	// Responders are who is woken. None leaves it to the integration.
	Responders []responder `json:"responders"`
	// Priority is P1 to P5; empty leaves it to the service (P3). PriorityUnknown is
	// that of an alert of the severity "unknown"; empty means the same as Priority.
	Priority        string `json:"priority"`
	PriorityUnknown string `json:"priorityUnknown"`
	// Tags and Details are added to ours. Of the details, ours keep half of the
	// room, and their names.
	Tags    []string          `json:"tags"`
	Details map[string]string `json:"details"`
	// Entity and Source take the place of ours, unless they are empty.
	Entity string `json:"entity"`
	Source string `json:"source"`
}

// responder is who is woken: a "team", "user", "escalation" or "schedule" by exactly
// one of the others. Only a user has a username.
type responder struct {
	Type     string `json:"type"`
	ID       string `json:"id,omitempty"`
	Name     string `json:"name,omitempty"`
	Username string `json:"username,omitempty"`
}

func makeOpsGenie(config json.RawMessage, deps Deps) (Pager, error) {
	return makeAlertAPI(opsgenie, config, deps)
}

func makeAlertAPI(s service, config json.RawMessage, deps Deps) (Pager, error) {
	o := &alertAPI{service: s, http: deps.HTTP}
	if err := incident.DecodeStrict(config, &o.alertSettings); err != nil {
		return nil, err
	}
	o.key = deps.secret(o.KeyParameter)
	return o, nil
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

// note is the body of "Add Note" and "Close Alert".
type note struct {
	Note   string `json:"note"`
	User   string `json:"user,omitempty"`
	Source string `json:"source,omitempty"`
}

// What is done, for errors.
const (
	doPage    = "page"
	doNote    = "add a note to the alert"
	doResolve = "resolve the alert"
)

// What a key must be allowed to do, for the error when it is not.
const (
	mayCreate = "create alerts"
	mayUpdate = "create and update alerts"
	mayRead   = "read alerts"
)

// Name is the pager's type.
func (o *alertAPI) Name() string { return o.name }

// Capabilities are the service's.
func (o *alertAPI) Capabilities() Capabilities { return o.can }

// Address returns the base URL that the service is called at.
func (o *alertAPI) Address() (string, error) { return o.url(o.URL) }

// op is an operation as errors name it: with the pager, since there may be several.
func (o *alertAPI) op(do string) string { return do + " through " + o.title }

// keyName names the API key in errors.
func (o *alertAPI) keyName() string { return "the " + o.title + " API key" }

// at returns the base URL, with an error of the operation.
func (o *alertAPI) at(do string) (string, error) {
	base, err := o.Address()
	if err != nil {
		return "", fault.New(fault.InvalidInput, o.op(do), "%w", err)
	}
	return base, nil
}

// compose makes an alert of a message, or says what of the settings is not
// right.
func (o *alertAPI) compose(m Message) (base string, a alert, err error) {
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
			return "", alert{}, fault.New(fault.InvalidInput, o.op(doPage), "%s.%s is %q; use P1, P2, P3, P4 or P5", o.name, field, truncate(oneLine(p), 20))
		}
	}
	return base, o.alert(m), nil
}

// Rehearse returns the text of the alert that Page would create, with Page's
// errors of the settings and the key. It makes no call.
func (o *alertAPI) Rehearse(ctx context.Context, m Message) (string, error) {
	_, page, err := o.compose(m)
	if err != nil {
		return "", err
	}
	if err := rehearse(ctx, o.op(doPage), o.keyName(), o.key); err != nil {
		return "", err
	}
	return page.Message + "\n" + page.Description, nil
}

// Page creates an alert and returns once it is known to be made, or, where the
// service offers no way to know (Jira Service Management, a key that may not
// read), once it is accepted. An alert that was accepted and then discarded is
// sent once more. One that was accepted and not confirmed in time is Unavailable: to
// send it again is harmless, since the alias makes it the same alert, and a page that
// never comes is not.
func (o *alertAPI) Page(ctx context.Context, m Message) (Delivery, error) {
	got, err := o.create(ctx, m)
	if err != nil {
		return Delivery{}, err
	}
	return Delivery{Confirmed: got.confirmed, Detail: cmp.Or(got.alertID, alias(m))}, nil
}

func (o *alertAPI) create(ctx context.Context, m Message) (receipt, error) {
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

// Note adds the message as a note to the alert, and returns nil once it is known to
// be there. The error holds ErrNoAlert when no such alert is open, and also when the
// service accepted the note and does not tell what became of it (Jira Service
// Management, a key that may not read): a note on an alert that was closed meanwhile
// is lost without a word. Page is then right either way: it makes the alert anew, or
// raises the count of the one that has the note. A note that is tried again may
// stand there twice.
func (o *alertAPI) Note(ctx context.Context, m Message) error {
	_, err := o.onAlert(ctx, m, doNote, "/notes", asked{what: "the note", done: "added", confirm: true})
	return err
}

// Resolve closes the alert, with the message as the note, and returns nil once it is
// known to be closed, or accepted where the service does not tell. The error holds
// ErrNoAlert when no such alert is open.
func (o *alertAPI) Resolve(ctx context.Context, m Message) error {
	_, err := o.close(ctx, m)
	return err
}

func (o *alertAPI) close(ctx context.Context, m Message) (receipt, error) {
	return o.onAlert(ctx, m, doResolve, "/close", asked{what: "the request to close it", done: "carried out"})
}

// onAlert posts the message as a note to the alert it is about.
func (o *alertAPI) onAlert(ctx context.Context, m Message, do, path string, to asked) (receipt, error) {
	to.op, to.right, to.onAlert = o.op(do), mayUpdate, true
	if m.Incident == nil && m.Kind != KindTest {
		return receipt{}, fault.New(fault.Internal, to.op, "there is no incident to tell about")
	}
	base, err := o.at(do)
	if err != nil {
		return receipt{}, err
	}
	name := alias(m)
	if name == "" {
		return receipt{}, fault.New(fault.InvalidInput, to.op, "the message has no alias, so nothing says to which alert it belongs: %w", ErrNoAlert)
	}
	body, err := json.Marshal(o.noteOf(m))
	if err != nil {
		return receipt{}, fault.New(fault.Internal, to.op, "encode the note: %w", err)
	}
	to.base, to.address = base, aliasURL(base, name, path)
	return o.ask(ctx, to, body)
}

// settle is how long a test waits for an alert to be there: what is not there yet
// cannot be closed.
const settle = 3 * time.Second

// Test makes an alert that says it is a test, at P5 and under an alias of its own, and
// closes it. An error after it was made says so, and names its alias: somebody has to
// close it.
func (o *alertAPI) Test(ctx context.Context, m Message) (Delivery, error) {
	m.Kind = KindTest
	made, err := o.create(ctx, m)
	if err != nil {
		return Delivery{}, err
	}
	if !made.confirmed {
		_ = pause(ctx, settle) // what follows tells of an ended context
	}
	closed, err := o.close(ctx, m)
	if errors.Is(err, ErrNoAlert) && pause(ctx, settle) == nil {
		closed, err = o.close(ctx, m) // it may not be found by its alias yet
	}
	name := alias(m)
	d := Delivery{Confirmed: made.confirmed && closed.confirmed && err == nil}
	switch {
	case err != nil:
		return Delivery{}, fault.New(fault.KindOf(err), o.op("test"), "the alert %s was made, and may be open: %w", name, err)
	case d.Confirmed:
		d.Detail = fmt.Sprintf("%s made the alert %s and closed it again", o.title, cmp.Or(made.alertID, name))
	case made.confirmed:
		d.Detail = fmt.Sprintf("%s made the alert %s and accepted the request to close it; it does not tell what became of that", o.title, name)
	default:
		d.Detail = fmt.Sprintf("%s accepted the alert %s and the request to close it; it does not tell what became of them", o.title, name)
	}
	return d, nil
}

// Open reports whether the alert of an alias is open. By an alias OpsGenie finds
// open alerts only, so it answers 404 for one that is closed as well as for one that
// somebody has deleted: neither is open, since nobody is at work on them. A 404
// without the request id that all its answers have comes from something else and
// tells nothing: that is an error, as is everything else that does not tell.
func (o *alertAPI) Open(ctx context.Context, name string) (bool, error) {
	do := "ask whether the alert " + truncate(oneLine(name), 100) + " is open"
	op := o.op(do)
	base, err := o.at(do)
	switch {
	case err != nil:
		return false, err
	case name == "":
		// The path would be that of all alerts.
		return false, fault.New(fault.InvalidInput, op, "the alias is empty; use the one that the page was sent with")
	case !o.can.Readable:
		return false, fault.New(fault.InvalidInput, op, "an integration's key may not read alerts: %w", ErrCannotTell)
	}
	c := newCaller(o.http)
	defer c.close()
	open := false
	err = deliver(ctx, op, o.keyName(), o.key, func(ctx context.Context, key string) *refusal {
		a, r := call(ctx, c, http.MethodGet, aliasURL(base, fit(name), ""), key, nil)
		if r != nil {
			return r
		}
		said, isJSON := a.opsgenie()
		switch {
		case a.status >= 200 && a.status <= 299 && isJSON && said.Data.Status != "":
			open = !strings.EqualFold(said.Data.Status, "closed")
			return nil
		case a.status >= 200 && a.status <= 299:
			return refuse(fault.Unavailable, "the answer, HTTP %d with %s, does not say: it is not OpsGenie's", a.status, a.contentType())
		case a.unknownAlert(said, isJSON):
			return nil
		}
		return opsgenieRefusal(a, said, mayRead)
	})
	return open, err
}

// aliasURL is the address of an alert by its alias, or of something below it.
func aliasURL(base, alias, below string) string {
	return base + "/v2/alerts/" + url.PathEscape(alias) + below + "?identifierType=alias"
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
func (o *alertAPI) ask(ctx context.Context, to asked, body []byte) (receipt, error) {
	c := newCaller(o.http)
	defer c.close()
	var got receipt
	err := deliver(ctx, to.op, o.keyName(), o.key, func(ctx context.Context, key string) *refusal {
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
func (o *alertAPI) follow(ctx context.Context, c *caller, address, key string, to asked, got *receipt) *refusal {
	bound := o.followFor
	if deadline, ok := ctx.Deadline(); ok {
		// What is left must do for saying so.
		bound = min(bound, max(time.Until(deadline)-500*time.Millisecond, 0))
	}
	bounded, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	wait := o.poll
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
		wait = min(wait*2, max(maxPoll, o.poll))
	}
	if !o.can.Confirms {
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
	why := cmp.Or(truncate(oneLine(status), maxServerWords), "no reason given")
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
func (o *alertAPI) alert(m Message) alert {
	r := describe(m)
	a := alert{
		Message:     r.headline(limitMessage, truncate),
		Alias:       alias(m),
		Description: r.body(limitDescription),
		Responders:  o.Responders,
		Entity:      truncate(cmp.Or(oneLine(o.Entity), r.entity), limitEntity),
		Source:      o.source(r),
		Priority:    o.Priority,
	}
	switch {
	case r.situation == incident.SituationTest:
		a.Priority = "P5"
	case r.severity == incident.SeverityUnknown:
		a.Priority = cmp.Or(o.PriorityUnknown, o.Priority)
	}
	for _, tag := range append(r.tags(), o.Tags...) {
		if tag = truncate(oneLine(tag), limitTag); tag != "" && !slices.Contains(a.Tags, tag) && len(a.Tags) < limitTags {
			a.Tags = append(a.Tags, tag)
		}
	}
	a.Details = o.details(r)
	return a
}

// details are ours and the settings', which keep half of the room at most.
func (o *alertAPI) details(r *report) map[string]string {
	all, ours := map[string]string{}, r.details()
	left := limitDetails
	add := func(label, value string, limit int) {
		if value = truncate(value, min(limit, left-runes(label))); label != "" && value != "" {
			all[label] = value
			left -= runes(label) + runes(value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Details)) {
		label := oneLine(name)
		if slices.ContainsFunc(ours, func(f fact) bool { return f.label == label }) {
			continue
		}
		add(label, oneLine(o.Details[name]), left-limitDetails/2-runes(label))
	}
	for _, f := range ours {
		add(f.label, f.value, limitDetail)
	}
	return all
}

func (o *alertAPI) source(r *report) string {
	return truncate(cmp.Or(oneLine(o.Source), r.deployment), limitSource)
}

// noteOf is the message within the limits of a note.
func (o *alertAPI) noteOf(m Message) note {
	r := describe(m)
	return note{Note: r.text(limitHead, limitNote), User: "firstline", Source: o.source(r)}
}

// alias is the alias of the alert that a message makes or is about; "" where the
// service is to choose one. Each test has one of its own.
func alias(m Message) string {
	if m.Kind == KindTest {
		r := describe(m)
		return fit(r.deployment + "/test/" + r.region + "/" + m.Now.UTC().Format("20060102T150405.000Z"))
	}
	return fit(m.Alert.Alias)
}

// fit makes an alias one that the API takes. Cut short it would not be unique any
// more.
func fit(alias string) string {
	if alias = strings.ToValidUTF8(alias, "\uFFFD"); runes(alias) <= limitAlias {
		return alias
	}
	sum := sha256.Sum256([]byte(alias))
	return truncate(alias, limitAlias-33) + "-" + hex.EncodeToString(sum[:16])
}
