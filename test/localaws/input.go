package localaws

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// targetInput is what a target gets of an event.
func targetInput(t eventTarget, r rule, event map[string]any, body []byte) (string, error) {
	switch {
	case t.Input != nil && *t.Input != "":
		return *t.Input, nil
	case t.InputPath != nil && *t.InputPath != "":
		value, ok := jsonPath(*t.InputPath, event)
		if !ok {
			value = map[string]any{}
		}
		selected, err := json.Marshal(value)
		return string(selected), err
	case t.InputTransformer != nil:
		return transform(t.InputTransformer.InputTemplate, t.InputTransformer.InputPathsMap, r, event, body)
	}
	return string(body), nil
}

var placeholder = regexp.MustCompile(`<[A-Za-z0-9_.-]+>`)

// transform fills an input template: inside quotes a value becomes part of that
// string, elsewhere it is JSON.
func transform(template string, paths map[string]string, r rule, event map[string]any, body []byte) (string, error) {
	values := map[string]any{
		"aws.events.rule-arn":             r.Arn,
		"aws.events.rule-name":            r.Name,
		"aws.events.event":                event,
		"aws.events.event.json":           json.RawMessage(body),
		"aws.events.event.ingestion-time": time.Now().UTC().Format("2006-01-02T15:04:05Z"),
	}
	for name, path := range paths {
		value, ok := jsonPath(path, event)
		if !ok {
			value = nil
		}
		values[name] = value
	}
	var out strings.Builder
	quoted := false
	for rest := template; rest != ""; {
		if match := placeholder.FindString(rest); match != "" && strings.HasPrefix(rest, match) {
			name := match[1 : len(match)-1]
			if value, known := values[name]; known {
				text, err := filled(value, quoted)
				if err != nil {
					return "", fmt.Errorf("input template, %s: %w", match, err)
				}
				out.WriteString(text)
				rest = rest[len(match):]
				continue
			}
		}
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			out.WriteString(rest[:2])
			rest = rest[2:]
			continue
		case rest[0] == '"':
			quoted = !quoted
		}
		out.WriteByte(rest[0])
		rest = rest[1:]
	}
	if !json.Valid([]byte(out.String())) {
		return "", fmt.Errorf("the input template makes no JSON: %s", out.String())
	}
	return out.String(), nil
}

func filled(value any, quoted bool) (string, error) {
	js, err := json.Marshal(value)
	if err != nil || !quoted {
		return string(js), err
	}
	text, ok := value.(string)
	if !ok {
		if value == nil {
			return "", nil
		}
		text = string(js)
	}
	js, err = json.Marshal(text)
	if err != nil {
		return "", err
	}
	return string(js[1 : len(js)-1]), nil
}

var pathStep = regexp.MustCompile(`^(?:\.([^.\[\]]+)|\[(\d+)\]|\['([^']*)'\]|\["([^"]*)"\])`)

// jsonPath selects by the simple paths that EventBridge knows: $.detail.a[0].
func jsonPath(path string, value any) (any, bool) {
	rest, ok := strings.CutPrefix(path, "$")
	if !ok {
		return nil, false
	}
	for rest != "" {
		step := pathStep.FindStringSubmatch(rest)
		if step == nil {
			return nil, false
		}
		rest = rest[len(step[0]):]
		if step[2] != "" {
			list, _ := value.([]any)
			i, err := strconv.Atoi(step[2])
			if err != nil || i >= len(list) {
				return nil, false
			}
			value = list[i]
			continue
		}
		object, _ := value.(map[string]any)
		if value, ok = object[step[1]+step[3]+step[4]]; !ok {
			return nil, false
		}
	}
	return value, true
}
