package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
// "Create Alert" and "Add Note". Terraform bounds what settings add to an alert.
const (
	limitMessage     = 130
	limitAlias       = 512
	limitDescription = 15000
	limitTag         = 50
	limitNote        = 25000
)

// followFor bounds how long a service is asked what became of a request.
const followFor = 10 * time.Second

// What is asked of an alert, or of all alerts, is below this path.
const alertsPath, notesPath, closePath = "/v2/alerts", "/notes", "/close"

var errNotProcessed = errors.New("the request is not processed yet")

// service is one that speaks OpsGenie's Alert API v2.
type service struct {
	name, title string
	// urls are the base URLs that have a short name in the settings.
	urls map[string]string
	can  Capabilities
}

var opsgenie = service{
	name: "opsgenie", title: "OpsGenie",
	urls: map[string]string{"us": "https://api.opsgenie.com", "eu": "https://api.eu.opsgenie.com"},
	can: Capabilities{
		Confirms: true, Readable: true, Notes: true, Resolvable: true, Deduplicates: true, Heartbeat: true,
		Priorities: alertPriorities, Title: limitMessage, Text: limitDescription,
	},
}

// alertPriorities are those of the Alert API.
var alertPriorities = []string{"P1", "P2", "P3", "P4", "P5"}

// alertAPI pages through a service that speaks the Alert API.
type alertAPI struct {
	service
	alertSettings
	// token is for reading, where it is not done with the key.
	key, token Secret
	http       http.RoundTripper
}

// alertSettings are the settings of such a service, as Terraform has checked them.
type alertSettings struct {
	Type string `json:"type"`
	// Endpoint is one of the service's short names, or a base URL.
	Endpoint     string `json:"endpoint"`
	KeyParameter string `json:"key_parameter"`
	// PriorityUnknown is the priority of an alert of the severity "unknown".
	PriorityUnknown string `json:"priority_unknown"`
	opsSettings
	chosen
}

// chosen is what settings say of an alert, as the service takes it. Tags and Details
// are added to ours, Entity and Source take the place of ours. Without Responders the
// integration says who is woken.
type chosen struct {
	Responders []map[string]string `json:"responders,omitempty"`
	Tags       []string            `json:"tags,omitempty"`
	Details    map[string]string   `json:"details,omitempty"`
	Entity     string              `json:"entity,omitempty"`
	Source     string              `json:"source,omitempty"`
	Priority   string              `json:"priority,omitempty"`
}

func (s service) pager(config json.RawMessage, deps Deps) (Pager, error) {
	var settings alertSettings
	err := incident.DecodeStrict(config, &settings)
	return s.api(settings, deps), err
}

func (s service) api(settings alertSettings, deps Deps) *alertAPI {
	if settings.CloudID != "" {
		s.can = jsmWithCloudID
	}
	return &alertAPI{service: s, alertSettings: settings, key: deps.secretIn(settings.KeyParameter), token: deps.secretIn(settings.TokenParameter), http: deps.HTTP}
}

// alert is the body of "Create Alert".
type alert struct {
	Message     string `json:"message"`
	Alias       string `json:"alias,omitempty"`
	Description string `json:"description,omitempty"`
	chosen
}

// note is the body of "Add Note" and "Close Alert".
type note struct {
	Note   string `json:"note"`
	User   string `json:"user,omitempty"`
	Source string `json:"source,omitempty"`
}

// Name is its type.
func (o *alertAPI) Name() string { return o.name }

// Capabilities are the service's.
func (o *alertAPI) Capabilities() Capabilities { return o.can }

// address is the base URL that the service is called at.
func (o *alertAPI) address() string {
	return strings.TrimRight(cmp.Or(o.urls[o.Endpoint], o.Endpoint), "/")
}

func (o *alertAPI) op(do string) string { return do + " through " + o.title }

func (o *alertAPI) client(do string) *client {
	return newClient(o.op(do), "the "+o.title+" API key", o.key, o.http)
}

// Rehearse is as Pager says: it closes an alert that was never made. That needs the
// right that a page needs: a key that may read is not enough, as that of an account,
// which may not make alerts (https://docs.opsgenie.com/docs/api-key-management).
func (o *alertAPI) Rehearse(ctx context.Context, m Message) (string, error) {
	body, _ := json.Marshal(note{Note: triedIt, User: "firstline"})
	c := o.client("page")
	err := c.rehearse(ctx, func() *refusal {
		_, r := o.call(ctx, c, http.MethodPost, aliasPath(neverMade, closePath), body)
		if r != nil && r.noAlert {
			return nil
		}
		return r
	})
	if err == nil && o.CloudID != "" {
		_, err = o.Open(ctx, neverMade) // the token, too
	}
	if err != nil {
		return "", err
	}
	page := o.alert(m)
	return page.Message + "\n" + page.Description, nil
}

// Page creates an alert. One that was accepted and not confirmed in time is
// Unavailable where the service can confirm: to send it again is harmless, since the
// alias makes it the same alert, and a page that never comes is not.
func (o *alertAPI) Page(ctx context.Context, m Message) (Delivery, error) {
	confirmed, err := o.ask(ctx, "page", "", m)
	return Delivery{Confirmed: confirmed}, err
}

// Note adds a note to the alert. If the service accepts it and does not tell what
// became of it, ErrNoAlert is in the error's chain: if the alert was closed meanwhile,
// the note is lost without a word. Page is then right either way: it makes the
// alert anew, or raises the count of the one that has the note.
func (o *alertAPI) Note(ctx context.Context, m Message) error {
	confirmed, err := o.ask(ctx, addNote, notesPath, m)
	return noteTaken(o.op(addNote), confirmed, err)
}

// Resolve closes the alert.
func (o *alertAPI) Resolve(ctx context.Context, m Message) error {
	_, err := o.close(ctx, m)
	return err
}

func (o *alertAPI) close(ctx context.Context, m Message) (confirmed bool, err error) {
	return o.ask(ctx, "resolve the alert", closePath, m)
}

// Test makes an alert at P5 and closes it.
func (o *alertAPI) Test(ctx context.Context, m Message) (Delivery, error) {
	got, err := makeAndClose(ctx, o.title, m, o.Page, o.close)
	if err == nil && !got.Confirmed && o.CloudID != "" {
		_, err = o.Open(ctx, alias(m)) // why it could not be confirmed
	}
	return got, err
}

// Open reports whether the alert of an alias is open. By an alias open alerts only are
// found, so one that is closed or deleted is answered with 404: nobody is at work on
// either.
func (o *alertAPI) Open(ctx context.Context, alias string) (open bool, err error) {
	do := "ask whether the alert " + incident.ClipLine(alias, 100) + " is open"
	err = o.read(ctx, do, aliasPath(alias, ""), opsAlias(alias), func(a *opsgenieAnswer, r *refusal) *refusal {
		open, r = a.open(r)
		return r
	})
	return open, err
}

// open is what an answer about an alert says.
func (a *opsgenieAnswer) open(r *refusal) (bool, *refusal) {
	switch {
	case r != nil && r.noAlert:
		return false, nil
	case r != nil:
		return false, r
	case a.said.Data.Status == "":
		return false, refuse(fault.Unavailable, "the answer, %s, does not say", a)
	}
	return !strings.EqualFold(a.said.Data.Status, "closed"), nil
}

// read asks something: with the key, or of the Operations API where that is set.
func (o *alertAPI) read(ctx context.Context, do, path, opsPath string, use func(*opsgenieAnswer, *refusal) *refusal) error {
	c := o.client(do)
	if o.CloudID == "" {
		return c.deliver(ctx, func() *refusal { return use(o.call(ctx, c, http.MethodGet, path, nil)) })
	}
	if r := use(o.callOps(ctx, opsPath)); r != nil {
		return clean(c.op, r)
	}
	return nil
}

// ask posts a request that the service accepts first and carries out later, and
// follows it. What is below an alert is asked of that alert; else one is made.
func (o *alertAPI) ask(ctx context.Context, do, below string, m Message) (confirmed bool, err error) {
	path, body := alertsPath, any(o.alert(m))
	if below != "" {
		path, body = aliasPath(alias(m), below), o.note(m)
	}
	encoded, _ := json.Marshal(body) // of texts: it cannot fail
	c := o.client(do)
	err = c.deliver(ctx, func() *refusal {
		a, r := o.call(ctx, c, http.MethodPost, path, encoded)
		switch {
		case r != nil:
			return r
		case a.hasID():
			confirmed, r = o.follow(ctx, c, a.said.RequestID, alias(m), below)
			return r
		case a.StatusCode == http.StatusAccepted && json.Valid(a.body):
			return nil // there is nothing to follow it by
		}
		return refuse(fault.Unavailable, "the answer, %s, does not say that the request was accepted", a)
	})
	return confirmed, err
}

// aliasPath is the path of an alert, or of something below it.
func aliasPath(alias, below string) string {
	return alertsPath + "/" + url.PathEscape(alias) + below + "?identifierType=alias"
}

// opsgenieAnswer is an answer with the fields that matter here.
type opsgenieAnswer struct {
	*answer
	said struct {
		Message   string            `json:"message"`
		Errors    map[string]string `json:"errors"`
		RequestID string            `json:"requestId"`
		Data      struct {
			IsSuccess *bool  `json:"isSuccess"`
			Status    string `json:"status"`
		} `json:"data"`
	}
}

// call makes one request of the API with the key.
func (o *alertAPI) call(ctx context.Context, c *client, method, path string, body []byte) (*opsgenieAnswer, *refusal) {
	header := map[string]string{"Authorization": "GenieKey " + c.key, "Content-Type": "application/json"}
	got, r := c.send(ctx, method, o.address()+path, header, body)
	if r != nil {
		return nil, r
	}
	a := &opsgenieAnswer{answer: got}
	_ = json.Unmarshal(a.body, &a.said) // what it can: an oddity in one field does not hide the others
	if a.ok() {
		return a, nil
	}
	if a.Header.Get("X-Opsgenie-Errortype") == "RequestNotProcessed" || strings.Contains(strings.ToLower(a.said.Message), "not processed") {
		return nil, &refusal{kind: fault.Unavailable, err: errNotProcessed}
	}
	details := []string{a.said.Message}
	for _, field := range slices.Sorted(maps.Keys(a.said.Errors)) {
		details = append(details, field+": "+a.said.Errors[field])
	}
	r = a.refused(strings.Join(details, "; "))
	// A 404 without the request id that all of OpsGenie's answers have comes from
	// something else.
	r.noAlert = a.StatusCode == http.StatusNotFound && a.hasID()
	if r.auth {
		r.err = fmt.Errorf("%w: renew the API key, and let its integration read, create and update alerts", r.err)
	}
	return nil, r
}

var requestID = lazy.Regexp(`^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$`)

func (a *opsgenieAnswer) hasID() bool { return requestID().MatchString(a.said.RequestID) }

// follow asks what became of an accepted request until that is known. Where it
// cannot be known the request is not confirmed, and counts as done.
func (o *alertAPI) follow(ctx context.Context, c *client, request, alias, below string) (confirmed bool, r *refusal) {
	bound := followFor
	if deadline, ok := ctx.Deadline(); ok {
		// What is left must do for saying so.
		bound = min(bound, max(time.Until(deadline)-500*time.Millisecond, 0))
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	last, shown := "it was not asked", false
	for wait := 500 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		a, r := o.status(ctx, c, request)
		switch {
		case r == nil && a.said.Data.IsSuccess != nil:
			return a.outcome()
		case r == nil:
			last = "the status of the request is " + a.String() + ", without an outcome"
		case r.kind != fault.Unavailable:
			// No such path here (Jira Service Management), or a key that may create and
			// not read.
			return false, nil
		case ctx.Err() == nil:
			last = r.err.Error()
		}
		if !o.can.Confirms && (r == nil || !errors.Is(r.err, errNotProcessed)) {
			return false, nil // it does not answer as documented
		}
		if shown, r = o.shows(ctx, alias, below); r != nil || shown && below != notesPath {
			return shown, r
		}
		if pause(ctx, wait) != nil {
			break
		}
	}
	if shown || !o.can.Confirms {
		// An open alert has a note that was accepted, as far as can be known. And where no
		// way to ask is documented, what answers may know nothing of the request.
		return shown, nil
	}
	return false, refuse(fault.Unavailable, "the request was accepted and not confirmed within %s: %s", bound.Round(time.Millisecond), last)
}

// outcome is what became of a request. That there is no such alert is in the words
// only (https://docs.opsgenie.com/docs/alert-api#get-request-status).
func (a *opsgenieAnswer) outcome() (confirmed bool, r *refusal) {
	if *a.said.Data.IsSuccess {
		return true, nil
	}
	status := a.said.Data.Status
	r = refuse(fault.Unavailable, "the request was accepted and then not carried out: %s", cmp.Or(status, "no reason given"))
	low := strings.ToLower(status)
	r.discarded = true
	r.noAlert = strings.Contains(low, "alert") && (strings.Contains(low, "not exist") || strings.Contains(low, "already closed"))
	return false, r
}

// alert is the message within the limits of the API.
func (o *alertAPI) alert(m Message) alert {
	r := describe(m)
	a := alert{r.headline(limitTitle), alias(m), join(r.lines(), limitDescription), o.chosen}
	a.Entity, a.Source = cmp.Or(o.Entity, r.about()), cmp.Or(o.Source, r.deployment)
	switch {
	case r.situation == incident.SituationTest:
		a.Priority = "P5"
	case r.dec.Severity == incident.SeverityUnknown:
		a.Priority = o.PriorityUnknown
	}
	a.Tags = nil
	ours := []string{"firstline", r.deployment, r.situation, r.dec.Severity.String(), r.dec.Guard, r.region, r.account, r.instance}
	for _, tag := range append(ours, o.Tags...) {
		if tag = incident.ClipLine(tag, limitTag); tag != "" && !slices.Contains(a.Tags, tag) {
			a.Tags = append(a.Tags, tag)
		}
	}
	a.Details = map[string]string{}
	maps.Copy(a.Details, o.Details)
	maps.Copy(a.Details, r.details())
	return a
}

// note is the message within the limits of a note.
func (o *alertAPI) note(m Message) note {
	r := describe(m)
	return note{Note: join(r.text(), limitNote), User: "firstline", Source: cmp.Or(o.Source, r.deployment)}
}

// alias is the alias of the alert that a message makes or is about. Each test has
// one of its own.
func alias(m Message) string {
	if m.Kind == KindTest {
		return plain(m.Deployment+"/test/"+m.Incident.Region+"/"+m.Now.UTC().Format("20060102T150405.000Z"), limitAlias)
	}
	return incident.ClipLine(m.Alert.Alias, limitAlias)
}
