package incident

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// alarmEvent is what CloudWatch sends, with fields that nobody reads.
const alarmEvent = `{"version":"0","id":"8c1d3f8e","detail-type":"CloudWatch Alarm State Change","source":"aws.cloudwatch","account":"123456789012",
"time":"2026-11-22T10:04:40Z","region":"eu-west-1","resources":["arn:aws:cloudwatch:eu-west-1:123456789012:alarm:firstline-alarm-i-0c1cbf2e7abdedf75-cpu"],
"detail":{"alarmName":"firstline-alarm-i-0c1cbf2e7abdedf75-cpu","alarmTags":{"a":"b"},"configuration":{"description":"CPU","metrics":[{"id":"m1","metricStat":{"metric":{"dimensions":{"InstanceId":"i-0c1cbf2e7abdedf75"},"name":"CPUUtilization","namespace":"AWS/EC2"},"period":300,"stat":"Maximum"},"returnData":true}]},
"previousState":{"value":"OK"},"state":{"reason":"Threshold Crossed","reasonData":"{\"recentDatapoints\":[12.5,100.0]}","timestamp":"2026-11-22T10:04:40.989+0000","value":"ALARM"}}}`

const lookEvent = `{"source":"firstline.schedule","detail-type":"firstline look","account":"123456789012","region":"eu-west-1","time":"2026-11-22T10:04:40Z","extra":1,"detail":{"instance_id":"i-0c1cbf2e","alarm":{"name":"cpu","at":5}}}`

func TestParseEvent(t *testing.T) {
	at := At(time.Date(2026, 11, 22, 10, 4, 40, 989e6, time.UTC))
	alarm := &Incident{
		InstanceID: "i-0c1cbf2e7abdedf75", Region: "eu-west-1", AccountID: "123456789012", Trigger: TriggerAlarm,
		Alarm: &Alarm{
			Name: "firstline-alarm-i-0c1cbf2e7abdedf75-cpu", Trigger: "cpu", Metric: "CPUUtilization", Reason: "Threshold Crossed", At: at, Value: new(100.0),
			ARN: "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:firstline-alarm-i-0c1cbf2e7abdedf75-cpu",
		},
	}
	look := &Incident{InstanceID: "i-0c1cbf2e", Region: "eu-west-1", AccountID: "123456789012", Trigger: TriggerSchedule, Alarm: &Alarm{Name: "cpu", At: 5}}
	dry := new(*alarm)
	dry.Dry, dry.Trigger = true, TriggerCanary
	person := new(*look)
	person.Trigger = TriggerPerson
	for name, tt := range map[string]struct {
		event string
		want  *Incident
	}{
		"alarm":    {alarmEvent, alarm},
		"canary":   {strings.Replace(alarmEvent, "aws.cloudwatch", SourceCanary, 1), dry},
		"schedule": {lookEvent, look},
		"person":   {strings.Replace(lookEvent, SourceSchedule, SourcePerson, 1), person},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseEvent(json.RawMessage(tt.event))
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(Incident{})); diff != "" || err != nil {
				t.Error(err, diff)
			}
		})
	}
}

func TestAlarmOf(t *testing.T) {
	for name, want := range map[string][2]string{
		"firstline-alarm-i-0c1cbf2e7abdedf75-cpu":    {"i-0c1cbf2e7abdedf75", "cpu"},
		"a-i-b-alarm-i-0a1b2c3d-disk_full":           {"i-0a1b2c3d", "disk_full"},
		"firstline-alarm-i-0a1b2c3d":                 {},
		"firstline-alarm-i-0a1b2c3-cpu":              {},
		"firstline-self-incident-failed":             {},
		"firstline-alarm-i-0a1b2c3d-cpu-of-somebody": {},
		"i-0a1b2c3d-cpu":                             {},
		"":                                           {},
	} {
		if instance, trigger := AlarmOf(name); [2]string{instance, trigger} != want {
			t.Errorf("%s: %q, %q", name, instance, trigger)
		}
	}
}

func TestParseEventRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ event, old, new, want string }{
		"no object":        {`7`, "", "", "event: "},
		"source":           {alarmEvent, "aws.cloudwatch", "aws.ec2", `event.source, event.detail-type: "aws.ec2"`},
		"Source":           {alarmEvent, `"source"`, `"Source"`, `event.source, event.detail-type: ""`},
		"a person's alarm": {alarmEvent, "aws.cloudwatch", SourcePerson, "event.source"},
		"account":          {alarmEvent, `"account":"123456789012"`, `"account":"12"`, `event.account: "12"`},
		"region":           {alarmEvent, `"region":"eu-west-1"`, `"region":"EU"`, `event.region: "EU"`},
		"state":            {alarmEvent, `"value":"ALARM"`, `"value":"OK"`, "event.detail.state.value"},
		"no instance":      {alarmEvent, `{"InstanceId":"i-0c1cbf2e7abdedf75"}`, `{}`, "has the dimension InstanceId"},
		"odd instance":     {alarmEvent, `{"InstanceId":"i-0c1cbf2e7abdedf75"}`, `{"InstanceId":"web"}`, `InstanceId "web"`},
		"detail":           {lookEvent, `{"instance_id":"i-0c1cbf2e","alarm":{"name":"cpu","at":5}}`, `[]`, "event.detail"},
		"no detail":        {lookEvent, `"detail":`, `"details":`, `event.detail.instance_id: ""`},
		"look's instance":  {lookEvent, `i-0c1cbf2e`, `i-0`, `event.detail.instance_id: "i-0"`},
	} {
		t.Run(name, func(t *testing.T) {
			event := strings.Replace(tt.event, tt.old, tt.new, 1)
			if _, err := ParseEvent(json.RawMessage(event)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestInstanceOfAlarm(t *testing.T) {
	id := "i-0c1cbf2e7abdedf75"
	if got, err := instanceOfAlarm("a", []string{id, id}); got != id || err != nil {
		t.Errorf("one named twice: %q, %v", got, err)
	}
	if _, err := instanceOfAlarm("a", []string{id, "i-0c1cbf2e"}); err == nil || !strings.Contains(err.Error(), "names 2 instances") {
		t.Errorf("two: %v", err)
	}
}

func TestNewestDatapoint(t *testing.T) {
	for data, want := range map[string]*float64{
		`"{\"recentDatapoints\":[1,2]}"`: new(2.0),
		`"{\"recentDatapoints\":[]}"`:    nil, `"{}"`: nil, `"odd"`: nil, `{}`: nil, ``: nil,
	} {
		if diff := cmp.Diff(want, NewestDatapoint(json.RawMessage(data))); diff != "" {
			t.Errorf("%s: %s", data, diff)
		}
	}
}

func TestParsePause(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]Millis{
		"2026-11-22T11:00:00Z":       At(now.Add(time.Hour)),
		" 2026-11-22T12:00:00+01:00": At(now.Add(time.Hour)),
		"2026-11-22T10:00:00Z":       0,
		"2026-11-29T11:00:00Z":       At(now.Add(MaxPause + time.Hour)),
	} {
		if got, err := ParsePause(value, now); got != want || err != nil {
			t.Errorf("%s: %v, %v", value, got, err)
		}
	}
	for _, value := range []string{"", "tomorrow", "2026-11-29T11:00:01Z"} {
		if got, err := ParsePause(value, now); got != 0 || err == nil || !strings.Contains(err.Error(), PauseTag) {
			t.Errorf("%q: %v, %v", value, got, err)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(alarmEvent))
	f.Add([]byte(lookEvent))
	f.Fuzz(func(t *testing.T, raw []byte) {
		inc, err := ParseEvent(raw)
		if err != nil {
			return
		}
		if !ValidInstanceID(inc.InstanceID) || inc.Dry != (SourceOf(raw) == SourceCanary) {
			t.Errorf("%+v", inc)
		}
	})
}
