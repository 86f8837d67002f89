package localaws

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// diagnostic is one finding of a validation, as AWS answers it.
type diagnostic struct {
	Severity string `json:"severity"`
	Code     string `json:"code"`
	Message  string `json:"message"`
	Location string `json:"location,omitempty"`
}

// validateDefinition answers ValidateStateMachineDefinition, which moto lacks.
// It finds what is broken in the structure; moto's engine parses the rest when
// the state machine is created.
func validateDefinition(q *request) *response {
	diagnostics := []diagnostic{}
	var definition map[string]any
	if err := json.Unmarshal([]byte(q.text("definition")), &definition); err != nil {
		diagnostics = append(diagnostics, diagnostic{"ERROR", "INVALID_JSON_DESCRIPTION", "The definition is not valid JSON: " + err.Error(), ""})
	} else {
		validateStates(definition, "", func(code, location, message string) {
			diagnostics = append(diagnostics, diagnostic{"ERROR", code, message, location})
		})
	}
	verdict := "OK"
	if len(diagnostics) > 0 {
		verdict = "FAIL"
	}
	return answerJSON(http.StatusOK, map[string]any{"result": verdict, "diagnostics": diagnostics, "truncated": false})
}

var stateTypes = []string{"Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"}

// validateStates checks one level of a definition: that every transition leads
// somewhere and every state is reached.
func validateStates(machine map[string]any, at string, report func(code, location, message string)) {
	states, ok := machine["States"].(map[string]any)
	if !ok || len(states) == 0 {
		report("SCHEMA_VALIDATION_FAILED", at+"/States", "States is missing or empty")
		return
	}
	reached := map[string]bool{}
	leads := func(from, field string, to any) {
		name, ok := to.(string)
		if !ok {
			report("SCHEMA_VALIDATION_FAILED", from, field+" is missing or no string")
			return
		}
		reached[name] = true
		if states[name] == nil {
			report("MISSING_TRANSITION_TARGET", from, fmt.Sprintf("%s leads to %q, and there is no such state", field, name))
		}
	}
	leads(at+"/StartAt", "StartAt", machine["StartAt"])
	for _, name := range slices.Sorted(maps.Keys(states)) {
		here := at + "/States/" + name
		state, ok := states[name].(map[string]any)
		if !ok {
			report("SCHEMA_VALIDATION_FAILED", here, "a state is an object")
			continue
		}
		kind, _ := state["Type"].(string)
		if !slices.Contains(stateTypes, kind) {
			report("SCHEMA_VALIDATION_FAILED", here+"/Type", fmt.Sprintf("Type is %q, and must be one of %s", kind, strings.Join(stateTypes, ", ")))
			continue
		}
		end, _ := state["End"].(bool)
		switch kind {
		case "Succeed", "Fail":
		case "Choice":
			choices, _ := state["Choices"].([]any)
			if len(choices) == 0 {
				report("SCHEMA_VALIDATION_FAILED", here+"/Choices", "Choices is missing or empty")
			}
			for i, c := range choices {
				choice, _ := c.(map[string]any)
				leads(fmt.Sprintf("%s/Choices[%d]", here, i), "Next", choice["Next"])
			}
			if state["Default"] != nil {
				leads(here+"/Default", "Default", state["Default"])
			}
		default:
			if end == (state["Next"] != nil) {
				report("SCHEMA_VALIDATION_FAILED", here, "exactly one of Next and End is needed")
			}
			if state["Next"] != nil {
				leads(here+"/Next", "Next", state["Next"])
			}
		}
		if kind == "Task" && state["Resource"] == nil {
			report("SCHEMA_VALIDATION_FAILED", here, "Resource is missing")
		}
		catches, _ := state["Catch"].([]any)
		for i, c := range catches {
			catch, _ := c.(map[string]any)
			leads(fmt.Sprintf("%s/Catch[%d]", here, i), "Next", catch["Next"])
		}
		branches, _ := state["Branches"].([]any)
		for i, b := range branches {
			branch, _ := b.(map[string]any)
			validateStates(branch, fmt.Sprintf("%s/Branches[%d]", here, i), report)
		}
		for _, field := range []string{"Iterator", "ItemProcessor"} {
			if inner, ok := state[field].(map[string]any); ok {
				validateStates(inner, here+"/"+field, report)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(states)) {
		if !reached[name] {
			report("MISSING_TRANSITION_TARGET", at+"/States/"+name, "no state leads here")
		}
	}
}

// deletions are the state machines that are to go once their executions have ended,
// by ARN.
type deletions struct {
	mu   sync.Mutex
	arns map[string]bool
}

// deleting answers for a state machine that is being deleted; nil lets moto answer,
// which deletes one at once. As on AWS it stays while an execution runs
// (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DeleteStateMachine.html);
// that such an execution ends with its present state is left out.
func (a *AWS) deleting(ctx context.Context, q *request) *response {
	arn := q.text("stateMachineArn")
	d := &a.deletions
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.action == "DeleteStateMachine" {
		if d.arns == nil {
			d.arns = map[string]bool{}
		}
		d.arns[arn] = true
	}
	if !d.arns[arn] {
		return nil
	}
	ask := func(action string, in map[string]string, out any) error {
		return callJSON(ctx, a.engine.do, a.engine.base, outsideKey, "states", action, q.region, in, out)
	}
	var running struct{ Executions []any }
	err := ask("ListExecutions", map[string]string{"stateMachineArn": arn, "statusFilter": "RUNNING"}, &running)
	if err != nil || len(running.Executions) == 0 {
		delete(d.arns, arn)
		// Of one that is not there moto says so itself.
		_ = ask("DeleteStateMachine", map[string]string{"stateMachineArn": arn}, nil)
		return nil
	}
	switch q.action {
	case "DeleteStateMachine":
		return answerJSON(http.StatusOK, struct{}{})
	case "StartExecution", "UpdateStateMachine":
		return q.refuse(http.StatusBadRequest, "StateMachineDeleting", "State Machine is being deleted: '"+arn+"'")
	case "DescribeStateMachine":
		var machine map[string]any
		if err := ask("DescribeStateMachine", map[string]string{"stateMachineArn": arn}, &machine); err != nil {
			return q.refuse(http.StatusInternalServerError, "InternalFailure", err.Error())
		}
		machine["status"] = "DELETING"
		return answerJSON(http.StatusOK, machine)
	}
	return nil
}
