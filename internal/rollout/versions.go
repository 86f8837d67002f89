package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"firstline/internal/deployed"
	"firstline/internal/probe"
)

// Pruned is what became of a function's old versions.
type Pruned struct {
	// Deleted are the versions that were deleted, Called those that an incident under
	// way may still call.
	Deleted, Called []string
}

// PruneVersions deletes the published versions of a region's function that no
// incident under way calls. It keeps the deployed one, later ones, and the one
// before, which a state machine that was just updated may still call for some seconds
// (https://docs.aws.amazon.com/step-functions/latest/apireference/API_UpdateStateMachine.html),
// unless that one alone keeps network interfaces: each version has a VPC of its own.
func (r *Root) PruneVersions(ctx context.Context, d deployed.Region) (Pruned, error) {
	config, err := r.o.AWS(ctx)
	if err != nil {
		return Pruned{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	config = probe.InRegion(config, d.Region)
	client := lambda.NewFromConfig(config)
	versions, err := publishedVersions(ctx, client, d.FunctionName)
	if err != nil {
		return Pruned{}, fmt.Errorf("list the versions of %s: %s", d.FunctionName, inOneLine(err))
	}
	old := superseded(versions, d.FunctionARN)
	if len(old) == 0 {
		return Pruned{}, nil
	}
	called, err := calledFunctions(ctx, executions(config), d.StateMachineARN)
	if err != nil {
		return Pruned{}, fmt.Errorf("find out which versions of %s are in use: %s", d.FunctionName, inOneLine(err))
	}
	var p Pruned
	for _, v := range old {
		version := aws.ToString(v.Version)
		if slices.Contains(called, aws.ToString(v.FunctionArn)) || slices.Contains(called, "") {
			p.Called = append(p.Called, version)
			continue
		}
		if _, err := client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &d.FunctionName, Qualifier: &version}); err != nil {
			return p, fmt.Errorf("delete version %s of %s: %s", version, d.FunctionName, inOneLine(err))
		}
		p.Deleted = append(p.Deleted, version)
	}
	return p, nil
}

// publishedVersions are a function's published versions, the oldest first.
func publishedVersions(ctx context.Context, client lambda.ListVersionsByFunctionAPIClient, function string) ([]lambdatypes.FunctionConfiguration, error) {
	var all []lambdatypes.FunctionConfiguration
	pages := lambda.NewListVersionsByFunctionPaginator(client, &lambda.ListVersionsByFunctionInput{FunctionName: &function})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Versions...)
	}
	all = slices.DeleteFunc(all, func(v lambdatypes.FunctionConfiguration) bool { return number(v) == 0 })
	slices.SortFunc(all, func(a, b lambdatypes.FunctionConfiguration) int { return number(a) - number(b) })
	return all, nil
}

// number is a published version's number, 0 of what is none.
func number(v lambdatypes.FunctionConfiguration) int {
	n, _ := strconv.Atoi(aws.ToString(v.Version))
	return n
}

// superseded are the versions that the deployed one has made superfluous, if no
// incident calls them.
func superseded(versions []lambdatypes.FunctionConfiguration, deployed string) []lambdatypes.FunctionConfiguration {
	n := slices.IndexFunc(versions, func(v lambdatypes.FunctionConfiguration) bool { return aws.ToString(v.FunctionArn) == deployed })
	if n < 1 {
		return nil
	}
	if pins(versions[n-1].VpcConfig, versions[n].VpcConfig) {
		return versions[:n]
	}
	return versions[:n-1]
}

// pins reports whether a version in one VPC configuration needs network interfaces
// that one in the other does not.
func pins(one, other *lambdatypes.VpcConfigResponse) bool {
	if one == nil || len(one.SubnetIds) == 0 {
		return false
	}
	sorted := func(names []string) string { return strings.Join(slices.Sorted(slices.Values(names)), " ") }
	return other == nil || sorted(one.SubnetIds) != sorted(other.SubnetIds) || sorted(one.SecurityGroupIds) != sorted(other.SecurityGroupIds)
}

// calledFunctions are the functions that the running executions of a state machine
// call, each by the first call in its history; "" is an execution that has not
// called any yet.
func calledFunctions(ctx context.Context, client *sfn.Client, machine string) ([]string, error) {
	running, err := runningExecutions(ctx, client, machine)
	if err != nil {
		return nil, err
	}
	var called []string
	for _, e := range running {
		// The first call is its third event.
		history, err := client.GetExecutionHistory(ctx, &sfn.GetExecutionHistoryInput{ExecutionArn: e.ExecutionArn, MaxResults: 10, IncludeExecutionData: aws.Bool(true)})
		if err != nil {
			return nil, err
		}
		var call struct{ FunctionName string }
		for _, event := range history.Events {
			if task := event.TaskScheduledEventDetails; task != nil && call.FunctionName == "" {
				// What is no call leaves it empty.
				_ = json.Unmarshal([]byte(aws.ToString(task.Parameters)), &call)
			}
		}
		called = append(called, call.FunctionName)
	}
	return called, nil
}
