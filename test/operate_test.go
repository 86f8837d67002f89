package test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"firstline/internal/deployed"
	"firstline/internal/localaws"
	"firstline/internal/old/incident"
	"firstline/internal/stage"
)

// listedIncident is what incidents --json says of one.
type listedIncident struct {
	ID, Region, InstanceID, End, Reboot string
	Dry                                 bool
}

// operate tries the operator's commands on a deployment that has had a dry
// incident of each of two instances: a healthy one, and one that is down.
func operate(t *testing.T, w *stage.World, dir string, region deployed.Region, well, down *stage.Instance) {
	t.Helper()
	env := environ(w.Environment())
	// run runs a command, wants an exit code and texts, and decodes what it
	// prints where that is JSON.
	run := func(code int, into any, args string, want ...string) string {
		t.Helper()
		out := startCommand(t, env, "", append(strings.Fields(args), "--dir", dir)...).wait()
		if out.code != code {
			t.Errorf("%s: exit code %d, want %d:\n%s%s", args, out.code, code, out.stdout, out.stderr)
		}
		for _, text := range want {
			if !strings.Contains(out.stdout+out.stderr, text) {
				t.Errorf("%s does not say %q:\n%s%s", args, text, out.stdout, out.stderr)
			}
		}
		if into != nil {
			if err := json.Unmarshal([]byte(out.stdout), into); err != nil {
				t.Fatalf("%s: %v:\n%s%s", args, err, out.stdout, out.stderr)
			}
		}
		return out.stdout
	}

	t.Run("pauses", func(t *testing.T) {
		run(2, nil, "pause", "name what to pause")
		run(2, nil, "pause --region "+home+" --until 2020-01-01T00:00:00Z", "is in the past")
		run(2, nil, "pause --region "+other, other+": not deployed; deployed are "+home)
		run(2, nil, "pause --instance i-0a1b2c3d", "i-0a1b2c3d: not watched in "+home+"; watched are ", well.ID, down.ID)
		run(0, nil, "paused", "nothing is paused")
		run(0, nil, "resume --region "+home+" --instance "+well.ID, "not paused")

		run(0, nil, "pause --region "+home+" --until 2h", home+"  all       paused until ")
		run(0, nil, "pause --instance "+well.ID+" --until 3d", home+"  "+well.ID+"  paused until ")
		var paused struct {
			Pauses []struct {
				Instance, By string
				Until        time.Time
			}
			Warnings, Errors []any
		}
		run(0, &paused, "paused --json")
		if len(paused.Pauses) != 2 || len(paused.Warnings)+len(paused.Errors) != 0 {
			t.Fatalf("%+v", paused)
		}
		whole, one := paused.Pauses[0], paused.Pauses[1]
		if left := time.Until(whole.Until); whole.Instance != "" || !strings.HasPrefix(whole.By, "arn:aws:") || left > 2*time.Hour || left < 110*time.Minute {
			t.Errorf("the region: %+v", whole)
		}
		if left := time.Until(one.Until); one.Instance != well.ID || left > 72*time.Hour || left < 71*time.Hour {
			t.Errorf("the instance: %+v", one)
		}

		run(0, nil, "resume --instance "+well.ID, well.ID+"  resumed", "the region is still paused, until ")
		run(0, nil, "resume --region "+home, home+"  all       resumed")
		run(0, nil, "resume --region "+home, home+"  all       not paused")
		// Somebody's own tag.
		if _, err := ec2.NewFromConfig(w.AWS.Config(home)).CreateTags(t.Context(), &ec2.CreateTagsInput{
			Resources: []string{down.ID}, Tags: []ec2types.Tag{{Key: aws.String(incident.PauseTag), Value: aws.String("tomorrow")}},
		}); err != nil {
			t.Fatal(err)
		}
		run(0, nil, "paused", home+" "+down.ID+": its tag firstline:pause does not pause it, but nothing reboots it either: ", "tomorrow")
		run(0, nil, "resume --instance "+down.ID, down.ID+"  resumed")
		run(0, nil, "paused", "nothing is paused")
	})

	var incidents struct{ Incidents []listedIncident }
	t.Run("incidents", func(t *testing.T) {
		run(2, nil, "incidents --since yesterday", `"yesterday" is not a time`)
		run(0, &incidents, "incidents --json")
		ends := map[string]string{}
		for _, i := range incidents.Incidents {
			if i.Region != home || !i.Dry {
				t.Errorf("%+v", i)
			}
			ends[i.InstanceID] = i.End + " " + i.Reboot
		}
		if ends[well.ID] != "all-good " || ends[down.ID] != "paged suppressed" {
			t.Fatalf("they ended so: %v", ends)
		}
		run(0, nil, "incidents --limit 1", "There are more: the newest 1 are listed.")
		run(0, nil, "incidents --instance "+well.ID, well.ID+"  all-good (dry)")
		run(0, nil, "incidents --since 0s", "no incident since ")
		id := ""
		for _, i := range incidents.Incidents {
			if i.InstanceID == down.ID {
				id = i.ID
			}
		}
		run(0, nil, "incident "+id[:len(id)-1], down.ID+" in "+home+": paged (dry)", "alarm", "failed: ", "refused", "left undone", "settings")
		run(2, nil, "incident nothing-of-this-name", "no incident of this id in "+home)
		var one struct{ Incident *incident.Incident }
		run(0, &one, "incident "+id+" --json --no-evidence")
		if one.Incident == nil || len(one.Incident.Findings) == 0 {
			t.Errorf("%+v", one.Incident)
		}
		// The table does not answer.
		denied := w.AWS.AddFault(localaws.Fault{Service: "dynamodb", Region: home, Status: 400, Code: "AccessDeniedException", Message: "not you"})
		run(1, nil, "incidents", "no incident since ", home+": AccessDeniedException: not you")
		run(1, nil, "incident "+id, "was not found where a region answered; not all did: "+home+": AccessDeniedException: not you")
		run(1, nil, "paused", home+": whether the region is paused as a whole: AccessDeniedException: not you")
		denied.Remove()
	})

	t.Run("redrive", func(t *testing.T) {
		run(0, nil, "redrive", "nothing lies in the dead-letter queue of "+home)
		queue := sqs.NewFromConfig(w.AWS.Config(home))
		send := func(body string) string {
			out, err := queue.SendMessage(t.Context(), &sqs.SendMessageInput{
				QueueUrl: &region.DeadLetterQueueURL, MessageBody: &body,
				MessageAttributes: map[string]sqstypes.MessageAttributeValue{
					"ERROR_CODE":    {DataType: aws.String("String"), StringValue: aws.String("AccessDeniedException")},
					"ERROR_MESSAGE": {DataType: aws.String("String"), StringValue: aws.String("the role may not")},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			return aws.ToString(out.MessageId)
		}
		id, junk := send(deadAlarm(t, region, well.ID)), send("no event")
		// Nobody answers.
		run(2, nil, "redrive", well.ID, "AccessDeniedException: the role may not", "No reboot follows", "Start 1 incident?", junk, "nobody answered")
		var result struct {
			Messages []struct{ ID, InstanceID, Result, Execution, Error string }
		}
		run(1, &result, "redrive --yes --json", "in the queue still: 1 message")
		got := map[string]string{}
		for _, m := range result.Messages {
			got[m.ID] = m.InstanceID + " " + m.Result + " " + m.Execution
		}
		if got[id] != well.ID+" started redrive-"+id || got[junk] != " kept " {
			t.Fatalf("%v", got)
		}
		// Only what is malformed is left.
		result.Messages = nil
		run(1, &result, "redrive --yes --json", "stays in the queue: its body is no alarm's event")
		if len(result.Messages) != 1 || result.Messages[0].ID != junk {
			t.Errorf("%+v", result.Messages)
		}
		// The event is of this morning: it is looked at, and that is all.
		arn := strings.Replace(region.StateMachineARN, ":stateMachine:", ":execution:", 1) + ":redrive-" + id
		ended(t, w, arn)
		incidents.Incidents = nil
		run(0, &incidents, "incidents --json --instance "+well.ID)
		if !slices.ContainsFunc(incidents.Incidents, func(i listedIncident) bool {
			return i.ID == "redrive-"+id && i.End == incident.EndAllGood && !i.Dry
		}) {
			t.Errorf("%+v", incidents.Incidents)
		}
		run(0, nil, "incident redrive-"+id[:8], well.ID+" in "+home+": all-good")
	})
}

// deadAlarm is the event of an instance's alarm that rang two hours ago.
func deadAlarm(t *testing.T, region deployed.Region, id string) string {
	t.Helper()
	at := time.Now().UTC().Add(-2 * time.Hour)
	name := region.Alarm(id)
	raw, err := json.Marshal(map[string]any{
		"version": "0", "id": "0b9a6e3e-6c1a-4a5e-9d3b-6a1f0c0d4e11", "detail-type": "CloudWatch Alarm State Change", "source": incident.SourceAlarm,
		"account": region.AccountID, "region": region.Region, "time": at.Format(time.RFC3339), "resources": []string{region.AlarmARN(name)},
		"detail": map[string]any{
			"alarmName": name,
			"state":     map[string]any{"value": "ALARM", "reason": "Threshold Crossed", "timestamp": at.Format("2006-01-02T15:04:05.000+0000")},
			"configuration": map[string]any{"metrics": []any{map[string]any{"id": "m1", "returnData": true, "metricStat": map[string]any{
				"metric": map[string]any{"namespace": "AWS/EC2", "name": "CPUUtilization", "dimensions": map[string]any{"InstanceId": id}}, "period": 300, "stat": "Maximum",
			}}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// ended waits for the end of an execution, which is to succeed.
func ended(t *testing.T, w *stage.World, arn string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	client := sfn.NewFromConfig(w.AWS.Config(home))
	for {
		out, err := client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arn})
		switch {
		case err != nil:
			t.Fatal(errors.Join(err, ctx.Err()))
		case out.Status == sfntypes.ExecutionStatusRunning:
			time.Sleep(100 * time.Millisecond)
			continue
		case out.Status != sfntypes.ExecutionStatusSucceeded:
			t.Fatalf("%s ended with %s: %s", arn, out.Status, aws.ToString(out.Cause))
		}
		return
	}
}
