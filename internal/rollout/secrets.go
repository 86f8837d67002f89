package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"

	"firstline/internal/incident"
	"firstline/internal/probe"
)

// missingSecrets says which secrets would not be there after a deploy: those that
// Slack, a chosen pager or the heartbeat needs, without which the function could not tell anybody, and
// those that are sent in a check's headers. Where a region does not let them be read,
// it goes on.
func missingSecrets(ctx context.Context, r *Root, destroy bool) ([]string, error) {
	if destroy {
		return nil, nil
	}
	s, err := r.readDesired(ctx)
	if err != nil {
		return nil, err
	}
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		lack    = map[string][]string{} // where, by what is to be said
		unclear = map[string][]string{}
	)
	note := func(where map[string][]string, region, text string) {
		mu.Lock()
		defer mu.Unlock()
		where[text] = append(where[text], region)
	}
	for _, region := range r.Chosen() {
		if _, named := s.Regions[region]; !named {
			continue // it is removed
		}
		for _, secret := range s.Secrets() {
			wg.Go(func() {
				text, left, err := r.lackOf(ctx, region, secret, s)
				switch {
				case left:
					note(unclear, region, text)
				case err != nil:
					note(unclear, region, fmt.Sprintf("%s is not set, and firstline cannot tell whether a value is stored in %s: %s", secret.Variable(), here, inOneLine(err)))
				case text != "":
					note(lack, region, text)
				}
			})
		}
		for parameter, headers := range secretHeaders(s.Regions[region]) {
			wg.Go(func() {
				kind, err := r.kindOf(ctx, region, parameter)
				for _, header := range headers {
					switch {
					case err != nil:
						note(unclear, region, fmt.Sprintf("%s: firstline cannot tell whether the SSM parameter %s exists in %s: %s", header, parameter, here, inOneLine(err)))
					case kind == "":
						note(lack, region, fmt.Sprintf("%s: there is no SSM parameter %s in %s: create it as a SecureString", header, parameter, here))
					case kind != ssmtypes.ParameterTypeSecureString:
						note(lack, region, fmt.Sprintf("%s: the SSM parameter %s in %s is a %s: make it a SecureString", header, parameter, here, kind))
					}
				}
			})
		}
	}
	wg.Wait()
	for _, text := range sentences(unclear) {
		_, _ = fmt.Fprintln(r.o.Log, text)
	}
	return sentences(lack), ctx.Err()
}

// secretHeaders are the settings that name an SSM parameter, by parameter: many
// instances may have one in common, and SSM is asked for it once.
func secretHeaders(region probe.IntendedRegion) map[string][]string {
	all := map[string][]string{}
	for instance, i := range region.Instances {
		for header, parameter := range i.Settings.URL.SecretHeaders {
			if i.Settings.URL.Enabled {
				all[parameter] = append(all[parameter], instance+": url.secret_headers."+header)
			}
		}
	}
	return all
}

// here stands for the regions in what is said of several.
const here = "{regions}"

// lackOf says why a deploy would leave a secret without a value in a region, or (left)
// with another than the one given; "" if it would not. An error is that the region does
// not tell and no value is given.
func (r *Root) lackOf(ctx context.Context, region string, secret probe.Secret, s *desired) (text string, left bool, err error) {
	variable, given := secret.Variable(), secret.Given(region)
	value, exists, err := r.parameter(ctx, region, secret.Parameter(s.Name))
	kept := value != "" && value != incident.UnsetSecret
	switch {
	case err != nil && given == "":
		return "", false, err
	case err != nil, kept && (given == "" || given == value), given != "" && !exists:
		return "", false, nil
	case given == "":
		return variable + " is not set, and no value is stored in " + here + ": export it and run this again", false, nil
	}
	// Terraform writes what is there only when the version differs.
	stored, _, err := r.parameter(ctx, region, "/"+s.Name+"/secrets-version/stored")
	if err != nil || stored != strconv.FormatFloat(s.SecretsVersion, 'f', -1, 64) {
		return "", false, nil //nolint:nilerr // it may well be written
	}
	why := "where no value is"
	if kept {
		why = "where another is stored"
	}
	return variable + " is set, but this would not store it in " + here + ", " + why + ": raise secrets_version in the var file, with all secrets set", kept, nil
}

// sentences puts the regions into what is to be said of them.
func sentences(where map[string][]string) []string {
	var all []string
	for text, regions := range where {
		slices.Sort(regions)
		all = append(all, strings.ReplaceAll(text, here, strings.Join(slices.Compact(regions), ", ")))
	}
	slices.Sort(all)
	return all
}

// secretTime bounds the question for one secret.
const secretTime = 15 * time.Second

// readParameter returns the value of an SSM parameter of a region, and whether there is
// one. The value is neither kept nor logged.
func (r *Root) readParameter(ctx context.Context, region, name string) (value string, exists bool, err error) {
	config, err := r.o.AWS(ctx)
	if err != nil {
		return "", false, err
	}
	ctx, cancel := context.WithTimeout(ctx, secretTime)
	defer cancel()
	out, err := ssm.NewFromConfig(probing(config, region)).GetParameter(ctx, &ssm.GetParameterInput{Name: &name, WithDecryption: aws.Bool(true)})
	if _, none := errors.AsType[*ssmtypes.ParameterNotFound](err); none {
		return "", false, nil
	} else if err != nil {
		return "", false, err
	}
	if out.Parameter == nil {
		return "", false, errors.New("SSM answered without the parameter")
	}
	return aws.ToString(out.Parameter.Value), true, nil
}

// kindOf returns the type of an SSM parameter, "" if there is none. Its value is not
// read.
func (r *Root) kindOf(ctx context.Context, region, name string) (ssmtypes.ParameterType, error) {
	config, err := r.o.AWS(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, secretTime)
	defer cancel()
	pages := ssm.NewDescribeParametersPaginator(ssm.NewFromConfig(probing(config, region)), &ssm.DescribeParametersInput{
		ParameterFilters: []ssmtypes.ParameterStringFilter{{Key: aws.String("Name"), Option: aws.String("Equals"), Values: []string{name}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, p := range page.Parameters {
			return p.Type, nil
		}
	}
	return "", nil
}

// inOneLine puts an error of AWS into few words.
func inOneLine(err error) string {
	if answer, ok := errors.AsType[smithy.APIError](err); ok {
		err = fmt.Errorf("%s: %s", answer.ErrorCode(), answer.ErrorMessage())
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}
