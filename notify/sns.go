package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/lazy"
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

// snsTopic pages whoever subscribes to a topic: the pager of last resort. It keeps no
// alerts: every message is a new one, which wakes its subscribers, and it does not
// tell who got it. So it is sent pages only. That an instance has recovered is
// for Slack, and for pagers whose alerts can be closed silently.
type snsTopic struct {
	// TopicARN names the topic, which must not be FIFO.
	TopicARN string
	// Client returns a client of the topic's region.
	Client func(region string) SNSPublisher
}

// makeSNS makes it of its settings.
func makeSNS(config json.RawMessage, deps Deps) (Pager, error) {
	var s struct {
		Type     string `json:"type"`
		TopicARN string `json:"topicArn"`
	}
	if err := incident.DecodeStrict(config, &s); err != nil {
		return nil, err
	}
	return &snsTopic{TopicARN: s.TopicARN, Client: deps.SNS}, nil
}

const opSNS = "page through SNS"

// topicARN is that of a topic that is not FIFO: those end in .fifo.
var topicARN = lazy.Regexp(`^arn:(aws[a-z-]*):sns:([a-z0-9-]+):([0-9]{12}):[0-9A-Za-z_-]{1,256}$`)

// Name is its type.
func (s *snsTopic) Name() string { return "sns" }

// Capabilities are none.
func (s *snsTopic) Capabilities() Capabilities { return Capabilities{} }

// compose makes what is published of a message, or says what of the settings is not
// right.
func (s *snsTopic) compose(m Message) (region string, in *sns.PublishInput, err error) {
	if m.Incident == nil && m.Kind != KindTest {
		return "", nil, fault.New(fault.Internal, opSNS, "there is no incident to page about")
	}
	parts := topicARN().FindStringSubmatch(s.TopicARN)
	if parts == nil {
		return "", nil, fault.New(fault.InvalidInput, opSNS, "sns.topic_arn is %q: want the ARN of a topic that is not FIFO, such as arn:aws:sns:eu-west-1:123456789012:on-call", truncate(oneLine(s.TopicARN), 200))
	}
	r := describe(m)
	return parts[2], &sns.PublishInput{
		TopicArn: &s.TopicARN,
		Subject:  aws.String(subject(r.headline(limitSubject, truncate))),
		Message:  aws.String(r.text(limitHead, limitBody)),
	}, nil
}

// subject is text as SNS takes it for a subject: at most 100 printable ASCII
// characters, which begin with a letter, a digit or punctuation.
func subject(text string) string {
	text = strings.NewReplacer("…", "...", "–", "-", "’", "'").Replace(oneLine(text))
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text))
	if len(text) > limitSubject {
		text = strings.TrimSpace(text[:limitSubject-3]) + "..."
	}
	return cmp.Or(text, "firstline")
}

// Rehearse returns the text that Page would publish, with Page's errors of the
// settings. It makes no call.
func (s *snsTopic) Rehearse(_ context.Context, m Message) (string, error) {
	_, in, err := s.compose(m)
	if err != nil {
		return "", err
	}
	return *in.Subject + "\n" + *in.Message, nil
}

// Page publishes the message. What SNS has accepted it delivers by itself, and does
// not tell to whom.
func (s *snsTopic) Page(ctx context.Context, m Message) (Delivery, error) {
	id, err := s.publish(ctx, m)
	if err != nil {
		return Delivery{}, err
	}
	return Delivery{Detail: "published as " + cmp.Or(truncate(oneLine(id), 100), "?") + " to " + s.TopicARN + "; SNS does not tell which subscribers got it"}, nil
}

// Note publishes nothing: a topic has no alert to add it to.
func (s *snsTopic) Note(context.Context, Message) error {
	return fault.New(fault.InvalidInput, "add a note to the alert", "SNS keeps no alerts: %w", ErrNoAlert)
}

// Resolve publishes nothing: a topic has no alert to close.
func (s *snsTopic) Resolve(context.Context, Message) error {
	return fault.New(fault.InvalidInput, "resolve the alert", "SNS keeps no alerts: %w", ErrNoAlert)
}

// Open is an error that holds ErrCannotTell: a topic has no alerts.
func (s *snsTopic) Open(context.Context, string) (bool, error) {
	return false, fault.New(fault.InvalidInput, "ask whether the alert is open", "SNS keeps no alerts: %w", ErrCannotTell)
}

// Test publishes a message that says it is a test.
func (s *snsTopic) Test(ctx context.Context, m Message) (Delivery, error) {
	m.Kind = KindTest
	return s.Page(ctx, m)
}

func (s *snsTopic) publish(ctx context.Context, m Message) (id string, err error) {
	region, in, err := s.compose(m)
	if err != nil {
		return "", err
	}
	if s.Client == nil {
		return "", fault.New(fault.Internal, opSNS, "no client of SNS")
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := s.Client(region).Publish(ctx, in)
	if err != nil {
		return "", snsRefusal(err)
	}
	return aws.ToString(out.MessageId), nil
}

// snsCures are SNS' permanent errors with what cures them: the reference of Publish.
var snsCures = map[string]struct {
	kind fault.Kind
	cure string
}{
	"AuthorizationError":    {fault.Denied, "let the function's role publish to the topic (sns:Publish), and the topic's policy let it"},
	"NotFound":              {fault.InvalidInput, "there is no such topic: apply the Terraform root again, or correct sns.topic_arn"},
	"EndpointDisabled":      {fault.InvalidInput, "the endpoint is disabled"},
	"KMSAccessDenied":       {fault.Denied, "let the function's role use the topic's key (kms:GenerateDataKey, kms:Decrypt)"},
	"KMSDisabled":           {fault.InvalidInput, "the topic's key is disabled: enable it, or give the topic another"},
	"KMSInvalidState":       {fault.InvalidInput, "the topic's key cannot be used as it is: give the topic another"},
	"KMSNotFound":           {fault.InvalidInput, "the topic's key is gone: give the topic another"},
	"KMSOptInRequired":      {fault.Denied, "the account may not use the topic's key"},
	"InvalidParameter":      {fault.InvalidInput, "this is a fault of firstline: please report it"},
	"ParameterValueInvalid": {fault.InvalidInput, "this is a fault of firstline: please report it"},
}

func snsRefusal(err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		// The SDK has some names with another end than the reference.
		for _, name := range []string{api.ErrorCode(), strings.TrimSuffix(api.ErrorCode(), "Exception")} {
			if known, ok := snsCures[name]; ok {
				return clean(known.kind, opSNS, errors.New(truncate(oneLine(api.ErrorCode()+": "+api.ErrorMessage()), maxServerWords)+": "+known.cure), nil)
			}
		}
	}
	return clean(fault.KindOf(fault.AWS(opSNS, err)), opSNS, err, nil)
}
