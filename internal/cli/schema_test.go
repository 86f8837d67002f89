package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"firstline/internal/incident"
)

// results are what commands print with --json.
var results = []struct {
	commands string
	result   any
}{
	{"plan, deploy, destroy, drift", likeAll{rolloutResult{}}},
	{"verify", verifyResult{}},
	{"coverage", coverageResult{}},
	{"doctor", doctorResult{}},
	{"notify test", notifyResult{}},
	{"output", outputResult{}},
	{"pause, resume, handback", pauseResult{}},
	{"paused", pausedResult{}},
	{"incidents", likeAll{incidentsResult{}}},
	{"incidents --dry", likeAll{dryResult{}}},
	{"incident", likeAll{incidentResult{}}},
	{"explain", likeAll{explainResult{}}},
	{"redrive", redriveResult{}},
	{"regions", regionsResult{}},
	{"setup", setupResult{}},
}

// objects are what nested objects are called where that is not their type's name.
var objects = map[string]string{
	"letter": "message", "standing": "pause", "pauseLine": "pause_result", "Verification": "verified_region", "Notification": "notified_region",
	"Record": "incident", "Decision": "look", "outputRegion": "deployed_region", "AlertRef": "alert",
	"FactSaid": "fact", "GuardSaid": "guard", "known": "stored",
}

// schema writes the fields of results, and of the objects in them.
type schema struct {
	order []string
	lines map[string]string
}

// object returns what an object is called, whose fields it adds.
func (s *schema) object(t reflect.Type) string {
	name := objects[t.Name()]
	if name == "" {
		name = strings.ToLower(regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(t.Name(), "${1}_$2"))
	}
	if _, known := s.lines[name]; !known {
		s.lines[name] = ""
		s.order = append(s.order, name)
		s.lines[name] = strings.Join(s.fields(t), ", ")
	}
	return name
}

// fields are those of a struct; what may be missing has a question mark.
func (s *schema) fields(t reflect.Type) (all []string) {
	for f := range t.Fields() {
		key, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			all = append(all, s.fields(f.Type)...)
		case f.IsExported() && key != "-":
			if key == "execution" {
				key = "execution_arn" // as likeAll has it
			}
			if option != "" {
				option = "?"
			}
			all = append(all, strings.ToLower(key)+option+": "+s.kind(f.Type))
		}
	}
	return all
}

// kind is what a value is.
func (s *schema) kind(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time](), t == reflect.TypeFor[incident.Millis]():
		return "time"
	case t == reflect.TypeFor[incident.Settings]():
		return "settings"
	case t == reflect.TypeFor[incident.Severity]():
		return "string"
	}
	switch t.Kind() { //nolint:exhaustive // what results are made of
	case reflect.Pointer:
		return s.kind(t.Elem())
	case reflect.Slice:
		return "[" + s.kind(t.Elem()) + "]"
	case reflect.Map:
		return "{" + s.kind(t.Elem()) + "}"
	case reflect.Struct:
		return s.object(t)
	case reflect.Bool:
		return "bool"
	case reflect.String:
		return "string"
	case reflect.Interface:
		return "any"
	}
	return "number"
}

// fill gives everything in a value a value.
func fill(v reflect.Value) {
	switch v.Kind() { //nolint:exhaustive // what results are made of
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		element := reflect.New(v.Type().Elem()).Elem()
		fill(element)
		v.SetMapIndex(reflect.ValueOf("KEY").Convert(v.Type().Key()), element)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(noon))
			return
		}
		for n := range v.NumField() {
			if f := v.Type().Field(n); f.IsExported() && f.Tag.Get("json") != "-" {
				fill(v.Field(n))
			}
		}
	case reflect.Interface:
		if v.NumMethod() == 0 {
			v.Set(reflect.ValueOf("anything"))
		}
	case reflect.String:
		v.SetString("arn:aws:x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	}
}

// keys collects the keys of all objects of a decoded value, with what they hold, but for
// settings.
func keys(v any, into map[string]bool) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			keys(e, into)
		}
	case map[string]any:
		for key, e := range v {
			if key != "KEY" {
				into[fmt.Sprintf("%s %T", key, e)] = true
			}
			if key != "settings" {
				keys(e, into)
			}
		}
	}
}

// decodes says as what a kind is decoded.
func decodes(kind string) string {
	switch {
	case kind == "time", kind == "string", kind == "any":
		return "string"
	case kind == "number":
		return "float64"
	case kind == "bool":
		return "bool"
	case strings.HasPrefix(kind, "["):
		return "[]interface {}"
	}
	return "map[string]interface {}"
}

// The README has the fields of every result, which has these and no others.
func TestSchema(t *testing.T) {
	s := schema{lines: map[string]string{}}
	var text strings.Builder
	snake := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	documented := map[string]bool{}
	for _, r := range results {
		for name := range strings.SplitSeq(r.commands, ", ") {
			documented[name] = true
		}
		v, like := r.result, false
		if l, ok := v.(likeAll); ok {
			v, like = l.result, true
		}
		own := schema{lines: map[string]string{}}
		fmt.Fprintf(&text, "%s = %s\n", r.commands, strings.Join(s.fields(reflect.TypeOf(v)), ", "))
		want := regexp.MustCompile(`(?:^|, )([a-z0-9_]+)\??: ([^,]+)`).FindAllStringSubmatch(strings.Join(own.fields(reflect.TypeOf(v)), ", ")+", "+strings.Join(slices.Collect(maps.Values(own.lines)), ", "), -1)

		full := reflect.New(reflect.TypeOf(v)).Elem()
		fill(full)
		result := full.Interface()
		if like {
			result = likeAll{result}
		}
		var out bytes.Buffer
		var decoded any
		if err := printJSON(&out, result); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out.Bytes(), &decoded); err != nil {
			t.Fatal(err)
		}
		got, wanted := map[string]bool{}, map[string]bool{}
		keys(decoded, got)
		for _, m := range want {
			wanted[m[1]+" "+decodes(m[2])] = true
		}
		for key := range got {
			if name, _, _ := strings.Cut(key, " "); !snake.MatchString(name) {
				t.Errorf("%s: %q is not snake_case", r.commands, name)
			}
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(wanted)), slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("%s: what it prints is not what its types say (-types +printed):\n%s", r.commands, diff)
		}
	}
	for _, name := range s.order {
		fmt.Fprintf(&text, "%s = %s\n", name, s.lines[name])
	}
	readme, err := os.ReadFile("../../cmd/firstline/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(readme), "## JSON\n")
	_, block, _ = strings.Cut(block, "```\n")
	block, _, _ = strings.Cut(block, "```\n")
	if squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }; squeeze(block) != squeeze(text.String()) {
		t.Errorf("README.md does not have this under JSON:\n%s", text.String())
	}
	for _, c := range leaves(newRoot(Build{})) {
		if name := strings.TrimPrefix(c.CommandPath(), "firstline "); c.Flag("json") != nil && !documented[name] {
			t.Errorf("%s: its result is not in the list of results above", name)
		}
	}
}

// leaves are the commands that do something.
func leaves(c *cobra.Command) (all []*cobra.Command) {
	for _, sub := range c.Commands() {
		all = append(all, leaves(sub)...)
	}
	if len(all) == 0 {
		return []*cobra.Command{c}
	}
	return all
}
