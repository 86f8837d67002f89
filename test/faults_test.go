package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"firstline/internal/localaws"
	"firstline/internal/old/incident"
	"firstline/internal/stage"
)

const (
	// choiceVariable says which cells run: "all", or a regular expression of
	// their names; without it the sample does.
	choiceVariable = "FIRSTLINE_FAULTS"
	// longest bounds an execution of a cell: the slowest goes through every retry
	// of a pager that hangs, and then Slack.
	longest = 8 * time.Minute
	// pace is how much faster the waits between a Task's retries pass. The definition
	// is as it is deployed, and as many retries are made; but throttled for good,
	// Lambda alone keeps a Task waiting for up to 16 minutes.
	pace = 8
	// stormy is the region of the storm, whose brake is the default.
	stormy = "us-east-1"
	// quickCells is how many cells run at the same time, and slowCells how many that
	// wait more than they do. Two cores bear no more without time-outs that nobody
	// asked for.
	quickCells, slowCells = 5, 32
)

// healthCheck is the one of all cells that have one: it passes, and their faults
// choose by the instance.
const healthCheck = "0000fa17-0000-4000-8000-000000000000"

// calm are the regions of all else. A region's brake knows each reboot of the last
// hour, and of hundreds the local table takes a second for each look at it: so
// there are several.
var calm = []string{"eu-west-1", "eu-central-1", "ap-southeast-2"}

// TestFaults breaks one thing at a time, everywhere: each cell is an instance of
// its own, whose alarm rings while a call that its incident makes, a step, a
// message or the instance itself does not do what it should. Whatever it is, there
// is no reboot without a reason that a reboot can cure, and no second one; the
// execution ends; one person is told once, or an alarm on firstline itself rings;
// no alert is closed of an instance that is down, and none stays open without an
// alarm of one that is well; and no secret is anywhere.
func TestFaults(t *testing.T) {
	all := cells()
	names := map[string]bool{}
	for _, tr := range all {
		if names[tr.name] {
			t.Fatalf("two cells are called %q", tr.name)
		}
		names[tr.name] = true
	}
	chosen, storm, regions := sample(all), 12, calm[:1]
	switch choice := os.Getenv(choiceVariable); choice {
	case "":
	case "all":
		chosen, storm, regions = all, 50, calm
	default:
		pattern, err := regexp.Compile(choice)
		if err != nil {
			t.Fatalf("%s: %v", choiceVariable, err)
		}
		chosen = slices.DeleteFunc(all, func(tr cell) bool { return !pattern.MatchString(tr.name) })
		if storm = 0; pattern.MatchString("a storm") {
			storm = 50
		}
	}
	m := newMatrix(t, chosen, storm, regions)
	if storm > 0 {
		m.storm()
	}
	var wg sync.WaitGroup
	wg.Go(m.run)
	if storm > 0 {
		wg.Go(func() { m.sweeps(len(chosen) == len(all)) })
	}
	wg.Wait()
	m.secretless()
	m.report(len(all))
}

// matrix is where the cells run.
type matrix struct {
	t      *testing.T
	w      *stage.World
	shots  []*shot
	stormy []*stage.Instance
	start  time.Time
	// watches are, by region, who waits for the ends of executions.
	watches map[string]*watch
	// results are what was wrong, by the names of the cases.
	mu      sync.Mutex
	leaks   map[string]int
	results map[string][]string
	order   []string
	// executions are all that were started.
	executions started
}

// shot is one cell with its instance.
type shot struct {
	cell
	m        *matrix
	w        *stage.World
	i        *stage.Instance
	faults   []*localaws.Injected
	troubles []*stage.InTrouble
	// flaps has the instance answer every other look once it is to be well.
	flaps bool
}

// newMatrix deploys what the cells need.
func newMatrix(t *testing.T, chosen []cell, storm int, regions []string) *matrix {
	start := time.Now()
	w, err := stage.New(t.Context(), stage.Options{Root: root(t), Log: testLog{t}, RetryPace: pace, WaitPace: waitPace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	m := &matrix{t: t, w: w, start: start, results: map[string][]string{}, leaks: map[string]int{}, watches: map[string]*watch{}}
	overrides := map[string]map[string]any{}
	// Terraform deploys one instance of each kind of settings and region, the
	// models; hundreds would take it minutes.
	models := map[string]*stage.Instance{}
	var instances []*stage.Instance
	var copies [][2]*stage.Instance
	add := func(region string, settings map[string]any) *stage.Instance {
		i, err := m.w.AddInstance(t.Context(), region)
		if err != nil {
			t.Fatal(err)
		}
		m.w.AWS.SetConsoleOutput(i.ID, console)
		kind := fmt.Sprint(region, settings)
		if models[kind] == nil {
			models[kind], overrides[i.ID] = i, settings
		} else {
			copies = append(copies, [2]*stage.Instance{models[kind], i})
		}
		return i
	}
	m.w.AWS.SetHealthCheck(healthCheck, reports(8)...)
	for n, c := range chosen {
		settings := c.settings
		if c.healthCheck {
			settings = map[string]any{"route53": map[string]any{"health_check_id": healthCheck, "attempts": 1}}
		}
		s := &shot{cell: c, m: m, w: m.w, i: add(regions[n%len(regions)], settings)}
		m.shots, instances = append(m.shots, s), append(instances, s.i)
	}
	for range storm {
		m.stormy = append(m.stormy, add(stormy, nil))
	}
	// The regions are roots of their own, since the brake is of a whole root.
	var wg sync.WaitGroup
	errs := make([]error, 2)
	deploy := func(n int, brake bool) {
		of := slices.DeleteFunc(slices.Collect(maps.Values(models)), func(i *stage.Instance) bool { return (i.Region == stormy) != brake })
		if len(of) == 0 {
			return
		}
		v := m.w.Variables(overrides, of...)
		// Time-outs are long, so that a busy machine makes none; nothing here waits
		// for them but what hangs.
		v["defaults"] = map[string]any{
			"url":  map[string]any{"port": stage.HTTPPort, "path": "/healthz", "timeout_seconds": 10, "attempts": 2, "interval_seconds": 0},
			"ssh":  map[string]any{"port": stage.SSHPort, "timeout_seconds": 10, "attempts": 2, "interval_seconds": 0},
			"boot": map[string]any{"first_look_seconds": 1, "interval_seconds": 1, "window_seconds": 4},
		}
		v["all_clear"] = map[string]any{"every_minutes": 1, "for_minutes": 0}
		if brake {
			// Nobody waits for an all-clear there.
			v["all_clear"] = map[string]any{"every_minutes": 60, "for_minutes": 0}
			delete(v, "brake")
			// A reboot is in flight until its incident is closed, and not until its
			// window is.
			v["defaults"].(map[string]any)["boot"].(map[string]any)["window_seconds"] = 120
		}
		dir, err := m.w.CopyRoot(v)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { errs[n] = apply(t.Context(), m.w, dir) })
	}
	deploy(0, false)
	deploy(1, true)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, c := range copies {
		if err := m.w.CopyDeployed(t.Context(), c[0], c[1]); err != nil {
			t.Fatalf("copy what is deployed for %s to %s: %v", c[0].ID, c[1].ID, err)
		}
	}
	learn(t, m.w, plain, slices.Concat(instances, m.stormy)...)
	for _, i := range slices.Concat(instances, m.stormy) {
		if m.watches[i.Region] == nil {
			m.watches[i.Region] = newWatch(t, m.w, i.Region)
		}
	}
	t.Logf("%d instances deployed in %.0f s", len(instances)+len(m.stormy), time.Since(m.start).Seconds())
	return m
}

// run runs the cells, those first that take longest.
func (m *matrix) run() {
	ctx, cancel := context.WithTimeout(m.t.Context(), longEnough)
	defer cancel()
	var wg sync.WaitGroup
	for slow, atOnce := range map[bool]int{false: quickCells, true: slowCells} {
		next := make(chan *shot)
		for range atOnce {
			wg.Go(func() {
				for s := range next {
					m.note(s.name, s.play(ctx)...)
				}
			})
		}
		wg.Go(func() {
			defer close(next)
			// Those that take longest first.
			for _, s := range slices.SortedStableFunc(slices.Values(m.shots), func(a, b *shot) int { return b.weight() - a.weight() }) {
				if s.slow == slow {
					next <- s
				}
			}
		})
	}
	wg.Wait()
	m.t.Logf("%d cells run in %.0f s", len(m.shots), time.Since(m.start).Seconds())
}

// note keeps what was wrong with a case, nothing if it was right.
func (m *matrix) note(name string, wrong ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.results[name]; !there {
		m.order = append(m.order, name)
	}
	m.results[name] = append(m.results[name], wrong...)
}

// breakCalls adds a fault that must strike.
func (s *shot) breakCalls(f localaws.Fault) { s.faults = append(s.faults, s.w.AWS.AddFault(f)) }

// trouble has a service treat what concerns the instance badly; it must happen.
func (s *shot) trouble(of *stage.Service, t stage.Trouble) error {
	t.Pick = func(r stage.Request) bool { return r.Has(s.i.ID) }
	s.troubles = append(s.troubles, of.Trouble(t))
	return nil
}

// mayTrouble is trouble that need not happen.
func (s *shot) mayTrouble(of *stage.Service, t stage.Trouble) error {
	t.Pick = func(r stage.Request) bool { return r.Has(s.i.ID) }
	of.Trouble(t)
	return nil
}

// atOnce delivers events at the same moment.
func (s *shot) atOnce(ctx context.Context, events ...[]byte) ([]string, error) {
	arns, errs := make([][]string, len(events)), make([]error, len(events))
	var wg sync.WaitGroup
	for n, e := range events {
		wg.Go(func() { arns[n], errs[n] = s.w.AWS.PutEvent(ctx, s.i.Region, e) })
	}
	wg.Wait()
	return slices.Concat(arns...), errors.Join(errs...)
}

// play rings, waits for all that comes of it, and says what is wrong with it.
func (s *shot) play(ctx context.Context) (wrong []string) {
	switch s.condition {
	case well:
	case curable:
		s.i.OnReboot(stage.CuredBy(0))
		fallthrough
	case dead:
		if err := s.i.SetHTTP(stage.Refuse); err != nil {
			return []string{err.Error()}
		}
	}
	if s.arrange != nil {
		if err := s.arrange(s); err != nil {
			return []string{"arrange: " + err.Error()}
		}
	}
	ring := s.ring
	if ring == nil {
		ring = func(ctx context.Context, s *shot) ([]string, error) {
			return s.w.AWS.Ring(ctx, s.i.Region, "firstline-cpu-"+s.i.ID, "Threshold Crossed")
		}
	}
	arns, err := ring(ctx, s)
	if err != nil {
		return []string{"ring: " + err.Error()}
	}
	var ends []end
	for _, arn := range arns {
		e, err := s.m.end(ctx, s.i.Region, arn)
		if err != nil {
			return []string{err.Error()}
		}
		ends = append(ends, e)
	}
	if wrong = s.judge(ends); s.clears != nil && len(wrong) == 0 {
		cleared, bad := s.allClear(ctx)
		ends, wrong = append(ends, cleared...), append(wrong, bad...)
	}
	for _, f := range s.faults {
		if f.Hits() == 0 {
			wrong = append(wrong, "its fault never struck")
		}
		f.Remove()
	}
	for _, t := range s.troubles {
		if t.Hits() == 0 {
			wrong = append(wrong, "its trouble never happened")
		}
		t.End()
	}
	if len(wrong) > 0 {
		for _, e := range ends {
			wrong = append(wrong, fmt.Sprintf("%s: %s after %s: %s", e.name, e.status, e.took.Round(time.Second), strings.Join(e.path, " → ")))
			if e.inc.Error != nil {
				wrong = append(wrong, fmt.Sprintf("its error: %+v", *e.inc.Error))
			}
		}
		for _, msg := range slices.Concat(s.w.Slack.Received(s.i.ID), s.w.Pager.Received(s.i.ID)) {
			wrong = append(wrong, fmt.Sprintf("told at %s (alias %q, note %t): %.200s", msg.At.UTC().Format("15:04:05.000"), msg.Alias, msg.Note, msg.Text))
		}
		for _, i := range s.w.AWS.Invocations(functionARN(plain, s.i.Region)) {
			if strings.Contains(string(i.Event), s.i.ID) && !strings.Contains(i.Log, `"dry":true`) {
				wrong = append(wrong, fmt.Sprintf("invoked %s: %.1000s", i.Time.UTC().Format("15:04:05.000"), said(i.Log)))
			}
		}
	}
	return wrong
}

// said is what the function itself has logged, without its metrics.
func said(log string) string {
	var lines []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"msg":`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// judge holds what came of a cell against what holds of all, and against its own
// verdict.
func (s *shot) judge(ends []end) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	failed, handled := 0, 0
	var last []string
	for _, e := range ends {
		if e.took > longest {
			say("it took %s", e.took)
		}
		switch {
		case e.last() == "Already handled":
			handled++
			if e.inc.HandledBy == nil || !slices.ContainsFunc(ends, func(o end) bool { return o.name == e.inc.HandledBy.Name && o.last() != "Already handled" }) {
				say("it was handled by %+v, which is none of its executions", e.inc.HandledBy)
			}
			continue
		case e.status != sfntypes.ExecutionStatusSucceeded:
			failed++
		}
		last = append(last, e.last())
	}

	// (a) Reboots: never two, and none without a check that failed on it.
	reboots := s.i.Reboots()
	if reboots > 1 {
		say("%d reboots within its cool-down", reboots)
	}
	if reboots > 0 && !slices.ContainsFunc(ends, func(e end) bool { return e.sawFailure }) {
		say("a reboot, and no check had failed")
	}

	// (c) Who was told: once, or an alarm of the monitor rings. What Slack hears
	// after somebody was paged is the page's thread.
	aliases := map[string]bool{}
	var paged time.Time
	for _, p := range s.w.Pager.Received(s.i.ID) {
		if !p.Note {
			aliases[p.Alias] = true
			if paged.IsZero() {
				paged = p.At
			}
		}
	}
	var posts, threads []stage.Received
	for _, p := range s.w.Slack.Received(s.i.ID) {
		if paged.IsZero() || p.At.Before(paged) {
			posts = append(posts, p)
		} else {
			threads = append(threads, p)
		}
	}
	if s.repeats {
		same := func(a, b stage.Received) bool { return firstLine(a.Text) == firstLine(b.Text) }
		posts, threads = slices.CompactFunc(posts, same), slices.CompactFunc(threads, same)
	}
	if len(threads) > 1 {
		say("%d messages to Slack about one page", len(threads))
	}
	if n := len(posts) + len(aliases); n > 1 {
		say("told %d times: %d messages to Slack, pages %v", n, len(posts), slices.Sorted(maps.Keys(aliases)))
	} else if quiet := n == 0 && failed == 0 && !s.want.buried; quiet && !slices.Equal(last, []string{"All good"}) {
		say("nobody was told, no alarm rings, and it ended in %q", last)
	}

	want := s.want
	if want.buried {
		if len(ends) > 0 {
			say("%d executions were started", len(ends))
		}
		return wrong
	}
	if len(last) != 1 {
		say("%d executions looked after it: %q", len(last), last)
		return wrong
	}
	if handled != want.handled {
		say("%d executions were handled already, want %d", handled, want.handled)
	}
	if want.rough {
		return wrong
	}
	if reboots != want.reboots {
		say("%d reboots, want %d", reboots, want.reboots)
	}
	got := nobody
	switch {
	case len(posts) > 0:
		got = slack
	case len(aliases) > 0:
		got = page
		if want.thread && len(threads) == 0 {
			say("Slack did not hear of the page")
		}
	}
	if got != want.told {
		say("%s was told, want %s", got, want.told)
	}
	if !slices.Contains(want.ends, last[0]) {
		say("it ended in %q, want one of %q", last[0], want.ends)
	}
	if (failed > 0) != want.fails {
		say("the execution failed: %t, want %t", failed > 0, want.fails)
	}
	return wrong
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// end is how an execution ended.
type end struct {
	name   string
	status sfntypes.ExecutionStatus
	took   time.Duration
	// closing is when its last step began.
	closing time.Time
	// path are the states that it went through.
	path []string
	// inc is the incident as its last state got it.
	inc incident.Incident
	// sawFailure says that a check failed in run 1.
	sawFailure bool
}

func (e end) last() string {
	if len(e.path) == 0 {
		return ""
	}
	return e.path[len(e.path)-1]
}

// until waits for an execution's end.
func (m *matrix) until(ctx context.Context, region, arn string) error {
	m.executions.add(arn, region)
	select {
	case <-m.watches[region].ended(arn):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s does not end: %w", arn, ctx.Err())
	}
}

// end waits for an execution's end and reads how it went.
func (m *matrix) end(ctx context.Context, region, arn string) (e end, err error) {
	if err := m.until(ctx, region, arn); err != nil {
		return e, err
	}
	client := sfn.NewFromConfig(m.w.AWS.Config(region))
	x, err := client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arn})
	if err != nil {
		return e, err
	}
	e.name, e.status, e.took = aws.ToString(x.Name), x.Status, aws.ToTime(x.StopDate).Sub(aws.ToTime(x.StartDate))
	pages := sfn.NewGetExecutionHistoryPaginator(client, &sfn.GetExecutionHistoryInput{ExecutionArn: &arn, MaxResults: 1000})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return e, err
		}
		for _, h := range page.Events {
			if entered := h.StateEnteredEventDetails; entered != nil {
				e.path = append(e.path, aws.ToString(entered.Name))
				if e.last() == "Close incident" {
					e.closing = aws.ToTime(h.Timestamp)
				}
				// What is no incident leaves it as it was.
				var inc incident.Incident
				if json.Unmarshal([]byte(aws.ToString(entered.Input)), &inc) == nil {
					e.inc = inc
				}
				for _, f := range inc.Findings {
					e.sawFailure = e.sawFailure || f.Run == 1 && !f.Passed && !f.Skipped
				}
			}
			m.look("the history", "of "+e.name, h)
		}
	}
	return e, nil
}

// watch tells when executions of the state machines have ended: one that asks for
// all of them, in place of each cell for its own.
type watch struct {
	mu   sync.Mutex
	over map[string]chan struct{} // by ARN; closed at its end
}

// newWatch watches the executions of a region until the test ends.
func newWatch(t *testing.T, w *stage.World, region string) *watch {
	watch := &watch{over: map[string]chan struct{}{}}
	client := sfn.NewFromConfig(w.AWS.Config(region))
	machines := machinesOf(region)
	go func() {
		for t.Context().Err() == nil {
			for _, machine := range machines {
				pages := sfn.NewListExecutionsPaginator(client, &sfn.ListExecutionsInput{StateMachineArn: &machine, MaxResults: 1000})
				for pages.HasMorePages() {
					page, err := pages.NextPage(t.Context())
					if err != nil {
						break // asked again
					}
					for _, x := range page.Executions {
						if x.Status != sfntypes.ExecutionStatusRunning {
							watch.end(*x.ExecutionArn)
						}
					}
				}
			}
			select {
			case <-t.Context().Done():
			case <-time.After(time.Second):
			}
		}
	}()
	return watch
}

// machinesOf are the state machines of a region: that of incidents, and that of
// all-clears.
func machinesOf(region string) []string {
	machine := "arn:aws:states:" + region + ":" + localaws.AccountID + ":stateMachine:" + plain
	return []string{machine, machine + "-all-clear"}
}

// ended is closed when an execution has ended.
func (w *watch) ended(arn string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over[arn] == nil {
		w.over[arn] = make(chan struct{})
	}
	return w.over[arn]
}

func (w *watch) end(arn string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.over[arn]
	if c == nil {
		c = make(chan struct{})
		w.over[arn] = c
	}
	select {
	case <-c:
	default:
		close(c)
	}
}

// look looks for secrets in what may hold none. Of each kind of place it tells once
// of each secret, and how often in the end.
func (m *matrix) look(kind, where string, what any) {
	text, ok := what.(string)
	if !ok {
		raw, err := json.Marshal(what)
		if err != nil {
			m.note(noSecret, where+": "+err.Error())
			return
		}
		text = string(raw)
	}
	for n, secret := range secrets {
		at := strings.Index(text, secret)
		if at < 0 {
			continue
		}
		m.mu.Lock()
		m.leaks[fmt.Sprintf("%s: secret %d", kind, n)]++
		first := m.leaks[fmt.Sprintf("%s: secret %d", kind, n)] == 1
		m.mu.Unlock()
		if first {
			m.note(noSecret, fmt.Sprintf("%s %s holds secret %d: …%s…", kind, where, n, text[max(0, at-200):min(len(text), at+len(secret)+20)]))
		}
	}
}

// noSecret is the name of a case.
const noSecret = "no secret is anywhere"

// secretless looks for secrets in the logs, the messages and the tables; histories
// are looked through as they end.
func (m *matrix) secretless() {
	m.note(noSecret)
	evidence, invocations := 0, 0
	for region := range m.watches {
		for _, i := range m.w.AWS.Invocations(functionARN(plain, region)) {
			invocations++
			about := fmt.Sprintf("of the invocation %s in %s with %.60s", i.RequestID, region, i.Event)
			m.look("the log", about, i.Log)
			m.look("the answer", about, string(i.Answer))
		}
		for key, text := range tableTexts(m.t, m.w, plain, region) {
			m.look("the item", key+" in "+region, text)
			if strings.HasPrefix(key, "evidence/") && strings.Contains(text, "Out of memory") {
				evidence++
			}
		}
	}
	for _, msg := range slices.Concat(m.w.Slack.Received(), m.w.Slack.Updates(), m.w.Pager.Received(), m.w.Pager.Closings("")) {
		m.look("a message", firstLine(msg.Text), msg.Body)
	}
	if invocations == 0 || len(m.w.AWS.Reboots()) > 0 && evidence == 0 {
		m.note(noSecret, fmt.Sprintf("it looked at %d invocations and at %d pieces of evidence", invocations, evidence))
	}
	for what, n := range m.leaks {
		m.note(noSecret, fmt.Sprintf("%s: %d times", what, n))
	}
}

// report tells of each case, and how many ran and passed. It also makes sure that
// what counts as an alarm's metric has an alarm.
func (m *matrix) report(whole int) {
	m.note("every failure has an alarm", m.alarms()...)
	m.note("every event that started nothing is a dead letter", m.deadLetters()...)
	passed := 0
	for _, name := range m.order {
		if len(m.results[name]) == 0 {
			passed++
			continue
		}
		m.t.Run(name, func(t *testing.T) {
			for _, wrong := range m.results[name] {
				t.Error(wrong)
			}
		})
	}
	m.t.Logf("faults: %d cases, %d passed, %d failed, in %.0f s (%d cells of the matrix's %d, %d instances in the storm)",
		len(m.order), passed, len(m.order)-passed, time.Since(m.start).Seconds(), len(m.shots), whole, len(m.stormy))
}

// alarms says which of the metrics that count here have no alarm.
func (m *matrix) alarms() (wrong []string) {
	for region := range m.watches {
		watched := map[string]bool{}
		client := cloudwatch.NewFromConfig(m.w.AWS.Config(region))
		pages := cloudwatch.NewDescribeAlarmsPaginator(client, &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String("firstline-self-")})
		for pages.HasMorePages() {
			page, err := pages.NextPage(m.t.Context())
			if err != nil {
				return []string{err.Error()}
			}
			for _, a := range page.MetricAlarms {
				of := ""
				for _, d := range a.Dimensions {
					of += " " + aws.ToString(d.Value)
				}
				watched[aws.ToString(a.Namespace)+" "+aws.ToString(a.MetricName)+of] = true
			}
		}
		machines := machinesOf(region)
		for _, metric := range []string{
			"AWS/States ExecutionsFailed " + machines[0], "AWS/States ExecutionsTimedOut " + machines[0], "AWS/States ExecutionsAborted " + machines[0],
			"AWS/States ExecutionsFailed " + machines[1], "AWS/States ExecutionsTimedOut " + machines[1],
			"AWS/SQS NumberOfMessagesSent firstline-dead-letter", "AWS/SQS ApproximateNumberOfMessagesVisible firstline-dead-letter",
			"AWS/Lambda Errors firstline-responder", "firstline Sweeps firstline",
		} {
			if !watched[metric] {
				wrong = append(wrong, fmt.Sprintf("%s: no alarm is on %s", region, metric))
			}
		}
	}
	return wrong
}

// deadLetters says of which cells whose event started nothing the event is not in
// the dead-letter queue.
func (m *matrix) deadLetters() (wrong []string) {
	letters := ""
	for region := range m.watches {
		client := sqs.NewFromConfig(m.w.AWS.Config(region))
		queue, err := client.GetQueueUrl(m.t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("firstline-dead-letter")})
		if err != nil {
			return []string{err.Error()}
		}
		for {
			out, err := client.ReceiveMessage(m.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10, VisibilityTimeout: 60})
			if err != nil {
				return []string{err.Error()}
			}
			if len(out.Messages) == 0 {
				break
			}
			for _, msg := range out.Messages {
				letters += aws.ToString(msg.Body)
			}
		}
	}
	for _, s := range m.shots {
		if s.want.buried != strings.Contains(letters, s.i.ID) {
			wrong = append(wrong, fmt.Sprintf("%s: its event is in the dead-letter queue: %t", s.name, !s.want.buried))
		}
	}
	return wrong
}

// apply applies a root, whose Terraform does not share this process's environment
// with others.
func apply(ctx context.Context, w *stage.World, dir string) error {
	return runTerraform(ctx, w, dir, []string{"init", "-input=false", "-no-color"}, []string{"apply", "-auto-approve", "-input=false", "-no-color", "-parallelism=40"})
}

// destroy destroys what apply has applied.
func destroy(ctx context.Context, w *stage.World, dir string) error {
	return runTerraform(ctx, w, dir, []string{"destroy", "-auto-approve", "-input=false", "-no-color", "-parallelism=40"})
}

func runTerraform(ctx context.Context, w *stage.World, dir string, commands ...[]string) error {
	env := environ(w.Environment())
	for _, args := range commands {
		c := exec.CommandContext(ctx, w.Terraform, args...) //nolint:gosec // Terraform
		c.Dir, c.Env = dir, env
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("terraform %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}
