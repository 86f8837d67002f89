package policy_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

// weighed is what Weigh makes of the input's findings: the three outcomes (or
// kinds) and the verdict.
func weighed(in policy.Input) (policy.Look, string) {
	l := policy.Weigh(in.Findings, in.Settings, func(check string) bool { return in.State.Instance.Baseline[check] != "" }, in.Caught)
	var words []string
	for _, f := range l.Findings {
		word := string(f.Outcome)
		if f.Kind != "" {
			word = string(f.Kind)
		}
		words = append(words, word)
	}
	verdict := string(l.Verdict)
	if l.Kind != "" {
		verdict = string(l.Kind)
	}
	return l, strings.Join(words, " ") + ": " + verdict
}

func TestWeigh(t *testing.T) {
	tests := []struct {
		name              string
		url, route53, ssh seen
		never             []string
		want              string
	}{
		{"all pass", passed, passed, passed, nil, "passed passed passed: healthy"},
		{"two are off", off, off, passed, nil, "skipped skipped passed: healthy"},
		{"an enabled check without a finding is blind", missing, off, passed, nil, "blind skipped passed: blind"},
		{"one failure is enough", passed, passed, mute, nil, "passed passed failed: failed"},

		{"no baseline: the only failure", badAnswer, off, passed, []string{"url"}, "attention skipped passed: attention"},
		{"no baseline: every failure", noReply, off, noReply, []string{"url", "ssh"}, "attention skipped attention: attention"},
		{"no baseline: a failure beside it has one", noReply, off, noReply, []string{"url"}, "failed skipped failed: failed"},
		{"no baseline: that of a check that passes does not vouch", badAnswer, passed, passed, []string{"url"}, "attention passed passed: attention"},
		{"no baseline: an answer, beside SSH without a connection", badAnswer, off, noReply, []string{"url"}, "attention skipped contradicted: attention"},
		{"no baseline: no answer, beside an SSH that failed elsewhere", noReply, off, elsewhere(noReply), []string{"url"}, "attention skipped attention: attention"},
		{"no baseline: it comes before the contradictions", noReply, passed, passed, []string{"url"}, "attention passed passed: attention"},

		{"no baseline: what vouches for it is contradicted", noReply, passed, badAnswer, []string{"ssh"}, "contradicted passed attention: attention"},

		{"our vantage: URL without a byte, Route 53 passes", noReply, passed, passed, nil, "contradicted passed passed: contradicted"},
		{"our vantage: refused is without a byte", refused, passed, off, nil, "contradicted passed skipped: contradicted"},
		{"our vantage: SSH without a byte, too", noReply, passed, noReply, nil, "contradicted passed contradicted: contradicted"},
		{"our vantage: SSH accepted and silent, too", mute, passed, mute, nil, "contradicted passed contradicted: contradicted"},
		{"our vantage: SSH with a byte is a failure", noReply, passed, badAnswer, nil, "contradicted passed failed: failed"},
		{"our vantage: URL with a byte is a failure", badAnswer, passed, passed, nil, "failed passed passed: failed"},
		{"our vantage: Route 53's checkers get a 403", mute, forbidden, passed, nil, "contradicted attention passed: attention"},
		{"our vantage: Route 53's checkers get a 403 elsewhere", noReply, elsewhere(forbidden), passed, nil, "failed attention passed: failed"},
		{"our vantage: Route 53's checkers are turned away", noReply, busy, off, nil, "contradicted busy skipped: contradicted"},
		{"our vantage: Route 53 needs attention without an answer", noReply, noName, passed, nil, "failed attention passed: failed"},
		{"our vantage: Route 53 is blind", noReply, blind, passed, nil, "failed blind passed: failed"},
		{"our vantage: Route 53 is off", noReply, off, passed, nil, "failed skipped passed: failed"},

		{"Route 53 failed, URL passes", passed, badAnswer, passed, nil, "passed contradicted passed: contradicted"},
		{"Route 53 failed, URL passes elsewhere", elsewhere(passed), noReply, passed, nil, "skipped failed passed: failed"},
		{"Route 53 failed, URL failed", badAnswer, badAnswer, passed, nil, "failed failed passed: failed"},
		{"Route 53 failed, SSH passes, no URL", off, noReply, passed, nil, "skipped failed passed: failed"},

		{"Route 53 failed, URL is busy", busy, badAnswer, passed, nil, "busy busy passed: busy"},
		{"Route 53 failed, URL needs attention", forbidden, badAnswer, passed, nil, "attention attention passed: attention"},
		{"Route 53 failed, URL needs attention without an answer", noName, badAnswer, passed, nil, "attention failed passed: failed"},
		{"Route 53 failed, URL is busy elsewhere", elsewhere(busy), badAnswer, passed, nil, "skipped failed passed: failed"},
		{"Route 53 failed, URL is blind", blind, badAnswer, passed, nil, "blind failed passed: failed"},

		{"SSH without a connection, URL passes", passed, off, noReply, nil, "passed skipped contradicted: contradicted"},
		{"SSH refused, URL passes", passed, off, refused, nil, "passed skipped contradicted: contradicted"},
		{"SSH closed without a byte, URL passes", passed, off, closedEarly, nil, "passed skipped contradicted: contradicted"},
		{"SSH accepted and silent, URL passes", passed, off, mute, nil, "passed skipped failed: failed"},
		{"SSH answers wrongly, URL passes", passed, off, badAnswer, nil, "passed skipped failed: failed"},
		{"SSH without a connection, URL is busy", busy, off, noReply, nil, "busy skipped contradicted: contradicted"},
		{"SSH without a connection, URL failed with an answer", badAnswer, off, noReply, nil, "failed skipped contradicted: failed"},
		{"SSH without a connection, URL without an answer", noName, off, noReply, nil, "attention skipped failed: failed"},
		{"SSH without a connection, URL passes elsewhere", elsewhere(passed), off, noReply, nil, "skipped skipped failed: failed"},
		{"SSH without a connection, no URL, Route 53 passes", off, passed, refused, nil, "skipped passed contradicted: contradicted"},
		{"SSH silent, no URL, Route 53 passes", off, passed, mute, nil, "skipped passed failed: failed"},
		{"SSH without a connection, no URL, Route 53 failed", off, noReply, noReply, nil, "skipped failed failed: failed"},
		{"SSH without a connection, URL blind, Route 53 passes", blind, passed, noReply, nil, "skipped passed failed: failed"},

		{"a failure elsewhere is for a person", elsewhere(badAnswer), off, passed, nil, "attention skipped passed: attention"},
		{"no byte from elsewhere is for a person", elsewhere(noReply), off, passed, nil, "attention skipped passed: attention"},
		{"no byte from elsewhere, Route 53 passes", elsewhere(noReply), passed, noReply, nil, "attention passed failed: failed"},
		{"a failure elsewhere, and one here", elsewhere(badAnswer), off, mute, nil, "attention skipped failed: failed"},

		{"Route 53 fails for another endpoint", passed, elsewhere(noReply), passed, nil, "passed attention passed: attention"},

		{"URL passes elsewhere, SSH passes", elsewhere(passed), off, passed, nil, "skipped skipped passed: healthy"},
		{"URL passes elsewhere, Route 53 passes", elsewhere(passed), passed, off, nil, "skipped passed skipped: healthy"},
		{"URL passes elsewhere, Route 53 too", elsewhere(passed), elsewhere(passed), off, nil, "attention attention skipped: attention"},
		{"URL passes elsewhere, alone", elsewhere(passed), off, off, nil, "attention skipped skipped: attention"},
		{"URL passes elsewhere, SSH is blind", elsewhere(passed), off, blind, nil, "attention skipped blind: attention"},
		{"URL passes elsewhere, SSH is busy", elsewhere(passed), off, busy, nil, "skipped skipped busy: busy"},
		{"URL passes elsewhere, SSH needs attention", elsewhere(passed), off, forbidden, nil, "skipped skipped attention: attention"},
		{"URL passes elsewhere, SSH has no baseline", elsewhere(passed), off, mute, []string{"ssh"}, "skipped skipped attention: attention"},
		{"URL passes elsewhere, SSH refused, Route 53 passes", elsewhere(passed), passed, refused, nil, "skipped passed contradicted: contradicted"},
		{"URL is busy elsewhere, alone", elsewhere(busy), off, off, nil, "attention skipped skipped: attention"},
		{"URL is busy elsewhere, SSH passes", elsewhere(busy), off, passed, nil, "skipped skipped passed: healthy"},
		{"URL needs attention elsewhere", elsewhere(forbidden), off, passed, nil, "attention skipped passed: attention"},
		{"URL is blind elsewhere", elsewhere(blind), off, passed, nil, "blind skipped passed: blind"},
		{"SSH passes elsewhere, URL passes", passed, off, elsewhere(passed), nil, "passed skipped skipped: healthy"},
		{"Route 53 passes elsewhere, URL without a byte", noReply, elsewhere(passed), off, nil, "failed skipped skipped: failed"},
		{"Route 53 passes elsewhere, URL is blind", blind, elsewhere(passed), passed, nil, "blind skipped passed: blind"},

		{"blind beside a URL that passes", passed, blind, blind, nil, "passed skipped skipped: healthy"},
		{"blind beside a URL that passes, and a failure", passed, blind, mute, nil, "passed skipped failed: failed"},
		{"blind beside SSH that passes", off, blind, passed, nil, "skipped blind passed: blind"},
		{"URL blind, Route 53 passes", blind, passed, blind, nil, "skipped passed skipped: healthy"},
		{"URL blind, Route 53 passes, SSH is busy", blind, passed, busy, nil, "skipped passed busy: busy"},
		{"URL off, SSH blind, Route 53 passes", off, passed, blind, nil, "skipped passed blind: blind"},
		{"URL blind, SSH passes", blind, blind, passed, nil, "blind blind passed: blind"},

		{"failed before every kind", noName, off, mute, nil, "attention skipped failed: failed"},
		{"attention before contradicted", forbidden, off, noReply, nil, "attention skipped contradicted: attention"},
		{"contradicted before busy", passed, noReply, busy, nil, "passed contradicted busy: contradicted"},
		{"busy before blind", blind, blind, busy, nil, "blind blind busy: busy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := input(look(tt.url, tt.route53, tt.ssh), neverPassed(tt.never...))
			before := slices.Clone(in.Findings)
			_, got := weighed(in)
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if !reflect.DeepEqual(before, in.Findings) {
				t.Error("Weigh changed the findings that it was given")
			}
		})
	}
}

func TestWeighSaysWhyAFindingIsMissingOrChanged(t *testing.T) {
	in := input(look(missing, off, noReply), change(func(in *policy.Input) { in.Caught = map[string]string{"url": "States.Timeout"} }))
	l, _ := weighed(in)
	if got := l.Findings[0].Reason; !strings.Contains(got, "States.Timeout") {
		t.Errorf("reason of the missing finding: %q", got)
	}
	l, _ = weighed(input(look(passed, noReply, passed)))
	if got := l.Findings[1].Reason; got != "what route53 saw (the URL check passes)" {
		t.Errorf("reason of the contradicted finding: %q", got)
	}
}

func TestLookIsCovered(t *testing.T) {
	for _, tt := range []struct {
		name              string
		url, route53, ssh seen
		want              bool
	}{
		{"nothing is blind", passed, passed, passed, false},
		{"URL covers Route 53", passed, blind, passed, true},
		{"Route 53 covers URL", blind, passed, passed, true},
		{"a check that is off is not blind", passed, off, passed, false},
		{"SSH covers nothing", blind, off, passed, false},
		{"SSH covers a URL that leads elsewhere", elsewhere(passed), off, passed, true},
		{"nothing covers a URL that leads elsewhere", elsewhere(passed), off, off, false},
	} {
		if l, _ := weighed(input(look(tt.url, tt.route53, tt.ssh))); l.Covered != tt.want {
			t.Errorf("%s: Covered is %v", tt.name, l.Covered)
		}
	}
}

// A check that passes once has a baseline from then on, with these settings.
func TestBaseline(t *testing.T) {
	in := input(healthy)
	in.State.Instance.Baseline = nil
	i := policy.Decide(in).State.Instance
	for _, check := range incident.Checks {
		if i.Baseline[check] != in.Settings.Fingerprint(check) {
			t.Errorf("%s: no baseline after it passed", check)
		}
	}
	in = input(look(elsewhere(passed), passed, passed), neverPassed("url"))
	if i := policy.Decide(in).State.Instance; i.Baseline["url"] != "" {
		t.Error("what another machine answered became a baseline")
	}
	in = input(look(badAnswer, badAnswer, passed), neverPassed("url"))
	if i := policy.Decide(in).State.Instance; i.Baseline["url"] != "" {
		t.Error("a failure became a baseline")
	}
	in = input(look(badAnswer, passed, passed))
	in.Settings.URL.Path = "/new" // the baseline is of other settings
	if got := policy.Decide(in).Decision.Kind; got != incident.Attention {
		t.Errorf("with other settings: kind %q, want attention", got)
	}
}
