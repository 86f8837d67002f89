package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firstline/internal/regions"
	"firstline/test/localaws"
	"firstline/test/testbed"
)

// growthParallelism is Terraform's own.
const growthParallelism = "10"

// growth measures what more instances and regions cost Terraform: plan, apply and a
// plan of what is there (the refresh), with the requests that it makes.
type growth struct{}

// size is how much is deployed.
type size struct{ regions, instances int }

func (s size) String() string {
	return fmt.Sprintf("regions: %d, instances in each: %d", s.regions, s.instances)
}

// growthFigure are those of a size.
type growthFigure struct {
	size
	// resources are those in the plan, types how many there are of each.
	resources int
	types     map[string]int
	// plan is of all to be made, refresh of what is there and unchanged.
	plan, apply, refresh usage
	// requests are what a refresh asks.
	requests, applyRequests int
}

func (*growth) name() string { return "growth" }

func (*growth) flags(*flag.FlagSet) {}

func (b *growth) run(ctx context.Context, f *frame) (section, error) {
	sizes := []size{{1, 1}, {1, 100}, {1, 1000}, {len(regions.Default()), 1}}
	if f.quick {
		sizes = sizes[:2]
	}
	// The provider is read from disk by the first to run it.
	f.say("warming up")
	if _, err := b.try(ctx, f, size{1, 1}, false); err != nil {
		return section{}, err
	}
	var all []growthFigure
	for _, s := range sizes {
		g, err := b.try(ctx, f, s, true)
		if err != nil {
			return section{}, fmt.Errorf("%s: %w", s, err)
		}
		all = append(all, g)
	}
	resources, requests := each(all[0], all[1])
	return section{
		Name: b.name(), Title: "Growth: plan and apply",
		Notes: []string{
			fmt.Sprintf("Plain Terraform at parallelism %s, its state in S3: seconds, CPU seconds of Terraform and its providers (the local AWS has the rest), and the peak of the memory (proportional set size, MB of 10^6 bytes). The first plan makes all; the refresh is a plan of what is there and unchanged.", growthParallelism),
			fmt.Sprintf("An instance adds %.2f resources, and %.2f requests to a refresh.", resources, requests),
		},
		Tables: []table{growthTable(all)},
		Ratios: growthRatios(all[0], all[1]),
	}, nil
}

// each is what an instance adds to the resources and to the requests of a refresh.
func each(one, many growthFigure) (resources, requests float64) {
	more := float64(many.instances - one.instances)
	return float64(many.resources-one.resources) / more, float64(many.requests-one.requests) / more
}

// try deploys a size on a local AWS of its own. Without all it only plans it.
func (b *growth) try(ctx context.Context, f *frame, s size, all bool) (g growthFigure, err error) {
	w, err := testbed.New(ctx, testbed.Options{Root: f.project})
	if err != nil {
		return g, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	dir, err := growthRoot(w, s)
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
	terraform := func(args ...string) (usage, string, int, error) {
		before := len(w.AWS.Calls())
		u, text, err := f.measure(ctx, command{Args: append([]string{w.Terraform}, args...), Dir: dir, Env: env})
		return u, text, fromOutside(w.AWS.Calls()[before:]), err
	}
	planned := []string{"plan", "-input=false", "-no-color", "-parallelism=" + growthParallelism}
	if _, _, _, err = terraform(append([]string{"init", "-input=false", "-no-color"}, backend...)...); err != nil {
		return g, err
	}
	g.size = s
	var text string
	if g.plan, text, _, err = terraform(slices.Concat(planned, []string{"-out=p"})...); err != nil {
		return g, err
	}
	if g.resources, g.types, err = inPlan(text); err != nil || !all {
		return g, err
	}
	f.say("%s: plan    %6.1f s, %d resources", s, g.plan.Seconds, g.resources)
	if g.apply, _, g.applyRequests, err = terraform("apply", "-input=false", "-no-color", "-parallelism="+growthParallelism, "p"); err != nil {
		return g, err
	}
	f.say("%s: apply   %6.1f s, %d requests", s, g.apply.Seconds, g.applyRequests)
	// It fails if there is anything to change: then it would be another figure.
	if g.refresh, _, g.requests, err = terraform(slices.Concat(planned, []string{"-detailed-exitcode"})...); err != nil {
		return g, fmt.Errorf("a plan right after the apply: %w", err)
	}
	f.say("%s: refresh %6.1f s, %d requests", s, g.refresh.Seconds, g.requests)
	return g, nil
}

// stateInS3 has a root keep its state in a bucket, as the example file does, and
// returns the flags of its init. A state in a file would be another figure:
// Terraform writes it anew, whole, after each resource, and one in S3 every 20
// seconds.
func stateInS3(ctx context.Context, w *testbed.Testbed, dir string) ([]string, error) {
	const bucket, region = "growth-state", functionRegion
	client := s3.NewFromConfig(w.AWS.Config(region), func(o *s3.Options) { o.UsePathStyle = true })
	_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket:                    aws.String(bucket),
		CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: region},
	})
	if err != nil {
		return nil, err
	}
	return []string{
		"-backend-config=bucket=" + bucket, "-backend-config=key=terraform.tfstate",
		"-backend-config=region=" + region, "-backend-config=use_lockfile=true",
	}, os.Rename(filepath.Join(dir, "backend.tf.example"), filepath.Join(dir, "backend.tf"))
}

// growthRoot is a Terraform root of a size.
func growthRoot(w *testbed.Testbed, s size) (string, error) {
	var instances []*testbed.Instance
	settings := map[string]map[string]any{}
	for r := range s.regions {
		region := functionRegion
		if s.regions > 1 {
			region = regions.Default()[r]
		}
		for i := range s.instances {
			// Nothing looks whether it runs: only an alarm's incident does.
			id := fmt.Sprintf("i-%017x", r*s.instances+i+1)
			instances = append(instances, &testbed.Instance{Region: region, ID: id})
			// Something of its own, as instances have.
			settings[id] = map[string]any{"url": map[string]any{"path": fmt.Sprintf("/healthz/%d", i+1)}}
		}
	}
	return w.CopyRoot(w.Variables(settings, instances...))
}

// fromOutside counts what was asked from outside the account, by Terraform, and not by
// what it has deployed.
func fromOutside(calls []localaws.Call) (n int) {
	for _, c := range calls {
		if c.Role == "" {
			n++
		}
	}
	return n
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

func growthTable(all []growthFigure) table {
	t := table{Title: "Regions, and instances in each:", Head: []string{"regions", "instances", "resources", "command", "s", "CPU s", "MB", "requests"}}
	for _, g := range all {
		for _, c := range []struct {
			name     string
			u        usage
			requests string
		}{{"first plan", g.plan, "-"}, {"apply", g.apply, strconv.Itoa(g.applyRequests)}, {"refresh", g.refresh, strconv.Itoa(g.requests)}} {
			t.Rows = append(t.Rows, []string{
				strconv.Itoa(g.regions), strconv.Itoa(g.instances), strconv.Itoa(g.resources), c.name,
				fmt.Sprintf("%.1f", c.u.Seconds), fmt.Sprintf("%.1f", c.u.CPUSeconds), fmt.Sprintf("%.0f", megabytes(c.u.PeakBytes)), c.requests,
			})
		}
	}
	return t
}

// growthRatios are counts, and what many instances cost over one.
func growthRatios(one, many growthFigure) []compared {
	resources, requests := each(one, many)
	all := []compared{
		{Key: "growth/resources-per-instance", Value: resources},
		// A page of a list more or less.
		{Key: "growth/requests-per-instance", Value: requests, Margin: 0.02},
	}
	for _, c := range []struct {
		name        string
		large, base usage
	}{{"plan", many.plan, one.plan}, {"refresh", many.refresh, one.refresh}} {
		key := fmt.Sprintf("growth/%s/%d-over-%d", c.name, many.instances, one.instances)
		all = append(all,
			compared{key + "/cpu", c.large.CPUSeconds / c.base.CPUSeconds, cpuMargin},
			compared{key + "/memory", float64(c.large.PeakBytes) / float64(c.base.PeakBytes), memoryMargin},
		)
	}
	return all
}
