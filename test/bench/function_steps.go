package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"firstline/internal/incident"
)

// phase is an incident before the measured step: what the world does, then steps of
// the function, the first of them open.
type phase struct {
	world []func(*peers) error
	steps []string
}

// stepCase is a step of the function as it is measured.
type stepCase struct {
	// name is the step's, or says how it differs from the one of that name.
	name, step string
	// clients are what it makes, for people.
	clients string
	// before is what has happened; the measured step goes on with the last incident.
	before []phase
	// says is what its answer holds when it took the way that is meant, by spaces.
	says string
}

var (
	look = []string{"open", "url", "route53", "ssh", "decide"}
	// well is an incident of a healthy instance: its checks have a baseline then.
	well = phase{steps: look}
	// paged is one of which somebody is paged.
	paged = phase{world: []func(*peers) error{(*peers).down, (*peers).never}, steps: append(slices.Clone(look), "page", "slack", "close")}
	down  = []func(*peers) error{(*peers).down}
	never = []func(*peers) error{(*peers).down, (*peers).never}
)

// stepCases are all steps of the function, each as it usually is.
var stepCases = []stepCase{
	{"open", "open", "DynamoDB, SSM", nil, `"next":"look"`},
	{"url", "url", "EC2, web", []phase{{steps: look[:1]}}, `"outcome":"passed"`},
	{"route53", "route53", "Route 53", []phase{{steps: look[:2]}}, `"check":"route53","outcome":"passed"`},
	{"ssh", "ssh", "EC2, SSH", []phase{{steps: look[:3]}}, `"check":"ssh","outcome":"passed"`},
	{"decide", "decide", "DynamoDB", []phase{{steps: look[:4]}}, `"verdict":"healthy" "next":"done"`},
	{"decide, failed", "decide", "DynamoDB, EC2", []phase{well, {down, look[:4]}}, `"verdict":"failed" "next":"reboot"`},
	{"reboot", "reboot", "DynamoDB, EC2", []phase{well, {down, look}}, `"rebooted_at"`},
	{"page", "page", "DynamoDB, SSM, pager", []phase{well, {never, look}}, `"paged":{ "confirmed":true`},
	{"slack", "slack", "DynamoDB, SSM, Slack", []phase{well, {never, paged.steps[:6]}}, `"told":true "thread"`},
	{"close", "close", "DynamoDB", []phase{well, {never, paged.steps[:7]}}, `"told":true`},
	{"resolve", "resolve", "DynamoDB, SSM, pager", []phase{well, paged, {[]func(*peers) error{(*peers).stop}, look}}, `"next":"resolve" "told":true`},
	{"reconcile", "reconcile", "CloudWatch, DynamoDB, Step Functions", []phase{well}, `"in_alarm":1,"started":[{`},
	{"verify", "verify", "DynamoDB, EC2, Route 53, SSM, SSH, web", nil, `"check":"url","outcome":"passed" "suppressed"`},
	{"coverage", "coverage", "CloudWatch, DynamoDB, EC2, Route 53, SSM", nil, `"findings":[`},
	{"probe", "probe", "web", nil, `"check":"url","outcome":"passed"`},
	{"explain", "explain", "CloudWatch, DynamoDB, EC2, Route 53, SSM, SSH, web", nil, `"row":9 "guards":[{`},
	{"channels", "channels", "DynamoDB", nil, `"alerts":{`},
	{"notify-test", "notify-test", "SSM, pager, Slack", nil, `"channel":"opsgenie","ok":true "channel":"slack","ok":true`},
}

// floorCase is the reference.
var floorCase = stepCase{name: "floor", clients: "web"}

// stepBench readies what measured steps find, with a function of its own.
type stepBench struct {
	peers  *peers
	driver *lambdaProcess
	n      int
}

// invocation returns the payload of an invocation of a case, after all that comes
// before it.
func (b *stepBench) invocation(ctx context.Context, c stepCase) ([]byte, error) {
	if err := b.peers.begin(); err != nil {
		return nil, err
	}
	if c.step == "" {
		return json.Marshal(map[string]string{"url": fmt.Sprintf("http://%s:%d/", b.peers.instance.Address, b.peers.settings.URL.Port)})
	}
	var inc json.RawMessage
	var err error
	for _, phase := range c.before {
		if inc, err = b.play(ctx, phase); err != nil {
			return nil, fmt.Errorf("before %s: %w", c.name, err)
		}
	}
	b.peers.mu.Lock()
	b.peers.calls = map[string]int{}
	b.peers.mu.Unlock()
	payload := map[string]any{"step": c.step}
	switch c.step {
	case "open":
		payload = b.opening(incident.SourceAlarm)
	case "verify", "explain":
		payload = b.opening(incident.SourceCanary)
		payload["step"] = c.step
	case "probe":
		url := b.peers.settings.URL
		url.Address = fmt.Sprintf("http://%s:%d/", b.peers.instance.Address, url.Port)
		url.Port = 0
		payload["probe"] = incident.Probe{Check: incident.CheckURL, Address: b.peers.instance.Address, URL: &url}
	case "reconcile", "coverage", "channels", "notify-test":
	default:
		payload["incident"] = inc
	}
	return json.Marshal(payload)
}

// play plays a phase by the driver, and returns its incident.
func (b *stepBench) play(ctx context.Context, p phase) (inc json.RawMessage, err error) {
	for _, change := range p.world {
		if err := change(b.peers); err != nil {
			return nil, err
		}
	}
	for _, step := range p.steps {
		payload := map[string]any{"step": step, "incident": inc}
		if step == "open" {
			payload = b.opening(incident.SourceAlarm)
		}
		raw, err := json.Marshal(payload)
		if err != nil {
			return nil, err
		}
		b.driver.runtime.events <- raw
		got, err := b.driver.wait(ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", step, err)
		}
		inc = got.answer
	}
	return inc, nil
}

// opening is the payload of open for an incident of its own.
func (b *stepBench) opening(source string) map[string]any {
	b.n++
	now := time.Now().UTC()
	name := fmt.Sprintf("bench-%d", b.n)
	return map[string]any{
		"step": "open",
		"event": map[string]any{
			"version": "0", "id": "8c1d3f8e-52b1-4c2e-9f43-0d5b2c7a9e11", "detail-type": incident.DetailTypeAlarm, "source": source,
			"account": functionAccount, "time": now.Format(time.RFC3339), "region": functionRegion, "resources": []string{alarmARN},
			"detail": map[string]any{
				"alarmName": "firstline-alarm-" + functionInstance + "-cpu",
				"state": map[string]any{
					"value": "ALARM", "reason": alarmReason, "timestamp": now.Format("2006-01-02T15:04:05.000-0700"),
					"reasonData": `{"version":"1.0","recentDatapoints":[100.0],"threshold":100.0}`,
				},
				"configuration": map[string]any{"metrics": []any{map[string]any{"id": "m", "returnData": true, "metricStat": map[string]any{
					"metric": map[string]any{"namespace": "AWS/EC2", "name": "CPUUtilization", "dimensions": map[string]string{"InstanceId": functionInstance}},
					"period": 300, "stat": "Maximum",
				}}}},
			},
		},
		"execution": incident.Execution{ID: strings.Replace(functionMachine, "stateMachine", "execution", 1) + ":" + name, Name: name, StartedAt: now},
	}
}

// took looks whether an invocation of a case went the way that is meant: whatever
// fails early is fast.
func (b *stepBench) took(c stepCase, answer []byte) error {
	_, err := b.peers.outcome()
	for sign := range strings.FieldsSeq(c.says) {
		if !bytes.Contains(answer, []byte(sign)) {
			err = errors.Join(err, fmt.Errorf("its answer has no %s: %s", sign, answer))
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}
