package localaws

import (
	"errors"
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

// TestPace: state machines wait, and try again, faster than they say.
func TestPace(t *testing.T) {
	shared(t) // for the package
	if _, err := Start(t.Context(), Options{Moto: bench.moto, Pace: -1}); err == nil {
		t.Error("it runs backwards")
	}
	a, err := Start(t.Context(), Options{Moto: bench.moto, Pace: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}()
	definition := `{"StartAt": "W", "States": {"W": {"Type": "Wait", "SecondsPath": "$.s", "Next": "Do"},
		"Do": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "nobody", "Payload": {}}, "Next": "P",
			"Retry": [{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 50, "BackoffRate": 2, "MaxAttempts": 2}],
			"Catch": [{"ErrorEquals": ["States.ALL"], "Next": "P"}]},
		"P": {"Type": "Pass", "End": true}}}`
	machine, _ := makeMachine(t, a, region, unique(t), definition)
	begun := time.Now()
	out := run(t, a, region, machine, "x", `{"s": 100}`)
	// 100 s, and 50 s and 100 s before it is tried again.
	if took := time.Since(begun); out.Status != sfntypes.ExecutionStatusSucceeded || took < 2500*time.Millisecond || took > 30*time.Second {
		t.Errorf("it took %s, %s: %s", took, out.Status, aws.ToString(out.Cause))
	}
	// What waits can be stopped.
	client := sfn.NewFromConfig(a.Config(region))
	started, err := client.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: &machine, Input: aws.String(`{"s": 100000}`), Name: aws.String("y")})
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

// TestDeleting: a state machine is not gone before its executions have ended, and one
// that is stopped has ended, whatever it waits for.
func TestDeleting(t *testing.T) {
	a := shared(t)
	client := sfn.NewFromConfig(a.Config(region))
	function, release := unique(t), make(chan struct{})
	held := a.AddFault(Fault{Service: "lambda", Contains: function, Until: release, Status: 503})
	defer held.Remove()
	defer close(release)
	for name, state := range map[string]string{
		"a wait": `{"Type": "Wait", "Seconds": 3600, "End": true}`,
		"a call": `{"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": {"FunctionName": "` + function + `", "Payload": {}}, "End": true}`,
	} {
		t.Run(name, func(t *testing.T) {
			machine, _ := makeMachine(t, a, region, unique(t), `{"StartAt": "S", "States": {"S": `+state+`}}`)
			started, err := client.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: &machine})
			if err != nil {
				t.Fatal(err)
			}
			if name == "a call" {
				eventually(t, "it calls", func() bool { return held.Hits() > 0 })
			}
			for range 2 { // again is as well
				if _, err := client.DeleteStateMachine(t.Context(), &sfn.DeleteStateMachineInput{StateMachineArn: &machine}); err != nil {
					t.Fatal(err)
				}
			}
			described, err := client.DescribeStateMachine(t.Context(), &sfn.DescribeStateMachineInput{StateMachineArn: &machine})
			if err != nil || described.Status != sfntypes.StateMachineStatusDeleting {
				t.Fatalf("%+v, %v", described, err)
			}
			_, err = client.StartExecution(t.Context(), &sfn.StartExecutionInput{StateMachineArn: &machine})
			if _, deleting := errors.AsType[*sfntypes.StateMachineDeleting](err); !deleting {
				t.Errorf("another execution: %v", err)
			}
			if _, err := client.StopExecution(t.Context(), &sfn.StopExecutionInput{ExecutionArn: started.ExecutionArn}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the state machine is gone", func() bool {
				_, err := client.DescribeStateMachine(t.Context(), &sfn.DescribeStateMachineInput{StateMachineArn: &machine})
				_, gone := errors.AsType[*sfntypes.StateMachineDoesNotExist](err)
				return gone
			})
		})
	}
}
