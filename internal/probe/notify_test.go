package probe

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestNotify(t *testing.T) {
	const unset = "jsm: read secret /firstline/secrets/jsm-api-key: it was never given a value"
	type object = map[string]any
	for _, tt := range []struct {
		name   string
		answer any
		err    error
		want   Notification
		calls  int
		ok     bool
	}{
		{
			name: "all delivered", calls: 1, ok: true,
			answer: object{"deliveries": []object{
				{"channel": "slack", "ok": true, "confirmed": true, "detail": "posted", "elapsed_ms": 310},
				{"channel": "jsm", "ok": true, "detail": "accepted", "elapsed_ms": 900, "later": "more"},
			}},
			want: Notification{Deliveries: []Delivery{
				{Channel: "slack", OK: true, Confirmed: true, Detail: "posted", ElapsedMs: 310},
				{Channel: "jsm", OK: true, Detail: "accepted", ElapsedMs: 900},
			}},
		},
		{
			name: "one is not", calls: 1,
			answer: object{"deliveries": []object{{"channel": "slack", "ok": true}, {"channel": "jsm", "error": unset}}},
			want: Notification{Deliveries: []Delivery{
				{Channel: "slack", OK: true},
				{Channel: "jsm", Error: unset + ". No message can reach Jira Service Management: export TF_VAR_jsm_api_key with the other secrets, raise secrets_version and deploy"},
			}},
		},
		{name: "no channel", calls: 1, answer: object{}, want: Notification{Error: "no channel is configured: nobody would be told"}},
		{name: "no object", calls: 1, answer: []int{}, want: Notification{Error: "the function did not answer with deliveries: json: cannot unmarshal array into Go value of type struct { Deliveries []probe.Delivery \"json:\\\"deliveries\\\"\" }"}},
		// It may have sent already.
		{name: "an error of the function", calls: 1, answer: functionError{"Unavailable", "not now"}, want: Notification{Error: "Unavailable: not now"}},
		{name: "a server fault", calls: 1, err: refusal(http.StatusServiceUnavailable, "ServiceException"), want: Notification{Error: "ServiceException: said AWS"}},
		// It has not begun.
		{name: "throttled", calls: attempts, err: refusal(http.StatusTooManyRequests, "TooManyRequestsException"), want: Notification{Error: "TooManyRequestsException: said AWS"}},
		{name: "not ready", calls: attempts, err: refusal(http.StatusConflict, "ResourceConflictException"), want: Notification{Error: "ResourceConflictException: said AWS"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				got := notifyBy(t.Context(), play(func(_ context.Context, c call) (any, error) {
					if calls++; c.Step != "notify-test" || c.Incident != nil {
						t.Errorf("called with %+v", c)
					}
					return tt.answer, tt.err
				}), nil, ireland(first))
				tt.want.Region = "eu-west-1"
				if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Notification{}, "Seconds"), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if calls != tt.calls || got.OK() != tt.ok {
					t.Errorf("%d calls, want %d; ok %v", calls, tt.calls, got.OK())
				}
			})
		})
	}
	r := ireland(first)
	r.FunctionARN = ""
	if got := notifyBy(t.Context(), nil, nil, r); !strings.Contains(got.Error, "deploy it again") {
		t.Errorf("%+v", got)
	}
}

func TestNotifyInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		got := notifyBy(ctx, play(func(ctx context.Context, _ call) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}), nil, ireland(first))
		if got.Error != "interrupted" || got.OK() || got.Seconds != 60 {
			t.Errorf("%+v", got)
		}
	})
}

// What SNS took and nobody gets is not delivered.
func TestNotifyReaches(t *testing.T) {
	for _, tt := range []struct {
		name           string
		sns            asking
		ok             bool
		error, warning string
	}{
		{"confirmed", counting("1", "0"), true, "", ""},
		{"one of two", counting("1", "1"), true, "", "1 are confirmed and 1 are pending"},
		{"nobody", counting("0", "2"), false, "nobody has confirmed a subscription of " + ownTopic, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := notifyBy(t.Context(), play(func(context.Context, call) (any, error) {
				return map[string]any{"deliveries": []Delivery{{Channel: "sns", OK: true, Detail: "published"}, {Channel: "slack", OK: true}}}, nil
			}), tt.sns.in, bySNS(ownTopic))
			d := n.Deliveries[0]
			if n.OK() != tt.ok || d.OK != tt.ok || (d.Error == "") != (tt.error == "") || (d.Warning == "") != (tt.warning == "") ||
				!strings.Contains(d.Error, tt.error) || !strings.Contains(d.Warning, tt.warning) || n.Deliveries[1].Error != "" {
				t.Errorf("%+v", n)
			}
		})
	}
}
