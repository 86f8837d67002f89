package handler

import (
	"context"
	"errors"
	"strings"
	"sync"

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

// maxPages is how many pages of SSM's answer are read for other instances.
const maxPages = 5

// watched are the watched instances which one of our own checks can ask.
func (h *Handler) watched(ctx context.Context) (map[string]*incident.Settings, error) {
	found := map[string]*incident.Settings{}
	in := &ssm.GetParametersByPathInput{Path: aws.String(strings.TrimSuffix(h.SettingsPath, "/"))}
	for range maxPages {
		out, err := h.SSM().GetParametersByPath(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, p := range out.Parameters {
			s, err := incident.ParseSettings([]byte(aws.ToString(p.Value)))
			if err == nil && (s.URL.Enabled || s.SSH.Enabled) {
				found[strings.TrimPrefix(aws.ToString(p.Name), h.SettingsPath)] = s
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	return found, nil
}

// Unset is what Terraform writes into a secret's parameter when it is given no
// value (terraform/modules/function): it counts as missing.
const Unset = "unset"

// Secrets reads SSM SecureString parameters and keeps them while the function
// is warm.
type Secrets struct {
	SSM func() ParameterGetter

	cached sync.Map
}

// Get returns a secret; fresh reads it again. A parameter that is missing, or
// was never given a value, is InvalidInput.
func (s *Secrets) Get(ctx context.Context, parameter string, fresh bool) (string, error) {
	if v, ok := s.cached.Load(parameter); ok && !fresh {
		return v.(string), nil
	}
	op := "read secret " + parameter
	out, err := s.SSM().GetParameter(ctx, &ssm.GetParameterInput{Name: &parameter, WithDecryption: aws.Bool(true)})
	if _, missing := errors.AsType[*types.ParameterNotFound](err); missing {
		return "", fault.New(fault.InvalidInput, op, "the SSM parameter does not exist; create it as a SecureString")
	}
	if err != nil {
		return "", fault.AWS(op, err)
	}
	if out.Parameter.Type != types.ParameterTypeSecureString {
		return "", fault.New(fault.InvalidInput, op, "the SSM parameter is a %s; make it a SecureString", out.Parameter.Type)
	}
	v := aws.ToString(out.Parameter.Value)
	if v == "" || v == Unset {
		return "", fault.New(fault.InvalidInput, op, "it was never given a value; see \"Secrets\" in the README")
	}
	s.cached.Store(parameter, v)
	return v, nil
}
