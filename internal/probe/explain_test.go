package probe

import (
	"context"
	"testing"
	"testing/synctest"

	"firstline/internal/deployed"
	"firstline/internal/incident"
)

func TestExplain(t *testing.T) {
	const id = "i-0a1b2c3d"
	r := deployed.Region{Region: "eu-west-1", AccountID: "123456789012", FunctionARN: "arn"}
	for _, tt := range []struct {
		name   string
		region deployed.Region
		answer any
		err    string
		calls  int
	}{
		{"explained", r, map[string]any{"decision": map[string]any{"row": 9}, "later": true}, "", 1},
		{"a function that is older", r, functionError{"InvalidInput", `decode payload: step: "explain" is unknown`}, `InvalidInput: decode payload: step: "explain" is unknown`, 1},
		{"not now", r, functionError{"Unavailable", "throttled"}, "Unavailable: throttled", attempts},
		{"no object", r, []int{}, "the function did not answer with an explanation: json: cannot unmarshal array into Go value of type policy.Explanation", 1},
		{"without the function", deployed.Region{Region: "eu-west-1"}, nil, errPart.Error(), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				x, err := explainBy(t.Context(), play(func(_ context.Context, c call) (any, error) {
					calls++
					if c.Step != "explain" || c.Event.Source != incident.SourceCanary || c.Event.Detail.InstanceID != id {
						t.Errorf("called with %+v", c)
					}
					return tt.answer, nil
				}), tt.region, id)
				if tt.err == "" && (err != nil || x.Decision.Row != 9) || tt.err != "" && (err == nil || err.Error() != tt.err) || calls != tt.calls {
					t.Errorf("%+v, %v, %d calls", x, err, calls)
				}
			})
		})
	}
}
