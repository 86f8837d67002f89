package handler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
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
	// InAlarm is how many alarms are in ALARM.
	InAlarm  int              `json:"in_alarm"`
	Started  []reconciledItem `json:"started"`
	Skipped  []reconciledItem `json:"skipped"`
	Failed   []reconciledItem `json:"failed"`
	Resolved []string         `json:"resolved"`
}

// reconciledItem is what became of one instance, alarm or question.
type reconciledItem struct {
	Instance  string `json:"instance"`
	Execution string `json:"execution,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

const (
	// listTime bounds reading the alarms, and the tags of paused instances;
	// leftoversTime resolving what is left over.
	listTime, leftoversTime = 6 * time.Second, 10 * time.Second
	// maxNamed bounds how many failures an error names.
	maxNamed = 10
)

// reconcile starts a look for each instance whose alarm is in ALARM or which is
// not at rest, unless an execution looks after it. A lost event, or an execution
// that died, so costs minutes. It does all that can be done before it returns an
// error of what could not.
func reconcile(ctx context.Context, h *Handler, _ request) (any, error) {
	machine, err := arn.Parse(h.StateMachineARN)
	if err != nil || h.AlarmPrefix == "" {
		return nil, fault.New(fault.InvalidInput, "reconcile", "the function's environment has no valid FIRSTLINE_STATE_MACHINE_ARN or no FIRSTLINE_ALARM_PREFIX; apply the Terraform root again")
	}
	r := &reconciling{
		h: h, now: time.Now(), alarms: map[string]*incident.Alarm{},
		inc: &incident.Incident{
			Region: h.Region, AccountID: machine.AccountID, Trigger: incident.TriggerSchedule,
			Decision: &incident.Decision{At: incident.At(time.Now()), Next: incident.NextResolve},
		},
		answer: &reconciled{Started: []reconciledItem{}, Skipped: []reconciledItem{}, Failed: []reconciledItem{}, Resolved: []string{}},
	}
	r.readAlarms(ctx)
	if r.readInstances(ctx) {
		r.readPauses(ctx)
		r.startDue(ctx)
		r.resolveLeftovers(ctx)
	}
	if n := len(r.answer.Failed); n > 0 {
		var why []string
		for _, f := range r.answer.Failed[:min(n, maxNamed)] {
			why = append(why, f.Instance+": "+f.Reason)
		}
		return r.answer, fault.New(fault.Unavailable, "reconcile", "%d failures: %s", n, strings.Join(why, "; "))
	}
	h.Metrics.count(metricReconciles, r.inc)
	return r.answer, nil
}

// reconciling is one run of reconcile.
type reconciling struct {
	h   *Handler
	now time.Time
	// inc is what is known of the region, for what concerns no instance.
	inc *incident.Incident
	// alarms are those in ALARM, by instance.
	alarms map[string]*incident.Alarm
	stored *store.Listing
	answer *reconciled
}

func (r *reconciling) fail(what string, err error) {
	r.answer.Failed = append(r.answer.Failed, reconciledItem{Instance: what, Reason: redact.Error(err)})
}

// readAlarms finds the alarms in ALARM. One that names no instance was told of
// when it went there.
func (r *reconciling) readAlarms(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	alarms, err := r.h.describeAlarms(ctx, r.h.AlarmPrefix, cwtypes.StateValueAlarm)
	if err != nil {
		r.fail("alarms", err)
		return
	}
	r.answer.InAlarm = len(alarms)
	r.h.Metrics.write(r.inc, metric{name: metricAlarms, value: int64(len(alarms))})
	for _, a := range alarms {
		id, err := instanceOfAlarm(a)
		if err != nil {
			r.answer.Skipped = append(r.answer.Skipped, reconciledItem{Instance: aws.ToString(a.AlarmName), Reason: err.Error()})
			continue
		}
		r.alarms[id] = alarmFrom(a)
	}
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
	now := incident.At(r.now)
	alert := policy.AlertWithoutStore(r.h.aliasPrefix(), policy.KeyStore, now)
	if r.h.pagedStore == alert.Alias {
		return
	}
	dec := incident.Decision{
		At: now, Next: incident.NextPage, Situation: incident.SituationStore, Severity: incident.SeverityDown, Alert: alert, Slack: true,
		Reason: incident.ClipLine("the table cannot be read, so nothing is looked after: "+redact.Error(why), maxWhy),
	}
	inc := new(*r.inc)
	inc.Decision = &dec
	pagers, err := r.h.Pagers()
	if err == nil && len(pagers) > 0 {
		// Every pager, one after another: nothing else retries this page.
		_, err = r.h.sendByOne(ctx, pagers, nil, inc, &dec)
	} else if err == nil {
		err = tellSlack(ctx, r.h, inc)
	}
	if err != nil {
		r.fail("page", err)
		return
	}
	r.h.pagedStore = alert.Alias
	r.h.Metrics.count(metricPages, inc)
}

// readPauses stores the pauses that tags say, so that a look knows of them while
// EC2 does not answer. A tag that cannot be read is for the look to tell.
func (r *reconciling) readPauses(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	tagged, err := r.h.pausedByTag(ctx, r.now)
	if err != nil {
		r.h.warn(ctx, "cannot read pause tags", "", err)
		return
	}
	for _, i := range r.stored.Instances {
		p := tagged[i.ID].Pause
		if tagged[i.ID].PauseErr != "" || untilOf(p) == untilOf(i.Pause) || p == nil && untilOf(i.Pause) <= incident.At(r.now) {
			continue
		}
		if _, err := r.h.Table.Update(ctx, i.ID, func(e *store.Entry) error {
			e.State.Instance.Pause = p
			return nil
		}); err != nil {
			r.h.warn(ctx, "cannot store a pause", i.ID, err)
		}
	}
}

func untilOf(p *policy.Pause) incident.Millis {
	if p == nil {
		return 0
	}
	return p.Until
}

// due is an instance that wants a look, and what became of that.
type due struct {
	id string
	// holder has the lease; nil: nobody.
	holder *incident.Execution
	// skipped: an execution looks after it. Else started is a new one's name.
	skipped bool
	started string
}

// startDue starts an execution for each instance that wants a look and that no
// execution looks after. Those of which Step Functions has to be asked come last.
func (r *reconciling) startDue(ctx context.Context) {
	var free, held []*due
	seen := map[string]bool{}
	for n := range r.stored.Instances {
		i := &r.stored.Instances[n]
		seen[i.ID] = true
		switch {
		case !policy.Due(i, r.alarms[i.ID] != nil):
		case i.Lease.Held("", incident.At(r.now)):
			held = append(held, &due{id: i.ID, holder: holderOf(i.Lease)})
		default:
			free = append(free, &due{id: i.ID})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.alarms)) {
		if !seen[id] {
			free = append(free, &due{id: id})
		}
	}
	all := append(free, held...)
	for n, err := range sideBySide(ctx, r.h, all, func(d *due) error { return r.start(ctx, d) }) {
		switch d := all[n]; {
		case err != nil:
			r.fail(d.id, err)
		case d.skipped:
			r.answer.Skipped = append(r.answer.Skipped, reconciledItem{Instance: d.id, Execution: d.holder.Name, Reason: "an execution looks after it"})
		default:
			r.answer.Started = append(r.answer.Started, reconciledItem{Instance: d.id, Execution: d.started})
		}
	}
}

// start starts a look. Its execution's name is the same for a minute: a schedule
// that is delivered twice starts one.
func (r *reconciling) start(ctx context.Context, d *due) error {
	if d.skipped = d.holder != nil && !r.h.ended(ctx, d.id, *d.holder); d.skipped {
		return nil
	}
	d.started = "reconcile-" + d.id + "-" + r.now.UTC().Format("20060102T1504")
	input, err := json.Marshal(incident.Look{
		Source: incident.SourceSchedule, DetailType: incident.DetailTypeLook, Account: r.inc.AccountID, Region: r.h.Region,
		Time: r.now.UTC().Truncate(time.Second), Detail: incident.LookDetail{InstanceID: d.id, Alarm: r.alarms[d.id]},
	})
	if err != nil {
		return fault.New(fault.Internal, "start an execution", "encode the event: %w", err)
	}
	_, err = r.h.StepFunctions().StartExecution(ctx, &sfn.StartExecutionInput{StateMachineArn: &r.h.StateMachineARN, Name: &d.started, Input: aws.String(string(input))})
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
	resolved, err := r.h.resolveAll(ctx, r.inc, refs)
	if err != nil {
		r.fail("alerts", err)
	}
	r.answer.Resolved = append(r.answer.Resolved, resolved...)
}
