package test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/localaws"
	"firstline/internal/stage"
)

// The brake of the storm's region is the default.
const (
	inFlight = 2
	perHour  = 6
)

// storm rings the alarms of many instances of one region at the same moment. All
// of them are down and a reboot would cure each; the brake lets few through, and
// nobody is forgotten.
func (m *matrix) storm() {
	name := fmt.Sprintf("a storm of %d instances", len(m.stormy))
	wrong := func(format string, args ...any) { m.note(name, fmt.Sprintf(format, args...)) }
	m.note(name)
	ctx, cancel := context.WithTimeout(m.t.Context(), longEnough)
	defer cancel()
	for _, i := range m.stormy {
		i.OnReboot(stage.CuredBy(0))
		if err := i.SetHTTP(stage.Refuse); err != nil {
			wrong("%s: %v", i.ID, err)
		}
	}
	began := time.Now()
	ends := make([]end, len(m.stormy))
	var wg sync.WaitGroup
	for n, i := range m.stormy {
		wg.Go(func() {
			arns, err := m.w.AWS.PutEvent(ctx, i.Region, eventOf("aws.cloudwatch", plain, i, time.Now()))
			if err == nil && len(arns) == 1 {
				ends[n], err = m.end(ctx, i.Region, arns[0])
			}
			if err != nil || len(arns) != 1 {
				wrong("%s: %d executions, %v", i.ID, len(arns), err)
			}
		})
	}
	wg.Wait()

	brake := "firstline/brake/" + localaws.AccountID + ":" + stormy
	notes, rebooted, own, threads := 0, 0, 0, 0
	type flight struct{ from, to time.Time }
	var flights []flight
	for n, i := range m.stormy {
		e := ends[n]
		if i.Reboots() > 1 {
			wrong("%s was rebooted %d times", i.ID, i.Reboots())
		}
		// Told once, whichever way. Whoever sends the brake's page may add itself to
		// it, since several may send it at the same moment.
		// Slack's thread of a page is no second telling.
		ways := map[string]int{}
		posts := len(m.w.Slack.Received(e.name))
		if paged := len(m.w.Pager.Received(e.name)) > 0; posts > 0 && !paged {
			ways["Slack"] = posts
		} else {
			threads += posts
		}
		if posts > 1 {
			wrong("%s has %d messages in Slack", i.ID, posts)
		}
		for _, p := range m.w.Pager.Received(e.name) {
			switch {
			case p.Note:
				ways["the brake's page"], notes = 1, notes+1
			case p.Alias == brake:
				ways["the brake's page"] = 1
			default:
				ways["a page of its own"]++
				own++
			}
		}
		if len(ways) != 1 || ways["Slack"] > 1 || ways["a page of its own"] > 1 {
			wrong("%s (%d reboots, %s, ended in %q) was told by %v", i.ID, i.Reboots(), e.status, e.last(), ways)
		}
		want := "Paged"
		if i.Reboots() > 0 {
			want, rebooted = "Recovered", rebooted+1
			at := time.Time{}
			for _, r := range m.w.AWS.Reboots() {
				if r.InstanceID == i.ID {
					at = r.Time
				}
			}
			// Its place is given back by the last step.
			flights = append(flights, flight{at, e.closing})
		}
		if e.last() != want {
			wrong("%s ended in %q, want %q", i.ID, e.last(), want)
		}
	}
	if rebooted == 0 || rebooted > perHour {
		wrong("%d reboots, want 1 to %d", rebooted, perHour)
	}
	for _, f := range flights {
		if at := slices.DeleteFunc(slices.Clone(flights), func(o flight) bool { return o.from.After(f.from) || !o.to.After(f.from) }); len(at) > inFlight {
			wrong("%d reboots were in flight at %s", len(at), f.from)
		}
	}
	pages := slices.DeleteFunc(m.w.Pager.Received(), func(r stage.Received) bool { return r.Alias != brake || r.Note })
	if status, count := m.w.Pager.Alert(brake); len(pages) == 0 || status != "open" || count != len(pages) {
		wrong("the brake's page: %d requests, %s, counted %d", len(pages), status, count)
	}
	// Slack hears of a page, and not of each note on it.
	if threads == 0 || threads > len(pages)+own {
		wrong("%d messages in Slack about %d pages", threads, len(pages)+own)
	}
	m.t.Logf("storm: %d instances, %d rebooted, %d notes on the brake's page (sent %d times), in %.0f s", len(m.stormy), rebooted, notes, len(pages), time.Since(began).Seconds())
}

// sweepCalls are those that a sweep makes, and whether it can do without.
var sweepCalls = []struct {
	service, action string
	spared          bool
}{
	{"cloudwatch", "DescribeAlarms", false},
	{"dynamodb", "BatchGetItem", false},
	{"ec2", "DescribeInstances", true},
	{"states", "StartExecution", false},
}

// sweeps has sweeps of the storm's region fail: whatever cannot be looked after
// makes an error, without which the metric of the dead man's switch would come.
// Those that hang take half a minute each, one after another.
func (m *matrix) sweeps(slow bool) {
	ctx, cancel := context.WithTimeout(m.t.Context(), longEnough)
	defer cancel()
	// One that was paged and closed, and whose alarm is still on.
	i := m.stormy[0]
	for _, p := range m.w.Pager.Received() {
		m.w.Pager.CloseAlert(p.Alias)
	}
	err := errors.Join(m.w.Quieten(ctx, stormy), i.SetHTTP(stage.Healthy))
	if err == nil {
		_, err = m.w.AWS.Ring(ctx, stormy, "firstline-cpu-"+i.ID, "Threshold Crossed")
	}
	if err != nil {
		m.note("sweeps", err.Error())
		return
	}
	role := "role/firstline-responder-" + stormy
	for _, c := range sweepCalls {
		for _, mo := range modes {
			if mo.name == "hangs" && !slow {
				continue
			}
			name := fmt.Sprintf("sweep %s:%s: %s", c.service, c.action, mo.name)
			m.note(name)
			// An open incident is left alone, such as the one that the last sweep opened.
			if err := idle(ctx, m.w, stormy); err != nil {
				m.note(name, err.Error())
				return
			}
			f := localaws.Fault{Service: c.service, Action: c.action, Role: role, During: []string{`"step":"sweep"`}}
			mo.set(&f)
			before := m.counted("Sweeps")
			fault := m.w.AWS.AddFault(f)
			_, err := m.w.AWS.Tick(ctx, stormy)
			fault.Remove()
			done, want := m.counted("Sweeps")-before, mo.heals || c.spared
			switch {
			case fault.Hits() == 0:
				m.note(name, "its fault never struck")
			case want && (err != nil || done != 1):
				m.note(name, fmt.Sprintf("it failed (%d counted): %v", done, err))
			case !want && (err == nil || done != 0):
				m.note(name, fmt.Sprintf("nothing shows that it failed (%d counted): %v", done, err))
			}
		}
	}
}

// idle waits until no execution of a region runs.
func idle(ctx context.Context, w *stage.World, region string) error {
	client := sfn.NewFromConfig(w.AWS.Config(region))
	machine := "arn:aws:states:" + region + ":" + localaws.AccountID + ":stateMachine:firstline"
	for {
		out, err := client.ListExecutions(ctx, &sfn.ListExecutionsInput{StateMachineArn: &machine, StatusFilter: sfntypes.ExecutionStatusRunning})
		if err != nil {
			return fmt.Errorf("list the executions that run in %s: %w", region, err)
		}
		if len(out.Executions) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("executions in %s do not end: %w", region, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// counted is how often the functions of the storm's region have written a metric.
func (m *matrix) counted(metric string) int {
	n := 0
	for _, i := range m.w.AWS.Invocations(functionARN(plain, stormy)) {
		n += strings.Count(i.Log, `"`+metric+`":1`)
	}
	return n
}
