package localaws

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-cmp/cmp"
)

func TestInvocations(t *testing.T) {
	a := shared(t)
	client, name, _ := makeFunction(t, a, nil)
	invoke(t, client, name, `{"do": "named error"}`)
	invoke(t, client, name+":1", `{"do":"first of its version"}`)
	invoke(t, client, name, `{"do":"second"}`)
	type run struct {
		Version, Event, Answer string
		Failed, Cold           bool
	}
	want := []run{
		{"$LATEST", `{"do": "named error"}`, `"Denied"`, true, true},
		{"1", `{"do":"first of its version"}`, `"count":1`, false, true},
		{"$LATEST", `{"do":"second"}`, `"count":2`, false, false},
	}
	var got []run
	for i, r := range a.Invocations(name) {
		one := run{r.Version, string(r.Event), string(r.Answer), r.Failed, r.Cold}
		if i < len(want) && strings.Contains(one.Answer, want[i].Answer) {
			one.Answer = want[i].Answer
		}
		got = append(got, one)
		var event struct{ Do string }
		if err := json.Unmarshal(r.Event, &event); err != nil {
			t.Error(err)
		}
		for _, line := range []string{"START RequestId: " + r.RequestID, "doing " + event.Do + "\n", "END RequestId: " + r.RequestID} {
			if strings.Count(r.Log, line) != 1 {
				t.Errorf("its log lacks %q:\n%s", line, r.Log)
			}
		}
		if strings.Count(r.Log, "START ") != 1 || r.Time.IsZero() {
			t.Errorf("at %s another's log:\n%s", r.Time, r.Log)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	broken, brokenName, _ := makeFunction(t, a, func(in *lambda.CreateFunctionInput) {
		in.Environment.Variables["FAIL"] = "init"
	})
	invoke(t, broken, brokenName, `{}`)
	if runs := a.Invocations(brokenName); len(runs) != 1 || !runs[0].Failed || !strings.Contains(string(runs[0].Answer), "exit status 3") {
		t.Errorf("got %+v", runs)
	}
	if all := a.Invocations("nobody"); len(all) != 0 {
		t.Errorf("got %v", fmt.Sprint(all))
	}
}

// Lambda filters the lines of a function by level, and its own lines by another one.
func TestLogLevels(t *testing.T) {
	a := shared(t)
	const at = `"timestamp":"2026-11-24T16:51:31.587Z"`
	lines := []string{
		`{"level":"DEBUG",` + at + `}`,
		`{"level":"INFO",` + at + `}`,
		`{"level":"WARN",` + at + `}`,
		`{"level":"error",` + at + `}`,
		`{"level":"ERROR"}`,
		`{"level":"ERROR","time":"2026-11-24T16:51:31.587Z"}`,
		`{"level":"ERROR","Timestamp":"2026-11-24T16:51:31.587Z"}`,
		`{"level":"ERROR","timestamp":"2026-11-24T16:51:31.587+0000"}`,
		`{"level":"severe",` + at + `}`,
		`level=ERROR`,
	}
	body, err := json.Marshal(map[string]string{"do": "print", "body": strings.Join(lines, "\n")})
	if err != nil {
		t.Fatal(err)
	}
	for level, want := range map[lambdatypes.ApplicationLogLevel][]string{
		"":                                   lines[1:], // INFO
		lambdatypes.ApplicationLogLevelDebug: lines,
		lambdatypes.ApplicationLogLevelWarn:  lines[2:4],
		lambdatypes.ApplicationLogLevelError: lines[3:4],
	} {
		client, name, _ := makeFunction(t, a, func(in *lambda.CreateFunctionInput) {
			in.LoggingConfig = &lambdatypes.LoggingConfig{LogFormat: lambdatypes.LogFormatJson, ApplicationLogLevel: level}
		})
		invoke(t, client, name, string(body))
		printed := func() []string {
			return slices.DeleteFunc(strings.Split(a.Logs(name), "\n"), func(line string) bool { return !strings.Contains(line, "level") })
		}
		eventually(t, "its lines", func() bool { return len(printed()) >= len(want) })
		if diff := cmp.Diff(want, printed()); diff != "" {
			t.Errorf("%s: %s", level, diff)
		}
		if logs := a.Logs(name); !strings.Contains(logs, "START RequestId") || !strings.Contains(logs, "REPORT RequestId") {
			t.Errorf("%s: Lambda's own lines are missing:\n%s", level, logs)
		}
	}
}
