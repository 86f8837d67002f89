package probe

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"

	"firstline/internal/incident"
)

// Intended is what the var files would deploy, as terraform/modules/settings has
// completed it.
type Intended struct {
	// Name is the prefix of every name.
	Name string `json:"-"`
	// Channels are Slack, the pagers in their order and the heartbeat, where they are
	// used.
	Channels        []Channel                 `json:"channels"`
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

// Channel is one of those through which somebody is told.
type Channel struct {
	// Type is slack, heartbeat or a pager's.
	Type string `json:"type"`
	// Settings are what the function gets, but for the names of the secrets' parameters.
	Settings map[string]any `json:"settings"`
	// Secrets are by the setting that names the parameter.
	Secrets map[string]Secret `json:"secrets"`
}

// config is the channel's settings as the function gets them.
func (c Channel) config(deployment string) []byte {
	settings := maps.Clone(c.Settings)
	for setting, secret := range c.Secrets {
		settings[setting] = secret.Parameter(deployment)
	}
	raw, _ := json.Marshal(settings) // of JSON: it cannot fail
	return raw
}

// Secret is the name of a secret, such as "slack-token".
type Secret string

// Variable is the environment variable that Terraform takes the secret from.
func (s Secret) Variable() string { return "TF_VAR_" + strings.ReplaceAll(string(s), "-", "_") }

// Parameter is the secret's SSM parameter in a deployment.
func (s Secret) Parameter(deployment string) string {
	return "/" + deployment + "/secrets/" + string(s)
}

// Given is the value in the environment for a region, "" where there is none.
func (s Secret) Given(region string) string {
	return strings.ReplaceAll(os.Getenv(s.Variable()), "{region}", region)
}

// Secrets are those that the channels need, sorted.
func (i Intended) Secrets() []Secret {
	var all []Secret
	for _, c := range i.Channels {
		all = slices.AppendSeq(all, maps.Values(c.Secrets))
	}
	slices.Sort(all)
	return slices.Compact(all)
}
