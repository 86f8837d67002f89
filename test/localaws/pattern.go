package localaws

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// testEventPattern answers TestEventPattern, which moto lacks.
func testEventPattern(q *request) *response {
	var event any
	if err := json.Unmarshal([]byte(q.text("Event")), &event); err != nil {
		return q.refuse(http.StatusBadRequest, "ValidationException", "Event is not valid JSON: "+err.Error())
	}
	matches, err := matchPattern(q.text("EventPattern"), event)
	if err != nil {
		return q.refuse(http.StatusBadRequest, "InvalidEventPatternException", "Event pattern is not valid. Reason: "+err.Error())
	}
	return answerJSON(http.StatusOK, map[string]bool{"Result": matches})
}

// matchPattern says whether an event, as encoding/json decodes it, matches an
// EventBridge pattern.
func matchPattern(pattern string, event any) (bool, error) {
	var p map[string]any
	if err := json.Unmarshal([]byte(pattern), &p); err != nil {
		return false, fmt.Errorf("the pattern is not valid JSON: %w", err)
	}
	return matchObject(p, event)
}

// absent stands for a field that an event does not have.
type absent struct{}

func matchObject(pattern map[string]any, value any) (bool, error) {
	if list, ok := value.([]any); ok {
		return anyOf(list, func(v any) (bool, error) { return matchObject(pattern, v) })
	}
	object, _ := value.(map[string]any)
	all := true
	for name, want := range pattern {
		if alternatives, ok := want.([]any); ok && name == "$or" {
			matches, err := anyOf(alternatives, func(v any) (bool, error) {
				alternative, ok := v.(map[string]any)
				if !ok {
					return false, errors.New("$or must hold objects")
				}
				return matchObject(alternative, value)
			})
			if err != nil {
				return false, err
			}
			all = all && matches
			continue
		}
		var got any = absent{}
		if v, ok := object[name]; ok {
			got = v
		}
		var matches bool
		var err error
		switch want := want.(type) {
		case map[string]any:
			matches, err = matchObject(want, got)
		case []any:
			if len(want) == 0 {
				return false, errors.New("empty arrays are not allowed")
			}
			matches, err = anyOf(want, func(rule any) (bool, error) { return matchRule(rule, got) })
		default:
			err = fmt.Errorf("%q must be an object or an array", name)
		}
		if err != nil {
			return false, err
		}
		all = all && matches
	}
	return all, nil
}

func anyOf(list []any, matches func(any) (bool, error)) (bool, error) {
	found := false
	for _, v := range list {
		ok, err := matches(v)
		if err != nil {
			return false, err
		}
		found = found || ok
	}
	return found, nil
}

// matchRule says whether a value, or any element of it, matches one rule.
func matchRule(rule, got any) (bool, error) {
	if object, ok := rule.(map[string]any); ok {
		if exists, ok := object["exists"].(bool); ok {
			_, missing := got.(absent)
			_, inner := got.(map[string]any) // only leaves exist
			return exists == (!missing && !inner), nil
		}
	}
	if list, ok := got.([]any); ok {
		return anyOf(list, func(v any) (bool, error) { return matchLeaf(rule, v) })
	}
	return matchLeaf(rule, got)
}

func matchLeaf(rule, got any) (bool, error) {
	object, ok := rule.(map[string]any)
	if !ok {
		return same(rule, got), nil
	}
	if len(object) != 1 {
		return false, errors.New("a match expression holds one operator")
	}
	for operator, operand := range object {
		if _, missing := got.(absent); missing {
			return false, nil
		}
		return matchOperator(operator, operand, got)
	}
	return false, nil
}

// same compares values that are neither lists nor objects.
func same(x, y any) bool {
	switch x.(type) {
	case []any, map[string]any:
		return false
	}
	return x == y
}

func matchOperator(operator string, operand, got any) (bool, error) {
	text, isText := got.(string)
	if nested, ok := operand.(map[string]any); ok && (operator == "prefix" || operator == "suffix") {
		folded, _ := nested["equals-ignore-case"].(string)
		return isText && affix(operator, strings.ToLower(text), strings.ToLower(folded)), nil
	}
	operandText, operandIsText := operand.(string)
	switch operator {
	case "prefix", "suffix", "equals-ignore-case", "wildcard", "cidr":
		if !operandIsText {
			return false, fmt.Errorf("%s must be a string", operator)
		}
	}
	switch operator {
	case "prefix", "suffix":
		return isText && affix(operator, text, operandText), nil
	case "equals-ignore-case":
		return isText && strings.EqualFold(text, operandText), nil
	case "wildcard":
		return isText && wildcard(operandText, text), nil
	case "cidr":
		network, err := netip.ParsePrefix(operandText)
		if err != nil {
			return false, err
		}
		address, err := netip.ParseAddr(text)
		return err == nil && network.Contains(address), nil
	case "numeric":
		return matchNumeric(operand, got)
	case "anything-but":
		return matchAnythingBut(operand, got)
	}
	return false, fmt.Errorf("unrecognized match type %s", operator)
}

func affix(operator, text, part string) bool {
	if operator == "prefix" {
		return strings.HasPrefix(text, part)
	}
	return strings.HasSuffix(text, part)
}

func matchAnythingBut(operand, got any) (bool, error) {
	switch operand := operand.(type) {
	case []any:
		return !slices.ContainsFunc(operand, func(v any) bool { return same(v, got) }), nil
	case map[string]any:
		for operator, inner := range operand {
			list, ok := inner.([]any)
			if !ok {
				list = []any{inner}
			}
			matches, err := anyOf(list, func(v any) (bool, error) { return matchOperator(operator, v, got) })
			return !matches, err
		}
	}
	return !same(operand, got), nil
}

func matchNumeric(operand, got any) (bool, error) {
	number, ok := got.(float64)
	conditions, _ := operand.([]any)
	if len(conditions) == 0 || len(conditions)%2 != 0 {
		return false, errors.New("numeric must be a list of operators and numbers")
	}
	for i := 0; i < len(conditions); i += 2 {
		bound, isNumber := conditions[i+1].(float64)
		if !isNumber {
			return false, errors.New("numeric must be a list of operators and numbers")
		}
		switch conditions[i] {
		case "<":
			ok = ok && number < bound
		case "<=":
			ok = ok && number <= bound
		case "=":
			ok = ok && number == bound
		case ">=":
			ok = ok && number >= bound
		case ">":
			ok = ok && number > bound
		default:
			return false, fmt.Errorf("unrecognized numeric operator %v", conditions[i])
		}
	}
	return ok, nil
}

// wildcard matches text against a pattern in which * stands for any text.
func wildcard(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
