package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"firstline/internal/stage"
)

func newUp() *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Keep a local AWS with a deployment running, to play with",
		Long: `Keep a local AWS with a deployment running, to play with.

It deploys one region with three played instances: a healthy one, one that a
reboot cures, and one that stays down; each has a Route 53 health check that really
checks it. It prints the endpoint and how to have an alarm fire with the AWS CLI,
shows the messages that Slack and OpsGenie receive, and ends with Ctrl-C. The
state machine's waits take a fifth of their time. firstline's other commands work on
it with the --dir that it prints.

Exit codes: 0 ended with Ctrl-C, 1 failed, 2 wrong usage, 130 interrupted before it was
ready.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			const region = "eu-west-1"
			ctx, out := c.Context(), c.OutOrStdout()
			p := newProgress(out)
			w, err := newWorld(ctx, p)
			if err != nil {
				return err
			}
			defer func() {
				p.say("ending the local AWS")
				err = errors.Join(err, w.Close())
			}()
			plays := []struct {
				what string
				set  func(*stage.Instance)
			}{
				{"healthy", func(*stage.Instance) {}},
				{"down, a reboot cures it", func(i *stage.Instance) { _ = i.SetHTTP(stage.Refuse); i.OnReboot(stage.CuredBy(bootTime)) }},
				{"down, and stays down", func(i *stage.Instance) { _ = i.SetSSH(stage.Hang) }},
			}
			var instances []*stage.Instance
			own := map[string]map[string]any{}
			for range plays {
				i, err := w.AddInstance(ctx, region)
				if err != nil {
					return err
				}
				id, err := w.AddHealthCheck(ctx, i)
				if err != nil {
					return err
				}
				own[i.ID] = map[string]any{"route53": map[string]any{"health_check_id": id}}
				instances = append(instances, i)
			}
			dir, err := deploy(ctx, p, w, w.Variables(own, instances...))
			if err != nil {
				return err
			}
			for n, play := range plays {
				play.set(instances[n])
			}
			env := w.AWS.Variables()
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
			return every(ctx, func() {
				for to, service := range map[string]*stage.Service{"Slack": w.Slack, "OpsGenie": w.Pager} {
					all := service.Received()
					for _, m := range all[shown[to]:] {
						_, _ = fmt.Fprintf(out, "\n--- %s received ---\n%s\n", to, m.Text)
					}
					shown[to] = len(all)
				}
				closings := w.Pager.Closings("")
				for _, m := range closings[closed:] {
					_, _ = fmt.Fprintf(out, "\n--- OpsGenie closed the alert %s ---\n%s\n", m.Alias, m.Text)
				}
				closed = len(closings)
			})
		},
	}
}
