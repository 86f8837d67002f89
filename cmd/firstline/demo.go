package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/spf13/cobra"

	"firstline/internal/stage"
	"firstline/internal/timeline"
)

// story is one of the demonstration's incidents.
type story struct {
	Name   string
	Region string
	// healthCheck gives the instance a Route 53 health check; settings are its own,
	// beside those of all.
	healthCheck bool
	settings    map[string]any
	// set makes the instance what the story needs.
	set func(*stage.Instance)
	// mended has a person repair the instance and close its alert.
	mended bool
	// What must come of it.
	want outcome
}

// outcome is what came of an incident.
type outcome struct {
	Status  string `json:"status"`
	Reboots int    `json:"reboots"`
	Slack   int    `json:"slack_messages"`
	Pages   int    `json:"pages"`
}

func (o outcome) String() string {
	return fmt.Sprintf("%s, %s, %d Slack, %s", strings.ToLower(o.Status), count(o.Reboots, "reboot"), o.Slack, count(o.Pages, "page"))
}

// count says how many there are of something.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

const (
	// bootTime is how long a played instance takes to boot.
	bootTime = time.Second
	// pace divides the state machine's waits.
	pace = 5
)

func stories() []story {
	return []story{
		{
			Name: "healthy: it ends silently", Region: "eu-west-1", healthCheck: true,
			set:  func(*stage.Instance) {},
			want: outcome{Status: "SUCCEEDED"},
		},
		{
			Name: "URL down, and Route 53's checkers agree; the reboot cures it: Slack", Region: "eu-west-1", healthCheck: true,
			set: func(i *stage.Instance) {
				_ = i.SetHTTP(stage.Refuse)
				i.OnReboot(stage.CuredBy(bootTime))
			},
			want: outcome{Status: "SUCCEEDED", Reboots: 1, Slack: 1},
		},
		{
			Name: "SSH hangs, the reboot does not cure it: OpsGenie", Region: "us-east-1",
			set:  func(i *stage.Instance) { _ = i.SetSSH(stage.Hang) },
			want: outcome{Status: "SUCCEEDED", Reboots: 1, Slack: 1, Pages: 1},
		},
		{
			Name: "URL answers 403, which no reboot cures: OpsGenie", Region: "us-east-1",
			set:  func(i *stage.Instance) { _ = i.SetHTTP(stage.Forbidden) },
			want: outcome{Status: "SUCCEEDED", Slack: 1, Pages: 1},
		},
		{
			Name: "URL down, no reboot allowed: OpsGenie; a person repairs it and closes the alert: Slack", Region: "eu-west-1",
			settings: map[string]any{"reboot": map[string]any{"per_day": 0}},
			set:      func(i *stage.Instance) { _ = i.SetHTTP(stage.Broken) },
			mended:   true,
			want:     outcome{Status: "SUCCEEDED", Slack: 2, Pages: 1},
		},
	}
}

// told is a message as its receiver got it.
type told struct {
	To   string `json:"to"`
	Text string `json:"text"`
}

// demoResult is what came of demo.
type demoResult struct {
	Command string   `json:"command"`
	Stories []result `json:"stories"`
}

// result is a story with what came of it.
type result struct {
	Story    string  `json:"story"`
	Instance string  `json:"instance_id"`
	Region   string  `json:"region"`
	Want     outcome `json:"want"`
	Got      outcome `json:"got"`
	OK       bool    `json:"ok"`
	Seconds  float64 `json:"seconds"`
	Messages []told  `json:"messages,omitempty"`
}

func newDemo() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Play five stories on a local AWS, from the alarm to the message",
		Long: `Play five stories on a local AWS, from the alarm to the message.

It starts a local AWS, deploys two regions with the real Terraform and AWS
provider, plays instances with real HTTP and SSH servers on loopback addresses and
with Route 53 health checks that really check them, verifies them while they are
healthy, has their alarms fire, and shows each incident as it happens. The state
machine's waits take a fifth of their time. Nothing leaves this machine but the
installation of what is missing.

Exit codes: 0 all five stories ended as they should, 1 one did not, 2 wrong usage, 130
interrupted.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			out := c.OutOrStdout()
			if asJSON {
				out = c.ErrOrStderr()
			}
			results, err := demo(c.Context(), out)
			if err != nil {
				return err
			}
			if asJSON {
				if err := printJSON(c.OutOrStdout(), demoResult{"demo", results}); err != nil {
					return err
				}
			}
			if n := slices.IndexFunc(results, func(r result) bool { return !r.OK }); n >= 0 {
				return fmt.Errorf("the story %q ended otherwise than it should", results[n].Story)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the results as JSON; what happens meanwhile goes to standard error")
	return c
}

// demo plays the stories and returns what came of them.
func demo(ctx context.Context, out io.Writer) (results []result, err error) {
	p := newProgress(out)
	w, err := newWorld(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() {
		p.say("ending the local AWS")
		err = errors.Join(err, w.Close())
	}()
	all := stories()
	instances := make([]*stage.Instance, len(all))
	own := map[string]map[string]any{}
	for n, s := range all {
		if instances[n], err = w.AddInstance(ctx, s.Region); err != nil {
			return nil, err
		}
		own[instances[n].ID] = s.settings
		if s.healthCheck {
			id, err := w.AddHealthCheck(ctx, instances[n])
			if err != nil {
				return nil, err
			}
			own[instances[n].ID] = map[string]any{"route53": map[string]any{"health_check_id": id}}
		}
	}
	if _, err := deploy(ctx, p, w, w.Variables(own, instances...)); err != nil {
		return nil, err
	}
	for n, s := range all {
		r, err := s.play(ctx, p, w, instances[n], n+1)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, report(out, results)
}

// play has the instance's alarm fire and follows the incident to its end, and the
// looks after a repair where the story has one.
func (s story) play(ctx context.Context, p *progress, w *stage.World, i *stage.Instance, number int) (result, error) {
	_, _ = fmt.Fprintf(p.w, "\n(%d) %s\n", number, s.Name)
	start := time.Now()
	r := result{Story: s.Name, Instance: i.ID, Region: s.Region, Want: s.want}
	s.set(i)
	status, err := ringAndFollow(ctx, p, w, i)
	if err != nil {
		return r, err
	}
	if s.mended {
		_ = i.SetHTTP(stage.Healthy)
		for _, m := range w.Pager.Received(i.ID) {
			w.Pager.CloseAlert(m.Alias)
		}
		_, _ = fmt.Fprintln(p.w, "    a person has repaired it and closed the alert; two healthy looks in a row end it")
		for range 2 {
			if status, err = ringAndFollow(ctx, p, w, i); err != nil {
				return r, err
			}
		}
	}
	slack, pages := w.Slack.Received(i.ID), w.Pager.Received(i.ID)
	for _, m := range slack {
		r.Messages = append(r.Messages, told{To: "Slack", Text: m.Text})
	}
	for _, m := range pages {
		r.Messages = append(r.Messages, told{To: "OpsGenie", Text: m.Text})
	}
	r.Got = outcome{Status: status, Reboots: i.Reboots(), Slack: len(slack), Pages: len(pages)}
	r.OK = r.Got == r.Want
	r.Seconds = time.Since(start).Seconds()
	return r, nil
}

// ringAndFollow has an instance's alarm fire, and follows the execution that this
// starts to its end.
func ringAndFollow(ctx context.Context, p *progress, w *stage.World, i *stage.Instance) (status string, err error) {
	started, err := w.AWS.Ring(ctx, i.Region, "firstline-alarm-"+i.ID+"-cpu", "Threshold Crossed: 1 datapoint [100.0] was greater than or equal to the threshold (100.0).")
	if err != nil {
		return "", err
	}
	if len(started) != 1 {
		return "", fmt.Errorf("the alarm of %s started %d executions, want 1", i.ID, len(started))
	}
	end, err := timeline.Follow(ctx, sfn.NewFromConfig(w.AWS.Config(i.Region)), started[0], func(l timeline.Line) {
		_, _ = fmt.Fprintf(p.w, "    %6.1fs  %-22s %s\n", l.After.Seconds(), l.State, l.Text)
	})
	if err != nil {
		return "", err
	}
	return string(end.Status), nil
}

// report prints the messages as they were received and a table of the stories.
func report(out io.Writer, results []result) error {
	for _, r := range results {
		for _, m := range r.Messages {
			_, _ = fmt.Fprintf(out, "\n--- %s received (%s) ---\n%s\n", m.To, r.Story, strings.TrimSpace(m.Text))
		}
	}
	_, _ = fmt.Fprintln(out)
	t := newTable(out)
	_, _ = fmt.Fprintln(t, "\tSTORY\tREGION\tSECONDS\tENDED")
	for _, r := range results {
		mark := "ok"
		ended := r.Got.String()
		if !r.OK {
			mark, ended = "WRONG", ended+"; wanted "+r.Want.String()
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%.1f\t%s\n", mark, r.Story, r.Region, r.Seconds, ended)
	}
	return t.Flush()
}
