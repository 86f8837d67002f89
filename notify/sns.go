package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// Limits of a message: the reference of SNS' Publish. A body may have 256 KiB; ours
// is as long as an alert's description at most.
const (
	limitSubject = 100
	limitBody    = 15000
)

// SNSPublisher is the one call that SNS needs.
type SNSPublisher interface {
	Publish(ctx context.Context, in *sns.PublishInput, o ...func(*sns.Options)) (*sns.PublishOutput, error)
}

// snsTopic pages whoever subscribes to a topic. It keeps no alerts: every message is
// a new one, which wakes its subscribers, and it does not tell who got it. So it is
// sent a page and, once, that its cause is gone: without Slack nothing else would
// say so.
type snsTopic struct {
	Type string `json:"type"`
	// TopicARN names the topic, which must not be FIFO.
	TopicARN string `json:"topic_arn"`
	// client returns a client of the topic's region.
	client func(region string) SNSPublisher
}

func makeSNS(config json.RawMessage, deps Deps) (Pager, error) {
	s := &snsTopic{client: deps.SNS}
	return s, incident.DecodeStrict(config, s)
}

// Name is its type.
func (s *snsTopic) Name() string { return "sns" }

var snsCan = Capabilities{Resolvable: true, Title: limitSubject, Text: limitBody}

// Capabilities are few.
func (s *snsTopic) Capabilities() Capabilities { return snsCan }

func (s *snsTopic) compose(m Message) *sns.PublishInput {
	r := describe(m)
	return &sns.PublishInput{
		TopicArn: &s.TopicARN,
		Subject:  aws.String(subject(r.headline(limitSubject - 2))),
		Message:  aws.String(join(r.text(), limitBody)),
	}
}

// subject is text as SNS takes it for a subject: at most 100 printable ASCII
// characters, which begin with a letter, a digit or punctuation.
func subject(text string) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.ReplaceAll(text, "…", "...")))
	return cmp.Or(text[:min(len(text), limitSubject)], "firstline")
}

// Rehearse is as Pager says; there is no secret.
func (s *snsTopic) Rehearse(_ context.Context, m Message) (string, error) {
	in := s.compose(m)
	return *in.Subject + "\n" + *in.Message, nil
}

// Page publishes the message.
func (s *snsTopic) Page(ctx context.Context, m Message) (Delivery, error) {
	const op = "page through SNS"
	topic, err := arn.Parse(s.TopicARN)
	if err != nil {
		return Delivery{}, fault.New(fault.InvalidInput, op, "sns.topic_arn: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err = s.client(topic.Region).Publish(ctx, s.compose(m))
	if err == nil {
		return Delivery{Detail: "published to " + s.TopicARN + "; SNS does not tell which subscribers got it"}, nil
	}
	kind := fault.KindOf(fault.AWS(op, err))
	switch kind {
	case fault.Denied:
		err = fmt.Errorf("%w: let the function's role publish to the topic (sns:Publish), and use its key (kms:GenerateDataKey, kms:Decrypt)", err)
	case fault.InvalidInput:
		err = fmt.Errorf("%w: check sns.topic_arn, and the topic's key", err)
	}
	return Delivery{}, clean(op, refuse(kind, "%w", err))
}

// Note is not for a topic.
func (s *snsTopic) Note(context.Context, Message) error { return ErrNoAlert }

// Resolve publishes that the alert has ended, unless another one says more.
func (s *snsTopic) Resolve(ctx context.Context, m Message) error {
	if m.Alert.ReplacedBy != "" {
		return nil
	}
	_, err := s.Page(ctx, m)
	return err
}

// Open is not for a topic.
func (s *snsTopic) Open(context.Context, string) (bool, error) { return false, errors.ErrUnsupported }

// Test is a page: nothing can be taken back.
func (s *snsTopic) Test(ctx context.Context, m Message) (Delivery, error) { return s.Page(ctx, m) }
