package notify

import (
	"encoding/json"
	"slices"
	"strings"

	"firstline/internal/incident"
)

// eventView is what can be read from an event that made no incident.
type eventView struct {
	alarmName, alarmARN, region, account, reason string
	// instances that the alarm's metrics name; problem says why there is less.
	instances, problem string
}

// instance is the one instance that the event names; "" for none or several.
func (v eventView) instance() string {
	if !incident.ValidInstanceID(v.instances) {
		return ""
	}
	return v.instances
}

// viewEvent reads what it can and trusts nothing: any field may be missing or
// of another type, and the event may be no object.
func viewEvent(raw json.RawMessage) eventView {
	var v eventView
	event := object(raw)
	if event == nil {
		v.problem = "it is not a JSON object"
		return v
	}
	if region := text(event["region"]); incident.ValidRegion(region) {
		v.region = region
	}
	if account := text(event["account"]); incident.ValidAccountID(account) {
		v.account = account
	}
	for _, resource := range array(event["resources"]) {
		if arn := text(resource); alarmARN().MatchString(arn) {
			v.alarmARN = arn
			break
		}
	}
	detail := object(event["detail"])
	v.alarmName = text(detail["alarmName"])
	if parts := alarmARN().FindStringSubmatch(v.alarmARN); v.alarmName == "" && parts != nil {
		v.alarmName = parts[4]
	}
	v.reason = text(object(detail["state"])["reason"])
	var ids []string
	for _, metric := range array(object(detail["configuration"])["metrics"]) {
		id := text(object(object(object(object(metric)["metricStat"])["metric"])["dimensions"])["InstanceId"])
		if incident.ValidInstanceID(id) && !slices.Contains(ids, id) && len(ids) < maxMembers {
			ids = append(ids, id)
		}
	}
	v.instances = strings.Join(ids, ", ")
	if v.alarmName == "" {
		v.problem = "it names no alarm"
	}
	return v
}

func object(raw json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

func array(raw json.RawMessage) []json.RawMessage {
	var a []json.RawMessage
	if json.Unmarshal(raw, &a) != nil {
		return nil
	}
	return a
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return oneLine(s)
}
