package handler

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

// way is a pager of several, which writes down what it is asked.
type way struct {
	name string
	log  *[]string
	// Errors one after another, then none.
	sends, notes, closes []error
	// open says of aliases that they are open; tells is the error where it does not.
	open  map[string]bool
	tells error
	hangs bool
	last  notify.Message
}

func (w *way) did(what, alias string) { *w.log = append(*w.log, w.name+" "+what+" "+short(alias)) }

// short leaves out of an alias what all have.
func short(alias string) string {
	return strings.Replace(strings.Replace(alias, pageAlias, "base", 1), brakeAlias, "brake", 1)
}

func next(errs *[]error) error {
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

func (w *way) Name() string { return w.name }

func (w *way) Send(ctx context.Context, m notify.Message) error {
	w.did("send", notify.Alias(m))
	if w.hangs {
		<-ctx.Done()
		return fault.New(fault.Unavailable, "page", "%w", ctx.Err())
	}
	w.last = m
	return next(&w.sends)
}

func (w *way) Note(_ context.Context, m notify.Message) error {
	w.did("note", notify.Alias(m))
	w.last = m
	return next(&w.notes)
}

func (w *way) Close(_ context.Context, m notify.Message) error {
	w.did("close", notify.Alias(m))
	w.last = m
	return next(&w.closes)
}

func (w *way) Closed(_ context.Context, alias string) (bool, error) {
	if w.tells != nil {
		return false, w.tells
	}
	return !w.open[alias], nil
}

func (w *way) Rehearse(context.Context, notify.Message) (string, error) {
	return "the message of " + w.name, next(&w.sends)
}

func (w *way) Test(context.Context, notify.Message) (notify.Delivery, error) {
	return notify.Delivery{Confirmed: w.tells == nil, Detail: w.name}, next(&w.sends)
}

// by makes a handler's pagers of these.
func by(h *Handler, ways ...*way) *[]string {
	log := new([]string)
	all := &notify.Pagers{}
	for _, w := range ways {
		w.log = log
		all.All = append(all.All, w)
	}
	h.Pagers = func() (*notify.Pagers, error) { return all, nil }
	return log
}

// downIncident is one whose instance stayed down.
func downIncident() *incident.Incident {
	inc := failed()
	inc.Run, inc.Reboot = 2, &incident.Reboot{At: time.Now().UTC(), Outcome: incident.RebootRequested}
	inc.Record(checks.Finding{Check: "url", Reason: "refused", At: time.Now()})
	return inc
}

var (
	errGone        = fault.New(fault.InvalidInput, "note", "%w", notify.ErrNoAlert)
	errUnconfirmed = fault.New(fault.Unavailable, "note", "%w", notify.ErrNoAlert)
	errDown        = fault.New(fault.Unavailable, "call", "HTTP 500")
	errDenied      = fault.New(fault.Denied, "call", "HTTP 403")
	errNoTelling   = fault.New(fault.InvalidInput, "look", "%w", notify.ErrCannotTell)
)

// openAlert is one that somebody was paged with.
func openAlert(pager string, generation int64) guard.Alert {
	alias := pageAlias
	if generation > 1 {
		alias += fmt.Sprintf("/%d", generation)
	}
	return guard.Alert{
		Open: true, Generation: generation, By: "arn:a", Alias: alias, Pager: pager, Outcome: incident.AlertDown,
		OpenedAt: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC), SentAt: time.Date(2026, 11, 22, 9, 0, 1, 0, time.UTC),
		Repeats: 1, RepeatedBy: "arn:x", Version: 4, Thread: &thread,
	}
}

func TestPageOfAnInstance(t *testing.T) {
	fresh := func(generation int64) claimed {
		return claimed{guard.Alert{Open: true, Generation: generation}, guard.ClaimNew, nil}
	}
	again := func(generation int64) claimed {
		c := fresh(generation)
		c.alert.Again = true
		return c
	}
	repeat := func(pager string) claimed { return claimed{openAlert(pager, 1), guard.ClaimRepeat, nil} }
	replaces := func(generation int64, pager string) claimed {
		c := fresh(generation)
		c.claim, c.alert.Replaces = guard.ClaimReplace, &guard.Replaced{Alias: pageAlias, Pager: pager}
		return c
	}
	// An alert that SNS took after the first one's, which OpsGenie has.
	bySNS := openAlert("sns", 2)
	bySNS.Replaces = &guard.Replaced{Alias: pageAlias, Pager: "opsgenie"}
	noTable := claimed{err: fault.New(fault.Internal, "claim", "the item cannot be read")}
	isOpen := map[string]bool{pageAlias: true}
	for _, tt := range []struct {
		name    string
		claims  []claimed
		ways    []*way
		another bool // the first pager has failed
		want    []string
		gone    []string
		sent    []string // what the table was told
		kind    fault.Kind
		pager   string
		repeat  bool
	}{
		{
			name: "the first", ways: []*way{{name: "opsgenie"}, {name: "jsm"}},
			want: []string{"opsgenie send base"}, sent: []string{"opsgenie base"}, pager: "opsgenie",
		},
		{
			name: "the next", claims: []claimed{fresh(2)}, ways: []*way{{name: "opsgenie", open: isOpen}},
			want: []string{"opsgenie send base/2"}, sent: []string{"opsgenie base/2"}, pager: "opsgenie",
		},
		{
			name: "the first fails", ways: []*way{{name: "opsgenie", sends: []error{errDown}}, {name: "jsm"}},
			want: []string{"opsgenie send base"}, kind: fault.Unavailable,
		},
		{
			name: "the first refuses", ways: []*way{{name: "opsgenie", sends: []error{errDenied}}, {name: "jsm"}},
			want: []string{"opsgenie send base"}, kind: fault.Denied,
		},
		{
			name: "another way", claims: []claimed{again(1)}, ways: []*way{{name: "opsgenie"}, {name: "jsm"}, {name: "sns"}}, another: true,
			want: []string{"jsm send base"}, sent: []string{"jsm base"}, pager: "jsm",
		},
		{
			name: "the last resort", claims: []claimed{again(1)}, ways: []*way{{name: "opsgenie"}, {name: "jsm", sends: []error{errDenied}}, {name: "sns"}}, another: true,
			want: []string{"jsm send base", "sns send base"}, sent: []string{"sns base"}, pager: "sns",
		},
		{
			name: "and the first after all", claims: []claimed{again(1)}, ways: []*way{{name: "opsgenie"}, {name: "jsm", sends: []error{errDown}}}, another: true,
			want: []string{"jsm send base", "opsgenie send base"}, sent: []string{"opsgenie base"}, pager: "opsgenie",
		},
		{
			name: "no way at all", claims: []claimed{again(1)}, ways: []*way{{name: "opsgenie", sends: []error{errDenied}}, {name: "jsm", sends: []error{errDenied}}, {name: "sns", sends: []error{errDown}}}, another: true,
			want: []string{"jsm send base", "sns send base", "opsgenie send base"}, kind: fault.Unavailable,
		},
		{
			name: "no way ever", claims: []claimed{again(1)}, ways: []*way{{name: "opsgenie", sends: []error{errDenied}}, {name: "jsm", sends: []error{errDenied}}}, another: true,
			want: []string{"jsm send base", "opsgenie send base"}, kind: fault.Denied,
		},
		{
			name: "the only one has failed", claims: []claimed{again(1)}, ways: []*way{{name: "opsgenie"}}, another: true,
			want: []string{"opsgenie send base"}, sent: []string{"opsgenie base"}, pager: "opsgenie",
		},
		{
			name: "an alert of another version has the alias", claims: []claimed{fresh(1), fresh(2)}, ways: []*way{{name: "opsgenie", open: isOpen}},
			want: []string{"opsgenie send base/2"}, gone: []string{"replaced base"}, sent: []string{"opsgenie base/2"}, pager: "opsgenie",
		},
		{
			name: "and of the next", claims: []claimed{fresh(1), fresh(2), fresh(3)}, ways: []*way{{name: "opsgenie", open: map[string]bool{pageAlias: true, pageAlias + "/2": true}}},
			want: []string{"opsgenie send base/3"}, gone: []string{"replaced base", "replaced base/2"}, sent: []string{"opsgenie base/3"}, pager: "opsgenie",
		},
		{
			name: "it may have", claims: []claimed{fresh(1), replaces(2, "jsm")}, ways: []*way{{name: "jsm", tells: errNoTelling}},
			want: []string{"jsm send base/2", "jsm close base"}, gone: []string{"replaced base"}, sent: []string{"jsm base/2"}, pager: "jsm",
		},
		{
			name: "the key may create and not read", claims: []claimed{fresh(1), replaces(2, "opsgenie")}, ways: []*way{{name: "opsgenie", tells: errDenied}},
			want: []string{"opsgenie send base/2", "opsgenie close base"}, gone: []string{"replaced base"}, sent: []string{"opsgenie base/2"}, pager: "opsgenie",
		},
		{
			name: "the table was made anew, and a later one is open", claims: []claimed{fresh(2), fresh(3)}, ways: []*way{{name: "opsgenie", open: map[string]bool{pageAlias + "/2": true}}},
			want: []string{"opsgenie send base/3"}, gone: []string{"replaced base/2"}, sent: []string{"opsgenie base/3"}, pager: "opsgenie",
		},
		{
			name: "nobody knows, since the pager is down", ways: []*way{{name: "opsgenie", tells: errDown, sends: []error{errDown}}},
			want: []string{"opsgenie send base"}, kind: fault.Unavailable,
		},
		{
			name: "sent before, and its answer lost", claims: []claimed{again(1)}, ways: []*way{{name: "opsgenie", open: isOpen}},
			want: []string{"opsgenie send base"}, sent: []string{"opsgenie base"}, pager: "opsgenie",
		},
		{
			name: "no table", claims: []claimed{noTable}, ways: []*way{{name: "opsgenie", open: isOpen}},
			want: []string{"opsgenie send base/x"}, pager: "opsgenie",
		},
		{
			name: "no table, and another way", claims: []claimed{noTable}, ways: []*way{{name: "opsgenie"}, {name: "jsm"}}, another: true,
			want: []string{"jsm send base/x"}, pager: "jsm",
		},
		{
			name: "a repeat", claims: []claimed{repeat("opsgenie")}, ways: []*way{{name: "opsgenie", open: isOpen}},
			want: []string{"opsgenie note base"}, pager: "opsgenie", repeat: true,
		},
		{
			name: "a repeat, where another pager has the alert", claims: []claimed{repeat("jsm")}, ways: []*way{{name: "opsgenie"}, {name: "jsm", open: isOpen}},
			want: []string{"jsm note base"}, pager: "jsm", repeat: true,
		},
		{
			name: "a repeat, and a person has closed it", claims: []claimed{repeat("opsgenie"), fresh(2)}, ways: []*way{{name: "opsgenie"}},
			want: []string{"opsgenie send base/2"}, gone: []string{"person base"}, sent: []string{"opsgenie base/2"}, pager: "opsgenie",
		},
		{
			name: "a repeat, and a person closes it just now", claims: []claimed{repeat("opsgenie"), fresh(2)}, ways: []*way{{name: "opsgenie", open: isOpen, notes: []error{errGone}}},
			want: []string{"opsgenie note base", "opsgenie send base/2"}, gone: []string{"person base"}, sent: []string{"opsgenie base/2"}, pager: "opsgenie",
		},
		{
			name: "a repeat, and another execution was faster", claims: []claimed{repeat("opsgenie"), {openAlert("opsgenie", 2), guard.ClaimRepeat, nil}}, ways: []*way{{name: "opsgenie", open: map[string]bool{pageAlias + "/2": true}}},
			want: []string{"opsgenie note base/2"}, gone: []string{"person base"}, pager: "opsgenie", repeat: true,
		},
		{
			name:   "a repeat, and somebody closes whatever is opened",
			claims: []claimed{repeat("opsgenie"), repeat("opsgenie"), repeat("opsgenie"), repeat("opsgenie"), repeat("opsgenie"), repeat("opsgenie")}, ways: []*way{{name: "opsgenie"}},
			want: []string{"opsgenie send base/x"}, gone: []string{"person base", "person base", "person base", "person base", "person base"}, pager: "opsgenie",
		},
		{
			name: "a repeat, and the note fails", claims: []claimed{repeat("opsgenie")}, ways: []*way{{name: "opsgenie", open: isOpen, notes: []error{errDown}}},
			want: []string{"opsgenie note base"}, kind: fault.Unavailable,
		},
		{
			name: "a repeat, and the note is refused", claims: []claimed{repeat("opsgenie"), replaces(2, "opsgenie")}, ways: []*way{{name: "opsgenie", open: isOpen, notes: []error{errDenied}}},
			want: []string{"opsgenie note base", "opsgenie send base/2", "opsgenie close base"}, gone: []string{"replaced base"}, sent: []string{"opsgenie base/2"}, pager: "opsgenie",
		},
		{
			name: "a repeat, and nobody knows where the note went", claims: []claimed{repeat("opsgenie")}, ways: []*way{{name: "opsgenie", open: isOpen, notes: []error{errUnconfirmed}}},
			want: []string{"opsgenie note base", "opsgenie send base"}, pager: "opsgenie", repeat: true,
		},
		{
			name: "a repeat, and the pager does not tell", claims: []claimed{repeat("jsm")}, ways: []*way{{name: "jsm", tells: errNoTelling, notes: []error{errUnconfirmed}}},
			want: []string{"jsm send base", "jsm note base"}, pager: "jsm", repeat: true,
		},
		{
			name: "a repeat, and the pager does not answer", claims: []claimed{repeat("jsm")}, ways: []*way{{name: "jsm", tells: errDown, sends: []error{errDown}}},
			want: []string{"jsm send base"}, kind: fault.Unavailable,
		},
		{
			name: "a repeat, the pager does not tell and takes no note", claims: []claimed{repeat("jsm")}, ways: []*way{{name: "jsm", tells: errNoTelling, notes: []error{errDown}}},
			want: []string{"jsm send base", "jsm note base"}, kind: fault.Unavailable,
		},
		{
			name: "a repeat, the pager does not tell and refuses notes", claims: []claimed{repeat("jsm"), replaces(2, "jsm")}, ways: []*way{{name: "jsm", tells: errNoTelling, notes: []error{errDenied}}},
			want: []string{"jsm send base", "jsm note base", "jsm send base/2", "jsm close base"}, gone: []string{"replaced base"}, sent: []string{"jsm base/2"}, pager: "jsm",
		},
		{
			name: "a repeat by SNS", claims: []claimed{repeat("sns")}, ways: []*way{{name: "sns", tells: errNoTelling}},
			want: []string{"sns note base"}, pager: "sns", repeat: true,
		},
		{
			name: "a repeat of what SNS took as the last resort", claims: []claimed{repeat("sns"), replaces(2, "sns")}, ways: []*way{{name: "opsgenie"}, {name: "sns", tells: errNoTelling}},
			want: []string{"opsgenie send base/2"}, gone: []string{"replaced base"}, sent: []string{"opsgenie base/2"}, pager: "opsgenie",
		},
		{
			name: "a repeat, and its pager is not there any more", claims: []claimed{repeat("jsm"), replaces(2, "jsm")}, ways: []*way{{name: "opsgenie"}},
			want: []string{"opsgenie send base/2"}, gone: []string{"replaced base"}, sent: []string{"opsgenie base/2"}, pager: "opsgenie",
		},
		{
			name: "a repeat that failed goes another way", claims: []claimed{repeat("opsgenie"), replaces(2, "opsgenie")}, ways: []*way{{name: "opsgenie", open: isOpen}, {name: "jsm"}}, another: true,
			want: []string{"jsm send base/2"}, gone: []string{"replaced base"}, sent: []string{"jsm base/2"}, pager: "jsm",
		},
		{
			name: "a repeat that another pager failed to take goes to the first", claims: []claimed{repeat("jsm"), replaces(2, "jsm")}, ways: []*way{{name: "opsgenie"}, {name: "jsm"}, {name: "sns"}}, another: true,
			want: []string{"opsgenie send base/2"}, gone: []string{"replaced base"}, sent: []string{"opsgenie base/2"}, pager: "opsgenie",
		},
		{
			name: "and on, if that does not", claims: []claimed{repeat("jsm"), replaces(2, "jsm")}, ways: []*way{{name: "opsgenie", sends: []error{errDown}}, {name: "jsm"}, {name: "sns", sends: []error{errDown}}}, another: true,
			want: []string{"opsgenie send base/2", "sns send base/2", "jsm send base/2", "jsm close base"}, gone: []string{"replaced base"}, sent: []string{"jsm base/2"}, pager: "jsm",
		},
		{
			name: "and comes to the first after all", claims: []claimed{repeat("opsgenie"), replaces(2, "opsgenie")}, ways: []*way{{name: "opsgenie", open: isOpen}, {name: "jsm", sends: []error{errDown}}}, another: true,
			want: []string{"jsm send base/2", "opsgenie send base/2", "opsgenie close base"}, gone: []string{"replaced base"}, sent: []string{"opsgenie base/2"}, pager: "opsgenie",
		},
		{
			name: "SNS keeps nothing open: what another one has stays so", claims: []claimed{replaces(2, "opsgenie")}, ways: []*way{{name: "sns", tells: errNoTelling}, {name: "opsgenie", open: isOpen}},
			want: []string{"sns send base/2"}, sent: []string{"sns base/2"}, pager: "sns",
		},
		{
			name: "and is not forgotten", claims: []claimed{{bySNS, guard.ClaimRepeat, nil}, replaces(3, "opsgenie")}, ways: []*way{{name: "opsgenie", open: isOpen}, {name: "sns", tells: errNoTelling}},
			want: []string{"opsgenie send base/3", "opsgenie close base"}, gone: []string{"replaced base"}, sent: []string{"opsgenie base/3"}, pager: "opsgenie",
		},
		{
			name: "a repeat, and the table fails meanwhile", claims: []claimed{repeat("opsgenie"), noTable}, ways: []*way{{name: "opsgenie"}},
			want: []string{"opsgenie send base/x"}, gone: []string{"person base"}, pager: "opsgenie",
		},
		{
			name: "one takes the place of another", claims: []claimed{replaces(2, "opsgenie")}, ways: []*way{{name: "opsgenie", open: isOpen}},
			want: []string{"opsgenie send base/2", "opsgenie close base"}, sent: []string{"opsgenie base/2"}, pager: "opsgenie",
		},
		{
			name: "the other one cannot be closed", claims: []claimed{replaces(2, "opsgenie")}, ways: []*way{{name: "opsgenie", open: isOpen, closes: []error{errDown}}},
			want: []string{"opsgenie send base/2", "opsgenie close base"}, sent: []string{"opsgenie base/2"}, pager: "opsgenie",
		},
		{
			name: "the new one cannot be made", claims: []claimed{replaces(2, "opsgenie")}, ways: []*way{{name: "opsgenie", open: isOpen, sends: []error{errDown}}},
			want: []string{"opsgenie send base/2"}, kind: fault.Unavailable,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{table: &table{claims: tt.claims}}
			h, _ := newHandler(f)
			log := by(h, tt.ways...)
			inc := downIncident()
			if tt.another {
				inc.PageError = &incident.Error{Error: "Unavailable", Cause: "HTTP 500"}
			}
			got, lerr := invoke(t, h, payload(t, "opsgenie", inc))
			if lerr.Type != string(tt.kind) {
				t.Fatalf("got %v, want %s", lerr, tt.kind)
			}
			if diff := cmp.Diff(tt.want, *log); diff != "" {
				t.Errorf("asked of the pagers (-want +got):\n%s", diff)
			}
			var gone, sent []string
			for _, g := range f.table.gone {
				gone = append(gone, short(g))
			}
			for _, a := range f.table.sent {
				sent = append(sent, a.Pager+" "+short(a.Alias))
			}
			if diff := cmp.Diff(tt.gone, gone); diff != "" {
				t.Errorf("claimed instead of (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.sent, sent); diff != "" {
				t.Errorf("the table was told of (-want +got):\n%s", diff)
			}
			if tt.kind != "" {
				return
			}
			a := got.Alert
			if got.Told == nil || got.Told.Page == nil || a == nil || a.Pager != tt.pager || (a.Repeats > 0) != tt.repeat {
				t.Fatalf("told %+v, alert %+v", got.Told, a)
			}
			if (got.PageError != nil) != (tt.another && tt.pager != tt.ways[0].name) {
				t.Errorf("pageError %+v", got.PageError)
			}
			if (got.Thread != nil) != tt.repeat {
				t.Errorf("thread %+v", got.Thread)
			}
			if last := f.table; len(last.aliases) != 1 || last.aliases[0] != a.Alias || last.pagers[0] != tt.pager {
				t.Errorf("remembered %v by %v", last.aliases, last.pagers)
			}
		})
	}
}

// What the messages say of the alert that they are about.
func TestPageSaysWhatItIsAbout(t *testing.T) {
	old := openAlert("opsgenie", 1)
	f := &fake{table: &table{claims: []claimed{{old, guard.ClaimRepeat, nil}}}}
	h, _ := newHandler(f)
	w := &way{name: "opsgenie", open: map[string]bool{old.Alias: true}}
	by(h, w)
	if _, lerr := invoke(t, h, payload(t, "opsgenie", downIncident())); lerr.Type != "" {
		t.Fatal(lerr)
	}
	if w.last.Kind != notify.KindRepeat || w.last.Incident.Alert == nil || w.last.Incident.Alert.Repeats != 1 || !w.last.Incident.Alert.OpenedAt.Equal(old.OpenedAt) {
		t.Errorf("the note is %+v", w.last)
	}
	f.table.claims = []claimed{{guard.Alert{Open: true, Generation: 2, Replaces: &guard.Replaced{Alias: old.Alias, Pager: "opsgenie"}}, guard.ClaimReplace, nil}}
	got, lerr := invoke(t, h, payload(t, "opsgenie", downIncident()))
	if lerr.Type != "" || w.last.ReplacedBy != pageAlias+"/2" || notify.Alias(w.last) != old.Alias || got.Alert.Alias != pageAlias+"/2" || got.Alert.Generation != 2 {
		t.Errorf("%v, closed with %+v, alert %+v", lerr, w.last, got.Alert)
	}
}

// An open alert of an event that made no incident has another alias than the
// instance's: made once more it would be another one.
func TestRepeatOfAnAlertWithAnotherAlias(t *testing.T) {
	old := openAlert("jsm", 1)
	old.Alias = "firstline/alarm/arn"
	f := &fake{table: &table{claims: []claimed{{old, guard.ClaimRepeat, nil}, {guard.Alert{Open: true, Generation: 2, Replaces: &guard.Replaced{Alias: old.Alias, Pager: "jsm"}}, guard.ClaimReplace, nil}}}}
	h, _ := newHandler(f)
	log := by(h, &way{name: "jsm", tells: errNoTelling})
	if _, lerr := invoke(t, h, payload(t, "opsgenie", downIncident())); lerr.Type != "" {
		t.Fatal(lerr)
	}
	if diff := cmp.Diff([]string{"jsm send base/2", "jsm close firstline/alarm/arn"}, *log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Good news, and what is about no instance, are nobody's alert: they wake somebody
// whatever is open, and leave the table alone.
func TestPageApart(t *testing.T) {
	back := downIncident()
	back.Record(checks.Finding{Check: "url", Passed: true, At: time.Now()})
	back.SlackError = &incident.Error{Error: "Unavailable"}
	for name, tt := range map[string]struct {
		payload string
		alias   string
		alert   bool
		calls   int
	}{
		"good news":             {payload(t, "opsgenie", back), pageAlias + "/x", false, 0},
		"an event of no alarm":  {`{"step":"opsgenie","incident":{"event":{"source":"aws.ec2"},"execution":` + execution + `,"error":{"Error":"InvalidInput","Cause":"no"}}}`, "firstline/execution/arn:aws:states:eu-west-1:123456789012:execution:firstline:x/x", false, 0},
		"not even an execution": {`{"step":"opsgenie","incident":"hello"}`, "", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{closed: func(string) (bool, error) { return false, nil }}
			h, _ := newHandler(f)
			got, lerr := invoke(t, h, tt.payload)
			if lerr.Type != "" || len(f.sent) != 1 || notify.Alias(f.sent[0]) != tt.alias || (got.Alert != nil) != tt.alert || len(f.table.calls) != tt.calls {
				t.Errorf("%v, sent %+v, alert %+v, calls %v", lerr, f.sent, got.Alert, f.table.calls)
			}
		})
	}
}

// A pager that hangs leaves the others their time.
func TestAnotherWayInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{table: &table{claims: []claimed{{guard.Alert{Open: true, Generation: 1, Again: true}, guard.ClaimNew, nil}}}}
		h, _ := newHandler(f)
		log := by(h, &way{name: "opsgenie", hangs: true}, &way{name: "jsm", hangs: true}, &way{name: "sns"})
		inc := downIncident()
		inc.PageError = &incident.Error{Error: "Unavailable"}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		start := time.Now()
		_, err := h.Invoke(ctx, []byte(payload(t, "opsgenie", inc)))
		if took := time.Since(start); err != nil || took > 12*time.Second {
			t.Errorf("%v after %s", err, took)
		}
		if diff := cmp.Diff([]string{"jsm send base", "sns send base"}, *log); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// The table takes no more than its part of a page's time.
func TestPageWhileTheTableHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{table: &table{hangs: []string{"ClaimAlert", "AlertSent", "Paged", "Look"}}}
		h, _ := newHandler(f)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		start := time.Now()
		if _, err := h.Invoke(ctx, []byte(payload(t, "opsgenie", downIncident()))); err != nil || len(f.sent) != 1 || time.Since(start) > 10*time.Second {
			t.Errorf("%v, %d sent after %s", err, len(f.sent), time.Since(start))
		}
	})
}

// Of a storm each is told another way as well: on the brake's page there, or alone.
func TestBrakePageAnotherWay(t *testing.T) {
	for name, tt := range map[string]struct {
		first bool
		jsm   *way
		want  []string
	}{
		"the first":       {true, &way{name: "jsm"}, []string{"jsm send brake"}},
		"it does not say": {true, &way{name: "jsm", tells: errNoTelling}, []string{"jsm send base"}},
		"another one":     {false, &way{name: "jsm"}, []string{"jsm note brake"}},
		"jsm fails too":   {true, &way{name: "jsm", sends: []error{errDown}}, []string{"jsm send brake", "opsgenie send brake"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{table: &table{first: tt.first, claims: []claimed{{guard.Alert{Open: true, Generation: 1, Again: true}, guard.ClaimNew, nil}}}}
			h, _ := newHandler(f)
			log := by(h, &way{name: "opsgenie"}, tt.jsm)
			inc := failed()
			inc.Refusal = &incident.Refusal{Guard: incident.GuardBrake, Reason: "2 reboots in flight"}
			inc.PageError = &incident.Error{Error: "Unavailable"}
			got, lerr := invoke(t, h, payload(t, "opsgenie", inc))
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			if diff := cmp.Diff(tt.want, *log); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Told.Noted == tt.first {
				t.Errorf("noted: %t", got.Told.Noted)
			}
		})
	}
}

// What cannot be read of the environment is the page's error, and names it.
func TestPageWithoutPagers(t *testing.T) {
	h, _ := newHandler(&fake{})
	h.Pagers = func() (*notify.Pagers, error) {
		return nil, fault.New(fault.InvalidInput, "read FIRSTLINE_PAGERS", "the list is empty")
	}
	for _, inc := range []*incident.Incident{downIncident(), dry(downIncident())} {
		if _, lerr := invoke(t, h, payload(t, "opsgenie", inc)); lerr.Type != string(fault.InvalidInput) || !strings.Contains(lerr.Message, "FIRSTLINE_PAGERS") {
			t.Errorf("got %v", lerr)
		}
	}
}

// A dry page shows what any of the pagers lacks, and what the first would say.
func TestDryPageTriesEveryPager(t *testing.T) {
	missing := fault.New(fault.InvalidInput, "read secret /firstline/secrets/jsm-api-key", "it was never given a value")
	f := &fake{}
	h, _ := newHandler(f)
	log := by(h, &way{name: "opsgenie"}, &way{name: "jsm", sends: []error{missing}}, &way{name: "sns"})
	_, lerr := invoke(t, h, payload(t, "opsgenie", dry(downIncident())))
	if lerr.Type != string(fault.InvalidInput) || !strings.Contains(lerr.Message, "pager jsm") || !strings.Contains(lerr.Message, "/firstline/secrets/jsm-api-key") {
		t.Errorf("got %v", lerr)
	}
	tried := dry(downIncident())
	tried.PageError = &incident.Error{Error: "Unavailable", Cause: "SSM is slow"}
	got, lerr := invoke(t, h, payload(t, "opsgenie", tried))
	if lerr.Type != "" || got.PageError != nil || len(got.Suppressed) != 1 || got.Suppressed[0].Text != "the message of opsgenie" || got.Told.Page == nil || got.Alert != nil {
		t.Errorf("%v, %+v", lerr, got)
	}
	if len(*log) != 0 || len(f.table.calls) != 0 {
		t.Errorf("pagers %v, table %v", *log, f.table.calls)
	}
}

func TestSlackAfterAPage(t *testing.T) {
	page := time.Now().UTC()
	paged := func(change func(*incident.Incident)) *incident.Incident {
		inc := downIncident()
		inc.Told = &incident.Told{Page: &page}
		inc.Alert = alertOf(guard.Alert{Alias: pageAlias, Pager: "opsgenie", Generation: 1})
		change(inc)
		return inc
	}
	other := incident.Thread{Channel: "C0123456789", TS: "1.2"}
	for _, tt := range []struct {
		name    string
		change  func(*incident.Incident)
		fake    fake
		pages   *bool
		kind    fault.Kind
		sent    int
		updated int
		thread  *incident.Thread // the incident's
		kept    []incident.Thread
	}{
		{"a new alert", func(*incident.Incident) {}, fake{}, new(true), "", 1, 0, &thread, []incident.Thread{thread}},
		{"not asked for", func(*incident.Incident) {}, fake{}, new(false), "", 0, 0, nil, nil},
		{"nobody says", func(*incident.Incident) {}, fake{}, nil, fault.InvalidInput, 0, 0, nil, nil},
		{"Slack is down", func(*incident.Incident) {}, fake{sendErr: errDown}, new(true), fault.Unavailable, 1, 0, nil, nil},
		{"a repeat", func(i *incident.Incident) { i.Alert.Repeats, i.Thread = 2, &other }, fake{}, new(true), "", 1, 1, &other, nil},
		{"a repeat, and the first message cannot be changed", func(i *incident.Incident) { i.Alert.Repeats, i.Thread = 2, &other }, fake{updateErr: errDown}, new(true), "", 1, 1, &other, nil},
		{"a repeat, and the thread is gone", func(i *incident.Incident) { i.Alert.Repeats, i.Thread = 2, &other }, fake{threadGone: true}, new(true), "", 1, 0, &thread, []incident.Thread{thread}},
		{"a repeat of what Slack was not told of", func(i *incident.Incident) { i.Alert.Repeats = 1 }, fake{}, new(true), "", 1, 0, &thread, []incident.Thread{thread}},
		{"a page without the table", func(i *incident.Incident) { i.Alert.Generation = 0 }, fake{}, new(true), "", 1, 0, &thread, nil},
		{"the brake's page", func(i *incident.Incident) { i.Alert = nil }, fake{}, new(true), "", 1, 0, &thread, nil},
		{"a note on the brake's page", func(i *incident.Incident) { i.Alert, i.Told.Noted = nil, true }, fake{}, new(true), "", 0, 0, nil, nil},
		{"good news, which Slack did not take", func(i *incident.Incident) { i.Alert, i.Passed = nil, true }, fake{}, new(true), "", 0, 0, nil, nil},
		{"the table does not take the thread", func(*incident.Incident) {}, fake{table: &table{errs: map[string]error{"AlertThread": errDown}}}, new(true), "", 1, 0, &thread, []incident.Thread{thread}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &tt.fake
			h, _ := newHandler(f)
			h.SlackPages = tt.pages
			inc := paged(tt.change)
			got, lerr := invoke(t, h, payload(t, "slack", inc))
			if lerr.Type != string(tt.kind) || len(f.sent) != tt.sent || len(f.updated) != tt.updated {
				t.Fatalf("%v, %d sent, %d updated", lerr, len(f.sent), len(f.updated))
			}
			if diff := cmp.Diff(tt.kept, f.table.threads); diff != "" {
				t.Errorf("the table keeps (-want +got):\n%s", diff)
			}
			if tt.sent > 0 {
				m := f.sent[0]
				if repeats := inc.Alert != nil && inc.Alert.Repeats > 0; (m.Kind == notify.KindRepeat) != repeats || (m.Thread != nil) != (inc.Thread != nil) {
					t.Errorf("sent %+v", m)
				}
			}
			if tt.kind != "" {
				return
			}
			if diff := cmp.Diff(tt.thread, got.Thread); diff != "" || (got.Told.Slack != nil) != (tt.sent > 0) {
				t.Errorf("told %+v, thread (-want +got):\n%s", got.Told, diff)
			}
		})
	}
}

func TestPagesAreCounted(t *testing.T) {
	for name, tt := range map[string]struct {
		claim   claimed
		another bool
		want    []string
	}{
		"a page":      {claimed{guard.Alert{Open: true, Generation: 1}, guard.ClaimNew, nil}, false, []string{"Pages"}},
		"a repeat":    {claimed{openAlert("opsgenie", 1), guard.ClaimRepeat, nil}, false, []string{"Repeats"}},
		"another way": {claimed{guard.Alert{Open: true, Generation: 1, Again: true}, guard.ClaimNew, nil}, true, []string{"PagerFallbacks", "Pages"}},
	} {
		f := &fake{table: &table{claims: []claimed{tt.claim}}}
		h, _ := newHandler(f)
		by(h, &way{name: "opsgenie", open: map[string]bool{pageAlias: tt.claim.claim == guard.ClaimRepeat}}, &way{name: "jsm"})
		counted := counting(h)
		inc := downIncident()
		if tt.another {
			inc.PageError = &incident.Error{Error: "Unavailable"}
		}
		if _, lerr := invoke(t, h, payload(t, "opsgenie", inc)); lerr.Type != "" {
			t.Fatal(lerr)
		}
		if diff := cmp.Diff(tt.want, counted(t)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The errors of a whole chain name each pager, and no more of them than they say.
func TestErrorOfNoWayAtAll(t *testing.T) {
	h, _ := newHandler(&fake{table: &table{claims: []claimed{{guard.Alert{Generation: 1, Again: true}, guard.ClaimNew, nil}}}})
	by(h, &way{name: "opsgenie", sends: []error{errDown}}, &way{name: "jsm", sends: []error{errors.New("GenieKey 0123456789abcdef")}})
	inc := downIncident()
	inc.PageError = &incident.Error{Error: "Unavailable"}
	_, lerr := invoke(t, h, payload(t, "opsgenie", inc))
	if !strings.Contains(lerr.Message, "jsm: ") || !strings.Contains(lerr.Message, "opsgenie: ") || strings.Contains(lerr.Message, "0123456789abcdef") {
		t.Errorf("got %v", lerr)
	}
}
