// Package deadletter reads the queue of the events that could not start an
// incident, and starts their incidents after all.
package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"firstline/internal/old/incident"
)

// messages is what is used of SQS's client.
type messages interface {
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	DeleteMessage(context.Context, *sqs.DeleteMessageInput, ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error)
	ChangeMessageVisibilityBatch(context.Context, *sqs.ChangeMessageVisibilityBatchInput, ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
}

// starter is the one call of Step Functions' client that starts an execution.
type starter interface {
	StartExecution(context.Context, *sfn.StartExecutionInput, ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error)
}

// Queue is the dead-letter queue of a region.
type Queue struct {
	SQS messages
	// URL is the queue's.
	URL    string
	States starter
	// StateMachine and AllClear are the ARNs of the state machines that the events
	// were for: of alarms that ring, and of those that are over. AllClear is ""
	// where there is none.
	StateMachine, AllClear string
}

// Message is an event in the queue.
type Message struct {
	ID   string
	Body string
	// Alarm and InstanceID are of what rang, and At is the event's time; InstanceID
	// is empty where the alarm speaks of none, and At zero where there is no time.
	Alarm, InstanceID string
	At                time.Time
	// Over says that the alarm returned to OK: then it is not an incident that
	// starts, but the look whether an open alert can be closed.
	Over bool
	// SentAt is when EventBridge gave up, and Code and Reason why.
	SentAt       time.Time
	Code, Reason string
	// Malformed says why the body is no alarm's event; empty when it is one.
	Malformed string

	// target is the ARN of the state machine that EventBridge could not start.
	target  string
	receipt string
}

const (
	// Hold is how long messages are kept from other readers once they were
	// received. It is time enough to answer a question, and what is not released
	// after it is there again.
	Hold = 10 * time.Minute
	// Most is how many messages are received at once.
	Most = 1000
	// wait makes a receive ask all of SQS's servers, not some of them, which
	// would answer that there is nothing
	// (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html).
	wait = 2 * time.Second
	// batch is how many messages SQS hands out or takes in one call.
	batch = 10
)

// Receive returns what lies in the queue, oldest first, and keeps it from other
// readers for the time Hold: Release ends that. more is true when there may be
// more than Most. With an error it returns what it has received until then.
func (q *Queue) Receive(ctx context.Context) (all []Message, more bool, err error) {
	byID := map[string]Message{}
	for len(byID) < Most {
		out, err := q.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl:                    &q.URL,
			MaxNumberOfMessages:         batch,
			VisibilityTimeout:           int32(Hold.Seconds()),
			WaitTimeSeconds:             int32(wait.Seconds()),
			MessageAttributeNames:       []string{"All"},
			MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{sqstypes.MessageSystemAttributeNameSentTimestamp},
		})
		if err != nil {
			return inOrder(byID), false, err
		}
		if len(out.Messages) == 0 {
			return inOrder(byID), false, nil
		}
		for _, m := range out.Messages {
			// One that comes twice has a new receipt.
			byID[aws.ToString(m.MessageId)] = read(m)
		}
	}
	return inOrder(byID), true, nil
}

// inOrder sorts messages, oldest first.
func inOrder(byID map[string]Message) []Message {
	all := make([]Message, 0, len(byID))
	for _, m := range byID {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b Message) int {
		if c := a.SentAt.Compare(b.SentAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all
}

// read reads a message. EventBridge's attributes are those of its user guide
// (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html).
func read(m sqstypes.Message) Message {
	letter := Message{ID: aws.ToString(m.MessageId), Body: aws.ToString(m.Body), receipt: aws.ToString(m.ReceiptHandle)}
	letter.Code = aws.ToString(m.MessageAttributes["ERROR_CODE"].StringValue)
	letter.Reason = aws.ToString(m.MessageAttributes["ERROR_MESSAGE"].StringValue)
	letter.target = aws.ToString(m.MessageAttributes["TARGET_ARN"].StringValue)
	if ms, err := strconv.ParseInt(m.Attributes[string(sqstypes.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil {
		letter.SentAt = time.UnixMilli(ms).UTC()
	}
	if err := letter.decode(); err != nil {
		letter.Malformed = err.Error()
	}
	return letter
}

// decode reads the body, which is the event as EventBridge had it for the state
// machine. What the state machine does with any alarm's event is up to it.
func (m *Message) decode() error {
	var e struct {
		Time   string `json:"time"`
		Detail struct {
			AlarmName string `json:"alarmName"`
			State     struct {
				Value string `json:"value"`
			} `json:"state"`
			Configuration struct {
				Metrics []struct {
					MetricStat struct {
						Metric struct {
							Dimensions map[string]string `json:"dimensions"`
						} `json:"metric"`
					} `json:"metricStat"`
				} `json:"metrics"`
			} `json:"configuration"`
		} `json:"detail"`
	}
	if err := json.Unmarshal([]byte(m.Body), &e); err != nil {
		return fmt.Errorf("its body is no alarm's event: %w", err)
	}
	m.Alarm = e.Detail.AlarmName
	m.Over = e.Detail.State.Value == "OK"
	if at, err := time.Parse(time.RFC3339, e.Time); err == nil {
		m.At = at.UTC()
	}
	for _, metric := range e.Detail.Configuration.Metrics {
		if id := metric.MetricStat.Metric.Dimensions["InstanceId"]; id != "" {
			m.InstanceID = id
		}
	}
	switch source := incident.SourceOf([]byte(m.Body)); {
	case source != incident.SourceAlarm:
		return fmt.Errorf("its body is no alarm's event: source %q, want %q", source, incident.SourceAlarm)
	case m.Alarm == "":
		return errors.New("its body is no alarm's event: detail.alarmName is missing")
	}
	return nil
}

// Name is the name of the execution that a message starts, always the same one.
func (m Message) Name() string { return "redrive-" + m.ID }

// Outcome is what came of replaying a message.
type Outcome string

const (
	// Started says that its incident was started, and the message deleted.
	Started Outcome = "started"
	// StartedBefore says that this was done before, and the message deleted now.
	StartedBefore Outcome = "started before"
	// NotDeleted says that its incident was started, and that the message is
	// still there: replaying it again only deletes it.
	NotDeleted Outcome = "started, not deleted"
	// Kept says that nothing was done, and that the message is still there.
	Kept Outcome = "kept"
)

// errNoAllClear says that an alarm's end has nobody to go to.
var errNoAllClear = errors.New("no state machine that gives the all-clear is deployed here: deploy this version first, or delete the message yourself")

// machine returns the state machine of a message: the one that EventBridge could
// not start, which its attributes name. Where that is none of today's, and where
// somebody moved the message and lost them, what happened to the alarm decides.
func (q *Queue) machine(m Message) string {
	switch {
	case m.target == q.StateMachine, m.target == q.AllClear && m.target != "":
		return m.target
	case m.Over:
		return q.AllClear
	}
	return q.StateMachine
}

// Replay starts the state machine of a message, once, whoever tries and however
// often, and deletes the message then.
func (q *Queue) Replay(ctx context.Context, m Message) (Outcome, error) {
	if m.Malformed != "" {
		return Kept, errors.New(m.Malformed)
	}
	machine := q.machine(m)
	if machine == "" {
		return Kept, errNoAllClear
	}
	outcome := Started
	_, err := q.States.StartExecution(ctx, &sfn.StartExecutionInput{
		StateMachineArn: &machine, Name: aws.String(m.Name()), Input: &m.Body,
	})
	if _, exists := errors.AsType[*sfntypes.ExecutionAlreadyExists](err); exists {
		outcome = StartedBefore
	} else if err != nil {
		return Kept, err
	}
	if _, err := q.SQS.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &q.URL, ReceiptHandle: &m.receipt}); err != nil {
		return NotDeleted, err
	}
	return outcome, nil
}

// Peculiar reports whether an error of Replay is of the one message only, so
// that others may do better.
func Peculiar(err error) bool {
	_, input := errors.AsType[*sfntypes.InvalidExecutionInput](err)
	_, name := errors.AsType[*sfntypes.InvalidName](err)
	return input || name || errors.Is(err, errNoAllClear)
}

// Release hands messages back to whoever reads the queue. It tries all of them.
func (q *Queue) Release(ctx context.Context, all []Message) error {
	var errs []error
	for part := range slices.Chunk(all, batch) {
		var entries []sqstypes.ChangeMessageVisibilityBatchRequestEntry
		for n, m := range part {
			entries = append(entries, sqstypes.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(n)), ReceiptHandle: aws.String(m.receipt)})
		}
		out, err := q.SQS.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.URL, Entries: entries})
		switch {
		case err != nil:
			errs = append(errs, err)
		case len(out.Failed) > 0:
			errs = append(errs, fmt.Errorf("%s: %s", aws.ToString(out.Failed[0].Code), aws.ToString(out.Failed[0].Message)))
		}
	}
	return errors.Join(errs...)
}
