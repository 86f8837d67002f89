package handler

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"firstline/internal/coverage"
	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/notify"
)

const (
	// coverageEvery is how often reconcile compares, and firstCoverage how long after a
	// deployment it begins: its instances and alarms are made after the schedule.
	coverageEvery, firstCoverage = 24 * time.Hour, time.Hour
	// coverageTime bounds it. A region of a thousand instances takes half of that.
	coverageTime = 20 * time.Second
)

// compare is the step coverage: it compares what is watched with what is, for the
// operator's command.
func compare(ctx context.Context, h *Handler, _ request) (any, error) {
	l, err := h.Table.Instances(ctx)
	if err != nil {
		return nil, err
	}
	compared, err := h.coverage(ctx, l.Instances)
	if err != nil {
		return nil, fault.AWS("compare what is watched with what is", err)
	}
	return compared, nil
}

// coverage is what keeps instances from being watched. stored are those that the table
// has.
func (h *Handler) coverage(ctx context.Context, stored []policy.Instance) (*coverage.Comparison, error) {
	settings, err := h.allSettings(ctx, math.MaxInt)
	if err != nil {
		return nil, err
	}
	looks := map[string]policy.Instance{}
	for _, i := range stored {
		looks[i.ID] = i
	}
	watched := []coverage.Instance{}
	for _, id := range slices.Sorted(maps.Keys(settings)) {
		watched = append(watched, coverage.Instance{
			ID: id, HealthCheckID: settings[id].Route53.HealthCheckID, HealthySince: looks[id].HealthySince, LastLookAt: looks[id].LastLookAt,
		})
	}
	return coverage.Region(ctx, h.Coverage(), h.AlarmPrefix, watched)
}

// errCompared: another reconcile compares.
var errCompared = errors.New("another reconcile compares")

// tellCoverage tells Slack once a day what keeps instances from being watched. The time
// is taken before, so that whatever goes wrong costs one reconcile a day.
func (r *reconciling) tellCoverage(ctx context.Context) {
	h, now, last := r.h, incident.At(r.now), r.stored.Region.CoverageAt
	if h.Slack == nil || h.Coverage == nil || last > 0 && now.Sub(last) < coverageEvery {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, coverageTime)
	defer cancel()
	err := h.Table.UpdateRegion(ctx, func(stored *policy.Region) error {
		if stored.CoverageAt != last {
			return errCompared
		}
		if stored.CoverageAt = now; last == 0 {
			stored.CoverageAt = now.Add(firstCoverage - coverageEvery)
		}
		return nil
	})
	if err == nil && last > 0 {
		err = r.postCoverage(ctx)
	}
	if err != nil && !errors.Is(err, errCompared) {
		h.warn(ctx, "cannot compare what is watched with what is", "", err)
	}
}

func (r *reconciling) postCoverage(ctx context.Context) error {
	compared, err := r.h.coverage(ctx, r.stored.Instances)
	if err != nil {
		return err
	}
	all := slices.DeleteFunc(compared.Findings, func(f coverage.Finding) bool { return f.Warning })
	if len(all) == 0 {
		return nil
	}
	m := r.h.message(r.inc, incident.Decision{At: incident.At(r.now), Next: incident.NextSlack, Situation: incident.SituationCoverage}, notify.KindSlack)
	for _, f := range all {
		m.Findings = append(m.Findings, f.String())
	}
	if _, err = r.h.Slack.Post(ctx, m); err == nil {
		r.h.count(ctx, metricSlackMessages, r.inc)
	}
	return err
}
