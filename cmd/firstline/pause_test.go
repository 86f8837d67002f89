package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"firstline/internal/deployed"
	"firstline/internal/fault"
	"firstline/internal/old/incident"
)

func TestPauseUntil(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"1h", "2026-11-23T13:00:00Z"},
		{"2h", "2026-11-23T14:00:00Z"},
		{"3d", "2026-11-26T12:00:00Z"},
		{"7d", "2026-11-30T12:00:00Z"},
		{"2026-11-23T20:00:00+02:00", "2026-11-23T18:00:00Z"},
		{"2026-11-30T12:00:00.9Z", "2026-11-30T12:00:00Z"},
	} {
		if got, err := pauseUntil(tt.text, noon); err != nil || stamp(got) != tt.want {
			t.Errorf("%s: got %s, %v, want %s", tt.text, stamp(got), err, tt.want)
		}
	}
	const malformed = "is not a time: give RFC 3339 with its zone, such as 2026-11-23T13:00:00Z, or a time from now such as 2h or 3d"
	for _, tt := range []struct{ text, want string }{
		{"", `--until: "" ` + malformed},
		{"tomorrow", `--until: "tomorrow" ` + malformed},
		{"2026-11-24T10:00:00", `--until: "2026-11-24T10:00:00" ` + malformed},
		{"-2h", `--until: "-2h" ` + malformed},
		{"2", `--until: "2" ` + malformed},
		{"0s", "--until: 2026-11-23T12:00:00Z is in the past, it is 2026-11-23T12:00:00Z now: give a time to come, at most 7d ahead"},
		{"2026-11-23T11:59:59Z", "--until: 2026-11-23T11:59:59Z is in the past, it is 2026-11-23T12:00:00Z now: give a time to come, at most 7d ahead"},
		{"7d1s", "--until: 2026-11-30T12:00:01Z is more than 7d ahead: give 2026-11-30T12:00:00Z or earlier, and pause again then"},
		{"2027-11-23T12:00:00Z", "--until: 2027-11-23T12:00:00Z is more than 7d ahead: give 2026-11-30T12:00:00Z or earlier, and pause again then"},
	} {
		_, err := pauseUntil(tt.text, noon)
		if _, ok := errors.AsType[usageError](err); !ok || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %q", tt.text, err, tt.want)
		}
	}
}

func TestChooseTargets(t *testing.T) {
	both := deployment{regions: two, missing: []string{"eu-west-2"}}
	for _, tt := range []struct {
		name, only, instances string
		want                  []target
		err                   string
	}{
		{name: "regions", only: "eu-west-1 us-east-1", want: []target{{region: two[0], whole: true}, {region: two[1], whole: true}}},
		{name: "instances of both", instances: "i-2a1b2c3d i-1a1b2c3d i-0a1b2c3d", want: []target{
			{region: two[0], instances: []string{"i-0a1b2c3d", "i-1a1b2c3d"}}, {region: two[1], instances: []string{"i-2a1b2c3d"}},
		}},
		{name: "an instance of its region", only: "us-east-1", instances: "i-2a1b2c3d", want: []target{{region: two[1], instances: []string{"i-2a1b2c3d"}}}},
		{name: "not deployed yet", only: "eu-west-2", err: "--region: eu-west-2: not deployed; deployed are eu-west-1, us-east-1"},
		{name: "unknown instance", instances: "i-9a1b2c3d", err: "--instance: i-9a1b2c3d: not watched in eu-west-1, us-east-1; watched are i-0a1b2c3d, i-1a1b2c3d, i-2a1b2c3d"},
		{
			name: "a region for nothing", only: "eu-west-1 us-east-1", instances: "i-2a1b2c3d",
			err: "--region: eu-west-1: none of the given instances is watched there; leave it out, or name it in a command of its own for the region as a whole",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			only := strings.Fields(tt.only)
			d := both
			if len(only) > 0 {
				// As rootFlags.deployed leaves it.
				d.regions = slices.DeleteFunc(slices.Clone(two), func(r deployed.Region) bool { return !slices.Contains(only, r.Region) && tt.err == "" })
			}
			got, err := chooseTargets(d, only, strings.Fields(tt.instances))
			if tt.err != "" {
				if _, ok := errors.AsType[usageError](err); !ok || err.Error() != tt.err {
					t.Errorf("got %v, want %q", err, tt.err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(target{})); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// played plays a region's table, EC2 and STS.
type played struct {
	mu    sync.Mutex
	calls []string
	// whole is the region's pause, tags those of its instances.
	whole *incident.Pause
	tags  map[string]string
	// refuse has the error of a call by its name.
	refuse map[string]error
}

func (p *played) call(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, name)
	call, _, _ := strings.Cut(name, " ")
	return p.refuse[call]
}

func (p *played) PauseRegion(_ context.Context, until time.Time, by string) error {
	if err := p.call("PauseRegion"); err != nil {
		return err
	}
	p.whole = &incident.Pause{Until: until, Scope: incident.PauseRegion, By: by}
	return nil
}

func (p *played) ResumeRegion(context.Context) error {
	if err := p.call("ResumeRegion"); err != nil {
		return err
	}
	p.whole = nil
	return nil
}

func (p *played) RegionPause(context.Context) (*incident.Pause, error) {
	return p.whole, p.call("RegionPause")
}

func (p *played) CreateTags(_ context.Context, in *ec2.CreateTagsInput, _ ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error) {
	tag := aws.ToString(in.Tags[0].Key) + "=" + aws.ToString(in.Tags[0].Value)
	if err := p.call("CreateTags " + strings.Join(in.Resources, ",") + " " + tag); err != nil {
		return nil, err
	}
	for _, id := range in.Resources {
		p.tags[id] = aws.ToString(in.Tags[0].Value)
	}
	return &ec2.CreateTagsOutput{}, nil
}

func (p *played) DeleteTags(_ context.Context, in *ec2.DeleteTagsInput, _ ...func(*ec2.Options)) (*ec2.DeleteTagsOutput, error) {
	value := "whatever it is"
	if in.Tags[0].Value != nil {
		value = *in.Tags[0].Value
	}
	if err := p.call("DeleteTags " + strings.Join(in.Resources, ",") + " " + aws.ToString(in.Tags[0].Key) + "=" + value); err != nil {
		return nil, err
	}
	for _, id := range in.Resources {
		delete(p.tags, id)
	}
	return &ec2.DeleteTagsOutput{}, nil
}

// DescribeInstances answers an instance a page.
func (p *played) DescribeInstances(_ context.Context, in *ec2.DescribeInstancesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	if err := p.call("DescribeInstances " + aws.ToString(in.Filters[0].Name) + "=" + in.Filters[0].Values[0]); err != nil {
		return nil, err
	}
	var ids []string
	for id := range p.tags {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	n := 0
	if in.NextToken != nil {
		n = int((*in.NextToken)[0] - '0')
	}
	out := &ec2.DescribeInstancesOutput{}
	if n >= len(ids) {
		return out, nil
	}
	i := ec2types.Instance{InstanceId: &ids[n], State: &ec2types.InstanceState{Name: ec2types.InstanceStateNameRunning}, Tags: []ec2types.Tag{
		{Key: aws.String("Name"), Value: aws.String("web")}, {Key: aws.String(incident.PauseTag), Value: aws.String(p.tags[ids[n]])},
	}}
	if strings.HasPrefix(ids[n], "i-f") {
		i.State.Name = ec2types.InstanceStateNameTerminated
	}
	out.Reservations = []ec2types.Reservation{{Instances: []ec2types.Instance{i}}}
	if n+1 < len(ids) {
		out.NextToken = aws.String(string(rune('0' + n + 1)))
	}
	return out, nil
}

func (p *played) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return &sts.GetCallerIdentityOutput{Arn: aws.String("arn:aws:sts::123456789012:assumed-role/ops/jane")}, p.call("GetCallerIdentity")
}

// pauserOf is a pauser of regions that are played.
func pauserOf(world map[string]*played) *pauser {
	return &pauser{
		now: func() time.Time { return noon },
		switches: func(r deployed.Region) (regionSwitch, error) {
			if r.TableName == "" {
				return nil, errors.New("no table is deployed here: deploy this version first")
			}
			return world[r.Region], nil
		},
		ec2: func(region string) tagger { return world[region] },
		sts: func(region string) identifier { return world[region] },
	}
}

var denied = &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not you"}

func TestPause(t *testing.T) {
	europe := &played{tags: map[string]string{}}
	america := &played{tags: map[string]string{}, refuse: map[string]error{"PauseRegion": denied}}
	p := pauserOf(map[string]*played{"eu-west-1": europe, "us-east-1": america})
	until := noon.Add(time.Hour)
	whole := []target{{region: two[0], whole: true}, {region: two[1], whole: true}}
	const by = "arn:aws:sts::123456789012:assumed-role/ops/jane"

	got := p.pause(t.Context(), whole, until)
	want := pauseResult{
		Command: "pause", Until: until,
		Results: []pauseLine{{Region: "eu-west-1", Result: "paused", By: by}, {Region: "us-east-1", Result: "failed"}},
		Errors:  []regionError{{"us-east-1", "AccessDeniedException: not you"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&incident.Pause{Until: until, Scope: incident.PauseRegion, By: by}, europe.whole); diff != "" {
		t.Errorf("the switch (-want +got):\n%s", diff)
	}
	text, err := printed(t, func(w *bytes.Buffer) error { return printPause(w, got) })
	if diff := cmp.Diff(`REGION     INSTANCE  RESULT
eu-west-1  all       paused until 2026-11-23T13:00:00Z
us-east-1  all       FAILED

Checks and Slack messages go on; nothing is rebooted and nobody is paged there.
`+"`firstline resume` ends it before, `firstline paused` lists what is paused."+`

us-east-1: AccessDeniedException: not you
`, text); diff != "" || err == nil || err.Error() != "something went wrong in us-east-1: see above" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}

	// Who asks is part of it.
	europe.refuse = map[string]error{"GetCallerIdentity": denied}
	if got := p.pause(t.Context(), whole[:1], until); got.Errors[0].Error != "who asks for it: AccessDeniedException: not you" {
		t.Errorf("%+v", got)
	}
	// Of a deployment that is older.
	half := two[0]
	half.TableName = ""
	if got := p.pause(t.Context(), []target{{region: half, whole: true}}, until); got.Errors[0].Error != "no table is deployed here: deploy this version first" {
		t.Errorf("%+v", got)
	}
}

func TestPauseInstances(t *testing.T) {
	europe, america := &played{tags: map[string]string{}}, &played{tags: map[string]string{}, refuse: map[string]error{"CreateTags": denied}}
	p := pauserOf(map[string]*played{"eu-west-1": europe, "us-east-1": america})
	until := noon.Add(90 * time.Minute)
	got := p.pause(t.Context(), []target{{region: two[0], instances: two[0].InstanceIDs}, {region: two[1], instances: two[1].InstanceIDs}}, until)
	want := pauseResult{
		Command: "pause", Until: until,
		Results: []pauseLine{
			{Region: "eu-west-1", Instance: "i-0a1b2c3d", Result: "paused"},
			{Region: "eu-west-1", Instance: "i-1a1b2c3d", Result: "paused"},
			{Region: "us-east-1", Instance: "i-2a1b2c3d", Result: "failed"},
		},
		Errors: []regionError{{"us-east-1", "AccessDeniedException: not you"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"CreateTags i-0a1b2c3d,i-1a1b2c3d firstline:pause=2026-11-23T13:30:00Z"}, europe.calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	// More than EC2 tags at once.
	many := target{region: two[0]}
	for range mostTagged + 1 {
		many.instances = append(many.instances, "i-0a1b2c3d")
	}
	europe.calls = nil
	if got := p.pause(t.Context(), []target{many}, until); len(got.Results) != mostTagged+1 || len(europe.calls) != 2 {
		t.Errorf("%d results, %d calls", len(got.Results), len(europe.calls))
	}
}

func TestResume(t *testing.T) {
	end := noon.Add(time.Hour)
	const by = "arn:aws:sts::123456789012:assumed-role/ops/joe"
	tagged := func() map[string]string {
		return map[string]string{"i-0a1b2c3d": stamp(end), "i-1a1b2c3d": "soon", "i-9a1b2c3d": stamp(end)}
	}
	all := func(region, result string) []pauseLine { return []pauseLine{{Region: region, Result: result}} }
	for _, tt := range []struct {
		name    string
		aws     *played
		targets []target
		want    pauseResult
		calls   string
		text    []string
		err     string
	}{
		{
			name: "a region", aws: &played{whole: &incident.Pause{Until: end, By: by}},
			targets: []target{{region: two[0], whole: true}},
			want:    pauseResult{Results: []pauseLine{{Region: "eu-west-1", Result: "resumed", By: by}}},
			calls:   "RegionPause ResumeRegion DescribeInstances",
			text:    []string{"eu-west-1  all       resumed\n"},
		},
		{
			name: "a region that is not paused", aws: &played{},
			targets: []target{{region: two[0], whole: true}},
			want:    pauseResult{Results: all("eu-west-1", "not paused")},
			calls:   "RegionPause DescribeInstances",
			text:    []string{"eu-west-1  all       not paused\n"},
		},
		{
			name: "a region whose instances stay paused", aws: &played{whole: &incident.Pause{Until: end}, tags: tagged()},
			targets: []target{{region: two[0], whole: true}},
			want: pauseResult{Results: all("eu-west-1", "resumed"), Still: []standing{
				{Region: "eu-west-1", Instance: "i-0a1b2c3d", Until: end}, {Region: "eu-west-1", Instance: "i-1a1b2c3d", Value: "soon", Warning: "any"},
			}},
			calls: "RegionPause ResumeRegion DescribeInstances DescribeInstances DescribeInstances",
			text: []string{
				"eu-west-1 i-0a1b2c3d: still paused by its tag, until 2026-11-23T13:00:00Z: `firstline resume --instance i-0a1b2c3d` ends that\n",
				"eu-west-1 i-1a1b2c3d: its tag firstline:pause does not pause it, but nothing reboots it either: ",
			},
		},
		{
			name: "instances", aws: &played{tags: tagged()},
			targets: []target{{region: two[0], instances: []string{"i-0a1b2c3d", "i-1a1b2c3d"}}},
			want: pauseResult{Results: []pauseLine{
				{Region: "eu-west-1", Instance: "i-0a1b2c3d", Result: "resumed"}, {Region: "eu-west-1", Instance: "i-1a1b2c3d", Result: "resumed"},
			}},
			calls: "DescribeInstances DescribeInstances DescribeInstances DeleteTags RegionPause",
		},
		{
			name: "an instance of a paused region", aws: &played{whole: &incident.Pause{Until: end, By: by}, tags: map[string]string{"i-0a1b2c3d": stamp(end)}},
			targets: []target{{region: two[0], instances: []string{"i-0a1b2c3d", "i-1a1b2c3d"}}},
			want: pauseResult{
				Results: []pauseLine{{Region: "eu-west-1", Instance: "i-0a1b2c3d", Result: "resumed"}, {Region: "eu-west-1", Instance: "i-1a1b2c3d", Result: "not paused"}},
				Still:   []standing{{Region: "eu-west-1", Until: end, By: by}},
			},
			calls: "DescribeInstances DeleteTags RegionPause",
			text:  []string{"eu-west-1: the region is still paused, until 2026-11-23T13:00:00Z: `firstline resume --region eu-west-1` ends that\n"},
		},
		{
			name: "nothing is tagged", aws: &played{},
			targets: []target{{region: two[1], instances: []string{"i-2a1b2c3d"}}},
			want:    pauseResult{Results: []pauseLine{{Region: "us-east-1", Instance: "i-2a1b2c3d", Result: "not paused"}}},
			calls:   "DescribeInstances RegionPause",
		},
		{
			name: "a switch that cannot be read", aws: &played{refuse: map[string]error{"RegionPause": fault.New(fault.Internal, "look", "until: missing")}},
			targets: []target{{region: two[0], whole: true}},
			want:    pauseResult{Results: all("eu-west-1", "resumed")},
			calls:   "RegionPause ResumeRegion DescribeInstances",
		},
		{
			name: "the table does not answer", aws: &played{refuse: map[string]error{"RegionPause": fault.AWS("look", denied)}},
			targets: []target{{region: two[0], whole: true}},
			want:    pauseResult{Results: all("eu-west-1", "failed"), Errors: []regionError{{"eu-west-1", "AccessDeniedException: not you"}}},
			calls:   "RegionPause",
			err:     "something went wrong in eu-west-1: see above",
		},
		{
			name: "EC2 does not say", aws: &played{refuse: map[string]error{"DescribeInstances": denied}, whole: &incident.Pause{Until: end}},
			targets: []target{{region: two[0], whole: true}},
			want:    pauseResult{Results: all("eu-west-1", "resumed"), Errors: []regionError{{"eu-west-1", "whether instances are paused by their tags: AccessDeniedException: not you"}}},
			calls:   "RegionPause ResumeRegion DescribeInstances",
			err:     "something went wrong in eu-west-1: see above",
		},
		{
			name: "tags stay", aws: &played{refuse: map[string]error{"DeleteTags": denied}, tags: map[string]string{"i-0a1b2c3d": stamp(end)}},
			targets: []target{{region: two[0], instances: two[0].InstanceIDs}},
			want: pauseResult{
				Results: []pauseLine{{Region: "eu-west-1", Instance: "i-0a1b2c3d", Result: "failed"}, {Region: "eu-west-1", Instance: "i-1a1b2c3d", Result: "not paused"}},
				Errors:  []regionError{{"eu-west-1", "AccessDeniedException: not you"}},
			},
			calls: "DescribeInstances DeleteTags",
			err:   "something went wrong in eu-west-1: see above",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := pauserOf(map[string]*played{"eu-west-1": tt.aws, "us-east-1": tt.aws})
			got := p.resume(t.Context(), tt.targets)
			tt.want.Command = "resume"
			// What is wrong with a tag is for package guard to say.
			ignore := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Warning" }, cmp.Comparer(func(a, b string) bool { return (a == "") == (b == "") }))
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty(), ignore); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var calls []string
			for _, c := range tt.aws.calls {
				name, rest, _ := strings.Cut(c, " ")
				calls = append(calls, name)
				if name == "DeleteTags" && !strings.HasSuffix(rest, " firstline:pause=whatever it is") {
					t.Errorf("%s", c)
				}
			}
			if got := strings.Join(calls, " "); got != tt.calls {
				t.Errorf("called %s, want %s", got, tt.calls)
			}
			text, err := printed(t, func(w *bytes.Buffer) error { return printPause(w, got) })
			for _, want := range tt.text {
				if !strings.Contains(text, want) {
					t.Errorf("it does not say %q:\n%s", want, text)
				}
			}
			if err == nil && tt.err != "" || err != nil && err.Error() != tt.err {
				t.Errorf("got %v, want %q", err, tt.err)
			}
		})
	}
}

// printed is what a func prints, and its error.
func printed(t *testing.T, print func(*bytes.Buffer) error) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := print(&out)
	return out.String(), err
}

func TestPaused(t *testing.T) {
	end := noon.Add(26 * time.Hour)
	europe := &played{
		whole: &incident.Pause{Until: noon.Add(72 * time.Minute), Scope: incident.PauseRegion, By: "arn:aws:sts::123456789012:assumed-role/ops/jane"},
		tags: map[string]string{
			"i-0a1b2c3d": stamp(end), "i-1a1b2c3d": "tomorrow", "i-9a1b2c3d": stamp(end), // the last is not watched
		},
	}
	america := &played{tags: map[string]string{"i-2a1b2c3d": stamp(noon.Add(-time.Minute)), "i-fa1b2c3d": stamp(end)}}
	p := pauserOf(map[string]*played{"eu-west-1": europe, "us-east-1": america})
	regions := slices.Clone(two)
	regions[1].InstanceIDs = append(slices.Clone(regions[1].InstanceIDs), "i-fa1b2c3d") // which is terminated

	got := p.paused(t.Context(), regions)
	want := pausedResult{
		Command: "paused",
		Pauses: []standing{
			{Region: "eu-west-1", Until: noon.Add(72 * time.Minute), By: "arn:aws:sts::123456789012:assumed-role/ops/jane"},
			{Region: "eu-west-1", Instance: "i-0a1b2c3d", Until: end},
		},
		Warnings: []standing{{Region: "eu-west-1", Instance: "i-1a1b2c3d", Value: "tomorrow"}},
		Errors:   []regionError{},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(standing{}, "Warning")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(got.Warnings) == 1 && !strings.Contains(got.Warnings[0].Warning, "tomorrow") {
		t.Errorf("the warning is %q", got.Warnings[0].Warning)
	}
	if got := europe.calls[1]; got != "DescribeInstances tag-key=firstline:pause" {
		t.Errorf("called %s", got)
	}
	got.Warnings[0].Warning = `"tomorrow" is not a time`
	text, err := printed(t, func(w *bytes.Buffer) error { return printPaused(w, got, noon) })
	if diff := cmp.Diff(`REGION     INSTANCE    UNTIL                 LEFT   BY
eu-west-1  all         2026-11-23T13:12:00Z  1h12m  arn:aws:sts::123456789012:assumed-role/ops/jane
eu-west-1  i-0a1b2c3d  2026-11-24T14:00:00Z  1d2h   its tag

eu-west-1 i-1a1b2c3d: its tag firstline:pause does not pause it, but nothing reboots it either: "tomorrow" is not a time; set it anew with `+"`firstline pause --instance i-1a1b2c3d`, or take it away with `firstline resume --instance i-1a1b2c3d`\n", text); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// What a tag may say is for package guard; that it is too far ahead or empty is
// no pause.
func TestPausedUnreadable(t *testing.T) {
	for _, value := range []string{"", "tomorrow", "2026-11-24", stamp(noon.Add(incident.MaxPause + 2*time.Hour))} {
		p := pauserOf(map[string]*played{"eu-west-1": {tags: map[string]string{"i-0a1b2c3d": value}}})
		got := p.paused(t.Context(), two[:1])
		if len(got.Pauses) != 0 || len(got.Warnings) != 1 || got.Warnings[0].Value != value || got.Warnings[0].Warning == "" {
			t.Errorf("%q: %+v", value, got)
		}
	}
}

func TestPausedTrouble(t *testing.T) {
	end := noon.Add(time.Hour)
	both := map[string]error{"RegionPause": denied, "DescribeInstances": denied}
	p := pauserOf(map[string]*played{
		"eu-west-1": {tags: map[string]string{"i-0a1b2c3d": stamp(end)}, refuse: map[string]error{"RegionPause": denied}},
		"us-east-1": {refuse: both},
	})
	got := p.paused(t.Context(), two)
	text, err := printed(t, func(w *bytes.Buffer) error { return printPaused(w, got, noon) })
	if diff := cmp.Diff(`REGION     INSTANCE    UNTIL                 LEFT  BY
eu-west-1  i-0a1b2c3d  2026-11-23T13:00:00Z  1h    its tag

eu-west-1: whether the region is paused as a whole: AccessDeniedException: not you
us-east-1: whether the region is paused as a whole: AccessDeniedException: not you; whether instances are paused by their tags: AccessDeniedException: not you
`, text); diff != "" || err == nil || err.Error() != "not all could be looked at in eu-west-1, us-east-1: see above" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	got = pauserOf(map[string]*played{"eu-west-1": {}}).paused(t.Context(), two[:1])
	text, err = printed(t, func(w *bytes.Buffer) error { return printPaused(w, got, noon) })
	if text != "nothing is paused\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}
