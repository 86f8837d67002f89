package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const event = `{"source": "aws.cloudwatch", "detail-type": "CloudWatch Alarm State Change", "account": "123456789012", "time": "2026-11-23T11:00:00Z", "region": "eu-west-1",
	"detail": {"alarmName": "firstline-alarm-i-0a1b2c3d-cpu", "state": {"value": "ALARM"}, "configuration": {"metrics": [{"metricStat": {"metric": {"dimensions": {"InstanceId": "i-0a1b2c3d"}}}}]}}}`

// queued is a message as SQS hands it out.
func queued(id, body string, sent time.Time) sqstypes.Message {
	return sqstypes.Message{
		MessageId: &id, Body: &body, ReceiptHandle: aws.String("receipt of " + id),
		Attributes: map[string]string{"SentTimestamp": fmt.Sprint(sent.UnixMilli())},
		MessageAttributes: map[string]sqstypes.MessageAttributeValue{
			"ERROR_CODE":    {DataType: aws.String("String"), StringValue: aws.String("AccessDeniedException")},
			"ERROR_MESSAGE": {DataType: aws.String("String"), StringValue: aws.String("not authorized to perform states:StartExecution")},
		},
	}
}

// played is SQS and Step Functions.
type played struct {
	messages []sqstypes.Message
	deleted  []string
	released []string
	started  map[string]string // input by name
	in       *sqs.ReceiveMessageInput
	startErr map[string]error
	refuse   map[string]error
}

func (p *played) ReceiveMessage(_ context.Context, in *sqs.ReceiveMessageInput, _ ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	p.in = in
	n := min(int(in.MaxNumberOfMessages), len(p.messages))
	out := &sqs.ReceiveMessageOutput{Messages: p.messages[:n]}
	p.messages = p.messages[n:]
	if n == 0 && p.refuse["receive"] != nil {
		return nil, p.refuse["receive"]
	}
	return out, nil
}

func (p *played) DeleteMessage(_ context.Context, in *sqs.DeleteMessageInput, _ ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error) {
	if err := p.refuse["delete"]; err != nil {
		return nil, err
	}
	p.deleted = append(p.deleted, *in.QueueUrl+": "+*in.ReceiptHandle)
	return &sqs.DeleteMessageOutput{}, nil
}

func (p *played) ChangeMessageVisibilityBatch(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput, _ ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	out := &sqs.ChangeMessageVisibilityBatchOutput{}
	for _, e := range in.Entries {
		if err := p.refuse[*e.ReceiptHandle]; err != nil {
			out.Failed = append(out.Failed, sqstypes.BatchResultErrorEntry{Id: e.Id, Code: aws.String("ReceiptHandleIsInvalid"), Message: aws.String(err.Error())})
			continue
		}
		p.released = append(p.released, fmt.Sprintf("%s %d", *e.ReceiptHandle, e.VisibilityTimeout))
	}
	return out, p.refuse["release"]
}

func (p *played) StartExecution(_ context.Context, in *sfn.StartExecutionInput, _ ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error) {
	if err := p.startErr[*in.Name]; err != nil {
		return nil, err
	}
	if p.started == nil {
		p.started = map[string]string{}
	}
	p.started[*in.Name] = *in.StateMachineArn + " " + *in.Input
	return &sfn.StartExecutionOutput{}, nil
}

func queue(p *played) *Queue {
	return &Queue{SQS: p, URL: "https://sqs/firstline-dead-letter", States: p, StateMachine: machine}
}

const machine = "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"

var sent = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestReceive(t *testing.T) {
	p := &played{}
	// Out of order, and one of them twice.
	for n := range 12 {
		p.messages = append(p.messages, queued(fmt.Sprintf("m%02d", n), event, sent.Add(-time.Duration(n)*time.Minute)))
	}
	again := queued("m00", event, sent)
	again.ReceiptHandle = aws.String("newer receipt of m00")
	p.messages = append(p.messages, again)
	got, more, err := queue(p).Receive(t.Context())
	if err != nil || more || len(got) != 12 {
		t.Fatalf("%d messages, more %v, %v", len(got), more, err)
	}
	var ids []string
	for _, m := range got {
		ids = append(ids, m.ID)
	}
	if !slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("not the oldest first: %v", ids)
	}
	want := Message{
		ID: "m00", Body: event, Alarm: "firstline-alarm-i-0a1b2c3d-cpu", InstanceID: "i-0a1b2c3d", At: sent.Add(-time.Hour), SentAt: sent,
		Code: "AccessDeniedException", Reason: "not authorized to perform states:StartExecution", receipt: "newer receipt of m00",
	}
	if diff := cmp.Diff(want, got[11], cmp.AllowUnexported(Message{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if in := p.in; in.VisibilityTimeout != 600 || in.WaitTimeSeconds != 2 || *in.QueueUrl != "https://sqs/firstline-dead-letter" || !slices.Equal(in.MessageAttributeNames, []string{"All"}) {
		t.Errorf("asked for %+v", in)
	}
}

func TestReceiveBounds(t *testing.T) {
	p := &played{}
	for n := range Most + 10 {
		p.messages = append(p.messages, queued(fmt.Sprint(n), event, sent))
	}
	if got, more, err := queue(p).Receive(t.Context()); err != nil || !more || len(got) != Most {
		t.Errorf("%d messages, more %v, %v", len(got), more, err)
	}
	// What was received before an error is there.
	down := errors.New("down")
	p = &played{messages: []sqstypes.Message{queued("m", event, sent)}, refuse: map[string]error{"receive": down}}
	if got, more, err := queue(p).Receive(t.Context()); !errors.Is(err, down) || more || len(got) != 1 {
		t.Errorf("%+v, more %v, %v", got, more, err)
	}
}

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		want       Message
	}{
		{"an alarm's event", event, Message{Alarm: "firstline-alarm-i-0a1b2c3d-cpu", InstanceID: "i-0a1b2c3d", At: sent.Add(-time.Hour)}},
		{"an alarm that names no instance", strings.Replace(event, "InstanceId", "Host", 1), Message{Malformed: "event.detail.configuration.metrics: "}},
		{"an alarm that went to OK", strings.Replace(event, "ALARM", "OK", 1), Message{Malformed: "event.detail.state.value: "}},
		{"not JSON", `<event/>`, Message{Malformed: "event: "}},
		{"empty", ``, Message{Malformed: "event: "}},
		{"no object", `"event"`, Message{Malformed: "event: "}},
		{"dry", strings.Replace(event, "aws.cloudwatch", "firstline.canary", 1), Message{Malformed: "event.source: it is no alarm's event"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := read(queued("m", tt.body, sent))
			if !strings.HasPrefix(got.Malformed, tt.want.Malformed) {
				t.Errorf("got %q, want %q", got.Malformed, tt.want.Malformed)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Message{}, "ID", "Body", "SentAt", "Code", "Reason", "Malformed"), cmpopts.IgnoreUnexported(Message{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	// SQS may hand out a message without attributes.
	if got := read(sqstypes.Message{}); got.Malformed == "" || got.Code != "" || !got.SentAt.IsZero() {
		t.Errorf("%+v", got)
	}
}

func TestReplay(t *testing.T) {
	down := errors.New("down")
	for _, tt := range []struct {
		name    string
		body    string
		p       *played
		want    Outcome
		err     error
		started int
		deleted int
	}{
		{name: "started", body: event, p: &played{}, want: Started, started: 1, deleted: 1},
		{
			name: "started before", body: event, want: StartedBefore, deleted: 1,
			p: &played{startErr: map[string]error{"redrive-m": fmt.Errorf("start: %w", &sfntypes.ExecutionAlreadyExists{})}},
		},
		{name: "not started", body: event, p: &played{startErr: map[string]error{"redrive-m": down}}, want: Kept, err: down},
		{name: "not deleted", body: event, p: &played{refuse: map[string]error{"delete": down}}, want: NotDeleted, err: down, started: 1},
		{name: "malformed", body: "{}", p: &played{}, want: Kept, err: cmpopts.AnyError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := queue(tt.p).Replay(t.Context(), read(queued("m", tt.body, sent)))
			if got != tt.want || !cmp.Equal(tt.err, err, cmpopts.EquateErrors()) {
				t.Errorf("got %q, %v, want %q, %v", got, err, tt.want, tt.err)
			}
			if len(tt.p.started) != tt.started || len(tt.p.deleted) != tt.deleted {
				t.Errorf("started %v, deleted %v", tt.p.started, tt.p.deleted)
			}
			if tt.started > 0 && tt.p.started["redrive-m"] != "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline "+event {
				t.Errorf("started %v", tt.p.started)
			}
			if tt.deleted > 0 && tt.p.deleted[0] != "https://sqs/firstline-dead-letter: receipt of m" {
				t.Errorf("deleted %v", tt.p.deleted)
			}
		})
	}
}

func TestPeculiar(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{&sfntypes.InvalidExecutionInput{}, true},
		{fmt.Errorf("start: %w", &sfntypes.InvalidName{}), true},
		{&sfntypes.StateMachineDoesNotExist{}, false},
		{errors.New("down"), false},
	} {
		if got := Peculiar(tt.err); got != tt.want {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
}

func TestRelease(t *testing.T) {
	var all []Message
	for n := range 12 {
		all = append(all, read(queued(fmt.Sprintf("m%02d", n), event, sent)))
	}
	p := &played{}
	if err := queue(p).Release(t.Context(), all); err != nil || len(p.released) != 12 || p.released[11] != "receipt of m11 0" {
		t.Errorf("%v, %v", p.released, err)
	}
	// Those that do not come back keep none of the others.
	p = &played{refuse: map[string]error{"receipt of m03": errors.New("it has expired")}}
	if err := queue(p).Release(t.Context(), all); err == nil || err.Error() != "ReceiptHandleIsInvalid: it has expired" || len(p.released) != 11 {
		t.Errorf("%v, %v", p.released, err)
	}
	p = &played{refuse: map[string]error{"release": errors.New("down")}}
	if err := queue(p).Release(t.Context(), all); err == nil || err.Error() != "down\ndown" {
		t.Errorf("got %v", err)
	}
	if err := queue(&played{}).Release(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
