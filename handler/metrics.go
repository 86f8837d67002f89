package handler

import (
	"context"
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
	metricIncidents         = "Incidents"
	metricAlreadyHandled    = "AlreadyHandled"
	metricReboots           = "Reboots"
	metricRefusals          = "Refusals" // also by Guard
	metricPages             = "Pages"
	metricNotes             = "Notes"
	metricSlackMessages     = "SlackMessages"
	metricPagerFallbacks    = "PagerFallbacks"
	metricResolves          = "Resolves"
	metricCheckLatency      = "CheckLatency" // in milliseconds, also by Check
	metricReconciles        = "Reconciles"
	metricAlarms            = "AlarmsInAlarm"
	metricHeartbeatFailures = "HeartbeatFailures"
)

// count counts one of something.
func (h *Handler) count(ctx context.Context, name string, inc *incident.Incident, by ...slog.Attr) {
	h.measure(ctx, name, 1, "Count", inc, by...)
}

// measure writes a metric as a line of the log, of which CloudWatch makes it
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html),
// with by as further dimensions. Beside what CloudWatch reads the line names the
// instance, for whoever looks for it. Of a dry incident nothing is counted.
func (h *Handler) measure(ctx context.Context, name string, value int64, unit string, inc *incident.Incident, by ...slog.Attr) {
	if inc.Dry {
		return
	}
	// Lambda leaves out lines below the log's level, and metrics must pass.
	level := slog.LevelInfo
	for level < slog.LevelError && !h.Log.Enabled(ctx, level) {
		level += slog.LevelWarn - slog.LevelInfo
	}
	dimensions := [][]string{{"Deployment"}}
	for _, d := range by {
		dimensions = append(dimensions, []string{"Deployment", d.Key})
	}
	attrs := append(by, slog.String("Deployment", h.Deployment), slog.Int64(name, value), slog.String("instance", inc.InstanceID),
		slog.Any("_aws", map[string]any{
			"Timestamp": time.Now().UnixMilli(),
			"CloudWatchMetrics": []any{map[string]any{
				"Namespace": Namespace, "Dimensions": dimensions, "Metrics": []any{map[string]any{"Name": name, "Unit": unit}},
			}},
		}))
	h.Log.LogAttrs(ctx, level, "metric", attrs...)
}
