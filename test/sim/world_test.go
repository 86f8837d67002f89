package sim

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
	"firstline/test/dynamo"
)

const (
	region     = "eu-west-1"
	account    = "123456789012"
	deployment = "firstline"
)

// world is a region: its machines, what they run on, and the people.
//
// Each goroutine of a bubble wakes at an instant of its own: times are whole
// milliseconds plus a number of nanoseconds that no other goroutine has. So no
// two run at once, and a seed gives the same day each time. Only the calls that
// one invocation makes side by side do; what they get depends on what they ask,
// and not on their order. mu guards all of it. Timers run with mu held; nothing
// sleeps with it.
type world struct {
	mu     sync.Mutex
	seed   uint64
	random *rand.Rand
	begun  time.Time
	phases int
	ended  bool

	machines []*machine
	path     service // from us to all machines
	// peers are the regions that we ask, vantageRequired the setting of that name.
	peers           []string
	peerPath        map[string]service // from a peer to all machines
	vantageRequired bool
	// terse: Route 53's checkers do not name the status that they get.
	terse bool
	// outages are the ends of outages, by what is out.
	outages map[string]time.Time
	// lost is the share of events that are lost, dies the chance that an execution
	// dies at a transition, faulty the share of invocations with a fault.
	lost, dies, faulty float64
	planned            []plannedFault
	faultAt            time.Time // when a planned one last was
	breaker            incident.Breaker
	bootMax            time.Duration

	// pagers are those that are asked, in order of fallback, known those that ever were,
	// by their name. slack is Slack as a pager. slow is the share of the requests that
	// take an asynchronous service up to 20 seconds.
	pagers  []*pager
	known   map[string]*pager
	slack   *pager
	slow    float64
	people  bool
	noSlack bool

	db *dynamo.DB
	// tableTakes bounds what a call of the function to the table takes.
	tableTakes time.Duration
	table      *store.Table
	executions map[string]*execution
	// resting: nothing was due in the table after this many writes.
	resting      bool
	restingAsked int
	tasks        sync.WaitGroup

	// quiet: nothing is counted as noise any more.
	quiet      bool
	log        []string
	loud       bool
	violations []violation
	count      map[string]int
	wakes      []wake
	slacks     []told
	// breakerClosed is when people last closed the breaker.
	breakerClosed time.Time
	rebootsAt     []time.Time
}

type violation struct{ kind, detail string }

func newWorld(seed uint64) *world {
	w := &world{
		seed: seed, random: rand.New(rand.NewPCG(seed, 11)), begun: time.Now(), path: well, //nolint:gosec // a seed that reproduces the day
		restingAsked: -1, outages: map[string]time.Time{}, peerPath: map[string]service{}, executions: map[string]*execution{}, known: map[string]*pager{}, count: map[string]int{},
		breaker: incident.Breaker{InFlight: 2, PerHour: 6}, bootMax: 118 * time.Second,
	}
	w.slack = &pager{w: w, name: "slack"}
	w.configure("opsgenie")
	w.db = dynamo.New("firstline")
	w.db.Before, w.db.After = w.beforeTable, w.afterTable
	w.table = &store.Table{Name: "firstline", Client: w.tableClient, Random: func(limit time.Duration) time.Duration {
		return limit / 2
	}}
	return w
}

// add adds a machine that has passed all its checks before.
func (w *world) add(name string, checks ...string) *machine {
	m := &machine{
		name: name, id: fmt.Sprintf("i-%017x", len(w.machines)+1), settings: incident.DefaultSettings(),
		web: well, ssh: well, webPath: well, sshPath: well, power: running,
	}
	m.settings.URL.Enabled, m.settings.SSH.Enabled = false, false
	for _, check := range checks {
		m.enable(check, true)
	}
	w.machines = append(w.machines, m)
	w.baseline(m, incident.Checks...)
	return m
}

// enable switches a check in the settings.
func (m *machine) enable(check string, on bool) {
	m.parameter = ""
	switch check {
	case incident.CheckURL:
		m.settings.URL.Enabled = on
	case incident.CheckSSH:
		m.settings.SSH.Enabled = on
	case incident.CheckRoute53:
		m.settings.Route53.HealthCheckID = map[bool]string{true: "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b"}[on]
	}
}

func (m *machine) enabled() (n int) {
	for _, check := range incident.Checks {
		if m.settings.Enabled(check) {
			n++
		}
	}
	return n
}

// baseline writes that checks have passed; with none, that none has.
func (w *world) baseline(m *machine, checks ...string) {
	prints, reach := map[string]string{}, map[string]policy.Reach{}
	for _, check := range checks {
		if m.settings.Enabled(check) {
			prints[check] = m.settings.Fingerprint(check)
			for _, region := range w.peers {
				reach[check+"@"+region] = policy.Reach{Print: prints[check], At: incident.At(time.Now()), OK: true}
			}
		}
	}
	w.store(m, func(i *policy.Instance) {
		i.Baseline, i.Reach, i.AtRest = prints, reach, i.AtRest || len(i.Findings) == 0
	})
}

// phase returns nanoseconds that nobody else has.
func (w *world) phase() time.Duration {
	w.phases++
	return time.Duration(w.phases%499_979) + 1
}

// phaseOf is the phase of something that calls made side by side begin, so that
// their order does not matter.
func (w *world) phaseOf(name string) time.Duration {
	return 500_000 + time.Duration(w.draw(name, "phase")*499_979)
}

// until returns the time from now to an instant at or after t which is nobody
// else's.
func (w *world) until(t time.Time) time.Duration { return untilPhase(t, w.phase()) }

func untilPhase(t time.Time, phase time.Duration) time.Duration {
	now := time.Now()
	t = t.Truncate(time.Millisecond)
	if !t.After(now) {
		t = now.Truncate(time.Millisecond).Add(time.Millisecond)
	}
	return t.Add(phase).Sub(now)
}

// at does something at a time, unless the day has ended by then.
func (w *world) at(t time.Time, do func()) {
	time.AfterFunc(w.until(t), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.ended {
			do()
		}
	})
}

func (w *world) after(span time.Duration, do func()) { w.at(time.Now().Add(span), do) }

// every does something again and again.
func (w *world) every(span time.Duration, do func()) {
	w.after(span, func() {
		do()
		w.every(span, do)
	})
}

// chance draws by what it is about, so that it does not matter who draws first.
func (w *world) chance(p float64, about ...any) bool { return p > 0 && w.draw(about...) < p }

func (w *world) draw(about ...any) float64 {
	h := fnv.New64a()
	var b [8]byte
	number := func(n uint64) {
		binary.LittleEndian.PutUint64(b[:], n)
		_, _ = h.Write(b[:])
	}
	number(w.seed)
	for _, a := range about {
		switch a := a.(type) {
		case string:
			_, _ = h.Write([]byte(a))
		case int:
			number(uint64(a)) //nolint:gosec // its bits are what counts
		case int64:
			number(uint64(a)) //nolint:gosec // its bits are what counts
		}
		_, _ = h.Write([]byte{0})
	}
	x := h.Sum64()
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	return float64(x>>11) / (1 << 53)
}

// between draws a time.
func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.random.Int64N(int64(high-low))).Truncate(time.Second)
}

func (w *world) p(p float64) bool { return w.random.Float64() < p }

// out lets something be out for a time.
func (w *world) out(what string, span time.Duration) {
	w.outages[what] = time.Now().Add(span)
	w.logf("%s is out for %s", what, span)
}

func (w *world) isOut(what string) bool { return time.Now().Before(w.outages[what]) }

func (w *world) clock() string {
	d := time.Since(w.begun)
	return fmt.Sprintf("%02d:%02d:%02d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
}

func (w *world) logf(format string, args ...any) {
	if w.loud {
		w.log = append(w.log, w.clock()+"  "+fmt.Sprintf(format, args...))
	}
}

// violate records that a promise was broken.
func (w *world) violate(kind, format string, args ...any) {
	v := violation{kind, w.clock() + " " + fmt.Sprintf(format, args...)}
	w.violations = append(w.violations, v)
	w.logf("VIOLATION %s: %s", kind, v.detail)
}

func (w *world) machine(id string) *machine {
	for _, m := range w.machines {
		if m.id == id || m.name == id {
			return m
		}
	}
	return nil
}
