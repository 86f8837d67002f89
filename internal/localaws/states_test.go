package localaws

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/google/go-cmp/cmp"
)

// makeMachine makes a state machine with a role of its own.
func makeMachine(t *testing.T, a *AWS, region, name, definition string) (arn, role string) {
	t.Helper()
	role = makeRole(t, a, name)
	made, err := sfn.NewFromConfig(a.Config(region)).CreateStateMachine(t.Context(), &sfn.CreateStateMachineInput{Name: &name, RoleArn: &role, Definition: &definition})
	if err != nil {
		t.Fatal(err)
	}
	return *made.StateMachineArn, role
}

// run starts an execution and waits for its end.
func run(t *testing.T, a *AWS, region, machine, name, input string) *sfn.DescribeExecutionOutput {
	t.Helper()
	started, err := sfn.NewFromConfig(a.Config(region)).StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: &machine, Name: &name, Input: &input})
	if err != nil {
		t.Fatal(err)
	}
	return finished(t, a, region, *started.ExecutionArn)
}

// A state machine starts an execution of another, in the name of its own role.
func TestStartExecution(t *testing.T) {
	a := shared(t)
	const region = "ca-central-1"
	name := unique(t)
	second, secondRole := makeMachine(t, a, region, name+"-second", `{"StartAt": "W", "States": {
		"W": {"Type": "Wait", "Seconds": 1, "Next": "P"}, "P": {"Type": "Pass", "Result": {"seen": true}, "ResultPath": "$.second", "End": true}}}`)
	first, firstRole := makeMachine(t, a, region, name+"-first", `{"StartAt": "S", "States": {
		"S": {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution", "TimeoutSeconds": 30, "ResultPath": "$.started",
			"Parameters": {"StateMachineArn": "`+second+`", "Name.$": "$$.Execution.Name", "Input.$": "$"},
			"Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "P"}], "Next": "P"},
		"P": {"Type": "Pass", "End": true}}}`)

	type answer struct {
		A       int
		Started *struct {
			ExecutionArn string
			StartDate    int64
		}
		Error *struct{ Error, Cause string }
	}
	ended := func(out *sfn.DescribeExecutionOutput) (got answer) {
		t.Helper()
		if out.Status != sfntypes.ExecutionStatusSucceeded {
			t.Fatalf("%s: %s", out.Status, aws.ToString(out.Cause))
		}
		if err := json.Unmarshal([]byte(*out.Output), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	got := ended(run(t, a, region, first, "one", `{"a": 1}`))
	if got.Error != nil || got.Started == nil || got.Started.StartDate == 0 || !strings.HasSuffix(got.Started.ExecutionArn, name+"-second:one") {
		t.Fatalf("%+v, %+v", got, got.Error)
	}
	other := finished(t, a, region, got.Started.ExecutionArn)
	if other.Status != sfntypes.ExecutionStatusSucceeded || !strings.Contains(*other.Output, `"seen"`) || !strings.Contains(*other.Input, `"a"`) {
		t.Errorf("%s: %s of %s", other.Status, aws.ToString(other.Output), aws.ToString(other.Input))
	}
	// The name is taken now.
	again := "arn:aws:states:" + region + ":" + AccountID + ":stateMachine:" + name + "-third"
	third, _ := makeMachine(t, a, region, name+"-third", strings.ReplaceAll(`{"StartAt": "S", "States": {
		"S": {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution",
			"Parameters": {"StateMachineArn": "SECOND", "Name": "one", "Input.$": "$"},
			"Catch": [{"ErrorEquals": ["StepFunctions.ExecutionAlreadyExistsException"], "ResultPath": "$.error", "Next": "P"}], "End": true},
		"P": {"Type": "Pass", "End": true}}}`, "SECOND", second))
	if third != again {
		t.Errorf("%s, want %s", third, again)
	}
	if got := ended(run(t, a, region, third, "one", `{"a": 2}`)); got.Error == nil || !strings.Contains(got.Error.Cause, "Already Exists") {
		t.Errorf("%+v", got.Error)
	}
	// A refusal is caught like any other.
	fault := a.AddFault(Fault{Service: "states", Action: "StartExecution", Role: firstRole, Status: 400, Code: "AccessDeniedException", Message: "not you", Times: 1})
	if got := ended(run(t, a, region, first, "two", `{"a": 3}`)); got.A != 3 || got.Error == nil || !strings.Contains(got.Error.Error, "AccessDenied") || fault.Hits() != 1 {
		t.Errorf("%+v, %+v", got, got.Error)
	}
	var seen []string
	for _, c := range a.Calls() {
		if c.Role == firstRole || c.Role == secondRole {
			seen = append(seen, fmt.Sprintln(c.Role, c.Service, c.Action, c.Resources, c.Status))
		}
	}
	want := []string{
		fmt.Sprintln(firstRole, "states", "StartExecution", []string{second}, 200),
		fmt.Sprintln(firstRole, "states", "StartExecution", []string{second}, 400),
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
}

// Of two machines that call the same function each does it in its own name.
func TestRolesOfMachines(t *testing.T) {
	a := shared(t)
	_, function, _ := makeFunction(t, a, nil)
	definition := `{"StartAt": "Do", "States": {"Do": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
		"Parameters": {"FunctionName": "` + function + `", "Payload": {}}, "End": true}}}`
	var want, got []string
	for n := range 2 {
		machine, role := makeMachine(t, a, region, fmt.Sprintf("%s-%d", function, n), definition)
		if out := run(t, a, region, machine, "x", "{}"); out.Status != sfntypes.ExecutionStatusSucceeded {
			t.Fatalf("%s: %s", out.Status, aws.ToString(out.Cause))
		}
		want = append(want, role)
	}
	for _, c := range a.Calls() {
		if c.Action == "InvokeFunction" && strings.Contains(strings.Join(c.Resources, " "), ":"+function) {
			got = append(got, c.Role)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWaitPaces(t *testing.T) {
	shared(t) // for the package
	for _, paces := range []map[string]float64{{"-slow": 0}, {"-slow": -1}, {"": 2}} {
		if _, err := Start(t.Context(), Options{Moto: bench.moto, WaitPaces: paces}); err == nil {
			t.Errorf("it takes %v", paces)
		}
	}
	a, err := Start(t.Context(), Options{Moto: bench.moto, WaitPaces: map[string]float64{"-all-clear": 100}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	definition := `{"StartAt": "W", "States": {"W": {"Type": "Wait", "SecondsPath": "$.s", "End": true}}}`
	for _, tt := range []struct {
		name     string
		seconds  int
		from, to time.Duration
	}{
		{"firstline-all-clear", 100, time.Second, 30 * time.Second},
		{"firstline-all-clear", 0, 0, 10 * time.Second},
		{"firstline", 2, 2 * time.Second, 30 * time.Second},
		{"all-clear-firstline", 2, 2 * time.Second, 30 * time.Second},
	} {
		name := unique(t) + "-" + tt.name
		machine, _ := makeMachine(t, a, region, name, definition)
		began := time.Now()
		out := run(t, a, region, machine, "x", fmt.Sprintf(`{"s": %d}`, tt.seconds))
		if took := time.Since(began); out.Status != sfntypes.ExecutionStatusSucceeded || took < tt.from || took > tt.to {
			t.Errorf("%s: %d s took %s, %s: %s", tt.name, tt.seconds, took, out.Status, aws.ToString(out.Cause))
		}
	}
	// What waits can be stopped.
	machine, _ := makeMachine(t, a, region, unique(t)+"-all-clear", definition)
	client := sfn.NewFromConfig(a.Config(region))
	started, err := client.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: &machine, Input: aws.String(`{"s": 100000}`), Name: aws.String("x")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.StopExecution(t.Context(), &sfn.StopExecutionInput{ExecutionArn: started.ExecutionArn}); err != nil {
		t.Fatal(err)
	}
	if out := finished(t, a, region, *started.ExecutionArn); out.Status != sfntypes.ExecutionStatusAborted {
		t.Errorf("got %s", out.Status)
	}
}
