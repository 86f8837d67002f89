package handler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/redact"
	"firstline/internal/store"
)

// reconciled is the answer of the step reconcile.
type reconciled struct {
	// InAlarm is of how many instances an alarm is in ALARM.
	InAlarm int     `json:"in_alarm"`
	Started []*look `json:"started"`
	// Skipped are instances that an execution looks after.
	Skipped []*look `json:"skipped"`
	// Resolved are aliases of alerts.
	Resolved []string `json:"resolved"`
}

// look is a look that is due at an instance.
type look struct {
	Instance string `json:"instance"`
	// Execution is the name of the one that holds the lease, or of a new one.
	Execution string `json:"execution"`

	lease   policy.Lease
	skipped bool
}

// leftoversTime bounds resolving what is left over.
const leftoversTime = 10 * time.Second

// reconcile starts a look for each instance of which an alarm is in ALARM or which is
// not at rest, unless an execution looks after it. A lost event, or an execution
// that died, so costs minutes. It does all that can be done before it returns an
// error of what could not, and tells the heartbeat how it ended.
func reconcile(ctx context.Context, h *Handler, _ request) (any, error) {
	now := time.Now()
	r := &reconciling{
		h: h, now: now,
		inc: &incident.Incident{
			Region: h.Region, Trigger: incident.TriggerSchedule,
			Decision: &incident.Decision{At: incident.At(now), Next: incident.NextResolve},
		},
	}
	err := r.all(ctx)
	r.ping(ctx, err)
	if err == nil {
		h.count(ctx, metricReconciles, r.inc)
		r.tellCoverage(ctx)
	}
	return &r.answer, err
}

func (r *reconciling) all(ctx context.Context) error {
	h := r.h
	machine, err := arn.Parse(h.StateMachineARN)
	if err != nil || h.AlarmPrefix == "" {
		return fault.New(fault.InvalidInput, "reconcile", "the function's environment has no valid FIRSTLINE_STATE_MACHINE_ARN or no FIRSTLINE_ALARM_PREFIX; apply the Terraform root again")
	}
	r.inc.AccountID = machine.AccountID
	listing, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if r.alarms, err = h.inAlarm(listing); err != nil {
		r.fail("alarms", err)
	} else {
		r.answer.InAlarm = len(r.alarms)
		h.measure(ctx, metricAlarms, int64(len(r.alarms)), "Count", r.inc)
	}
	if r.readInstances(ctx) {
		r.readPauses(ctx)
		r.startDue(ctx)
	}
	r.resolveLeftovers(ctx)
	if err := joined("", r.failed); err != nil {
		return fault.New(fault.Unavailable, "reconcile", "%w", err)
	}
	return nil
}

// reconciling is one run of reconcile.
type reconciling struct {
	h   *Handler
	now time.Time
	// inc is what is known of the region, for what concerns no instance.
	inc *incident.Incident
	// alarms are those in ALARM, the first one per instance.
	alarms map[string]*incident.Alarm
	stored *store.Listing
	failed []error
	answer reconciled
}

func (r *reconciling) fail(what string, err error) {
	r.failed = append(r.failed, fault.New(fault.KindOf(err), what, "%w", err))
}

// readInstances reads what the table has of all instances. What cannot be read
// pages somebody: nothing is looked after.
func (r *reconciling) readInstances(ctx context.Context) bool {
	l, err := r.h.Table.Instances(ctx)
	if err != nil {
		l, err = r.h.Table.Instances(ctx)
	}
	if err != nil {
		l = &store.Listing{RegionErr: err}
	}
	r.stored = l
	unreadable := l.RegionErr
	if unreadable != nil {
		r.fail("table", unreadable)
	}
	for _, id := range slices.Sorted(maps.Keys(l.Unreadable)) {
		r.fail(id, l.Unreadable[id])
		unreadable = cmp.Or(unreadable, l.Unreadable[id])
		delete(r.alarms, id) // its execution could not read it either
	}
	if unreadable != nil {
		r.pageStore(ctx, unreadable)
	}
	return l.RegionErr == nil
}

// pageStore pages that the table cannot be read. The alias is the hour's: the
// pager deduplicates it, and so does a warm function.
func (r *reconciling) pageStore(ctx context.Context, why error) {
	dec := r.h.withoutPolicy(policy.KeyStore, incident.SituationStore, incident.SeverityDown,
		incident.ClipLine("the table cannot be read, so nothing is looked after: "+redact.Error(why), maxWhy))
	if r.h.pagedStore == dec.Alert.Alias {
		return
	}
	inc := new(*r.inc)
	inc.Decision = &dec
	pagers, err := r.h.Pagers()
	if err == nil && len(pagers) > 0 {
		// Every pager, one after another: nothing else retries this page.
		if _, err = r.h.pageByOne(ctx, pagers, inc, dec); err == nil {
			r.h.pagedStore = dec.Alert.Alias
			r.h.countPage(ctx, inc, dec)
			return
		}
	}
	if err != nil {
		r.fail("page", err)
		inc.Catch("page", caughtOf(err))
	}
	if r.h.slackStore == dec.Alert.Alias {
		return
	}
	if err := tellSlack(ctx, r.h, inc); err != nil {
		r.fail("slack", err)
	} else if inc.Told {
		r.h.slackStore = dec.Alert.Alias
	}
}

// readPauses stores the pauses that tags say, so that a look knows of them while
// EC2 does not answer. A tag that cannot be read is for the look to tell.
func (r *reconciling) readPauses(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	tagged, err := r.h.pausedByTag(ctx, r.now)
	if err != nil {
		r.h.warn(ctx, "cannot read pause tags", "", err)
		return
	}
	now := incident.At(r.now)
	for _, i := range r.stored.Instances {
		tag := tagged[i.ID]
		if tag.PauseErr != "" || tag.Pause.EndsAfter(now) == i.Pause.EndsAfter(now) {
			continue
		}
		if _, err := r.h.Table.Update(ctx, i.ID, func(e *store.Entry) error {
			e.State.Instance.Pause = tag.Pause
			return nil
		}); err != nil {
			r.h.warn(ctx, "cannot store a pause", i.ID, err)
		}
	}
}

// startDue starts an execution for each instance that wants a look and that no
// execution looks after.
func (r *reconciling) startDue(ctx context.Context) {
	var all []*look
	for _, i := range r.stored.Instances {
		if policy.Due(&i, r.alarms[i.ID] != nil) {
			all = append(all, &look{Instance: i.ID, lease: i.Lease})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.alarms)) {
		if !slices.ContainsFunc(r.stored.Instances, func(i policy.Instance) bool { return i.ID == id }) {
			all = append(all, &look{Instance: id})
		}
	}
	for n, err := range sideBySide(ctx, r.h, all, func(l *look) error { return r.start(ctx, l) }) {
		switch l := all[n]; {
		case err != nil:
			r.fail(l.Instance, err)
		case l.skipped:
			r.answer.Skipped = append(r.answer.Skipped, l)
		default:
			r.answer.Started = append(r.answer.Started, l)
		}
	}
}

// start starts a look. Its execution's name is the same for a minute: a schedule
// that is delivered twice starts one.
func (r *reconciling) start(ctx context.Context, l *look) error {
	l.Execution = l.lease.Name
	if l.skipped = l.lease.Held("", false, incident.At(r.now)) && !r.h.ended(ctx, l.Instance, l.lease); l.skipped {
		return nil
	}
	l.Execution = "reconcile-" + l.Instance + "-" + r.now.UTC().Format("20060102T1504")
	input, err := json.Marshal(incident.Look{
		Source: incident.SourceSchedule, DetailType: incident.DetailTypeLook, Account: r.inc.AccountID, Region: r.h.Region,
		Time: r.now.UTC().Truncate(time.Second), Detail: incident.LookDetail{InstanceID: l.Instance, Alarm: r.alarms[l.Instance]},
	})
	if err != nil {
		return fault.New(fault.Internal, "start an execution", "encode the event: %w", err)
	}
	_, err = r.h.StepFunctions().StartExecution(ctx, &sfn.StartExecutionInput{StateMachineArn: &r.h.StateMachineARN, Name: &l.Execution, Input: aws.String(string(input))})
	if _, there := errors.AsType[*sfntypes.ExecutionAlreadyExists](err); there {
		return nil
	}
	return fault.AWS("start an execution", err)
}

// resolveLeftovers closes the alerts that an execution could not and, at the
// begin of each hour, those that the table does not know. Most of the time there
// is none of the latter.
func (r *reconciling) resolveLeftovers(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leftoversTime)
	defer cancel()
	refs := r.stored.Region.ToResolve()
	if r.now.Minute() < incident.MaxReconcileMinutes {
		refs = append(refs, policy.EndedWithoutStore(r.h.aliasPrefix(), incident.At(r.now))...)
	}
	var err error
	if r.answer.Resolved, err = r.h.resolveAll(ctx, r.inc, refs); err != nil {
		r.fail("alerts", err)
	}
}
