package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/spf13/cobra"

	"firstline/internal/deadletter"
	"firstline/internal/deployed"
	"firstline/internal/probe"
)

// letters is the dead-letter queue of a region; see deadletter.Queue.
type letters interface {
	Receive(ctx context.Context) (all []deadletter.Message, more bool, err error)
	Replay(ctx context.Context, m deadletter.Message) (deadletter.Outcome, error)
	Release(ctx context.Context, all []deadletter.Message) error
}

// redriver replays the dead-letter queues.
type redriver struct {
	queue func(deployed.Region) (letters, error)
}

func newRedriver(cfg aws.Config) *redriver {
	return &redriver{queue: func(r deployed.Region) (letters, error) {
		if r.DeadLetterQueueURL == "" || r.StateMachineARN == "" {
			return nil, errors.New("only a part of the region is deployed, without the queue or the state machine: deploy it again")
		}
		cfg := probe.InRegion(cfg, r.Region)
		return &deadletter.Queue{
			SQS: sqs.NewFromConfig(cfg), URL: r.DeadLetterQueueURL,
			States: sfn.NewFromConfig(cfg), StateMachine: r.StateMachineARN,
		}, nil
	}}
}

// redriveResult is what came of redrive.
type redriveResult struct {
	Command  string        `json:"command"`
	Messages []letter      `json:"messages"`
	Errors   []regionError `json:"errors"`
	// More are the regions in whose queues there may be more.
	More []string `json:"more,omitempty"`
}

// letter is a message of a dead-letter queue.
type letter struct {
	Region     string `json:"region"`
	ID         string `json:"message_id"`
	Alarm      string `json:"alarm,omitempty"`
	InstanceID string `json:"instance_id,omitempty"`
	// At is when the alarm went to ALARM.
	At time.Time `json:"at,omitzero"`
	// SentAt is when EventBridge gave up, and Code and Reason why.
	SentAt time.Time `json:"sent_at,omitzero"`
	Code   string    `json:"error_code,omitempty"`
	Reason string    `json:"error_message,omitempty"`
	// Result is one of deadletter's outcomes, and Error why it is not another.
	Result deadletter.Outcome `json:"result"`
	Error  string             `json:"error,omitempty"`
	// Execution is the name of the execution, where there is one: the incident's id.
	Execution string `json:"incident_id,omitempty"`

	message deadletter.Message
}

func newRedrive() *cobra.Command {
	var (
		flags rootFlags
		yes   bool
	)
	c := &cobra.Command{
		Use:   "redrive",
		Short: "Start the incidents of the events in the dead-letter queues",
		Long: `Start the incidents of the events in the dead-letter queues. EventBridge puts an
alarm's event there if it could not start the state machine with it. redrive shows the
events and the reasons, asks once, and starts one incident for each event, also when it
is run twice. It deletes an event from the queue only after its incident has started.
An event that cannot start one stays in the queue and is named: delete it yourself.

The schedule looks at every instance whose alarm is in ALARM, so most of these
instances have been looked at. An incident looks at its instance as it is now,
however old its event is: a healthy one is left alone, and a reboot has to pass all
guards.

Exit codes: 0 nothing is left, 1 something is, or a region did not answer, 2 wrong
usage or nothing deployed, 130 interrupted.`,
		Example: "  firstline redrive --region eu-west-1\n  firstline redrive --yes --json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			d, cfg, err := flags.fleet(c, "redrive")
			if err != nil {
				return err
			}
			out := flags.people(c)
			ask := func(ctx context.Context, question string) error { return confirm(ctx, c.InOrStdin(), out, question) }
			if yes {
				ask = func(context.Context, string) error { return nil }
			}
			result, err := newRedriver(cfg).redrive(c.Context(), d, out, ask)
			if _, wrong := errors.AsType[usageError](err); flags.json && !wrong {
				err = errors.Join(err, printJSON(c.OutOrStdout(), result))
			}
			return errors.Join(c.Context().Err(), err)
		},
	}
	flags.add(c)
	flags.addName(c)
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// releaseTime bounds the release of what was received, whatever has happened.
const releaseTime = 10 * time.Second

// received is what a region's queue held.
type received struct {
	queue letters
	all   []deadletter.Message
	more  bool
}

// redrive replays the queues of the regions, after ask has agreed.
func (r *redriver) redrive(ctx context.Context, d deployment, w io.Writer, ask func(ctx context.Context, question string) error) (result redriveResult, err error) {
	result = redriveResult{Command: "redrive", Messages: []letter{}}
	answers := everywhere(ctx, d.regions, answerTime, func(ctx context.Context, region deployed.Region) (got received, err error) {
		if got.queue, err = r.queue(region); err != nil {
			return got, err
		}
		got.all, got.more, err = got.queue.Receive(ctx)
		return got, err
	})
	result.Errors = troubles(answers)
	events := 0
	queues := map[string]letters{}
	for _, a := range answers {
		queues[a.region.Region] = a.value.queue
		for _, m := range a.value.all {
			result.Messages = append(result.Messages, letter{
				Region: a.region.Region, ID: m.ID, Alarm: m.Alarm, InstanceID: m.InstanceID, At: m.At, SentAt: m.SentAt, Code: m.Code, Reason: m.Reason,
				Result: deadletter.Kept, Error: m.Malformed, message: m,
			})
			if m.Malformed == "" {
				events++
			}
		}
		if a.value.more {
			result.More = append(result.More, a.region.Region)
		}
	}
	// Whatever happens, what stays in a queue is there for everybody again.
	defer func() {
		for _, e := range release(context.WithoutCancel(ctx), d.regions, queues, result) {
			result.Errors = append(result.Errors, e)
			err = errors.Join(err, fmt.Errorf("%s: %s", e.Region, e.Error))
		}
	}()
	if ctx.Err() != nil {
		return result, ctx.Err()
	}
	if err := printLetters(w, result, d); err != nil {
		return result, err
	}
	if events > 0 {
		if err := ask(ctx, fmt.Sprintf("\nStart %s?", count(events, "incident"))); err != nil {
			return result, err
		}
		replay(ctx, d.regions, queues, result)
		if err := printReplayed(w, result); err != nil {
			return result, err
		}
	}
	return result, result.verdict(w)
}

// replay replays what was received, region by region at the same time.
func replay(ctx context.Context, all []deployed.Region, queues map[string]letters, result redriveResult) {
	// What takes longer is there for others again.
	everywhere(ctx, all, deadletter.Hold/2, func(ctx context.Context, r deployed.Region) (none struct{}, _ error) {
		stopped := ""
		for n := range result.Messages {
			// Each region has its own messages.
			l := &result.Messages[n]
			if l.Region != r.Region || l.message.Malformed != "" {
				continue
			}
			if stopped == "" && ctx.Err() != nil {
				stopped = "not tried"
			}
			if l.Error = stopped; stopped != "" {
				continue
			}
			var err error
			if l.Result, err = queues[r.Region].Replay(ctx, l.message); l.Result != deadletter.Kept {
				l.Execution = l.message.Name()
			}
			if err != nil {
				l.Error = inWords(err)
				if !deadletter.Peculiar(err) {
					stopped = "not tried, since another one failed: " + l.Error
				}
			}
		}
		return none, nil
	})
}

// release hands back what was received and is still in a queue, and returns where
// that did not work.
func release(ctx context.Context, all []deployed.Region, queues map[string]letters, result redriveResult) []regionError {
	errs := troubles(everywhere(ctx, all, releaseTime, func(ctx context.Context, r deployed.Region) (none struct{}, _ error) {
		var left []deadletter.Message
		for _, l := range result.Messages {
			if l.Region == r.Region && l.stays() {
				left = append(left, l.message)
			}
		}
		if len(left) == 0 {
			return none, nil
		}
		return none, queues[r.Region].Release(ctx, left)
	}))
	for n := range errs {
		errs[n].Error = fmt.Sprintf("what stays in the queue is hidden from others for %s: %s", brief(deadletter.Hold), errs[n].Error)
	}
	return errs
}

// stays says that a message is still in its queue.
func (l letter) stays() bool { return l.Result == deadletter.Kept || l.Result == deadletter.NotDeleted }

// printLetters prints what lies in the queues.
func printLetters(w io.Writer, result redriveResult, d deployment) error {
	if len(result.Messages) == 0 {
		_, err := fmt.Fprintf(w, "nothing lies in the dead-letter queue of %s\n", d.answered(result.Errors))
		return err
	}
	t := newTable(w)
	rows := 0
	for _, l := range result.Messages {
		if l.message.Malformed != "" {
			continue
		}
		if rows++; rows == 1 {
			_, _ = fmt.Fprintln(t, "REGION\tTIME\tINSTANCE\tGIVEN UP\tALARM, WHY")
		}
		why := clean(l.Code)
		if l.Reason != "" {
			why += ": " + clean(l.Reason)
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s: %s\n", l.Region, stamp(l.At), cmp.Or(clean(l.InstanceID), "-"), stamp(l.SentAt), clean(l.Alarm), cmp.Or(strings.TrimPrefix(why, ": "), "no reason given"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, l := range result.Messages {
		if l.message.Malformed != "" {
			_, _ = fmt.Fprintf(w, "%s: the message %s of %s stays in the queue: %s\n", l.Region, clean(l.ID), stamp(l.SentAt), clean(l.message.Malformed))
		}
	}
	for _, name := range result.More {
		_, _ = fmt.Fprintf(w, "%s: these are the first %d, there may be more: run this again\n", name, deadletter.Most)
	}
	return nil
}

// printReplayed prints what came of each message.
func printReplayed(w io.Writer, result redriveResult) error {
	t := newTable(w)
	_, _ = fmt.Fprintln(t, "\nREGION\tINSTANCE\tRESULT\tEXECUTION")
	for _, l := range result.Messages {
		if l.message.Malformed != "" {
			continue
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", l.Region, cmp.Or(clean(l.InstanceID), "-"), l.Result, cmp.Or(clean(l.Execution), "-"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	said := ""
	for _, l := range result.Messages {
		if line := fmt.Sprintf("%s: %s\n", l.Region, l.Error); l.Error != "" && l.message.Malformed == "" && line != said {
			if said == "" {
				_, _ = fmt.Fprintln(w)
			}
			said = line
			_, _ = io.WriteString(w, line)
		}
	}
	return nil
}

// verdict is an error unless nothing is left in the queues.
func (r redriveResult) verdict(w io.Writer) error {
	left := 0
	for _, l := range r.Messages {
		if l.stays() {
			left++
		}
	}
	err := unanswered(w, r.Errors, "the queue could not be read")
	switch {
	case left > 0:
		return errors.Join(fmt.Errorf("still in the queue: %s, see above", count(left, "message")), err)
	case len(r.More) > 0:
		return errors.Join(fmt.Errorf("there may be more in the queue of %s: run this again", strings.Join(r.More, ", ")), err)
	}
	return err
}
