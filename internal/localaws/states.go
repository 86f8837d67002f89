package localaws

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
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
