// Package incident holds what travels through the state machine: one incident,
// its findings, its settings, and the event that started it. It imports nothing
// of ours.
package incident

import (
	"encoding/json"
	"time"
)

// Incident is the state of one execution. Every step of an incident takes it
// and returns it.
type Incident struct {
	InstanceID string `json:"instance_id,omitempty"`
	// Name is the instance's tag Name, where it has one.
	Name      string `json:"name,omitempty"`
	Region    string `json:"region,omitempty"`
	AccountID string `json:"account_id,omitempty"`
	// Trigger is what started the execution: one of the Trigger constants.
	Trigger string `json:"trigger,omitempty"`
	// Dry: the policy decides, and what it decides is recorded in Suppressed
	// instead of being done. The source of the event decides it, and nothing else.
	Dry bool `json:"dry,omitempty"`
	// Alarm is the alarm that started the incident or is in ALARM since; nil
	// when no alarm is known to be.
	Alarm     *Alarm    `json:"alarm,omitempty"`
	Execution Execution `json:"execution"`
	Settings  *Settings `json:"settings,omitempty"`
	// LeaseVersion is the version of the instance's item that this execution
	// wrote last; a write needs holder and version.
	LeaseVersion int64 `json:"lease_version,omitempty"`
	// Look is the number of the look under way, from 1.
	Look int `json:"look,omitempty"`
	// Findings are those of this look.
	Findings []Finding `json:"findings,omitempty"`
	// Next is the word on which the state machine chooses, and WaitSeconds what
	// its Wait reads, whole and 1 to 3,600.
	Next        string `json:"next,omitempty"`
	WaitSeconds int    `json:"wait_seconds,omitempty"`
	// Decision is the newest decision; nil before the first.
	Decision *Decision `json:"decision,omitempty"`
	// Told is true once a pager or Slack has taken what had to be said.
	Told bool `json:"told,omitempty"`
	// Paged says which pager took a page or a note, and under which alias.
	Paged *Paged `json:"paged,omitempty"`
	// Thread is where Slack was told.
	Thread *Thread `json:"thread,omitempty"`
	// RebootedAt is when the instance was last rebooted, within 7 days: Route 53's
	// observations from before do not count.
	RebootedAt Millis `json:"rebooted_at,omitempty"`
	// HealthCheck is what the instance's Route 53 health check checks, as it was when
	// it was last read; nil: not known.
	HealthCheck *HealthCheck `json:"health_check,omitempty"`
	// HostKeyType is the type of the pinned host key, as the SSH check last saw it;
	// empty: not known.
	HostKeyType string `json:"host_key_type,omitempty"`
	// Refusal is why the step that reboots did not; the next look decides anew.
	Refusal string `json:"refusal,omitempty"`
	// HeldBy is the execution that holds the instance's lease.
	HeldBy *Execution `json:"held_by,omitempty"`
	// Suppressed is what a dry incident left undone, in order.
	Suppressed []Suppressed `json:"suppressed,omitempty"`
	// Caught holds what Step Functions caught, by the name of the step. It is an
	// object or absent, never null.
	Caught map[string]Caught `json:"caught,omitempty"`
	// Event is the event that started the execution, where no incident could be
	// made of it.
	Event json.RawMessage `json:"event,omitempty"`
}

// What starts an execution.
const (
	TriggerAlarm    = "alarm"
	TriggerSchedule = "schedule"
	TriggerPerson   = "person"
	TriggerCanary   = "canary"
)

// Words that the state machine chooses on.
const (
	NextLook           = "look"
	NextWait           = "wait"
	NextReboot         = "reboot"
	NextSlack          = "slack"
	NextPage           = "page"
	NextResolve        = "resolve"
	NextDone           = "done"
	NextHandedOver     = "handed_over"
	NextAlreadyHandled = "already_handled"
)

// Nexts are all words that open and decide leave in Next.
var Nexts = []string{NextLook, NextWait, NextReboot, NextSlack, NextPage, NextResolve, NextDone, NextHandedOver, NextAlreadyHandled}

// Alarm is a CloudWatch alarm.
type Alarm struct {
	Name string `json:"name"`
	// Trigger is the key in the setting alarms; empty where the name tells none.
	Trigger string `json:"trigger,omitempty"`
	// Metric is the name of the metric that it watches.
	Metric string `json:"metric,omitempty"`
	ARN    string `json:"arn,omitempty"`
	Reason string `json:"reason,omitempty"`
	// At is when it went to ALARM.
	At Millis `json:"at,omitempty"`
	// Value is the newest datapoint that made it fire, in the metric's unit.
	Value *float64 `json:"value,omitempty"`
}

// HealthCheck is a Route 53 health check whose checkers ask an endpoint.
type HealthCheck struct {
	ID string `json:"id"`
	// Address is the IP address that they ask. Without one they look up Host.
	Address string `json:"address,omitempty"`
	Host    string `json:"host,omitempty"`
	Port    int    `json:"port,omitempty"`
	ReadAt  Millis `json:"read_at"`
}

// Execution is an execution of the state machine.
type Execution struct {
	ID        string    `json:"id"`
	Name      string    `json:"name,omitempty"`
	StartedAt time.Time `json:"startedAt"`
}

// Caught is an error as Step Functions hands it to a Catch.
type Caught struct {
	Error string `json:"Error"`
	Cause string `json:"Cause,omitempty"`
}

// Paged is the pager that took a page or a note.
type Paged struct {
	Pager string `json:"pager"`
	Alias string `json:"alias"`
	At    Millis `json:"at"`
	// Confirmed: the pager says that it has it, and has not merely accepted it.
	Confirmed bool `json:"confirmed,omitempty"`
}

// Thread is a thread in a channel of Slack.
type Thread struct {
	Channel string `json:"channel"`
	// TS is the timestamp of its first message, which is its name.
	TS string `json:"ts"`
}

// Suppressed is an action that a dry incident left undone.
type Suppressed struct {
	// Action is one of the Next words.
	Action string `json:"action"`
	// Text is the message that was not sent, or what was not done and why.
	Text string `json:"text"`
	At   Millis `json:"at"`
}

// Verdict is what a whole look says.
type Verdict string

// Verdicts.
const (
	VerdictHealthy Verdict = "healthy"
	VerdictFailed  Verdict = "failed"
	VerdictUnknown Verdict = "unknown"
)

// Severity of a page, from the look alone, the lesser first.
type Severity int

// Severities.
const (
	SeverityNone            Severity = 0
	SeverityUnknown         Severity = 1
	SeverityDown            Severity = 2
	SeverityDownAfterReboot Severity = 3
)

// String is the severity's word.
func (s Severity) String() string {
	switch s {
	case SeverityUnknown:
		return "unknown"
	case SeverityDown:
		return "down"
	case SeverityDownAfterReboot:
		return "down-after-reboot"
	}
	return ""
}

// Decision is what the policy decided on one look, and all that a message
// about it needs.
type Decision struct {
	// Look is the look's number and At its time.
	Look    int     `json:"look"`
	At      Millis  `json:"at"`
	Verdict Verdict `json:"verdict"`
	Kind    Kind    `json:"kind,omitempty"`
	// Findings are those of the look after they were weighed against each other.
	Findings []Finding `json:"findings,omitempty"`
	// Row is the row of the policy's table that decided, from 1; 0 where the
	// policy was not asked (see policy.WithoutStore).
	Row int `json:"row"`
	// Next and WaitSeconds are the incident's.
	Next        string `json:"next"`
	WaitSeconds int    `json:"wait_seconds,omitempty"`
	// Reason says in words why.
	Reason string `json:"reason"`
	// Confirming is what follows if the verdict holds: "reboot" or "page".
	Confirming string `json:"confirming,omitempty"`
	// Situation is what a message is about: one of the Situation constants, or
	// empty where nothing is said.
	Situation string   `json:"situation,omitempty"`
	Severity  Severity `json:"severity,omitempty"`
	// Guard is the guard that refused a reboot, one of the policy's Guard constants.
	Guard string `json:"guard,omitempty"`
	// Alert is the alert that is paged, noted or resolved.
	Alert *AlertRef `json:"alert,omitempty"`
	// Note: the alert is open and gets a note, which wakes nobody.
	Note bool `json:"note,omitempty"`
	// Slack says whether Slack is told; SlackKey is what it would say, as a word
	// that changes when the message does.
	Slack    bool   `json:"slack,omitempty"`
	SlackKey string `json:"slack_key,omitempty"`
	// Vantage says from where a failed look saw the instance down.
	Vantage string `json:"vantage,omitempty"`
	// AlarmState is OK, ALARM or INSUFFICIENT_DATA; empty: not known.
	AlarmState string `json:"alarm_state,omitempty"`
	// Reboots are the instance's of the last 7 days, the newest last.
	Reboots []Reboot `json:"reboots,omitempty"`
	// Since is when the present state began: unhealthy, or healthy again.
	Since Millis `json:"since,omitempty"`
	// PausedUntil and PausedBy are there for a pause. PauseScope is "instance"
	// or "region".
	PausedUntil Millis `json:"paused_until,omitempty"`
	PausedBy    string `json:"paused_by,omitempty"`
	PauseScope  string `json:"pause_scope,omitempty"`
	// Unasked are facts that could not be asked, in words.
	Unasked []string `json:"unasked,omitempty"`
}

// Situations that messages are about.
const (
	SituationDownAfterReboot = "down_after_reboot" // rebooted once, still down
	SituationNotRebooted     = "not_rebooted"      // failed, and a guard is against a reboot
	SituationHeldBack        = "held_back"         // failed, and the breaker holds it back
	SituationAttention       = "attention"         // a person has to act, no reboot helps
	SituationContradicted    = "contradicted"      // the findings contradict each other
	SituationOnlyHere        = "only_here"         // another region reaches it, this one does not
	SituationBusy            = "busy"              // alive, and rejects the connection
	SituationBlind           = "blind"             // it cannot be told: the fault is ours
	SituationStore           = "store"             // the table cannot be read or written
	SituationWorse           = "worse"             // worse than the alert that is open or was closed
	SituationDiedAgain       = "died_again"        // well since the page, and down again
	SituationStillDown       = "still_down"        // the quiet after a page has ended
	SituationNotConfirmed    = "not_confirmed"     // the page before it was never confirmed
	SituationNote            = "note"              // an hourly note on an open alert
	SituationRecovered       = "recovered"         // a reboot cured it
	SituationRebootedOften   = "rebooted_often"    // recovered, from the third reboot in 7 days on
	SituationHealthyAgain    = "healthy_again"     // handed over, healthy for 10 minutes
	SituationWell            = "well"              // well: it leaves its alert
	SituationHandedBack      = "handed_back"       // a person has ended its hand-over
	SituationGone            = "gone"              // terminated, or unknown to EC2
	SituationStopped         = "stopped"           // stopped by a person
	SituationUnwatched       = "unwatched"         // no longer watched
	SituationPaused          = "paused"            // paused, and not healthy
	SituationCovered         = "covered"           // a check is blind, another one covers it
	SituationImpaired        = "impaired"          // healthy, while AWS calls its system or a volume impaired
	SituationUnsteady        = "unsteady"          // fails now and then, never confirmed
	SituationCoverage        = "coverage"          // instances that are not watched as they should be
	SituationNoIncident      = "no_incident"       // the event is no incident
	SituationTest            = "test"              // a test of a channel
)

// AlertRef names an alert.
type AlertRef struct {
	// ID is the alert's in the table.
	ID string `json:"id"`
	// Key is the instance's id, the cause ("url/attention"), or "breaker".
	Key string `json:"key"`
	// Alias is the alert's name at the pager.
	Alias string `json:"alias"`
	// Pager is the pager that has it; empty before one has taken it.
	Pager string `json:"pager,omitempty"`
	// Members are the instances in it, sorted.
	Members  []string `json:"members,omitempty"`
	OpenedAt Millis   `json:"opened_at,omitempty"`
	// Thread is where Slack has it.
	Thread *Thread `json:"thread,omitempty"`
	// MentionedAt is when Slack last took a page of it and mentioned somebody.
	MentionedAt Millis `json:"mentioned_at,omitempty"`
	// ReplacedBy is the alias of the alert in whose place this one goes.
	ReplacedBy string `json:"replaced_by,omitempty"`
	// Why says in words why the breaker opened.
	Why string `json:"why,omitempty"`
	// Ended says in words why it ends.
	Ended string `json:"ended,omitempty"`
}

// Reboot is one reboot of an instance.
type Reboot struct {
	At Millis `json:"at"`
	// Execution is the id of the execution that made it, Look the look that led
	// to it.
	Execution string `json:"execution,omitempty"`
	Look      int    `json:"look,omitempty"`
	// Reason is the finding that led to it.
	Reason string `json:"reason,omitempty"`
	// Request is what became of the request: one of the Request constants.
	Request string `json:"request,omitempty"`
	// Outcome is one of the RebootOutcome constants; empty while it is open.
	Outcome string `json:"outcome,omitempty"`
	// Told: its outcome has been told.
	Told bool `json:"told,omitempty"`
	// Failed are the checks that had failed.
	Failed []string `json:"failed,omitempty"`
}

// What became of the request to EC2.
const (
	// RequestReserved: it was about to be made; it may or may not have been.
	RequestReserved = "reserved"
	// RequestAccepted: EC2 accepted it.
	RequestAccepted = "accepted"
	// RequestUnknown: the answer was lost.
	RequestUnknown = "unknown"
	// RequestRefused: EC2 refused it; nothing was rebooted.
	RequestRefused = "refused"
)

// Outcomes of a reboot.
const (
	OutcomeCured    = "cured"
	OutcomeNotCured = "not_cured"
	// OutcomeOverridden: the instance is gone, stopped or unwatched.
	OutcomeOverridden = "overridden"
)
