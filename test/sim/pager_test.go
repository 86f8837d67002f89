package sim

import (
	"context"
	"slices"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/notify"
)

// pager has OpsGenie's semantics; one that is not readable has PagerDuty's.
type pager struct {
	w        *world
	name     string
	readable bool
	alerts   []*alert
}

type alert struct {
	pager      *pager
	key, alias string
	opened     time.Time
	open       bool
	// closedBy is when a person closed it.
	closedBy time.Time
	// members is what was last said of each instance in it.
	members map[string]told
	emptied time.Time
}

// told is what a message said of an instance.
type told struct {
	at        time.Time
	situation string
	severity  incident.Severity
	page      bool
	again     bool // it was said to be healthy again, or handed back, and nobody was woken since
}

// wake is a page that woke somebody.
type wake struct {
	at             time.Time
	key, situation string
	alert          *alert
}

func (p *pager) Name() string { return p.name }

func (p *pager) Capabilities() notify.Capabilities {
	if p.name == "sns" {
		return notify.Capabilities{Resolvable: true}
	}
	return notify.Capabilities{Confirms: p.readable, Readable: p.readable, Notes: p.readable, Resolvable: true, Deduplicates: true}
}

// find returns the open alert of an alias.
func (p *pager) find(alias string) *alert {
	for _, a := range slices.Backward(p.alerts) {
		if a.alias == alias && a.open {
			return a
		}
	}
	return nil
}

// ask makes a call to the pager's service.
func (p *pager) ask(ctx context.Context, what, alias string, effect func() error) error {
	if p.w.lockedOut(p.name) {
		return fault.New(fault.Unavailable, what, "HTTP 503")
	}
	_, err := call(ctx, p.w, "", p.name+":"+what+" "+alias, func() (struct{}, error) { return struct{}{}, effect() })
	if err != nil && fault.KindOf(err) == fault.Internal {
		return fault.New(fault.Unavailable, what, "%w", err)
	}
	if err == nil && p.w.lockedOut("late:"+p.name) {
		return fault.New(fault.Unavailable, what, "no answer in time")
	}
	return err
}

func (w *world) lockedOut(service string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.isOut(service)
}

func (p *pager) Page(ctx context.Context, m notify.Message) (notify.Delivery, error) {
	err := p.ask(ctx, "page", m.Alert.Alias, func() error {
		a := p.find(m.Alert.Alias)
		if a == nil || p.name == "sns" {
			a = &alert{pager: p, key: m.Alert.Key, alias: m.Alert.Alias, opened: time.Now(), open: true, members: map[string]told{}}
			p.alerts = append(p.alerts, a)
			p.w.hear(a, m, true)
			p.w.woken(p, a, m)
			return nil
		}
		p.w.hear(a, m, false)
		return nil
	})
	return notify.Delivery{Confirmed: p.readable}, err
}

func (p *pager) Note(ctx context.Context, m notify.Message) error {
	if p.name == "sns" {
		return fault.New(fault.InvalidInput, "note", "%w", notify.ErrNoAlert)
	}
	return p.ask(ctx, "note", m.Alert.Alias, func() error {
		a := p.find(m.Alert.Alias)
		if a == nil {
			return fault.New(fault.InvalidInput, "note", "%w", notify.ErrNoAlert)
		}
		p.w.count["notes"]++
		p.w.hear(a, m, false)
		return nil
	})
}

func (p *pager) Resolve(ctx context.Context, m notify.Message) error {
	return p.ask(ctx, "resolve", m.Alert.Alias, func() error {
		a := p.find(m.Alert.Alias)
		if a == nil {
			return fault.New(fault.InvalidInput, "resolve", "%w", notify.ErrNoAlert)
		}
		for _, o := range p.alerts {
			if o.alias == a.alias {
				o.open = false
			}
		}
		p.w.logf("%s: %s is resolved: %s", p.name, a.alias, m.Alert.Ended)
		return nil
	})
}

func (p *pager) Open(ctx context.Context, alias string) (open bool, err error) {
	if !p.readable {
		return false, fault.New(fault.InvalidInput, "read", "the service does not tell")
	}
	err = p.ask(ctx, "read", alias, func() error {
		open = p.find(alias) != nil
		return nil
	})
	return open, err
}

func (p *pager) Rehearse(context.Context, notify.Message) (string, error) { return "", nil }

func (p *pager) Test(context.Context, notify.Message) (notify.Delivery, error) {
	return notify.Delivery{}, nil
}

// hear records what a message says of its instances.
func (w *world) hear(a *alert, m notify.Message, isPage bool) {
	d := m.Incident.Decision
	t := told{at: time.Now(), page: isPage}
	if d != nil {
		t.situation, t.severity = d.Situation, d.Severity
	}
	if !isPage {
		w.logf("note on %s: %s", a.alias, t.situation)
	}
	id := m.Incident.InstanceID
	for _, member := range m.Alert.Members {
		if was, ok := a.members[member]; member != id && ok {
			was.at, was.page = t.at, isPage
			a.members[member] = was
		} else if member != id {
			a.members[member] = told{at: t.at, severity: t.severity, page: isPage}
		}
	}
	if id == "" {
		return
	}
	t.again = t.situation == incident.SituationHealthyAgain || a.members[id].again && !isPage
	if was, ok := a.members[id]; ok && t.severity < was.severity && !isPage {
		t.severity = was.severity
	}
	a.members[id] = t
	w.heardOutcome(m)
}

// woken records that somebody was woken.
func (w *world) woken(p *pager, a *alert, m notify.Message) {
	situation := ""
	if d := m.Incident.Decision; d != nil {
		situation = d.Situation
	}
	w.logf("PAGE %s (%s) by %s about %v", a.alias, situation, p.name, m.Alert.Members)
	w.count["pages"]++
	w.count["page "+situation]++
	w.wakes = append(w.wakes, wake{time.Now(), a.key, situation, a})
	for id := range a.members {
		if x := w.machine(id); x != nil {
			x.seen.woken = time.Now()
			if !isOfTheHour(a) { // the table knows nothing of those, and hands nothing over
				x.seen.paged = time.Now()
			}
		}
	}
	w.checkNoise(a, m)
	if w.people && !w.quiet {
		w.respond(a)
	}
}

// closeAlert is a person closing an alert.
func (w *world) closeAlert(a *alert) {
	if !a.open {
		return
	}
	a.open, a.closedBy = false, time.Now()
	if a.key == policy.KeyBreaker {
		w.breakerClosed = time.Now()
	}
	w.logf("a person closes %s", a.alias)
	w.count["closed by a person"]++
	for id := range a.members {
		if m := w.machine(id); m != nil {
			m.seen.closes++
		}
	}
}

// openAlerts are those that are open at a pager.
func (w *world) openAlerts() (open []*alert) {
	for _, p := range w.pagers {
		for _, a := range p.alerts {
			if a.open {
				open = append(open, a)
			}
		}
	}
	return open
}

// channel is Slack.
type channel struct{ w *world }

func (c channel) Post(ctx context.Context, m notify.Message) (incident.Thread, error) {
	_, err := call(ctx, c.w, "slack", "slack:post", func() (struct{}, error) {
		c.w.count["slack"]++
		situation := ""
		if d := m.Incident.Decision; d != nil {
			situation = d.Situation
		}
		c.w.slacks = append(c.w.slacks, told{at: time.Now(), situation: situation})
		c.w.logf("slack: %s %s", m.Incident.Name, situation)
		c.w.heardOutcome(m)
		return struct{}{}, nil
	})
	if err != nil {
		return incident.Thread{}, fault.New(fault.Unavailable, "slack", "%w", err)
	}
	return incident.Thread{Channel: "C1", TS: "1"}, nil
}

func (c channel) Rehearse(context.Context, notify.Message) (string, error) { return "", nil }

func (c channel) Test(context.Context, notify.Message) (notify.Delivery, error) {
	return notify.Delivery{}, nil
}
