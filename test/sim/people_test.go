package sim

import (
	"maps"
	"slices"
	"time"

	"firstline/internal/policy"
)

// respond is what people do about a page, or leave undone.
func (w *world) respond(a *alert) {
	if m := w.machine(a.key); m != nil {
		w.respondMachine(m, a)
		return
	}
	switch {
	case w.p(.3):
		w.after(w.between(5*time.Minute, 40*time.Minute), func() { w.closeAlert(a) })
	case w.p(.3):
		w.after(w.between(time.Hour, 3*time.Hour), func() { w.closeAlert(a) })
	}
	if a.key == policy.KeyBreaker && w.p(.15) {
		w.after(w.between(40*time.Minute, 2*time.Hour), w.resume)
	}
	w.after(w.between(15*time.Minute, 90*time.Minute), func() {
		for _, m := range w.machines { // somebody repairs what is on the list
			if _, ok := a.members[m.id]; ok && w.p(.7) {
				w.repair(m)
			}
		}
	})
}

func (w *world) respondMachine(m *machine, a *alert) {
	if w.p(.25) {
		w.after(w.between(time.Minute, 15*time.Minute), func() { w.closeAlert(a) })
	}
	if !w.p(.75) {
		return
	}
	w.after(w.between(5*time.Minute, 40*time.Minute), func() {
		if m.isRunning() {
			w.work(m, a)
		}
	})
}

// work is a person who works on a machine for a while.
func (w *world) work(m *machine, a *alert) {
	span := pick(w, w.between(10*time.Minute, 90*time.Minute), w.between(10*time.Minute, 90*time.Minute), w.between(time.Hour, 3*time.Hour))
	m.workFrom, m.work = time.Now(), time.Now().Add(span)
	w.logf("a person works on %s for %s", m.name, span)
	if w.p(.2) {
		m.pauseFrom, m.pause = time.Now(), time.Now().Add(w.between(10*time.Minute, 4*time.Hour))
		w.logf("%s is paused until %s", m.name, m.pause.Format("15:04"))
	}
	if w.p(.3) {
		w.after(w.between(time.Minute, span/2), func() {
			if !m.isRunning() {
				return
			}
			w.logf("the person stops %s", m.name)
			m.power = stopped
			m.seen.closes++ // that ends its alert, too
			w.after(w.between(2*time.Minute, 5*time.Minute), func() {
				if m.power != stopped {
					return
				}
				w.logf("the person starts %s", m.name)
				m.power, m.initUntil, m.launchedAt, m.impaired = running, time.Now().Add(200*time.Second), time.Now(), ""
				w.boot(m, w.between(40*time.Second, w.bootMax), m.curable)
			})
		})
	}
	if w.p(.4) {
		w.after(w.between(time.Minute, span), func() {
			if m.isRunning() {
				w.logf("the person reboots %s", m.name)
				w.boot(m, w.between(40*time.Second, w.bootMax), m.curable)
			}
		})
	}
	w.after(span, func() {
		if w.p(.85) {
			w.repair(m)
		}
		switch {
		case w.p(.4):
			w.closeAlert(a)
		case w.p(.2):
			w.handBack(m)
		}
	})
}

// handBack is the operator's command that ends a hand-over: she says that the machine
// is firstline's again.
func (w *world) handBack(m *machine) {
	w.store(m, func(i *policy.Instance) {
		if i.Membership == nil {
			return
		}
		w.logf("a person hands %s back", m.name)
		i.Membership.HandedBackBy = "a person"
		m.seen.closes++
		m.seen.paged = time.Time{}
		for _, p := range append(slices.Collect(maps.Values(w.known)), w.slack) {
			for _, a := range p.alerts {
				if t, ok := a.members[m.id]; ok && (a.open || a.isLost || p == w.slack) {
					t.again = true
					a.members[m.id] = t
				}
			}
		}
	})
}

// ail puts one of the faults of life on a machine.
func (w *world) ail(m *machine) {
	now := time.Now()
	if w.quiet || !m.isRunning() || m.unwatched || m.web != well || m.ssh != well || now.Before(m.flapUntil) {
		return
	}
	m.seen.problems++
	w.count["problems"]++
	itself := func(low, high time.Duration) { w.after(w.between(low, high), func() { w.repair(m) }) }
	m.curable = w.p(.6)
	switch w.random.IntN(14) {
	case 0:
		w.set(m, refused, well)
		if w.p(.3) {
			itself(2*time.Minute, 90*time.Minute)
		}
	case 1:
		w.set(m, pick(w, well, broken), pick(w, silent, broken))
	case 2, 3: // the whole machine hangs
		server := pick(w, dropped, silent)
		w.set(m, server, server)
		if server == dropped && w.p(.5) {
			w.after(3*time.Minute, func() {
				if m.web == dropped && m.impaired == "" {
					m.impaired, m.impairedAt = "instance", time.Now()
				}
			})
		}
		if w.p(.3) {
			itself(2*time.Minute, 90*time.Minute)
		}
	case 4:
		m.flapP, m.flapUntil = pick(w, .1, .3, .5, .7), now.Add(w.between(time.Hour, 8*time.Hour))
		w.logf("%s fails now and then, p=%.1f", m.name, m.flapP)
		w.raise(m, m.flapUntil.Sub(now))
	case 5:
		w.set(m, busy, pick(w, well, busy))
		itself(10*time.Minute, 4*time.Hour)
	case 6:
		w.set(m, attention, well)
		if w.p(.5) { // and later it dies
			w.after(w.between(5*time.Minute, 2*time.Hour), func() {
				if m.web == attention && m.isRunning() {
					m.seen.problems++
					w.set(m, dropped, dropped)
					w.raise(m, w.between(30*time.Minute, 4*time.Hour))
				}
			})
		}
	default:
		w.ailOutside(m)
	}
	if w.p(.85) {
		w.after(w.between(0, 4*time.Minute), func() {
			w.raise(m, pick(w, w.between(5*time.Minute, 20*time.Minute), w.between(30*time.Minute, 6*time.Hour)))
		})
	}
}

// ailOutside are the faults that are not the machine's own.
func (w *world) ailOutside(m *machine) {
	path := pick(w, dropped, dropped, refused, silent)
	healPath := func(low, high time.Duration) {
		w.after(w.between(low, high), func() { m.webPath, m.sshPath, m.changed = well, well, time.Now() })
	}
	switch w.random.IntN(10) {
	case 0:
		if w.p(.3) {
			m.webPath = path
		} else {
			m.sshPath = path
		}
		w.logf("our way to %s: web %s, ssh %s", m.name, m.webPath, m.sshPath)
		healPath(time.Hour, 10*time.Hour)
	case 1:
		m.webPath, m.sshPath = path, path
		w.logf("our way to %s: %s", m.name, path)
		healPath(30*time.Minute, 4*time.Hour)
	case 2: // a service restarts
		w.set(m, refused, well)
		w.after(w.between(5*time.Second, 45*time.Second), func() { w.repair(m) })
	case 3: // somebody reboots it, without a word
		m.workFrom, m.work = time.Now(), time.Now().Add(5*time.Minute)
		w.boot(m, w.between(40*time.Second, w.bootMax), false)
	case 4:
		m.power = terminated
		w.logf("%s is terminated", m.name)
		w.after(w.between(time.Minute, 10*time.Minute), func() { m.alarmUntil = time.Time{} })
	case 5:
		m.power = stopped
		if w.p(.3) {
			m.power = halted
		}
		w.logf("%s is %s", m.name, m.power)
		if m.power == stopped {
			w.after(w.between(time.Minute, 10*time.Minute), func() { m.alarmUntil = time.Time{} })
		}
		w.after(w.between(30*time.Minute, 10*time.Hour), func() {
			m.launchedAt = time.Now()
			m.power, m.initUntil = running, time.Now().Add(200*time.Second)
			w.boot(m, w.between(40*time.Second, w.bootMax), true)
		})
	case 6:
		m.impaired, m.impairedAt, m.curable = pick(w, "system", "ebs", ""), time.Now(), false
		m.scheduled = m.impaired == ""
		w.set(m, dropped, dropped)
		w.after(w.between(30*time.Minute, 4*time.Hour), func() { w.repair(m) })
	case 7: // somebody closes it to everybody
		m.closed, m.changed = true, time.Now()
		w.logf("%s: its security groups admit nobody", m.name)
		w.after(w.between(30*time.Minute, 4*time.Hour), func() { w.repair(m) })
	case 8: // it is slow
		m.noCredits, m.curable = true, false
		w.set(m, silent, pick(w, silent, well))
		w.after(w.between(30*time.Minute, 4*time.Hour), func() { w.repair(m) })
	case 9: // it works, and AWS says that it may not
		m.impaired, m.impairedAt = pick(w, "system", "ebs"), time.Now()
		w.after(w.between(5*time.Minute, 4*time.Hour), func() { w.repair(m) })
	}
}

func pick[T any](w *world, from ...T) T { return from[w.random.IntN(len(from))] }

// checksOf draws which checks a machine has.
func (w *world) checksOf() []string {
	switch x := w.random.Float64(); {
	case x < .06:
		return []string{"route53"}
	case x < .12:
		return []string{"ssh"}
	case x < .17:
		return []string{"route53", "ssh"}
	}
	checks := []string{"url"}
	if w.p(.7) {
		checks = append(checks, "route53")
	}
	if w.p(.8) {
		checks = append(checks, "ssh")
	}
	return slices.Clip(checks)
}
