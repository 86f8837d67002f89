// Package deadletter reads the queue of the alarms' events that could not start
// an execution, and starts their executions after all.
package deadletter

import (
	"context"
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

	"firstline/internal/incident"
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
	// StateMachine is the ARN of the state machine that the events were for.
	StateMachine string
}

// Message is an event in the queue.
type Message struct {
	ID   string
	Body string
	// Alarm is the alarm's name, At when it went to ALARM; zero where Malformed
	// says why.
	Alarm, InstanceID string
	At                time.Time
	// SentAt is when EventBridge gave up, and Code and Reason why.
	SentAt       time.Time
	Code, Reason string
	// Malformed says why the body starts nothing; empty when it does.
	Malformed string

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
	if ms, err := strconv.ParseInt(m.Attributes[string(sqstypes.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil {
		letter.SentAt = time.UnixMilli(ms).UTC()
	}
	switch inc, err := incident.ParseEvent([]byte(letter.Body)); {
	case err != nil:
		letter.Malformed = err.Error()
	case inc.Trigger != incident.TriggerAlarm:
		letter.Malformed = "event.source: it is no alarm's event"
	default:
		letter.Alarm, letter.InstanceID, letter.At = inc.Alarm.Name, inc.InstanceID, inc.Alarm.At.Time()
	}
	return letter
}

// Name is the name of the execution that a message starts, always the same one.
func (m Message) Name() string { return "redrive-" + m.ID }

// Outcome is what came of replaying a message.
type Outcome string

const (
	// Started says that its execution was started, and the message deleted.
	Started Outcome = "started"
	// StartedBefore says that this was done before, and the message deleted now.
	StartedBefore Outcome = "started before"
	// NotDeleted says that its execution was started, and that the message is
	// still there: replaying it again only deletes it.
	NotDeleted Outcome = "started, not deleted"
	// Kept says that nothing was done, and that the message is still there.
	Kept Outcome = "kept"
)

// Replay starts the execution of a message, once, whoever tries and however
// often, and deletes the message then.
func (q *Queue) Replay(ctx context.Context, m Message) (Outcome, error) {
	if m.Malformed != "" {
		return Kept, errors.New(m.Malformed)
	}
	outcome := Started
	_, err := q.States.StartExecution(ctx, &sfn.StartExecutionInput{
		StateMachineArn: &q.StateMachine, Name: aws.String(m.Name()), Input: &m.Body,
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
	return input || name
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
