package rollout

import (
	"context"
	"strings"
)

// refusals are asked before anything is planned, one after the other. Each looks in
// the chosen regions for reasons not to begin, a line each: what is wrong, where, and
// what would be right. What only one region is to blame for may be told with fail
// instead; the others go on without it. The error is ctx's.
var refusals = []func(ctx context.Context, r *Root, destroy bool) ([]string, error){unknownDeployments, wrongSettings, missingInstances, missingSecrets}

// Refuse finds out what a deploy, or else a destroy, would be refused for, before
// Terraform plans it. All reasons are told at once, as an InputError.
func (r *Root) Refuse(ctx context.Context, destroy bool) error {
	reasons, err := r.Reasons(ctx, destroy)
	if err != nil {
		return err
	}
	return refusedFor(reasons)
}

// Reasons are what Refuse refuses for.
func (r *Root) Reasons(ctx context.Context, destroy bool) ([]string, error) {
	var reasons []string
	for _, look := range refusals {
		found, err := look(ctx, r, destroy)
		if err != nil {
			return nil, err
		}
		reasons = append(reasons, found...)
	}
	return reasons, nil
}

// refusedFor is the error of reasons; nil for none.
func refusedFor(reasons []string) error {
	switch len(reasons) {
	case 0:
		return nil
	case 1:
		return inputf("%s", reasons[0])
	}
	return inputf("refused for %d reasons:\n  - %s", len(reasons), strings.Join(reasons, "\n  - "))
}
