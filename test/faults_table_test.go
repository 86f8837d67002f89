package test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"firstline/internal/localaws"
	"firstline/internal/stage"
)

// condition is what an instance is like when its alarm rings, and with it how its
// incident goes where nothing is broken.
type condition int

const (
	// well: every check passes, and nobody hears of it.
	well condition = iota
	// curable: its web server refuses until it is rebooted: Slack.
	curable
	// dead: its web server refuses for good: one reboot, one page.
	dead
)

// told is who hears of an incident.
type told int

const (
	nobody told = iota
	slack
	page
)

func (w told) String() string { return [...]string{"nobody", "Slack", "whoever is on call"}[w] }

// verdict is what must come of a cell.
type verdict struct {
	// reboots is how often EC2 carries one out.
	reboots int
	told    told
	// ends are the states in which its execution may end; empty: any.
	ends []string
	// fails says that the execution fails, which raises the metric of an alarm of
	// the monitor.
	fails bool
	// rough says that no more is known than what holds of every cell: that there
	// is no second reboot, and that somebody is told once or an alarm rings.
	rough bool
	// buried says that nothing starts, and that the event is in the dead-letter
	// queue.
	buried bool
	// handled is how many further executions end as handled already.
	handled int
	// thread says that Slack hears of the page too, if there is one.
	thread bool
}

// course is what comes of an incident where nothing is broken.
func (c condition) course() verdict {
	switch c {
	case curable:
		return verdict{reboots: 1, told: slack, ends: []string{"Recovered"}}
	case dead:
		return verdict{reboots: 1, told: page, ends: []string{"Paged"}, thread: true}
	default:
		return verdict{ends: []string{"All good"}}
	}
}

// loss is what follows where something cannot be had for good.
type loss int

const (
	// spared: nothing; the incident goes on without it.
	spared loss = iota
	// blind: the incident cannot go on. Somebody is paged, and nothing is rebooted
	// on that account.
	blind
	// blindLater: the same after the reboot.
	blindLater
	// unrebooted: the instance is not rebooted, though its incident goes on as if,
	// since EC2 may have been asked: it stays down.
	unrebooted
	// unpaged: the pager cannot be reached: Slack instead, and an alarm.
	unpaged
	// unposted: Slack cannot be reached: a page instead.
	unposted
	// unclosed: told or not, the execution fails, since its lease stays.
	unclosed
)

// then is what comes of an incident with a loss.
func (l loss) then(v verdict) verdict {
	switch l {
	case spared:
	case blind:
		v.reboots, v.told, v.ends = 0, page, []string{"Paged"}
	case blindLater:
		v.told, v.ends = page, []string{"Paged"}
	case unrebooted:
		v.reboots, v.told, v.ends = 0, page, []string{"Paged"}
	case unpaged:
		v.told, v.ends, v.fails = slack, []string{"Page failed"}, true
	case unposted:
		v.told, v.ends = page, []string{"Paged"}
	case unclosed:
		v.ends, v.fails = []string{"Not closed"}, true
	}
	return v
}

// cell is one case of the matrix.
type cell struct {
	// kind groups cells: the sample has one of each. name is its own.
	kind, name string
	condition  condition
	// healthCheck gives the instance a health check, which passes.
	healthCheck bool
	settings    map[string]any
	// arrange breaks something.
	arrange func(*shot) error
	// ring is how events come; nil: the alarm rings once.
	ring func(context.Context, *shot) ([]string, error)
	want verdict
	// repeats says that an answer of Slack's gets lost, so that it hears the same
	// twice: it has no way to be asked for one message only once.
	repeats bool
	// clears is what must come of the alarm's return to OK after the page; nil: it
	// stays in ALARM.
	clears *clearing
	// slow cells wait for minutes and do little.
	slow bool
}

// weight is how long a cell waits compared with others: those that hang do so in
// each try, and nothing is tried more often than a page.
func (c cell) weight() int {
	n := 0
	for _, word := range []string{"hang", "opsgenie ", "OpsGenie", "for good"} {
		if strings.Contains(c.name, word) {
			n++
		}
	}
	return n
}

// mode is a way in which calls break.
type mode struct {
	name string
	set  func(f *localaws.Fault)
	// heals says that the calls that follow make up for it.
	heals bool
	// slow says that it takes minutes where it is for good.
	slow bool
}

// modes are the ways in which calls of AWS break.
var modes = []mode{
	{name: "denied", set: func(f *localaws.Fault) { f.Status, f.Code = denied(f.Service); f.Message = leaky }},
	{name: "throttled for good", slow: true, set: func(f *localaws.Fault) { f.Status, f.Code = throttled(f.Service) }},
	{name: "throttled twice", heals: true, set: func(f *localaws.Fault) { f.Status, f.Code = throttled(f.Service); f.Times = 2 }},
	{name: "500", slow: true, set: func(f *localaws.Fault) { f.Status, f.Code, f.Message = 500, internal(f.Service), leaky }},
	{name: "hangs", slow: true, set: func(f *localaws.Fault) { f.Hang = true }},
	{name: "garbage", slow: true, set: func(f *localaws.Fault) { f.Body = "\x00 this is no answer: " + stage.SlackToken + " " + leakedPassword }},
}

// Secrets that services let slip in errors and instances write to their consoles.
const (
	leakedPassword = "hunter2-matrix-password"
	leakedKey      = "AKIAMATRIXMATRIX0001"
	leaky          = "not you: Authorization=Bearer " + leakedPassword + " (key " + leakedKey + ")"
	console        = "[    0.000000] Linux version 6.1.0\ncloud-init: password=" + leakedPassword + "\nAWS_ACCESS_KEY_ID=" + leakedKey +
		"\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz\n" + leakedLine + "\n-----END OPENSSH PRIVATE KEY-----\nOut of memory: Killed process 4242 (java)\n"
	leakedLine = "c2gtZWQyNTUxOQAAACBtYXRyaXhtYXRyaXhtYXRyaXhtYXRyaXhtYXRyaXg="
)

// secrets may be nowhere but where they belong.
var secrets = []string{stage.SlackToken, stage.OpsGenieKey, stage.JSMKey, leakedPassword, leakedKey, leakedLine}

// denied, throttled and internal are the errors with which services refuse.
func denied(service string) (status int, code string) {
	switch service {
	case "ec2":
		return 403, "UnauthorizedOperation"
	case "route53":
		return 403, "AccessDenied"
	case "lambda":
		return 403, "AccessDeniedException"
	}
	return 400, "AccessDeniedException"
}

func throttled(service string) (status int, code string) {
	switch service {
	case "ec2":
		return 503, "RequestLimitExceeded"
	case "route53":
		return 400, "Throttling"
	case "lambda":
		return 429, "TooManyRequestsException"
	}
	return 400, "ThrottlingException"
}

func internal(service string) (code string) {
	switch service {
	case "ec2":
		return "InternalError"
	case "dynamodb":
		return "InternalServerError"
	case "lambda":
		return "ServiceException"
	}
	return "InternalFailure"
}

// call is one that an incident makes.
type call struct {
	// what it is for.
	what string
	step string
	// run says in which run, where that matters.
	run                    int
	service, action        string
	skip                   int // earlier calls of the same action in the step
	condition              condition
	loss                   loss
	healthCheck            bool
	arrange                func(*shot, mode) error // what has to be so that it is made
	lossOf                 map[string]loss         // of single modes
	decides, rebootedAfter bool                    // see kills
	// modes are the only ways in which it breaks; nil: all.
	modes []string
	// repeats is as a cell's, where the function is killed.
	repeats bool
}

// calls are those that incidents make of AWS, in the order of the steps.
var calls = []call{
	{what: "the guards", step: "open", service: "dynamodb", action: "BatchGetItem", condition: curable, loss: blind},
	{what: "the lease", step: "open", service: "dynamodb", action: "UpdateItem", condition: curable, loss: blind, decides: true},
	{what: "the record", step: "open", service: "dynamodb", action: "PutItem", condition: curable, loss: spared},
	{what: "the settings", step: "open", service: "ssm", action: "GetParameter", condition: curable, loss: blind},
	{what: "the pause's tag", step: "open", service: "ec2", action: "DescribeInstances", condition: curable, loss: spared},

	{what: "the address", step: "url", service: "ec2", action: "DescribeInstances", condition: well, loss: blind, decides: true},
	{what: "the address after the reboot", step: "url", run: 2, service: "ec2", action: "DescribeInstances", condition: curable, loss: blindLater},
	{what: "the health check", step: "route53", service: "route53", action: "GetHealthCheckStatus", condition: well, healthCheck: true, loss: blind, decides: true},
	{what: "the address", step: "ssh", service: "ec2", action: "DescribeInstances", condition: well, loss: blind, decides: true},

	{what: "its own reservation", step: "reboot", service: "dynamodb", action: "BatchGetItem", condition: curable, loss: blind},
	{what: "the state", step: "reboot", service: "ec2", action: "DescribeInstances", condition: curable, loss: blind},
	{what: "the status checks", step: "reboot", service: "ec2", action: "DescribeInstanceStatus", condition: curable, loss: blind},
	{what: "the console", step: "reboot", service: "ec2", action: "GetConsoleOutput", condition: curable, loss: spared},
	{what: "the evidence", step: "reboot", service: "dynamodb", action: "PutItem", condition: curable, loss: spared},
	{what: "the brake", step: "reboot", service: "dynamodb", action: "BatchGetItem", skip: 1, condition: curable, loss: blind},
	{what: "the reservation", step: "reboot", service: "dynamodb", action: "TransactWriteItems", condition: curable, loss: blind, decides: true},
	{what: "the reservation, read again", step: "reboot", service: "dynamodb", action: "BatchGetItem", skip: 2, condition: curable, loss: blind},
	{
		what: "the reboot", step: "reboot", service: "ec2", action: "RebootInstances", condition: curable, loss: blind, decides: true, rebootedAfter: true,
		// Whether EC2 has heard of it is not known then, and it is not asked again.
		lossOf: map[string]loss{"500": unrebooted, "hangs": unrebooted, "garbage": unrebooted},
	},

	{what: "the alarm's state", step: "slack", service: "cloudwatch", action: "DescribeAlarms", condition: curable, loss: spared, decides: true},
	{what: "the token", step: "slack", service: "ssm", action: "GetParameter", condition: curable, loss: unposted, arrange: func(s *shot, m mode) error {
		// A warm function reads it again only when Slack refuses the one it has, and a
		// cold one never comes so far.
		return s.mayTrouble(s.w.Slack, oneOrAll(stage.NotOK("invalid_auth"), m.heals))
	}},

	{what: "the alarm's state", step: "opsgenie", service: "cloudwatch", action: "DescribeAlarms", condition: dead, loss: spared, decides: true},
	{what: "the key", step: "opsgenie", service: "ssm", action: "GetParameter", condition: dead, loss: unpaged, arrange: func(s *shot, m mode) error {
		refused := stage.Failing(403)
		refused.Body = `{"message":"Key ` + stage.OpsGenieKey + ` is not valid"}`
		return s.mayTrouble(s.w.Pager, oneOrAll(refused, m.heals))
	}},
	// Without the table a page gets an alert of its own.
	{what: "the alert", step: "opsgenie", service: "dynamodb", action: "BatchGetItem", condition: dead, loss: spared},
	{what: "the alert, claimed", step: "opsgenie", service: "dynamodb", action: "UpdateItem", condition: dead, loss: spared, decides: true},
	{what: "the alert, sent", step: "opsgenie", service: "dynamodb", action: "UpdateItem", skip: 1, condition: dead, loss: spared, decides: true},
	{what: "the page, remembered", step: "opsgenie", service: "dynamodb", action: "UpdateItem", skip: 2, condition: dead, loss: spared, decides: true},
	{what: "the page's thread, remembered", step: "slack", service: "dynamodb", action: "UpdateItem", condition: dead, loss: spared, decides: true, repeats: true, modes: []string{"denied", "throttled twice", "hangs", "garbage"}},

	{what: "the lease", step: "close", service: "dynamodb", action: "BatchGetItem", condition: well, loss: unclosed},
	{what: "the lease's end", step: "close", service: "dynamodb", action: "UpdateItem", condition: well, loss: unclosed, decides: true},
	{what: "the lease's end", step: "close", service: "dynamodb", action: "UpdateItem", condition: curable, loss: unclosed, decides: true},
}

// oneOrAll has one request meet a trouble, or all.
func oneOrAll(t stage.Trouble, one bool) stage.Trouble {
	if one {
		t.Times = 1
	}
	return t
}

func (c call) String() string {
	when := ""
	if c.condition == curable && c.step == "close" {
		when = " of a reboot"
	}
	return fmt.Sprintf("%s %s:%s, %s%s", c.step, c.service, c.action, c.what, when)
}

// fault breaks the call for one instance.
func (c call) fault(id string) localaws.Fault {
	during := []string{`"step":"` + c.step + `"`, id}
	if c.run != 0 {
		during = append(during, fmt.Sprintf(`"run":%d`, c.run))
	}
	return localaws.Fault{Service: c.service, Action: c.action, During: during, Skip: c.skip}
}

// callCells are every call × every way in which it breaks.
func callCells() []cell {
	var all []cell
	for _, c := range calls {
		for _, m := range modes {
			if c.modes != nil && !slices.Contains(c.modes, m.name) {
				continue
			}
			t := cell{
				kind: "a call " + m.name, name: c.String() + ": " + m.name, condition: c.condition, healthCheck: c.healthCheck, slow: m.slow,
				want: c.condition.course(),
				arrange: func(s *shot) error {
					if c.arrange != nil {
						if err := c.arrange(s, m); err != nil {
							return err
						}
					}
					f := c.fault(s.i.ID)
					m.set(&f)
					s.breakCalls(f)
					return nil
				},
			}
			if !m.heals {
				l, own := c.lossOf[m.name]
				if !own {
					l = c.loss
				}
				t.want = l.then(t.want)
			}
			all = append(all, t)
		}
	}
	// All of the table at once, in every step: nothing is decided without it.
	for _, m := range modes {
		if m.heals {
			continue
		}
		all = append(all, cell{
			kind: "no table", name: "the table: " + m.name, condition: curable, slow: m.slow, want: unclosed.then(blind.then(curable.course())),
			arrange: func(s *shot) error {
				f := localaws.Fault{Service: "dynamodb", During: []string{s.i.ID}}
				m.set(&f)
				s.breakCalls(f)
				return nil
			},
		})
	}
	return append(all, cell{
		kind: "no table", name: "an item of the table that nobody can read", condition: curable, want: unclosed.then(blind.then(curable.course())),
		arrange: func(s *shot) error {
			_, err := dynamodb.NewFromConfig(s.w.AWS.Config(s.i.Region)).UpdateItem(context.Background(), &dynamodb.UpdateItemInput{
				TableName: aws.String("firstline-incidents"), Key: map[string]dynamotypes.AttributeValue{
					"pk": &dynamotypes.AttributeValueMemberS{Value: "instance#" + s.i.ID}, "sk": &dynamotypes.AttributeValueMemberS{Value: "guard"},
				},
				UpdateExpression: aws.String("SET reboots = :r"), ExpressionAttributeValues: map[string]dynamotypes.AttributeValue{":r": &dynamotypes.AttributeValueMemberS{Value: "two"}},
			})
			return err
		},
	})
}

// step is a Task of the definition, as far as Lambda may fail to run it.
type step struct {
	name        string
	condition   condition
	healthCheck bool
	loss        loss
}

var steps = []step{
	{name: "open", condition: curable, loss: blind},
	{name: "url", condition: well, loss: blind},
	{name: "route53", condition: well, healthCheck: true, loss: blind},
	{name: "ssh", condition: well, loss: blind},
	{name: "reboot", condition: curable, loss: blind},
	{name: "slack", condition: curable, loss: unposted},
	{name: "opsgenie", condition: dead, loss: unpaged},
	{name: "close", condition: well, loss: unclosed},
	{name: "close", condition: curable, loss: unclosed},
}

func (s step) String() string {
	if s.name == "close" && s.condition == curable {
		return "close of a reboot"
	}
	return s.name
}

// lambdaCells are every step × every way in which Lambda fails to run it.
func lambdaCells() []cell {
	var all []cell
	add := func(s step, kind, name string, slow, lost, rough bool, f localaws.Fault) {
		t := cell{
			kind: kind, name: s.String() + " lambda:Invoke: " + name, condition: s.condition, healthCheck: s.healthCheck, slow: slow, want: s.condition.course(),
			arrange: func(sh *shot) error {
				f.Service, f.Action, f.During = "lambda", "Invoke", []string{`"step":"` + s.name + `"`, sh.i.ID}
				sh.breakCalls(f)
				return nil
			},
		}
		if lost {
			t.want = s.loss.then(t.want)
		}
		t.want.rough = rough
		all = append(all, t)
	}
	for _, s := range steps {
		for _, m := range modes {
			f := localaws.Fault{Service: "lambda"}
			m.set(&f)
			// Lambda has nothing to let slip.
			f.Message = ""
			if f.Body != "" {
				f.Body = "\x00 this is no answer"
			}
			if m.name == "hangs" {
				// Each time it takes the Task's own time-out, 150 s.
				f.Times = 1
			}
			add(s, "Lambda "+m.name, m.name, m.slow, !m.heals && m.name != "hangs", m.name == "garbage", f)
		}
		for _, k := range []struct{ name, code string }{{"out of time", "Sandbox.Timedout"}, {"out of memory", "Runtime.OutOfMemory"}} {
			add(s, k.name, k.name+" once", false, false, false, localaws.Fault{Code: k.code, Times: 1})
			add(s, k.name+" for good", k.name+" for good", true, true, false, localaws.Fault{Code: k.code})
		}
	}
	return all
}

// killCells end the function in the middle of each step, right before and right
// after the call that decides.
func killCells() []cell {
	var all []cell
	for _, c := range calls {
		if !c.decides {
			continue
		}
		for kill, name := range map[localaws.Kill]string{localaws.KillBefore: "before", localaws.KillAfter: "after"} {
			t := cell{
				kind: "killed " + name, name: c.String() + ": killed " + name + " it", condition: c.condition, healthCheck: c.healthCheck, want: c.condition.course(), repeats: c.repeats,
				arrange: func(s *shot) error {
					f := c.fault(s.i.ID)
					f.Kill, f.Times, f.Code = kill, 1, "Runtime.ExitError"
					s.breakCalls(f)
					return nil
				},
			}
			// What was reserved and not made is not made any more.
			if reserved := c.action == "TransactWriteItems" && kill == localaws.KillAfter; reserved || c.rebootedAfter && kill == localaws.KillBefore {
				t.want = unrebooted.then(t.want)
			}
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b cell) int { return strings.Compare(a.name, b.name) })
	return all
}

// service is Slack or the pager.
type service struct {
	name      string
	of        func(*stage.World) *stage.Service
	condition condition
	loss      loss
}

var services = []service{
	{"Slack", func(w *stage.World) *stage.Service { return w.Slack }, curable, unposted},
	{"OpsGenie", func(w *stage.World) *stage.Service { return w.Pager }, dead, unpaged},
}

// echo adds to an answer what a careless service repeats of the request.
func echo(t stage.Trouble) stage.Trouble {
	t.Body += " Authorization: Bearer " + stage.SlackToken + " GenieKey " + stage.OpsGenieKey
	return t
}

// messageCells are Slack and the pager × every way in which they fail, once and
// for good.
func messageCells() []cell {
	var all []cell
	for _, s := range services {
		for _, k := range []struct {
			name    string
			trouble stage.Trouble
			// permanent ones are not asked again; late ones have done what they were
			// asked for.
			permanent, late bool
			only            string
		}{
			{name: "429 with Retry-After", trouble: stage.RateLimited(time.Second)},
			{name: "429 with a long Retry-After", trouble: stage.RateLimited(time.Hour)},
			{name: "429 without Retry-After", trouble: stage.RateLimited(0)},
			{name: "500", trouble: echo(stage.Failing(500))},
			{name: "hang", trouble: stage.Hanging()},
			{name: "reset", trouble: stage.Resetting()},
			{name: "200 with ok: false that passes", trouble: stage.NotOK("fatal_error")},
			{name: "200 with ok: false that stays", trouble: stage.NotOK("is_archived"), permanent: true, only: "Slack"},
			{name: "wrong content type", trouble: echo(stage.WrongType(200))},
			{name: "401", trouble: echo(stage.Failing(401)), permanent: true},
			{name: "422", trouble: echo(stage.Failing(422)), permanent: true},
			{name: "accepted and not carried out", trouble: stage.Unsuccessful("the team is over its limit"), only: "OpsGenie"},
			{name: "an answer that gets lost", trouble: stage.Trouble{Reset: true, Late: true}, late: true},
		} {
			if k.only != "" && k.only != s.name {
				continue
			}
			for _, once := range []bool{true, false} {
				if k.late && !once {
					continue // it would be told again and again
				}
				name, slow := "once", false
				if !once {
					name, slow = "for good", !k.permanent
				}
				t := cell{
					kind: s.name + " " + k.name, name: s.name + ": " + k.name + ", " + name, condition: s.condition, slow: slow, want: s.condition.course(),
					repeats: k.late,
					arrange: func(sh *shot) error { return sh.trouble(s.of(sh.w), oneOrAll(k.trouble, once)) },
				}
				// After a 401 the secret is read again, and may be another one. A pager is
				// asked once more where it is the only one.
				if !once || k.permanent && k.trouble.Status != 401 && s.name == "Slack" {
					t.want = s.loss.then(t.want)
				}
				all = append(all, t)
			}
		}
	}
	both := verdict{reboots: 1, told: nobody, ends: []string{"Nobody was told"}, fails: true}
	for _, c := range []condition{curable, dead} {
		all = append(all, cell{
			kind: "Slack and OpsGenie", name: fmt.Sprintf("Slack and OpsGenie are down: %s", c.course().ends[0]), condition: c, slow: true, want: both,
			arrange: func(s *shot) error {
				return firstError(s.trouble(s.w.Slack, echo(stage.Failing(503))), s.trouble(s.w.Pager, echo(stage.Failing(503))))
			},
		})
	}
	return all
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// instanceCells are instances that hang in every phase, and ones that flap.
func instanceCells() []cell {
	// What hangs does so however long it is waited for.
	hasty := map[string]any{"url": map[string]any{"timeout_seconds": 0.5, "attempts": 1}, "ssh": map[string]any{"timeout_seconds": 0.5, "attempts": 1}}
	var all []cell
	for _, p := range []struct {
		name string
		set  func(*stage.Instance) error
	}{
		{"hangs in TCP accept, HTTP", func(i *stage.Instance) error { return i.SetHTTP(stage.HangAccept) }},
		{"hangs before the HTTP header", func(i *stage.Instance) error { return i.SetHTTP(stage.Hang) }},
		{"hangs in the HTTP header", func(i *stage.Instance) error { return i.SetHTTP(stage.HangHeader) }},
		{"hangs in the HTTP body", func(i *stage.Instance) error { return i.SetHTTP(stage.HangBody) }},
		{"hangs in TCP accept, SSH", func(i *stage.Instance) error { return i.SetSSH(stage.HangAccept) }},
		{"hangs before the SSH banner", func(i *stage.Instance) error { return i.SetSSH(stage.Hang) }},
		{"hangs in the SSH banner", func(i *stage.Instance) error { return i.SetSSH(stage.HangBanner) }},
		{"hangs in the SSH key exchange", func(i *stage.Instance) error { return i.SetSSH(stage.HangKeyExchange) }},
		{"answers 503", func(i *stage.Instance) error { return i.SetHTTP(stage.Broken) }},
		{"answers SSH with something else", func(i *stage.Instance) error { return i.SetSSH(stage.Broken) }},
		{"refuses SSH", func(i *stage.Instance) error { return i.SetSSH(stage.Refuse) }},
	} {
		for _, cured := range []bool{true, false} {
			c, name := dead, "for good"
			if cured {
				c, name = curable, "until it is rebooted"
			}
			all = append(all, cell{
				kind: "an instance that " + p.name, name: "an instance that " + p.name + " " + name, condition: well, settings: hasty, want: c.course(),
				arrange: func(s *shot) error {
					if cured {
						s.i.OnReboot(stage.CuredBy(0))
					}
					return p.set(s.i)
				},
			})
		}
	}
	return append(
		all,
		cell{
			kind: "an instance that flaps", name: "an instance that refuses every other connection", condition: well, want: well.course(),
			arrange: func(s *shot) error { return s.i.SetHTTP(stage.Refuse, stage.Healthy) },
		},
		cell{
			kind: "an instance that flaps", name: "an instance that answers every other look after its reboot", condition: well, want: dead.course(),
			settings: map[string]any{"url": map[string]any{"attempts": 1}, "boot": map[string]any{"window_seconds": 6}},
			arrange: func(s *shot) error {
				s.i.OnReboot(func(i *stage.Instance) { _ = i.SetHTTP(stage.Healthy, stage.Refuse) })
				return s.i.SetHTTP(stage.Refuse)
			},
		},
	)
}

// eventCells are events that come twice, late, in the wrong order, or not at
// all.
func eventCells() []cell {
	var all []cell
	for _, c := range []condition{well, curable, dead} {
		for _, n := range []int{2, 5} {
			want := c.course()
			want.handled = n - 1
			all = append(all, cell{
				kind: "an event at the same moment", name: fmt.Sprintf("an event %d times at the same moment: %s", n, c.course().ends[0]), condition: c, want: want,
				ring: func(ctx context.Context, s *shot) ([]string, error) {
					return s.atOnce(ctx, slices.Repeat([][]byte{eventOf("aws.cloudwatch", plain, s.i, time.Now())}, n)...)
				},
			})
		}
		want := c.course()
		want.handled = 1
		again := func(first, second time.Duration) func(context.Context, *shot) ([]string, error) {
			return func(ctx context.Context, s *shot) ([]string, error) {
				now := time.Now()
				arns, err := s.atOnce(ctx, eventOf("aws.cloudwatch", plain, s.i, now.Add(first)))
				if err != nil {
					return nil, err
				}
				if err := s.m.until(ctx, s.i.Region, arns[0]); err != nil {
					return nil, err
				}
				later, err := s.atOnce(ctx, eventOf("aws.cloudwatch", plain, s.i, now.Add(second)))
				return append(arns, later...), err
			}
		}
		all = append(all,
			cell{kind: "an event again later", name: "an event again when all is over: " + c.course().ends[0], condition: c, want: want, ring: again(0, 0)},
			cell{kind: "an event again later", name: "an earlier event when all is over: " + c.course().ends[0], condition: c, want: want, ring: again(0, -time.Minute)},
		)
	}
	// Of whichever execution has the lease it cannot be found out whether it is over:
	// then it is not.
	for _, m := range modes {
		want := curable.course()
		want.handled = 1
		all = append(all, cell{
			kind: "an event at the same moment", name: "open states:DescribeExecution, the other execution: " + m.name, condition: curable, want: want,
			arrange: func(s *shot) error {
				f := localaws.Fault{Service: "states", Action: "DescribeExecution", During: []string{`"step":"open"`, s.i.ID}}
				m.set(&f)
				s.breakCalls(f)
				return nil
			},
			ring: func(ctx context.Context, s *shot) ([]string, error) {
				return s.atOnce(ctx, slices.Repeat([][]byte{eventOf("aws.cloudwatch", plain, s.i, time.Now())}, 2)...)
			},
		})
	}
	// EventBridge cannot start the execution.
	for _, m := range modes {
		if m.name == "hangs" || m.name == "garbage" {
			continue // EventBridge's own affair
		}
		want := verdict{buried: true}
		if m.heals {
			want = curable.course()
		}
		all = append(all, cell{
			kind: "EventBridge " + m.name, name: "EventBridge states:StartExecution: " + m.name, condition: curable, want: want,
			arrange: func(s *shot) error {
				f := localaws.Fault{Service: "states", Action: "StartExecution", Contains: s.i.ID}
				m.set(&f)
				s.breakCalls(f)
				return nil
			},
		})
	}
	return all
}

// cells is the whole matrix, but for the storm and the sweeps.
func cells() []cell {
	return slices.Concat(callCells(), lambdaCells(), killCells(), messageCells(), instanceCells(), eventCells(), watchCells(), allClearCells())
}

// sample picks one cell of each kind: among those that are not slow, where there
// are such, always the same one, and of different kinds different ones. A Lambda
// that hangs is left out, since it takes a Task's whole time-out, and so is one that
// is throttled for good, since it takes all of its retries: two minutes.
func sample(all []cell) []cell {
	kinds := map[string][]cell{}
	var order []string
	for _, t := range all {
		if t.kind == "Lambda hangs" || t.kind == "Lambda throttled for good" {
			continue
		}
		if kinds[t.kind] == nil {
			order = append(order, t.kind)
		}
		kinds[t.kind] = append(kinds[t.kind], t)
	}
	var some []cell
	for n, kind := range order {
		of := kinds[kind]
		if quick := slices.DeleteFunc(slices.Clone(of), func(t cell) bool { return t.slow }); len(quick) > 0 {
			of = quick
		}
		some = append(some, of[(7*n+6)%len(of)])
	}
	return some
}
