package sim

import (
	"context"
	"maps"
	"slices"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/notify"
)

// pager is a service that wakes people, as far as its capabilities go.
type pager struct {
	w    *world
	name string
	can  notify.Capabilities
	// isAsync: it accepts a request first and carries it out later.
	isAsync  bool
	alerts   []*alert
	requests int
	// pending is when the newest request about an alias is carried out: what comes after
	// it waits for it.
	pending map[string]time.Time
}

// asynchronous are the services that accept a request with 202 and carry it out later.
var asynchronous = map[string]bool{"opsgenie": true, "jsm": true, "pagerduty": true}

// kinds are all kinds of pager: a type, and what it needs for its capabilities.
func kinds() (all []string) {
	for _, t := range notify.Types() {
		all = append(all, kindOf(t))
	}
	return all
}

func kindOf(t notify.Type) string {
	if t.Needs != "" {
		return t.Name + "+" + t.Needs
	}
	return t.Name
}

func typeOf(kind string) notify.Type {
	types := notify.Types()
	return types[slices.IndexFunc(types, func(t notify.Type) bool { return kindOf(t) == kind })]
}

// configure makes these kinds the pagers, in order of fallback. What a pager has stays
// with it, also where it is no longer asked. Without any, Slack alone is the pager.
func (w *world) configure(names ...string) {
	w.pagers = nil
	for _, name := range names {
		t := typeOf(name)
		p := w.known[t.Name]
		if p == nil {
			p = &pager{w: w, name: t.Name, isAsync: asynchronous[t.Name], pending: map[string]time.Time{}}
			w.known[t.Name] = p
		}
		p.can = t.Can
		w.pagers = append(w.pagers, p)
	}
	w.logf("pagers: %v", names)
}

type alert struct {
	pager      *pager
	key, alias string
	opened     time.Time
	open       bool
	// closedBy is when a person closed it.
	closedBy time.Time
	// isLost: it was accepted and never made, and the pager does not tell.
	isLost bool
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
	wasLate        bool // its pager did not say in time that it has it
}

func (p *pager) Name() string { return p.name }

func (p *pager) Capabilities() notify.Capabilities { return p.can }

// first is the pager that is asked first: Slack, where there is none.
func (w *world) first() *pager {
	if len(w.pagers) == 0 {
		return w.slack
	}
	return w.pagers[0]
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

// request is one that a pager has accepted.
type request struct {
	done bool
	err  error // what the service says of it, if anybody asks
}

const (
	// followFor is how long a pager that confirms asks what became of a request.
	followFor = 10 * time.Second
	// latest is how long a service that is late takes.
	latest = 3 * time.Minute
)

// has reports whether there ever was an alert of an alias.
func (p *pager) has(alias string) bool {
	return slices.ContainsFunc(p.alerts, func(a *alert) bool { return a.alias == alias })
}

// ask makes a request of the pager's service and, where it tells what becomes of it,
// follows it to its end.
func (p *pager) ask(ctx context.Context, what, alias string, effect func() error) (confirmed bool, err error) {
	r := &request{}
	var at time.Time
	err = p.call(ctx, what, alias, func() error {
		at = p.accept(r, what, alias, effect)
		if p.isAsync {
			return nil
		}
		return r.err
	})
	switch {
	case err != nil:
		return false, err
	case !p.isAsync:
		if p.isOut("late") {
			return false, fault.New(fault.Unavailable, what, "no answer in time")
		}
		return p.can.Confirms && !p.isOut("discards"), nil
	case !p.can.Confirms:
		return false, nil
	}
	return p.follow(ctx, r, at, what, alias)
}

// call makes a call of the service's API.
func (p *pager) call(ctx context.Context, what, alias string, effect func() error) error {
	if p.isOut("") {
		return fault.New(fault.Unavailable, what, "HTTP 503")
	}
	_, err := call(ctx, p.w, "", p.name+":"+what+" "+alias, func() (struct{}, error) { return struct{}{}, effect() })
	if err != nil && fault.KindOf(err) == fault.Internal {
		return fault.New(fault.Unavailable, what, "%w", err)
	}
	return err
}

// accept carries a request out: at once, or later where the service is late. mu is held.
func (p *pager) accept(r *request, what, alias string, effect func() error) (at time.Time) {
	carryOut := func() {
		r.err = effect()
		r.done = true
	}
	at = time.Now()
	if p.isAsync {
		about := p.name + what + alias
		p.requests++
		switch {
		case p.w.isOut("late:" + p.name):
			at = at.Add(followFor + time.Duration(p.w.draw(about, p.requests, "late")*float64(latest)))
		case p.w.chance(p.w.slow, about, p.requests, "slow"):
			at = at.Add(time.Duration(p.w.draw(about, p.requests, "takes") * float64(2*followFor)))
		}
		if last := p.pending[alias]; at.Before(last) {
			at = last
		}
		p.pending[alias] = at
	}
	if at.After(time.Now()) {
		time.AfterFunc(untilPhase(at, p.w.phaseOf(p.name+what+alias+at.String())), func() {
			p.w.mu.Lock()
			defer p.w.mu.Unlock()
			carryOut()
		})
	} else {
		carryOut()
	}
	return at
}

// follow asks what became of a request until that is known.
func (p *pager) follow(ctx context.Context, r *request, at time.Time, what, alias string) (confirmed bool, err error) {
	until := time.Now().Add(followFor)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(until) {
		until = deadline.Add(-time.Second / 2)
	}
	for next := at; ; next = next.Add(2 * time.Second) {
		if next.After(until) {
			next = until
		}
		if next.After(time.Now()) {
			p.w.mu.Lock()
			wake := untilPhase(next.Add(2*time.Millisecond), p.w.phaseOf(invocationOf(ctx).id+what+alias+next.String()))
			p.w.mu.Unlock()
			time.Sleep(wake)
		}
		var is request
		err = p.call(ctx, "follow", alias, func() error { is = *r; return nil })
		switch {
		case err == nil && is.done:
			return is.err == nil, is.err
		case ctx.Err() != nil || !next.Before(until):
			return false, fault.New(fault.Unavailable, what, "the request was accepted and not confirmed in time")
		}
	}
}

// isOut reports whether what is the matter with the service: "late", "discards", or "".
func (p *pager) isOut(what string) bool {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return p.w.pagerIs(what, p)
}

// pagerIs is isOut with mu held.
func (w *world) pagerIs(what string, p *pager) bool {
	if what != "" {
		what += ":"
	}
	return w.isOut(what + p.name)
}

// must records that a pager was asked what its service cannot do.
func (p *pager) must(can bool, what string) {
	if !can {
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		p.w.violate("capability", "%s cannot %s, and was asked to", p.name, what)
	}
}

func (p *pager) Page(ctx context.Context, m notify.Message) (notify.Delivery, error) {
	m = copied(m)
	confirmed, err := p.ask(ctx, "page", m.Alert.Alias, func() error {
		isLost := p.w.pagerIs("discards", p)
		a := p.find(m.Alert.Alias)
		switch {
		case isLost && p.isAsync && p.can.Confirms:
			return fault.New(fault.Unavailable, "page", "%w", notify.ErrDiscarded)
		case a != nil && p.can.Deduplicates:
			p.w.hear(a, m, false)
			return nil
		}
		a = &alert{pager: p, key: m.Alert.Key, alias: m.Alert.Alias, opened: time.Now(), open: !isLost, isLost: isLost, members: map[string]told{}}
		p.alerts = append(p.alerts, a)
		p.w.hear(a, m, true)
		if isLost {
			p.w.count["irreducible: a page was lost, and its pager does not tell"]++
			p.w.logf("%s loses the page %s", p.name, a.alias)
			return nil
		}
		p.w.woken(a, m)
		return nil
	})
	return notify.Delivery{Confirmed: confirmed}, err
}

// copied is a message as it is now: the incident goes on.
func copied(m notify.Message) notify.Message {
	m.Incident = new(*m.Incident)
	if m.Incident.Decision != nil {
		m.Incident.Decision = new(*m.Incident.Decision)
	}
	return m
}

func (p *pager) Note(ctx context.Context, m notify.Message) error {
	p.must(p.can.Notes, "add a note")
	m = copied(m)
	confirmed, err := p.ask(ctx, "note", m.Alert.Alias, func() error {
		a := p.find(m.Alert.Alias)
		switch {
		case a == nil:
			return fault.New(fault.InvalidInput, "note", "%w", notify.ErrNoAlert)
		case p.w.pagerIs("discards", p):
			return fault.New(fault.Unavailable, "note", "%w", notify.ErrDiscarded)
		}
		p.w.count["notes"]++
		p.w.hear(a, m, false)
		return nil
	})
	if err == nil && !confirmed { // it may be lost
		err = fault.New(fault.Unavailable, "note", "%w", notify.ErrNoAlert)
	}
	return err
}

func (p *pager) Resolve(ctx context.Context, m notify.Message) error {
	p.must(p.can.Resolvable, "resolve")
	m = copied(m)
	_, err := p.ask(ctx, "resolve", m.Alert.Alias, func() error {
		a := p.find(m.Alert.Alias)
		isElsewhere := m.Alert.ID == "" || m.Alert.Pager != "" && m.Alert.Pager != p.name
		if isElsewhere && !p.can.Deduplicates && !p.has(m.Alert.Alias) {
			p.w.violate("noise", "%s was told of the end of %s, which it never had", p.name, m.Alert.Alias)
		}
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
	return err
}

func (p *pager) Open(ctx context.Context, alias string) (open bool, err error) {
	p.must(p.can.Readable, "tell whether an alert is open")
	err = p.call(ctx, "read", alias, func() error {
		open = p.find(alias) != nil
		return nil
	})
	if err == nil && p.isOut("late") {
		err = fault.New(fault.Unavailable, "read", "no answer in time")
	}
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
func (w *world) woken(a *alert, m notify.Message) {
	situation := ""
	if d := m.Incident.Decision; d != nil {
		situation = d.Situation
	}
	w.logf("PAGE %s (%s) by %s about %v", a.alias, situation, a.pager.name, m.Alert.Members)
	w.count["pages"]++
	w.count["page "+situation]++
	w.wakes = append(w.wakes, wake{time.Now(), a.key, situation, a, w.pagerIs("late", a.pager)})
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

// openAlerts are those that are open at a pager, whether it is asked or not.
func (w *world) openAlerts() (open []*alert) {
	for _, name := range slices.Sorted(maps.Keys(w.known)) {
		for _, a := range w.known[name].alerts {
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
		c.w.heardInSlack(m)
		return struct{}{}, nil
	})
	if err != nil {
		return incident.Thread{}, fault.New(fault.Unavailable, "slack", "%w", err)
	}
	return incident.Thread{Channel: "C1", TS: "1"}, nil
}

// heardInSlack records what a message to Slack says. It is a page where it mentions
// somebody; of what Slack has paged, no alert is open anywhere.
func (w *world) heardInSlack(m notify.Message) {
	w.heardOutcome(m)
	p := w.slack
	n := slices.IndexFunc(p.alerts, func(a *alert) bool { return a.alias == m.Alert.Alias })
	switch {
	case m.Mention:
		a := &alert{pager: p, key: m.Alert.Key, alias: m.Alert.Alias, opened: time.Now(), members: map[string]told{}}
		if n >= 0 {
			a.members = p.alerts[n].members
		}
		w.hear(a, m, true)
		w.woken(a, m)
		p.alerts = append(p.alerts, a)
	case n >= 0 && m.Alert.Alias != "":
		w.hear(p.alerts[n], m, false)
	}
}

func (c channel) Rehearse(context.Context, notify.Message) (string, error) { return "", nil }

func (c channel) Test(context.Context, notify.Message) (notify.Delivery, error) {
	return notify.Delivery{}, nil
}
