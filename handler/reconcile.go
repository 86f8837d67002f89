package handler

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/redact"
	"firstline/internal/store"
	"firstline/notify"
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
	// pausesTime bounds reading the tags of paused instances, and leftoversTime
	// resolving what is left over.
	pausesTime, leftoversTime = 6 * time.Second, 10 * time.Second
	// maxNamed bounds how many failures an error names.
	maxNamed = 10
)

// reconcile starts a look for each instance whose alarm is in ALARM or which is
// not at rest, unless an execution looks after it. A lost event, or an execution
// that died, so costs minutes. It does all that can be done before it returns an
// error of what could not.
func reconcile(ctx context.Context, h *Handler, req request) (any, error) {
	if err := only(req); err != nil {
		return nil, err
	}
	const op = "reconcile"
	machine, err := arn.Parse(h.StateMachineARN)
	if err != nil {
		return nil, fault.New(fault.InvalidInput, op, "the function's environment has no valid FIRSTLINE_STATE_MACHINE_ARN; apply the Terraform root again")
	}
	if h.AlarmPrefix == "" {
		return nil, fault.New(fault.InvalidInput, op, "the function's environment has no FIRSTLINE_ALARM_PREFIX; apply the Terraform root again")
	}
	r := &reconciling{h: h, now: time.Now(), account: machine.AccountID, alarms: map[string]*incident.Alarm{}}
	r.answer = &reconciled{Started: []reconciledItem{}, Skipped: []reconciledItem{}, Failed: []reconciledItem{}, Resolved: []string{}}
	r.readAlarms(ctx)
	if t, err := h.Table(ctx); err != nil {
		r.fail("table", err)
	} else if r.readInstances(ctx, t) {
		r.readPauses(ctx, t)
		r.startDue(ctx)
		r.resolveLeftovers(ctx, t)
	}
	for _, list := range [][]reconciledItem{r.answer.Started, r.answer.Skipped, r.answer.Failed} {
		slices.SortFunc(list, func(a, b reconciledItem) int { return strings.Compare(a.Instance, b.Instance) })
	}
	if n := len(r.answer.Failed); n > 0 {
		var why []string
		for _, f := range r.answer.Failed[:min(n, maxNamed)] {
			why = append(why, f.Instance+": "+f.Reason)
		}
		return r.answer, fault.New(fault.Unavailable, op, "%d failures: %s", n, strings.Join(why, "; "))
	}
	h.Metrics.write(metric{name: metricReconciles, value: 1}, "")
	return r.answer, nil
}

// reconciling is one run of reconcile.
type reconciling struct {
	h       *Handler
	now     time.Time
	account string
	// alarms are those in ALARM, by instance.
	alarms    map[string]*incident.Alarm
	instances []policy.Instance
	region    policy.Region

	mu     sync.Mutex
	answer *reconciled
}

func (r *reconciling) fail(what string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer.Failed = append(r.answer.Failed, reconciledItem{Instance: what, Reason: redact.Error(err)})
}

// readAlarms finds the alarms in ALARM. One that names no instance was told of
// when it went there.
func (r *reconciling) readAlarms(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pausesTime)
	defer cancel()
	alarms, err := r.h.describeAlarms(ctx, r.h.AlarmPrefix, cwtypes.StateValueAlarm)
	if err != nil {
		r.fail("alarms", err)
		return
	}
	r.answer.InAlarm = len(alarms)
	r.h.Metrics.write(metric{name: metricAlarms, value: int64(len(alarms))}, "")
	for _, a := range alarms {
		id, err := instanceOfAlarm(a)
		if err != nil {
			r.h.warn(ctx, "an alarm names no instance", "", err)
			r.answer.Skipped = append(r.answer.Skipped, reconciledItem{Instance: aws.ToString(a.AlarmName), Reason: err.Error()})
			continue
		}
		r.alarms[id] = alarmFrom(a)
	}
}

// readInstances reads what the table has of all instances. What cannot be read
// pages somebody: nothing is looked after.
func (r *reconciling) readInstances(ctx context.Context, t Table) bool {
	l, err := t.Instances(ctx)
	if err != nil {
		if l, err = t.Instances(ctx); err != nil {
			r.fail("table", err)
			r.pageStore(ctx, err)
			return false
		}
	}
	r.instances, r.region = l.Instances, l.Region
	var unreadable []error
	for _, id := range slices.Sorted(maps.Keys(l.Unreadable)) {
		r.fail(id, l.Unreadable[id])
		unreadable = append(unreadable, l.Unreadable[id])
		delete(r.alarms, id) // its execution could not read it either
	}
	if l.RegionErr != nil {
		r.fail("region", l.RegionErr)
		unreadable = append(unreadable, l.RegionErr)
	}
	if len(unreadable) > 0 {
		r.pageStore(ctx, unreadable[0])
	}
	return l.RegionErr == nil
}

// pageStore pages that the table cannot be read. The alias is the hour's: the
// pager deduplicates it, and so does a warm function.
func (r *reconciling) pageStore(ctx context.Context, why error) {
	now := incident.At(r.now)
	alert := policy.AlertWithoutStore(r.h.aliasPrefix(), policy.KeyStore, now)
	r.h.pagedStoreMu.Lock()
	defer r.h.pagedStoreMu.Unlock()
	if r.h.pagedStore == alert.Alias {
		return
	}
	dec := incident.Decision{
		At: now, Next: incident.NextPage, Situation: incident.SituationStore, Severity: incident.SeverityDown, Alert: alert, Slack: true,
		Reason: incident.ClipLine("the table cannot be read, so nothing is looked after: "+redact.Error(why), maxWhy),
	}
	inc := &incident.Incident{Region: r.h.Region, AccountID: r.account, Trigger: incident.TriggerSchedule, Decision: &dec}
	pagers, err := r.h.Pagers()
	if err == nil && len(pagers) > 0 {
		d := &delivering{h: r.h, inc: inc, dec: dec, m: r.h.message(inc, dec, kindOfPage(dec)), pagers: pagers}
		// Every pager, one after another: nothing else retries this page.
		_, err = oneOf(ctx, pagers, func(ctx context.Context, p notify.Pager) (*incident.Paged, error) { return d.send(ctx, p, false) })
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

// readPauses reads the tags of paused instances, and stores what has changed: a
// pause that was taken back, or shortened, is so seen before it ends.
func (r *reconciling) readPauses(ctx context.Context, t Table) {
	ctx, cancel := context.WithTimeout(ctx, pausesTime)
	defer cancel()
	tags, err := r.h.pauseTags(ctx)
	if err != nil {
		r.h.warn(ctx, "cannot read pause tags", "", err)
		return
	}
	for n := range r.instances {
		i := &r.instances[n]
		value, tagged := tags[i.ID]
		var p *policy.Pause
		if tagged {
			var why string
			if p, why = pauseOf(value, r.now); why != "" {
				r.h.warn(ctx, "cannot read pause tag", i.ID, errors.New(why))
				continue
			}
		}
		if untilOf(p) == untilOf(i.Pause) || p == nil && untilOf(i.Pause) <= incident.At(r.now) {
			continue
		}
		_, err := t.Update(ctx, i.ID, func(e *store.Entry) error {
			e.State.Instance.Pause = p
			return nil
		})
		if err != nil {
			r.fail(i.ID, fmt.Errorf("store the pause: %w", err))
		}
	}
}

func untilOf(p *policy.Pause) incident.Millis {
	if p == nil {
		return 0
	}
	return p.Until
}

// pauseTags returns the values of the tag that pauses an instance, by instance.
func (h *Handler) pauseTags(ctx context.Context) (map[string]string, error) {
	client, err := h.EC2(ctx)
	if err != nil {
		return nil, err
	}
	tags := map[string]string{}
	pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{
		Filters: []ec2types.Filter{{Name: aws.String("tag-key"), Values: []string{incident.PauseTag}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, reservation := range page.Reservations {
			for _, i := range reservation.Instances {
				for _, tag := range i.Tags {
					if aws.ToString(tag.Key) == incident.PauseTag {
						tags[aws.ToString(i.InstanceId)] = aws.ToString(tag.Value)
					}
				}
			}
		}
	}
	return tags, nil
}

// due is an instance that wants a look.
type due struct {
	id     string
	holder *policy.Lease
}

// startDue starts an execution for each instance that wants a look and that no
// execution looks after. Those of which Step Functions has to be asked come last.
func (r *reconciling) startDue(ctx context.Context) {
	now := incident.At(r.now)
	var all []due
	seen := map[string]bool{}
	for n := range r.instances {
		i := &r.instances[n]
		seen[i.ID] = true
		if !policy.Due(i, r.alarms[i.ID] != nil) {
			continue
		}
		d := due{id: i.ID}
		if i.Lease.Held("", now) {
			d.holder = &i.Lease
		}
		all = append(all, d)
	}
	for _, id := range slices.Sorted(maps.Keys(r.alarms)) {
		if !seen[id] {
			all = append(all, due{id: id})
		}
	}
	slices.SortStableFunc(all, func(a, b due) int {
		held := func(d due) int {
			if d.holder != nil {
				return 1
			}
			return 0
		}
		return cmp.Compare(held(a), held(b))
	})
	sideBySide(ctx, r.h, all, func(d due) { r.start(ctx, d) })
}

func (r *reconciling) start(ctx context.Context, d due) {
	if d.holder != nil && !r.h.ended(ctx, d.id, *holderOf(*d.holder)) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.answer.Skipped = append(r.answer.Skipped, reconciledItem{Instance: d.id, Execution: d.holder.Name, Reason: "an execution looks after it"})
		return
	}
	name, err := r.startExecution(ctx, d.id)
	if err != nil {
		r.fail(d.id, err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer.Started = append(r.answer.Started, reconciledItem{Instance: d.id, Execution: name})
}

// startExecution starts a look. Its name is the same for a minute: a schedule
// that is delivered twice starts one.
func (r *reconciling) startExecution(ctx context.Context, id string) (string, error) {
	const op = "start an execution"
	name := "reconcile-" + id + "-" + r.now.UTC().Format("20060102T1504")
	input, err := json.Marshal(incident.Look{
		Source: incident.SourceSchedule, DetailType: incident.DetailTypeLook, Account: r.account, Region: r.h.Region,
		Time: r.now.UTC().Truncate(time.Second), Detail: incident.LookDetail{InstanceID: id, Alarm: r.alarms[id]},
	})
	if err != nil {
		return "", fault.New(fault.Internal, op, "encode the event: %w", err)
	}
	client, err := r.h.StepFunctions(ctx)
	if err != nil {
		return "", err
	}
	_, err = client.StartExecution(ctx, &sfn.StartExecutionInput{StateMachineArn: &r.h.StateMachineARN, Name: &name, Input: aws.String(string(input))})
	if _, there := errors.AsType[*sfntypes.ExecutionAlreadyExists](err); err != nil && !there {
		return "", fault.AWS(op, err)
	}
	return name, nil
}

// resolveLeftovers closes the alerts that an execution could not and, at the
// begin of each hour, those that the table does not know.
func (r *reconciling) resolveLeftovers(ctx context.Context, t Table) {
	ctx, cancel := context.WithTimeout(ctx, leftoversTime)
	defer cancel()
	inc := &incident.Incident{Region: r.h.Region, AccountID: r.account, Trigger: incident.TriggerSchedule}
	resolved, err := r.h.resolveAll(ctx, t, inc, r.region.ToResolve())
	if err != nil {
		r.fail("alerts", err)
	}
	if r.now.Minute() < incident.MaxReconcileMinutes {
		if err := r.resolveHours(ctx, inc); err != nil {
			r.fail("alerts", err)
		}
	}
	if len(resolved) > 0 {
		r.answer.Resolved = resolved
		r.h.Log.LogAttrs(ctx, slog.LevelInfo, "resolved alerts", slog.Any("aliases", resolved))
	}
}

// resolveHours closes the alerts that the table does not know, now that it
// answers. Most of the time there is none.
func (r *reconciling) resolveHours(ctx context.Context, inc *incident.Incident) error {
	pagers, err := r.h.Pagers()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var errs []error
	sideBySide(ctx, r.h, policy.EndedWithoutStore(r.h.aliasPrefix(), incident.At(r.now)), func(ref incident.AlertRef) {
		if err := r.h.resolveOne(ctx, pagers, inc, ref); err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, fault.New(fault.KindOf(err), "resolve "+ref.Alias, "%w", err))
		}
	})
	return errors.Join(errs...)
}
