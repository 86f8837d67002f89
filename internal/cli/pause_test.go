package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"firstline/internal/deployed"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
	"firstline/test/dynamo"
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
	only := func(r deployed.Region, ids ...string) deployed.Region { r.InstanceIDs = ids; return r }
	for _, tt := range []struct {
		name, only, instances string
		want                  targets
		err                   string
	}{
		{name: "regions", only: "eu-west-1 us-east-1", want: targets{two, true}},
		{name: "instances of both", instances: "i-2a1b2c3d i-0a1b2c3d", want: targets{[]deployed.Region{only(two[0], "i-0a1b2c3d"), two[1]}, false}},
		{name: "an instance of its region, as a page names it", only: "us-east-1", instances: "i-2a1b2c3d", want: targets{two[1:], false}},
		{name: "not deployed yet", only: "us-east-1 eu-west-2", err: "--region: eu-west-2: it is not deployed, or watches none"},
		{name: "unknown instance", instances: "i-9a1b2c3d", err: "--instance: i-9a1b2c3d: not watched in eu-west-1, us-east-1; watched are i-0a1b2c3d, i-1a1b2c3d, i-2a1b2c3d"},
		{name: "a region for nothing", only: "eu-west-1 us-east-1", instances: "i-2a1b2c3d", err: "--region: eu-west-1: it is not deployed, or watches none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := chooseTargets(deployment{regions: two, missing: []string{"eu-west-2"}}, strings.Fields(tt.only), strings.Fields(tt.instances))
			if _, ok := errors.AsType[usageError](err); tt.err != "" && (!ok || !strings.HasPrefix(err.Error(), tt.err)) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(targets{})); diff != "" || tt.err == "" && err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// played plays a region: its table in memory, EC2, STS and Step Functions.
type played struct {
	t  *testing.T
	db *dynamo.DB

	mu    sync.Mutex
	calls []string
	tags  map[string]string
	// refuse has the error of a call by its name.
	refuse map[string]error
}

func newPlayed(t *testing.T) *played {
	p := &played{t: t, db: dynamo.New("firstline-incidents"), tags: map[string]string{}, refuse: map[string]error{}}
	p.db.Before = func(ctx context.Context, _ dynamo.Call) error {
		if errors.Is(p.refuse["table"], context.DeadlineExceeded) {
			<-ctx.Done()
			return ctx.Err()
		}
		return p.refuse["table"]
	}
	return p
}

// world is regions that are played.
type world map[string]*played

func (w world) table(r deployed.Region) (*store.Table, error) {
	if w[r.Region] == nil || r.TableName == "" {
		return tableOf(aws.Config{}, deployed.Region{})
	}
	return w[r.Region].table(), nil
}

func (p *played) table() *store.Table {
	return &store.Table{
		Name: p.db.Name, Client: func(context.Context) (store.API, error) { return p.db, nil },
		Random: func(time.Duration) time.Duration { return 0 },
	}
}

func (p *played) setRegion(change func(*policy.Region)) {
	p.t.Helper()
	if err := p.table().UpdateRegion(p.t.Context(), func(r *policy.Region) error { change(r); return nil }); err != nil {
		p.t.Fatal(err)
	}
}

func (p *played) set(id string, change func(*policy.Instance)) {
	p.t.Helper()
	_, err := p.table().Update(p.t.Context(), id, func(e *store.Entry) error { change(&e.State.Instance); return nil })
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *played) stored(id string) *policy.State {
	p.t.Helper()
	e, err := p.table().Load(p.t.Context(), id)
	if err != nil {
		p.t.Fatal(err)
	}
	return &e.State
}

// handOver makes instances members of an alert with a key.
func (p *played) handOver(key string, change func(*policy.Alert), ids ...string) {
	at := incident.At(noon.Add(-time.Hour))
	a := policy.Alert{Key: key, Alias: "firstline/eu-west-1/" + key, Wake: 1, Members: map[string]incident.Millis{}, OpenedAt: at, LastWakeAt: at, Pager: "opsgenie"}
	for _, id := range ids {
		a.Members[id] = at
		p.set(id, func(i *policy.Instance) {
			i.Membership = &policy.Membership{Alert: key + "@1", Severity: incident.SeverityDown, JoinedAt: at, Confirmed: true, Situation: incident.SituationNotRebooted}
		})
	}
	if change != nil {
		change(&a)
	}
	p.setRegion(func(r *policy.Region) {
		if r.Alerts == nil {
			r.Alerts = map[string]policy.Alert{}
		}
		r.Alerts[key+"@1"] = a
	})
}

func (p *played) call(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, name)
	call, _, _ := strings.Cut(name, " ")
	return p.refuse[call]
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

const jane = "arn:aws:sts::123456789012:assumed-role/ops/jane"

func (p *played) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return &sts.GetCallerIdentityOutput{Arn: aws.String(jane)}, p.call("GetCallerIdentity")
}

// StartExecution takes what the function takes as an event.
func (p *played) StartExecution(_ context.Context, in *sfn.StartExecutionInput, _ ...func(*sfn.Options)) (*sfn.StartExecutionOutput, error) {
	inc, err := incident.ParseEvent(json.RawMessage(*in.Input))
	if err != nil {
		p.t.Errorf("%s: %v", *in.Input, err)
		return nil, err
	}
	return &sfn.StartExecutionOutput{}, p.call(fmt.Sprintf("StartExecution %s %s %s %s %s", *in.StateMachineArn, *in.Name, inc.Region, inc.InstanceID, inc.Trigger))
}

// pauser is one of regions that are played.
func (w world) pauser() *pauser {
	return &pauser{
		now: func() time.Time { return noon }, table: w.table,
		clients: func(region string) clients { return clients{w[region], w[region], w[region]} },
	}
}

// named are the calls that begin with a name.
func (p *played) named(name string) (calls []string) {
	for _, c := range p.calls {
		if strings.HasPrefix(c, name+" ") {
			calls = append(calls, c)
		}
	}
	return calls
}

var denied = &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "not you"}

func TestPause(t *testing.T) {
	w := world{"eu-west-1": newPlayed(t), "us-east-1": newPlayed(t)}
	w["us-east-1"].refuse["table"] = denied
	until := noon.Add(time.Hour)
	whole := targets{two, true}

	got := w.pauser().pause(t.Context(), whole, until)
	want := pauseResult{
		Command: "pause", Until: until,
		Results: []pauseLine{{Region: "eu-west-1", Result: "paused", By: jane}, {Region: "us-east-1", Result: "failed"}},
		Errors:  []regionError{{"us-east-1", "AccessDeniedException: not you"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&policy.Pause{Until: incident.At(until), By: jane}, w["eu-west-1"].stored("i-0a1b2c3d").Region.Pause); diff != "" {
		t.Errorf("the table (-want +got):\n%s", diff)
	}
	text, err := printed(t, func(w *bytes.Buffer) error { return printPause(w, got, "ours") })
	if diff := cmp.Diff(`REGION     INSTANCE  RESULT
eu-west-1  all       paused until 2026-11-23T13:00:00Z
us-east-1  all       FAILED

What is paused is checked, and Slack hears of it; nothing is rebooted and
nobody is paged. This ends it before:
  firstline resume --name ours --region eu-west-1 --region us-east-1

`+"`firstline paused` lists what is still paused, handed over or held back."+`

us-east-1: AccessDeniedException: not you
`, text); diff != "" || err == nil || err.Error() != "something went wrong in us-east-1: see above" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}

	// Who asks is part of it.
	w["eu-west-1"].refuse["GetCallerIdentity"] = denied
	if got := w.pauser().pause(t.Context(), targets{two[:1], true}, until); got.Errors[0].Error != "who asks for it: AccessDeniedException: not you" {
		t.Errorf("%+v", got)
	}
	// What is not known of a region takes nothing from another.
	lost := deployed.Region{Region: "us-east-1", Lost: errors.New("what is deployed could not be read: denied")}
	got = w.pauser().pause(t.Context(), targets{[]deployed.Region{two[0], lost}, true}, until)
	if got.Errors[len(got.Errors)-1].Error != lost.Lost.Error() || got.Results[1] != (pauseLine{Region: "us-east-1", Result: pauseFailed}) {
		t.Errorf("%+v", got)
	}
	if _, err := onlyInstances([]deployed.Region{two[0], lost}, []string{"i-0a1b2c3d", "i-2a1b2c3d"}); err == nil || err.Error() != "i-2a1b2c3d may be watched where nothing could be read, so nothing was done: us-east-1: "+lost.Lost.Error() {
		t.Errorf("got %v", err)
	}
	// Of a deployment that is older.
	half := two[0]
	half.TableName = ""
	if got := w.pauser().pause(t.Context(), targets{[]deployed.Region{half}, true}, until); got.Errors[0].Error != "no table is deployed here: deploy this version first" {
		t.Errorf("%+v", got)
	}
}

func TestPauseInstances(t *testing.T) {
	w := world{"eu-west-1": newPlayed(t), "us-east-1": newPlayed(t)}
	w["us-east-1"].refuse["CreateTags"] = denied
	w["eu-west-1"].set("i-0a1b2c3d", func(i *policy.Instance) { i.AtRest = true })
	until := noon.Add(90 * time.Minute)
	got := w.pauser().pause(t.Context(), targets{two, false}, until)
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
	if diff := cmp.Diff([]string{"CreateTags i-0a1b2c3d,i-1a1b2c3d firstline:pause=2026-11-23T13:30:00Z"}, w["eu-west-1"].calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	// The table knows, too, and makes no item of an instance that was never looked at.
	if i := w["eu-west-1"].stored("i-0a1b2c3d").Instance; i.Pause == nil || i.Pause.Until != incident.At(until) || !i.AtRest {
		t.Errorf("%+v", i)
	}
	if w["eu-west-1"].db.Get("instance", "i-1a1b2c3d") != nil {
		t.Error("an item was made")
	}
	// The tag alone is a pause.
	w["eu-west-1"].refuse["table"] = denied
	got = w.pauser().pause(t.Context(), targets{two[:1], false}, until)
	if got.Results[0].Result != "paused" || got.Errors[0].Error != "the tags are right, and the table does not know of it yet: AccessDeniedException: not you" {
		t.Errorf("%+v", got)
	}
}

func TestResume(t *testing.T) {
	end := noon.Add(time.Hour)
	whole, both := targets{two[:1], true}, targets{two[:1], false}
	pausedRegion := func(p *played) {
		p.setRegion(func(r *policy.Region) { r.Pause = &policy.Pause{Until: incident.At(end), By: jane} })
	}
	tagged := func(p *played) { p.tags["i-0a1b2c3d"], p.tags["i-9a1b2c3d"] = stamp(end), "soon" }
	refuses := func(call string) func(*played) { return func(p *played) { p.refuse[call] = denied } }
	for _, tt := range []struct {
		name   string
		set    []func(*played)
		target targets
		want   []string
		err    string
	}{
		{name: "a region", set: []func(*played){pausedRegion}, target: whole, want: []string{"resumed " + jane}},
		{name: "a region that is not paused", target: whole, want: []string{"not paused"}},
		{name: "the table does not answer", set: []func(*played){pausedRegion, refuses("table")}, target: whole, want: []string{"failed"}, err: "AccessDeniedException: not you"},
		{name: "instances", set: []func(*played){tagged}, target: both, want: []string{"i-0a1b2c3d resumed", "i-1a1b2c3d not paused"}},
		{name: "none is tagged", set: []func(*played){refuses("DeleteTags")}, target: both, want: []string{"i-0a1b2c3d not paused", "i-1a1b2c3d not paused"}},
		{name: "EC2 does not say", set: []func(*played){refuses("DescribeInstances")}, target: both, want: []string{"i-0a1b2c3d failed", "i-1a1b2c3d failed"}, err: "whether instances are paused by their tags: AccessDeniedException: not you"},
		{name: "tags stay", set: []func(*played){tagged, refuses("DeleteTags")}, target: both, want: []string{"i-0a1b2c3d failed", "i-1a1b2c3d failed"}, err: "AccessDeniedException: not you"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlayed(t)
			p.set("i-0a1b2c3d", func(i *policy.Instance) { i.Pause = &policy.Pause{Until: incident.At(end)} })
			for _, set := range tt.set {
				set(p)
			}
			got := world{"eu-west-1": p}.pauser().resume(t.Context(), tt.target)
			var lines []string
			for _, l := range got.Results {
				lines = append(lines, strings.TrimSpace(l.Instance+" "+l.Result+" "+l.By))
			}
			if diff := cmp.Diff(tt.want, lines); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if tt.err == "" && len(got.Errors) > 0 || tt.err != "" && (len(got.Errors) != 1 || got.Errors[0].Error != tt.err) {
				t.Errorf("got %v, want %q", got.Errors, tt.err)
			}
			p.refuse = nil
			if s := p.stored("i-0a1b2c3d"); tt.err == "" && (s.Region.Pause != nil || (s.Instance.Pause != nil) != tt.target.whole) {
				t.Errorf("%+v, %+v", s.Region.Pause, s.Instance.Pause)
			}
			for _, c := range p.named("DeleteTags") {
				if c != "DeleteTags i-0a1b2c3d firstline:pause=whatever it is" {
					t.Error(c)
				}
			}
		})
	}
}

// The members leave, may be rebooted, and are looked at at once; whoever has an
// alert of its own stays handed over.
func TestResumeClosesTheBreaker(t *testing.T) {
	p := newPlayed(t)
	p.handOver(policy.KeyBreaker, nil, "i-0a1b2c3d", "i-1a1b2c3d")
	p.handOver("i-9a1b2c3d", nil, "i-9a1b2c3d")
	pauser := world{"eu-west-1": p}.pauser()
	// An execution looks at the first one while the second is still a member, and
	// the breaker holds it back again.
	n := 0
	pauser.now = func() time.Time {
		if n++; n == 2 {
			p.handOver(policy.KeyBreaker, nil, "i-0a1b2c3d", "i-1a1b2c3d")
		}
		return noon
	}
	whole := targets{two[:1], true}
	got := pauser.resume(t.Context(), whole)
	want := pauseResult{Command: "resume", Results: []pauseLine{
		{Region: "eu-west-1", Result: "not paused"},
		{Region: "eu-west-1", Instance: "i-0a1b2c3d", Result: "released"},
		{Region: "eu-west-1", Instance: "i-1a1b2c3d", Result: "released"},
	}}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, id := range two[0].InstanceIDs {
		if s := p.stored(id); s.Instance.Membership != nil || s.Instance.AtRest || s.Region.BreakerOpen() || s.Region.BreakerResetAt != incident.At(noon) {
			t.Errorf("%s: %+v", id, s)
		}
	}
	if p.stored("i-9a1b2c3d").Instance.Membership == nil {
		t.Error("an instance with an alert of its own has left it")
	}
	machine := two[0].StateMachineARN
	if diff := cmp.Diff([]string{
		"StartExecution " + machine + " resume-i-0a1b2c3d-20261123T120000 eu-west-1 i-0a1b2c3d person",
		"StartExecution " + machine + " resume-i-1a1b2c3d-20261123T120000 eu-west-1 i-1a1b2c3d person",
	}, p.named("StartExecution")); diff != "" {
		t.Errorf("looks (-want +got):\n%s", diff)
	}
	text, err := printed(t, func(w *bytes.Buffer) error { return printPause(w, got, "") })
	if err != nil || !strings.Contains(text, "\neu-west-1  i-1a1b2c3d  released by the breaker\n") {
		t.Errorf("%v\n%s", err, text)
	}

	// An instance alone stays held back: it would be so again at once.
	p.handOver(policy.KeyBreaker, nil, "i-0a1b2c3d")
	if got := pauser.resume(t.Context(), targets{two[:1], false}); len(got.Errors) > 0 || !p.stored("i-0a1b2c3d").Region.BreakerOpen() {
		t.Errorf("%+v", got)
	}
	// What cannot be started comes with the schedule.
	p.refuse["StartExecution"] = denied
	got = pauser.resume(t.Context(), whole)
	if got.Errors[0].Error != "the look at i-0a1b2c3d starts with the schedule, within minutes: AccessDeniedException: not you" || p.stored("i-0a1b2c3d").Region.BreakerOpen() {
		t.Errorf("%+v", got)
	}
	// One that always comes back is not fought with for ever.
	pauser.now = func() time.Time { p.handOver(policy.KeyBreaker, nil, "i-0a1b2c3d", "i-1a1b2c3d"); return noon }
	p.handOver(policy.KeyBreaker, nil, "i-0a1b2c3d", "i-1a1b2c3d")
	if got = pauser.resume(t.Context(), whole); len(got.Errors) != 1 {
		t.Errorf("%+v", got)
	}
}

// Who hands instances back is stored for the look that starts at once; nothing is done
// where one of them is not handed over.
func TestHandBack(t *testing.T) {
	w := world{"eu-west-1": newPlayed(t), "us-east-1": newPlayed(t)}
	p := w["eu-west-1"]
	p.handOver("i-0a1b2c3d", nil, "i-0a1b2c3d")
	_, err := w.pauser().handBack(t.Context(), targets{two, false})
	if _, ok := errors.AsType[usageError](err); !ok || err.Error() != "--instance: not handed over: i-1a1b2c3d, i-2a1b2c3d; `firstline paused` lists what is" {
		t.Errorf("got %v", err)
	}
	if p.stored("i-0a1b2c3d").Instance.Membership.HandedBackBy != "" || len(p.calls) > 0 {
		t.Errorf("something was done: %q", p.calls)
	}

	p.handOver("url/attention", nil, "i-1a1b2c3d")
	w["us-east-1"].refuse["table"] = denied
	got, err := w.pauser().handBack(t.Context(), targets{two, false})
	want := pauseResult{
		Command: "handback",
		Results: []pauseLine{
			{"eu-west-1", "i-0a1b2c3d", "handed back", jane}, {"eu-west-1", "i-1a1b2c3d", "handed back", jane}, {"us-east-1", "i-2a1b2c3d", "failed", ""},
		},
		Errors: []regionError{{"us-east-1", "AccessDeniedException: not you"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, id := range two[0].InstanceIDs {
		if m := p.stored(id).Instance.Membership; m == nil || m.HandedBackBy != jane {
			t.Errorf("%s: %+v", id, m)
		}
	}
	if diff := cmp.Diff([]string{
		"StartExecution " + two[0].StateMachineARN + " handback-i-0a1b2c3d-20261123T120000 eu-west-1 i-0a1b2c3d person",
		"StartExecution " + two[0].StateMachineARN + " handback-i-1a1b2c3d-20261123T120000 eu-west-1 i-1a1b2c3d person",
	}, p.named("StartExecution")); diff != "" {
		t.Errorf("looks (-want +got):\n%s", diff)
	}
	text, err := printed(t, func(w *bytes.Buffer) error { return printPause(w, got, "") })
	if err == nil || !strings.Contains(text, "\neu-west-1  i-0a1b2c3d  handed back; a look takes it out of its alert\n") || !strings.Contains(text, "FAILED") {
		t.Errorf("%v\n%s", err, text)
	}
	if got := w.pauser().paused(t.Context(), two[:1]); got.HandedOver[0].HandedBackBy != jane {
		t.Errorf("%+v", got.HandedOver)
	}
	// What cannot be started comes with the schedule.
	p.refuse["StartExecution"] = denied
	got, err = w.pauser().handBack(t.Context(), targets{two[:1], false})
	if err != nil || got.Results[0].Result != "handed back" || !strings.Contains(got.Errors[0].Error, "the look at i-0a1b2c3d starts with the schedule") {
		t.Errorf("%v, %+v", err, got)
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
	europe, america := newPlayed(t), newPlayed(t)
	europe.setRegion(func(r *policy.Region) {
		r.Pause = &policy.Pause{Until: incident.At(noon.Add(72 * time.Minute)), By: jane}
	})
	europe.tags = map[string]string{"i-0a1b2c3d": stamp(end), "i-1a1b2c3d": "tomorrow", "i-9a1b2c3d": stamp(end)} // the last is not watched
	america.setRegion(func(r *policy.Region) { r.Pause = &policy.Pause{Until: incident.At(noon)} })
	america.tags = map[string]string{"i-2a1b2c3d": stamp(noon.Add(-time.Minute)), "i-fa1b2c3d": stamp(end)}
	europe.handOver("i-0a1b2c3d", nil, "i-0a1b2c3d")
	america.handOver(policy.KeyBreaker, func(a *policy.Alert) { a.Why = "2 reboots are in flight" }, "i-2a1b2c3d")
	america.handOver("url/attention", func(a *policy.Alert) { a.ClosedAt = incident.At(noon.Add(-time.Minute)) }, "i-3a1b2c3d")
	america.handOver("ssh/busy", func(a *policy.Alert) { a.Pager = "" }, "i-4a1b2c3d")
	america.set("i-4a1b2c3d", func(i *policy.Instance) { i.Membership.Confirmed = false })
	regions := slices.Clone(two)
	regions[1].InstanceIDs = append(slices.Clone(regions[1].InstanceIDs), "i-fa1b2c3d") // which is terminated

	got := world{"eu-west-1": europe, "us-east-1": america}.pauser().paused(t.Context(), regions)
	text, err := printed(t, func(w *bytes.Buffer) error { return printPaused(w, got, noon, "") })
	if diff := cmp.Diff(`REGION     INSTANCE    PAUSED UNTIL          LEFT   BY
eu-west-1  all         2026-11-23T13:12:00Z  1h12m
    arn:aws:sts::123456789012:assumed-role/ops/jane
eu-west-1  i-0a1b2c3d  2026-11-24T14:00:00Z  1d2h   its tag

REGION     INSTANCE    HANDED OVER SINCE     FOR  PAGER
    NAME, STATE, ALERT
eu-west-1  i-0a1b2c3d  2026-11-23T11:00:00Z  1h   opsgenie
    not_rebooted; alert firstline/eu-west-1/i-0a1b2c3d
us-east-1  i-2a1b2c3d  2026-11-23T11:00:00Z  1h   opsgenie
    held back by the breaker: 2 reboots are in flight; alert
    firstline/eu-west-1/breaker
us-east-1  i-3a1b2c3d  2026-11-23T11:00:00Z  1h   opsgenie
    not_rebooted, closed by a person at 2026-11-23T11:59:00Z; alert
    firstline/eu-west-1/url/attention
us-east-1  i-4a1b2c3d  2026-11-23T11:00:00Z  1h   -
    not_rebooted, not confirmed by a pager yet; alert
    firstline/eu-west-1/ssh/busy

Once an instance is mended, this hands it back to firstline:
  firstline handback --region eu-west-1 --instance i-0a1b2c3d
  firstline handback --region us-east-1 --instance i-2a1b2c3d
  firstline handback --region us-east-1 --instance i-3a1b2c3d
  firstline handback --region us-east-1 --instance i-4a1b2c3d

eu-west-1 i-1a1b2c3d: its tag does not pause it, but nothing reboots it either: tag firstline:pause: "tomorrow" is not a time such as 2026-11-23T13:00:00Z;
set it anew with `+"`firstline pause --region eu-west-1 --instance i-1a1b2c3d`, or take it away with `firstline resume --region eu-west-1 --instance i-1a1b2c3d`\n", text); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	var out bytes.Buffer
	if err := printJSON(&out, got.HandedOver[1]); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{
  "region": "us-east-1",
  "instance_id": "i-2a1b2c3d",
  "since": "2026-11-23T11:00:00Z",
  "alias": "firstline/eu-west-1/breaker",
  "key": "breaker",
  "pager": "opsgenie",
  "opened_at": "2026-11-23T11:00:00Z",
  "held_back": true,
  "why": "2 reboots are in flight",
  "situation": "not_rebooted",
  "severity": "down"
}
`, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A tag that is empty or too far ahead is no pause either.
func TestPausedUnreadable(t *testing.T) {
	for _, value := range []string{"", "2026-11-24", stamp(noon.Add(incident.MaxPause + 2*time.Hour))} {
		p := newPlayed(t)
		p.tags["i-0a1b2c3d"] = value
		got := world{"eu-west-1": p}.pauser().paused(t.Context(), two[:1])
		if len(got.Pauses) != 0 || len(got.Warnings) != 1 || got.Warnings[0].Warning == "" {
			t.Errorf("%q: %+v", value, got)
		}
	}
}

func TestPausedTrouble(t *testing.T) {
	europe, america := newPlayed(t), newPlayed(t)
	europe.tags["i-0a1b2c3d"] = stamp(noon.Add(time.Hour))
	europe.refuse["table"], america.refuse["table"], america.refuse["DescribeInstances"] = denied, denied, denied
	got := world{"eu-west-1": europe, "us-east-1": america}.pauser().paused(t.Context(), two)
	text, err := printed(t, func(w *bytes.Buffer) error { return printPaused(w, got, noon, "") })
	if diff := cmp.Diff(`REGION     INSTANCE    PAUSED UNTIL          LEFT  BY
eu-west-1  i-0a1b2c3d  2026-11-23T13:00:00Z  1h    its tag

eu-west-1: what is paused as a whole and handed over: AccessDeniedException: not you
us-east-1: what is paused as a whole and handed over: AccessDeniedException: not you; whether instances are paused by their tags: AccessDeniedException: not you
`, text); diff != "" || err == nil || err.Error() != "not all could be looked at in eu-west-1, us-east-1: see above" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	// An item that cannot be read hides no other.
	p := newPlayed(t)
	p.handOver("i-0a1b2c3d", nil, "i-0a1b2c3d")
	p.set("i-1a1b2c3d", func(i *policy.Instance) { i.AtRest = true })
	broken := p.db.Get("instance", "i-1a1b2c3d")
	delete(broken, "schema")
	p.db.Put(broken)
	if got := (world{"eu-west-1": p}).pauser().paused(t.Context(), two[:1]); len(got.HandedOver) != 1 || len(got.Errors) != 1 || !strings.Contains(got.Errors[0].Error, "instance/i-1a1b2c3d") {
		t.Errorf("%+v", got)
	}
	got = world{"eu-west-1": newPlayed(t)}.pauser().paused(t.Context(), two[:1])
	if text, err := printed(t, func(w *bytes.Buffer) error { return printPaused(w, got, noon, "") }); text != "nothing is paused, handed over or held back\n" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// Every command that a message names is one that this version understands.
func TestCommandsInMessages(t *testing.T) {
	named := regexp.MustCompile("[^\"]firstline (?:pause|resume|paused|handback|explain|incidents?|notify|redrive|verify)(?: [a-z]+| --[a-z]+ [-0-9a-z]+| [0-9a-f-]{36})*")
	files, err := filepath.Glob("../../notify/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		raw, err := os.ReadFile(file) //nolint:gosec // the test's own
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range named.FindAllString(string(raw), -1) {
			seen[line[1:]] = true
		}
	}
	// As somebody types them who has the command and no credentials yet.
	withoutAWS(t)
	t.Chdir(t.TempDir())
	t.Setenv(nameVariable, "firstline")
	t.Setenv(regionsVariable, "eu-west-1,us-east-1")
	for line := range seen {
		if code, _, stderr := command(t, strings.Fields(line)[1:]...); code != exitUsage || !strings.Contains(stderr, "no AWS credentials") {
			t.Errorf("%s: %d: %s", line, code, stderr)
		}
	}
	if !seen["firstline pause --region eu-west-1 --instance i-0c1cbf2e7abdedf75 --until 1h"] || !seen["firstline resume --region eu-west-1"] || !seen["firstline handback --region eu-west-1 --instance i-0c1cbf2e7abdedf75"] {
		t.Errorf("the messages name only %v", seen)
	}
}
