package localaws

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Policy is an IAM policy document, as far as this project's policies go.
type Policy struct {
	Version   string
	Statement []Statement
}

// Statement allows or denies its actions on its resources, if all its conditions
// hold.
type Statement struct {
	Sid       string `json:",omitempty"`
	Effect    string
	Action    Words
	Resource  Words
	Condition map[string]map[string]Words `json:",omitempty"`
}

// Words is one string or a list of them: policies write both.
type Words []string

// UnmarshalJSON implements [json.Unmarshaler].
func (w *Words) UnmarshalJSON(data []byte) error {
	var one string
	if err := json.Unmarshal(data, &one); err == nil {
		*w = Words{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(w))
}

// ParsePolicy reads a policy of an identity. It refuses what [Allowed] does not
// evaluate.
func ParsePolicy(document []byte) (p Policy, err error) {
	d := json.NewDecoder(bytes.NewReader(document))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return p, fmt.Errorf("read IAM policy: %w", err)
	}
	for _, s := range p.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return p, fmt.Errorf("read IAM policy: statement %q has the effect %q", s.Sid, s.Effect)
		}
		if strings.Contains(strings.Join(slices.Concat(s.Action, s.Resource), ""), "?") {
			return p, fmt.Errorf("read IAM policy: statement %q has a ?, which the local AWS does not evaluate", s.Sid)
		}
		for operator := range s.Condition {
			if !slices.Contains([]string{"StringEquals", "StringLike", "ArnEquals", "ArnLike"}, operator) {
				return p, fmt.Errorf("read IAM policy: statement %q has the condition operator %q, which the local AWS does not evaluate", s.Sid, operator)
			}
		}
	}
	return p, nil
}

// Allowed reports whether policies of one identity allow a call on everything that
// it is made on: a statement allows it, and none denies it.
func Allowed(policies []Policy, c Call) bool {
	for _, resource := range c.Resources {
		allowed := false
		for _, p := range policies {
			for _, s := range p.Statement {
				if !s.matches(c, resource) {
					continue
				}
				if s.Effect == "Deny" {
					return false
				}
				allowed = true
			}
		}
		if !allowed {
			return false
		}
	}
	return len(c.Resources) > 0
}

func (s *Statement) matches(c Call, resource string) bool {
	action := strings.ToLower(c.Service + ":" + c.Action)
	if !slices.ContainsFunc(s.Action, func(p string) bool { return wildcard(strings.ToLower(p), action) }) ||
		!slices.ContainsFunc(s.Resource, func(p string) bool { return wildcard(p, resource) }) {
		return false
	}
	for operator, keys := range s.Condition {
		for key, patterns := range keys {
			value, ok := c.Context[key]
			if !ok || !slices.ContainsFunc(patterns, func(p string) bool {
				return p == value || operator != "StringEquals" && wildcard(p, value)
			}) {
				return false
			}
		}
	}
	return true
}
