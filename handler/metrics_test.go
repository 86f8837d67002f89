package handler

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/internal/incident"
)

func TestMetricsAreLinesThatCloudWatchReads(t *testing.T) {
	var out bytes.Buffer
	m := &Metrics{Out: &out, Deployment: "acme"}
	inc := &incident.Incident{InstanceID: one}
	m.count(metricPages, inc)
	m.write(inc, metric{name: metricRefusals, value: 1, dimension: "Guard", of: "cooldown"})
	m.write(inc, metric{name: metricCheckLatency, value: 12, unit: "Milliseconds", dimension: "Check", of: "url"})
	m.count(metricPages, &incident.Incident{Dry: true})
	(*Metrics)(nil).count(metricPages, inc)

	type line struct {
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
	if diff := cmp.Diff([][]string{{"Deployment"}, {"Deployment", "Guard"}}, got[1].AWS.CloudWatchMetrics[0].Dimensions); diff != "" {
		t.Error(diff)
	}
}
