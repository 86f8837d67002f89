package handler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

const rang = "2026-11-22T08:00:00Z"

// standingAlarm is an alarm that went to ALARM at rang.
func standingAlarm(id string) cwtypes.MetricAlarm {
	at, _ := time.Parse(time.RFC3339, rang)
	return cwtypes.MetricAlarm{
		AlarmName: aws.String("firstline-cpu-" + id), AlarmArn: aws.String("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:firstline-cpu-" + id),
		MetricName: aws.String("CPUUtilization"), Namespace: aws.String("AWS/EC2"),
		Dimensions: []cwtypes.Dimension{{Name: aws.String("InstanceId"), Value: &id}},
		StateValue: cwtypes.StateValueAlarm, StateReason: aws.String("Threshold Crossed"), StateReasonData: aws.String(`{"recentDatapoints":[99.5]}`),
		StateTransitionedTimestamp: &at, StateUpdatedTimestamp: new(at.Add(time.Hour)),
	}
}

func instanceNumber(n int) string { return fmt.Sprintf("i-%08x", n) }

// swept1 is a handler whose CloudWatch has these alarms, a page of two at a time,
// and what it has started.
func swept1(t *testing.T, f *fake, alarms ...cwtypes.MetricAlarm) (*Handler, *bytes.Buffer, func() []*sfn.StartExecutionInput) {
	t.Helper()
	f.alarms = func(in *cloudwatch.DescribeAlarmsInput) *cloudwatch.DescribeAlarmsOutput {
		if aws.ToString(in.AlarmNamePrefix) != "firstline-cpu-" || in.StateValue != cwtypes.StateValueAlarm || !slices.Equal(in.AlarmTypes, []cwtypes.AlarmType{cwtypes.AlarmTypeMetricAlarm}) {
			t.Errorf("asked for %+v", in)
		}
		from := 0
		if in.NextToken != nil {
			_, _ = fmt.Sscan(*in.NextToken, &from)
		}
		to := min(from+2, len(alarms))
		out := &cloudwatch.DescribeAlarmsOutput{MetricAlarms: alarms[from:to]}
		if to < len(alarms) {
			out.NextToken = aws.String(fmt.Sprint(to))
		}
		return out
	}
	var mu sync.Mutex
	var started []*sfn.StartExecutionInput
	answer := f.start
	f.start = func(in *sfn.StartExecutionInput) error {
		mu.Lock()
		defer mu.Unlock()
		started = append(started, in)
		if answer == nil {
			return nil
		}
		return answer(in)
	}
	h, log := newHandler(f)
	return h, log, func() []*sfn.StartExecutionInput {
		slices.SortFunc(started, func(a, b *sfn.StartExecutionInput) int { return strings.Compare(*a.Name, *b.Name) })
		return started
	}
}

// doSweep sweeps, and returns the answer or the error.
func doSweep(t *testing.T, h *Handler) (*swept, messages.InvokeResponse_Error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := h.Invoke(ctx, []byte(`{"step":"sweep"}`))
	if err != nil {
		return nil, err.(messages.InvokeResponse_Error) //nolint:errorlint // the assertion is the test
	}
	s := new(swept)
	if err := incident.DecodeStrict(out, s); err != nil {
		t.Fatal(err)
	}
	return s, messages.InvokeResponse_Error{}
}

func TestSweepStarts(t *testing.T) {
	ids := []string{instanceNumber(1), instanceNumber(2), instanceNumber(3)}
	f := &fake{parameters: settingsAt(`{}`), state: "running"}
	for _, id := range ids {
		f.parameters["/firstline/instances/"+id] = f.parameters["/firstline/instances/"+instance]
	}
	h, _, started := swept1(t, f, standingAlarm(ids[2]), standingAlarm(ids[0]), standingAlarm(ids[1]))
	metrics := new(bytes.Buffer)
	h.Metrics = &Metrics{Out: metrics, Deployment: "firstline"}
	before := time.Now().Truncate(time.Second)
	got, lerr := doSweep(t, h)
	if lerr.Type != "" {
		t.Fatal(lerr)
	}
	all := started()
	if got.InAlarm != 3 || len(got.Started) != 3 || len(got.Skipped)+len(got.Failed) != 0 || len(all) != 3 {
		t.Fatalf("%+v, started %d", got, len(all))
	}
	for n, in := range all {
		name := got.Started[n].Execution
		if got.Started[n].Instance != ids[n] || name != *in.Name || *in.StateMachineArn != h.StateMachineARN {
			t.Errorf("started %+v, answered %+v", in, got.Started[n])
		}
		prefix := "standing-" + ids[n] + "-"
		var period int64
		if _, err := fmt.Sscan(strings.TrimPrefix(name, prefix), &period); err != nil || !strings.HasPrefix(name, prefix) || period%60 != 0 || time.Since(time.Unix(period, 0)) > 2*time.Minute || len(name) > 80 {
			t.Errorf("named %s (%v)", name, err)
		}
		// What open makes of it.
		inc, lerr := invoke(t, h, openPayload(*in.Input))
		if lerr.Type != "" {
			t.Fatal(lerr)
		}
		if inc.InstanceID != ids[n] || inc.Dry || inc.AccountID != "123456789012" || inc.Alarm.At.Format(time.RFC3339) != rang ||
			inc.Alarm.Name != "firstline-cpu-"+ids[n] || inc.Alarm.Metric != "CPUUtilization" || inc.Alarm.Reason != "Threshold Crossed" || inc.Alarm.Value == nil || *inc.Alarm.Value != 99.5 || !strings.HasSuffix(inc.Alarm.ARN, ids[n]) {
			t.Errorf("opened %+v, %+v", inc, inc.Alarm)
		}
		// The alarm rang long ago, and the event is new.
		if inc.EventAt.Before(before) || time.Since(inc.EventAt) > time.Minute {
			t.Errorf("the event is of %s", inc.EventAt)
		}
	}
	for _, want := range []string{`"Sweeps":1`, `"StandingAlarms":3`} {
		if !strings.Contains(metrics.String(), want) {
			t.Errorf("metrics %s, want %s", metrics, want)
		}
	}
}

// The rule that starts incidents matches this event, too.
func TestSweepsEventLooksLikeTheAlarms(t *testing.T) {
	h, _, started := swept1(t, &fake{}, standingAlarm(instance))
	if _, lerr := doSweep(t, h); lerr.Type != "" {
		t.Fatal(lerr)
	}
	var got, sample map[string]any
	if err := errors.Join(json.Unmarshal([]byte(*started()[0].Input), &got), json.Unmarshal([]byte(sampleEvent(t)), &sample)); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"version", "detail-type", "source", "account", "region", "resources"} {
		if diff := cmp.Diff(sample[field], got[field]); diff != "" {
			t.Errorf("%s (-sample +got):\n%s", field, diff)
		}
	}
	detail := got["detail"].(map[string]any)
	if detail["alarmName"] != "firstline-cpu-"+instance || detail["state"].(map[string]any)["timestamp"] != "2026-11-22T08:00:00+0000" {
		t.Errorf("detail %v", detail)
	}
}

func TestSweepSkips(t *testing.T) {
	now := time.Now()
	id := instanceNumber(1)
	soon := now.Add(time.Hour).UTC().Truncate(time.Second)
	says := func(closed bool, err error) func(string) (bool, error) {
		return func(alias string) (bool, error) {
			if alias != "page" {
				return false, errors.New("asked for " + alias)
			}
			return closed, err
		}
	}
	held := map[string]guard.State{id: {Open: true, Holder: incident.Execution{ID: "arn:holder", Name: "holder", StartedAt: now}}}
	holder := func(status sfntypes.ExecutionStatus, err error) func(context.Context, string) (sfntypes.ExecutionStatus, error) {
		return func(_ context.Context, arn string) (sfntypes.ExecutionStatus, error) {
			if arn != "arn:holder" {
				return sfntypes.ExecutionStatusAborted, nil
			}
			return status, err
		}
	}
	pagedAgo := func(d time.Duration) guard.State { return guard.State{PagedAt: now.Add(-d), Alias: "page"} }
	for _, tt := range []struct {
		name   string
		fake   fake
		table  table
		reason string // "" means that it is started
	}{
		{"an incident is open", fake{execution: holder(sfntypes.ExecutionStatusRunning, nil)}, table{states: held}, "an incident is open"},
		{"an incident may be open", fake{execution: holder("", errors.New("no answer"))}, table{states: held}, "an incident is open"},
		{"its execution was stopped", fake{execution: holder(sfntypes.ExecutionStatusAborted, nil)}, table{states: held}, ""},
		{"its execution was stopped, and it is paused", fake{tags: pauseTag(soon.Format(time.RFC3339)), execution: holder(sfntypes.ExecutionStatusAborted, nil)}, table{states: held}, "its tag pauses it until " + clock(soon)},
		{"its execution was stopped after a page", fake{closed: says(false, nil), execution: holder(sfntypes.ExecutionStatusAborted, nil)}, table{states: map[string]guard.State{
			id: {Open: true, Holder: held[id].Holder, PagedAt: now, Alias: "page"},
		}}, "somebody was paged at "},
		{"the region is paused", fake{}, table{region: &incident.Pause{Until: soon}}, "the region is paused until " + clock(soon)},
		{"its tag pauses it", fake{tags: pauseTag(soon.Format(time.RFC3339))}, table{}, "its tag pauses it until " + clock(soon)},
		{"its tag is over", fake{tags: pauseTag("2020-01-01T00:00:00Z")}, table{}, ""},
		{"its tag is no time", fake{tags: pauseTag("tomorrow")}, table{}, ""},
		{"EC2 does not tell", fake{describe: errors.New("no answer")}, table{}, ""},
		{"paged just now", fake{closed: says(false, nil)}, table{states: map[string]guard.State{id: pagedAgo(59 * time.Minute)}}, "somebody was paged at "},
		{"paged just now, and closed", fake{closed: says(true, nil)}, table{states: map[string]guard.State{id: pagedAgo(time.Minute)}}, ""},
		{"paged just now, and the pager does not tell", fake{closed: says(true, errors.New("no answer"))}, table{states: map[string]guard.State{id: pagedAgo(time.Minute)}}, "somebody was paged at "},
		{"paged long ago", fake{closed: says(false, nil)}, table{states: map[string]guard.State{id: pagedAgo(61 * time.Minute)}}, ""},
		{"paged in the far future", fake{closed: says(false, nil)}, table{states: map[string]guard.State{id: pagedAgo(-48 * time.Hour)}}, ""},
		{"never paged", fake{closed: says(false, nil)}, table{states: map[string]guard.State{id: {}}}, ""},
		{"unknown to the table", fake{closed: says(false, nil)}, table{}, ""},
		{"an item that cannot be read", fake{}, table{states: map[string]guard.State{id: {Open: true, Err: errors.New("not a number")}}}, ""},
		{"an item that cannot be read, and paged", fake{closed: says(false, nil)}, table{states: map[string]guard.State{id: {PagedAt: now, Alias: "page", Err: errors.New("not a number")}}}, "somebody was paged at "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.fake.table, tt.fake.state = &tt.table, "running"
			h, _, started := swept1(t, &tt.fake, standingAlarm(id))
			h.EC2 = func(context.Context) (Rebooter, error) { return named{&tt.fake, id}, nil }
			got, lerr := doSweep(t, h)
			if lerr.Type != "" {
				t.Fatal(lerr)
			}
			if tt.reason == "" {
				if len(started()) != 1 || len(got.Started) != 1 || len(got.Skipped) != 0 {
					t.Errorf("%+v", got)
				}
				return
			}
			if len(started()) != 0 || len(got.Started)+len(got.Failed) != 0 || len(got.Skipped) != 1 || got.Skipped[0].Instance != id || !strings.HasPrefix(got.Skipped[0].Reason, tt.reason) {
				t.Errorf("%+v, want %q", got, tt.reason)
			}
		})
	}
}

// named is an EC2 that has one instance of that name.
type named struct {
	*fake
	id string
}

func (n named) DescribeInstances(ctx context.Context, in *ec2.DescribeInstancesInput, o ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	out, err := n.fake.DescribeInstances(ctx, in, o...)
	if err != nil {
		return nil, err
	}
	var matches bool
	for _, f := range in.Filters {
		matches = matches || aws.ToString(f.Name) == "instance-id" && slices.Contains(f.Values, n.id)
	}
	if !matches || len(n.tags) == 0 {
		return &ec2.DescribeInstancesOutput{}, nil
	}
	for r := range out.Reservations {
		out.Reservations[r].Instances[0].InstanceId = &n.id
	}
	return out, nil
}

// Many at once: each is looked at, whatever becomes of the others, and the pager
// is asked once for a page that they share.
func TestSweepOfMany(t *testing.T) {
	var alarms []cwtypes.MetricAlarm
	states := map[string]guard.State{}
	for n := range 250 {
		id := instanceNumber(n)
		alarms = append(alarms, standingAlarm(id))
		switch n % 5 {
		case 0:
			states[id] = guard.State{Open: true}
		case 1:
			states[id] = guard.State{PagedAt: time.Now(), Alias: "brake"}
		}
	}
	other := cwtypes.MetricAlarm{AlarmName: aws.String("firstline-cpu-of-somebody"), MetricName: aws.String("x"), StateValue: cwtypes.StateValueAlarm}
	alarms = append(alarms, other)
	var mu sync.Mutex
	asked := 0
	broken := instanceNumber(7)
	f := &fake{
		table: &table{states: states},
		closed: func(string) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			asked++
			return false, nil
		},
		start: func(in *sfn.StartExecutionInput) error {
			if strings.Contains(*in.Name, broken) {
				return &smithy.GenericAPIError{Code: "ThrottlingException", Message: "slow down"}
			}
			return nil
		},
	}
	h, log, started := swept1(t, f, alarms...)
	metrics := new(bytes.Buffer)
	h.Metrics = &Metrics{Out: metrics}
	_, lerr := doSweep(t, h)
	if lerr.Type != string(fault.Unavailable) || !strings.Contains(lerr.Message, "1 of 251 alarms that are on could not be looked after: "+broken+": start an execution: ") {
		t.Errorf("got %v", lerr)
	}
	if n := len(started()); n != 150 || asked != 1 {
		t.Errorf("%d started, asked %d times for the page", n, asked)
	}
	// The dead man's switch hears of nothing.
	if strings.Contains(metrics.String(), metricSweeps) || !strings.Contains(metrics.String(), `"StandingAlarms":251`) {
		t.Errorf("metrics %s", metrics)
	}
	if !strings.Contains(log.String(), `"failed":[{"instance":"`+broken+`"`) || !strings.Contains(log.String(), `{"instance":"firstline-cpu-of-somebody","reason":"event.detail.configuration.metrics: no metric`) {
		t.Errorf("log %s", log)
	}
}

// A pager that hangs takes no time from those of whom it knows nothing.
func TestSweepWhileThePagerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var alarms []cwtypes.MetricAlarm
		states := map[string]guard.State{}
		for n := range 300 {
			id := instanceNumber(n)
			alarms = append(alarms, standingAlarm(id))
			if n < 299 {
				states[id] = guard.State{PagedAt: time.Now().Add(-time.Minute), Alias: id}
			}
		}
		began := time.Now()
		f := &fake{table: &table{states: states}, start: func(*sfn.StartExecutionInput) error {
			if took := time.Since(began); took > time.Second {
				t.Errorf("started after %s", took)
			}
			return nil
		}}
		h, _, started := swept1(t, f, alarms...)
		h.Pagers = only1(hangingPager{f})
		if _, lerr := doSweep(t, h); lerr.Type != "" || len(started()) != 1 || !strings.Contains(*started()[0].Name, instanceNumber(299)) {
			t.Errorf("%v, %d started", lerr, len(started()))
		}
	})
}

// Nor does Step Functions, when it starts executions and says nothing of them.
func TestSweepWhileStepFunctionsHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var alarms []cwtypes.MetricAlarm
		states := map[string]guard.State{}
		for n := range 300 {
			id := instanceNumber(n)
			alarms = append(alarms, standingAlarm(id))
			if n < 299 {
				states[id] = guard.State{Open: true, Holder: incident.Execution{ID: id}}
			}
		}
		began := time.Now()
		f := &fake{
			table: &table{states: states},
			start: func(*sfn.StartExecutionInput) error {
				if took := time.Since(began); took > time.Second {
					t.Errorf("started after %s", took)
				}
				return nil
			},
			execution: func(ctx context.Context, _ string) (sfntypes.ExecutionStatus, error) {
				<-ctx.Done()
				return "", ctx.Err()
			},
		}
		h, _, started := swept1(t, f, alarms...)
		got, lerr := doSweep(t, h)
		if lerr.Type != "" || len(started()) != 1 || len(got.Skipped) != 299 || got.Skipped[0].Reason != "an incident is open" {
			t.Errorf("%v, %d started, %+v", lerr, len(started()), got)
		}
		if took := time.Since(began); took > askAllTime {
			t.Errorf("it took %s", took)
		}
	})
}

// only1 has one pager.
func only1(p notify.Pager) func() (*notify.Pagers, error) {
	return func() (*notify.Pagers, error) { return &notify.Pagers{All: []notify.Pager{p}}, nil }
}

type hangingPager struct{ *fake }

func (hangingPager) Closed(ctx context.Context, _ string) (bool, error) {
	<-ctx.Done()
	return false, ctx.Err()
}

func TestSweepTwiceAtOnce(t *testing.T) {
	f := &fake{start: func(*sfn.StartExecutionInput) error { return &sfntypes.ExecutionAlreadyExists{} }}
	h, _, _ := swept1(t, f, standingAlarm(instance))
	got, lerr := doSweep(t, h)
	if lerr.Type != "" || len(got.Started) != 1 {
		t.Errorf("%v, %+v", lerr, got)
	}
}

func TestSweepOfNothing(t *testing.T) {
	f := &fake{}
	h, _, _ := swept1(t, f)
	h.EC2, h.StepFunctions = nil, nil
	metrics := new(bytes.Buffer)
	h.Metrics = &Metrics{Out: metrics}
	got, lerr := doSweep(t, h)
	want := &swept{Started: []sweptInstance{}, Skipped: []sweptInstance{}, Failed: []sweptInstance{}}
	if diff := cmp.Diff(want, got); diff != "" || lerr.Type != "" || len(f.table.calls) != 0 {
		t.Errorf("%v, calls %v (-want +got):\n%s", lerr, f.table.calls, diff)
	}
	if !strings.Contains(metrics.String(), `"Sweeps":1`) {
		t.Errorf("metrics %s", metrics)
	}
}

func TestSweepFails(t *testing.T) {
	denied := &smithy.GenericAPIError{Code: "AccessDenied"}
	for name, tt := range map[string]struct {
		change func(*Handler, *fake)
		kind   fault.Kind
		want   string
	}{
		"CloudWatch is denied": {func(_ *Handler, f *fake) { f.alarmErr = denied }, fault.Denied, "sweep: "},
		"the table is down":    {func(_ *Handler, f *fake) { f.table.errs = map[string]error{"Standing": errors.New("no answer")} }, fault.Unavailable, "no answer"},
		"no table":             {func(h *Handler, _ *fake) { h.Guards = noGuards }, fault.InvalidInput, "no table"},
		"no prefix":            {func(h *Handler, _ *fake) { h.AlarmPrefix = "" }, fault.InvalidInput, "FIRSTLINE_ALARM_PREFIX"},
		"no state machine":     {func(h *Handler, _ *fake) { h.StateMachineARN = "" }, fault.InvalidInput, "FIRSTLINE_STATE_MACHINE_ARN"},
		"no execution starts":  {func(_ *Handler, f *fake) { f.start = func(*sfn.StartExecutionInput) error { return denied } }, fault.Unavailable, "1 of 1 alarms"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			h, _, _ := swept1(t, f, standingAlarm(instance))
			metrics := new(bytes.Buffer)
			h.Metrics = &Metrics{Out: metrics}
			tt.change(h, f)
			if _, lerr := doSweep(t, h); lerr.Type != string(tt.kind) || !strings.Contains(lerr.Message, tt.want) {
				t.Errorf("got %v, want %s with %q", lerr, tt.kind, tt.want)
			}
			if strings.Contains(metrics.String(), metricSweeps) {
				t.Errorf("it counts as a sweep: %s", metrics)
			}
		})
	}
}

// Filters of EC2 take so many values only.
func TestSweepAsksForTagsInParts(t *testing.T) {
	var alarms []cwtypes.MetricAlarm
	for n := range 450 {
		alarms = append(alarms, standingAlarm(instanceNumber(n)))
	}
	f := &fake{}
	h, _, started := swept1(t, f, alarms...)
	tags := &tagged{fake: f}
	h.EC2 = func(context.Context) (Rebooter, error) { return tags, nil }
	got, lerr := doSweep(t, h)
	if lerr.Type != "" || len(got.Started) != 448 || len(started()) != 448 || len(got.Skipped) != 2 {
		t.Errorf("%v, %d started, %+v skipped", lerr, len(started()), got.Skipped)
	}
	if diff := cmp.Diff([]int{200, 200, 200, 50}, tags.asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// tagged is an EC2 with a tag on the instances 3 and 4, which it names one by one.
type tagged struct {
	*fake
	asked []int
}

func (e *tagged) DescribeInstances(_ context.Context, in *ec2.DescribeInstancesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	var ids []string
	for _, f := range in.Filters {
		if aws.ToString(f.Name) == "instance-id" {
			ids = f.Values
		}
	}
	e.asked = append(e.asked, len(ids))
	one := func(n int) *ec2.DescribeInstancesOutput {
		return &ec2.DescribeInstancesOutput{Reservations: []ec2types.Reservation{{Instances: []ec2types.Instance{{
			InstanceId: aws.String(instanceNumber(n)), Tags: pauseTag(time.Now().Add(time.Hour).Format(time.RFC3339)),
		}}}}}
	}
	switch {
	case !slices.Contains(ids, instanceNumber(3)):
		return &ec2.DescribeInstancesOutput{}, nil
	case in.NextToken == nil:
		out := one(3)
		out.NextToken = aws.String("more")
		return out, nil
	default:
		return one(4), nil
	}
}
