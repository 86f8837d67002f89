package rollout

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
)

// secretParameter is the address of a secret's SSM parameter.
var secretParameter = regexp.MustCompile(`\.aws_ssm_parameter\.secret\["([^"]+)"\]$`)

// pagerSecrets are the secrets that each pager needs, by their name in SSM.
var pagerSecrets = map[string]string{"opsgenie": "opsgenie-api-key", "jsm": "jsm-api-key"}

// unset is what Terraform stores of a secret that it is not given
// (terraform/modules/function).
const unset = "unset"

// variableOf is the environment variable that a secret travels in.
func variableOf(secret string) string { return "TF_VAR_" + strings.ReplaceAll(secret, "-", "_") }

// neededSecrets are those without which somebody would not be told: Slack's, and
// those of the chosen pagers.
func (r *Root) neededSecrets() []string {
	var needed []string
	if r.vars.Slack() {
		needed = append(needed, "slack-token")
	}
	for _, pager := range r.vars.Pagers() {
		if secret := pagerSecrets[pager]; secret != "" && !slices.Contains(needed, secret) {
			needed = append(needed, secret)
		}
	}
	return needed
}

// MissingSecrets says which secrets that Slack or a chosen pager needs would not
// be there after the plan: neither given nor stored. The function could not tell
// anybody then. What of it cannot be told, since a region does not let them be
// read, is in unclear. The error is only that ctx has ended.
func (r *Root) MissingSecrets(ctx context.Context, p *Plan) (missing, unclear []string, err error) {
	if p.Destroy {
		return nil, nil, nil
	}
	read := r.storedSecret
	if read == nil {
		read = r.readSecret
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		lack = map[string][]string{} // where, by what is to be said
		dark = map[string][]string{}
	)
	note := func(where map[string][]string, region, format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		text := fmt.Sprintf(format, args...)
		where[text] = append(where[text], region)
	}
	for _, region := range p.Regions {
		if !slices.Contains(r.vars.Regions(), region) {
			continue // it is removed
		}
		for _, secret := range r.neededSecrets() {
			variable := variableOf(secret)
			given := os.Getenv(variable) != ""
			written, first := p.writes(region, secret)
			switch {
			case written && given:
				continue
			case first:
				note(lack, region, noneStored, variable)
				continue
			}
			wg.Go(func() {
				stored, err := read(ctx, region, "/"+r.vars.Name()+"/secrets/"+secret)
				switch {
				case err != nil && !given:
					note(dark, region, "%s is not set, and firstline cannot tell whether a value is stored in %%s: %s", variable, strings.ReplaceAll(inOneLine(err), "%", "%%"))
				case err != nil || stored:
				case given:
					note(lack, region, "%s is set, but this would not store it in %%s, where no value is: raise secrets_version in the var file, with all secrets set", variable)
				default:
					note(lack, region, noneStored, variable)
				}
			})
		}
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	return sentences(lack), sentences(dark), nil
}

const noneStored = "%s is not set, and no value is stored in %%s: export it and run this again"

// sentences puts the regions into what is to be said of them.
func sentences(where map[string][]string) []string {
	var all []string
	for text, regions := range where {
		slices.Sort(regions)
		all = append(all, fmt.Sprintf(text, strings.Join(regions, ", ")))
	}
	slices.Sort(all)
	return all
}

// writes reports whether a plan stores a secret, and whether it does so for the
// first time in that region.
func (p *Plan) writes(region, secret string) (written, first bool) {
	for _, c := range p.Changes[region] {
		action, address, _ := strings.Cut(c, " ")
		if m := secretParameter.FindStringSubmatch(address); m == nil || m[1] != secret {
			continue
		}
		switch action {
		case "create", "replace":
			return true, true
		case "update":
			// Or tags have changed: then the value is not written again.
			return true, false
		}
	}
	return false, false
}

// secretTime bounds the question for one secret.
const secretTime = 15 * time.Second

// readSecret asks a region whether a secret has a value, which it does not keep.
func (r *Root) readSecret(ctx context.Context, region, name string) (stored bool, err error) {
	config, err := r.o.AWS(ctx)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, secretTime)
	defer cancel()
	out, err := ssm.NewFromConfig(probing(config, region)).GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
	if _, none := errors.AsType[*ssmtypes.ParameterNotFound](err); none {
		return false, nil
	} else if err != nil {
		return false, err
	}
	if out.Parameter == nil {
		return false, errors.New("SSM answered without the parameter")
	}
	value := aws.ToString(out.Parameter.Value)
	return value != "" && value != unset, nil
}

// inOneLine puts an error of AWS into few words.
func inOneLine(err error) string {
	if answer, ok := errors.AsType[smithy.APIError](err); ok {
		err = fmt.Errorf("%s: %s", answer.ErrorCode(), answer.ErrorMessage())
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}
