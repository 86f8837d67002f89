// Package deployed reads what the Terraform root says of each region that is
// deployed: its outputs.
package deployed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"firstline/internal/incident"
)

// Region is what is deployed in one region: the root's output of the region's
// name, which are the outputs of terraform/modules/region.
type Region struct {
	Region    string `json:"region"`
	AccountID string `json:"account_id"`
	// Name is the prefix of every name.
	Name string `json:"name"`
	// Version is that of the Terraform code that was applied here last.
	Version string `json:"version"`
	// Commit is what the function was built from, "" when that is not known.
	Commit          string `json:"commit"`
	StateMachineARN string `json:"state_machine_arn"`
	FunctionName    string `json:"function_name"`
	// FunctionARN names the published version that incidents call.
	FunctionARN        string `json:"function_arn"`
	RuleName           string `json:"rule_name"`
	CanaryRuleName     string `json:"canary_rule_name"`
	ReconcileRuleName  string `json:"reconcile_rule_name"`
	DeadLetterQueueURL string `json:"dead_letter_queue_url"`
	// TableName is the table of instances, the region, alerts and records.
	TableName     string `json:"table_name"`
	DashboardName string `json:"dashboard_name"`
	// AlarmTopicARN is nil without subscribers.
	AlarmTopicARN *string `json:"alarm_topic_arn"`
	// AlarmNames are the alarms on instances, SelfAlarmNames those on the
	// deployment itself.
	AlarmNames     []string `json:"alarm_names"`
	SelfAlarmNames []string `json:"self_alarm_names"`
	InstanceIDs    []string `json:"instance_ids"`
	// Pagers are the types of the pagers, in their order.
	Pagers []string `json:"pagers"`
	// PagerTopicARN is the topic of the pager sns, which may be of another region
	// and account; "" without that pager, and where the version that was applied
	// does not tell.
	PagerTopicARN    string `json:"pager_topic_arn"`
	FunctionLogGroup string `json:"function_log_group"`
	// ProbeLogGroup is that of the function that other regions ask, "" where none does.
	ProbeLogGroup string `json:"probe_log_group"`
	// ExecutionLogGroup is the state machine's.
	ExecutionLogGroup string `json:"execution_log_group"`

	// Lost is why nothing else is known of it: Find has failed. It is nil of a region
	// that a state tells of.
	Lost error `json:"-"`
}

// Decode picks the regions out of the values of `terraform output -json`. What
// is null is not deployed, and what is no region is none of ours: both are
// skipped. A region of which only a part is deployed is returned with what it
// has.
func Decode(raw map[string]json.RawMessage) (map[string]Region, error) {
	regions := map[string]Region{}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		if !isRegion(raw[name]) {
			continue
		}
		var r Region
		if err := json.Unmarshal(raw[name], &r); err != nil {
			return nil, fmt.Errorf("output %q: %w; apply the root again with this version", name, err)
		}
		if r.Region != name {
			return nil, fmt.Errorf("output %q: it is of the region %q; write regions.tf anew with `firstline regions`", name, r.Region)
		}
		regions[name] = r
	}
	return regions, nil
}

// isRegion tells a region's output from others. The root's own outputs are
// strings, and somebody's own root may have any.
func isRegion(value json.RawMessage) bool {
	if !bytes.HasPrefix(bytes.TrimSpace(value), []byte("{")) {
		return false
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil {
		return false
	}
	_, machine := fields["state_machine_arn"]
	return machine && bytes.HasPrefix(fields["region"], []byte(`"`))
}

// Alarms returns the names of the alarms on an instance.
func (r Region) Alarms(instanceID string) (names []string) {
	for _, name := range r.AlarmNames {
		if id, _ := incident.AlarmOf(name); id == instanceID {
			names = append(names, name)
		}
	}
	return names
}

// Watched returns how many instances have an alarm, also if only some are asked about.
func (r Region) Watched() int {
	ids := map[string]bool{}
	for _, name := range r.AlarmNames {
		id, _ := incident.AlarmOf(name)
		ids[id] = true
	}
	return len(ids)
}

// AlarmARN returns the ARN of an alarm in this region.
func (r Region) AlarmARN(name string) string {
	return fmt.Sprintf("arn:%s:cloudwatch:%s:%s:alarm:%s", r.Partition(), r.Region, r.AccountID, name)
}

// Partition returns the partition that the region's ARNs name.
func (r Region) Partition() string {
	for _, arn := range []string{r.StateMachineARN, r.FunctionARN} {
		if parts := strings.SplitN(arn, ":", 3); len(parts) == 3 {
			return parts[1]
		}
	}
	return "aws"
}
