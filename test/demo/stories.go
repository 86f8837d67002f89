package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sfn"

	"firstline/internal/timeline"
	"firstline/test/testbed"
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
	set func(*testbed.Instance)
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
	return fmt.Sprintf("%s, reboots %d, Slack %d, pages %d", strings.ToLower(o.Status), o.Reboots, o.Slack, o.Pages)
}

func stories() []story {
	return []story{
		{
			Name: "healthy: it ends silently", Region: "eu-west-1", healthCheck: true,
			set:  func(*testbed.Instance) {},
			want: outcome{Status: "SUCCEEDED"},
		},
		{
			Name: "URL down, and Route 53's checkers agree; the reboot cures it: Slack", Region: "eu-west-1", healthCheck: true,
			set: func(i *testbed.Instance) {
				_ = i.SetHTTP(testbed.Refuse)
				i.OnReboot(testbed.CuredBy(bootTime))
			},
			want: outcome{Status: "SUCCEEDED", Reboots: 1, Slack: 1},
		},
		{
			Name: "SSH hangs, the reboot does not cure it: OpsGenie", Region: "us-east-1",
			set:  func(i *testbed.Instance) { _ = i.SetSSH(testbed.Hang) },
			want: outcome{Status: "SUCCEEDED", Reboots: 1, Slack: 1, Pages: 1},
		},
		{
			Name: "URL answers 403, which no reboot cures: OpsGenie", Region: "us-east-1",
			set:  func(i *testbed.Instance) { _ = i.SetHTTP(testbed.Forbidden) },
			want: outcome{Status: "SUCCEEDED", Slack: 1, Pages: 1},
		},
		{
			Name: "URL down, no reboot allowed: OpsGenie; a person repairs it and closes the alert: Slack", Region: "eu-west-1",
			settings: map[string]any{"reboot": map[string]any{"per_day": 0}},
			set:      func(i *testbed.Instance) { _ = i.SetHTTP(testbed.Broken) },
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

// demo plays the stories, and fails when one ended otherwise than it should.
func demo(ctx context.Context, asJSON bool, stdout, stderr io.Writer) error {
	out := stdout
	if asJSON {
		out = stderr
	}
	results, err := playAll(ctx, out)
	if err != nil {
		return err
	}
	if asJSON {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(map[string]any{"command": "demo", "stories": results}); err != nil {
			return err
		}
	}
	if n := slices.IndexFunc(results, func(r result) bool { return !r.OK }); n >= 0 {
		return fmt.Errorf("the story %q ended otherwise than it should", results[n].Story)
	}
	return nil
}

// playAll plays the stories and returns what came of them.
func playAll(ctx context.Context, out io.Writer) (results []result, err error) {
	p, bed, err := start(ctx, out)
	if err != nil {
		return nil, err
	}
	defer func() {
		p.say("ending the local AWS")
		err = errors.Join(err, bed.Close())
	}()
	all := stories()
	instances := make([]*testbed.Instance, len(all))
	own := map[string]map[string]any{}
	for n, s := range all {
		if instances[n], err = bed.AddInstance(ctx, s.Region); err != nil {
			return nil, err
		}
		own[instances[n].ID] = s.settings
		if s.healthCheck {
			id, err := bed.AddHealthCheck(ctx, instances[n])
			if err != nil {
				return nil, err
			}
			own[instances[n].ID] = map[string]any{"route53": map[string]any{"health_check_id": id}}
		}
	}
	if _, err := deploy(ctx, p, bed, bed.Variables(own, instances...)); err != nil {
		return nil, err
	}
	for n, s := range all {
		r, err := s.play(ctx, p, bed, instances[n], n+1)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, report(out, results)
}

// play has the instance's alarm fire and follows the incident to its end, and the
// looks after a repair where the story has one.
func (s story) play(ctx context.Context, p *progress, bed *testbed.Testbed, i *testbed.Instance, number int) (result, error) {
	_, _ = fmt.Fprintf(p, "\n(%d) %s\n", number, s.Name)
	start := time.Now()
	r := result{Story: s.Name, Instance: i.ID, Region: s.Region, Want: s.want}
	s.set(i)
	status, err := ringAndFollow(ctx, p, bed, i)
	if err != nil {
		return r, err
	}
	if s.mended {
		_ = i.SetHTTP(testbed.Healthy)
		for _, m := range bed.Pager.Received(i.ID) {
			bed.Pager.CloseAlert(m.Alias)
		}
		_, _ = fmt.Fprintln(p, "    a person has repaired it and closed the alert; two healthy looks in a row end it")
		for range 2 {
			if status, err = ringAndFollow(ctx, p, bed, i); err != nil {
				return r, err
			}
		}
	}
	slack, pages := bed.Slack.Received(i.ID), bed.Pager.Received(i.ID)
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
func ringAndFollow(ctx context.Context, p *progress, bed *testbed.Testbed, i *testbed.Instance) (status string, err error) {
	started, err := bed.AWS.Ring(ctx, i.Region, "firstline-alarm-"+i.ID+"-cpu", "Threshold Crossed: 1 datapoint [100.0] was greater than or equal to the threshold (100.0).")
	if err != nil {
		return "", err
	}
	if len(started) != 1 {
		return "", fmt.Errorf("the alarm of %s started %d executions, want 1", i.ID, len(started))
	}
	end, err := timeline.Follow(ctx, sfn.NewFromConfig(bed.AWS.Config(i.Region)), started[0], func(l timeline.Line) {
		_, _ = fmt.Fprintf(p, "    %6.1fs  %-22s %s\n", l.After.Seconds(), l.State, l.Text)
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
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
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
