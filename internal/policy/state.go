package policy

import (
	"maps"
	"slices"
	"time"

	"firstline/internal/incident"
)

// Schema is the version of the stored state that this version reads and
// writes. An item of a higher one is neither read nor overwritten.
const Schema = 1

// Instance is what is stored of one instance.
type Instance struct {
	ID   string `dynamodbav:"id"`
	Name string `dynamodbav:"name,omitempty"`

	// Lease.
	Lease Lease `dynamodbav:"lease,omitempty"`

	// What the last looks saw.
	LastLookAt  incident.Millis    `dynamodbav:"last_look_at,omitempty"`
	LastVerdict incident.Verdict   `dynamodbav:"last_verdict,omitempty"`
	LastKind    incident.Kind      `dynamodbav:"last_kind,omitempty"`
	LastRow     int                `dynamodbav:"last_row,omitempty"`
	LastReason  string             `dynamodbav:"last_reason,omitempty"`
	Findings    []incident.Finding `dynamodbav:"findings,omitempty"`
	// HealthyRun counts the healthy looks in a row, HealthySince is the first of
	// them; 0 when the last look was not healthy.
	HealthyRun   int             `dynamodbav:"healthy_run,omitempty"`
	HealthySince incident.Millis `dynamodbav:"healthy_since,omitempty"`
	// UnhealthySince is the first look of those in a row that were not healthy.
	UnhealthySince incident.Millis `dynamodbav:"unhealthy_since,omitempty"`
	// FailedSince is the first look of those in a row whose verdict is failed.
	FailedSince incident.Millis `dynamodbav:"failed_since,omitempty"`
	// Recoveries are the times of healthy looks that came after another one, in
	// the last 2 hours; 3 make it unsteady. A blind look is not counted.
	Recoveries []incident.Millis `dynamodbav:"recoveries,omitempty"`
	// OnlyHereAt is when another region last reached it while we could not.
	OnlyHereAt incident.Millis `dynamodbav:"only_here_at,omitempty"`
	// UnknownToEC2 counts the looks in a row in which EC2 did not know it.
	UnknownToEC2 int `dynamodbav:"unknown_to_ec2,omitempty"`

	// Execution is what the looks of the present execution saw.
	Execution Execution `dynamodbav:"execution,omitempty"`

	// Baseline is, by check, the fingerprint of the settings with which it passed.
	Baseline map[string]string `dynamodbav:"baseline,omitempty"`
	// Reach is, by check and peer ("url@us-east-1"), whether that region reached it
	// when it was last asked about a check that passed: see Unlearned.
	Reach map[string]Reach `dynamodbav:"reach,omitempty"`
	// HostKeyType is the type of the pinned host key, "ssh-rsa", and belongs to the
	// SSH check's baseline; see KnownHostKeyType.
	HostKeyType string `dynamodbav:"host_key_type,omitempty"`
	// HealthCheck is what its Route 53 health check checks, as it was last read.
	HealthCheck *incident.HealthCheck `dynamodbav:"health_check,omitempty"`
	// Reboots are those of the last 7 days, the newest last.
	Reboots []incident.Reboot `dynamodbav:"reboots,omitempty"`

	// Membership is there while it is handed over.
	Membership *Membership `dynamodbav:"membership,omitempty"`
	// LastResolvedAt is when it last left an alert, but for another one, and
	// ResolvedFrom that alert.
	LastResolvedAt incident.Millis `dynamodbav:"last_resolved_at,omitempty"`
	ResolvedFrom   string          `dynamodbav:"resolved_from,omitempty"`
	// OftenPagedAt is when its many reboots were last paged.
	OftenPagedAt incident.Millis `dynamodbav:"often_paged_at,omitempty"`

	// SlackKey is what Slack was last told, SlackAt when.
	SlackKey string          `dynamodbav:"slack_key,omitempty"`
	SlackAt  incident.Millis `dynamodbav:"slack_at,omitempty"`
	// Pause is what the tag said when EC2 was last asked, or what firstline pause
	// wrote; nil: not paused.
	Pause *Pause `dynamodbav:"pause,omitempty"`

	// AtRest: the schedule need not look.
	AtRest bool `dynamodbav:"at_rest,omitempty"`
	// Decided is the newest decision, by which a step that runs twice gets the
	// same answer.
	Decided *Decided `dynamodbav:"decided,omitempty"`
}

// Lease says which execution works on an instance.
type Lease struct {
	Execution string `dynamodbav:"execution,omitempty"`
	Name      string `dynamodbav:"name,omitempty"`
	// StartedAt is when the execution began; Until ends the lease.
	StartedAt incident.Millis `dynamodbav:"started_at,omitempty"`
	Until     incident.Millis `dynamodbav:"until,omitempty"`
	// Version counts the writes of the execution that holds it: a write needs
	// holder and version, so that two invocations of one execution cannot both
	// write. The incident carries it as LeaseVersion.
	Version int64 `dynamodbav:"version,omitempty"`
	// Dry: a dry look holds it.
	Dry bool `dynamodbav:"dry,omitempty"`
}

// Held reports whether somebody else than the execution holds the lease. A dry
// look gives way to a real one.
func (l Lease) Held(by string, dry bool, now incident.Millis) bool {
	return l.Execution != "" && l.Execution != by && now < l.Until && (dry || !l.Dry)
}

// Execution is what the looks of one execution saw.
type Execution struct {
	ID string `dynamodbav:"id,omitempty"`
	// Alarm: an alarm of the instance was in ALARM when the execution began, or
	// has been since.
	Alarm bool `dynamodbav:"alarm,omitempty"`
	Looks int  `dynamodbav:"looks,omitempty"`
	// UnhealthySince, BlindSince and FailedSince (by check) are the first look of
	// those in a row that were not healthy, blind, or failed by that check.
	UnhealthySince incident.Millis            `dynamodbav:"unhealthy_since,omitempty"`
	BlindSince     incident.Millis            `dynamodbav:"blind_since,omitempty"`
	FailedSince    map[string]incident.Millis `dynamodbav:"failed_since,omitempty"`
	// Tries is how often this execution has decided to reboot the instance, and
	// Rebooted says that it has.
	Tries    int  `dynamodbav:"tries,omitempty"`
	Rebooted bool `dynamodbav:"rebooted,omitempty"`
}

// Reach is whether another region reached what a check asks, with the settings of a
// fingerprint.
type Reach struct {
	Print string          `dynamodbav:"print"`
	At    incident.Millis `dynamodbav:"at"`
	OK    bool            `dynamodbav:"ok,omitempty"`
}

// Membership is an instance's place in an alert: it is handed over.
type Membership struct {
	// Alert is the id of the alert.
	Alert    string            `dynamodbav:"alert"`
	Severity incident.Severity `dynamodbav:"severity"`
	Kind     incident.Kind     `dynamodbav:"kind,omitempty"`
	// Failed are the checks that had not passed when it was paged, which must be seen
	// to pass before it is well.
	Failed []string `dynamodbav:"failed,omitempty"`
	// JoinedAt is when it joined, and Confirmed says that a pager has taken the
	// page or note.
	JoinedAt  incident.Millis `dynamodbav:"joined_at"`
	Confirmed bool            `dynamodbav:"confirmed,omitempty"`
	// ByNote: it joined by a note, and nobody was woken on its account.
	ByNote bool `dynamodbav:"by_note,omitempty"`
	// Unsteady: it has recovered again and again since or shortly before.
	Unsteady bool `dynamodbav:"unsteady,omitempty"`
	// LongWell: it has been well for 30 minutes since the page.
	LongWell bool `dynamodbav:"long_well,omitempty"`
	// AgainAt is when the alert was told that it is healthy again.
	AgainAt incident.Millis `dynamodbav:"again_at,omitempty"`
	// Situation is what it was paged for.
	Situation string `dynamodbav:"situation,omitempty"`
	// HandedBackBy is who has ended the hand-over: the next look takes it out of its
	// alert.
	HandedBackBy string `dynamodbav:"handed_back_by,omitempty"`
}

// Decided is a decision under its execution and look.
type Decided struct {
	Execution string `dynamodbav:"execution"`
	Look      int    `dynamodbav:"look"`
	// Decision is the JSON of the incident.Decision.
	Decision string `dynamodbav:"decision"`
}

// Region is what is stored of all instances of a region together.
type Region struct {
	// Alerts are those that have members or are to be resolved, by id.
	Alerts map[string]Alert `dynamodbav:"alerts,omitempty"`
	// BreakerResetAt is when the breaker's last member was well, or firstline
	// resume closed it: only what happened since then opens it again.
	BreakerResetAt incident.Millis `dynamodbav:"breaker_reset_at,omitempty"`
	// Reboots are those of the last 24 hours, the newest last.
	Reboots []RegionReboot `dynamodbav:"reboots,omitempty"`
	// Silent is when instances last fell silent, of the last 10 minutes.
	Silent map[string]incident.Millis `dynamodbav:"silent,omitempty"`
	// Pause holds for all instances.
	Pause *Pause `dynamodbav:"pause,omitempty"`
	// Hours are by alias the last pages of alerts that are the hour's, for pagers that do
	// not deduplicate.
	Hours map[string]Hour `dynamodbav:"hours,omitempty"`
	// CoverageAt is when what is watched was last compared with what is.
	CoverageAt incident.Millis `dynamodbav:"coverage_at,omitempty"`
	Heartbeat  Heartbeat       `dynamodbav:"heartbeat,omitempty"`
}

// Heartbeat is what became of the pings of the heartbeat outside of AWS.
type Heartbeat struct {
	// PingedAt is when its service was last told that all is well; 0: never.
	PingedAt incident.Millis `json:"pinged_at,omitempty"`
	// Failure is why it was not told so since then, and FailedAt when that began; empty
	// if it was.
	Failure  string          `json:"failure,omitempty"`
	FailedAt incident.Millis `json:"failed_at,omitempty"`
}

// Hour is who pages, or has paged, under an alias that is the hour's.
type Hour struct {
	Execution string          `dynamodbav:"execution,omitempty"`
	At        incident.Millis `dynamodbav:"at,omitempty"`
	Told      bool            `dynamodbav:"told,omitempty"`
}

// TakeHour reserves the page under an alias for an execution, or keeps that it was told.
// It reports whether another execution pages under that alias, or one has.
func (r *Region) TakeHour(alias, execution string, told bool, now incident.Millis) (taken bool) {
	if h := r.Hours[alias]; !told && (h.Told || h.Execution != execution && h.At > 0 && now.Sub(h.At) < waking) {
		return true
	}
	if r.Hours == nil {
		r.Hours = map[string]Hour{}
	}
	maps.DeleteFunc(r.Hours, func(_ string, h Hour) bool { return now.Sub(h.At) >= 2*hourly })
	r.Hours[alias] = Hour{Execution: execution, At: now, Told: told}
	return false
}

// Alert is an alert at a pager. It keeps its id while it is paged again: each
// time it wakes somebody it has a new alias.
type Alert struct {
	// Key is the instance's id, the cause ("url/attention"), or KeyBreaker.
	Key string `dynamodbav:"key"`
	// Alias is its name at the pager now, and Wake counts its aliases, from 1.
	Alias string `dynamodbav:"alias"`
	Wake  int    `dynamodbav:"wake"`
	// Members are the instances in it, and when they joined. An alert without
	// members is to be resolved.
	Members  map[string]incident.Millis `dynamodbav:"members,omitempty"`
	OpenedAt incident.Millis            `dynamodbav:"opened_at"`
	// LastWakeAt is when a pager last took a page of it; 0 before.
	LastWakeAt incident.Millis `dynamodbav:"last_wake_at,omitempty"`
	// WakingAt is when an instance began to page it under its present alias.
	WakingAt incident.Millis `dynamodbav:"waking_at,omitempty"`
	// NoteAt is when it last got its hourly note.
	NoteAt incident.Millis `dynamodbav:"note_at,omitempty"`
	// JoinedByNoteAt is when an instance last joined it by a note.
	JoinedByNoteAt incident.Millis `dynamodbav:"joined_by_note_at,omitempty"`
	// Pager is the pager that has taken it; empty before.
	Pager string `dynamodbav:"pager,omitempty"`
	// ClosedAt is when a person was seen to have closed it, for all its members.
	ClosedAt incident.Millis  `dynamodbav:"closed_at,omitempty"`
	Thread   *incident.Thread `dynamodbav:"thread,omitempty"`
	// MentionedAt is when Slack took a page of it, under its present alias, and
	// mentioned somebody.
	MentionedAt incident.Millis `dynamodbav:"mentioned_at,omitempty"`
	// Why says why the breaker opened.
	Why string `dynamodbav:"why,omitempty"`
	// Old are its earlier aliases, which are to be closed with a pointer to the
	// present one.
	Old []OldAlias `dynamodbav:"old,omitempty"`
	// EndedAt is when its last member left, and Ended says why; 0 before.
	EndedAt incident.Millis `dynamodbav:"ended_at,omitempty"`
	Ended   string          `dynamodbav:"ended,omitempty"`
	// ReplacedBy is the alias of the alert to which its last member went.
	ReplacedBy string `dynamodbav:"replaced_by,omitempty"`
}

// OldAlias is an alias under which an alert was paged before.
type OldAlias struct {
	Alias string `dynamodbav:"alias"`
	Pager string `dynamodbav:"pager,omitempty"`
}

// KeyBreaker is the key of the breaker's alert.
const KeyBreaker = "breaker"

// KeyVantage is the key of the alert about those that only our own region cannot reach.
const KeyVantage = "vantage/" + string(incident.Contradicted)

// KeyHeld is the key of the alert about those that are still down after a person
// closed the breaker's. It stops no reboots.
const KeyHeld = "held"

// RegionReboot is one reboot as the region knows it.
type RegionReboot struct {
	Instance  string          `dynamodbav:"instance"`
	Execution string          `dynamodbav:"execution"`
	At        incident.Millis `dynamodbav:"at"`
	Outcome   string          `dynamodbav:"outcome,omitempty"`
}

// Pause is a time in which nothing is rebooted and nobody is paged.
type Pause struct {
	Until incident.Millis `dynamodbav:"until"`
	// By is who asked for it, where that is known.
	By string `dynamodbav:"by,omitempty"`
}

// EndsAfter returns when the pause ends; 0 where it does not last beyond now, or
// there is none.
func (p *Pause) EndsAfter(now incident.Millis) incident.Millis {
	if p == nil || p.Until <= now {
		return 0
	}
	return p.Until
}

// State is the stored state that one decision is made on, and that it changes.
type State struct {
	Instance Instance
	Region   Region
}

// BreakerOpen reports whether the breaker is open: its alert has members, and
// no person has closed it.
func (r *Region) BreakerOpen() bool { return r.openAlert(KeyBreaker) != "" }

// openAlert returns the id of the newest alert of a key that has members and
// that no person has closed, or "".
func (r *Region) openAlert(key string) (id string) {
	for other, a := range r.Alerts {
		if a.Key != key || len(a.Members) == 0 || a.ClosedAt != 0 {
			continue
		}
		if newest := r.Alerts[id]; id == "" || a.OpenedAt > newest.OpenedAt || a.OpenedAt == newest.OpenedAt && other > id {
			id = other
		}
	}
	return id
}

// Ref describes an alert for messages and pagers; nil for an unknown id.
func (r *Region) Ref(id string) *incident.AlertRef {
	a, ok := r.Alerts[id]
	if !ok {
		return nil
	}
	return &incident.AlertRef{
		ID: id, Key: a.Key, Alias: a.Alias, Pager: a.Pager, OpenedAt: a.OpenedAt, Thread: a.Thread, MentionedAt: a.MentionedAt, Why: a.Why,
		Members: slices.Sorted(maps.Keys(a.Members)), ReplacedBy: a.ReplacedBy, Ended: a.Ended,
	}
}

// ToResolve are the aliases that are to be closed at their pagers: those of
// alerts without members, and earlier ones of alerts that were paged again.
func (r *Region) ToResolve() (refs []incident.AlertRef) {
	for _, id := range slices.Sorted(maps.Keys(r.Alerts)) {
		a := r.Alerts[id]
		for _, old := range a.Old {
			ref := *r.Ref(id)
			ref.Alias, ref.Pager, ref.ReplacedBy = old.Alias, old.Pager, a.Alias
			refs = append(refs, ref)
		}
		if len(a.Members) == 0 {
			refs = append(refs, *r.Ref(id))
		}
	}
	return refs
}

// lastReboot returns the newest reboot, or nil.
func (i *Instance) lastReboot() *incident.Reboot {
	if len(i.Reboots) == 0 {
		return nil
	}
	return &i.Reboots[len(i.Reboots)-1]
}

// openReboot returns the newest reboot if its outcome is open, or decided and
// not told; else nil.
func (i *Instance) openReboot() *incident.Reboot {
	r := i.lastReboot()
	if r == nil || r.Request == incident.RequestRefused || r.Outcome != "" {
		return nil
	}
	return r
}

// reboots counts the reboots since a time.
func (i *Instance) reboots(since incident.Millis) (n int) {
	for _, r := range i.Reboots {
		if r.At > since && r.Request != incident.RequestRefused {
			n++
		}
	}
	return n
}

// Due reports whether the schedule has to look at an instance: its alarm is in
// ALARM, or it is not at rest.
func Due(i *Instance, alarm bool) bool { return alarm || !i.AtRest }

// Ages that bound what is kept.
const (
	keepReboots       = 7 * 24 * time.Hour
	keepRegionReboots = 24 * time.Hour
	keepSilent        = 10 * time.Minute
	keepRecoveries    = 2 * time.Hour
)
