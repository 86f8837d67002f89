package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

const (
	testInstance  = "i-0c1cbf2e7abdedf75"
	testExecution = "8c1d3f8e-52b1-4c2e-9f43-0d5b2c7a9e11"
	testAlias     = "firstline/eu-west-1/i-0c1cbf2e7abdedf75/20261122T100403.000Z"
)

func at(clock string) incident.Millis {
	t, err := time.Parse(time.RFC3339, "2026-11-22T"+clock+"Z")
	if err != nil {
		panic(err)
	}
	return incident.At(t)
}

var (
	urlFails = incident.Finding{Look: 3, Check: incident.CheckURL, Outcome: incident.Failed, Reason: "GET http://203.0.113.7/healthz: no connection within 3s", Connection: incident.NoConnection, Attempts: 3, At: at("10:15:01")}
	noRoute  = incident.Finding{Look: 3, Check: incident.CheckRoute53, Outcome: incident.Skipped, Reason: "it is off", At: at("10:15:01")}
	sshFails = incident.Finding{Look: 3, Check: incident.CheckSSH, Outcome: incident.Failed, Reason: "203.0.113.7:22: no key exchange within 5s", Connection: incident.Silent, Attempts: 3, At: at("10:15:01")}
	urlPass  = incident.Finding{Look: 3, Check: incident.CheckURL, Outcome: incident.Passed, Reason: "GET http://203.0.113.7/healthz: 200 OK", Answered: true, Attempts: 1, At: at("10:15:01")}
	sshPass  = incident.Finding{Look: 3, Check: incident.CheckSSH, Outcome: incident.Passed, Reason: "203.0.113.7:22: SSH-2.0-OpenSSH_9.6", Answered: true, Attempts: 1, At: at("10:15:01")}
)

func unknown(check string, kind incident.Kind, reason string) incident.Finding {
	return incident.Finding{Look: 3, Check: check, Outcome: incident.Unknown, Kind: kind, Reason: reason, Attempts: 1, At: at("10:15:01")}
}

// settings have no Route 53 health check.
func settings() *incident.Settings { return new(incident.DefaultSettings()) }

// about returns a message of the instance, as the handler makes it of a decision.
func about(kind Kind, situation string, change func(m *Message, inc *incident.Incident, dec *incident.Decision)) Message {
	dec := &incident.Decision{
		Look: 3, At: at("10:15:03"), Verdict: incident.VerdictFailed, Findings: []incident.Finding{urlFails, noRoute, sshFails},
		Row: 10, Next: incident.NextPage, Situation: situation, Severity: incident.SeverityDown,
		Reason: "URL: " + urlFails.Reason, Slack: true, AlarmState: policy.StateAlarm, Since: at("10:03:00"),
	}
	inc := &incident.Incident{
		InstanceID: testInstance, Name: "web-1", Region: "eu-west-1", AccountID: "123456789012", Trigger: incident.TriggerAlarm,
		Alarm: &incident.Alarm{
			Name: "firstline-alarm-" + testInstance + "-cpu", Trigger: "cpu", Metric: "CPUUtilization", ARN: "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:firstline-alarm-" + testInstance + "-cpu",
			Reason: "Threshold Crossed: 1 datapoint [100.0] was greater than or equal to the threshold (100.0).", At: at("10:02:40"), Value: new(100.0),
		},
		Settings:  settings(),
		Execution: incident.Execution{ID: "arn:aws:states:eu-west-1:123456789012:execution:firstline-responder:" + testExecution, Name: testExecution},
		Decision:  dec,
	}
	m := Message{
		Kind: kind, Incident: inc, Deployment: "firstline", Now: at("10:15:09").Time(),
		Alert: incident.AlertRef{ID: testInstance + "@1", Key: testInstance, Alias: testAlias, Members: []string{testInstance}, OpenedAt: at("10:15:03")},
	}
	if change != nil {
		change(&m, inc, dec)
	}
	if kind == KindSlack && dec.Next == incident.NextPage && dec.Row != 0 {
		dec.Next = incident.NextSlack
		m.Alert = incident.AlertRef{}
	}
	return m
}

// reads makes the look one that is unknown.
func reads(dec *incident.Decision, kind incident.Kind, findings ...incident.Finding) {
	dec.Verdict, dec.Kind, dec.Severity, dec.Findings, dec.Row = incident.VerdictUnknown, kind, incident.SeverityUnknown, findings, 12
	for _, f := range findings {
		if f.Kind == kind {
			dec.Reason = incident.CheckTitle(f.Check) + ": " + f.Reason
			return
		}
	}
}

func isHealthy(dec *incident.Decision) {
	dec.Verdict, dec.Kind, dec.Severity, dec.Findings = incident.VerdictHealthy, "", 0, []incident.Finding{urlPass, noRoute, sshPass}
	dec.Since, dec.AlarmState = at("09:44:00"), "OK"
}

func rebooted(outcome string) incident.Reboot {
	return incident.Reboot{At: at("10:05:03"), Reason: "SSH: " + sshFails.Reason, Request: incident.RequestAccepted, Outcome: outcome}
}

// messages has one of every situation, and of the channel that it is for.
var messages = map[string]func() Message{
	"down-after-reboot": func() Message {
		return about(KindPage, incident.SituationDownAfterReboot, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Row, dec.Severity, dec.Reason = 5, incident.SeverityDownAfterReboot, "the boot window has closed: "+dec.Reason
			dec.Reboots = []incident.Reboot{rebooted(incident.OutcomeNotCured)}
		})
	},
	"busy-after-reboot": func() Message {
		return about(KindPage, incident.SituationDownAfterReboot, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			reads(dec, incident.Busy, urlPass, noRoute, unknown(incident.CheckSSH, incident.Busy, "203.0.113.7:22: instead of its banner it sends \"Exceeded MaxStartups\""))
			dec.Row, dec.Severity, dec.Reason = 5, incident.SeverityDownAfterReboot, "the boot window has closed: "+dec.Reason
			dec.Reboots = []incident.Reboot{rebooted(incident.OutcomeNotCured)}
		})
	},
	"failed-after-reboot": func() Message {
		return about(KindPage, incident.SituationDownAfterReboot, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Findings = []incident.Finding{urlPass, noRoute, sshFails}
			dec.Row, dec.Severity, dec.Reason = 5, incident.SeverityDownAfterReboot, "the boot window has closed: SSH: "+sshFails.Reason
			dec.Reboots = []incident.Reboot{rebooted(incident.OutcomeNotCured)}
		})
	},
	"not-rebooted": func() Message {
		return about(KindPage, incident.SituationNotRebooted, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Guard, dec.Reason = policy.GuardCooldown, "it was rebooted within the cooldown of 6 h 0 min"
			dec.Unasked = []string{"describe the alarms: throttled"}
			for n := range 7 {
				r := rebooted(incident.OutcomeCured)
				r.At -= incident.Millis(n) * 3_600_000
				dec.Reboots = append([]incident.Reboot{r}, dec.Reboots...)
			}
		})
	},
	"held-back": func() Message {
		return about(KindPage, incident.SituationHeldBack, func(m *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Reason = "not rebooted, the region's breaker is open: 2 reboots are in flight"
			m.Alert.Key, m.Alert.Why, m.Alert.Members = policy.KeyBreaker, "2 reboots are in flight", nil
			for n := range 12 {
				m.Alert.Members = append(m.Alert.Members, fmt.Sprintf("i-0000000000000%04d", n))
			}
		})
	},
	"attention": func() Message {
		return about(KindPage, incident.SituationAttention, func(m *Message, _ *incident.Incident, dec *incident.Decision) {
			reads(dec, incident.Attention, unknown(incident.CheckURL, incident.Attention, "GET https://203.0.113.7/healthz: 403 Forbidden, want 200-299"), noRoute, sshPass)
			m.Alert.Key = "url/attention"
		})
	},
	"contradicted": func() Message {
		return about(KindPage, incident.SituationContradicted, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			reads(dec, incident.Contradicted, urlPass, noRoute, unknown(incident.CheckSSH, incident.Contradicted, "203.0.113.7:22: connection refused (the URL check got an answer: the port may be closed to us alone)"))
		})
	},
	"only-here": func() Message {
		return about(KindPage, incident.SituationOnlyHere, func(m *Message, _ *incident.Incident, dec *incident.Decision) {
			reads(dec, incident.Contradicted, unknown(incident.CheckURL, incident.Contradicted, urlFails.Reason+" (only eu-west-1 cannot reach it; eu-central-1 and us-east-1 can)"), noRoute, sshPass)
			m.Alert.Key = policy.KeyVantage
			dec.Unasked = []string{"us-east-1: AccessDeniedException: not authorized to perform lambda:InvokeFunction"}
		})
	},
	"down-from-two-regions": func() Message {
		return about(KindPage, incident.SituationNotRebooted, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Guard, dec.Reason = policy.GuardCredits, "it has no CPU credits left (CPUCreditBalance 0.2, standard mode): it is slow, and a reboot gives it none"
			dec.Findings[0].DownFrom, dec.Vantage = []string{"eu-central-1"}, "down from eu-west-1 and eu-central-1"
		})
	},
	"impaired": func() Message {
		return about(KindSlack, incident.SituationImpaired, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			isHealthy(dec)
			dec.Row, dec.Reason = 9, "healthy, but EC2's status check of the attached EBS volumes is impaired, which no reboot cures"
		})
	},
	"busy": func() Message {
		return about(KindPage, incident.SituationBusy, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			reads(dec, incident.Busy, unknown(incident.CheckURL, incident.Busy, "GET http://203.0.113.7/healthz: 503 Service Unavailable with Retry-After"), noRoute, sshFails)
		})
	},
	"busy-slack": func() Message {
		return about(KindSlack, incident.SituationBusy, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			reads(dec, incident.Busy, urlPass, noRoute, unknown(incident.CheckSSH, incident.Busy, "203.0.113.7:22: Exceeded MaxStartups"))
		})
	},
	"blind": func() Message {
		return about(KindPage, incident.SituationBlind, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			reads(dec, incident.Blind, unknown(incident.CheckURL, incident.Blind, "describe the instance: AccessDenied"), noRoute, unknown(incident.CheckSSH, incident.Blind, "describe the instance: AccessDenied"))
			dec.Unasked = []string{"describe the instance: AccessDenied"}
		})
	},
	"store": func() Message {
		return about(KindPage, incident.SituationStore, func(m *Message, inc *incident.Incident, dec *incident.Decision) {
			dec.Row, dec.Reason = 0, "the table cannot be read or written, so nothing is rebooted: Unavailable: throttled"
			inc.Caught = map[string]incident.Caught{"decide": {Error: "Unavailable", Cause: "update i-0c1cbf2e7abdedf75: throttled"}}
			m.Alert = *policy.AlertWithoutStore("firstline/eu-west-1", "store", dec.At)
		})
	},
	"store-region": func() Message {
		m := about(KindPage, incident.SituationStore, func(m *Message, inc *incident.Incident, dec *incident.Decision) {
			*dec = incident.Decision{At: dec.At, Next: incident.NextPage, Situation: incident.SituationStore, Severity: incident.SeverityDown, Reason: "the table cannot be read, so nothing is looked after: Denied"}
			*inc = incident.Incident{Region: "eu-west-1", AccountID: "123456789012", Trigger: incident.TriggerSchedule, Decision: dec}
			m.Alert = *policy.AlertWithoutStore("firstline/eu-west-1", "store", dec.At)
		})
		return m
	},
	"worse": func() Message {
		return about(KindPage, incident.SituationWorse, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Row, dec.Reason = 7, "worse than what was paged: "+dec.Reason
		})
	},
	"died-again": func() Message {
		return about(KindPage, incident.SituationDiedAgain, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Row, dec.Reason = 7, "it was well since the page, and has failed in every look for 20 minutes"
		})
	},
	"still-down": func() Message {
		return about(KindPage, incident.SituationStillDown, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Row, dec.Reason = 7, "a person closed the alert 4 h 0 min ago, and it is still not healthy"
		})
	},
	"not-confirmed": func() Message {
		return about(KindPage, incident.SituationNotConfirmed, func(_ *Message, inc *incident.Incident, dec *incident.Decision) {
			dec.Row, dec.Reason = 7, "no pager has confirmed the page before this one"
			inc.Caught = map[string]incident.Caught{"page": {Error: "Unavailable", Cause: "page through OpsGenie: HTTP 503"}}
		})
	},
	"note": func() Message {
		return about(KindNote, incident.SituationNote, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Row, dec.Note, dec.Slack, dec.Reason = 8, true, false, "handed over, and still not healthy: "+dec.Reason
		})
	},
	"recovered": func() Message {
		return about(KindSlack, incident.SituationRecovered, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			isHealthy(dec)
			dec.Row, dec.Since, dec.Reason = 3, at("10:07:00"), "the reboot cured it: healthy in two looks in a row"
			dec.Reboots = []incident.Reboot{rebooted(incident.OutcomeCured)}
		})
	},
	"rebooted-often": func() Message {
		return about(KindPage, incident.SituationRebootedOften, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			isHealthy(dec)
			dec.Row, dec.Severity, dec.Reason = 3, incident.SeverityUnknown, "recovered, but it is reboot 3 within 7 days"
			dec.Reboots = []incident.Reboot{rebooted(incident.OutcomeCured), rebooted(incident.OutcomeCured), rebooted(incident.OutcomeCured)}
		})
	},
	"healthy-again": func() Message {
		return about(KindNote, incident.SituationHealthyAgain, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			isHealthy(dec)
			dec.Row, dec.Note, dec.Reason = 6, true, "healthy again since 09:44 UTC, not long enough to end the alert"
		})
	},
	"well-slack": func() Message {
		return about(KindSlack, incident.SituationWell, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			isHealthy(dec)
			dec.Row, dec.Reason = 6, "well: healthy since 09:44 UTC"
		})
	},
	"well": func() Message {
		return about(KindResolve, incident.SituationWell, func(m *Message, _ *incident.Incident, dec *incident.Decision) {
			isHealthy(dec)
			dec.Next, dec.Row, dec.Reason = incident.NextResolve, 6, "well: healthy since 09:44 UTC"
			dec.Reboots = []incident.Reboot{rebooted(incident.OutcomeNotCured)}
			m.Alert.Members, m.Alert.Ended = nil, "the instance is well"
		})
	},
	"handed-back": func() Message {
		return about(KindSlack, incident.SituationHandedBack, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			isHealthy(dec)
			dec.Row, dec.Reason = 6, "handed back by arn:aws:sts::123456789012:assumed-role/ops/jane"
		})
	},
	"resolve-breaker": func() Message {
		return about(KindResolve, incident.SituationWell, func(m *Message, _ *incident.Incident, dec *incident.Decision) {
			isHealthy(dec)
			dec.Next = incident.NextResolve
			m.Alert.Key, m.Alert.Members, m.Alert.Why, m.Alert.Ended = policy.KeyBreaker, nil, "2 reboots are in flight", "the instance is well"
		})
	},
	"resolve-replaced": func() Message {
		return about(KindResolve, incident.SituationWorse, func(m *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Next = incident.NextResolve
			m.Alert.Key, m.Alert.ReplacedBy = "url/attention", testAlias+"/2"
		})
	},
	"gone": func() Message {
		return about(KindSlack, incident.SituationGone, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Row, dec.Reason, dec.AlarmState = 1, "the instance is gone", "INSUFFICIENT_DATA"
		})
	},
	"stopped": func() Message {
		return about(KindSlack, incident.SituationStopped, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Row, dec.Reason = 1, "a person has stopped the instance"
		})
	},
	"unwatched": func() Message {
		return about(KindSlack, incident.SituationUnwatched, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Row, dec.Reason = 1, "the instance is no longer watched"
		})
	},
	"paused": func() Message {
		return about(KindSlack, incident.SituationPaused, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			dec.Row, dec.Reason = 2, "paused: nothing is rebooted and nobody is paged"
			dec.PausedUntil, dec.PauseScope, dec.PausedBy = at("12:00:00"), "region", "arn:aws:iam::123456789012:user/jo"
		})
	},
	"covered": func() Message {
		return about(KindSlack, incident.SituationCovered, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			isHealthy(dec)
			dec.Row, dec.Reason = 9, "healthy, but a check could not be made"
			dec.Findings[2] = incident.Finding{Check: incident.CheckSSH, Outcome: incident.Skipped, Reason: "describe the instance: throttled"}
		})
	},
	"unsteady": func() Message {
		return about(KindSlack, incident.SituationUnsteady, func(_ *Message, _ *incident.Incident, dec *incident.Decision) {
			isHealthy(dec)
			dec.Row, dec.Reason = 9, "healthy, after 3 failures within an hour that did not hold"
		})
	},
	"coverage": func() Message {
		m := Message{Kind: KindSlack, Deployment: "firstline", Now: at("10:15:09").Time(), Incident: &incident.Incident{
			Region: "eu-west-1", AccountID: "123456789012", Trigger: incident.TriggerSchedule, Decision: &incident.Decision{Next: incident.NextSlack, Situation: incident.SituationCoverage},
		}}
		for n := range 22 {
			m.Findings = append(m.Findings, fmt.Sprintf("i-%017x: its alarm memory (mem_used_percent) has had no data for at least 1 h 0 min: CWAgent has none with exactly the dimensions InstanceId: there is data with ImageId=ami-0123456789abcdef0, InstanceId, InstanceType=m7g.large: write it into alarms.memory.dimensions", n))
		}
		return m
	},
	"no-incident": func() Message {
		return event(`{"region":"eu-west-1","account":"123456789012","resources":["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:cpu"],"detail":{"alarmName":"cpu","state":{"reason":"Threshold Crossed"},"configuration":{"metrics":[{"metricStat":{"metric":{"dimensions":{"InstanceId":"i-0c1cbf2e7abdedf75"}}}}]}}}`)
	},
	"no-incident-text": func() Message { return event(`"not an event"`) },
	"test": func() Message {
		return Message{Kind: KindTest, Incident: &incident.Incident{Region: "eu-west-1"}, Deployment: "firstline", Now: at("10:15:09").Time()}
	},
	"pager-failed-slack": func() Message {
		return about(KindSlack, incident.SituationDownAfterReboot, func(_ *Message, inc *incident.Incident, dec *incident.Decision) {
			dec.Row = 0
			inc.Caught = map[string]incident.Caught{"page": {Error: "States.Timeout"}}
			dec.Reboots = []incident.Reboot{rebooted(incident.OutcomeNotCured)}
		})
	},
	"dry": func() Message {
		return about(KindPage, incident.SituationNotRebooted, func(_ *Message, inc *incident.Incident, dec *incident.Decision) {
			inc.Dry, dec.Guard, dec.Reason = true, policy.GuardDryRun, "reboot.dry_run is set: it would have been rebooted"
		})
	},
	"hostile": func() Message {
		return about(KindPage, incident.SituationAttention, func(m *Message, inc *incident.Incident, dec *incident.Decision) {
			evil := "<!channel> `code` & \u202e*bold*\n@here password=hunter2 " + strings.Repeat("ü", 3000)
			reads(dec, incident.Attention, unknown(incident.CheckURL, incident.Attention, evil), unknown("another", "kind", evil), noRoute)
			inc.Name, inc.Alarm.Name, inc.Alarm.Reason, inc.Region = evil, evil, evil, evil
			inc.Caught = map[string]incident.Caught{"reboot": {Error: evil, Cause: evil}, evil: {}}
			m.Alert.Key, m.Alert.Alias, m.Deployment = evil, strings.Repeat("ä", 600), evil
			m.Alert.Members = slices.Repeat([]string{evil}, 30)
			dec.Unasked, dec.PausedUntil, dec.PausedBy = []string{evil}, at("12:00:00"), evil
			dec.Reboots = slices.Repeat([]incident.Reboot{{Reason: evil, Request: evil, Outcome: evil}}, 10)
		})
	},
}

// event is a message about an event that made no incident, as the handler makes it.
func event(raw string) Message {
	dec := &incident.Decision{
		Look: 1, At: at("10:15:03"), Next: incident.NextPage, Situation: incident.SituationNoIncident, Severity: incident.SeverityUnknown,
		Reason: "InvalidInput: the event names no instance", Slack: true, Alert: policy.AlertWithoutStore("firstline/eu-west-1", "no-incident", at("10:15:03")),
	}
	return Message{
		Kind: KindPage, Deployment: "firstline", Now: at("10:15:09").Time(), Alert: *dec.Alert,
		Incident: &incident.Incident{
			Region: "eu-west-1", Decision: dec, Event: json.RawMessage(raw),
			Execution: incident.Execution{ID: "arn:aws:states:eu-west-1:123456789012:execution:firstline-responder:" + testExecution, Name: testExecution},
			Caught:    map[string]incident.Caught{"open": {Error: "InvalidInput", Cause: "open: the event names no instance"}},
		},
	}
}

func message(t *testing.T, name string) Message {
	t.Helper()
	make, ok := messages[name]
	if !ok {
		t.Fatal(errors.New("no message " + name))
	}
	return make()
}
