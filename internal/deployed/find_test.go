package deployed

import (
	"strings"
	"testing"

	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// Find is tried on the local AWS, in test: the operator's commands.

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{"firstline": true, "a-1": true, "": false, "First": false, "-a": false, "a--b": false, strings.Repeat("a", 29): false} {
		if ValidName(name) != want {
			t.Errorf("%q: want %t", name, want)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for want, told := range map[string]*lambdatypes.EnvironmentResponse{
		"is not firstline's: its environment has no FIRSTLINE_STATE_MACHINE_ARN": nil,
		"the pagers of the function x-responder: ":                               {Variables: map[string]string{"FIRSTLINE_STATE_MACHINE_ARN": "arn:aws:states:eu-west-1:123456789012:stateMachine:x", "FIRSTLINE_PAGERS": "?"}},
	} {
		r := Region{FunctionName: "x-responder"}
		if err := r.read(told); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
