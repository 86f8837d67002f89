package sim

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"firstline/internal/incident"
)

var (
	days   = flag.Int("sim.days", 200, "how many random days")
	seed   = flag.Uint64("sim.seed", 1, "the seed of the first day; each day adds one")
	span   = flag.Duration("sim.for", 0, "run random days for this long instead, from a seed of the clock")
	rate   = flag.Float64("sim.faults", -1, "the share of invocations with faults; -1 takes 0, 5 and 35 % in turn")
	loud   = flag.Bool("sim.log", false, "print the log of every day")
	counts = flag.Bool("sim.counts", true, "print the counts of all days together")
)

// rates are the shares of invocations with faults, in turn.
var rates = []float64{0, 0, .05, .35}

const (
	// progress is how often a long run says how far it is.
	progress = 30 * time.Second
	// maxFailed is for how many failed days the end says how to play them again.
	maxFailed = 20
)

// TestRandomDays plays random days. A violation prints the seed; the same seed
// with -sim.days 1 plays the same day with its log.
func TestRandomDays(t *testing.T) {
	var next atomic.Uint64
	first, until := *seed, time.Time{}
	if *span > 0 {
		first, until = rand.Uint64()>>20, time.Now().Add(*span) //nolint:gosec // a seed that is printed
		t.Logf("seeds from %d", first)
	}
	var mu sync.Mutex
	var failed []uint64
	total, begin := map[string]int{}, time.Now()
	told := begin
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				n := next.Add(1) - 1
				if until.IsZero() && n >= uint64(max(0, *days)) || !until.IsZero() && time.Now().After(until) {
					return
				}
				w := playDay(t, first+n, *loud || *days == 1)
				mu.Lock()
				if report(t, first+n, w); len(w.violations) > 0 {
					failed = append(failed, first+n)
				}
				for name, n := range w.count {
					total[name] += n
				}
				total["days"]++
				if time.Since(told) >= progress {
					told = time.Now()
					t.Logf("%s: %d days, %d of them failed: seeds %v", time.Since(begin).Round(time.Second), total["days"], len(failed), failed)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	took := time.Since(begin)
	t.Logf("%d days in %s, %.1f per second on %d CPUs", total["days"], took.Round(time.Second), float64(total["days"])/took.Seconds(), runtime.GOMAXPROCS(0))
	for _, seed := range failed[:min(len(failed), maxFailed)] {
		t.Logf("failed: go test ./test/sim -run TestRandomDays -sim.days 1 -sim.seed %d -sim.faults %v -v", seed, *rate)
	}
	if *counts {
		for _, name := range slices.Sorted(maps.Keys(total)) {
			t.Logf("%9d  %s", total[name], name)
		}
	}
}

// report tells the violations of a day, each kind once.
func report(t *testing.T, seed uint64, w *world) {
	t.Helper()
	seen := map[string]bool{}
	for _, v := range w.violations {
		w.count["VIOLATION "+v.kind]++
		if !seen[v.kind] {
			t.Errorf("seed %d: %s: %s", seed, v.kind, v.detail)
		}
		seen[v.kind] = true
	}
	if len(w.log) > 0 {
		t.Logf("the day of seed %d:\n%s", seed, strings.Join(w.log, "\n"))
	}
}

// playDay plays one random day in a bubble of its own.
func playDay(t *testing.T, seed uint64, isLoud bool) (w *world) {
	synctest.Test(t, func(*testing.T) {
		w = newWorld(seed)
		w.loud, w.people = isLoud, true
		w.mu.Lock()
		w.plan()
		w.mu.Unlock()
		w.live(day)
		w.rest(day)
		w.stop()
	})
	return w
}

// rest ends all faults and checks that everything ends. after is since when the world
// has lived.
func (w *world) rest(after time.Duration) {
	w.mu.Lock()
	w.calm()
	w.mu.Unlock()
	for span := after + time.Hour; span <= after+calmest; span += time.Hour / 2 {
		w.live(span)
		if w.isAtRest() {
			break
		}
	}
	w.mu.Lock()
	w.checkRest()
	w.mu.Unlock()
}

const (
	day = 24 * time.Hour
	// calmest is how long all may take to come to rest: two hours to be well, an
	// hour for the alarm, one more for the alert to end, and one for what came late.
	calmest = 5 * time.Hour
)

// isAtRest reports whether nothing is open.
func (w *world) isAtRest() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.openAlerts()) > 0 || len(w.keptAlerts()) > 0 {
		return false
	}
	for _, m := range w.machines {
		if !m.seen.untold.IsZero() && !w.noSlack {
			return false
		}
	}
	return true
}

// sizes of regions; most are small, so that many days can be played.
var sizes = []int{1, 1, 1, 2, 2, 3, 4, 6, 12}

// plan draws what happens in a day.
func (w *world) plan() {
	w.faulty = rates[w.seed%uint64(len(rates))]
	if *rate >= 0 {
		w.faulty = *rate
	}
	w.dies = pick(w, 0, 0, .001, .01)
	w.lost = pick(w, 0, .05, .3)
	w.tableTakes = pick(w, 0, 0, 100*time.Millisecond, 3*time.Second)
	w.terse = w.p(.3)
	w.planPagers()
	if w.p(.6) {
		w.peers, w.vantageRequired = peerRegions, w.p(.2)
	}
	for n := range pick(w, sizes...) {
		m := w.add(fmt.Sprintf("m%d", n+1), w.checksOf()...)
		if w.p(.1) { // a first deployment
			w.baseline(m)
		}
		if w.p(.15) {
			m.settings.Reboot.On = incident.OnUnreachable
		}
		m.private = w.p(.1)
		w.planMachine(m)
	}
	w.planRegion()
	w.every(5*time.Minute, w.reconcile)
	w.every(time.Minute, w.watch)
}

// planPagers draws the pagers, often two, sometimes none but Slack, and whether they are
// others from some time on.
func (w *world) planPagers() {
	w.slow = pick(w, 0, 0, .1, .5)
	draw := func() (some []string) {
		all := kinds()
		w.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		isThere := map[string]bool{}
		for _, kind := range all[:pick(w, 0, 1, 1, 1, 1, 1, 2, 2, 2, 3)] {
			if name, _, _ := strings.Cut(kind, "+"); !isThere[name] {
				isThere[name] = true
				some = append(some, kind)
			}
		}
		return some
	}
	clear(w.known)
	had := draw()
	w.configure(had...)
	w.noSlack = len(had) > 0 && w.p(.15)
	if w.p(.15) && len(had) > 0 {
		w.after(w.between(0, day-4*time.Hour), func() { w.move(had, draw()) })
	}
}

// move changes the pagers in two deploys: the new ones before the old ones, and without
// these as soon as they have no open alert.
func (w *world) move(from, to []string) {
	isSame := func(kind string) bool {
		name, _, _ := strings.Cut(kind, "+")
		return slices.ContainsFunc(to, func(k string) bool { return k == name || strings.HasPrefix(k, name+"+") })
	}
	from = slices.DeleteFunc(slices.Clone(from), isSame)
	if len(to) == 0 {
		return
	}
	w.configure(append(slices.Clone(to), from...)...)
	var second func()
	second = func() {
		for _, a := range w.openAlerts() {
			if !slices.ContainsFunc(to, func(k string) bool { return strings.HasPrefix(k, a.pager.name) }) {
				w.after(10*time.Minute, second)
				return
			}
		}
		w.configure(to...)
	}
	w.after(w.between(10*time.Minute, 2*time.Hour), second)
}

func (w *world) planMachine(m *machine) {
	sometime := func(do func()) { w.after(w.between(0, day-time.Hour), do) }
	for range w.random.IntN(3) {
		sometime(func() { w.ail(m) })
	}
	if w.p(.5) {
		sometime(func() { w.raise(m, w.between(10*time.Minute, 2*time.Hour)) })
	}
	if w.p(.1) {
		sometime(func() {
			m.pauseFrom, m.pause = time.Now(), time.Now().Add(w.between(10*time.Minute, 10*time.Hour))
			w.logf("%s is paused until %s", m.name, m.pause.Format("15:04"))
		})
	}
	w.planSettings(m, sometime)
	if w.p(.03) {
		sometime(func() {
			m.unwatched, m.alarmUntil = true, time.Time{}
			w.logf("%s is no longer watched", m.name)
		})
	}
}

// planSettings draws what becomes of a machine's settings, and of our client.
func (w *world) planSettings(m *machine, sometime func(func())) {
	changed := func(what string) {
		m.parameter, m.changed, m.seen.firedSince = "", time.Now(), time.Time{}
		w.logf("%s: its settings change: %s", m.name, what)
	}
	if w.p(.1) { // a check is switched off or on, and back
		check := pick(w, incident.Checks...)
		toggle := func() {
			if on := !m.settings.Enabled(check); on || m.enabled() > 1 {
				m.enable(check, on)
				changed(fmt.Sprintf("%s %t", check, on))
			}
		}
		sometime(toggle)
		if w.p(.5) {
			sometime(toggle)
		}
	}
	if w.p(.15) {
		span := w.between(10*time.Minute, 3*time.Hour)
		spoil := func() {
			m.settings.URL.BodyPattern = wrongBody
			changed("a wrong body")
			w.after(span, func() {
				m.settings.URL.BodyPattern = ""
				changed("the right body")
			})
		}
		w.after(w.between(0, day-4*time.Hour), spoil)
	}
	if w.p(.05) {
		sometime(func() {
			m.settings.Reboot.DryRun = true
			changed("dry_run")
		})
	}
	if w.p(.05) {
		sometime(func() {
			m.elsewhere = map[string]bool{incident.CheckURL: true}
			w.logf("%s: another machine answers its URL check from here on", m.name)
		})
	}
	if w.p(.05) {
		check := pick(w, incident.Checks...)
		sometime(func() {
			m.blinded = map[string]bool{check: true}
			w.logf("%s: %s is blind from here on", m.name, check)
		})
	}
}

func (w *world) planRegion() {
	some := func(p float64, do func()) {
		if w.p(p) {
			w.after(w.between(0, day-time.Hour), do)
		}
	}
	some(.1, func() {
		span := w.between(20*time.Minute, 8*time.Hour)
		w.path = pick(w, dropped, dropped, refused, silent)
		w.logf("our way to all machines: %s for %s", w.path, span)
		w.after(span, func() {
			w.path = well
			for _, m := range w.machines {
				m.changed = time.Now()
			}
		})
		if w.p(.4) {
			w.out("egress", span)
		}
		for _, m := range w.machines {
			m.seen.problems++
			if w.p(.5) {
				w.after(w.between(0, span), func() { w.raise(m, w.between(10*time.Minute, 2*time.Hour)) })
			}
		}
	})
	for range 3 {
		some(.5, func() { w.out("lambda", w.between(30*time.Second, 8*time.Minute)) })
	}
	some(.1, func() { w.out("route53", w.between(10*time.Minute, 4*time.Hour)) })
	some(.1, func() { w.out("ec2", w.between(10*time.Minute, 2*time.Hour)) })
	some(.05, func() { w.out("table", w.between(5*time.Minute, time.Hour)) })
	for n, p := range w.pagers {
		of := []float64{.1, .03}[min(n, 1)]
		some(of, func() { w.out(p.name, w.between(5*time.Minute, 90*time.Minute)) })
		some(of, func() { w.out("late:"+p.name, w.between(time.Minute, 30*time.Minute)) })
		some(of/2, func() { w.out("discards:"+p.name, w.between(time.Minute, 30*time.Minute)) })
	}
	some(.08, func() { w.out("ssm", w.between(10*time.Minute, 2*time.Hour)) })
	some(.05, func() { w.out("slack", w.between(5*time.Minute, 90*time.Minute)) })
	some(.05, func() { w.pauseRegion(w.between(10*time.Minute, 3*time.Hour)) })
	for _, peer := range w.peers {
		some(.2, func() { w.out("peer:"+peer, w.between(10*time.Minute, 6*time.Hour)) })
	}
	some(.15, w.disaster)
}

// disaster is a bad deployment, or a zone that fails.
func (w *world) disaster() {
	isZone := w.p(.4)
	for _, m := range w.machines {
		if !w.p(.8) || !m.isRunning() {
			continue
		}
		m.seen.problems++
		w.after(w.between(0, 5*time.Minute), func() {
			if !m.isRunning() {
				return
			}
			if isZone {
				m.impaired, m.impairedAt = "system", time.Now()
			}
			m.curable = w.p(.3)
			w.set(m, pick(w, refused, dropped), dropped)
			w.after(w.between(30*time.Minute, 4*time.Hour), func() { w.repair(m) })
			w.raise(m, w.between(20*time.Minute, 3*time.Hour))
		})
	}
}

// calm ends all faults: from here on all is well, and nobody touches anything.
func (w *world) calm() {
	w.logf("all is well from here on")
	w.quiet, w.people = true, false
	w.faulty, w.dies, w.lost, w.slow, w.path = 0, 0, 0, 0, well
	clear(w.outages)
	for _, m := range w.machines {
		m.webPath, m.sshPath, m.impaired, m.scheduled, m.closed, m.noCredits = well, well, "", false, false, false
		m.blinded, m.elsewhere, m.settings.URL.BodyPattern, m.parameter = nil, nil, "", ""
		m.flapUntil, m.pause, m.work = time.Time{}, time.Time{}, time.Time{}
		if m.power == stopped || m.power == halted {
			m.power = running
		}
		if end := time.Now().Add(time.Hour); m.alarmUntil.After(end) {
			m.alarmUntil = end
		}
		w.set(m, well, well)
	}
}
