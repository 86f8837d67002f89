package handler

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
)

// document is an EMF document
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
type document struct {
	AWS struct {
		Timestamp         int64
		CloudWatchMetrics []struct {
			Namespace  string
			Dimensions [][]string
			Metrics    []struct{ Name, Unit string }
		}
	} `json:"_aws"`
	Level     string    `json:"level"`
	Timestamp time.Time `json:"timestamp"`
	Instance  string    `json:"instance"`
}

// emitted are the lines that were written, each with its fields.
func emitted(t *testing.T, out *bytes.Buffer) (documents []document, fields []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(out.Bytes()) {
		var d document
		var f map[string]any
		if err := json.Unmarshal(line, &d); err != nil || json.Unmarshal(line, &f) != nil {
			t.Fatalf("%s: %v", line, err)
		}
		documents, fields = append(documents, d), append(fields, f)
	}
	return documents, fields
}

func TestMetrics(t *testing.T) {
	out := new(bytes.Buffer)
	m := &Metrics{Out: out, Deployment: "blue", Level: slog.LevelDebug}
	inc := &incident.Incident{InstanceID: instance, Refusal: &incident.Refusal{Guard: incident.GuardBrake}}
	m.count(metricIncidents, inc)
	m.refused(inc)
	m.checked(inc, checks.Finding{Check: "url", ElapsedMs: 4012})
	m.write(metric{name: metricStandingAlarms}, "")
	documents, fields := emitted(t, out)
	for n, want := range []struct {
		name, unit, dimension, of string
		value                     float64
		instance                  string
	}{
		{"Incidents", "Count", "", "", 1, instance},
		{"Refusals", "Count", "Guard", "brake", 1, instance},
		{"CheckLatency", "Milliseconds", "Check", "url", 4012, instance},
		{"StandingAlarms", "Count", "", "", 0, ""},
	} {
		d, f := documents[n], fields[n]
		if len(d.AWS.CloudWatchMetrics) != 1 || len(d.AWS.CloudWatchMetrics[0].Metrics) != 1 {
			t.Fatalf("%+v", d)
		}
		c := d.AWS.CloudWatchMetrics[0]
		dimensions := [][]string{{"Deployment"}}
		if want.dimension != "" {
			dimensions = append(dimensions, []string{"Deployment", want.dimension})
			if f[want.dimension] != want.of {
				t.Errorf("%s: %s is %v, want %s", want.name, want.dimension, f[want.dimension], want.of)
			}
		}
		if diff := cmp.Diff(dimensions, c.Dimensions); diff != "" || c.Namespace != "firstline" || c.Metrics[0].Name != want.name || c.Metrics[0].Unit != want.unit {
			t.Errorf("%+v, dimensions (-want +got):\n%s", c, diff)
		}
		if f[want.name] != want.value || f["Deployment"] != "blue" || d.Instance != want.instance || d.Level != "INFO" {
			t.Errorf("%v, want %v", f, want)
		}
		if age := time.Since(time.UnixMilli(d.AWS.Timestamp)); age < 0 || age > time.Minute || d.Timestamp.UnixMilli() != d.AWS.Timestamp {
			t.Errorf("at %d and %s", d.AWS.Timestamp, d.Timestamp)
		}
	}

	out.Reset()
	inc.Dry = true
	m.count(metricIncidents, inc)
	m.refused(inc)
	m.checked(inc, checks.Finding{Check: "url"})
	m.checked(&incident.Incident{}, checks.Finding{Check: "url", Skipped: true})
	(*Metrics)(nil).count(metricIncidents, &incident.Incident{})
	if out.Len() > 0 {
		t.Errorf("wrote %s", out)
	}
}

// Lambda leaves out what is below the log's level: a metric is not to be missed by
// its alarm for that.
func TestMetricsPassTheLogsLevel(t *testing.T) {
	for level, want := range map[slog.Level]string{slog.LevelDebug: "INFO", slog.LevelInfo: "INFO", slog.LevelWarn: "WARN", slog.LevelError: "ERROR"} {
		out := new(bytes.Buffer)
		(&Metrics{Out: out, Level: level}).count(metricPages, &incident.Incident{})
		documents, fields := emitted(t, out)
		if len(documents) != 1 || documents[0].Level != want || fields[0]["Deployment"] != "firstline" {
			t.Errorf("%s: %s, want the level %s", level, out, want)
		}
	}
}

// What the steps of an incident count.
func TestMetricsOfAnIncident(t *testing.T) {
	for _, tt := range []struct {
		name  string
		event string
		fake  fake
		steps []string
		want  []string
	}{
		{"from end to end", sampleEvent(t), fake{state: "running"}, []string{"url", "reboot", "url", "slack", "opsgenie", "close"}, []string{"Incidents", "CheckLatency", "Reboots", "CheckLatency", "SlackMessages", "Pages"}},
		{"handled already", sampleEvent(t), fake{table: &table{handledBy: &incident.Execution{ID: "x"}}}, nil, []string{"AlreadyHandled"}},
		{"refused", sampleEvent(t), fake{state: "running", table: &table{refusal: &incident.Refusal{Guard: "budget"}}}, []string{"url", "reboot", "opsgenie"}, []string{"Incidents", "CheckLatency", "Refusals", "Pages"}},
		{"a dry one", rehearsal(t), fake{state: "running", dryErr: allowed}, []string{"url", "reboot", "url", "slack", "opsgenie", "close"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := new(bytes.Buffer)
			tt.fake.parameters = settingsAt(`{}`)
			tt.fake.finding = checks.Finding{Check: "url", Reason: "refused"}
			h, _ := newHandler(&tt.fake)
			h.Metrics = &Metrics{Out: out}
			inc, lerr := invoke(t, h, openPayload(sinceNow(tt.event)))
			for _, step := range tt.steps {
				if lerr.Type != "" {
					t.Fatal(lerr)
				}
				tt.fake.finding.At = time.Now()
				inc, lerr = invoke(t, h, payload(t, step, inc))
			}
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			var got []string
			documents, _ := emitted(t, out)
			for _, d := range documents {
				got = append(got, d.AWS.CloudWatchMetrics[0].Metrics[0].Name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
