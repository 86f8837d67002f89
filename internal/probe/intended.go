package probe

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"firstline/internal/incident"
)

// Intended is what the var files would deploy, as terraform/modules/settings has
// completed it.
type Intended struct {
	// Name is the prefix of every name.
	Name  string `json:"-"`
	Slack *struct {
		ChannelID string `json:"channel_id"`
		APIURL    string `json:"api_url"`
	} `json:"slack"`
	// Pagers are their settings, in their order; each has a type.
	Pagers          []map[string]any          `json:"pagers"`
	ManagedPolicies int                       `json:"managed_policies"`
	Regions         map[string]IntendedRegion `json:"regions"`
}

// IntendedRegion is one region of it.
type IntendedRegion struct {
	// VPC is nil where the function is in none.
	VPC *struct {
		SubnetIDs        []string `json:"subnet_ids"`
		SecurityGroupIDs []string `json:"security_group_ids"`
	} `json:"vpc"`
	Instances map[string]IntendedInstance `json:"instances"`
	// ProbeConcurrency is what the probe reserves; 0 where there is none.
	ProbeConcurrency int `json:"probe_concurrency"`
}

// IDs are those of the instances, sorted.
func (r IntendedRegion) IDs() []string { return slices.Sorted(maps.Keys(r.Instances)) }

// IntendedInstance is one instance of it.
type IntendedInstance struct {
	Settings incident.Settings `json:"settings"`
	// Alarms are those that are enabled, by trigger.
	Alarms map[string]IntendedAlarm `json:"alarms"`
}

// IntendedAlarm is one of an instance's alarms.
type IntendedAlarm struct {
	Namespace         string            `json:"namespace"`
	Metric            string            `json:"metric"`
	Dimensions        map[string]string `json:"dimensions"`
	PeriodSeconds     int32             `json:"period_seconds"`
	Threshold         float64           `json:"threshold"`
	EvaluationPeriods int32             `json:"evaluation_periods"`
	Comparison        string            `json:"comparison"`
}

// Channel is one that needs a secret: its type, what people call it, and the secret's
// name.
type Channel struct{ Type, Title, Secret string }

// channels are all of them.
var channels = []Channel{
	{"slack", "Slack", "slack-token"},
	{"opsgenie", "OpsGenie", "opsgenie-api-key"},
	{"jsm", "Jira Service Management", "jsm-api-key"},
}

// Variable is the environment variable that Terraform takes the secret from.
func (c Channel) Variable() string { return "TF_VAR_" + strings.ReplaceAll(c.Secret, "-", "_") }

// Parameter is the secret's SSM parameter in a deployment.
func (c Channel) Parameter(deployment string) string {
	return "/" + deployment + "/secrets/" + c.Secret
}

// Channels are those that are to be used and need a secret.
func (i Intended) Channels() []Channel {
	return slices.DeleteFunc(slices.Clone(channels), func(c Channel) bool {
		if c.Type == "slack" {
			return i.Slack == nil
		}
		return !slices.ContainsFunc(i.Pagers, func(p map[string]any) bool { return p["type"] == c.Type })
	})
}

// pager is the setting of one pager as the function gets it.
func (c Channel) pager(i Intended) json.RawMessage {
	for _, p := range i.Pagers {
		if p["type"] == c.Type {
			p = maps.Clone(p)
			p["key_parameter"] = c.Parameter(i.Name)
			raw, _ := json.Marshal([]any{p}) // of JSON: it cannot fail
			return raw
		}
	}
	return nil
}
