package sim

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"firstline/notify"
)

// TestPagers plays faults with each kind of pager alone, with each ordered pair, and with
// Slack alone. Whatever the pagers can do, nobody is left untold, one problem pages once,
// and each alert ends.
//
// Of kinds with the same capabilities, such as OpsGenie and Jira Service Management that
// can be read, one stands for all; both together are one more pair. The scenes are those
// in which a pager, Slack, the table, EC2 or the function fails, and those about notes and
// about who closes an alert. Left out are scenes about what checks see, since no pager
// takes part in that, and those that last for days. Scenes without a fault of a pager are
// played with each kind alone where they cost much: a second pager is not asked in them
// before the alert ends, which the others show.
func TestPagers(t *testing.T) {
	const (
		dead = "machine a url ssh\nat 0:01 set a web=attention\nat 0:01 alarm a for 2h\n"
		two  = "machine a url\nmachine b url\nat 0:01 set a web=attention\nat 0:01 alarm a for 3h\n" +
			"at 0:20 set b web=attention\nat 0:20 alarm b for 3h\n"
	)
	for _, c := range []struct {
		name    string
		script  string // or the name of a scene's file
		isAlone bool   // it is not played with pairs
		expect  func(pagers []notify.Capabilities) []string
	}{
		// A pager fails.
		{name: "113-well-before-anybody-was-paged"},
		{name: "112-another-pager-has-the-alert-and-is-out"},
		{name: "90-two-pagers-have-the-alert"},
		{name: "62-nobody-took-the-note"},
		{name: "20b-page-is-killed-after-the-pager-took-it"},
		{name: "it discards what it accepts", script: "lasts 90m\nout discards:first for 20m\n" + dead, expect: func(pagers []notify.Capabilities) []string {
			if len(pagers) == 2 && pagers[0].Confirms && pagers[0].Readable {
				return []string{"page 1 before 0:03:12"} // the next pager at once, without a retry at the first
			}
			return nil
		}},
		{name: "it is late", script: "lasts 90m\nout late:first for 10m\n" + dead, expect: func(pagers []notify.Capabilities) []string {
			if slices.ContainsFunc(pagers, func(c notify.Capabilities) bool { return !c.Deduplicates }) {
				return []string{"page 1 before 0:10"}
			}
			return []string{fmt.Sprintf("pages <= %d", len(pagers)+1), "page 1 before 0:10"} // Slack is the last one
		}},
		{name: "it is late when the alert ends", script: "lasts 3h\n" + dead + "at 0:30 repair a\nat 0:55 out late:first for 30m"},
		{name: "a note comes late, and she has closed the alert", script: "lasts 90m\n" + two + "at 0:19 out late:first for 10m\nat 0:21 close-any a"},
		{name: "its answer is lost", script: "lasts 90m\n" + dead + "fault page lost first:page times=2"},
		{name: "page is killed while it asks what became of it", script: "lasts 90m\n" + dead + "fault page killed-after first:follow"},
		{name: "all are out", script: "lasts 90m\nout first for 25m\nout second for 25m\n" + dead, expect: func([]notify.Capabilities) []string { return []string{"pages >= 1"} }},
		// Slack, the table, EC2, or the function fails.
		{name: "slack is out", script: "lasts 90m\nout slack for 10m\n" + dead, expect: func([]notify.Capabilities) []string { return []string{"pages = 1"} }},
		{name: "45-alerts-about-the-table-end"},
		{name: "87-table-is-down-for-six-hours"},
		{name: "09b-table-does-not-answer"},
		{name: "08b-paused-by-tag-and-ec2-is-down", isAlone: true},
		{name: "127-ec2-forgets-it", isAlone: true},
		{name: "36-sshd-hangs-while-ec2-is-down", isAlone: true},
		{name: "46-dead-while-ec2-does-not-answer", isAlone: true},
		{name: "67-lambda-throttles-before-the-decision"},
		{name: "20a-answer-of-decide-is-lost", isAlone: true},
		{name: "20c-dies-before-the-page", isAlone: true},
		{name: "resolve is killed", script: "lasts 2h\n" + dead + "at 0:10 repair a\nfault resolve killed-after first:resolve"},
		// Pages, notes, and who ends an alert.
		{name: "one joins by a note", script: "lasts 100m\n" + two},
		{name: "the second takes the place of the first in two deploys", script: "lasts 5h\n" + two +
			"at 0:10 pagers {second} {first}\nat 2:00 repair a\nat 2:00 repair b\nat 4:50 pagers {second}"},
		{name: "58-nobody-took-the-page-of-the-third", isAlone: true},
		{name: "33-healthy-again-then-dead"},
		{name: "138-handed-back", isAlone: true},
		{name: "15-terminated-after-the-page"},
		{name: "07b-closed-before-it-dies", isAlone: true},
		{name: "34-unreadable-pager-closed-by-mistake", isAlone: true},
		{name: "132-one-member-repeats-the-page-at-a-time", isAlone: true},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			script := c.script
			if script == "" {
				raw, err := os.ReadFile("testdata/scenes/" + c.name + ".txt")
				if err != nil {
					t.Fatal(err)
				}
				script = string(raw)
			}
			for _, pagers := range combinations() {
				if c.isAlone && len(pagers) > 1 || strings.Contains(script, "{second}") && len(pagers) != 2 {
					continue
				}
				var can []notify.Capabilities
				for _, p := range pagers {
					can = append(can, typeOf(p).Can)
				}
				script := withPagers(script, pagers)
				if c.expect != nil {
					for _, line := range c.expect(can) {
						script += "\nexpect " + line
					}
				}
				t.Run(strings.Join(append(pagers, "slack"), ","), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { playScene(t, script) })
				})
			}
		})
	}
}

// combinations are no pager, each kind that differs from the ones before it, and each
// ordered pair of these.
func combinations() (all [][]string) {
	var some []string
	same := [][]string{}
	for _, kind := range kinds() {
		n := slices.IndexFunc(some, func(other string) bool { return behavesAs(kind, other) })
		if n < 0 {
			some = append(some, kind)
		} else if typeOf(kind).Name != typeOf(some[n]).Name {
			same = append(same, []string{some[n], kind})
		}
	}
	all = append(all, nil)
	for _, first := range some {
		all = append(all, []string{first})
		for _, second := range some {
			if typeOf(first).Name != typeOf(second).Name {
				all = append(all, []string{first, second})
			}
		}
	}
	return append(all, same...)
}

// behavesAs reports whether two kinds of pager do the same.
func behavesAs(a, b string) bool {
	of := func(kind string) string {
		t := typeOf(kind)
		c := t.Can
		return fmt.Sprint(c.Confirms, c.Readable, c.Notes, c.Resolvable, c.Deduplicates, asynchronous[t.Name])
	}
	return of(a) == of(b)
}

// withPagers is a scene with other pagers, and without what it expects of its own.
func withPagers(script string, pagers []string) string {
	lines := slices.DeleteFunc(strings.Split(script, "\n"), func(line string) bool {
		return slices.Contains([]string{"pagers", "expect", "no-slack"}, strings.SplitN(line, " ", 2)[0])
	})
	for n, line := range lines {
		if strings.HasPrefix(line, "lasts ") {
			lines[n] += " then ends"
		}
		lines[n] = strings.Replace(lines[n], " close ", " close-any ", 1) // of Slack's, none is open
	}
	script, begin := strings.Join(lines, "\n"), pagers
	if strings.Contains(script, "{second}") {
		begin = pagers[:1]
		script = strings.NewReplacer("{first}", pagers[0], "{second}", pagers[1]).Replace(script)
	}
	return "pagers " + strings.Join(begin, " ") + "\n" + script
}
