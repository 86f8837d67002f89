package handler

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// errUnwatched is in the chain of readSettings' error for an instance without
// settings.
var errUnwatched = errors.New("the instance has no settings")

// readSettings reads and checks an instance's settings.
func (h *Handler) readSettings(ctx context.Context, instanceID string) (*incident.Settings, error) {
	name := h.SettingsPath + instanceID
	op := "read settings of " + instanceID
	out, err := h.SSM().GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
	if _, missing := errors.AsType[*types.ParameterNotFound](err); missing {
		return nil, fault.New(fault.InvalidInput, op, "%w: SSM parameter %s does not exist; add the instance to regions.tfvars and apply", errUnwatched, name)
	}
	if err != nil {
		return nil, fault.AWS(op, err)
	}
	s, err := incident.ParseSettings([]byte(aws.ToString(out.Parameter.Value)))
	if err != nil {
		return nil, fault.New(fault.InvalidInput, op, "SSM parameter %s: %w", name, err)
	}
	return s, nil
}
