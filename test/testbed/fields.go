package testbed

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// rule says what is wrong with the value of a field; "" where nothing is.
type rule func(value any) string

// object reads the JSON object of a request.
func object(r *http.Request, body string) (fields map[string]any, status int, wrong string) {
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/json" {
		return nil, http.StatusUnsupportedMediaType, fmt.Sprintf("Content-Type is %q, and application/json is wanted", r.Header.Get("Content-Type"))
	}
	if err := json.Unmarshal([]byte(body), &fields); err != nil || fields == nil {
		return nil, http.StatusBadRequest, "Could not parse the body: it is no JSON object"
	}
	return fields, 0, ""
}

// wrong says what is wrong with fields, of which some are wanted, by their names.
func wrong(fields map[string]any, rules map[string]rule, wanted ...string) map[string]string {
	wrong := map[string]string{}
	for name, value := range fields {
		check, known := rules[name]
		if !known {
			wrong[name] = fmt.Sprintf("is unknown, and one of %s is wanted", strings.Join(slices.Sorted(maps.Keys(rules)), ", "))
		} else if what := check(value); what != "" {
			wrong[name] = what
		}
	}
	for _, name := range wanted {
		if text, ok := fields[name].(string); fields[name] == nil || ok && strings.TrimSpace(text) == "" {
			wrong[name] = "is mandatory, and missing or empty"
		}
	}
	return wrong
}

// holding is an object with such fields, of which some are wanted.
func holding(rules map[string]rule, wanted ...string) rule {
	return func(value any) string {
		fields, ok := value.(map[string]any)
		if !ok {
			return "is no object"
		}
		for name, what := range wrong(fields, rules, wanted...) {
			return "." + name + " " + what
		}
		return ""
	}
}

func chars(most int) rule {
	return func(value any) string {
		text, ok := value.(string)
		if !ok {
			return "is no string"
		}
		if n := len([]rune(text)); n > most {
			return fmt.Sprintf("has %d characters, and at most %d are allowed", n, most)
		}
		return ""
	}
}

func oneOf(values ...string) rule {
	return func(value any) string {
		if text, _ := value.(string); !slices.Contains(values, text) {
			return fmt.Sprintf("is %v, and one of %s is wanted", value, strings.Join(values, ", "))
		}
		return ""
	}
}

func list(most int, each rule) rule {
	return func(value any) string {
		items, ok := value.([]any)
		if !ok {
			return "is no list"
		}
		if len(items) > most {
			return fmt.Sprintf("has %d items, and at most %d are allowed", len(items), most)
		}
		for n, item := range items {
			if item == "" {
				return fmt.Sprintf("item %d is empty", n)
			}
			if what := each(item); what != "" {
				return fmt.Sprintf("item %d %s", n, what)
			}
		}
		return ""
	}
}

// anything has no rule.
func anything(any) string { return "" }

func flag(value any) string {
	if _, ok := value.(bool); !ok {
		return "is neither true nor false"
	}
	return ""
}

func moment(value any) string {
	text, _ := value.(string)
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return fmt.Sprintf("is %v, and a time such as 2026-01-02T03:04:05Z is wanted", value)
	}
	return ""
}
