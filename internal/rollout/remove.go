package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/incident"
	"firstline/internal/probe"
)

// Removal is a region in which a plan deletes what incidents run on.
type Removal struct {
	Region string
	// machine is the ARN of the state machine, function the address of the function
	// in the plan; each is empty when the plan does not delete it.
	machine, function string
	// rights says that the plan deletes the function's rights.
	rights bool
}

// removed are the changes that make a Removal. The function's rights come last, so
// that a removal that was interrupted goes on.
var removed = regexp.MustCompile(`^delete .*\.(aws_sfn_state_machine\.responder|aws_lambda_function\.responder|aws_iam_role_policy\.function)$`)

// Removals returns the regions in which a plan deletes the state machine, the
// function or its rights.
func (r *Root) Removals(ctx context.Context, p *Plan) ([]Removal, error) {
	removals := map[string]*Removal{}
	for region, changes := range p.Changes {
		for _, change := range changes {
			if removed.MatchString(change) {
				removals[region] = &Removal{Region: region}
			}
		}
	}
	if len(removals) == 0 {
		return nil, nil
	}
	plan, err := r.showPlan(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, c := range plan.ResourceChanges {
		removal := removals[r.regionOf(c.Address)]
		if removal == nil || !c.Change.Actions.Delete() {
			continue
		}
		before, _ := c.Change.Before.(map[string]any)
		switch c.Type {
		case "aws_sfn_state_machine":
			removal.machine, _ = before["arn"].(string)
		case "aws_lambda_function":
			if c.Name == "responder" { // the probe is in no VPC
				removal.function = c.Address
			}
		case "aws_iam_role_policy":
			removal.rights = removal.rights || c.Name == "function"
		}
	}
	var all []Removal
	for _, region := range slices.Sorted(maps.Keys(removals)) {
		all = append(all, *removals[region])
	}
	return all, nil
}

// UnderWay is an incident that has not ended.
type UnderWay struct {
	Region string `json:"region"`
	// InstanceID is empty when the event that started it names none, and where AWS does
	// not tell.
	InstanceID   string    `json:"instance_id"`
	ExecutionARN string    `json:"execution_arn"`
	Since        time.Time `json:"since"`
}

// Who is the instance, or else the execution.
func (u UnderWay) Who() string {
	return cmp.Or(u.InstanceID, "execution "+u.ExecutionARN[strings.LastIndex(u.ExecutionARN, ":")+1:])
}

// UnderWay returns the incidents of the regions that have not ended.
func (r *Root) UnderWay(ctx context.Context, removals []Removal) ([]UnderWay, error) {
	return everywhere(ctx, r, removals, func(ctx context.Context, config aws.Config, removal Removal) ([]UnderWay, error) {
		client := executions(config)
		running, err := runningExecutions(ctx, client, removal.machine)
		all := make([]UnderWay, len(running))
		for n, e := range running {
			all[n] = UnderWay{Region: removal.Region, ExecutionARN: aws.ToString(e.ExecutionArn), Since: aws.ToTime(e.StartDate)}
		}
		// Where AWS does not tell an incident's instance, such as to somebody without
		// the right, the incident is named by its execution.
		_ = each(all, func(u *UnderWay) error {
			described, err := client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &u.ExecutionARN})
			if err == nil {
				if i, err := incident.ParseEvent([]byte(aws.ToString(described.Input))); err == nil {
					u.InstanceID = i.InstanceID
				}
			}
			return nil
		})
		return all, err
	})
}

// stopCause is what Step Functions keeps of why an execution was stopped.
const stopCause = "firstline removes this region"

// StopIncidents stops the incidents of the regions, since AWS deletes a state
// machine only when its executions have ended, and returns those that it stopped.
func (r *Root) StopIncidents(ctx context.Context, removals []Removal) ([]UnderWay, error) {
	running, err := r.UnderWay(ctx, removals)
	if err != nil {
		return nil, err
	}
	config, err := r.o.AWS(ctx)
	if err != nil {
		return nil, err
	}
	stopped := map[string]bool{}
	var mu sync.Mutex
	err = each(running, func(u *UnderWay) error {
		_, err := executions(probe.InRegion(config, u.Region)).StopExecution(ctx, &sfn.StopExecutionInput{ExecutionArn: &u.ExecutionARN, Cause: aws.String(stopCause)})
		if _, gone := errors.AsType[*sfntypes.ExecutionDoesNotExist](err); err != nil && !gone {
			return fmt.Errorf("%s: stop the incident of %s: %s", u.Region, u.Who(), inOneLine(err))
		}
		mu.Lock()
		defer mu.Unlock()
		stopped[u.ExecutionARN] = true
		return nil
	})
	return slices.DeleteFunc(running, func(u UnderWay) bool { return !stopped[u.ExecutionARN] }), err
}

// executions makes a client for many calls in a row, which Step Functions throttles:
// for DescribeExecution to 10 a second in most regions
// (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html).
func executions(config aws.Config) *sfn.Client {
	return sfn.NewFromConfig(config, func(o *sfn.Options) { o.RetryMaxAttempts = 10 })
}

// atOnce is how many calls about incidents are under way: a region may be far away,
// and a storm has hundreds.
const atOnce = 8

// each does something for each incident. After an error it begins no further ones.
func each(all []UnderWay, do func(*UnderWay) error) error {
	for some := range slices.Chunk(all, atOnce) {
		var wg sync.WaitGroup
		errs := make([]error, len(some))
		for n := range some {
			wg.Go(func() { errs[n] = do(&some[n]) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

// runningExecutions are the executions of a state machine that have not ended; none
// of one that is not there.
func runningExecutions(ctx context.Context, client *sfn.Client, machine string) ([]sfntypes.ExecutionListItem, error) {
	if machine == "" {
		return nil, nil
	}
	var all []sfntypes.ExecutionListItem
	pages := sfn.NewListExecutionsPaginator(client, &sfn.ListExecutionsInput{StateMachineArn: &machine, StatusFilter: sfntypes.ExecutionStatusRunning})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if _, gone := errors.AsType[*sfntypes.StateMachineDoesNotExist](err); gone {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, page.Executions...)
	}
	return all, nil
}

// Interface is a network interface of Lambda's in a region.
type Interface struct{ Region, ID string }

// Interfaces returns Lambda's network interfaces for the function in the regions that
// lose its rights. They pin subnets and security groups. Lambda deletes them some time
// after the function, and with its role
// (https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html). All that
// tells them from others is their description: "AWS Lambda VPC ENI-", the function
// that they were made for, and mostly a UUID.
func (r *Root) Interfaces(ctx context.Context, removals []Removal) ([]Interface, error) {
	name := "AWS Lambda VPC ENI-" + r.vars.Name() + "-responder"
	return everywhere(ctx, r, removals, func(ctx context.Context, config aws.Config, removal Removal) ([]Interface, error) {
		if !removal.rights {
			return nil, nil
		}
		pages := ec2.NewDescribeNetworkInterfacesPaginator(ec2.NewFromConfig(config), &ec2.DescribeNetworkInterfacesInput{
			Filters: []ec2types.Filter{{Name: aws.String("description"), Values: []string{name, name + "-*"}}},
		})
		var all []Interface
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			for _, i := range page.NetworkInterfaces {
				all = append(all, Interface{removal.Region, aws.ToString(i.NetworkInterfaceId)})
			}
		}
		return all, nil
	})
}

// PlanFunctions plans to delete the functions of the regions, with what depends on
// them, and to keep their rights.
func (r *Root) PlanFunctions(ctx context.Context, removals []Removal) (*Plan, error) {
	functions := map[string]string{}
	for _, removal := range removals {
		if removal.function != "" {
			functions[removal.Region] = removal.function
		}
	}
	return r.planOf(ctx, slices.Sorted(maps.Keys(functions)), true, func(names []string) []string {
		var targets []string
		for _, name := range names {
			targets = append(targets, functions[name])
		}
		return targets
	})
}

// everywhere asks all regions at the same time, each for askTime at most.
func everywhere[T any](ctx context.Context, r *Root, removals []Removal, ask func(context.Context, aws.Config, Removal) ([]T, error)) ([]T, error) {
	config, err := r.o.AWS(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answers, errs := make([][]T, len(removals)), make([]error, len(removals))
	var wg sync.WaitGroup
	for n, removal := range removals {
		wg.Go(func() {
			var err error
			if answers[n], err = ask(ctx, probe.InRegion(config, removal.Region), removal); err != nil {
				errs[n] = fmt.Errorf("%s: %s", removal.Region, inOneLine(err))
			}
		})
	}
	wg.Wait()
	return slices.Concat(answers...), errors.Join(errs...)
}

// askTime bounds a question to all regions. It is more than a region with many
// incidents takes.
const askTime = 2 * time.Minute
