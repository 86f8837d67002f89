package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
)

const testTopic = "arn:aws:sns:eu-west-1:123456789012:on-call"

// snsFaults is what SNS would refuse a message for: the reference of Publish.
func snsFaults(in *sns.PublishInput) []string {
	var faults []string
	check := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	check(aws.ToString(in.TopicArn) != testTopic, "topic %q", aws.ToString(in.TopicArn))
	subject, message := aws.ToString(in.Subject), aws.ToString(in.Message)
	check(subject == "" || len(subject) > 100 || subject[0] == ' ', "subject %q has %d characters", subject, len(subject))
	for _, r := range subject {
		check(r < ' ' || r > '~', "subject has %q", r)
	}
	check(message == "" || len(message) > 256<<10 || !utf8.ValidString(message), "the body has %d bytes", len(message))
	check(in.MessageStructure != nil || in.TargetArn != nil || in.PhoneNumber != nil || in.MessageGroupId != nil, "more than is meant: %+v", in)
	return faults
}

// fakeSNS refuses what SNS refuses.
type fakeSNS struct {
	t         *testing.T
	err       error
	published []*sns.PublishInput
}

func (f *fakeSNS) Publish(ctx context.Context, in *sns.PublishInput, _ ...func(*sns.Options)) (*sns.PublishOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if faults := snsFaults(in); len(faults) > 0 {
		f.t.Error(faults)
		return nil, &smithy.GenericAPIError{Code: "InvalidParameter", Message: strings.Join(faults, ", ")}
	}
	if f.err != nil {
		return nil, f.err
	}
	f.published = append(f.published, in)
	return &sns.PublishOutput{MessageId: aws.String("94f20ce6-13c5-43a0-9a9e-ca52d816e90b")}, nil
}

func topic(t *testing.T, f *fakeSNS) *snsTopic {
	f.t = t
	return &snsTopic{TopicARN: testTopic, client: func(region string) SNSPublisher {
		if region != "eu-west-1" {
			t.Errorf("a client of %q", region)
		}
		return f
	}}
}

// sent is the error of a page.
func sent(t *testing.T, p Pager, m Message) error {
	t.Helper()
	_, err := p.Page(t.Context(), m)
	return err
}

func TestSNSPublishesEveryMessage(t *testing.T) {
	t.Parallel()
	for name := range messages {
		f := &fakeSNS{}
		s := topic(t, f)
		if err := sent(t, s, message(t, name)); err != nil || len(f.published) != 1 {
			t.Fatalf("%s: %v, %d published", name, err, len(f.published))
		}
		text, err := s.Rehearse(t.Context(), message(t, name))
		if want := *f.published[0].Subject + "\n" + *f.published[0].Message; err != nil || text != want {
			t.Errorf("%s: rehearsed %q, %v, want %q", name, text, err, want)
		}
	}
}

// A topic keeps no alerts: a note would wake somebody once more and is not
// published. The end of an alert is, unless another alert takes its place.
func TestSNSKeepsNoAlerts(t *testing.T) {
	t.Parallel()
	f := &fakeSNS{}
	s := topic(t, f)
	if err := s.Note(t.Context(), message(t, "note")); !errors.Is(err, ErrNoAlert) {
		t.Errorf("note: %v", err)
	}
	if err := s.Resolve(t.Context(), message(t, "resolve-replaced")); err != nil || len(f.published) != 0 {
		t.Errorf("replaced: %v, %d published", err, len(f.published))
	}
	if err := s.Resolve(t.Context(), message(t, "well")); err != nil || len(f.published) != 1 {
		t.Fatalf("resolve: %v, %d published", err, len(f.published))
	}
	if got, want := *f.published[0].Subject, "Resolved: "+testInstance+" (web-1) in eu-west-1: the instance is well"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := s.Open(t.Context(), testAlias); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("open: %v", err)
	}
}

func TestSNSErrors(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]struct {
		kind fault.Kind
		text string
	}{
		"AuthorizationError": {fault.Denied, "sns:Publish"},
		"AccessDenied":       {fault.Denied, "AccessDenied"},
		"NotFound":           {fault.InvalidInput, "check sns.topic_arn"},
		"KMSAccessDenied":    {fault.Denied, "kms:GenerateDataKey"},
		"KMSDisabled":        {fault.InvalidInput, "the topic's key"},
		"KMSThrottling":      {fault.Unavailable, "KMSThrottling"},
		"Throttled":          {fault.Unavailable, "Throttled"},
	} {
		f := &fakeSNS{err: &smithy.GenericAPIError{Code: code, Message: "the words of\nSNS"}}
		err := sent(t, topic(t, f), message(t, "down-after-reboot"))
		wantError(t, err, want.kind, want.text)
		if err != nil && (!strings.HasPrefix(err.Error(), "page through SNS: ") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v", code, err)
		}
	}
	f := &fakeSNS{err: &smithy.GenericAPIError{Code: "InternalError", Fault: smithy.FaultServer}}
	wantError(t, sent(t, topic(t, f), message(t, "down-after-reboot")), fault.Unavailable, "InternalError")
	f.err = errors.New("connection reset")
	wantError(t, sent(t, topic(t, f), message(t, "down-after-reboot")), fault.Unavailable, "connection reset")
	f.err = &smithy.GenericAPIError{Code: "Denied"}
	if _, err := topic(t, f).Test(t.Context(), message(t, "test")); err == nil {
		t.Error("a test that failed is none")
	}
}

func TestSNSInvalidSettings(t *testing.T) {
	t.Parallel()
	s := &snsTopic{TopicARN: "on-call"}
	wantError(t, sent(t, s, message(t, "down-after-reboot")), fault.InvalidInput, "sns.topic_arn: ")
}

func TestSNSTest(t *testing.T) {
	t.Parallel()
	f := &fakeSNS{}
	d, err := topic(t, f).Test(t.Context(), message(t, "test"))
	if err != nil || d.Confirmed || d.Detail != "published to "+testTopic+"; SNS does not tell which subscribers got it" {
		t.Errorf("%+v, %v", d, err)
	}
	if !strings.HasPrefix(*f.published[0].Subject, testLabel) {
		t.Errorf("%s", *f.published[0].Subject)
	}
}

// A topic that does not answer leaves time for another way.
func TestSNSIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &snsTopic{TopicARN: testTopic, client: func(string) SNSPublisher { return silentSNS{} }}
		start := time.Now()
		wantError(t, sent(t, s, message(t, "down-after-reboot")), fault.Unavailable, "deadline exceeded")
		if took := time.Since(start); took != callTimeout {
			t.Errorf("it took %s", took)
		}
	})
}

type silentSNS struct{}

func (silentSNS) Publish(ctx context.Context, _ *sns.PublishInput, _ ...func(*sns.Options)) (*sns.PublishOutput, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestSubject(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                           "firstline",
		"wéb…":                       "w?b...",
		strings.Repeat("x", 100):     strings.Repeat("x", 100),
		strings.Repeat("…", 40):      strings.Repeat(".", 100),
		"🔴 i-0c1cbf2e7abdedf75 down": "? i-0c1cbf2e7abdedf75 down",
	} {
		if got := subject(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzSubject(f *testing.F) {
	for _, s := range []string{"", "plain", "äöü…", "\xff\xfe", "a\nb", strings.Repeat("…", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		in := &sns.PublishInput{TopicArn: aws.String(testTopic), Subject: aws.String(subject(s)), Message: aws.String("x")}
		if faults := snsFaults(in); len(faults) > 0 {
			t.Errorf("%q: %v", s, faults)
		}
	})
}
