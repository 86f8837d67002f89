package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"firstline/internal/incident"
)

// scene is a script in testdata/scenes: what the world does, and what must come
// of it. A line is one of
//
//	lasts 8h [then ends]              how long it runs; then all faults end, and so must all alerts
//	machine a url ssh                 a machine with these checks; "machines 12 url" makes m1 to m12
//	no-baseline a url                 that check has never passed
//	reboot-on a unreachable           its setting reboot.on
//	per-day a 0                       its setting reboot.per_day
//	confirm a 0                       its setting confirm_seconds
//	pagers webhook jsm+cloud_id       the kinds of pager, in order of fallback; without any, Slack alone
//	no-slack                          there is no Slack
//	terse                             Route 53's checkers do not name the status that they get
//	peers [required]                  two other regions are asked; without one that confirms, no reboot
//	private a                         its address is private
//	table-takes 3s                    a call of the function to the table takes up to this long
//	[at 0:10 [every 40s]] COMMAND     with "every", machine after machine, or "5 times"
//	expect WHAT [of a] OP N           WHAT: reboots, pages, slack, notes, looks, open, kept, irreducible, guard NAME
//	expect page N before|after 0:20   the Nth page's time; "says X" its situation, "by X" its pager
//
// The commands are those of command.
type scene struct {
	t      *testing.T
	w      *world
	lasts  time.Duration
	ends   bool
	expect [][]string
}

func TestScenes(t *testing.T) {
	files, err := filepath.Glob("testdata/scenes/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenes: %v", err)
	}
	slices.Reverse(files) // the later ones take less time, and are about one thing each
	failfast := flag.Lookup("test.failfast").Value.String() == "true"
	var failed atomic.Bool
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			if failfast && failed.Load() {
				t.Skip("another scene has failed") // Go stops only what has not begun to wait
			}
			t.Cleanup(func() { failed.CompareAndSwap(false, t.Failed()) })
			raw, err := os.ReadFile(file) //nolint:gosec // a scene of ours
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) { playScene(t, string(raw)) })
		})
	}
}

// playScene plays a script; violations of the promises fail it as well.
func playScene(t *testing.T, script string) {
	s := &scene{t: t, w: newWorld(7), lasts: 4 * time.Hour}
	s.w.loud = true
	s.w.mu.Lock()
	s.w.every(5*time.Minute, s.w.reconcile)
	s.w.every(time.Minute, s.w.watch)
	for n, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if words := strings.Fields(line); len(words) > 0 {
			if err := s.line(words); err != nil {
				t.Fatalf("line %d: %q: %v", n+1, line, err)
			}
		}
	}
	s.w.mu.Unlock()
	s.w.live(s.lasts)
	s.w.mu.Lock()
	for _, words := range s.expect {
		if err := s.check(words); err != nil {
			t.Errorf("expect %s: %v", strings.Join(words, " "), err)
		}
	}
	if s.ends {
		s.w.mu.Unlock()
		s.w.rest(s.lasts)
		s.w.mu.Lock()
	}
	for _, v := range s.w.violations {
		t.Errorf("%s: %s", v.kind, v.detail)
	}
	if t.Failed() || *loud {
		t.Log("\n" + strings.Join(s.w.log, "\n"))
	}
	s.w.mu.Unlock()
	s.w.stop()
}

func (s *scene) line(words []string) (err error) {
	switch words[0] {
	case "lasts":
		s.ends = len(words) > 2
		s.lasts, err = time.ParseDuration(words[1])
	case "machine":
		s.w.add(words[1], words[2:]...)
	case "machines":
		n, err := strconv.Atoi(words[1])
		if err != nil {
			return err
		}
		for i := range n {
			s.w.add(fmt.Sprintf("m%d", i+1), words[2:]...)
		}
	case "no-baseline":
		m, err := s.machine(words[1])
		if err != nil {
			return err
		}
		s.w.baseline(m, without(incident.Checks, words[2:])...)
	case "reboot-on":
		m, err := s.machine(words[1])
		if err != nil {
			return err
		}
		m.settings.Reboot.On = words[2]
	case "per-day", "confirm":
		m, err := s.machine(words[1])
		if err != nil {
			return err
		}
		number := map[string]*int{"per-day": &m.settings.Reboot.PerDay, "confirm": &m.settings.ConfirmSeconds}[words[0]]
		if *number, err = strconv.Atoi(words[2]); err != nil {
			return err
		}
	case "pagers":
		clear(s.w.known)
		s.w.configure(words[1:]...)
	case "peers":
		s.w.peers = peerRegions
		s.w.vantageRequired = len(words) > 1
	case "private":
		m, err := s.machine(words[1])
		if err != nil {
			return err
		}
		m.private = true
	case "no-slack":
		s.w.noSlack = true
	case "terse":
		s.w.terse = true
	case "table-takes":
		s.w.tableTakes, err = time.ParseDuration(words[1])
	case "expect":
		s.expect = append(s.expect, words[1:])
	default:
		return s.schedule(words)
	}
	return err
}

func without(all, some []string) (rest []string) {
	for _, a := range all {
		if !strings.Contains(strings.Join(some, " "), a) {
			rest = append(rest, a)
		}
	}
	return rest
}

// schedule plans a command: once, for machine after machine, or again and again.
func (s *scene) schedule(words []string) error {
	at, every, times := time.Second, time.Duration(0), 1
	var err error
	if words[0] == "at" {
		if at, err = clockTime(words[1]); err != nil {
			return err
		}
		words = words[2:]
	}
	if words[0] == "every" {
		if every, err = time.ParseDuration(words[1]); err != nil {
			return err
		}
		words = words[2:]
		if len(words) > 1 && words[1] == "times" {
			if times, err = strconv.Atoi(words[0]); err != nil {
				return err
			}
			words = words[2:]
		}
	}
	commands := [][]string{words}
	if len(words) > 1 && words[1] == "all" {
		commands = nil
		for _, m := range s.w.machines {
			commands = append(commands, append([]string{words[0], m.name}, words[2:]...))
		}
	}
	n := 0
	for range times {
		for _, c := range commands {
			s.w.at(s.w.begun.Add(at+time.Duration(n)*every), func() {
				if err := s.command(c); err != nil {
					s.t.Errorf("%s: %q: %v", s.w.clock(), strings.Join(c, " "), err)
				}
			})
			n++
		}
	}
	return nil
}

func clockTime(text string) (time.Duration, error) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 {
		return 0, fmt.Errorf("%q is not a time such as 3:30", text)
	}
	var d time.Duration
	for n, unit := range []time.Duration{time.Hour, time.Minute, time.Second} {
		if n < len(parts) {
			v, err := strconv.ParseFloat(parts[n], 64)
			if err != nil {
				return 0, err
			}
			d += time.Duration(v * float64(unit))
		}
	}
	return d, nil
}

func (s *scene) machine(name string) (*machine, error) {
	m := s.w.machine(name)
	if m == nil {
		return nil, fmt.Errorf("there is no machine %q", name)
	}
	return m, nil
}

// option finds "name=value" or, for a span, "for 8h" among words.
func option(words []string, name string) (string, bool) {
	for n, w := range words {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v, true
		}
		if w == name {
			if n+1 < len(words) {
				return words[n+1], true
			}
			return "", true
		}
	}
	return "", false
}

func forSpan(words []string) time.Duration {
	v, _ := option(words, "for")
	d, err := time.ParseDuration(v)
	if err != nil {
		return time.Hour
	}
	return d
}

// command does one thing to the world:
//
//	set a web=refused ssh=silent [curable] [impaired=system] [scheduled] [initializing for 2h] [closed] [no-credits]
//	path a|region web=refused ssh=dropped      as we alone see it
//	path peer:REGION dropped|blind             as that region alone sees all machines
//	repair a | boot a for 90s [curable] | flap a p=0.3 for 8h
//	alarm a for 8h | alarm-off a
//	power a stopped|halted|running|terminated | unwatch a | canary a
//	forget a for 2m           EC2 does not know it
//	check-on a CHECK | check-off a CHECK          its settings switch a check
//	wrong-body a | right-body a                   its URL check wants what the server does not send
//	dry-run a                 its setting reboot.dry_run is set
//	work a for 1h             a person works on it
//	hand-back a               she says that it is firstline's again
//	pagers webhook opsgenie    another deployment: these are asked from here on
//	out lambda|ec2|reboots|route53|first|second|slack|table|egress|peer:REGION for 3h
//	out late:first|discards:first for 3h   it does late what it was asked; it accepts pages and makes none
//	pause a|region for 3m | resume
//	close a|breaker|CAUSE     a person closes the open alert with this key or member
//	close-any a               ... if there is one
//	blind a CHECK             the check cannot tell any more
//	elsewhere a CHECK         another machine answers the check
//	die a                     the execution that works on a dies
//	fault STEP killed-after [CALL] [times=3]      in the next invocations of a step
func (s *scene) command(words []string) error {
	w, rest := s.w, words[1:]
	switch words[0] {
	case "out":
		w.out(w.named(rest[0]), forSpan(rest))
		return nil
	case "pagers":
		w.configure(rest...)
		return nil
	case "resume":
		w.resume()
		return nil
	case "close":
		return s.close(rest[0])
	case "close-any":
		_ = s.close(rest[0]) // there may be none
		return nil
	case "fault":
		f := plannedFault{step: rest[0], kind: faultKind(rest[1])}
		times := 1
		for _, word := range rest[2:] {
			if n, ok := strings.CutPrefix(word, "times="); !ok {
				f.call = w.named(word)
			} else if _, err := fmt.Sscan(n, &times); err != nil {
				return err
			}
		}
		w.planned = append(w.planned, slices.Repeat([]plannedFault{f}, times)...)
		return nil
	}
	if peer, ok := strings.CutPrefix(rest[0], "peer:"); ok {
		w.peerPath[peer] = service(rest[1])
		return nil
	}
	if rest[0] == "region" {
		if words[0] == "pause" {
			w.pauseRegion(forSpan(rest))
			return nil
		}
		w.path = service(rest[1])
		w.logf("our way to all machines: %s", w.path)
		return nil
	}
	m, err := s.machine(rest[0])
	if err != nil {
		return err
	}
	return s.onMachine(words[0], m, rest[1:])
}

// named puts the names of the first and the second pager in the place of these words.
func (w *world) named(text string) string {
	text = strings.ReplaceAll(text, "first", w.first().name)
	if len(w.pagers) > 1 {
		text = strings.ReplaceAll(text, "second", w.pagers[1].name)
	}
	return text
}

func (s *scene) onMachine(verb string, m *machine, rest []string) error {
	w := s.w
	of := func(name string, was service) service {
		if v, ok := option(rest, name); ok {
			return service(v)
		}
		return was
	}
	switch verb {
	case "set":
		_, m.curable = option(rest, "curable")
		m.impaired, _ = option(rest, "impaired")
		m.impairedAt = time.Now()
		_, m.closed = option(rest, "closed")
		_, m.noCredits = option(rest, "no-credits")
		_, m.scheduled = option(rest, "scheduled")
		if _, is := option(rest, "initializing"); is {
			m.initUntil = time.Now().Add(forSpan(rest))
		}
		w.set(m, of("web", m.web), of("ssh", m.ssh))
	case "path":
		m.webPath, m.sshPath = of("web", m.webPath), of("ssh", m.sshPath)
		w.logf("our way to %s: web %s, ssh %s", m.name, m.webPath, m.sshPath)
	case "repair":
		w.repair(m)
	case "boot":
		_, cures := option(rest, "curable")
		w.boot(m, forSpan(rest), cures)
	case "flap":
		p, _ := option(rest, "p")
		m.flapP, _ = strconv.ParseFloat(p, 64)
		m.flapUntil = time.Now().Add(forSpan(rest))
	case "alarm":
		w.raise(m, forSpan(rest))
	case "alarm-off":
		m.alarmUntil = time.Time{}
	case "power":
		m.power = power(rest[0])
		if m.power == running {
			m.launchedAt = time.Now()
		}
		w.logf("%s: %s", m.name, m.power)
	case "unwatch":
		m.unwatched = true
	case "blind":
		m.blinded = map[string]bool{rest[0]: true}
	case "elsewhere":
		m.elsewhere = map[string]bool{rest[0]: true}
	case "pause":
		m.pauseFrom, m.pause = time.Now(), time.Now().Add(forSpan(rest))
	case "canary":
		return w.canary(m)
	case "dry-run":
		m.settings.Reboot.DryRun, m.parameter = true, ""
	case "check-on", "check-off":
		m.enable(rest[0], verb == "check-on")
		w.logf("%s: %s %s", m.name, verb, rest[0])
	case "wrong-body", "right-body":
		m.settings.URL.BodyPattern, m.parameter = map[bool]string{true: wrongBody}[verb == "wrong-body"], ""
		w.logf("%s: %s", m.name, verb)
	case "forget":
		m.forgotten = time.Now().Add(forSpan(rest))
		w.logf("EC2 does not know %s", m.name)
	case "hand-back":
		w.handBack(m)
	case "work":
		m.workFrom, m.work = time.Now(), time.Now().Add(forSpan(rest))
		w.logf("a person works on %s", m.name)
	case "die":
		for _, e := range w.executions {
			if e.instance == m.id && e.outcome == nil {
				e.stop = true
				w.logf("the execution %s dies", e.name)
			}
		}
	default:
		return fmt.Errorf("%q is unknown", verb)
	}
	return nil
}

func (s *scene) close(key string) error {
	id := key
	if m := s.w.machine(key); m != nil {
		id = m.id
	}
	for _, a := range s.w.openAlerts() {
		if _, isMember := a.members[id]; isMember || a.key == key {
			s.w.closeAlert(a)
			return nil
		}
	}
	return fmt.Errorf("no open alert has the key or the member %q", key)
}

// check checks one expectation.
func (s *scene) check(words []string) error {
	if words[0] == "page" {
		return s.checkPage(words[1:])
	}
	got, rest := 0, words[1:]
	switch words[0] {
	case "reboots":
		if rest[0] == "of" {
			m, err := s.machine(rest[1])
			if err != nil {
				return err
			}
			got, rest = len(m.reboots), rest[2:]
		} else {
			got = len(s.w.rebootsAt)
		}
	case "pages":
		got = len(s.w.wakes)
	case "slack", "notes", "looks", "asks", "reads": // the last two are of Route 53: its reports, and what the health check is
		got = s.w.count[words[0]]
	case "irreducible": // reboots of healthy machines that cannot be told from dead ones
		for name, n := range s.w.count {
			if strings.HasPrefix(name, "irreducible") {
				got += n
			}
		}
	case "open":
		got = len(s.w.openAlerts())
	case "kept": // alerts in the table
		got = len(s.w.keptAlerts())
	case "guard":
		got, rest = s.w.count["guard "+rest[0]], rest[1:]
	case "ended": // "ended Told >= 1"
		n := len(rest) - 2
		got, rest = s.w.count["end: "+strings.Join(rest[:n], " ")], rest[n:]
	default:
		return fmt.Errorf("%q is unknown", words[0])
	}
	return compare(got, rest)
}

func compare(got int, rest []string) error {
	if len(rest) != 2 {
		return fmt.Errorf("want an operator and a number")
	}
	want, err := strconv.Atoi(rest[1])
	if err != nil {
		return err
	}
	if ok := map[string]bool{"=": got == want, "<=": got <= want, ">=": got >= want}[rest[0]]; !ok {
		return fmt.Errorf("got %d", got)
	}
	return nil
}

// checkPage checks "1 before 0:20", "1 after 0:20" and "1 says worse".
func (s *scene) checkPage(words []string) error {
	n, err := strconv.Atoi(words[0])
	if err != nil {
		return err
	}
	if n > len(s.w.wakes) {
		return fmt.Errorf("there are %d pages", len(s.w.wakes))
	}
	page := s.w.wakes[n-1]
	if words[1] == "says" {
		if page.situation != words[2] {
			return fmt.Errorf("it says %s", page.situation)
		}
		return nil
	}
	if words[1] == "by" {
		if by := page.alert.pager.name; by != words[2] {
			return fmt.Errorf("it came by %s", by)
		}
		return nil
	}
	limit, err := clockTime(words[2])
	if err != nil {
		return err
	}
	if at := page.at.Sub(s.w.begun); words[1] == "before" && at > limit || words[1] == "after" && at < limit {
		return fmt.Errorf("it came at %s", at.Round(time.Second))
	}
	return nil
}
