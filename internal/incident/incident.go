// Package incident holds the state that travels through the state machine:
// one incident, for one alarm of one instance.
package incident

import (
	"encoding/json"
	"time"

	"firstline/checks"
)

// Sources of the events that open an incident. EventBridge lets no account send
// events of an aws. source, so whatever has SourceAlarm comes from CloudWatch,
// and whatever has SourceCanary never does.
const (
	SourceAlarm = "aws.cloudwatch"
	// SourceCanary makes an incident dry.
	SourceCanary = "firstline.canary"
)

// Incident is the state machine's state. Every step takes it and returns it.
type Incident struct {
	InstanceID string `json:"instanceId,omitempty"`
	Region     string `json:"region,omitempty"`
	AccountID  string `json:"accountId,omitempty"`
	// Dry says that this is a rehearsal: the checks run, and what would be done
	// to the instance or told to people is recorded in Suppressed instead. The
	// source of the event decides it, and nothing else; see SourceCanary.
	Dry       bool      `json:"dry,omitempty"`
	Alarm     *Alarm    `json:"alarm,omitempty"`
	Execution Execution `json:"execution"`
	Settings  *Settings `json:"settings,omitempty"`
	// Run is 1 before the reboot and 2 after it.
	Run int `json:"run,omitempty"`
	// Passed is the answer of the last check.
	Passed bool `json:"passed"`
	// LookedAt is when the last check ended, in whole seconds like
	// Reboot.WindowClosesAt, which Step Functions compares it with.
	LookedAt time.Time        `json:"lookedAt,omitzero"`
	Findings []checks.Finding `json:"findings,omitempty"`
	Reboot   *Reboot          `json:"reboot,omitempty"`
	Recovery *Recovery        `json:"recovery,omitempty"`
	// Error is what ended the checks or the reboot, as Step Functions' Catch
	// writes it. SlackError and PageError are the same of the messages.
	Error      *Error `json:"error,omitempty"`
	SlackError *Error `json:"slackError,omitempty"`
	PageError  *Error `json:"pageError,omitempty"`
	// RebootError is the error after which a reboot's outcome is unknown.
	RebootError *Error `json:"rebootError,omitempty"`
	// Suppressed is what a dry incident left undone, in order.
	Suppressed []Suppressed `json:"suppressed,omitempty"`
	// Event is the event that started the execution, where no incident could
	// be made of it.
	Event json.RawMessage `json:"event,omitempty"`

	// extra carries fields that another version of the function wrote.
	extra map[string]json.RawMessage
}

// Alarm is the CloudWatch alarm that rang.
type Alarm struct {
	Name string `json:"name"`
	// Metric is the name of the metric that it watches.
	Metric string    `json:"metric,omitempty"`
	ARN    string    `json:"arn"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// Execution is the execution of the state machine that handles the incident.
type Execution struct {
	ID        string    `json:"id"`
	Name      string    `json:"name,omitempty"`
	StartedAt time.Time `json:"startedAt"`
}

// Reboot is what was done to the instance.
type Reboot struct {
	At time.Time `json:"at"`
	// Reason is the finding that led to it.
	Reason string `json:"reason,omitempty"`
	// Outcome is RebootRequested, RebootUnknown or RebootSuppressed.
	Outcome string `json:"outcome,omitempty"`
	// WindowClosesAt ends the boot window: whole seconds, so that Step
	// Functions can compare it.
	WindowClosesAt time.Time `json:"windowClosesAt,omitzero"`
}

// Outcomes of a reboot request.
const (
	// RebootRequested: EC2 accepted the request.
	RebootRequested = "requested"
	// RebootUnknown: the answer got lost, the reboot may or may not happen.
	RebootUnknown = "unknown"
	// RebootSuppressed: the incident is dry, and EC2 would have accepted it.
	RebootSuppressed = "suppressed"
)

// Suppressed is an action that a dry incident left undone.
type Suppressed struct {
	// Action is ActionReboot, ActionSlack or ActionPage.
	Action string    `json:"action"`
	At     time.Time `json:"at"`
	// Text is the message that was not sent, or what was not done and why.
	Text string `json:"text"`
}

// Actions that a dry incident suppresses.
const (
	ActionReboot = "reboot"
	ActionSlack  = "slack"
	ActionPage   = "page"
)

// Recovery counts the looks after the reboot in which all checks passed.
type Recovery struct {
	// Passes is how many looks in a row passed.
	Passes int `json:"passes"`
	// Since is when the first of them had passed.
	Since *time.Time `json:"since,omitempty"`
}

// Error is an error as Step Functions hands it to a Catch.
type Error struct {
	Error string `json:"Error"`
	Cause string `json:"Cause"`
}

// Settings are one instance's settings, as Terraform writes them to SSM.
type Settings struct {
	URL     checks.URLSettings     `json:"url"`
	Route53 checks.Route53Settings `json:"route53"`
	SSH     checks.SSHSettings     `json:"ssh"`
	Boot    Boot                   `json:"boot"`
}

// Boot is the boot window. Its fields are seconds, not milliseconds, since
// Step Functions' waits read them.
type Boot struct {
	// FirstLookSeconds is the wait between the reboot and the first look.
	FirstLookSeconds int `json:"firstLookSeconds"`
	// IntervalSeconds is the wait between two looks.
	IntervalSeconds int `json:"intervalSeconds"`
	// WindowSeconds after the reboot, looks end.
	WindowSeconds int `json:"windowSeconds"`
}
