package handler

import (
	"cmp"
	"encoding/json"
	"io"
	"log/slog"
	"time"

	"firstline/internal/incident"
)

// Namespace is that of the function's metrics in CloudWatch.
const Namespace = "firstline"

// The function's metrics. All have the dimension Deployment; Refusals are there by
// Guard too, and CheckLatency by Check. A step whose answer got lost runs again,
// and may be counted again.
const (
	// metricIncidents: incidents that were opened.
	metricIncidents = "Incidents"
	// metricAlreadyHandled: executions that ended since another one holds the lease.
	metricAlreadyHandled = "AlreadyHandled"
	// metricReboots: reboots that EC2 was asked for, as far as is known.
	metricReboots = "Reboots"
	// metricRefusals: reboots that a guard refused.
	metricRefusals = "Refusals"
	// metricPages, metricNotes and metricSlackMessages: what was told.
	metricPages         = "Pages"
	metricNotes         = "Notes"
	metricSlackMessages = "SlackMessages"
	// metricPagerFallbacks: pages that another pager took, since the first did not.
	metricPagerFallbacks = "PagerFallbacks"
	// metricResolves: alerts that were closed since they have no members any more.
	metricResolves = "Resolves"
	// metricTestMessages: tests that a channel took.
	metricTestMessages = "TestMessages"
	// metricCheckLatency: how long a check took, its attempts and pauses included,
	// in milliseconds.
	metricCheckLatency = "CheckLatency"
	// metricReconciles: runs of reconcile that ended without a failure.
	metricReconciles = "Reconciles"
	// metricAlarms: alarms that reconcile found in ALARM.
	metricAlarms = "AlarmsInAlarm"
)

const (
	dimensionDeployment = "Deployment"
	dimensionCheck      = "Check"
	dimensionGuard      = "Guard"
)

// Metrics writes metrics as lines of the log, of which CloudWatch makes them
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
// Nil counts nothing.
type Metrics struct {
	// Out gets a line in one Write.
	Out io.Writer
	// Deployment is the dimension that all metrics have.
	Deployment string
	// Level is that of the log. Lambda leaves out lines below it, and takes a line
	// without a level and a time for one of INFO
	// (https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html).
	Level slog.Level
}

// count counts one of something that happened to an incident. Of a dry one
// nothing is counted.
func (m *Metrics) count(name string, inc *incident.Incident) {
	if inc.Dry {
		return
	}
	m.write(metric{name: name, value: 1}, inc.InstanceID)
}

// refused counts the refusal of a reboot.
func (m *Metrics) refused(inc *incident.Incident, guard string) {
	if inc.Dry {
		return
	}
	m.write(metric{name: metricRefusals, value: 1, dimension: dimensionGuard, of: guard}, inc.InstanceID)
}

// checked tells how long a check took; one that was skipped took no time.
func (m *Metrics) checked(inc *incident.Incident, f incident.Finding) {
	if inc.Dry || f.Outcome == incident.Skipped {
		return
	}
	m.write(metric{name: metricCheckLatency, value: f.ElapsedMs, unit: "Milliseconds", dimension: dimensionCheck, of: f.Check}, inc.InstanceID)
}

// metric is one value of one metric.
type metric struct {
	name  string
	value int64
	// unit is CloudWatch's name of it; empty means Count.
	unit string
	// dimension is one that the metric has beside the deployment, if any, and of
	// its value.
	dimension, of string
}

// write writes a line. Beside what CloudWatch reads it names the instance, for
// whoever looks for the line.
func (m *Metrics) write(v metric, instanceID string) {
	if m == nil || m.Out == nil {
		return
	}
	now := time.Now().UTC()
	dimensions := [][]string{{dimensionDeployment}}
	line := map[string]any{
		dimensionDeployment: cmp.Or(m.Deployment, Namespace),
		v.name:              v.value,
		"level":             max(m.Level, slog.LevelInfo).String(),
		"timestamp":         now.Format(time.RFC3339Nano),
	}
	if v.dimension != "" && v.of != "" {
		dimensions = append(dimensions, []string{dimensionDeployment, v.dimension})
		line[v.dimension] = v.of
	}
	if instanceID != "" {
		line["instance"] = instanceID
	}
	line["_aws"] = map[string]any{
		"Timestamp": now.UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{
			"Namespace":  Namespace,
			"Dimensions": dimensions,
			"Metrics":    []any{map[string]any{"Name": v.name, "Unit": cmp.Or(v.unit, "Count")}},
		}},
	}
	raw, err := json.Marshal(line)
	if err != nil {
		return // texts and numbers only: it cannot be
	}
	// A metric that cannot be written is missed by its alarm.
	_, _ = m.Out.Write(append(raw, '\n'))
}
