package localaws

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
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
