package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/deployed"
)

// noon is when tests of times take place.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestParseSpan(t *testing.T) {
	for _, tt := range []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"2h", 2 * time.Hour, true},
		{"90m", 90 * time.Minute, true},
		{"3d", 72 * time.Hour, true},
		{"1d12h30m", 36*time.Hour + 30*time.Minute, true},
		{"1.5h", 90 * time.Minute, true},
		{"0s", 0, true},
		{"", 0, false},
		{"d", 0, false},
		{"2", 0, false},
		{"-2h", 0, false},
		{"+2h", 0, false},
		{"2h3d", 0, false},
		{"1d-2h", 0, false},
		{"1d 2h", 0, false},
		{"2w", 0, false},
		{"99999d2500000h", 0, false}, // more than a duration holds
		{"123456d", 0, false},
		{"tomorrow", 0, false},
	} {
		if got, ok := parseSpan(tt.text); got != tt.want && tt.ok || ok != tt.ok {
			t.Errorf("%q: got %s, %v, want %s, %v", tt.text, got, ok, tt.want, tt.ok)
		}
	}
}

func TestBrief(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "42s": 42*time.Second + 400*time.Millisecond, "2m": 2 * time.Minute, "2m5s": 125 * time.Second,
		"1h": time.Hour, "1h2m": time.Hour + 2*time.Minute + 50*time.Second, "7d": 168 * time.Hour, "6d23h": 167*time.Hour + 59*time.Minute,
	} {
		if got := brief(d); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain, 100 % ümläut":       "plain, 100 % ümläut",
		"red \x1b[31mtext\x07":      "red [31mtext",
		"two\nlines\tand\rmore":     "two lines and more",
		"a\u202eb\u0000c\xffd":      "abcd",
		"https://example.com/?a=b&": "https://example.com/?a=b&",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestSome(t *testing.T) {
	var many []string
	for n := range 22 {
		many = append(many, fmt.Sprintf("i-%d", n))
	}
	for want, names := range map[string][]string{
		"none":     nil,
		"i-0, i-1": many[:2],
		"i-0, i-1, i-2, i-3, i-4, i-5, i-6, i-7, i-8, i-9, i-10, i-11, i-12, i-13, i-14, i-15, i-16, i-17, i-18, i-19 and 2 more (`firstline output --json` lists all)": many,
	} {
		if got := some(names); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestInWords(t *testing.T) {
	for want, err := range map[string]error{
		"AccessDeniedException: not you": fmt.Errorf("query: %w", &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not\nyou"}),
		"no answer from dynamodb.eu-west-1.amazonaws.com: connection refused": &url.Error{
			Op: "Post", URL: "https://dynamodb.eu-west-1.amazonaws.com/", Err: errors.New("connection refused"),
		},
		"no answer in time":           fmt.Errorf("read: %w", context.DeadlineExceeded),
		"the item cannot be read: x":  errors.New("the item cannot be\nread: x"),
		"with an escape [2J and more": errors.New("with an escape \x1b[2J and more"),
	} {
		if got := inWords(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// All regions are asked at once, and one that hangs holds up none for longer
// than agreed.
func TestEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		answers := everywhere(t.Context(), two, answerTime, func(ctx context.Context, r deployed.Region) (string, error) {
			if r.Region == "us-east-1" {
				<-ctx.Done()
				return "half", ctx.Err()
			}
			time.Sleep(time.Second)
			return "whole", nil
		})
		if took := time.Since(start); took != answerTime {
			t.Errorf("it took %s", took)
		}
		if answers[0].value != "whole" || answers[1].value != "half" {
			t.Errorf("%+v", answers)
		}
		if diff := cmp.Diff([]regionError{{"us-east-1", "no answer within 30s"}}, troubles(answers)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// two are deployed regions.
var two = []deployed.Region{
	{
		Region: "eu-west-1", AccountID: "123456789012", Name: "firstline", TableName: "firstline-incidents",
		StateMachineARN:    "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline",
		DeadLetterQueueURL: "https://sqs.eu-west-1.amazonaws.com/123456789012/firstline-dead-letter",
		InstanceIDs:        []string{"i-0a1b2c3d", "i-1a1b2c3d"},
	},
	{
		Region: "us-east-1", AccountID: "123456789012", Name: "firstline", TableName: "firstline-incidents",
		StateMachineARN:    "arn:aws:states:us-east-1:123456789012:stateMachine:firstline",
		DeadLetterQueueURL: "https://sqs.us-east-1.amazonaws.com/123456789012/firstline-dead-letter",
		InstanceIDs:        []string{"i-2a1b2c3d"},
	},
}

func TestTableOf(t *testing.T) {
	half := two[0]
	half.TableName = ""
	if _, err := tableOf(aws.Config{}, half); err == nil || err.Error() != "no table is deployed here: deploy this version first" {
		t.Errorf("got %v", err)
	}
	table, err := tableOf(aws.Config{}, two[0])
	if err != nil || table.Name != "firstline-incidents" {
		t.Fatalf("%+v, %v", table, err)
	}
	if _, err := table.Client(t.Context()); err != nil {
		t.Error(err)
	}
}

// What is wrong with the command line is said before Terraform is looked for.
func TestOperatorUsage(t *testing.T) {
	withoutAWS(t)
	for _, tt := range []struct{ args, want string }{
		{"pause", "name what to pause: regions with --region, or instances with --instance"},
		{"resume", "name what to resume: regions with --region, or instances with --instance"},
		{"pause --instance i-x", `--instance: "i-x" is not an instance id such as i-0c1cbf2e7abdedf75`},
		{"pause --region eu-west-1 --until tomorrow", `--until: "tomorrow" is not a time: give RFC 3339 with its zone, such as `},
		{"pause --region eu-west-1 --until 2020-01-01T00:00:00Z", "--until: 2020-01-01T00:00:00Z is in the past, it is "},
		{"pause --region eu-west-1 --until 8d", " is more than 7d ahead: give "},
		{"pause now", `"now" is not a command or flag of firstline pause`},
		{"paused --until 1h", "unknown flag: --until"},
		{"explain", "name the instance with --instance"},
		{"explain --instance web-1", `--instance: "web-1" is not an instance id such as i-0c1cbf2e7abdedf75`},
		{"handback --region eu-west-1", "name the instances to hand back with --instance"},
		{"incidents --dry --since soon", `--since: "soon" is not a time`},
		{"incidents --since yesterday", `--since: "yesterday" is not a time: give a time ago such as 24h or 7d, or RFC 3339 with its zone, such as `},
		{"incidents --since 2999-01-01T00:00:00Z", "--since: 2999-01-01T00:00:00Z is in the future, it is "},
		{"incidents --limit -1", "--limit: -1 is not 1 or more, or 0 for all"},
		{"incidents --limit many", "invalid argument"},
		{"incidents --instance firstline", `--instance: "firstline" is not an instance id`},
		{"incident", "name one incident by its id, as `firstline incidents` lists it"},
		{"incident a b", "name one incident by its id, as `firstline incidents` lists it"},
		{"incident a/b", `"a/b" is not an incident's id: give one that`},
		{"incident arn:aws:states:", `"arn:aws:states:" is not an incident's id`},
		{"redrive --region eu-west-1 --exclude-region eu-west-1", "eu-west-1: given with both --region and --exclude-region"},
		{"redrive all", `"all" is not a command or flag of firstline redrive`},
	} {
		code, stdout, stderr := command(t, strings.Fields(tt.args)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("firstline %s: %d, want 2 and %q:\n%s%s", tt.args, code, tt.want, stdout, stderr)
		}
	}
}
