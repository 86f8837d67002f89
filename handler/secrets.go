package handler

import (
	"context"
	"errors"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"firstline/internal/fault"
)

// Unset is what Terraform writes into a secret's parameter when it is given no
// value (terraform/modules/function): it counts as missing.
const Unset = "unset"

// Secrets reads SSM SecureString parameters and keeps them while the function
// is warm.
type Secrets struct {
	SSM func() ParameterGetter

	mu     sync.Mutex
	cached map[string]string
}

// Get returns a secret; fresh reads it again. A parameter that is missing, or
// was never given a value, is InvalidInput.
func (s *Secrets) Get(ctx context.Context, parameter string, fresh bool) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.cached[parameter]; ok && !fresh {
		return v, nil
	}
	op := "read secret " + parameter
	if parameter == "" {
		return "", fault.New(fault.InvalidInput, "read secret", "the function's environment names no parameter for it; apply the Terraform root again")
	}
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
	if s.cached == nil {
		s.cached = map[string]string{}
	}
	s.cached[parameter] = v
	return v, nil
}
