package localaws

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// eventBridge is the service that delivers events.
const eventBridge = "events.amazonaws.com"

// executionsHeader is a header of our own: the executions that an answered call
// has started, separated by commas.
const executionsHeader = "X-Firstline-Executions"

const (
	deliveryAttempts = 3
	deliveryPause    = 200 * time.Millisecond
)

// Ring has an alarm go from OK to ALARM, as CloudWatch does when a datapoint
// crosses its threshold, and returns the ARNs of the executions that the deployed
// rules started. An alarm that is not OK is made so first, of which nobody hears.
func (a *AWS) Ring(ctx context.Context, region, alarmName, reason string) ([]string, error) {
	failed := func(err error) error { return fmt.Errorf("fire alarm %s in %s: %w", alarmName, region, err) }
	al, err := a.alarmNamed(ctx, region, alarmName)
	if err != nil {
		return nil, failed(err)
	}
	unlock := a.alarms.lock(region)
	err = a.moto.call(ctx, "monitoring", "SetAlarmState", region, al.change("OK", "Set to OK before the alarm fires."), nil)
	unlock()
	if err != nil {
		return nil, failed(err)
	}
	started, err := a.change(ctx, region, al.change("ALARM", reason))
	if err != nil {
		return started, failed(err)
	}
	return started, nil
}

// change sets an alarm's state and returns the executions that this started.
func (a *AWS) change(ctx context.Context, region string, in stateRequest) ([]string, error) {
	var started []string
	do := func(req *http.Request) (*response, error) {
		resp, err := a.moto.do(req)
		if err == nil {
			if arns := resp.header.Get(executionsHeader); arns != "" {
				started = append(started, strings.Split(arns, ",")...)
			}
		}
		return resp, err
	}
	err := callJSON(ctx, do, a.endpoint, outsideKey, "monitoring", "SetAlarmState", region, in, nil)
	return started, err
}

// stateRequest is what SetAlarmState takes.
type stateRequest struct{ AlarmName, StateValue, StateReason, StateReasonData string }

// change is the request that sets the alarm's state as if CloudWatch itself had
// looked at datapoints: they are what it says in the reason's data.
func (al alarm) change(state, reason string) stateRequest {
	now := time.Now().UTC()
	const form = "2006-01-02T15:04:05.000"
	data := struct {
		Version          string    `json:"version"`
		QueryDate        string    `json:"queryDate"`
		StartDate        string    `json:"startDate"`
		Statistic        string    `json:"statistic,omitempty"`
		Period           int       `json:"period,omitempty"`
		RecentDatapoints []float64 `json:"recentDatapoints"`
		Threshold        float64   `json:"threshold"`
	}{
		Version: "1.0", QueryDate: now.Format(form) + "+0000", Statistic: cmp.Or(al.Statistic, al.ExtendedStatistic), Period: al.Period, Threshold: al.Threshold,
	}
	looked := max(1, al.EvaluationPeriods)
	data.StartDate = now.Add(-time.Duration(looked*al.Period)*time.Second).Truncate(time.Minute).Format(form) + "+0000"
	data.RecentDatapoints = slices.Repeat([]float64{al.datapoint(state == "ALARM")}, looked)
	raw, err := json.Marshal(data)
	if err != nil {
		raw = []byte("{}") // a threshold that is no number
	}
	return stateRequest{AlarmName: al.AlarmName, StateValue: state, StateReason: reason, StateReasonData: string(raw)}
}

// datapoint is one that crosses the alarm's threshold, or one that does not.
func (al alarm) datapoint(crosses bool) float64 {
	beyond, within := 1.0, -1.0
	if strings.HasPrefix(al.ComparisonOperator, "Less") {
		beyond, within = within, beyond
	}
	switch {
	case !crosses:
		return al.Threshold + within
	case strings.Contains(al.ComparisonOperator, "OrEqual"):
		return al.Threshold
	}
	return al.Threshold + beyond
}

// alarmNamed reads one alarm.
func (a *AWS) alarmNamed(ctx context.Context, region, name string) (alarm, error) {
	found, err := a.describeAlarms(ctx, region, name)
	if err != nil {
		return alarm{}, err
	}
	for _, al := range found {
		return al, nil
	}
	return alarm{}, &apiError{http.StatusNotFound, "ResourceNotFound", "there is no such alarm"}
}

// PutEvent delivers an event, in the JSON form that targets see, as if a
// service had sent it to the region's default bus: its source may begin with
// "aws.", which the API's PutEvents refuses. It returns the ARNs of the
// executions that were started.
func (a *AWS) PutEvent(ctx context.Context, region string, event []byte) ([]string, error) {
	var decoded map[string]any
	if err := json.Unmarshal(event, &decoded); err != nil {
		return nil, fmt.Errorf("put an event: %w", err)
	}
	return a.deliver(ctx, region, "default", decoded, event)
}

// alarm is an alarm as DescribeAlarms answers it.
type alarm struct {
	AlarmName, AlarmArn, AlarmDescription    string
	StateValue, StateReason, StateReasonData string
	StateUpdatedTimestamp                    float64
	MetricName, Namespace, Unit              string
	Statistic, ExtendedStatistic             string
	Dimensions                               []dimension
	Period, EvaluationPeriods                int
	Threshold                                float64
	ComparisonOperator                       string
	Metrics                                  []struct {
		ID         string `json:"Id"`
		Expression string
		Label      string
		Period     int
		ReturnData *bool
		MetricStat *struct {
			Metric struct {
				Namespace, MetricName string
				Dimensions            []dimension
			}
			Period     int
			Stat, Unit string
		}
	}
}

type dimension struct{ Name, Value string }

// describeAlarms reads one alarm, or all of a region.
func (a *AWS) describeAlarms(ctx context.Context, region, name string) (map[string]alarm, error) {
	in := map[string]any{}
	if name != "" {
		in["AlarmNames"] = []string{name}
	}
	var out struct{ MetricAlarms []alarm }
	if err := a.moto.call(ctx, "monitoring", "DescribeAlarms", region, in, &out); err != nil {
		return nil, err
	}
	alarms := map[string]alarm{}
	for _, al := range out.MetricAlarms {
		alarms[al.AlarmArn] = al
	}
	return alarms, nil
}

// setAlarmState has moto change an alarm's state and delivers the event that
// CloudWatch sends when it really changed.
func (a *AWS) setAlarmState(ctx context.Context, q *request) *response {
	unlock := a.alarms.lock(q.region)
	name := q.field("AlarmName")
	before, err := a.describeAlarms(ctx, q.region, name)
	if err != nil {
		unlock()
		return q.refuse(http.StatusInternalServerError, "InternalFailure", err.Error())
	}
	resp := a.forward(q)
	after, err := a.describeAlarms(ctx, q.region, name)
	unlock()
	if err != nil {
		a.log.printf("%v", err)
		return resp
	}
	var started []string
	for arn, now := range after {
		was, known := before[arn]
		if !known || was.StateValue == now.StateValue {
			continue
		}
		event := stateChange(q.region, was, now)
		body, err := json.Marshal(event)
		if err == nil {
			var arns []string
			arns, err = a.PutEvent(ctx, q.region, body)
			started = append(started, arns...)
		}
		if err != nil {
			a.log.printf("deliver the state change of %s: %v", now.AlarmName, err)
		}
	}
	if len(started) > 0 {
		resp.header.Set(executionsHeader, strings.Join(started, ","))
	}
	return resp
}

// stateChange is the event of an alarm's change of state.
func stateChange(region string, was, now alarm) map[string]any {
	state := func(al alarm) map[string]any {
		s := map[string]any{
			"reason":    al.StateReason,
			"timestamp": seconds(al.StateUpdatedTimestamp).Format("2006-01-02T15:04:05.000") + "+0000",
			"value":     al.StateValue,
		}
		if al.StateReasonData != "" && al.StateReasonData != "{}" {
			s["reasonData"] = al.StateReasonData
		}
		return s
	}
	configuration := map[string]any{"metrics": metrics(now)}
	if now.AlarmDescription != "" {
		configuration["description"] = now.AlarmDescription
	}
	account := AccountID
	if parts := strings.Split(now.AlarmArn, ":"); len(parts) > 4 {
		account = parts[4]
	}
	return map[string]any{
		"version":     "0",
		"id":          newID(),
		"detail-type": "CloudWatch Alarm State Change",
		"source":      "aws.cloudwatch",
		"account":     account,
		"time":        seconds(now.StateUpdatedTimestamp).Format("2006-01-02T15:04:05Z"),
		"region":      region,
		"resources":   []any{now.AlarmArn},
		"detail": map[string]any{
			"alarmName":     now.AlarmName,
			"configuration": configuration,
			"previousState": state(was),
			"state":         state(now),
		},
	}
}

// metrics is what an alarm looks at, as the event says it.
func metrics(al alarm) []any {
	stat := func(namespace, name string, dimensions []dimension, period int, stat, unit string) map[string]any {
		values := map[string]any{}
		for _, d := range dimensions {
			values[d.Name] = d.Value
		}
		m := map[string]any{
			"metric": map[string]any{"dimensions": values, "name": name, "namespace": namespace},
			"period": period,
			"stat":   stat,
		}
		if unit != "" {
			m["unit"] = unit
		}
		return m
	}
	if len(al.Metrics) == 0 {
		statistic := al.Statistic
		if statistic == "" {
			statistic = al.ExtendedStatistic
		}
		return []any{map[string]any{
			"id":         newID(),
			"metricStat": stat(al.Namespace, al.MetricName, al.Dimensions, al.Period, statistic, al.Unit),
			"returnData": true,
		}}
	}
	list := []any{}
	for _, m := range al.Metrics {
		metric := map[string]any{"id": m.ID, "returnData": m.ReturnData == nil || *m.ReturnData}
		if m.Label != "" {
			metric["label"] = m.Label
		}
		if m.Expression != "" {
			metric["expression"] = m.Expression
		}
		if s := m.MetricStat; s != nil {
			metric["metricStat"] = stat(s.Metric.Namespace, s.Metric.MetricName, s.Metric.Dimensions, s.Period, s.Stat, s.Unit)
		}
		list = append(list, metric)
	}
	return list
}

func seconds(since float64) time.Time {
	return time.UnixMilli(int64(math.Round(since * 1000))).UTC()
}

// putEvents answers PutEvents: moto fails at targets that are state machines.
func (a *AWS) putEvents(ctx context.Context, q *request) *response {
	var in struct {
		Entries []struct {
			Source, DetailType, Detail, EventBusName string
			Resources                                []string
			Time                                     any
		}
	}
	if err := json.Unmarshal(q.body, &in); err != nil {
		return q.refuse(http.StatusBadRequest, "SerializationException", err.Error())
	}
	if len(in.Entries) == 0 || len(in.Entries) > 10 {
		return q.refuse(http.StatusBadRequest, "ValidationException",
			"1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length between 1 and 10")
	}
	results, failed := []map[string]string{}, 0
	var started []string
	refuse := func(code, message string) {
		failed++
		results = append(results, map[string]string{"ErrorCode": code, "ErrorMessage": message})
	}
	for _, e := range in.Entries {
		var detail map[string]any
		err := json.Unmarshal([]byte(e.Detail), &detail)
		switch {
		case e.Source == "" || e.DetailType == "" || e.Detail == "":
			refuse("InvalidArgument", "Source, DetailType and Detail are required arguments.")
			continue
		case strings.HasPrefix(e.Source, "aws."):
			refuse("NotAuthorizedForSource", "Not authorized for the source.")
			continue
		case err != nil:
			refuse("MalformedDetail", "Detail is malformed.")
			continue
		}
		at := time.Now().UTC()
		if since, ok := e.Time.(float64); ok {
			at = seconds(since)
		}
		if e.Resources == nil {
			e.Resources = []string{}
		}
		id := newID()
		body, err := json.Marshal(map[string]any{
			"version": "0", "id": id, "detail-type": e.DetailType, "source": e.Source, "account": AccountID,
			"time": at.Format("2006-01-02T15:04:05Z"), "region": q.region, "resources": e.Resources, "detail": detail,
		})
		var event map[string]any
		if err == nil {
			err = json.Unmarshal(body, &event)
		}
		if err == nil {
			var arns []string
			arns, err = a.deliver(ctx, q.region, busName(e.EventBusName), event, body)
			started = append(started, arns...)
		}
		if err != nil {
			a.log.printf("deliver event %s: %v", id, err)
		}
		results = append(results, map[string]string{"EventId": id})
	}
	resp := answerJSON(http.StatusOK, map[string]any{"FailedEntryCount": failed, "Entries": results})
	if len(started) > 0 {
		resp.header.Set(executionsHeader, strings.Join(started, ","))
	}
	return resp
}

// busName is the name of a bus, which callers give by name, ARN or not at all.
func busName(name any) string {
	s, _ := name.(string)
	if s == "" {
		return "default"
	}
	return s[strings.LastIndex(s, "/")+1:]
}

// rule and target are as ListRules and ListTargetsByRule answer them.
type rule struct{ Name, Arn, EventPattern, ScheduleExpression, State string }

type eventTarget struct {
	ID               string `json:"Id"`
	Arn              string
	RoleArn          string
	Input            *string
	InputPath        *string
	InputTransformer *struct {
		InputPathsMap map[string]string
		InputTemplate string
	}
	DeadLetterConfig struct{ Arn string }
	RetryPolicy      *struct{ MaximumRetryAttempts *int }
}

// deliver hands an event to the targets of every rule that matches it, and
// returns the executions that were started. A target that refuses is no error:
// what happens then is the target's dead-letter queue.
func (a *AWS) deliver(ctx context.Context, region, bus string, event map[string]any, body []byte) ([]string, error) {
	rules, err := a.rules(ctx, region, bus)
	if err != nil {
		return nil, err
	}
	var started []string
	var errs []error
	for _, r := range rules {
		if r.EventPattern == "" {
			continue
		}
		matches, err := matchPattern(r.EventPattern, event)
		if err != nil {
			errs = append(errs, fmt.Errorf("rule %s: %w", r.Name, err))
		}
		if !matches {
			continue
		}
		arns, err := a.deliverTo(ctx, region, bus, r, event, body)
		started = append(started, arns...)
		if err != nil {
			errs = append(errs, err)
		}
	}
	return started, errors.Join(errs...)
}

// rules reads the enabled rules of a bus.
func (a *AWS) rules(ctx context.Context, region, bus string) ([]rule, error) {
	var all []rule
	for token := ""; ; {
		in := map[string]any{"EventBusName": bus}
		if token != "" {
			in["NextToken"] = token
		}
		var page struct {
			Rules     []rule
			NextToken string
		}
		if err := a.moto.call(ctx, "events", "ListRules", region, in, &page); err != nil {
			return nil, err
		}
		for _, r := range page.Rules {
			if strings.HasPrefix(r.State, "ENABLED") {
				all = append(all, r)
			}
		}
		if token = page.NextToken; token == "" {
			return all, nil
		}
	}
}

// targets reads the targets of a rule.
func (a *AWS) targets(ctx context.Context, region, bus string, r rule) ([]eventTarget, error) {
	var out struct{ Targets []eventTarget }
	err := a.moto.call(ctx, "events", "ListTargetsByRule", region, map[string]any{"Rule": r.Name, "EventBusName": bus}, &out)
	return out.Targets, err
}

// deliverTo hands an event to the targets of one rule.
func (a *AWS) deliverTo(ctx context.Context, region, bus string, r rule, event map[string]any, body []byte) ([]string, error) {
	targets, err := a.targets(ctx, region, bus, r)
	if err != nil {
		return nil, err
	}
	var started []string
	for _, t := range targets {
		input, err := targetInput(t, r, event, body)
		if err != nil {
			a.log.printf("rule %s, target %s: %v", r.Name, t.ID, err)
			continue
		}
		retries := deliveryAttempts - 1
		if t.RetryPolicy != nil && t.RetryPolicy.MaximumRetryAttempts != nil {
			retries = min(retries, *t.RetryPolicy.MaximumRetryAttempts)
		}
		id, _ := event["id"].(string)
		for attempt := 0; ; attempt++ {
			var arn string
			if arn, err = a.send(ctx, t, r, id, input); err == nil {
				if arn != "" {
					started = append(started, arn)
				}
				break
			}
			if !retryable(err) || attempt >= retries {
				a.log.printf("rule %s, target %s: %v", r.Name, t.Arn, err)
				a.bury(ctx, t, r, body, err, attempt)
				break
			}
			select {
			case <-time.After(deliveryPause << attempt):
			case <-a.ctx.Done():
				return started, a.ctx.Err()
			}
		}
	}
	return started, nil
}

// send hands an input to one target, in the name of the target's role.
func (a *AWS) send(ctx context.Context, t eventTarget, r rule, eventID, input string) (execution string, err error) {
	parts := strings.SplitN(t.Arn, ":", 6)
	if len(parts) < 6 {
		return "", fmt.Errorf("%s is no ARN", t.Arn)
	}
	region := parts[3]
	switch parts[2] {
	case "states":
		if t.RoleArn == "" {
			return "", &apiError{http.StatusBadRequest, "ValidationException", "a target that is a state machine needs a role"}
		}
		if arn, _ := a.role(ctx, path.Base(t.RoleArn)); arn == "" {
			return "", &apiError{http.StatusForbidden, "FAILED_TO_ASSUME_ROLE", "there is no role " + t.RoleArn}
		}
		var out struct{ ExecutionArn string }
		err := a.asRole(ctx, t.RoleArn, "states", "StartExecution", region, map[string]string{
			"stateMachineArn": t.Arn, "name": eventID + "_" + newID(), "input": input,
		}, &out)
		return out.ExecutionArn, err
	case "sqs":
		return "", a.enqueue(ctx, t.Arn, map[string]any{"MessageBody": input})
	case "lambda":
		_, err := a.invokeFor(ctx, t, r, "Event", input)
		return "", err
	}
	return "", fmt.Errorf("rule %s: the local AWS delivers to state machines, queues and functions, not to %s", r.Name, t.Arn)
}

// enqueue sends a message to a queue in EventBridge's own name.
func (a *AWS) enqueue(ctx context.Context, queue string, message map[string]any) error {
	parts := strings.Split(queue, ":")
	if len(parts) != 6 {
		return fmt.Errorf("%s is no ARN of a queue", queue)
	}
	message["QueueUrl"] = fmt.Sprintf("%s/%s/%s", a.endpoint, parts[4], parts[5])
	return a.asRole(ctx, eventBridge, "sqs", "SendMessage", parts[3], message, nil)
}

// bury sends an event that a target did not take to its dead-letter queue, with
// the attributes of
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html.
func (a *AWS) bury(ctx context.Context, t eventTarget, r rule, body []byte, cause error, attempt int) {
	if t.DeadLetterConfig.Arn == "" {
		return
	}
	code, message := "SDK_CLIENT_ERROR", cause.Error()
	if e, ok := errors.AsType[*apiError](cause); ok {
		code, message = e.code, e.message
		switch {
		case strings.HasPrefix(code, "AccessDenied"):
			code = "NO_PERMISSIONS"
		case strings.HasSuffix(code, "DoesNotExist"), strings.HasSuffix(code, "NotFoundException"):
			code = "NO_RESOURCE"
		}
	}
	condition := "" // it was not tried again
	if retryable(cause) {
		condition = "MaximumRetryAttempts"
	}
	attributes := map[string]any{}
	for name, value := range map[string]string{
		"RULE_ARN": r.Arn, "TARGET_ARN": t.Arn, "ERROR_CODE": code, "ERROR_MESSAGE": message,
		"EXHAUSTED_RETRY_CONDITION": condition, "RETRY_ATTEMPTS": fmt.Sprint(attempt),
	} {
		if value != "" {
			attributes[name] = map[string]string{"DataType": "String", "StringValue": value}
		}
	}
	if err := a.enqueue(ctx, t.DeadLetterConfig.Arn, map[string]any{"MessageBody": string(body), "MessageAttributes": attributes}); err != nil {
		a.log.printf("rule %s: the event is lost, the dead-letter queue does not take it: %v", r.Name, err)
	}
}

// retryable says whether EventBridge would try again: not where a right or the
// target is missing
// (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html).
func retryable(err error) bool {
	e, ok := errors.AsType[*apiError](err)
	if !ok {
		return true // no answer
	}
	return e.status >= 500 || e.status == http.StatusTooManyRequests ||
		strings.Contains(e.code, "Throttl") || strings.Contains(e.code, "TooMany") || strings.Contains(e.code, "LimitExceeded")
}
