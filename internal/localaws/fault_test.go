package localaws

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/google/go-cmp/cmp"
)

// puts is an event in which the test function writes items to a table, one
// after the other.
func puts(t *testing.T, table, item string, times int) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"TableName": table, "Item": map[string]any{"pk": map[string]string{"S": item}, "sk": map[string]string{"S": "x"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	event, err := json.MarshalIndent(map[string]any{
		"do": "call", "service": "dynamodb", "target": "DynamoDB_20120810.PutItem", "body": string(body), "times": times, "name": item,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(event)
}

func TestKill(t *testing.T) {
	a := shared(t)
	tables, table := makeTable(t, a, region)
	client, name, _ := makeFunction(t, a, nil)
	stored := func(item string) bool {
		out, err := tables.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: table, Key: itemKey(item, "x")})
		if err != nil {
			t.Fatal(err)
		}
		return len(out.Item) > 0
	}
	for item, tt := range map[string]struct {
		fault  Fault
		calls  int // that the function makes
		begun  int // of these, before its end
		stored bool
		kind   string // "" where it lives
		text   string
	}{
		"before":      {Fault{Kill: KillBefore}, 1, 1, false, errExited, "Runtime exited with error: signal: killed"},
		"after":       {Fault{Kill: KillAfter}, 1, 1, true, errExited, "signal: killed"},
		"third":       {Fault{Kill: KillBefore, Skip: 2}, 4, 3, true, errExited, "signal: killed"},
		"time":        {Fault{Kill: KillAfter, Code: "Sandbox.Timedout"}, 2, 1, true, errTimedOut, "Task timed out after 20.00 seconds"},
		"memory":      {Fault{Kill: KillBefore, Code: "Runtime.OutOfMemory"}, 1, 1, false, "Runtime.OutOfMemory", "signal: killed"},
		"words":       {Fault{Kill: KillBefore, Message: "it was the fault's"}, 1, 1, false, errExited, "it was the fault's"},
		"during":      {Fault{Kill: KillBefore, During: []string{`"do":"call"`, `"name":"during"`}}, 1, 1, false, errExited, "signal: killed"},
		"during-else": {Fault{Kill: KillBefore, During: []string{`"do":"call"`, `"name":"somebody"`}}, 1, 1, true, "", ""},
	} {
		t.Run(item, func(t *testing.T) {
			f := tt.fault
			f.Service, f.Action, f.Contains, f.Times = "dynamodb", "PutItem", `"`+item+`"`, 1
			fault := a.AddFault(f)
			defer fault.Remove()
			got := invoke(t, client, name, puts(t, *table, item, tt.calls))
			if got.ErrorType != tt.kind || !strings.Contains(got.ErrorMessage, tt.text) || (got.functionError != "") != (tt.kind != "") {
				t.Errorf("got %+v", got)
			}
			if stored(item) != tt.stored {
				t.Errorf("stored: %v, want %v", !tt.stored, tt.stored)
			}
			runs := a.Invocations(name)
			last := runs[len(runs)-1]
			if begun := strings.Count(last.Log, "\ncall "); begun != tt.begun {
				t.Errorf("it began %d calls, want %d:\n%s", begun, tt.begun, last.Log)
			}
			if tt.kind == "" {
				return
			}
			if fault.Hits() != 1 || !last.Failed {
				t.Errorf("%d hits, %+v", fault.Hits(), last)
			}
			// The next one, in a process of its own, does it.
			if again := invoke(t, client, name, puts(t, *table, item, 1)); again.functionError != "" || again.Count != 1 || !stored(item) {
				t.Errorf("again: %+v", again)
			}
		})
	}
	t.Run("nobody else", func(t *testing.T) {
		fault := a.AddFault(Fault{Service: "dynamodb", Contains: "nobody", Kill: KillBefore})
		defer fault.Remove()
		if _, err := tables.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: table, Item: itemKey("nobody", "x")}); err != nil || fault.Hits() != 0 {
			t.Errorf("an outside caller: %v, %d hits", err, fault.Hits())
		}
	})
}

func TestSkip(t *testing.T) {
	a := shared(t)
	params := ssm.NewFromConfig(a.Config(region), func(o *ssm.Options) { o.RetryMaxAttempts = 1 })
	fault := a.AddFault(Fault{Service: "ssm", Contains: "/skip/", Skip: 1, Times: 2, Code: "ThrottlingException"})
	defer fault.Remove()
	var got []string
	for range 5 {
		_, err := params.GetParameter(t.Context(), &ssm.GetParameterInput{Name: aws.String("/skip/x")})
		got = append(got, code(err))
	}
	if diff := cmp.Diff([]string{"ParameterNotFound", "ThrottlingException", "ThrottlingException", "ParameterNotFound", "ParameterNotFound"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestHang(t *testing.T) {
	a := shared(t)
	tables, table := makeTable(t, a, region)
	for item, tt := range map[string]struct {
		drop   Drop
		stored bool
	}{"hangs": {DropNothing, false}, "hangs-when-done": {DropAnswer, true}} {
		fault := a.AddFault(Fault{Service: "dynamodb", Contains: `"` + item + `"`, Hang: true, Drop: tt.drop, Times: 1})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := tables.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: itemKey(item, "x")})
		cancel()
		if err == nil || ctx.Err() == nil || fault.Hits() != 1 {
			t.Errorf("%s: it was answered: %v", item, err)
		}
		out, err := tables.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: table, Key: itemKey(item, "x")})
		if err != nil || (len(out.Item) > 0) != tt.stored {
			t.Errorf("%s: got %v, %v, want it stored: %v", item, out, err, tt.stored)
		}
	}
}

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

func TestDuringOfAnInvocation(t *testing.T) {
	a := shared(t)
	client, name, _ := makeFunction(t, a, nil)
	fault := a.AddFault(Fault{Service: "lambda", During: []string{`"do":"x"`, `"name":"i-1"`}, Status: 500, Code: "ServiceException"})
	defer fault.Remove()
	var got []string
	for _, event := range []string{`{"do": "x", "name": "i-2"}`, "{\"do\":\n\"x\", \"name\": \"i-1\"}", `{"do": "y", "name": "i-1"}`} {
		_, err := tryInvoke(t.Context(), client, name, event)
		got = append(got, code(err))
	}
	if diff := cmp.Diff([]string{"<nil>", "ServiceException", "<nil>"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestRetryPace(t *testing.T) {
	shared(t) // for the package
	if _, err := Start(t.Context(), Options{Moto: bench.moto, RetryPace: -1}); err == nil {
		t.Error("it runs backwards")
	}
	a, err := Start(t.Context(), Options{Moto: bench.moto, RetryPace: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	_, name, role := makeFunction(t, a, nil)
	fault := a.AddFault(Fault{Service: "lambda", Action: "Invoke", Contains: name, Status: 500, Code: "ServiceException", Times: 2})
	definition := `{"StartAt": "Do", "States": {"Do": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
		"Parameters": {"FunctionName": "` + name + `", "Payload": {}}, "End": true,
		"Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 50, "BackoffRate": 2, "MaxAttempts": 2}]}}}`
	machines := sfn.NewFromConfig(a.Config(region))
	machine, err := machines.CreateStateMachine(t.Context(), &sfn.CreateStateMachineInput{Name: &name, RoleArn: &role, Definition: &definition})
	if err != nil {
		t.Fatal(err)
	}
	started, err := machines.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: machine.StateMachineArn, Name: aws.String("x")})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	out := finished(t, a, region, *started.ExecutionArn)
	// 50 s and 100 s, a hundred times as fast.
	if took := time.Since(begin); out.Status != sfntypes.ExecutionStatusSucceeded || fault.Hits() != 2 || took < time.Second {
		t.Errorf("%s after %s and %d hits: %s", out.Status, took, fault.Hits(), aws.ToString(out.Cause))
	}
	if runs := a.Invocations(name); len(runs) != 1 {
		t.Errorf("got %+v", runs)
	}
}
