package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/probe"
)

func TestPrintNotifications(t *testing.T) {
	all := []probe.Notification{
		{Region: "eu-west-1", Deliveries: []probe.Delivery{
			{Channel: "slack", OK: true, Confirmed: true, Detail: "posted to C0123456789", ElapsedMs: 412},
			{Channel: "jsm", OK: true, Detail: "accepted; what became of it is not told", ElapsedMs: 1960},
		}},
		{Region: "us-east-1", Deliveries: []probe.Delivery{
			{Channel: "opsgenie", Error: "InvalidInput: \x1b[2Jthe key is refused", ElapsedMs: 90},
			{Channel: "sns", ElapsedMs: 10},
			{Channel: "slack", OK: true, Confirmed: true},
		}},
		{Region: "us-west-2", Error: "no answer within 2m30s"},
		{Region: "eu-west-2", Deliveries: []probe.Delivery{{Channel: "sns", OK: true, Detail: "published", Warning: "one \x1bis pending"}, {Channel: "heartbeat", OK: true, Confirmed: true, Detail: "took a ping"}}},
	}
	text, err := printed(t, func(w *bytes.Buffer) error { return printNotifications(w, all) })
	const want = `
REGION     CHANNEL                  DELIVERED  TOOK   DETAIL
eu-west-1  Slack                    confirmed  0.4 s  posted to C0123456789
eu-west-1  Jira Service Management  accepted   2.0 s  accepted; what became of
                                                      it is not told
us-east-1  OpsGenie                 FAILED     0.1 s  -
us-east-1  SNS                      FAILED     0.0 s  -
us-east-1  Slack                    confirmed  0.0 s  -
us-west-2  -                        -          -      -
eu-west-2  SNS                      accepted   0.0 s  published
eu-west-2  Heartbeat                confirmed  0.0 s  took a ping

us-east-1: OpsGenie: InvalidInput: [2Jthe key is refused
us-east-1: SNS: it failed, and the function does not say why
us-west-2: no answer within 2m30s
eu-west-2: SNS: warning: one is pending
`
	if diff := cmp.Diff(want, text); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := notified(all); err == nil || err.Error() != "not every channel took the test in us-east-1, us-west-2: see above" {
		t.Errorf("got %v", err)
	}
	if text, err := printed(t, func(w *bytes.Buffer) error { return printNotifications(w, all[:1]) }); err != nil || strings.Count(text, "\n") != 5 || notified(all[:1]) != nil {
		t.Errorf("%v, %v:\n%s", err, notified(all[:1]), text)
	}
	if err := notified(all[3:]); err != nil {
		t.Errorf("a warning: %v", err)
	}
	if err := printNotifications(brokenPipe{}, all); err == nil {
		t.Error("what cannot be written is no error")
	}
	for n, want := range []string{"2 channels: 1 confirmed, 1 accepted", "2 of 3 channels failed: OpsGenie, SNS", "given up: no answer within 2m30s", "2 channels: 1 confirmed, 1 accepted, with a warning"} {
		if got := delivered(all[n]); got != want {
			t.Errorf("%s: got %q, want %q", all[n].Region, got, want)
		}
	}
}

func TestNotifyUsage(t *testing.T) {
	withoutAWS(t)
	for _, tt := range []struct{ args, want string }{
		{"notify", "name what to do: firstline notify test"},
		{"notify now", `"now" is not a command or flag of firstline notify`},
		{"notify test", "name the regions, because people will read it: --region eu-west-1, or --all"},
		{"notify test --all --region eu-west-1", "--all: given with --region"},
		{"notify test --region eu-west-1 --exclude-region eu-west-1", "eu-west-1: given with both --region and --exclude-region"},
		{"notify test eu-west-1", `"eu-west-1" is not a command or flag of firstline notify test`},
		{"notify test --all --dir DIR", "regions.tf does not exist"},
	} {
		dir := t.TempDir()
		code, stdout, stderr := command(t, strings.Fields(strings.ReplaceAll(tt.args, "DIR", dir))...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("firstline %s: %d, want 2 and %q:\n%s%s", tt.args, code, tt.want, stdout, stderr)
		}
	}
}
