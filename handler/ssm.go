package handler

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// errMissing is in the chain of the error for a parameter that does not exist.
var errMissing = errors.New("the SSM parameter does not exist")

// parameter reads a parameter, decrypted where it is a secret.
func parameter(ctx context.Context, client ParameterGetter, op, name, cure string) (*types.Parameter, error) {
	out, err := client.GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
	if _, missing := errors.AsType[*types.ParameterNotFound](err); missing {
		return nil, fault.New(fault.InvalidInput, op, "%w; %s", errMissing, cure)
	}
	if err != nil {
		return nil, fault.AWS(op, err)
	}
	return out.Parameter, nil
}

// readSettings reads and checks an instance's settings; errMissing: it is not
// watched.
func (h *Handler) readSettings(ctx context.Context, instanceID string) (*incident.Settings, error) {
	name := h.SettingsPath + instanceID
	op := "read settings of " + instanceID + " in " + name
	p, err := parameter(ctx, h.SSM(), op, name, "add the instance to regions.tfvars and apply")
	if err != nil {
		return nil, err
	}
	s, err := incident.ParseSettings([]byte(aws.ToString(p.Value)))
	if err != nil {
		return nil, fault.New(fault.InvalidInput, op, "%w", err)
	}
	return s, nil
}

// maxPages is how many pages of SSM's answer are read for other instances.
const maxPages = 5

// watched are the watched instances which one of our own checks can ask.
func (h *Handler) watched(ctx context.Context) (map[string]*incident.Settings, error) {
	found, err := h.allSettings(ctx, maxPages)
	maps.DeleteFunc(found, func(_ string, s *incident.Settings) bool { return !s.URL.Enabled && !s.SSH.Enabled })
	return found, err
}

// allSettings are the settings that can be read, of so many pages of SSM's answer.
func (h *Handler) allSettings(ctx context.Context, pages int) (map[string]*incident.Settings, error) {
	found := map[string]*incident.Settings{}
	in := &ssm.GetParametersByPathInput{Path: aws.String(strings.TrimSuffix(h.SettingsPath, "/"))}
	for range pages {
		out, err := h.SSM().GetParametersByPath(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, p := range out.Parameters {
			if s, err := incident.ParseSettings([]byte(aws.ToString(p.Value))); err == nil {
				found[strings.TrimPrefix(aws.ToString(p.Name), h.SettingsPath)] = s
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	return found, nil
}

// Secrets reads SSM SecureString parameters and keeps them while the function
// is warm.
type Secrets struct {
	SSM func() ParameterGetter

	cached sync.Map
}

// Get returns a secret; fresh reads it again. A parameter that is missing, or
// was never given a value, is InvalidInput.
func (s *Secrets) Get(ctx context.Context, name string, fresh bool) (string, error) {
	if v, ok := s.cached.Load(name); ok && !fresh {
		return v.(string), nil
	}
	op := "read secret " + name
	p, err := parameter(ctx, s.SSM(), op, name, "create it as a SecureString")
	if err != nil {
		return "", err
	}
	if p.Type != types.ParameterTypeSecureString {
		return "", fault.New(fault.InvalidInput, op, "the SSM parameter is a %s; make it a SecureString", p.Type)
	}
	v := aws.ToString(p.Value)
	if v == "" || v == incident.UnsetSecret {
		return "", fault.New(fault.InvalidInput, op, "it was never given a value; see \"Secrets\" in the README")
	}
	s.cached.Store(name, v)
	return v, nil
}
