package notify

import (
	"encoding/json"
	"html"
	"strings"
	"testing"
	"unicode/utf8"

	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
)

func TestTruncate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"", 5, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "ab…"},
		{"äöüß", 3, "äö…"},
		{"ab cd", 4, "ab…"},
		{"abc", 1, "…"},
		{"abc", 0, ""},
		{"abc", -1, ""},
		{"a\xffb", 3, "a\uFFFDb"},
	} {
		if got := truncate(tt.in, tt.limit); got != tt.want {
			t.Errorf("truncate(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

func TestEscapeSlack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"<!channel> & co", 100, "&lt;!channel&gt; &amp; co"},
		{"<<<", 12, "&lt;&lt;&lt;"},
		{"<<<", 11, "&lt;&lt;…"},
		{"a<", 4, "a…"},
		{"<", 1, "…"},
		{"<", 0, ""},
	} {
		if got := escapeSlack(tt.in, tt.limit); got != tt.want {
			t.Errorf("escapeSlack(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	lines := []string{"one", "two", "three"}
	for _, tt := range []struct {
		limit int
		want  string
	}{{13, "one\ntwo\nthree"}, {100, "one\ntwo\nthree"}, {12, ""}, {0, ""}} {
		if got := join(lines, tt.limit); got != tt.want {
			t.Errorf("join to %d = %q, want %q", tt.limit, got, tt.want)
		}
	}
	long := []string{"a", strings.Repeat("b", 50), "c"}
	if got := join(long, 40); got != "a\n… (shortened)" {
		t.Errorf("got %q", got)
	}
}

func FuzzTruncate(f *testing.F) {
	for _, s := range []string{"", "plain", "äöü", "\xff\xfe", "a b  c", strings.Repeat("€", 300)} {
		f.Add(s, 10)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		got := truncate(s, limit)
		if !utf8.ValidString(got) {
			t.Errorf("invalid UTF-8: %q", got)
		}
		if runes(got) > max(0, limit) {
			t.Errorf("%d characters, limit %d", runes(got), limit)
		}
		if again := truncate(got, limit); again != got {
			t.Errorf("not idempotent: %q, then %q", got, again)
		}
		if head := strings.TrimSuffix(got, ellipsis); !strings.HasPrefix(strings.ToValidUTF8(s, "\uFFFD"), head) {
			t.Errorf("%q is not the head of %q", head, s)
		}
	})
}

func FuzzOneLine(f *testing.F) {
	for _, s := range []string{"", " a ", "a\nb", "\u202eabc", "\xff", "a\u2028b", "a\u200bb", "\x00 \x1b[31m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := oneLine(s)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r\t\x00\x1b\u2028\u2029\u202e") {
			t.Errorf("%q from %q", got, s)
		}
		if again := oneLine(got); again != got {
			t.Errorf("not idempotent: %q, then %q", got, again)
		}
	})
}

func FuzzEscapeSlack(f *testing.F) {
	for _, s := range []string{"", "<!channel>", "&amp;", "a&b<c>d", "\xff<", strings.Repeat("&", 100)} {
		f.Add(s, 12)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		got := escapeSlack(s, limit)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "<>") {
			t.Errorf("%q from %q", got, s)
		}
		if runes(got) > max(0, limit) {
			t.Errorf("%d characters, limit %d", runes(got), limit)
		}
		rest := strings.NewReplacer("&amp;", "", "&lt;", "", "&gt;", "").Replace(got)
		if strings.Contains(rest, "&") {
			t.Errorf("a cut escape sequence in %q", got)
		}
		if valid := strings.ToValidUTF8(s, "\uFFFD"); limit > 6*len(valid) && !strings.Contains(s, "&") && html.UnescapeString(got) != valid {
			t.Errorf("%q does not read as %q", got, valid)
		}
	})
}

func FuzzRedact(f *testing.F) {
	f.Add("Authorization: GenieKey s3cr3t-key", "s3cr3t-key")
	f.Add("S3CR3T%2Fkey", "s3cr3t/key")
	f.Fuzz(func(t *testing.T, s, secret string) {
		for _, r := range secret {
			if r <= ' ' || r > '~' {
				t.Skip("no such secret is used")
			}
		}
		if secret == "" || strings.Contains("[hidden]", secret) {
			t.Skip("part of the replacement")
		}
		if got := redact(oneLine(s), []string{secret}); strings.Contains(strings.ReplaceAll(got, "[hidden]", "\n"), secret) {
			t.Errorf("%q holds %q", got, secret)
		}
	})
}

// Whatever an incident holds, both channels' limits are kept.
func FuzzMessage(f *testing.F) {
	f.Add("i-0c1cbf2e7abdedf75", "reason", "<!channel>", "Denied", `{"errorMessage":"no"}`, []byte(`{"detail":{"alarmName":"a"}}`), 2, true, true)
	f.Add("", "", "\xff", "", "", []byte(`"text"`), 0, false, true)
	f.Add("i-0c1cbf2e7abdedf75", "reason", "eu-west-1", "pause", "cause", []byte(nil), 1, false, false)
	f.Add("i-0c1cbf2e7abdedf75", "reason", "eu-west-1", "region", "--help", []byte(nil), 3, false, true)
	f.Fuzz(func(t *testing.T, id, reason, name, kind, cause string, event []byte, run int, passed, failed bool) {
		inc := &incident.Incident{
			InstanceID: id, Region: name, AccountID: reason, Run: run, Passed: passed, Event: json.RawMessage(event),
			Alarm:    &incident.Alarm{Name: name, ARN: cause, Reason: reason},
			Findings: []checks.Finding{{Run: run, Check: kind, Reason: reason, Passed: passed}, {Run: 2, Check: name, Reason: cause}},
		}
		if failed {
			inc.Error = &incident.Error{Error: kind, Cause: cause}
		} else {
			inc.Reboot = &incident.Reboot{Outcome: kind, Reason: reason}
		}
		// Every outcome comes up, also with what hardly goes together.
		switch run % 5 {
		case 1:
			inc.Refusal = &incident.Refusal{Guard: kind, Reason: reason}
		case 2:
			inc.Refusal = &incident.Refusal{Guard: incident.GuardBrake, Reason: cause}
			inc.CloseError = inc.Error
		case 3:
			inc.Paused = &incident.Pause{Scope: kind, By: name}
			inc.Execution.Name = cause
		case 4:
			inc.Settings = &incident.Settings{Reboot: incident.RebootSettings{DryRun: true}}
		}
		inc.Name = name
		m := Message{Incident: inc, Deployment: name, AlarmState: kind}
		switch run % 7 {
		case 1:
			m.Kind, inc.Alert = KindRepeat, &incident.Alert{Alias: cause, Repeats: int64(run)}
		case 2:
			m.Kind, inc.Watch = KindAllClear, &incident.Watch{Ended: kind}
		case 3:
			m.Kind = KindTest
		case 4:
			m.ReplacedBy, m.Suffix = name, reason
		case 5:
			m.Generation = run
		}
		r := describe(m, toSlack)
		if faults := slackFaults(r.slackText(), r.slackBlocks()); len(faults) > 0 {
			t.Errorf("Slack would refuse: %v", faults)
		}
		o := &OpsGenie{Tags: []string{name, kind}, Details: map[string]string{name: reason, reason: cause}, Entity: kind, Source: cause}
		a := o.alert(m)
		if a.Alias == "" && r.instance+r.alarmARN+r.alarmName+r.execution == "" {
			a.Alias = "the service's own"
		}
		if faults := alertFaults(a); len(faults) > 0 {
			t.Errorf("OpsGenie would refuse: %v", faults)
		}
		if faults := append(noteFaults(o.noteOf(m, "note")), noteFaults(o.noteOf(m, "closing"))...); len(faults) > 0 {
			t.Errorf("OpsGenie would refuse the note: %v", faults)
		}
		_, in, err := (&SNS{TopicARN: testTopic}).compose(m)
		if err != nil {
			t.Fatal(err)
		}
		if faults := snsFaults(in); len(faults) > 0 {
			t.Errorf("SNS would refuse: %v", faults)
		}
	})
}
