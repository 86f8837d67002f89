package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"firstline/internal/regions"
)

// unknownDeployments says in which of the chosen regions a deployment of this name is
// that the state does not know. A deploy would take over what AWS creates without
// asking whether it exists, such as the queue, and fail on the rest; a later destroy
// would remove it under the deployment that works. A region that does not tell fails.
func unknownDeployments(ctx context.Context, r *Root, _ bool) ([]string, error) {
	config, err := r.o.AWS(ctx)
	if err != nil {
		return nil, err
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		found = map[string][]string{} // regions, by what is there
	)
	for _, region := range regions.Without(r.Chosen(), r.state.Regions) {
		wg.Go(func() {
			what, err := deployedAs(ctx, probing(config, region), r.vars.Name())
			switch {
			case ctx.Err() != nil:
			case err != nil:
				r.fail(region, fmt.Sprintf("cannot tell whether %q is deployed here, which this state does not know: %s; that needs the right lambda:GetFunction", r.vars.Name(), inOneLine(err)))
			case what != "":
				mu.Lock()
				defer mu.Unlock()
				found[what] = append(found[what], region)
			}
		})
	}
	wg.Wait()
	var reasons []string
	for what, where := range found {
		slices.Sort(where)
		reasons = append(reasons, fmt.Sprintf("%s is deployed in %s, and this state (%s) does not know it: whose state is it? Use that one (--backend-config, or --dir of the checkout that deployed it), or use another `name`; if it is lost, see \"State\" in terraform/README.md", what, strings.Join(where, ", "), r.state.Where))
	}
	slices.Sort(reasons)
	return reasons, ctx.Err()
}

// deployedAs returns the name of the deployment that is in a region, with what its tags
// say; "" when there is none. One call that deploying makes too tells: a deployment has
// the function from its beginning nearly to its end.
func deployedAs(ctx context.Context, config aws.Config, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, identifyTime)
	defer cancel()
	out, err := lambda.NewFromConfig(config).GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String(name + "-responder")})
	if _, none := errors.AsType[*lambdatypes.ResourceNotFoundException](err); none {
		return "", nil
	} else if err != nil {
		return "", err
	}
	var tags []string
	for _, key := range []string{"repository", "version"} {
		if value := out.Tags[key]; value != "" {
			tags = append(tags, key+" "+value)
		}
	}
	if len(tags) > 0 {
		name += " (" + strings.Join(tags, ", ") + ")"
	}
	return name, nil
}
