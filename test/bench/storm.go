package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/localaws"
	"firstline/internal/old/incident"
	"firstline/internal/stage"
)

// The brake of the storm is the default (terraform/modules/settings/schema.tf).
const (
	brakeInFlight = 2
	brakePerHour  = 6
)

// The regions: each has a brake of its own, so that what comes alone does not use
// up the storm's.
const (
	stormRegion = "us-east-1"
	calmRegion  = "eu-west-1"
)

const (
	// quickAlarms is how many ring in a quick run.
	quickAlarms = 20
	// loneIncidents is how many come alone, half of them before the storm: no more
	// than the brake lets through in an hour.
	loneIncidents = 6
	// stormMargin: a storm is as long as a machine is slow at much at once.
	stormMargin = 1.0
)

// storm rings many alarms of one region at the same moment.
type storm struct {
	alarms int
}

func (*storm) name() string { return "storm" }

func (b *storm) flags(f *flag.FlagSet) {
	f.IntVar(&b.alarms, "storm-alarms", 200, "how many alarms ring at once")
}

// stormFigures are the figures as they are written.
type stormFigures struct {
	Alarms int `json:"alarms"`
	// Ended is how many incidents ended rightly, Problems what was wrong with the
	// others, Lost how many alarms started none.
	Ended    int      `json:"endedRightly"`
	Lost     int      `json:"lost"`
	Problems []string `json:"problems,omitempty"`
	Rebooted int      `json:"rebooted"`
	// MostInFlight is the most reboots at one time.
	MostInFlight int `json:"mostInFlight"`
	// Told is how many were told by which way.
	Told map[string]int `json:"told"`
	// Retries are the tries of Tasks beyond each one's first.
	Retries int `json:"retries"`
	// One is the time from the alarm to the decision whether to reboot of an
	// incident that comes alone, in the same run; Median and Last are the storm's.
	Lone   int     `json:"loneIncidents"`
	One    float64 `json:"oneSeconds"`
	Median float64 `json:"medianSeconds"`
	Last   float64 `json:"lastSeconds"`
	// LastReboot is when EC2 got the last RebootInstances, End when all had ended.
	LastReboot float64 `json:"lastRebootSeconds"`
	End        float64 `json:"endSeconds"`
	Ratio      float64 `json:"lastToOne"`
	// Each is the ratio for each alarm: below 1, what comes together is quicker than
	// one after another.
	Each float64 `json:"lastToOnePerAlarm"`
}

func (b *storm) run(ctx context.Context, f *frame) (section, error) {
	if b.alarms < 2 {
		return section{}, errors.New("-storm-alarms is 2 or more")
	}
	alarms, lone := b.alarms, loneIncidents
	if f.quick {
		alarms, lone = min(alarms, quickAlarms), 4
	}
	ctx, cancel := context.WithTimeout(ctx, f.limit)
	defer cancel()
	s, instances, err := newScene(ctx, f, []cast{{stormRegion, nil, alarms}, {calmRegion, nil, lone}}, func(v map[string]any) {
		v["defaults"] = map[string]any{
			// Time-outs are long, so that a busy machine makes none.
			"url": map[string]any{"port": stage.HTTPPort, "path": "/healthz", "timeout_seconds": 10, "attempts": 2, "interval_seconds": 0},
			"ssh": map[string]any{"port": stage.SSHPort, "timeout_seconds": 10, "attempts": 2, "interval_seconds": 0},
			// A reboot is in flight until its incident is closed, and not until its
			// window is.
			"boot": map[string]any{"first_look_seconds": 1, "interval_seconds": 1, "window_seconds": 120},
		}
		// Nobody waits for an all-clear here.
		v["all_clear"] = map[string]any{"every_minutes": 60, "for_minutes": 0}
		delete(v, "brake")
	})
	if err != nil {
		return section{}, err
	}
	defer func() { _ = s.Close() }()
	for _, i := range slices.Concat(instances...) {
		i.OnReboot(stage.CuredBy(0))
		if err := i.SetHTTP(stage.Refuse); err != nil {
			return section{}, err
		}
	}
	one, err := s.alone(ctx, instances[1][:lone/2])
	if err != nil {
		return section{}, err
	}
	all, err := s.storm(ctx, instances[0])
	if err != nil {
		return section{}, err
	}
	more, err := s.alone(ctx, instances[1][lone/2:])
	if err != nil {
		return section{}, err
	}
	all.Lone, all.One = lone, middleOf(append(one, more...))
	all.Ratio = round(all.Last / all.One)
	all.Each = round(all.Ratio / float64(all.Alarms))
	f.say("storm of %d: %d ended rightly, %d rebooted, the last decision after %.1f s (one alone: %.2f s)", all.Alarms, all.Ended, all.Rebooted, all.Last, all.One)
	return section{
		Name: b.name(), Title: "A storm", Figures: all, Notes: all.notes(), Tables: all.tables(), Targets: all.targets(),
		Ratios: []compared{
			{Key: b.name() + "/last-to-one-per-alarm", Value: all.Each, Margin: stormMargin},
			{Key: b.name() + "/wrong", Value: float64(all.Alarms - all.Ended)},
		},
	}, nil
}

// rebootState is where it is decided whether an instance is rebooted.
const rebootState = "Reboot instance"

// alone has incidents come one after another, and returns the seconds from each
// alarm to its decision.
func (s *scene) alone(ctx context.Context, instances []*stage.Instance) ([]float64, error) {
	var all []float64
	for _, i := range instances {
		began := time.Now()
		arn, err := started(s.AWS.PutEvent(ctx, i.Region, eventOf(incident.SourceAlarm, i)))
		if err != nil {
			return nil, fmt.Errorf("an incident that comes alone: %w", err)
		}
		e, err := s.end(ctx, i.Region, arn)
		if err != nil {
			return nil, fmt.Errorf("an incident that comes alone: %w", err)
		}
		if e.last() != "Recovered" {
			return nil, fmt.Errorf("an incident that comes alone ended in %q, want \"Recovered\"", e.last())
		}
		all = append(all, e.after(rebootState).Sub(began).Seconds())
	}
	return all, nil
}

// storm rings all alarms at once, waits for all that comes of it, and judges it.
func (s *scene) storm(ctx context.Context, instances []*stage.Instance) (stormFigures, error) {
	all := stormFigures{Alarms: len(instances), Told: map[string]int{}}
	arns, errs := make([]string, len(instances)), make([]error, len(instances))
	began := time.Now()
	var wg sync.WaitGroup
	for n, i := range instances {
		wg.Go(func() {
			arns[n], errs[n] = started(s.AWS.PutEvent(ctx, i.Region, eventOf(incident.SourceAlarm, i)))
		})
	}
	wg.Wait()
	if err := s.idle(ctx, stormRegion); err != nil {
		return all, err
	}
	all.End = round(time.Since(began).Seconds())

	var decided []float64
	var flights []flight
	for n, i := range instances {
		if errs[n] != nil {
			all.Lost++
			all.Problems = append(all.Problems, fmt.Sprintf("%s: its alarm: %v", i.ID, errs[n]))
			continue
		}
		x, err := sfn.NewFromConfig(s.AWS.Config(i.Region)).DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arns[n]})
		if err != nil {
			return all, err
		}
		e, err := s.history(ctx, i.Region, arns[n], x.Status)
		if err != nil {
			return all, err
		}
		all.Retries += e.retries
		way, wrong := s.judge(i, e)
		all.Told[way]++
		if at := e.after(rebootState); at.IsZero() {
			wrong = append(wrong, "whether to reboot was never decided")
		} else {
			decided = append(decided, at.Sub(began).Seconds())
		}
		if i.Reboots() > 0 {
			all.Rebooted++
			at, err := s.rebooted(i)
			if err != nil {
				wrong = append(wrong, err.Error())
			}
			all.LastReboot = max(all.LastReboot, round(at.Sub(began).Seconds()))
			// Its place is given back by the last step.
			closing := at
			if n := slices.Index(e.states, "Close incident"); n >= 0 {
				closing = e.entered[n]
			}
			flights = append(flights, flight{at, closing})
		}
		if len(wrong) == 0 {
			all.Ended++
			continue
		}
		all.Problems = append(all.Problems, fmt.Sprintf("%s: %s", i.ID, strings.Join(wrong, "; ")))
	}
	all.MostInFlight = mostInFlight(flights)
	if len(decided) > 0 {
		all.Median, all.Last = middleOf(decided), round(slices.Max(decided))
	}
	return all, nil
}

// flight is a reboot until its incident is closed.
type flight struct{ from, to time.Time }

// mostInFlight is how many there were at most at one time.
func mostInFlight(flights []flight) int {
	most := 0
	for _, f := range flights {
		n := 0
		for _, o := range flights {
			if !o.from.After(f.from) && (o.to.After(f.from) || o == f) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// Ways in which somebody is told of an incident.
const (
	bySlack = "Slack"
	byBrake = "the brake's page"
	byPage  = "a page of its own"
)

// judge says how one of the storm's incidents was told, and what is wrong with it.
func (s *scene) judge(i *stage.Instance, e ended) (way string, wrong []string) {
	brake := deployment + "/brake/" + localaws.AccountID + ":" + i.Region
	var pages []string
	for _, p := range s.Pager.Received(e.name) {
		switch {
		case p.Note || p.Alias == brake:
			// Several may send the brake's page at the same moment; then each adds
			// itself to it too.
			if !slices.Contains(pages, byBrake) {
				pages = append(pages, byBrake)
			}
		default:
			pages = append(pages, byPage)
		}
	}
	posts := len(s.Slack.Received(e.name))
	// Slack's thread of a page is no second telling.
	ways := pages
	if len(pages) == 0 {
		ways = slices.Repeat([]string{bySlack}, posts)
	}
	way = strings.Join(ways, " and ")
	if len(ways) != 1 || posts > 1 {
		wrong = append(wrong, fmt.Sprintf("told by %q, with %s in Slack, want once", ways, count(posts, "message")))
	}
	if way == "" {
		way = "nobody"
	}
	want := "Paged"
	if i.Reboots() > 0 {
		want = "Recovered"
	}
	if i.Reboots() > 1 {
		wrong = append(wrong, fmt.Sprintf("rebooted %d times", i.Reboots()))
	}
	if e.last() != want || e.status != sfntypes.ExecutionStatusSucceeded {
		wrong = append(wrong, fmt.Sprintf("it ended in %q (%s), want %q", e.last(), e.status, want))
	}
	return way, wrong
}

// idle waits until no incident of a region is under way.
func (s *scene) idle(ctx context.Context, region string) error {
	client := sfn.NewFromConfig(s.AWS.Config(region))
	for {
		out, err := client.ListExecutions(ctx, &sfn.ListExecutionsInput{StateMachineArn: aws.String(machineOf(region)), StatusFilter: sfntypes.ExecutionStatusRunning, MaxResults: 1})
		if err != nil {
			return fmt.Errorf("list the executions that run in %s: %w", region, err)
		}
		if len(out.Executions) == 0 {
			return nil
		}
		if err := waitFor(ctx, time.Second); err != nil {
			return fmt.Errorf("executions in %s do not end: %w", region, err)
		}
	}
}

func (r stormFigures) notes() []string {
	var told []string
	for _, way := range slices.Sorted(maps.Keys(r.Told)) {
		told = append(told, fmt.Sprintf("%d by %s", r.Told[way], way))
	}
	all := []string{
		fmt.Sprintf("%s of one region ring at the same moment, each of an instance that is down and that a reboot would cure; the brake is the default (%d in flight, %d an hour). Told: %s.", count(r.Alarms, "alarm"), brakeInFlight, brakePerHour, strings.Join(told, ", ")),
		"All of it runs on this machine: the local AWS, and a process of the function for each invocation at the same time. On AWS they run beside each other.",
	}
	if len(r.Problems) > 0 {
		all = append(all, fmt.Sprintf("What was wrong, the first of %d: %s.", len(r.Problems), r.Problems[0]))
	}
	return all
}

func (r stormFigures) tables() []table {
	s := func(x float64) string { return fmt.Sprintf("%.1f", x) }
	return []table{{
		Title: "Seconds from the alarms to the decision whether to reboot, of one incident alone (the median of " + strconv.Itoa(r.Lone) + ", before and after) and in the storm:",
		Head:  []string{"alarms", "ended rightly", "rebooted", "most in flight", "retries", "one alone s", "median s", "last s", "ratio last to one", "last reboot s", "all ended s"},
		Rows: [][]string{{
			strconv.Itoa(r.Alarms), strconv.Itoa(r.Ended), strconv.Itoa(r.Rebooted), strconv.Itoa(r.MostInFlight), strconv.Itoa(r.Retries),
			fmt.Sprintf("%.2f", r.One), s(r.Median), s(r.Last), s(r.Ratio), s(r.LastReboot), s(r.End),
		}},
	}}
}

func (r stormFigures) targets() []target {
	return []target{
		meets("all incidents of a storm end rightly, each told once, none lost", fmt.Sprintf("%d of %d, %d lost", r.Ended, r.Alarms, r.Lost), r.Ended == r.Alarms && r.Lost == 0),
		meets(
			fmt.Sprintf("a storm's reboots stay within the brake: 1 to %d in an hour, at most %d in flight", brakePerHour, brakeInFlight),
			fmt.Sprintf("%s, at most %d in flight", count(r.Rebooted, "reboot"), r.MostInFlight), r.Rebooted >= 1 && r.Rebooted <= brakePerHour && r.MostInFlight <= brakeInFlight,
		),
	}
}
