package test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/gruntwork-io/terratest/modules/logger"
	"github.com/gruntwork-io/terratest/modules/terraform"

	"firstline/internal/deployed"
	"firstline/internal/localaws"
	"firstline/internal/stage"
	"firstline/internal/timeline"
)

const (
	home  = "eu-west-1"
	other = "us-east-1"
	// plain is the deployment of most stories: one pager, and no watch after a page.
	// chain is one with all pagers, and with a watch.
	plain = "firstline"
	chain = "chain"
	// longEnough bounds a story: the longest goes through every retry of the
	// pager and then of Slack.
	longEnough = 15 * time.Minute
)

// scene is what a story plays on.
type scene struct {
	*stage.World
	t *testing.T
	i *stage.Instance
	// deployment is the name of the one that watches the instance; empty: plain.
	deployment string
	// healthCheck is the id of the instance's health check, if it has one.
	healthCheck string
	// rang is when the instance's alarm rang last.
	rang time.Time
	// faults are those that the story asked for: each must have struck.
	faults []*localaws.Injected
	// slackDown, pagerDown and jsmDown break a service for this instance alone.
	slackDown, pagerDown, jsmDown func()
	// topic is the ARN of the deployment's topic, if it has one.
	topic string
}

// name is the name of the deployment that watches the instance.
func (s *scene) name() string { return cmp.Or(s.deployment, plain) }

// alarm is the name of the instance's alarm.
func (s *scene) alarm() string { return s.name() + "-cpu-" + s.i.ID }

// breakCalls adds a fault that must strike before the story ends.
func (s *scene) breakCalls(f localaws.Fault) { s.faults = append(s.faults, s.AWS.AddFault(f)) }

// story is one incident from the ringing alarm to its end.
type story struct {
	name   string
	region string // home unless told otherwise
	// settings override the instance's.
	settings map[string]any
	// healthCheck gives the instance a health check.
	healthCheck bool
	// address gives its URL check an explicit address, so that only the SSH
	// check asks EC2 for one.
	address bool
	set     func(*scene)
	// dry stories are rehearsed: no alarm rings, an event of a canary enters.
	dry bool
	// unlearned leaves the instance without a baseline.
	unlearned bool
	// chained stories are of the deployment with all pagers.
	chained bool
	// act plays a story of more than one incident, in place of set and of all
	// that must come of it.
	act func(*testing.T, *scene, *started)
	// slow stories go through every retry: minutes, of which nearly all is
	// waiting.
	slow bool
	// What must come of it: the name of the last state, how often EC2 was
	// asked to reboot, and how many messages speak of this instance.
	end                   string
	reboots, slack, pages int
	// silent are those of the pages that Slack does not hear of.
	silent int
	// suppressed are the actions that a dry incident left undone.
	suppressed []string
	// says must stand in the message.
	says []string
}

func deny(service, action, id string) localaws.Fault {
	return localaws.Fault{Service: service, Action: action, Contains: id, Status: 403, Code: "AccessDenied", Message: "not authorized"}
}

// reports returns health checks' observations: n of 8 checkers are content.
func reports(n int) []localaws.Observation {
	all := make([]localaws.Observation, 8)
	for k := range all {
		all[k].Status = "Failure: Connection timed out."
		if k < n {
			all[k].Status = "Success: HTTP Status Code 200, OK"
		}
	}
	return all
}

func stories() []story {
	return slices.Concat(realStories(), dryStories(), guardStories(), alertStories(), chainStories())
}

func realStories() []story {
	const silently, recovered, paged = "All good", "Recovered", "Paged"
	pinned := map[string]any{"ssh": map[string]any{"host_key_fingerprint": "SHA256:" + strings.Repeat("A", 43)}}
	return []story{
		{name: "all well", healthCheck: true, set: func(*scene) {}, end: silently},

		{name: "URL refused in run 1", set: func(s *scene) {
			_ = s.i.SetHTTP(stage.Refuse)
			s.i.OnReboot(stage.CuredBy(time.Second))
		}, end: recovered, reboots: 1, slack: 1, says: []string{"refused", "Reachable since"}},
		{name: "URL answers 503 in run 1", set: func(s *scene) {
			_ = s.i.SetHTTP(stage.Broken)
			s.i.OnReboot(stage.CuredBy(time.Second))
		}, end: recovered, reboots: 1, slack: 1, says: []string{"503"}},
		{name: "Route 53 fails in run 1", healthCheck: true, set: func(s *scene) {
			s.AWS.SetHealthCheckFunc(s.healthCheck, func() []localaws.Observation { return reports(8 * min(s.i.Reboots(), 1)) })
		}, end: recovered, reboots: 1, slack: 1, says: []string{"checkers"}},
		{name: "SSH hangs in run 1", set: func(s *scene) {
			_ = s.i.SetSSH(stage.Hang)
			s.i.OnReboot(stage.CuredBy(time.Second))
		}, end: recovered, reboots: 1, slack: 1, says: []string{"SSH"}},
		{name: "recovery in the middle of the boot window", set: func(s *scene) {
			_ = s.i.SetHTTP(stage.Hang)
			s.i.OnReboot(stage.CuredBy(6 * time.Second))
		}, end: recovered, reboots: 1, slack: 1},

		{
			name: "URL fails in run 2", set: func(s *scene) { _ = s.i.SetHTTP(stage.Refuse) },
			end: paged, reboots: 1, pages: 1, says: []string{"down after a reboot", "refused"},
		},
		{
			name: "Route 53 fails in run 2", healthCheck: true, set: func(s *scene) { s.AWS.SetHealthCheck(s.healthCheck, reports(1)...) },
			end: paged, reboots: 1, pages: 1, says: []string{"down after a reboot", "checkers"},
		},
		{
			name: "SSH fails in run 2", set: func(s *scene) { _ = s.i.SetSSH(stage.Broken) },
			end: paged, reboots: 1, pages: 1, says: []string{"down after a reboot", "SSH"},
		},
		{name: "another check fails in run 2", set: func(s *scene) {
			_ = s.i.SetHTTP(stage.Refuse)
			s.i.OnReboot(func(i *stage.Instance) { _ = i.SetHTTP(stage.Healthy); _ = i.SetSSH(stage.Refuse) })
		}, end: paged, reboots: 1, pages: 1, says: []string{"down after a reboot"}},

		{
			name: "denied at the URL check", set: func(s *scene) { s.breakCalls(deny("ec2", "DescribeInstances", s.i.ID)) },
			end: paged, pages: 1, says: []string{"Denied", "could not be checked"},
		},
		{name: "throttled for good at the URL check", slow: true, set: func(s *scene) {
			s.breakCalls(localaws.Fault{Service: "ec2", Action: "DescribeInstances", Contains: s.i.ID, Status: 503, Code: "RequestLimitExceeded"})
		}, end: paged, pages: 1, says: []string{"Unavailable"}},
		{name: "throttled for a moment at the URL check", set: func(s *scene) {
			s.breakCalls(localaws.Fault{Service: "ec2", Action: "DescribeInstances", Contains: s.i.ID, Status: 503, Code: "RequestLimitExceeded", Times: 4})
		}, end: silently},
		{
			name: "no address at the URL check", set: func(s *scene) { s.AWS.SetPublicAddress(s.i.ID, "") },
			end: paged, pages: 1, says: []string{"no public IPv4 address"},
		},
		{name: "the instance is stopped", set: func(s *scene) {
			_, err := ec2.NewFromConfig(s.AWS.Config(home)).StopInstances(s.t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{s.i.ID}})
			if err != nil {
				s.t.Fatal(err)
			}
		}, end: paged, pages: 1, says: []string{"stopped"}},
		{name: "denied at the Route 53 check", healthCheck: true, set: func(s *scene) {
			s.breakCalls(deny("route53", "GetHealthCheckStatus", s.healthCheck))
		}, end: paged, pages: 1, says: []string{"Denied"}},
		{
			name: "no observations at the Route 53 check", slow: true, healthCheck: true, set: func(s *scene) { s.AWS.SetHealthCheck(s.healthCheck) },
			end: paged, pages: 1, says: []string{"Unavailable"},
		},
		{
			name: "an unknown health check", settings: map[string]any{"route53": map[string]any{"health_check_id": "00000000-0000-4000-8000-00000000dead"}},
			set: func(*scene) {}, end: paged, pages: 1, says: []string{"InvalidInput"},
		},
		{
			name: "another host key at the SSH check", settings: pinned, set: func(*scene) {},
			end: paged, pages: 1, says: []string{"InvalidInput", "SHA256:"},
		},
		{
			name: "denied at the SSH check", address: true, set: func(s *scene) { s.breakCalls(deny("ec2", "DescribeInstances", s.i.ID)) },
			end: paged, pages: 1, says: []string{"Denied", "SSH"},
		},
		{name: "throttled for good at the SSH check", slow: true, address: true, set: func(s *scene) {
			s.breakCalls(localaws.Fault{Service: "ec2", Action: "DescribeInstances", Contains: s.i.ID, Status: 503, Code: "RequestLimitExceeded"})
		}, end: paged, pages: 1, says: []string{"Unavailable", "SSH"}},
		{name: "Lambda throttles every step for a moment", set: func(s *scene) {
			s.breakCalls(localaws.Fault{Service: "lambda", Action: "Invoke", Contains: s.i.ID, Status: 429, Code: "TooManyRequestsException", Times: 3})
		}, end: silently},
		{name: "the function is killed before it reboots", region: other, set: func(s *scene) {
			_ = s.i.SetHTTP(stage.Refuse)
			s.breakCalls(localaws.Fault{Service: "ec2", Action: "RebootInstances", During: []string{`"step":"reboot"`, s.i.ID}, Kill: localaws.KillBefore, Code: "Sandbox.Timedout", Times: 1})
		}, end: paged, pages: 1, says: []string{"unknown"}},
		{name: "the function is killed after it rebooted", region: other, set: func(s *scene) {
			_ = s.i.SetHTTP(stage.Refuse)
			s.i.OnReboot(stage.CuredBy(time.Second))
			s.breakCalls(localaws.Fault{Service: "ec2", Action: "RebootInstances", During: []string{`"step":"reboot"`, s.i.ID}, Kill: localaws.KillAfter, Times: 1})
		}, end: recovered, reboots: 1, slack: 1, says: []string{"unknown"}},
		{name: "the function is killed while it pages", region: other, set: func(s *scene) {
			s.AWS.SetPublicAddress(s.i.ID, "")
			s.breakCalls(localaws.Fault{Service: "lambda", Action: "Invoke", Region: other, Contains: `"step": "opsgenie"`, Code: "Runtime.ExitError", Times: 1})
		}, end: paged, pages: 1},
		{name: "the function is killed at a check and then is not", region: other, set: func(s *scene) {
			s.breakCalls(localaws.Fault{Service: "lambda", Action: "Invoke", Region: other, Contains: s.i.ID, Code: "Runtime.ExitError", Times: 1})
		}, end: silently},

		{name: "the reboot is denied", set: func(s *scene) {
			_ = s.i.SetHTTP(stage.Refuse)
			s.breakCalls(deny("ec2", "RebootInstances", s.i.ID))
		}, end: paged, pages: 1, says: []string{"Denied", "refused"}},
		{name: "the reboot's answer gets lost", set: func(s *scene) {
			_ = s.i.SetHTTP(stage.Refuse)
			s.i.OnReboot(stage.CuredBy(time.Second))
			s.breakCalls(localaws.Fault{Service: "ec2", Action: "RebootInstances", Contains: s.i.ID, Drop: localaws.DropAnswer})
		}, end: recovered, reboots: 1, slack: 1, says: []string{"unknown"}},

		{name: "Slack is down", slow: true, settings: map[string]any{"boot": map[string]any{"window_seconds": 60}}, set: func(s *scene) {
			_ = s.i.SetHTTP(stage.Refuse)
			s.i.OnReboot(stage.CuredBy(time.Second))
			s.slackDown()
		}, end: paged, reboots: 1, pages: 1, silent: 1, says: []string{"recovered", "Slack"}},
		{
			name: "OpsGenie is down", slow: true, set: func(s *scene) { _ = s.i.SetSSH(stage.Refuse); s.pagerDown() },
			end: "Page failed", reboots: 1, slack: 1, says: []string{"Nobody was paged"},
		},
		{
			name: "Slack and OpsGenie are down", slow: true, set: func(s *scene) { _ = s.i.SetSSH(stage.Refuse); s.slackDown(); s.pagerDown() },
			end: "Nobody was told", reboots: 1,
		},
	}
}

// down is the set of instances for which a service is down.
type down struct {
	mu  sync.Mutex
	ids []string
}

func (d *down) add(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids = append(d.ids, id)
}

func (d *down) picks(body string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.ids, func(id string) bool { return strings.Contains(body, id) })
}

// TestStories deploys the root to a local AWS and plays the stories against it,
// many at the same time, then looks at what the deployment left behind.
func TestStories(t *testing.T) {
	w := world(t)
	var slackDown, pagerDown, jsmDown down
	w.Slack.FailWhen(slackDown.picks)
	w.Pager.FailWhen(pagerDown.picks)
	w.JSM.FailWhen(jsmDown.picks)

	all := stories()
	scenes := make([]*scene, len(all))
	overrides := map[string]map[string]any{}
	instances, learned := map[string][]*stage.Instance{}, map[string][]*stage.Instance{}
	for n, s := range all {
		region := s.region
		if region == "" {
			region = home
		}
		i, err := w.AddInstance(t.Context(), region)
		if err != nil {
			t.Fatal(err)
		}
		scenes[n] = &scene{
			World: w, i: i, deployment: plain,
			slackDown: func() { slackDown.add(i.ID) }, pagerDown: func() { pagerDown.add(i.ID) }, jsmDown: func() { jsmDown.add(i.ID) },
		}
		if s.chained {
			scenes[n].deployment = chain
		}
		overrides[i.ID] = s.settings
		if s.healthCheck {
			id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", n+1)
			w.AWS.SetHealthCheck(id, reports(8)...)
			scenes[n].healthCheck = id
			overrides[i.ID] = map[string]any{"route53": map[string]any{"health_check_id": id, "attempts": 1}}
		}
		if s.address {
			overrides[i.ID] = map[string]any{"url": map[string]any{"address": fmt.Sprintf("http://%s:%d/healthz", i.Address, stage.HTTPPort)}}
		}
		of := scenes[n].deployment
		instances[of] = append(instances[of], i)
		if !s.unlearned {
			learned[of] = append(learned[of], i)
		}
	}
	// What they do concerns a whole region, so their stories are played alone.
	var keyless, standing, watched, spare *stage.Instance
	for _, i := range []**stage.Instance{&keyless, &standing, &watched, &spare} {
		region, of := other, plain
		if i == &spare {
			region, of = home, chain
		}
		var err error
		if *i, err = w.AddInstance(t.Context(), region); err != nil {
			t.Fatal(err)
		}
		instances[of], learned[of] = append(instances[of], *i), append(learned[of], *i)
	}
	variables := map[string]map[string]any{plain: w.Variables(overrides, instances[plain]...), chain: w.Variables(overrides, instances[chain]...)}
	variables[chain]["name"] = chain
	w.UsePagers(variables[chain], "opsgenie", "jsm", "sns")
	w.WatchAfterPages(variables[chain], watchEvery, watchFor)
	dirs := map[string]string{}
	for name, v := range variables {
		dir, err := w.CopyRoot(v)
		if err != nil {
			t.Fatal(err)
		}
		dirs[name] = dir
	}
	each := func(do func(dir string) error) {
		t.Helper()
		errs := make(chan error)
		for _, dir := range dirs {
			go func() { errs <- do(dir) }()
		}
		if err := errors.Join(<-errs, <-errs); err != nil {
			t.Fatal(err)
		}
	}
	each(func(dir string) error { return apply(t.Context(), w, dir) })
	dir := dirs[plain]

	for name, dir := range dirs {
		t.Run("the plan after it is empty: "+name, func(t *testing.T) {
			if code := terraform.PlanExitCodeContext(t, t.Context(), terraformOptions(w, dir)); code != 0 {
				t.Errorf("terraform plan -detailed-exitcode: %d, want 0", code)
			}
		})
	}
	regions, err := deployed.Decode(map[string]json.RawMessage{home: json.RawMessage(terraform.OutputJSONContext(t, t.Context(), terraformOptions(w, dirs[chain]), home))})
	if err != nil || regions[home].AlarmTopicARN == nil {
		t.Fatalf("what is deployed with all pagers: %+v, %v", regions, err)
	}
	topic := *regions[home].AlarmTopicARN
	for name, of := range learned {
		learn(t, w, name, of...)
	}
	for _, s := range scenes {
		if s.deployment == chain {
			s.topic = topic
		}
	}
	executions := &started{}
	t.Run("story", func(t *testing.T) {
		for n, s := range all {
			if !s.slow {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					s.play(t, scenes[n], executions)
				})
			}
		}
		t.Run("an instance without settings", func(t *testing.T) {
			t.Parallel()
			playUnknownInstance(t, w, executions)
		})
		t.Run("a dry instance without settings", func(t *testing.T) {
			t.Parallel()
			rehearseUnknownInstance(t, w, executions)
		})
	})
	t.Run("a dry incident without the pager's key", func(t *testing.T) { rehearseWithoutKey(t, w, keyless, executions) })
	t.Run("a region that is paused", func(t *testing.T) { playPausedRegion(t, w, dir, keyless, executions) })
	t.Run("alarms that stay", func(t *testing.T) { playStandingAlarms(t, w, standing, watched, executions) })
	t.Run("incidents", func(t *testing.T) { playCommands(t, w, dir, standing) })
	t.Run("a test of all channels", func(t *testing.T) { playNotifyTest(t, w, dirs[chain], topic) })
	t.Run("a fallback pager without its key", func(t *testing.T) {
		playWithoutFallbackKey(t, &scene{World: w, t: t, i: spare, deployment: chain, topic: topic}, dirs[chain], regions[home], executions)
	})
	t.Run("the alarms of what went wrong", func(t *testing.T) { alarmsOfFailures(t, w) })
	// From here on the machine has little to do, and the tests of the root may
	// go on meanwhile.
	t.Parallel()
	t.Run("slow story", func(t *testing.T) {
		for n, s := range all {
			if s.slow {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					s.play(t, scenes[n], executions)
				})
			}
		}
	})
	t.Run("every call was allowed and every right was used", func(t *testing.T) { auditRights(t, w) })
	t.Run("no secret is anywhere", func(t *testing.T) { auditSecrets(t, w, slices.Collect(maps.Values(dirs)), topic, executions) })
	t.Run("destroy leaves nothing", func(t *testing.T) {
		each(func(dir string) error { return destroy(t.Context(), w, dir) })
		auditEmpty(t, w, home, other)
	})
}

// world starts a local AWS of the test's own.
func world(t *testing.T) *stage.World {
	t.Helper()
	w, err := stage.New(t.Context(), stage.Options{Root: root(t), Log: testLog{t}, WaitPace: waitPace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// waitPace makes seconds of the minutes that the all-clear's machine waits.
const waitPace = 60

func terraformOptions(w *stage.World, dir string) *terraform.Options {
	return &terraform.Options{
		TerraformDir: dir, TerraformBinary: w.Terraform, EnvVars: w.Environment(),
		NoColor: true, Parallelism: 40, Logger: logger.Discard,
	}
}

// testLog writes progress into a test's log.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// started remembers the executions of a test.
type started struct {
	mu  sync.Mutex
	all map[string]string // ARN to region
}

func (s *started) add(arn, region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]string{}
	}
	s.all[arn] = region
}

// play rings the instance's alarm and asserts what comes of it.
func (s story) play(t *testing.T, sc *scene, executions *started) {
	sc.t = t
	if s.act != nil {
		s.act(t, sc, executions)
		sc.struck(t)
		return
	}
	s.set(sc)
	var e ending
	if s.dry {
		e = rehearse(t, sc.World, sc.name(), sc.i.Region, sc.i.ID, executions)
		s.checkDry(t, sc, e)
	} else {
		e = sc.ring(t, executions)
	}
	sc.struck(t)
	says := s.says
	if s.dry {
		says = nil // there is no message
	}
	sc.expect(t, e, s.end, tally{reboots: s.reboots, slack: s.slack, pages: s.pages, silent: s.silent}, says...)
}

// ring rings the instance's alarm.
func (s *scene) ring(t *testing.T, executions *started) ending {
	t.Helper()
	s.nextSecond()
	return ring(t, s.World, s.i.Region, s.alarm(), executions)
}

// nextSecond waits until this second is not that of the instance's last ring: an
// event tells whole seconds, and another one of the same second is taken for the
// same delivered twice.
func (s *scene) nextSecond() {
	if wait := time.Until(s.rang.Truncate(time.Second).Add(time.Second)); wait > 0 {
		time.Sleep(wait)
	}
	s.rang = time.Now()
}

// struck asserts that every fault of the story broke a call.
func (s *scene) struck(t *testing.T) {
	t.Helper()
	for n, f := range s.faults {
		if f.Hits() == 0 {
			t.Errorf("fault %d of the story never struck", n+1)
		}
	}
}

// tally is what has come of an instance so far: how often EC2 was asked to
// reboot it, and who was told what of it.
type tally struct {
	reboots int
	// slack are messages of incidents of which nobody was paged. A page has one too,
	// the first of its thread, but for those that are silent.
	slack, silent int
	// pages are alerts of their own.
	pages int
	// repeats were added to an alert that was open, and clears are all-clears: each
	// is a reply in the page's thread.
	repeats, clears int
	// replaced are alerts that firstline closed since another one took their place.
	replaced int
}

// expect asserts how an incident ended, what has come of its instance up to now,
// and what the latest message says.
func (s *scene) expect(t *testing.T, e ending, end string, want tally, says ...string) {
	t.Helper()
	if e.last != end {
		t.Errorf("ended in %q (%s), want %q", e.last, e.status, end)
	}
	s.tally(t, want)
	pages, slack := s.alerts(), s.Slack.Received(s.i.ID)
	generation, notes := 0, slices.Concat(s.Pager.Received(s.i.ID), s.JSM.Received(s.i.ID))
	for _, m := range pages {
		// Good news has an alias of its own, whatever is open.
		if generation++; m.Alias != s.alias(generation) && (want.silent == 0 || m.Alias != s.alias(1)+"/"+e.name) {
			t.Errorf("alias %q, want %q", m.Alias, s.alias(generation))
		}
	}
	notes = slices.DeleteFunc(notes, func(m stage.Received) bool { return !m.Note })
	about := 0
	for _, m := range slices.Concat(slack, pages, notes) {
		if !strings.Contains(m.Body, e.name) {
			continue // an earlier incident's
		}
		about++
		for _, want := range append([]string{s.i.Region, localaws.AccountID, s.alarm(), "executions/details", "firstline incident " + e.name}, says...) {
			if !strings.Contains(m.Text+m.Body, want) {
				t.Errorf("the message does not say %q:\n%s", want, m.Text)
			}
		}
	}
	if len(says) > 0 && about == 0 {
		t.Errorf("nobody was told that %q", says)
	}
	if t.Failed() {
		t.Logf("timeline:\n%s", strings.Join(e.lines, "\n"))
	}
}

// tally asserts what has come of the instance up to now.
func (s *scene) tally(t *testing.T, want tally) {
	t.Helper()
	roots, replies := 0, 0
	for _, m := range s.Slack.Received(s.i.ID) {
		if m.ThreadTS == "" {
			roots++
		} else {
			replies++
		}
	}
	got := tally{pages: len(s.alerts()), clears: want.clears, silent: want.silent}
	got.slack = roots - (got.pages - want.silent)
	for _, r := range s.AWS.Reboots() {
		if r.InstanceID == s.i.ID {
			got.reboots++
		}
	}
	closed := len(s.published(true))
	for _, p := range []*stage.Service{s.Pager, s.JSM} {
		for _, m := range p.Received(s.i.ID) {
			if m.Note {
				got.repeats++
			}
		}
		for _, m := range p.Closings("") {
			if m.User != stage.Person && strings.Contains(m.Body, s.i.ID) {
				closed++
			}
		}
	}
	got.replaced = closed - want.clears
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if replies != want.repeats+want.clears {
		t.Errorf("%d replies in Slack, want %d", replies, want.repeats+want.clears)
	}
}

// alerts are the pages about the instance, without the notes on them: at Jira
// Service Management one for each alias, since it is told twice where it does not
// tell whether an alert is open.
func (s *scene) alerts() []stage.Received {
	var all []stage.Received
	for _, m := range s.Pager.Received(s.i.ID) {
		if !m.Note {
			all = append(all, m)
		}
	}
	for _, m := range s.JSM.Received(s.i.ID) {
		if !m.Note && !slices.ContainsFunc(all, func(o stage.Received) bool { return o.Alias == m.Alias }) {
			all = append(all, m)
		}
	}
	for _, n := range s.published(false) {
		// A topic knows no aliases.
		all = append(all, stage.Received{At: n.At, Text: n.Subject + "\n" + n.Message, Body: n.Message, Alias: s.alias(len(all) + 1)})
	}
	return all
}

// published are the messages about the instance that went to the deployment's
// topic: pages, or all-clears.
func (s *scene) published(clears bool) []localaws.Notification {
	if s.topic == "" {
		return nil
	}
	return slices.DeleteFunc(s.Published(s.topic), func(n localaws.Notification) bool {
		return !strings.Contains(n.Message, s.i.ID) || strings.Contains(n.Message, allClear) != clears
	})
}

// alias is the alias of the nth page about the instance.
func (s *scene) alias(n int) string {
	alias := s.name() + "/" + localaws.AccountID + "/" + s.i.Region + "/" + s.i.ID
	if n > 1 {
		alias += fmt.Sprintf("/%d", n)
	}
	return alias
}

// ending is how an execution ended.
type ending struct {
	name   string
	status sfntypes.ExecutionStatus
	// last is the name of the last state, state what it was entered with.
	last, state string
	// path are the states that it went through, entered when it first came to each.
	path    []string
	entered map[string]time.Time
	took    time.Duration
	lines   []string
}

// ring rings an alarm and waits for the end of the one execution it starts.
func ring(t *testing.T, w *stage.World, region, alarm string, executions *started) ending {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	return follow(ctx, t, w, region, rung(ctx, t, w, region, alarm), executions)
}

// rung rings an alarm and returns the one execution that it starts.
func rung(ctx context.Context, t *testing.T, w *stage.World, region, alarm string) (arn string) {
	t.Helper()
	arns, err := w.AWS.Ring(ctx, region, alarm, "Threshold Crossed")
	if err != nil {
		t.Fatal(err)
	}
	if len(arns) != 1 {
		t.Fatalf("the alarm started %d executions, want 1", len(arns))
	}
	return arns[0]
}

// follow waits for the end of an execution.
func follow(ctx context.Context, t *testing.T, w *stage.World, region, arn string, executions *started) (e ending) {
	t.Helper()
	executions.add(arn, region)
	e.entered = map[string]time.Time{}
	client := sfn.NewFromConfig(w.AWS.Config(region))
	end, err := timeline.Follow(ctx, client, arn, func(l timeline.Line) {
		e.lines = append(e.lines, fmt.Sprintf("%7.1fs %-24s %s", l.After.Seconds(), l.State, l.Text))
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(e.lines, "\n"))
	}
	e.name, e.status, e.took = aws.ToString(end.Name), end.Status, aws.ToTime(end.StopDate).Sub(aws.ToTime(end.StartDate))
	history := sfn.NewGetExecutionHistoryPaginator(client, &sfn.GetExecutionHistoryInput{ExecutionArn: &arn, MaxResults: 1000})
	var events []sfntypes.HistoryEvent
	for history.HasMorePages() {
		page, err := history.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, page.Events...)
	}
	for _, h := range events {
		if entered := h.StateEnteredEventDetails; entered != nil {
			e.last, e.state = aws.ToString(entered.Name), aws.ToString(entered.Input)
			e.path = append(e.path, e.last)
			if e.entered[e.last].IsZero() {
				e.entered[e.last] = aws.ToTime(h.Timestamp)
			}
		}
	}
	if want := slices.Contains([]string{"Page failed", "Paged another way", "Nobody was told", "Not closed", "Alert unknown", "All-clear not given"}, e.last); want != (e.status == sfntypes.ExecutionStatusFailed) {
		t.Errorf("an execution that ends in %q is %s", e.last, e.status)
	}
	return e
}

// playUnknownInstance rings an alarm of ours for an instance that has no
// settings: no incident can be opened, and somebody must hear of it.
func playUnknownInstance(t *testing.T, w *stage.World, executions *started) {
	const id = "i-0ffffffffffffffff"
	name := plain + "-cpu-" + id
	_, err := cloudwatch.NewFromConfig(w.AWS.Config(home)).PutMetricAlarm(t.Context(), &cloudwatch.PutMetricAlarmInput{
		AlarmName: &name, Namespace: aws.String("AWS/EC2"), MetricName: aws.String("CPUUtilization"),
		Dimensions: []cwtypes.Dimension{{Name: aws.String("InstanceId"), Value: aws.String(id)}},
		Period:     aws.Int32(300), EvaluationPeriods: aws.Int32(1), Threshold: aws.Float64(100),
		Statistic: cwtypes.StatisticMaximum, ComparisonOperator: cwtypes.ComparisonOperatorGreaterThanOrEqualToThreshold,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_, err := cloudwatch.NewFromConfig(w.AWS.Config(home)).DeleteAlarms(context.WithoutCancel(t.Context()), &cloudwatch.DeleteAlarmsInput{AlarmNames: []string{name}})
		if err != nil {
			t.Error(err)
		}
	}()
	if e := ring(t, w, home, name, executions); e.last != "Paged" {
		t.Errorf("ended in %q (%s), want Paged\n%s", e.last, e.status, strings.Join(e.lines, "\n"))
	}
	pages := w.Pager.Received(name)
	if len(pages) != 1 || !strings.Contains(pages[0].Text, "regions.tfvars") {
		t.Errorf("%d pages: %+v", len(pages), pages)
	}
}

// auditSecrets looks for the secrets in all that may not hold them.
func auditSecrets(t *testing.T, w *stage.World, dirs []string, topic string, executions *started) {
	looked := 0
	look := func(where, text string) {
		looked++
		for _, secret := range []string{stage.SlackToken, stage.OpsGenieKey, stage.JSMKey} {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds a secret", where)
			}
		}
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.Contains(path, ".terraform"+string(filepath.Separator)) {
				return err
			}
			text, err := os.ReadFile(path) //nolint:gosec // below a folder of our own
			look(path, string(text))
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	for _, of := range [][2]string{{plain, home}, {plain, other}, {chain, home}} {
		name, region := of[0], of[1]
		logs := w.AWS.Logs(functionARN(name, region))
		if logs == "" {
			t.Errorf("%s in %s: the function logged nothing", name, region)
		}
		look("the log of the function "+name+" in "+region, logs)
		for key, text := range tableTexts(t, w, name, region) {
			look("the item "+key+" of the table "+name+" in "+region, text)
		}
	}
	for arn, region := range executions.all {
		for _, text := range historyTexts(t, w, region, arn) {
			look("the history of "+arn, text)
		}
	}
	for _, m := range slices.Concat(w.Slack.Received(), w.Slack.Updates(), w.Pager.Received(), w.Pager.Closings(""), w.JSM.Received(), w.JSM.Closings("")) {
		look("a message", m.Body)
	}
	published := w.Published(topic)
	for _, n := range published {
		look("a notification", n.Subject+n.Message)
	}
	if len(published) == 0 {
		t.Error("nothing was published")
	}
	if looked < 100 {
		t.Errorf("looked at %d texts only", looked)
	}
}

// functionARN is the ARN of a deployment's function in a region, without a version.
func functionARN(deployment, region string) string {
	return "arn:aws:lambda:" + region + ":" + localaws.AccountID + ":function:" + deployment + "-responder"
}

// historyTexts are the events of an execution, each as text.
func historyTexts(t *testing.T, w *stage.World, region, arn string) []string {
	t.Helper()
	var texts []string
	pages := sfn.NewGetExecutionHistoryPaginator(sfn.NewFromConfig(w.AWS.Config(region)), &sfn.GetExecutionHistoryInput{ExecutionArn: &arn, MaxResults: 1000})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			text, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(text))
		}
	}
	return texts
}

// tableTexts are the items of a deployment's table in a region, each as text, by
// their keys.
func tableTexts(t *testing.T, w *stage.World, deployment, region string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	pages := dynamodb.NewScanPaginator(dynamodb.NewFromConfig(w.AWS.Config(region)), &dynamodb.ScanInput{TableName: aws.String(deployment + "-incidents")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			text, err := json.Marshal(item)
			if err != nil {
				t.Fatal(err)
			}
			pk, _ := item["pk"].(*dynamotypes.AttributeValueMemberS)
			sk, _ := item["sk"].(*dynamotypes.AttributeValueMemberS)
			if pk == nil || sk == nil {
				t.Fatalf("an item without its keys: %s", text)
			}
			texts[pk.Value+"/"+sk.Value] = string(text)
		}
	}
	return texts
}

// auditEmpty asserts that nothing of the deployment is left in these regions.
func auditEmpty(t *testing.T, w *stage.World, regions ...string) {
	t.Helper()
	ctx := t.Context()
	for _, region := range regions {
		config := w.AWS.Config(region)
		left := func(what string, names []string, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			if len(names) > 0 {
				t.Errorf("%s: %s are left: %v", region, what, names)
			}
		}
		machines, err := sfn.NewFromConfig(config).ListStateMachines(ctx, &sfn.ListStateMachinesInput{})
		left("state machines", named(machines.StateMachines, func(m sfntypes.StateMachineListItem) *string { return m.Name }), err)
		alarms, err := cloudwatch.NewFromConfig(config).DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{})
		left("alarms", named(alarms.MetricAlarms, func(a cwtypes.MetricAlarm) *string { return a.AlarmName }), err)
		functions, err := lambda.NewFromConfig(config).ListFunctions(ctx, &lambda.ListFunctionsInput{})
		left("functions", named(functions.Functions, func(f lambdatypes.FunctionConfiguration) *string { return f.FunctionName }), err)
		for _, deployment := range []string{plain, chain} {
			parameters, err := ssm.NewFromConfig(config).GetParametersByPath(ctx, &ssm.GetParametersByPathInput{Path: aws.String("/" + deployment), Recursive: aws.Bool(true)})
			left("parameters", named(parameters.Parameters, func(p ssmtypes.Parameter) *string { return p.Name }), err)
		}
		topics, err := sns.NewFromConfig(config).ListTopics(ctx, &sns.ListTopicsInput{})
		left("topics", named(topics.Topics, func(t snstypes.Topic) *string { return t.TopicArn }), err)
		queues, err := sqs.NewFromConfig(config).ListQueues(ctx, &sqs.ListQueuesInput{})
		left("queues", queues.QueueUrls, err)
		tables, err := dynamodb.NewFromConfig(config).ListTables(ctx, &dynamodb.ListTablesInput{})
		left("tables", tables.TableNames, err)
		dashboards, err := cloudwatch.NewFromConfig(config).ListDashboards(ctx, &cloudwatch.ListDashboardsInput{})
		left("dashboards", named(dashboards.DashboardEntries, func(d cwtypes.DashboardEntry) *string { return d.DashboardName }), err)
		rules, err := eventbridge.NewFromConfig(config).ListRules(ctx, &eventbridge.ListRulesInput{})
		left("rules", named(rules.Rules, func(r ebtypes.Rule) *string { return r.Name }), err)
		buckets, err := s3.NewFromConfig(config, func(o *s3.Options) { o.UsePathStyle = true }).ListBuckets(ctx, &s3.ListBucketsInput{})
		left("buckets", named(buckets.Buckets, func(b s3types.Bucket) *string { return b.Name }), err)
		roles, err := iam.NewFromConfig(config).ListRoles(ctx, &iam.ListRolesInput{})
		left("roles", named(roles.Roles, func(r iamtypes.Role) *string { return r.RoleName }), err)
	}
}

// named returns the names of what a list call answered.
func named[T any](items []T, name func(T) *string) []string {
	var names []string
	for _, i := range items {
		names = append(names, aws.ToString(name(i)))
	}
	return names
}
