package cli

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/rollout"
)

// screen plays what a terminal shows of the board's text.
func screen(t *testing.T, text string) []string {
	t.Helper()
	up := regexp.MustCompile(`^\x1b\[(\d+)A\x1b\[J`)
	var lines []string
	for text != "" {
		if m := up.FindStringSubmatch(text); m != nil {
			n, err := strconv.Atoi(m[1])
			if err != nil || n > len(lines) {
				t.Fatalf("up by %s of %d lines", m[1], len(lines))
			}
			lines, text = lines[:len(lines)-n], text[len(m[0]):]
			continue
		}
		line, rest, whole := strings.Cut(text, "\n")
		if !whole || strings.Contains(line, "\x1b") {
			t.Fatalf("not a line: %q", line)
		}
		lines, text = append(lines, line), rest
	}
	return lines
}

// TestBoardOnTerminal says things between the regions' lines: both stay.
func TestBoardOnTerminal(t *testing.T) {
	var out bytes.Buffer
	b := newBoard(newProgress(&out))
	// As on a terminal, drawn by what happens and not by the clock.
	b.live, b.width, b.height = true, 80, 5
	r := rolloutRun{board: b}
	draw := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.draw()
	}
	without := regexp.MustCompile(`[ 0-9]{4}\.[0-9]s  `)
	shows := func(want ...string) {
		t.Helper()
		draw()
		if diff := cmp.Diff(want, screen(t, without.ReplaceAllString(out.String(), ""))); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	}
	b.tell(rollout.Status{Region: "eu-west-1", Phase: rollout.Failed, Errors: []string{"it does not answer: " + strings.Repeat("x", 100) + "\nmore"}})
	failed := "  eu-west-1       failed     it does not answer: " + strings.Repeat("x", 29) + "…"
	shows(failed)
	r.say("planning %d regions", 1)
	shows("planning 1 regions", failed)
	b.tell(rollout.Status{Region: "eu-central-1", Phase: rollout.Planned, Add: 3, Planned: 3})
	r.say("applying")
	shows("planning 1 regions", "applying", "  eu-central-1    planned    +3 ~0 -0", failed)
	for n := range 4 {
		b.tell(rollout.Status{Region: fmt.Sprintf("us-east-%d", n), Phase: rollout.Waiting})
	}
	r.say("much")
	shows("planning 1 regions", "applying", "much", "  eu-central-1    planned    +3 ~0 -0", failed, "  us-east-0       waiting", "  and 3 more")
	b.reset()
	r.say("the end")
	shows("planning 1 regions", "applying", "much", "  eu-central-1    planned    +3 ~0 -0", failed, "  us-east-0       waiting", "  and 3 more", "the end")
	b.live = false // no clock draws it
	b.close()
}

// TestBoardWithoutTerminal says each phase once, and nothing that moves a cursor.
func TestBoardWithoutTerminal(t *testing.T) {
	var out bytes.Buffer
	b := newBoard(newProgress(&out))
	for _, s := range []rollout.Status{
		{Region: "eu-west-1", Phase: rollout.Planning},
		{Region: "eu-west-1", Phase: rollout.Planning, Done: 1},
		{Region: "eu-west-1", Phase: rollout.Planned, Add: 2, Planned: 2},
		{Region: "eu-west-1", Phase: rollout.Applying, Planned: 2},
		{Region: "eu-west-1", Phase: rollout.Applying, Planned: 2, Done: 1},
		{Region: "eu-west-1", Phase: rollout.Done, Planned: 2, Done: 2},
		{Region: "eu-west-1", Phase: rollout.Done, Planned: 2, Done: 2},
	} {
		b.tell(s)
	}
	b.close()
	if got := strings.Count(out.String(), "\n"); got != 3 || strings.Contains(out.String(), "\x1b") {
		t.Errorf("%d lines:\n%s", got, out.String())
	}
}

// TestBoardNeverSilent: whatever takes long says every ten seconds what is awaited, but
// for a question that waits for its answer.
func TestBoardNeverSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := newProgress(&out)
		b := newBoard(p)
		b.run()
		said := func(during time.Duration) string {
			locked := func() string {
				b.mu.Lock()
				defer b.mu.Unlock()
				defer out.Reset()
				return out.String()
			}
			locked()
			time.Sleep(during)
			synctest.Wait()
			return locked()
		}
		p.doing("reading the plan")
		for _, step := range []struct {
			do   func()
			want string
			none bool
		}{
			{func() {}, "still reading the plan\n", false},
			{func() { b.hush(true) }, "", true},
			{func() {
				b.hush(false)
				b.tell(rollout.Status{Region: "eu-west-1", Phase: rollout.Planning, Awaited: []string{"aws_sqs_queue.q", "aws_sns_topic.t"}})
				b.tell(rollout.Status{Region: "us-east-1", Phase: rollout.Planned})
			}, "still eu-west-1 planning, waiting for aws_sqs_queue.q and 1 more\n", false},
			{b.reset, "still reading the plan\n", false},
		} {
			step.do()
			got := said(31 * time.Second)
			if n := strings.Count(got, step.want); step.none && got != "" || !step.none && n != 3 {
				t.Errorf("want %q three times, got:\n%s", step.want, got)
			}
		}
		b.close()
	})
}

// TestRolloutMistakes: a mistake is one only as long as nothing was touched.
func TestRolloutMistakes(t *testing.T) {
	for _, touched := range []bool{false, true} {
		var out, errOut bytes.Buffer
		r := &rolloutRun{touched: touched}
		c := newDeploy()
		c.SetOut(&out)
		c.SetErr(&errOut)
		c.SetContext(t.Context())
		r.json, r.dir = true, t.TempDir() // which has no regions.tf
		err := r.run(c, nil)
		_, mistake := err.(usageError) //nolint:errorlint // its own kind decides the exit code
		if err == nil || mistake == touched {
			t.Errorf("touched %v: %v", touched, err)
		}
		if got := strings.Contains(out.String(), `"error": `) && strings.Contains(out.String(), `"regions": []`); got != touched {
			t.Errorf("touched %v: %q", touched, out.String())
		}
	}
}
