// Package probe tries what is deployed in a region without touching anything:
// each check of each instance through the deployed function, and a dry incident
// through the deployed bus, rule, state machine and function.
//
// It acts on nothing because all it sends are events of the source
// firstline.canary, which alone makes an incident dry. What is kept of it is which
// checks have passed: the baseline, without which a check causes no reboot.
package probe

import (
	"encoding/json"
	"fmt"
	"time"

	"firstline/internal/deployed"
	"firstline/internal/old/incident"
)

// detailType is that of the events with which an alarm rings.
const detailType = "CloudWatch Alarm State Change"

// ring is an alarm's event that the alarm itself did not send.
type ring struct {
	alarmARN string
	detail   json.RawMessage
}

// newRing makes the event of an instance's alarm going to ALARM now.
func newRing(r deployed.Region, instanceID, reason string, now time.Time) (ring, error) {
	name := r.Alarm(instanceID)
	if name == "" {
		return ring{}, fmt.Errorf("no alarm of the deployment in %s is on %s: name the instance in regions.tfvars and deploy", r.Region, instanceID)
	}
	state := func(value, reason string) map[string]any {
		return map[string]any{"value": value, "reason": reason, "timestamp": now.UTC().Format("2006-01-02T15:04:05.000-0700")}
	}
	detail, err := json.Marshal(map[string]any{
		"alarmName": name,
		"configuration": map[string]any{
			"description": "CPU of " + instanceID,
			"metrics": []any{map[string]any{
				"id": "m1",
				"metricStat": map[string]any{
					"metric": map[string]any{
						"dimensions": map[string]any{"InstanceId": instanceID},
						"name":       "CPUUtilization",
						"namespace":  "AWS/EC2",
					},
					"period": 300,
					"stat":   "Maximum",
				},
				"returnData": true,
			}},
		},
		"previousState": state("OK", "Before the dry incident."),
		"state":         state("ALARM", reason),
	})
	return ring{alarmARN: r.AlarmARN(name), detail: detail}, err
}

// event is the ring as EventBridge hands it to a target.
func (g ring) event(r deployed.Region, id string, now time.Time) map[string]any {
	return map[string]any{
		"version":     "0",
		"id":          id,
		"detail-type": detailType,
		"source":      incident.SourceCanary,
		"account":     r.AccountID,
		"time":        now.UTC().Format(time.RFC3339),
		"region":      r.Region,
		"resources":   []string{g.alarmARN},
		"detail":      g.detail,
	}
}
