package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
	"firstline/internal/stage"
)

// stepCase is a step of the function as it is measured.
type stepCase struct {
	// name is the step's, or says how it differs from the one of that name.
	name, step string
	// clients are what it makes, for people.
	clients string
	// begin readies what the step finds, and returns the rest of its payload.
	begin func(*stepBench) (map[string]any, error)
	// says is what its answer holds when it took the way that is meant, by spaces, and
	// writes is how often it wrote to the table.
	says   string
	writes int
}

// lookedUp is the case of the check url that has EC2 say where the instance is.
const lookedUp = "url, address from EC2"

// stepCases are all steps of the function, each as it usually is.
var stepCases = []stepCase{
	{"all-clear", "all-clear", "DynamoDB, CloudWatch, SSM, pager, Slack", beginAllClear, `"ended":"cleared"`, 1},
	{"baseline", "baseline", "DynamoDB", beginBaseline, `"passed":true`, 1},
	{"close", "close", "DynamoDB", beginClose, `"passed":true`, 2},
	{"find-alert", "find-alert", "DynamoDB", beginFindAlert, `"watch":{`, 1},
	{"look-alert", "look-alert", "DynamoDB, SSM, pager", beginLookAlert, `"watch":{`, 0},
	{"notify-test", "notify-test", "SSM, pager, Slack", func(*stepBench) (map[string]any, error) { return map[string]any{}, nil }, `"channel":"opsgenie","ok":true "channel":"slack","ok":true`, 0},
	{"open", "open", "DynamoDB, SSM, EC2", beginOpen, `"settings":{`, 2},
	{"opsgenie", "opsgenie", "CloudWatch, DynamoDB, SSM, pager", beginPage, `"generation":1`, 3},
	{"reboot", "reboot", "DynamoDB, EC2", beginReboot, `"outcome":"requested"`, 2},
	{"route53", "route53", "Route 53", beginCheck, `"passed":true "attempts":1`, 0},
	{"slack", "slack", "CloudWatch, SSM, Slack", beginSlack, `"told":{"slack":`, 0},
	{"ssh", "ssh", "EC2, SSH", beginCheck, `"passed":true "attempts":1`, 0},
	{"sweep", "sweep", "CloudWatch, DynamoDB, EC2, Step Functions", beginSweep, `"started":[{`, 0},
	{"url", "url", "web", func(b *stepBench) (map[string]any, error) {
		inc := b.incident()
		inc.Settings.URL.Address, inc.Settings.URL.Port = b.peers.webURL, 0
		return b.payload(inc), nil
	}, `"passed":true "attempts":1`, 0},
	{lookedUp, "url", "EC2, web", beginCheck, `"passed":true "attempts":1`, 0},
}

// floorCase is the reference.
var floorCase = stepCase{name: "floor", clients: "web"}

// stepBench is what a measured invocation works on: an instance of its own, so that
// nobody else's alert is in its way.
type stepBench struct {
	peers    *peers
	n        int
	now      time.Time
	instance string
	// thread is a message in Slack that can be answered.
	thread *incident.Thread
}

// next makes the stepBench ready for another invocation.
func (b *stepBench) next() {
	b.n++
	b.now = time.Now().UTC()
	b.instance = fmt.Sprintf("i-%017x", b.n)
}

// invocation returns the payload of an invocation of a case.
func (b *stepBench) invocation(c stepCase) ([]byte, error) {
	b.next()
	if c.step == "" {
		return json.Marshal(map[string]string{"url": b.peers.webURL})
	}
	b.put()
	payload, err := c.begin(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	payload["step"] = c.step
	return json.Marshal(payload)
}

// took looks whether an invocation of a case went the way that is meant: whatever
// fails early is fast.
func (b *stepBench) took(c stepCase, answer []byte) error {
	writes, problem := b.peers.aws.outcome()
	switch {
	case problem != nil:
		return fmt.Errorf("%s: %w", c.name, problem)
	case c.step == "":
		return nil
	case writes != c.writes:
		return fmt.Errorf("%s: it wrote to the table %d times, and is to do so %d times", c.name, writes, c.writes)
	}
	for sign := range strings.FieldsSeq(c.says) {
		if !bytes.Contains(answer, []byte(sign)) {
			return fmt.Errorf("%s: its answer has no %s: %s", c.name, sign, answer)
		}
	}
	return nil
}

// put has the table hold some items.
func (b *stepBench) put(items ...map[string]any) {
	raw, _ := json.Marshal(b.settings()) // numbers and texts
	b.peers.aws.begin(b.instance, string(raw), items...)
}

// settings are the instance's: the defaults, with the ports of the peers.
func (b *stepBench) settings() *incident.Settings {
	s := incident.DefaultSettings()
	s.URL.Port, s.SSH.Port = b.peers.webPort, b.peers.sshPort
	s.Route53.HealthCheckID = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b"
	return &s
}

func (b *stepBench) execution() incident.Execution {
	name := "bench-" + strconv.Itoa(b.n)
	return incident.Execution{ID: strings.Replace(functionMachine, "stateMachine", "execution", 1) + ":" + name, Name: name, StartedAt: b.now}
}

// incident is one that was opened a moment ago.
func (b *stepBench) incident() *incident.Incident {
	value := 100.0
	return &incident.Incident{
		InstanceID: b.instance, Name: "web", Region: functionRegion, AccountID: functionAccount,
		Alarm: &incident.Alarm{
			Name: "firstline-cpu-" + b.instance, Metric: "CPUUtilization", ARN: alarmARN(b.instance), Reason: alarmReason, At: b.now, Value: &value,
		},
		Execution: b.execution(), Settings: b.settings(), Run: 1, Recovery: &incident.Recovery{}, EventAt: b.now,
	}
}

// checked is an incident after a check that has passed.
func (b *stepBench) checked() *incident.Incident {
	inc := b.incident()
	inc.Record(checks.Finding{Check: checks.NameURL, Passed: true, Reason: "GET http://127.0.0.1/: got status 200", Attempts: 1, ElapsedMs: 12, At: b.now})
	return inc
}

// failed is an incident after a check that has failed.
func (b *stepBench) failed() *incident.Incident {
	inc := b.incident()
	inc.Record(checks.Finding{Check: checks.NameURL, Reason: "GET http://127.0.0.1/: got status 503, want 200-299", Attempts: 3, ElapsedMs: 4012, At: b.now})
	return inc
}

// rebooted is an incident after its reboot, and a look that passed or not.
func (b *stepBench) rebooted(passed bool) *incident.Incident {
	inc := b.failed()
	at := b.now.Add(-2 * time.Minute)
	inc.Reboot = &incident.Reboot{
		At: at, Reason: inc.Findings[0].Reason, Outcome: incident.RebootRequested,
		WindowClosesAt: at.Add(10 * time.Minute).Truncate(time.Second),
	}
	inc.Run = 2
	inc.Record(checks.Finding{Check: checks.NameURL, Passed: passed, Reason: "GET http://127.0.0.1/: looked again", Attempts: 1, ElapsedMs: 12, At: b.now})
	return inc
}

// alerted is the incident of the machine that gives the all-clear.
func (b *stepBench) alerted() *incident.Incident {
	inc := b.checked()
	inc.Run, inc.EventAt = incident.RunAllClear, time.Time{}
	inc.Findings[0].Run = inc.Run
	inc.Recovery = &incident.Recovery{Passes: 1, Since: &b.now}
	inc.Alert = &incident.Alert{
		Alias: b.alias(), Pager: notify.NameOpsGenie, Generation: 1, OpenedAt: b.now.Truncate(time.Millisecond), Outcome: incident.AlertDown, Version: 2,
	}
	inc.Thread = b.thread
	inc.Watch = &incident.Watch{Trigger: incident.WatchPage, Until: b.now.Add(time.Hour).Truncate(time.Second), EverySeconds: 300, WaitSeconds: 300}
	return inc
}

func (b *stepBench) alias() string {
	return strings.Join([]string{functionDeployment, functionAccount, functionRegion, b.instance}, "/")
}

func (b *stepBench) payload(inc *incident.Incident) map[string]any {
	return map[string]any{"incident": inc}
}

func beginCheck(b *stepBench) (map[string]any, error) { return b.payload(b.incident()), nil }

func beginBaseline(b *stepBench) (map[string]any, error) { return b.payload(b.checked()), nil }

func beginClose(b *stepBench) (map[string]any, error) {
	b.put(b.guardItem())
	return b.payload(b.checked()), nil
}

func beginOpen(b *stepBench) (map[string]any, error) {
	at := b.now.Format("2006-01-02T15:04:05.000-0700")
	event := map[string]any{
		"version": "0", "id": "8c1d3f8e-52b1-4c2e-9f43-0d5b2c7a9e11", "detail-type": "CloudWatch Alarm State Change", "source": incident.SourceAlarm,
		"account": functionAccount, "time": b.now.Format(time.RFC3339), "region": functionRegion, "resources": []string{alarmARN(b.instance)},
		"detail": map[string]any{
			"alarmName": "firstline-cpu-" + b.instance,
			"state":     map[string]any{"value": "ALARM", "reason": alarmReason, "timestamp": at, "reasonData": `{"version":"1.0","recentDatapoints":[100.0],"threshold":100.0}`},
			"configuration": map[string]any{"metrics": []any{map[string]any{"id": "m", "returnData": true, "metricStat": map[string]any{
				"metric": map[string]any{"namespace": "AWS/EC2", "name": "CPUUtilization", "dimensions": map[string]string{"InstanceId": b.instance}},
				"period": 300, "stat": "Maximum",
			}}}},
		},
	}
	return map[string]any{"event": event, "execution": b.execution()}, nil
}

func beginReboot(b *stepBench) (map[string]any, error) {
	inc := b.failed()
	guard := b.guardItem()
	// The check has passed before, with the same settings.
	raw, err := json.Marshal(inc.Settings.URL)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	guard["baseline"] = map[string]any{"M": map[string]any{checks.NameURL: map[string]any{"M": map[string]any{
		"hash": attrText(hex.EncodeToString(sum[:])), "at": attrNumber(b.now.Add(-time.Hour).UnixMilli()),
	}}}}
	b.put(guard)
	return b.payload(inc), nil
}

func beginSlack(b *stepBench) (map[string]any, error) { return b.payload(b.rebooted(true)), nil }

func beginPage(b *stepBench) (map[string]any, error) { return b.payload(b.rebooted(false)), nil }

func beginSweep(*stepBench) (map[string]any, error) { return map[string]any{}, nil }

func beginFindAlert(b *stepBench) (map[string]any, error) {
	inc := b.rebooted(false)
	inc.Alert = b.alerted().Alert
	inc.Told = &incident.Told{Page: &b.now, Slack: &b.now}
	inc.Thread = b.thread
	b.put(b.alertItem())
	return map[string]any{"event": inc, "execution": b.execution()}, nil
}

func beginLookAlert(b *stepBench) (map[string]any, error) {
	b.put(b.alertItem())
	return b.payload(b.alerted()), b.raise()
}

func beginAllClear(b *stepBench) (map[string]any, error) {
	b.put(b.alertItem())
	return b.payload(b.alerted()), b.raise()
}

// raise has the pager have the instance's alert.
func (b *stepBench) raise() error {
	return b.post(b.peers.pager.URL+"/v2/alerts", "GenieKey "+functionSecret, map[string]any{"message": "down", "alias": b.alias()}, nil)
}

// talk begins a thread in Slack.
func (b *stepBench) talk() error {
	said := struct{ TS string }{}
	err := b.post(b.peers.slack.URL+"chat.postMessage", "Bearer "+functionSecret, map[string]any{"channel": stage.SlackChannel, "text": "down"}, &said)
	b.thread = &incident.Thread{Channel: stage.SlackChannel, TS: said.TS}
	return err
}

func (b *stepBench) post(address, authorization string, body, answer any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", authorization)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode > 299 {
		return fmt.Errorf("POST %s: status %d", req.URL.Path, resp.StatusCode)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}

// Items of the table, as package guard writes them.

func attrText(s string) map[string]any { return map[string]any{"S": s} }

func attrNumber(n int64) map[string]any { return map[string]any{"N": strconv.FormatInt(n, 10)} }

// guardItem says that this execution has the instance's lease.
func (b *stepBench) guardItem() map[string]any {
	e := b.execution()
	return map[string]any{
		"pk": attrText("instance#" + b.instance), "sk": attrText("guard"), "version": attrNumber(1),
		"holder": attrText(e.ID), "holderName": attrText(e.Name), "holderStartedAt": attrNumber(b.now.UnixMilli()), "heldUntil": attrNumber(b.now.Add(time.Hour).Unix()),
		"handledBy": attrText(e.ID), "handledByName": attrText(e.Name), "handledByStartedAt": attrNumber(b.now.UnixMilli()), "handledAt": attrNumber(b.now.UnixMilli()),
	}
}

// alertItem is the instance's open alert, which this execution has made and looks
// after.
func (b *stepBench) alertItem() map[string]any {
	a, e := b.alerted().Alert, b.execution()
	return map[string]any{
		"pk": attrText("instance#" + b.instance), "sk": attrText("alert"), "version": attrNumber(a.Version), "state": attrText("open"),
		"generation": attrNumber(a.Generation), "by": attrText(e.ID), "openedAt": attrNumber(a.OpenedAt.UnixMilli()), "sentAt": attrNumber(a.OpenedAt.UnixMilli()),
		"alias": attrText(a.Alias), "pager": attrText(a.Pager), "outcome": attrText(a.Outcome), "repeats": attrNumber(0),
		"watcher": attrText(e.ID), "watchUntil": attrNumber(b.now.Add(time.Hour).UnixMilli()),
		"channel": attrText(stage.SlackChannel), "thread": attrText(b.thread.TS),
	}
}
