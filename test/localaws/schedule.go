package localaws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Tick lets one period of every schedule in a region pass: each enabled rule
// that has one is handed to its targets, once. It returns what the functions
// among them answered and the ARNs of the executions that were started. Unlike
// Lambda, which would queue the event and try twice more, it waits for the
// functions and makes a failed one an error.
func (a *AWS) Tick(ctx context.Context, region string) ([]string, error) {
	const bus = "default" // the only one with schedules
	rules, err := a.rules(ctx, region, bus)
	if err != nil {
		return nil, fmt.Errorf("tick in %s: %w", region, err)
	}
	var answers []string
	var errs []error
	for _, r := range rules {
		if r.ScheduleExpression == "" {
			continue
		}
		targets, err := a.targets(ctx, region, bus, r)
		if err != nil {
			errs = append(errs, err)
		}
		for _, t := range targets {
			answer, err := a.tick(ctx, region, r, t)
			if answer != "" {
				answers = append(answers, answer)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("rule %s, target %s: %w", r.Name, t.Arn, err))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return answers, fmt.Errorf("tick in %s: %w", region, err)
	}
	return answers, nil
}

// tick hands one period of a schedule to one target.
func (a *AWS) tick(ctx context.Context, region string, r rule, t eventTarget) (string, error) {
	event := map[string]any{
		"version": "0", "id": newID(), "detail-type": "Scheduled Event", "source": "aws.events", "account": AccountID,
		"time": time.Now().UTC().Format("2006-01-02T15:04:05Z"), "region": region, "resources": []any{r.Arn}, "detail": map[string]any{},
	}
	body, err := json.Marshal(event)
	if err != nil {
		return "", err
	}
	input, err := targetInput(t, r, event, body)
	if err != nil {
		return "", err
	}
	if !strings.Contains(t.Arn, ":lambda:") {
		return a.send(ctx, t, r, event["id"].(string), input)
	}
	resp, err := a.invokeFor(ctx, t, r, "RequestResponse", input)
	if err != nil {
		return "", err
	}
	if resp.header.Get("X-Amz-Function-Error") != "" {
		return "", fmt.Errorf("the function failed: %s", resp.body)
	}
	return string(resp.body), nil
}

// invokeFor invokes the function that is a rule's target, in EventBridge's name.
func (a *AWS) invokeFor(ctx context.Context, t eventTarget, r rule, kind, input string) (*response, error) {
	name := parseFunctionName(t.Arn, "", "")
	if err := a.functions.admits(ctx, name, eventBridge, r.Arn); err != nil {
		return nil, err
	}
	address := a.endpoint + "/2015-03-31/functions/" + url.PathEscape(name.arn()) + "/invocations"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(input))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Amz-Invocation-Type", kind)
	sign(req, a.keyOf(eventBridge), name.region, "lambda")
	resp, err := a.moto.do(req)
	if err != nil {
		return nil, err
	}
	if resp.status/100 != 2 {
		return nil, readError(resp)
	}
	return resp, nil
}

// words is one string or a list of them, as policies write both.
type words []string

func (w *words) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		*w = make(words, 1)
		return json.Unmarshal(data, &(*w)[0])
	}
	return json.Unmarshal(data, (*[]string)(w))
}

// admission is a statement of a function's own policy.
type admission struct {
	Effect           string
	Principal        json.RawMessage
	Action, Resource words
	Condition        map[string]map[string]words
}

// admits says whether a function's own policy lets a service invoke it for the
// sake of a rule: a service has no role whose policies could.
func (fs *functions) admits(ctx context.Context, name functionName, service, source string) error {
	address := "/2015-03-31/functions/" + url.PathEscape(name.name) + "/policy"
	if name.qualifier != "" {
		address += "?Qualifier=" + url.QueryEscape(name.qualifier)
	}
	resp, err := fs.aws.moto.get(ctx, "lambda", name.region, address)
	if err != nil {
		return err
	}
	var answer struct{ Policy string }
	var policy struct{ Statement []admission }
	switch {
	case resp.status == http.StatusNotFound: // it has none
	case resp.status != http.StatusOK:
		return readError(resp)
	default:
		if err := json.Unmarshal(resp.body, &answer); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(answer.Policy), &policy); err != nil {
			return fmt.Errorf("the policy of %s: %w", name.arn(), err)
		}
	}
	if slices.ContainsFunc(policy.Statement, func(s admission) bool { return s.lets(service, name.arn(), source) }) {
		return nil
	}
	return &apiError{http.StatusForbidden, "NO_PERMISSIONS", fmt.Sprintf("the policy of %s does not let %s invoke it for %s", name.arn(), service, source)}
}

// lets says whether the statement allows a service to invoke a function for the
// sake of a source.
func (s admission) lets(service, function, source string) bool {
	var principal struct{ Service words }
	_ = json.Unmarshal(s.Principal, &principal)
	if s.Effect != "Allow" || !slices.Contains(principal.Service, service) ||
		!slices.Contains(s.Action, "lambda:InvokeFunction") || !slices.Contains(s.Resource, function) {
		return false
	}
	for operator, conditions := range s.Condition {
		for key, patterns := range conditions {
			value := map[string]string{"aws:sourcearn": source, "aws:sourceaccount": AccountID}[strings.ToLower(key)]
			met := func(pattern string) bool {
				switch operator {
				case "ArnLike", "ArnEquals", "StringLike":
					return wildcard(pattern, value)
				case "StringEquals":
					return pattern == value
				}
				return false
			}
			if !slices.ContainsFunc(patterns, met) {
				return false
			}
		}
	}
	return true
}
