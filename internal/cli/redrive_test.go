package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/deadletter"
	"firstline/internal/deployed"
)

// lying is a dead-letter queue.
type lying struct {
	all        []deadletter.Message
	more       bool
	receiveErr error
	// replays are the errors of Replay by id; those of "delete ID" come after
	// the start.
	replays    map[string]error
	releaseErr error

	replayed, released []string
}

func (q *lying) Receive(context.Context) ([]deadletter.Message, bool, error) {
	return q.all, q.more, q.receiveErr
}

func (q *lying) Replay(_ context.Context, m deadletter.Message) (deadletter.Outcome, error) {
	q.replayed = append(q.replayed, m.ID)
	if err := q.replays["delete "+m.ID]; err != nil {
		return deadletter.NotDeleted, err
	}
	if err := q.replays[m.ID]; err != nil {
		return deadletter.Kept, err
	}
	return deadletter.Started, nil
}

func (q *lying) Release(ctx context.Context, all []deadletter.Message) error {
	for _, m := range all {
		q.released = append(q.released, m.ID)
	}
	return errors.Join(ctx.Err(), q.releaseErr)
}

func redriverOf(world map[string]*lying) *redriver {
	return &redriver{queue: func(r deployed.Region) (letters, error) {
		if q, ok := world[r.Region]; ok {
			return q, nil
		}
		return nil, errors.New("only a part of the region is deployed")
	}}
}

// letterOf is a message in a queue.
func letterOf(id, instance string) deadletter.Message {
	return deadletter.Message{
		ID: id, Alarm: "firstline-alarm-" + instance + "-cpu", InstanceID: instance, At: noon.Add(-2 * time.Hour), SentAt: noon.Add(-time.Hour),
		Code: "AccessDeniedException", Reason: "not authorized",
	}
}

// junk is a message that is no alarm's event.
var junk = deadletter.Message{ID: "junk", SentAt: noon, Malformed: "its body is no alarm's event: \x1b[2J"}

func TestRedrive(t *testing.T) {
	d := deployment{regions: two}
	var asked string
	yes := func(_ context.Context, question string) error { asked = question; return nil }
	for _, tt := range []struct {
		name            string
		europe, america *lying
		ask             func(context.Context, string) error
		text, err       string
		replayed        string // of Europe
		released        string // of Europe
		asks            string // "" where it does not matter
	}{
		{
			name:   "all are started",
			europe: &lying{all: []deadletter.Message{letterOf("m1", "i-0a1b2c3d"), letterOf("m2", "i-1a1b2c3d")}}, america: &lying{all: []deadletter.Message{{ID: "m3", Alarm: "other"}}},
			text: `REGION     TIME                  INSTANCE    GIVEN UP
    ALARM, WHY
eu-west-1  2026-11-23T10:00:00Z  i-0a1b2c3d  2026-11-23T11:00:00Z
    firstline-alarm-i-0a1b2c3d-cpu: AccessDeniedException: not authorized
eu-west-1  2026-11-23T10:00:00Z  i-1a1b2c3d  2026-11-23T11:00:00Z
    firstline-alarm-i-1a1b2c3d-cpu: AccessDeniedException: not authorized
us-east-1  -                     -           -
    other: no reason given

REGION     INSTANCE    RESULT   EXECUTION
eu-west-1  i-0a1b2c3d  started  redrive-m1
eu-west-1  i-1a1b2c3d  started  redrive-m2
us-east-1  -           started  redrive-m3
`,
			replayed: "m1 m2",
			asks:     "\nStart 3 incidents?",
		},
		{
			name: "nothing there", europe: &lying{}, america: &lying{},
			text: "nothing lies in the dead-letter queue of eu-west-1, us-east-1\n",
		},
		{
			name: "only what is malformed", europe: &lying{all: []deadletter.Message{junk}}, america: &lying{},
			text:     "eu-west-1: the message junk of 2026-11-23T12:00:00Z stays in the queue: its body is no alarm's event: [2J\n",
			err:      "still in the queue: 1 message, see above",
			released: "junk",
		},
		{
			name: "one cannot be started", europe: &lying{
				all: []deadletter.Message{letterOf("m1", "i-0a1b2c3d"), junk, letterOf("m2", "i-1a1b2c3d"), letterOf("m3", "i-0a1b2c3d")}, replays: map[string]error{"m2": denied},
			}, america: &lying{},
			text: `REGION     TIME                  INSTANCE    GIVEN UP
    ALARM, WHY
eu-west-1  2026-11-23T10:00:00Z  i-0a1b2c3d  2026-11-23T11:00:00Z
    firstline-alarm-i-0a1b2c3d-cpu: AccessDeniedException: not authorized
eu-west-1  2026-11-23T10:00:00Z  i-1a1b2c3d  2026-11-23T11:00:00Z
    firstline-alarm-i-1a1b2c3d-cpu: AccessDeniedException: not authorized
eu-west-1  2026-11-23T10:00:00Z  i-0a1b2c3d  2026-11-23T11:00:00Z
    firstline-alarm-i-0a1b2c3d-cpu: AccessDeniedException: not authorized
eu-west-1: the message junk of 2026-11-23T12:00:00Z stays in the queue: its body is no alarm's event: [2J

REGION     INSTANCE    RESULT   EXECUTION
eu-west-1  i-0a1b2c3d  started  redrive-m1
eu-west-1  i-1a1b2c3d  kept     -
eu-west-1  i-0a1b2c3d  kept     -

eu-west-1: AccessDeniedException: not you
eu-west-1: not tried, since another one failed: AccessDeniedException: not you
`,
			err:      "still in the queue: 3 messages, see above",
			replayed: "m1 m2",
			released: "junk m2 m3",
		},
		{
			name:   "one cannot be deleted",
			europe: &lying{all: []deadletter.Message{letterOf("m1", "i-0a1b2c3d")}, replays: map[string]error{"delete m1": denied}}, america: &lying{},
			text: `REGION     TIME                  INSTANCE    GIVEN UP
    ALARM, WHY
eu-west-1  2026-11-23T10:00:00Z  i-0a1b2c3d  2026-11-23T11:00:00Z
    firstline-alarm-i-0a1b2c3d-cpu: AccessDeniedException: not authorized

REGION     INSTANCE    RESULT                EXECUTION
eu-west-1  i-0a1b2c3d  started, not deleted  redrive-m1

eu-west-1: AccessDeniedException: not you
`,
			err:      "still in the queue: 1 message, see above",
			replayed: "m1",
			released: "m1",
		},
		{
			name: "not agreed to", europe: &lying{all: []deadletter.Message{letterOf("m1", "i-0a1b2c3d")}}, america: &lying{},
			ask: func(context.Context, string) error { return errors.New("not confirmed: nothing was changed") },
			text: `REGION     TIME                  INSTANCE    GIVEN UP
    ALARM, WHY
eu-west-1  2026-11-23T10:00:00Z  i-0a1b2c3d  2026-11-23T11:00:00Z
    firstline-alarm-i-0a1b2c3d-cpu: AccessDeniedException: not authorized
`,
			err:      "not confirmed: nothing was changed",
			released: "m1",
		},
		{
			name: "a region does not answer, and one has more", europe: &lying{all: []deadletter.Message{letterOf("m1", "i-0a1b2c3d")}, more: true}, america: &lying{receiveErr: denied},
			text: `REGION     TIME                  INSTANCE    GIVEN UP
    ALARM, WHY
eu-west-1  2026-11-23T10:00:00Z  i-0a1b2c3d  2026-11-23T11:00:00Z
    firstline-alarm-i-0a1b2c3d-cpu: AccessDeniedException: not authorized
eu-west-1: these are the first 1000, there may be more: run this again

REGION     INSTANCE    RESULT   EXECUTION
eu-west-1  i-0a1b2c3d  started  redrive-m1

us-east-1: AccessDeniedException: not you
`,
			err:      "there may be more in the queue of eu-west-1: run this again\nthe queue could not be read in us-east-1: see above",
			replayed: "m1",
		},
		{
			name: "nothing where a region answers", europe: &lying{}, america: nil,
			text: "nothing lies in the dead-letter queue of eu-west-1\n\nus-east-1: only a part of the region is deployed\n",
			err:  "the queue could not be read in us-east-1: see above",
		},
		{
			name: "not handed back", europe: &lying{all: []deadletter.Message{junk}, releaseErr: denied}, america: &lying{},
			text:     "eu-west-1: the message junk of 2026-11-23T12:00:00Z stays in the queue: its body is no alarm's event: [2J\n",
			err:      "still in the queue: 1 message, see above\neu-west-1: what stays in the queue is hidden from others for 10m: AccessDeniedException: not you",
			released: "junk",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			world := map[string]*lying{"eu-west-1": tt.europe}
			if tt.america != nil {
				world["us-east-1"] = tt.america
			}
			asked = ""
			ask := tt.ask
			if ask == nil {
				ask = yes
			}
			text, err := printed(t, func(w *bytes.Buffer) error {
				_, err := redriverOf(world).redrive(t.Context(), d, w, ask)
				return err
			})
			if diff := cmp.Diff(tt.text, text); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err == nil && tt.err != "" || err != nil && err.Error() != tt.err {
				t.Errorf("got %v, want %q", err, tt.err)
			}
			if got := strings.Join(tt.europe.replayed, " "); got != tt.replayed {
				t.Errorf("replayed %s, want %s", got, tt.replayed)
			}
			if got := strings.Join(tt.europe.released, " "); got != tt.released {
				t.Errorf("released %s, want %s", got, tt.released)
			}
			if tt.asks != "" && asked != tt.asks {
				t.Errorf("asked %q, want %q", asked, tt.asks)
			}
			if tt.ask == nil && asked != "" && tt.replayed == "" {
				t.Errorf("asked %q for nothing", asked)
			}
		})
	}
}

// Whatever ends it, what was received is handed back.
func TestRedriveInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	q := &lying{all: []deadletter.Message{letterOf("m1", "i-0a1b2c3d"), letterOf("m2", "i-1a1b2c3d")}}
	ask := func(ctx context.Context, _ string) error { cancel(); return ctx.Err() }
	result, err := redriverOf(map[string]*lying{"eu-west-1": q}).redrive(ctx, deployment{regions: two[:1]}, io.Discard, ask)
	if !errors.Is(err, context.Canceled) || !slices.Equal(q.released, []string{"m1", "m2"}) || len(q.replayed) != 0 {
		t.Errorf("%v: released %v, replayed %v", err, q.released, q.replayed)
	}
	for _, m := range result.Messages {
		if m.Result != deadletter.Kept {
			t.Errorf("%+v", m)
		}
	}
	// Between two messages.
	ctx, cancel = context.WithCancel(t.Context())
	q.released = nil
	stop := &stopping{lying: q, stop: cancel}
	r := &redriver{queue: func(deployed.Region) (letters, error) { return stop, nil }}
	result, err = r.redrive(ctx, deployment{regions: two[:1]}, io.Discard, func(context.Context, string) error { return nil })
	if err == nil || !slices.Equal(q.released, []string{"m2"}) || !slices.Equal(q.replayed, []string{"m1"}) {
		t.Errorf("%v: released %v, replayed %v", err, q.released, q.replayed)
	}
	if got := result.Messages[1]; got.Result != deadletter.Kept || got.Error != "not tried" {
		t.Errorf("%+v", got)
	}
	// The reader is gone.
	q.released = nil
	if _, err := redriverOf(map[string]*lying{"eu-west-1": q}).redrive(t.Context(), deployment{regions: two[:1]}, brokenPipe{}, ask); err == nil || len(q.released) != 2 {
		t.Errorf("%v: released %v", err, q.released)
	}
}

// stopping is interrupted by its first replay.
type stopping struct {
	*lying
	stop context.CancelFunc
}

func (s *stopping) Replay(ctx context.Context, m deadletter.Message) (deadletter.Outcome, error) {
	s.stop()
	return s.lying.Replay(context.WithoutCancel(ctx), m)
}

func TestRedriveJSON(t *testing.T) {
	q := &lying{all: []deadletter.Message{letterOf("m1", "i-0a1b2c3d"), junk}}
	result, _ := redriverOf(map[string]*lying{"eu-west-1": q}).redrive(t.Context(), deployment{regions: two[:1]}, io.Discard, func(context.Context, string) error { return nil })
	var out bytes.Buffer
	if err := printJSON(&out, result); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{
  "command": "redrive",
  "messages": [
    {
      "region": "eu-west-1",
      "message_id": "m1",
      "alarm": "firstline-alarm-i-0a1b2c3d-cpu",
      "instance_id": "i-0a1b2c3d",
      "at": "2026-11-23T10:00:00Z",
      "sent_at": "2026-11-23T11:00:00Z",
      "error_code": "AccessDeniedException",
      "error_message": "not authorized",
      "result": "started",
      "incident_id": "redrive-m1"
    },
    {
      "region": "eu-west-1",
      "message_id": "junk",
      "sent_at": "2026-11-23T12:00:00Z",
      "result": "kept",
      "error": "its body is no alarm's event: \u001b[2J"
    }
  ],
  "errors": []
}
`, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNewRedriver(t *testing.T) {
	half := two[0]
	half.DeadLetterQueueURL = ""
	if _, err := newRedriver(aws.Config{}).queue(half); err == nil || !strings.Contains(err.Error(), "deploy it again") {
		t.Errorf("got %v", err)
	}
	q, err := newRedriver(aws.Config{}).queue(two[0])
	if real, ok := q.(*deadletter.Queue); err != nil || !ok || real.URL != two[0].DeadLetterQueueURL || real.StateMachine != two[0].StateMachineARN {
		t.Errorf("%+v, %v", q, err)
	}
}
