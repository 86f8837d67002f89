package handler

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
)

func TestMetricsAreLinesThatCloudWatchReads(t *testing.T) {
	var out bytes.Buffer
	ctx := t.Context()
	// A log that leaves out what is below a warning has the metrics all the same.
	h := &Handler{Deployment: "acme", Log: slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	inc := &incident.Incident{InstanceID: one}
	h.count(ctx, metricPages, inc)
	h.count(ctx, metricRefusals, inc, slog.String("Guard", "cooldown"))
	h.measure(ctx, metricCheckLatency, 12, "Milliseconds", inc, slog.String("Check", "url"))
	h.count(ctx, metricPages, &incident.Incident{Dry: true})

	type line struct {
		Level                              string
		Deployment, Guard, Check, Instance string
		Pages, Refusals, CheckLatency      int64
		AWS                                struct {
			CloudWatchMetrics []struct {
				Namespace  string
				Dimensions [][]string
			}
		} `json:"_aws"`
	}
	var got []line
	for raw := range bytes.SplitSeq(bytes.TrimSpace(out.Bytes()), []byte("\n")) {
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		got = append(got, l)
	}
	if len(got) != 3 || got[0].Pages != 1 || got[0].Deployment != "acme" || got[0].Instance != one || got[1].Refusals != 1 || got[1].Guard != "cooldown" || got[2].CheckLatency != 12 || got[2].Check != "url" {
		t.Fatalf("%s", out.String())
	}
	if got[0].Level != "WARN" {
		t.Errorf("%s", out.String())
	}
	if diff := cmp.Diff([][]string{{"Deployment"}, {"Deployment", "Guard"}}, got[1].AWS.CloudWatchMetrics[0].Dimensions); diff != "" {
		t.Error(diff)
	}
}
