package notify

import (
	"encoding/json"
	"slices"
	"strings"

	"firstline/internal/incident"
)

// eventView is what can be read from an event that made no incident. problem says
// why there is little.
type eventView struct {
	alarm              incident.Alarm
	region, account    string
	instances, problem string
}

// viewEvent reads what it can and trusts nothing: any field may be missing or of
// another type, which encoding/json skips, and the event may be no object.
func viewEvent(raw json.RawMessage) eventView {
	var e struct {
		Region    string   `json:"region"`
		Account   string   `json:"account"`
		Resources []string `json:"resources"`
		Detail    struct {
			AlarmName string `json:"alarmName"`
			State     struct {
				Reason string `json:"reason"`
			} `json:"state"`
			Configuration struct {
				Metrics []struct {
					MetricStat struct {
						Metric struct {
							Dimensions map[string]string `json:"dimensions"`
						} `json:"metric"`
					} `json:"metricStat"`
				} `json:"metrics"`
			} `json:"configuration"`
		} `json:"detail"`
	}
	_ = json.Unmarshal(raw, &e)
	v := eventView{alarm: incident.Alarm{Name: e.Detail.AlarmName, Reason: e.Detail.State.Reason}}
	if len(e.Resources) > 0 {
		v.alarm.ARN = e.Resources[0]
	}
	if incident.ValidRegion(e.Region) {
		v.region = e.Region
	}
	if incident.ValidAccountID(e.Account) {
		v.account = e.Account
	}
	var ids []string
	for _, m := range e.Detail.Configuration.Metrics {
		if id := m.MetricStat.Metric.Dimensions["InstanceId"]; incident.ValidInstanceID(id) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	v.instances = strings.Join(ids[:min(len(ids), maxMembers)], ", ")
	if v.alarm.Name == "" {
		v.problem = "it names no alarm"
	}
	return v
}
