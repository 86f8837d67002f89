// Package incident holds the state that travels through the state machine:
// one incident, for one alarm of one instance.
package incident

import (
	"encoding/json"
	"time"

	"firstline/internal/old/checks"
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
	// Name is the instance's tag Name, where it has one.
	Name      string `json:"name,omitempty"`
	Region    string `json:"region,omitempty"`
	AccountID string `json:"accountId,omitempty"`
	// Dry says that this is a rehearsal: the checks run, and what would be done
	// to the instance or told to people is recorded in Suppressed instead. The
	// source of the event decides it, and nothing else; see SourceCanary.
	Dry       bool      `json:"dry,omitempty"`
	Alarm     *Alarm    `json:"alarm,omitempty"`
	Execution Execution `json:"execution"`
	Settings  *Settings `json:"settings,omitempty"`
	// Run is 1 before the reboot, 2 after it, and RunAllClear after a page.
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
	// RebootError is the error that keeps it from being known whether a reboot was
	// made.
	RebootError *Error `json:"rebootError,omitempty"`
	// Suppressed is what a dry incident left undone, in order.
	Suppressed []Suppressed `json:"suppressed,omitempty"`
	// EventAt is when the event was sent that opened the incident. The alarm may
	// have rung long before it: see Alarm.At.
	EventAt time.Time `json:"eventAt,omitzero"`
	// HandledBy is the execution that handles this alarm already: then this one
	// ends at once.
	HandledBy *Execution `json:"handledBy,omitempty"`
	// Paused says that somebody asked for checks only: no reboot and no page.
	Paused *Pause `json:"paused,omitempty"`
	// Refusal is why a reboot that was due was not made.
	Refusal *Refusal `json:"refusal,omitempty"`
	// Told is who has been told so far.
	Told *Told `json:"told,omitempty"`
	// CloseError is the error of the last step, which ends the lease.
	CloseError *Error `json:"closeError,omitempty"`
	// WatchError is the error that kept the all-clear's machine from being started.
	WatchError *Error `json:"watchError,omitempty"`
	// Alert is the pager's alert about the instance, once there is one.
	Alert *Alert `json:"alert,omitempty"`
	// Thread is where Slack was told.
	Thread *Thread `json:"thread,omitempty"`
	// Watch is the state of the machine that gives the all-clear.
	Watch *Watch `json:"watch,omitempty"`
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
	// Value is the newest datapoint that made it ring, in the metric's unit.
	Value *float64 `json:"value,omitempty"`
}

// RunAllClear is the run of the checks that come after a page.
const RunAllClear = 3

// Alert is what a pager keeps open until somebody closes it.
type Alert struct {
	// Alias is its name at the pager, and Pager the pager's.
	Alias string `json:"alias"`
	Pager string `json:"pager,omitempty"`
	// Generation counts the alerts of an instance, from 1.
	Generation int64     `json:"generation,omitempty"`
	OpenedAt   time.Time `json:"openedAt,omitzero"`
	// Outcome is AlertUnknown or AlertDown.
	Outcome string `json:"outcome,omitempty"`
	// Repeats is how many further incidents were added to it as notes.
	Repeats int64 `json:"repeats,omitempty"`
	// Version is the table's, which changes with every repeat.
	Version int64 `json:"version,omitempty"`
}

// Outcomes that an alert is about, the lesser first.
const (
	// AlertUnknown: it could not be told whether the instance is well.
	AlertUnknown = "unknown"
	// AlertDown: a check failed.
	AlertDown = "down"
)

// Thread is a thread in a channel of Slack.
type Thread struct {
	Channel string `json:"channel"`
	// TS is the timestamp of its first message, which is its name.
	TS string `json:"ts"`
}

// Watch is the state of the machine that gives the all-clear.
type Watch struct {
	// Trigger is WatchPage or WatchAlarm.
	Trigger string `json:"trigger"`
	// Until ends it, in whole seconds.
	Until time.Time `json:"until"`
	// EverySeconds is the wait between two looks, and WaitSeconds the next one.
	EverySeconds int `json:"everySeconds"`
	WaitSeconds  int `json:"waitSeconds"`
	// Ended is why it ends: one of the Watch constants below; empty while it goes on.
	Ended string `json:"ended,omitempty"`
}

// What starts a watch.
const (
	WatchPage  = "page"  // somebody was paged
	WatchAlarm = "alarm" // the alarm returned to OK
)

// Ends of a watch.
const (
	WatchCleared   = "cleared"    // the all-clear was given
	WatchClosed    = "closed"     // a person closed the alert
	WatchReplaced  = "replaced"   // another alert took its place
	WatchTakenOver = "taken-over" // a later watch looks after it
	WatchTimeOver  = "time-over"  // not well, and the time is over
	WatchNoAlert   = "no-alert"   // there is nothing to close
)

// Execution is the execution of the state machine that handles the incident.
type Execution struct {
	ID        string    `json:"id"`
	Name      string    `json:"name,omitempty"`
	StartedAt time.Time `json:"startedAt"`
}

// Pause is a time in which an instance is not rebooted and nobody is paged.
type Pause struct {
	Until time.Time `json:"until"`
	// Scope is PauseInstance or PauseRegion.
	Scope string `json:"scope"`
	// By is who asked for it, where that is known.
	By string `json:"by,omitempty"`
}

// What a pause holds for.
const (
	// PauseInstance is set by the instance's tag PauseTag.
	PauseInstance = "instance"
	// PauseRegion is set by the region's switch, in its table.
	PauseRegion = "region"
)

// PauseTag is the tag of an instance whose value is the time until when it is
// paused, RFC 3339, at most MaxPause ahead.
const (
	PauseTag = "firstline:pause"
	MaxPause = 7 * 24 * time.Hour
)

// Refusal is why a reboot that was due was not made. The reason is for people.
type Refusal struct {
	// Guard is one of the Guard constants.
	Guard  string    `json:"guard"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Guards that refuse a reboot.
const (
	// GuardPause: the instance or the region is paused (or its tag is unreadable).
	GuardPause = "pause"
	// GuardFreshness: the event is too old.
	GuardFreshness = "freshness"
	// GuardState: the instance is starting, or AWS has an explanation.
	GuardState = "state"
	// GuardBaseline: the check that failed has never passed with these settings.
	GuardBaseline = "baseline"
	// GuardCoolDown: the last reboot was too short a time ago.
	GuardCoolDown = "cool-down"
	// GuardBudget: too many reboots of this instance in 24 hours.
	GuardBudget = "budget"
	// GuardBrake: too many reboots in this region.
	GuardBrake = "brake"
	// GuardLease: the incident's lease has run out, or another one has it.
	GuardLease = "lease"
)

// BrakeNever is the reason of GuardBrake where it is set to 0.
const BrakeNever = "the region's brake (brake.in_flight, brake.per_hour) is set to 0: no instance is ever rebooted"

// Told is when who was told. In a dry incident it is when it would have been.
type Told struct {
	Slack *time.Time `json:"slack,omitempty"`
	Page  *time.Time `json:"page,omitempty"`
	// Noted says that the page was a note on the one that the brake has for its
	// region.
	Noted bool `json:"noted,omitempty"`
}

// Ends of an incident, as its record names them.
const (
	EndOpen        = "open"
	EndAllGood     = "all-good"
	EndRecovered   = "recovered"
	EndPaged       = "paged"
	EndPaused      = "paused"
	EndPageFailed  = "page-failed"
	EndNobodyTold  = "nobody-told"
	EndNoIncident  = "no-incident" // paged, about an event that is no incident
	EndUnconcluded = "unconcluded" // its execution ended without its last step
)

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
	Reboot  RebootSettings         `json:"reboot"`
}

// RebootSettings bound the reboots of one instance.
type RebootSettings struct {
	// CoolDownSeconds is the least time between two reboots, at least the boot
	// window's.
	CoolDownSeconds int `json:"coolDownSeconds"`
	// PerDay is the most reboots in 24 hours; 0 means never.
	PerDay int `json:"perDay"`
	// FreshSeconds is how old an event may be that leads to a reboot.
	FreshSeconds int `json:"freshSeconds"`
	// DryRun has EC2 only say whether it would reboot; messages are sent, and
	// labelled.
	DryRun bool `json:"dryRun"`
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
