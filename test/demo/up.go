package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"firstline/test/testbed"
)

// up deploys to a local AWS and keeps it running until ctx ends.
func up(ctx context.Context, out io.Writer) (err error) {
	const region = "eu-west-1"
	p, bed, err := start(ctx, out)
	if err != nil {
		return err
	}
	defer func() {
		p.say("ending the local AWS")
		err = errors.Join(err, bed.Close())
	}()
	plays := []struct {
		what string
		set  func(*testbed.Instance)
	}{
		{"healthy", func(*testbed.Instance) {}},
		{"down, a reboot cures it", func(i *testbed.Instance) { _ = i.SetHTTP(testbed.Refuse); i.OnReboot(testbed.CuredBy(bootTime)) }},
		{"down, and stays down", func(i *testbed.Instance) { _ = i.SetSSH(testbed.Hang) }},
	}
	var instances []*testbed.Instance
	own := map[string]map[string]any{}
	for range plays {
		i, err := bed.AddInstance(ctx, region)
		if err != nil {
			return err
		}
		id, err := bed.AddHealthCheck(ctx, i)
		if err != nil {
			return err
		}
		own[i.ID] = map[string]any{"route53": map[string]any{"health_check_id": id}}
		instances = append(instances, i)
	}
	dir, err := deploy(ctx, p, bed, bed.Variables(own, instances...))
	if err != nil {
		return err
	}
	for n, play := range plays {
		play.set(instances[n])
	}
	env := bed.AWS.Variables()
	_, _ = fmt.Fprintln(out, "\nIn another shell:")
	for _, k := range []string{"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		_, _ = fmt.Fprintf(out, "  export %s=%s\n", k, env[k])
	}
	_, _ = fmt.Fprintf(out, "  export AWS_REGION=%[1]s AWS_DEFAULT_REGION=%[1]s\n  unset AWS_PROFILE AWS_SESSION_TOKEN\n\nHave an alarm fire (from OK to ALARM: only a change is an event):\n", region)
	for n, i := range instances {
		_, _ = fmt.Fprintf(out, "  # %s\n", plays[n].what)
		for _, state := range []string{"OK", "ALARM"} {
			_, _ = fmt.Fprintf(out, "  aws cloudwatch set-alarm-state --alarm-name firstline-alarm-%s-cpu --state-value %s --state-reason trying\n", i.ID, state)
		}
	}
	_, _ = fmt.Fprintln(out, "\nSee what came of it:\n  aws stepfunctions list-executions --state-machine-arn $(aws stepfunctions list-state-machines --query \"stateMachines[?name=='firstline'].stateMachineArn | [0]\" --output text)\n\nOr with firstline (also incident, notify test, pause, resume, paused, redrive, verify, drift, output):\n  build/firstline incidents --dir "+dir+"\n\nCtrl-C ends it.")
	shown, closed := map[string]int{}, 0
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for to, service := range map[string]*testbed.Service{"Slack": bed.Slack, "OpsGenie": bed.Pager} {
			all := service.Received()
			for _, m := range all[shown[to]:] {
				_, _ = fmt.Fprintf(out, "\n--- %s received ---\n%s\n", to, m.Text)
			}
			shown[to] = len(all)
		}
		closings := bed.Pager.Closings("")
		for _, m := range closings[closed:] {
			_, _ = fmt.Fprintf(out, "\n--- OpsGenie closed the alert %s ---\n%s\n", m.Alias, m.Text)
		}
		closed = len(closings)
	}
}
