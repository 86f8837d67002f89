// Package notify tells people: it words messages about an incident and sends
// them to Slack and to pagers.
package notify

import (
	"context"
	"errors"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// Kind is what a message is.
type Kind string

// Kinds of message.
const (
	// KindPage wakes somebody, KindNote is added to an open alert, KindResolve
	// closes one, KindSlack goes to Slack, KindTest shows that a channel works.
	KindPage    Kind = "page"
	KindNote    Kind = "note"
	KindResolve Kind = "resolve"
	KindSlack   Kind = "slack"
	KindTest    Kind = "test"
)

// Message is what somebody is told.
type Message struct {
	Kind Kind
	// Incident is the incident as it stands, never nil, and its Decision what the
	// message is about. One without an instance is an event that is no incident: its Event
	// and Caught say what is known.
	Incident *incident.Incident
	// Alert is the alert that is paged, noted or resolved; Slack may have none.
	Alert incident.AlertRef
	// Deployment is the deployment's name, such as "firstline".
	Deployment string
	// Findings are what keeps instances from being watched, a line each.
	Findings []string
	Now      time.Time
	// Thread is where Slack has this alert's earlier messages; nil: a new one.
	Thread *incident.Thread
	// Mention: Slack takes a page, since no pager has it, and is to wake whom
	// slack.mention names.
	Mention bool
}

// Capabilities are what a pager can do. README.md describes them.
type Capabilities struct {
	Confirms, Readable, Notes, Resolvable, Deduplicates bool
	// Heartbeat: the service can also raise an alert when firstline falls silent.
	Heartbeat bool
	// Priorities are those that an alert can have, the most urgent first; nil: none.
	Priorities []string
	// Title and Text are the most characters that the two parts of an alert may have.
	Title, Text int
}

// Pager wakes somebody.
type Pager interface {
	// Name is its type, such as "opsgenie".
	Name() string
	Capabilities() Capabilities
	// Page makes an alert under the message's alias.
	Page(ctx context.Context, m Message) (Delivery, error)
	// Note adds the message to the alert, and Resolve closes the alert with it.
	// ErrNoAlert is in their error's chain when there is none that is open.
	Note(ctx context.Context, m Message) error
	Resolve(ctx context.Context, m Message) error
	// Open reports whether an alert is open, where the pager is Readable.
	Open(ctx context.Context, alias string) (bool, error)
	// Rehearse reads the secret at its source, has the service take it by a call that
	// tells nobody anything, and returns the text that Page would send. SNS has no secret
	// and no such call.
	Rehearse(ctx context.Context, m Message) (string, error)
	// Test sends a message of KindTest, and takes it back where it can.
	Test(ctx context.Context, m Message) (Delivery, error)
}

// Delivery is what became of a page or a test.
type Delivery struct {
	// Confirmed: the service says that it is done, not merely accepted.
	Confirmed bool
	// Detail is what became of a test, for people.
	Detail string
}

// neverMade is the alias of an alert that is never made: to close it, with the note
// triedIt, tells nobody anything.
const neverMade, triedIt = "firstline/never-made", "firstline has tried its key."

// settle is how long a test waits before it closes its alert: what is not there yet
// cannot be closed.
const settle = 3 * time.Second

// makeAndClose is the Test of a pager that can close an alert. An error after it was
// made names its alias: somebody has to close it.
func makeAndClose(ctx context.Context, who string, m Message,
	page func(context.Context, Message) (Delivery, error), closeIt func(context.Context, Message) (confirmed bool, err error),
) (Delivery, error) {
	made, err := page(ctx, m)
	if err != nil {
		return Delivery{}, err
	}
	_ = pause(ctx, settle) // what follows tells of an ended context
	closed, err := closeIt(ctx, m)
	switch {
	case err != nil:
		return Delivery{}, fault.New(fault.KindOf(err), "test "+who, "the alert %s was made, and may be open: %w", alias(m), err)
	case made.Confirmed && closed:
		return Delivery{Confirmed: true, Detail: who + " made the alert " + alias(m) + " and closed it again"}, nil
	}
	return Delivery{Detail: who + " accepted the alert " + alias(m) + " and the request to close it; it does not tell what became of them"}, nil
}

// ErrNoAlert is in the chain of an error when there is, as far as is known, no
// such open alert: somebody has closed it, or it was never made.
var ErrNoAlert = errors.New("such an alert may not be open")

// ErrDiscarded is in the chain of an error when a service accepted a request and then
// did not carry it out. The error is Unavailable, but another pager is more likely to
// take a page than the same one once more.
var ErrDiscarded = errors.New("its service discarded it")
