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

// The function's metrics; README.md says what each counts. All have the
// dimension Deployment. A step whose answer got lost runs again, and may be
// counted again.
const (
	metricIncidents      = "Incidents"
	metricAlreadyHandled = "AlreadyHandled"
	metricReboots        = "Reboots"
	metricRefusals       = "Refusals" // also by Guard
	metricPages          = "Pages"
	metricNotes          = "Notes"
	metricSlackMessages  = "SlackMessages"
	metricPagerFallbacks = "PagerFallbacks"
	metricResolves       = "Resolves"
	metricTestMessages   = "TestMessages"
	metricCheckLatency   = "CheckLatency" // in milliseconds, also by Check
	metricReconciles     = "Reconciles"
	metricAlarms         = "AlarmsInAlarm"
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

// count counts one of something.
func (m *Metrics) count(name string, inc *incident.Incident) {
	m.write(inc, metric{name: name, value: 1})
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
// whoever looks for the line. Of a dry incident nothing is counted.
func (m *Metrics) write(inc *incident.Incident, v metric) {
	if m == nil || inc.Dry {
		return
	}
	now := time.Now().UTC()
	dimensions := [][]string{{"Deployment"}}
	line := map[string]any{
		"Deployment": m.Deployment,
		v.name:       v.value,
		"level":      max(m.Level, slog.LevelInfo).String(),
		"timestamp":  now.Format(time.RFC3339Nano),
	}
	if v.dimension != "" {
		dimensions = append(dimensions, []string{"Deployment", v.dimension})
		line[v.dimension] = v.of
	}
	if inc.InstanceID != "" {
		line["instance"] = inc.InstanceID
	}
	line["_aws"] = map[string]any{
		"Timestamp": now.UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{
			"Namespace":  Namespace,
			"Dimensions": dimensions,
			"Metrics":    []any{map[string]any{"Name": v.name, "Unit": cmp.Or(v.unit, "Count")}},
		}},
	}
	// A metric that cannot be written is missed by its alarm.
	_ = json.NewEncoder(m.Out).Encode(line)
}
