package mutants

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	run  = flag.Bool("mutants.run", false, "build and play each mutant; takes about a minute for each")
	days = flag.Int("mutants.days", 200, "how many random days a mutant that no scene kills is played for, at most 2000")
)

// mutant is one place that is broken: in file, old becomes new.
type mutant struct{ name, file, old, new string }

const root = "../../.."

// guards are mutants that remove one condition each: false is put before it.
var guards = []struct{ name, file, condition string }{
	{"guard CPU credits", "guard.go", `case e.NoCredits != "":`},
	{"a peer's contradiction is remembered", "vantage.go", "case isAsked && lately > 0 && in.Now.Sub(lately) < vantageMemory:"},
	{"security groups are asked", "vantage.go", `case closed != "":`},
	{"guard scheduled event", "guard.go", `case e.Scheduled != "":`},
	{"guard initializing", "guard.go", "case e.Initializing:"},
	{"guard alarm", "guard.go", "if !d.i.Execution.Alarm {"},
	{"guard cooldown", "guard.go", "case d.i.reboots(d.now.Add(-cooldown)) > 0:"},
	{"guard quarantine", "guard.go", "case d.within(d.i.LastResolvedAt, quarantine):"},
	{"guard not cured", "guard.go", "if d.notCured() {"},
	{"guard just started", "guard.go", "case d.within(e.LaunchedAt, time.Duration(d.s.Boot.WindowSeconds)*time.Second):"},
	{"guard dry run", "guard.go", "if d.s.Reboot.DryRun {"},
	{"guard vantage agrees", "guard.go", "case !agrees:"},
	{"guard something answers", "guard.go", "case !failedRoute53 && !ownAnswered && !others && !connected:"},
	{"breaker in flight", "alerts.go", "case b.InFlight > 0 && inFlight >= b.InFlight:"},
	{"breaker per hour", "alerts.go", "case b.PerHour > 0 && lastHour >= b.PerHour:"},
	{"page when worse", "policy.go", "case d.severity() > m.Severity && isDown:"},
	{"page when it died again", "policy.go", "case (m.LongWell || m.AgainAt > 0) && isIll:"},
	{"well ends the hand-over", "policy.go", "case d.isWell():\n\t\treturn d.resolve(incident.SituationWell, \"the instance is well\", \"well: "},
}

// others change something else.
var others = []mutant{
	{"Readable ignored", "handler/facts.go", "if p == nil || !p.Capabilities().Readable {", "if p == nil {"},
	{"Notes ignored", "handler/page.go", "if !can.Notes {", "if false {"},
	{"Deduplicates ignored by who joins", "handler/page.go", "return isOnlyNote || !can.Deduplicates, nil", "return isOnlyNote, nil"},
	{"Deduplicates ignored by the alert of the hour", "handler/page.go", "slices.ContainsFunc(asked, func(p notify.Pager) bool { return !p.Capabilities().Deduplicates })", "false"},
	{"the page of the hour is not reserved for another pager", "handler/page.go", "\t\tasked = pagers\n", ""},
	{"what never reached it is a witness", "internal/policy/vantage.go", "case p.seesDown() && r.OK && r.Print == in.Settings.Fingerprint(f.Check):", "case p.seesDown() && r.Print == in.Settings.Fingerprint(f.Check):"},
	{"the step that reboots is tried for ever", "internal/policy/policy.go", "if guard == \"\" && d.i.Execution.Tries >= maxTries {", "if false {"},
	{"Deduplicates ignored by resolve", "handler/resolve.go", "if (isOther || ref.ID == \"\") && !p.Capabilities().Deduplicates {", "if false {"},
	{"SNS is told that each hour is over", "handler/resolve.go", "(isOther || ref.ID == \"\") && !p", "isOther && !p"},
	{"what is discarded goes to no other pager at once", "handler/page.go", "if !errors.Is(err, notify.ErrDiscarded) || len(pagers) == 1 {", "if true {"},
	{"an alert is noted and paged at the new pager", "handler/page.go", "first := cmp.Or(pagerNamed(pagers, dec.Alert.Pager), pagers[0])", "first := cmp.Or(pagers[0], pagerNamed(pagers, dec.Alert.Pager))"},
	{"only the first pager is asked to resolve", "handler/resolve.go", "\tfor _, p := range pagers {\n\t\tisOther", "\tfor _, p := range pagers[:min(len(pagers), 1)] {\n\t\tisOther"},
	{"Slack alone wakes nobody", "handler/slack.go", "m.Mention = needed &&", "m.Mention = false && needed &&"},
	{"guard ec2 not asked", "internal/policy/guard.go", `return "EC2 could not be asked about the instance: " + f.Err`, `return ""`},
	{"guard system status", "internal/policy/guard.go", "case e.System, e.EBS:", "case e.EBS:"},
	{"guard ebs status", "internal/policy/guard.go", "case e.System, e.EBS:", "case e.System:"},
	{"guard once", "internal/policy/guard.go", "if !d.i.Execution.Rebooted {", "if true {"},
	{"guard budget", "internal/policy/guard.go", "d.i.reboots(d.now.Add(-24*time.Hour)) >= perDay {", "false && perDay > 0 {"},
	{"guard route53 alone", "internal/policy/guard.go", "if !d.l.ownFailed() && !d.onlyRoute53() {", "if false {"},
	{"guard URL blind", "internal/policy/guard.go", "incident.CheckSSH: d.s.Enabled(incident.CheckURL) && (", "incident.CheckSSH: false && ("},
	{"guard Route 53 blind", "internal/policy/guard.go", "incident.CheckURL: d.l.of(incident.CheckRoute53).Kind == incident.Blind,", "incident.CheckURL: false,"},
	{"a peer does not contradict", "internal/policy/vantage.go", "return p.Err == \"\" && (p.Finding.Outcome == incident.Passed", "return false && (p.Finding.Outcome == incident.Passed"},
	{"a peer does not confirm", "internal/policy/guard.go", "if d.l.confirmed() {", "if false {"},
	{"vantage.required", "internal/policy/guard.go", "if d.in.VantageRequired && ", "if false && "},
	{"what our region alone cannot reach are many causes", "internal/policy/look.go", "if l.onlyHere && ", "if false && "},
	{"AWS's trouble with a healthy machine is not told", "internal/policy/policy.go", "(e.System || e.EBS) && d.lasted(", "false && d.lasted("},
	{"a late decision counts as a late look", "internal/policy/look.go", "at = max(at, f.At)", "at = max(at, unknown, f.At)"},
	{"the end of an alert is forgotten", "internal/policy/policy.go", "d.i.LastResolvedAt, d.i.ResolvedFrom = d.now,", "d.i.ResolvedFrom ="},
	{"breaker is reset by whoever leaves", "internal/policy/alerts.go", "a.Key == KeyBreaker && i.HealthySince > 0 && now.Sub(i.HealthySince) >= well", "a.Key == KeyBreaker"},
	{"a dry look does not give way", "internal/policy/state.go", " && (dry || !l.Dry)", ""},
	{"one observation of Route 53 counts as two looks", "internal/policy/facts.go", "if !isRepeated {", "if true {"},
	{"Route 53 is asked in each look", "handler/check.go", "if n < 0 ||", "if true || n < 0 ||"},
	{"what the health check is is forgotten", "handler/decide.go", "\t\t\ti.HealthCheck = inc.HealthCheck\n", ""},
	{"settings are read once", "handler/facts.go", "if settings.Asked {", "if false {"},
	{"breaker not latched", "internal/policy/alerts.go", `if id := d.r.openAlert(KeyBreaker); id != "" {`, `if id := ""; id != "" {`},
	{"breaker ignores another's silence", "internal/policy/alerts.go", "id != d.i.ID && at > since && d.within(at, silentMemory)", `id == "" && at > since`},
	{"breaker counts a booting instance's silence", "internal/policy/facts.go", "(r == nil || !d.within(r.At, boots))", "(r == nil || boots > 0)"},
	{"breaker ignores reboots that cured nothing", "internal/policy/alerts.go", "n >= cures && ", "false && n >= cures && "},
	{"breaker ignores that nobody answers", "internal/policy/alerts.go", "o.Asked && o.Value.Any && !o.Value.Answered", "false && o.Asked"},
	{"breaker remembers what was before it closed", "internal/policy/alerts.go", "since := d.r.BreakerResetAt", "since := incident.Millis(0)"},
	{"a cause joins for ever", "internal/policy/alerts.go", "key != d.i.ID && d.within(a.LastWakeAt, joinWithin) &&", "key != d.i.ID &&"},
	{"a member always pages", "internal/policy/alerts.go", "key != d.i.ID && d.within(a.LastWakeAt, joinWithin) &&", "false &&"},
	{"page is repeated under a new alias", "internal/policy/alerts.go", "case a.LastWakeAt == 0:", "case false:"},
	{"a note that nobody took counts as taken", "internal/policy/policy.go", "case !m.Confirmed, a.LastWakeAt == 0 && !d.within(a.WakingAt, waking):", "case a.LastWakeAt == 0 && !d.within(a.WakingAt, waking):"},
	{"a page under a new alias counts as taken", "internal/policy/policy.go", "case !m.Confirmed, a.LastWakeAt == 0 && !d.within(a.WakingAt, waking):", "case !m.Confirmed:"},
	{"each member repeats the page", "internal/policy/policy.go", "a.LastWakeAt == 0 && !d.within(a.WakingAt, waking)", "a.LastWakeAt == 0"},
	{"a stop counts as unknown", "internal/policy/policy.go", "return e.Asked && e.Value.Stopped && !e.Value.ByPerson", "return false && e.Asked"},
	{"ill again counts as failed again", "internal/policy/policy.go", "d.lasted(d.i.UnhealthySince, again)", "d.lasted(d.i.FailedSince, again)"},
	{"quiet of a day whatever it is now", "internal/policy/policy.go", "&& m.Severity < incident.SeverityDown && (d.l.Kind == incident.Attention || d.l.Kind == incident.Busy)", ""},
	{"Slack is missing", "internal/policy/policy.go", " || d.in.NoSlack", ""},
	{"closed is seen in one healthy look", "internal/policy/policy.go", "ClosedAt > 0 && d.i.HealthyRun == 1", "ClosedAt > 0 && d.i.HealthyRun == 9"},
	{"the breaker's members page alone", "internal/policy/alerts.go", "isHeld = was == KeyBreaker || was == KeyHeld", "isHeld = was == \"\""},
	{"who was in the alert is paged alone", "internal/policy/alerts.go", "a.LastWakeAt > takenForHealthy", "old != id && a.LastWakeAt > takenForHealthy"},
	{"Slack was told once for ever", "internal/policy/facts.go", "if i.settled() && d.lasted(i.HealthySince, well) {", "if false {"},
	{"unsteady and closed is well", "internal/policy/facts.go", "ClosedAt > 0 && !m.Unsteady {", "ClosedAt > 0 {"},
	{"what failed is asked for ever", "internal/policy/facts.go", "m != nil && d.within(m.JoinedAt, daily)", "m != nil"},
	{"what was seen with other settings counts", "handler/decide.go", "range changed(looked, inc.Settings)", "range changed(looked, looked)"},
	{"a reboot with other settings", "handler/reboot.go", "checks := changed(looked, inc.Settings)", "checks := changed(looked, looked)"},
	{"another pager's alert is forgotten", "handler/resolve.go", "later = later ||", "later = false &&"},
	{"each execution pages on SNS", "internal/policy/state.go", "!told && (h.Told ||", "false && (h.Told ||"},
	{"a stop without an alert is forgotten", "internal/policy/policy.go", "if situation == incident.SituationStopped {", "if false {"},
	{"a stop is no silence", "internal/policy/facts.go", "(d.l.silent() || d.halted())", "d.l.silent()"},
	{"breaker is reset in two looks", "internal/policy/alerts.go", "i.HealthySince > 0 && now.Sub(i.HealthySince) >= well", "i.HealthySince > 0"},
	{"a repeated page counts for one member alone", "internal/policy/policy.go", "m.Confirmed || a.LastWakeAt > m.JoinedAt", "m.Confirmed"},
	{"what was silent before resume holds others back", "internal/policy/facts.go", "e.Looks > 1 && isNew &&", "e.Looks > 1 && (isNew || true) &&"},
	{"members repeat a page side by side", "internal/policy/policy.go", "case a.LastWakeAt == 0 && d.within(a.WakingAt, repeating):", "case false && repeating > 0:"},
	{"who left as well comes back as a note", "internal/policy/alerts.go", "takenForHealthy = d.i.LastResolvedAt", "takenForHealthy = 0"},
	{"joiners page while a page is on its way", "internal/policy/alerts.go", "case a.LastWakeAt == 0 && old != id && d.within(a.WakingAt, waking):", "case false:"},
	{"what died again twice is steady", "internal/policy/alerts.go", " || m.Situation == incident.SituationDiedAgain && situation == m.Situation", ""},
	{"confirm off", "internal/policy/policy.go", "if !d.needsConfirming {", "if true {"},
	{"healthy again is forgotten", "internal/policy/policy.go", "(m.LongWell || m.AgainAt > 0) && isIll", "m.LongWell && isIll"},
	{"unsteady is not seen", "internal/policy/facts.go", "m.Unsteady = m.Unsteady || len(i.Recoveries) >= unsteady", ""},
	{"quiet off", "internal/policy/policy.go", "if d.now.Sub(a.ClosedAt) >= quiet {", "if d.now.Sub(a.ClosedAt) >= 0*quiet {"},
	{"quiet for ever", "internal/policy/policy.go", "if d.now.Sub(a.ClosedAt) >= quiet {", "if d.now.Sub(a.ClosedAt) >= 99*quiet {"},
	{"notes at each look", "internal/policy/policy.go", "if d.within(max(a.NoteAt, a.LastWakeAt), hourly) {", "if false {"},
	{"well at once", "internal/policy/facts.go", "return d.lasted(d.i.HealthySince, well)\n", "return true\n"},
	{"well in one look", "internal/policy/facts.go", "if d.i.HealthyRun < 2 {", "if d.i.HealthyRun < 1 {"},
	{"what was skipped counts as healthy", "internal/policy/facts.go", "if d.skipsWhatFailed() {", "if false {"},
	{"closed by a person is not seen", "internal/policy/facts.go", "state == AlertClosed && a.ClosedAt == 0", "false && state == AlertClosed"},
	{"gone in one look", "internal/policy/policy.go", "d.i.UnknownToEC2 >= 2", "d.i.UnknownToEC2 >= 1"},
	{"recovered in one look", "internal/policy/policy.go", `r.Outcome == "" && d.i.HealthyRun < 2 ||`, `false ||`},
	{"window never closes", "internal/policy/policy.go", "case d.now.Sub(r.At) < window:", "case true:"},
	{"slack at each look", "internal/policy/policy.go", "case d.i.SlackKey == key:", "case false:"},
	{"blind is paged at once", "internal/policy/policy.go", "if d.l.Kind == incident.Blind && !d.lasted(d.i.Execution.BlindSince, blindPatience) {", "if false {"},
	{"never at rest", "internal/policy/policy.go", "d.i.AtRest = d.out.Next == incident.NextDone && d.restful()", "d.i.AtRest = false"},
	{"always at rest", "internal/policy/policy.go", "d.i.AtRest = d.out.Next == incident.NextDone && d.restful()", "d.i.AtRest = true"},
	{"MayReboot ignores a pause", "internal/policy/guard.go", "if p, scope := d.pause(); p != nil {", "if p, scope := d.pause(); false && p != nil {"},
	{"MayReboot reserves nothing in the region", "internal/policy/guard.go", "d.r.Reboots = append(d.r.Reboots, RegionReboot{Instance: d.i.ID, Execution: in.Execution, At: d.now})", ""},
	{"baseline ignored", "internal/policy/look.go", "\tl.withoutBaseline(passedBefore)\n", ""},
	{"URL not contradicted by Route 53", "internal/policy/look.go", "if url.NoAnswer() && reached {", "if false && reached {"},
	{"SSH not contradicted beside URL", "internal/policy/look.go", "\t\tif ssh.NoAnswer() {\n\t\t\tbecome(", "\t\tif false {\n\t\t\tbecome("},
	{"Route 53 not contradicted by URL", "internal/policy/look.go", "case url.Outcome == incident.Passed:\n\t\t\tbecome(route53", "case false:\n\t\t\tbecome(route53"},
	{"what another machine answered counts", "internal/policy/look.go", "\tl.withoutElsewhere()\n", ""},
	{"Route 53 does not get URL's kind", "internal/policy/look.go", "case urlAnswered && url.Outcome == incident.Unknown && (url.Kind == incident.Busy || url.Kind == incident.Attention):", "case false:"},
	{"SSH not contradicted by URL's answer", "internal/policy/look.go", "\t\tcase urlAnswered:\n\t\t\tbecome(ssh", "\t\tcase false:\n\t\t\tbecome(ssh"},
	{"SSH not contradicted by Route 53 alone", "internal/policy/look.go", "case url.Outcome == incident.Skipped && route53.Outcome == incident.Passed:", "case false:"},
	{"blind is never covered", "internal/policy/look.go", "\tl.skipCovered(url, route53)\n", ""},
	{"a page is never confirmed", "internal/policy/told.go", "m.Confirmed = true", "m.Confirmed = false"},
	{"an outcome is never told", "internal/policy/told.go", "r.Outcome == incident.OutcomeCured && dec.Situation", "false && dec.Situation"},
	{"a resolved alert stays", "internal/policy/told.go", "delete(r.Alerts, ref.ID)", ""},
	{"the table's page in a healthy look", "internal/policy/told.go", "if l.Verdict == incident.VerdictHealthy {\n\t\tdec.Next", "if false {\n\t\tdec.Next"},
	{"the lease is never held", "internal/policy/state.go", `return l.Execution != "" && l.Execution != by && now < l.Until && (dry || !l.Dry)`, "return false"},
	{"a write without its version", "internal/store/change.go", `c.condition = c.name("version") + " = " + c.value("was", number(s.version))`, `c.condition = "attribute_exists(" + c.name("pk") + ")"`},
}

// all are all mutants, with each pair of neighbouring rows swapped whose order
// matters.
func all(t *testing.T) (mutants []mutant) {
	for _, g := range guards {
		mutants = append(mutants, mutant{
			g.name, "internal/policy/" + g.file, g.condition, regexp.MustCompile(`^(case|if) `).ReplaceAllString(g.condition, "$1 false && "),
		})
	}
	mutants = append(mutants, others...)
	const file = "internal/policy/policy.go"
	raw := read(t, file)
	_, list, _ := strings.Cut(raw, "var rows = []func(*decider) bool{\n")
	list, _, _ = strings.Cut(list, "}")
	rows := regexp.MustCompile(`\t\(\*decider\)\.\w+,\n`).FindAllString(list, -1)
	for n := range len(rows) - 1 {
		if slices.Contains([]int{5, 8, 9, 10}, n+1) {
			// No look is ill and healthy at once, and rows 8 to 11 are for looks that are
			// handed over and ill, healthy, failed and unknown.
			continue
		}
		mutants = append(mutants, mutant{fmt.Sprintf("rows %d and %d swapped", n+1, n+2), file, rows[n] + rows[n+1], rows[n+1] + rows[n]})
	}
	return mutants
}

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, file)) //nolint:gosec // the file of a mutant
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestMutantsApply finds mutants of code that has changed.
func TestMutantsApply(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range all(t) {
		if n := strings.Count(read(t, m.file), m.old); n != 1 {
			t.Errorf("%s: its text is %d times in %s, want once:\n%s", m.name, n, m.file, m.old)
		}
		if seen[m.name] {
			t.Errorf("two mutants have the name %q", m.name)
		}
		seen[m.name] = true
	}
}

// TestMutants plays each mutant: first the scenes, then random days.
func TestMutants(t *testing.T) {
	if !*run {
		t.Skip("-mutants.run plays them")
	}
	if by := killedBy(t, nil, 1); by != "" {
		t.Fatalf("the code without a mutant fails, so that no mutant proves anything: %s", by)
	}
	for _, m := range all(t) {
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) { play(t, m) })
	}
}

func play(t *testing.T, m mutant) {
	path, err := filepath.Abs(filepath.Join(root, m.file))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.go")
	if err := os.WriteFile(broken, []byte(strings.Replace(read(t, m.file), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: broken}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	if by := killedBy(t, []string{"-overlay", file}, min(*days, 2000)); by != "" {
		t.Logf("killed: %s", by)
		return
	}
	t.Errorf("no scene and none of %d random days killed it", *days)
}

const longScenes = "TestScenes/(03|04|05|14|35)"

// killedBy builds the simulation with flags and plays it; it says what failed.
func killedBy(t *testing.T, flags []string, days int) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sim.test")
	args := append(append([]string{"test", "-c", "-vet=off", "-o", binary}, flags...), "firstline/test/sim")
	build := exec.CommandContext(t.Context(), "go", args...) //nolint:gosec // our own
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("it does not compile: %v\n%s", err, out)
	}
	for _, args := range [][]string{
		// First the scenes that take a moment, then those that last for days.
		{"-test.run=Test(Scenes|Vantages|Pagers)", "-test.skip=" + longScenes},
		{"-test.run=" + longScenes},
		{"-test.run=TestRandomDays", "-sim.counts=false", fmt.Sprintf("-sim.days=%d", days)},
	} {
		play := exec.CommandContext(t.Context(), binary, append(args, "-test.failfast", "-test.timeout=30m")...) //nolint:gosec // our own
		play.Dir = filepath.Join(root, "test/sim")
		if out, err := play.CombinedOutput(); err != nil {
			return string(first(out))
		}
	}
	return ""
}

// first is the line that tells what killed a mutant.
func first(out []byte) []byte {
	for line := range bytes.SplitSeq(out, []byte("\n")) {
		if bytes.Contains(line, []byte("_test.go:")) || bytes.Contains(line, []byte("panic")) {
			return bytes.TrimSpace(line)
		}
	}
	return bytes.TrimSpace(out)
}
