package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firstline/internal/localaws"
	"firstline/internal/stage"
)

// What is to be reached.
const (
	mostResources   = 3.0 // an instance
	largeRegion     = 1000
	mostPlanSeconds = 90.0 // of a large region, on 2 cores
)

const (
	// growthRegion is the region that grows. Its name decides how many instances
	// fit the function's policies.
	growthRegion = "eu-west-1"
	// growthParallelism is Terraform's own.
	growthParallelism = "10"
)

// growth measures what more instances in one region cost Terraform: plan, apply
// and a plan of what is there (the refresh), with the requests that it makes.
type growth struct {
	sizes counts
}

// growthFigures are those of all sizes.
type growthFigures struct {
	Region string         `json:"region"`
	Sizes  []growthFigure `json:"sizes"`
	// ResourcesEach and RequestsEach are what an instance adds to the resources
	// and to the requests of a refresh, from the smallest size to the largest.
	ResourcesEach float64 `json:"resourcesPerInstance"`
	RequestsEach  float64 `json:"requestsPerInstance"`
}

// growthFigure are those of a number of instances.
type growthFigure struct {
	Instances int `json:"instances"`
	// Resources are those in the plan, Types how many there are of each.
	Resources int            `json:"resources"`
	Types     map[string]int `json:"types"`
	// Plan is of all to be made, Refresh of what is there and unchanged.
	Plan    usage `json:"plan"`
	Apply   usage `json:"apply"`
	Refresh usage `json:"refresh"`
	// Requests are what a refresh asks, Actions how often each.
	Requests      int            `json:"requests"`
	ApplyRequests int            `json:"applyRequests"`
	Actions       map[string]int `json:"actions"`
}

func (*growth) name() string { return "growth" }

func (b *growth) flags(f *flag.FlagSet) {
	b.sizes = counts{1, 100, largeRegion}
	f.Var(&b.sizes, "instances", "numbers of instances in one region")
}

func (b *growth) run(ctx context.Context, f *frame) (section, error) {
	sizes := slices.Sorted(slices.Values(b.sizes))
	if f.quick {
		sizes = []int{1, 100}
	}
	all := growthFigures{Region: growthRegion}
	// The provider is read from disk by the first to run it.
	f.say("warming up")
	_, err := b.try(ctx, f, 1, false)
	for _, n := range sizes {
		if err != nil {
			break
		}
		var g growthFigure
		if g, err = b.try(ctx, f, n, true); err == nil {
			all.Sizes = append(all.Sizes, g)
		} else {
			err = fmt.Errorf("%s: %w", countInstances(n), err)
		}
	}
	if len(all.Sizes) == 0 {
		return section{}, err
	}
	all.each()
	return section{
		Name: b.name(), Title: "Growth: many instances in one region", Figures: all,
		Notes:  []string{all.dominates()},
		Tables: all.tables(), Targets: all.targets(), Ratios: all.ratios(),
	}, err
}

// try deploys a number of instances on a local AWS of its own. Without all it
// only plans them.
func (b *growth) try(ctx context.Context, f *frame, n int, all bool) (g growthFigure, err error) {
	w, err := stage.New(ctx, stage.Options{Root: f.project})
	if err != nil {
		return g, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	dir, err := growthRoot(w, n)
	if err != nil {
		return g, err
	}
	backend, err := stateInS3(ctx, w, dir)
	if err != nil {
		return g, err
	}
	env := os.Environ()
	for name, value := range w.Environment() {
		env = append(env, name+"="+value)
	}
	terraform := func(args ...string) (usage, string, int, map[string]int, error) {
		before := len(w.AWS.Calls())
		u, text, err := f.measureText(ctx, command{Args: append([]string{w.Terraform}, args...), Dir: dir, Env: env})
		requests, actions := countCalls(w.AWS.Calls()[before:])
		return u, text, requests, actions, err
	}
	planned := []string{"plan", "-input=false", "-no-color", "-parallelism=" + growthParallelism}
	if _, _, _, _, err = terraform(append([]string{"init", "-input=false", "-no-color"}, backend...)...); err != nil {
		return g, err
	}
	g.Instances = n
	var text string
	if g.Plan, text, _, _, err = terraform(slices.Concat(planned, []string{"-out=p"})...); err != nil {
		return g, err
	}
	if g.Resources, g.Types, err = inPlan(text); err != nil || !all {
		return g, err
	}
	f.say("%s: plan    %6.1f s  %5.0f MB, %d resources", countInstances(n), g.Plan.Seconds, megabytes(g.Plan.PeakBytes), g.Resources)
	if g.Apply, _, g.ApplyRequests, _, err = terraform("apply", "-input=false", "-no-color", "-parallelism="+growthParallelism, "p"); err != nil {
		return g, err
	}
	f.say("%s: apply   %6.1f s  %5.0f MB, %d requests", countInstances(n), g.Apply.Seconds, megabytes(g.Apply.PeakBytes), g.ApplyRequests)
	_, state, _, _, err := terraform("state", "pull")
	if err != nil {
		return g, err
	}
	pulled := filepath.Join(dir, "pulled.tfstate")
	if err := os.WriteFile(pulled, []byte(state), 0o600); err != nil {
		return g, err
	}
	made, err := managed(pulled)
	if err != nil {
		return g, err
	}
	if made != g.Resources {
		return g, fmt.Errorf("the plan has %d resources, the state %d", g.Resources, made)
	}
	// It fails if there is anything to change: then it would be another figure.
	if g.Refresh, _, g.Requests, g.Actions, err = terraform(slices.Concat(planned, []string{"-detailed-exitcode"})...); err != nil {
		return g, fmt.Errorf("a plan right after the apply: %w", err)
	}
	f.say("%s: refresh %6.1f s  %5.0f MB, %d requests", countInstances(n), g.Refresh.Seconds, megabytes(g.Refresh.PeakBytes), g.Requests)
	return g, nil
}

// stateInS3 has a root keep its state in a bucket, as the example file does, and
// returns the flags of its init. A state in a file would be another figure:
// Terraform writes it anew, whole, after each resource, and one in S3 every 20
// seconds.
func stateInS3(ctx context.Context, w *stage.World, dir string) ([]string, error) {
	const bucket = "growth-state"
	client := s3.NewFromConfig(w.AWS.Config(growthRegion), func(o *s3.Options) { o.UsePathStyle = true })
	_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket:                    aws.String(bucket),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: growthRegion},
	})
	if err != nil {
		return nil, err
	}
	return []string{
		"-backend-config=bucket=" + bucket, "-backend-config=key=terraform.tfstate",
		"-backend-config=region=" + growthRegion, "-backend-config=use_lockfile=true",
	}, os.Rename(filepath.Join(dir, "backend.tf.example"), filepath.Join(dir, "backend.tf"))
}

// growthRoot is a Terraform root with so many instances.
func growthRoot(w *stage.World, n int) (string, error) {
	var instances []*stage.Instance
	settings := map[string]map[string]any{}
	for i := range n {
		// Nothing looks whether it runs: only an alarm's incident does.
		id := fmt.Sprintf("i-%017x", i+1)
		instances = append(instances, &stage.Instance{Region: growthRegion, ID: id})
		// Something of its own, as instances have.
		settings[id] = map[string]any{"url": map[string]any{"path": fmt.Sprintf("/healthz/%d", i+1)}}
	}
	return w.CopyRoot(w.Variables(settings, instances...))
}

// countCalls counts what was asked from outside the account, by Terraform, and
// not by what it has deployed.
func countCalls(calls []localaws.Call) (n int, actions map[string]int) {
	actions = map[string]int{}
	for _, c := range calls {
		if c.Role == "" {
			n++
			actions[c.Service+":"+c.Action]++
		}
	}
	return n, actions
}

// What a plan says of what it will make.
var (
	plannedTotal    = regexp.MustCompile(`(?m)^Plan: (\d+) to add, 0 to change, 0 to destroy\.`)
	plannedResource = regexp.MustCompile(`(?m)^  # (\S.*) will be created$`)
	instanceKey     = regexp.MustCompile(`\[[^]]*\]`)
)

// inPlan counts the resources that the text of a plan will make, by their types.
func inPlan(text string) (total int, types map[string]int, err error) {
	m := plannedTotal.FindStringSubmatch(text)
	if m == nil {
		return 0, nil, fmt.Errorf("the plan does not say that it only adds: %s", lastLines(text, 3))
	}
	if total, err = strconv.Atoi(m[1]); err != nil {
		return 0, nil, err
	}
	types = map[string]int{}
	found := 0
	for _, r := range plannedResource.FindAllStringSubmatch(text, -1) {
		parts := strings.Split(instanceKey.ReplaceAllString(r[1], ""), ".")
		if len(parts) < 2 {
			return 0, nil, fmt.Errorf("the plan names %q, which is no address", r[1])
		}
		types[parts[len(parts)-2]]++
		found++
	}
	if found != total {
		return 0, nil, fmt.Errorf("the plan says %d resources and lists %d", total, found)
	}
	return total, types, nil
}

// each works out what an instance adds.
func (r *growthFigures) each() {
	first, last := r.Sizes[0], r.Sizes[len(r.Sizes)-1]
	if more := last.Instances - first.Instances; more > 0 {
		r.ResourcesEach = round(float64(last.Resources-first.Resources) / float64(more))
		r.RequestsEach = round(float64(last.Requests-first.Requests) / float64(more))
	}
}

// mostOf returns the largest of a count, the first by name of those that are
// equal, as "NAME 12, NAME 10".
func mostOf(count map[string]int, n int) string {
	names := slices.SortedFunc(maps.Keys(count), func(x, y string) int {
		return cmp.Or(cmp.Compare(count[y], count[x]), cmp.Compare(x, y))
	})
	var parts []string
	for _, name := range names[:min(n, len(names))] {
		parts = append(parts, fmt.Sprintf("%s %d", name, count[name]))
	}
	return strings.Join(parts, ", ")
}

// dominates says of what a large region consists.
func (r growthFigures) dominates() string {
	last := r.Sizes[len(r.Sizes)-1]
	return fmt.Sprintf("Of %s most resources are %s, and most requests of a refresh %s.",
		countInstances(last.Instances), mostOf(last.Types, 2), mostOf(last.Actions, 6))
}

func (r growthFigures) tables() []table {
	t := table{
		Title: fmt.Sprintf("Plain Terraform at parallelism %s, in %s: seconds, CPU seconds of Terraform and its providers (the local AWS has the rest), and the peak of the memory (proportional set size, MB of 10^6 bytes). The first plan makes all; the refresh is a plan of what is there and unchanged.", growthParallelism, r.Region),
		Head:  []string{"instances", "resources", "command", "s", "CPU s", "MB", "requests"},
	}
	for _, g := range r.Sizes {
		for _, c := range []struct {
			name     string
			u        usage
			requests string
		}{{"first plan", g.Plan, "-"}, {"apply", g.Apply, strconv.Itoa(g.ApplyRequests)}, {"refresh", g.Refresh, strconv.Itoa(g.Requests)}} {
			memory := "-"
			if c.u.PeakBytes > 0 {
				memory = fmt.Sprintf("%.0f", megabytes(c.u.PeakBytes))
			}
			t.Rows = append(t.Rows, []string{
				strconv.Itoa(g.Instances), strconv.Itoa(g.Resources), c.name,
				fmt.Sprintf("%.1f", c.u.Seconds), fmt.Sprintf("%.1f", c.u.CPUSeconds), memory, c.requests,
			})
		}
	}
	return []table{t}
}

func (r growthFigures) targets() []target {
	few := target{Want: fmt.Sprintf("under %.0f resources an instance", mostResources), Measured: "-"}
	if r.ResourcesEach > 0 {
		few = meets(few.Want, fmt.Sprintf("%.2f, and %.2f requests a refresh", r.ResourcesEach, r.RequestsEach), r.ResourcesEach < mostResources)
	}
	fast := target{Want: fmt.Sprintf("a plan of %d instances in under %.0f s on 2 cores", largeRegion, mostPlanSeconds), Measured: "-"}
	for _, g := range r.Sizes {
		if g.Instances == largeRegion {
			worst := max(g.Plan.Seconds, g.Refresh.Seconds)
			fast = meets(fast.Want, fmt.Sprintf("%.1f s the first, %.1f s a refresh", g.Plan.Seconds, g.Refresh.Seconds), worst < mostPlanSeconds)
		}
	}
	return []target{few, fast}
}

// ratios are counts, and what the largest size costs over the smallest.
func (r growthFigures) ratios() []compared {
	first, last := r.Sizes[0], r.Sizes[len(r.Sizes)-1]
	if first.Instances == last.Instances {
		return nil
	}
	all := []compared{
		{Key: "growth/resources-per-instance", Value: r.ResourcesEach},
		// A page of a list more or less.
		{Key: "growth/requests-per-instance", Value: r.RequestsEach, Margin: 0.02},
	}
	for _, c := range []struct {
		name       string
		large, one usage
	}{{"plan", last.Plan, first.Plan}, {"refresh", last.Refresh, first.Refresh}} {
		key := fmt.Sprintf("growth/%s/%d-over-%d", c.name, last.Instances, first.Instances)
		if c.one.CPUSeconds > 0 {
			all = append(all, compared{Key: key + "/cpu", Value: c.large.CPUSeconds / c.one.CPUSeconds, Margin: cpuMargin})
		}
		if c.one.PeakBytes > 0 {
			all = append(all, compared{Key: key + "/memory", Value: float64(c.large.PeakBytes) / float64(c.one.PeakBytes), Margin: memoryMargin})
		}
	}
	return all
}

// countInstances says how many instances.
func countInstances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return strconv.Itoa(n) + " instances"
}
