package probe

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// notified has a function that answers as p does send a test.
func notified(ctx context.Context, arn string, p play) Notification {
	r := ireland(first)
	r.FunctionARN = arn
	return (&function{client: p, arn: arn, pause: time.Millisecond}).notify(ctx, r)
}

const functionARN = "arn:aws:lambda:eu-west-1:123456789012:function:firstline-responder:3"

func TestNotify(t *testing.T) {
	const unset = "jsm: read secret /firstline/secrets/jsm-api-key: it was never given a value"
	for _, tt := range []struct {
		name   string
		arn    string
		answer any
		err    error
		want   Notification
		calls  int
		ok     bool
	}{
		{
			name: "all delivered", calls: 1, ok: true,
			answer: map[string]any{"deliveries": []any{
				map[string]any{"channel": "slack", "ok": true, "confirmed": true, "detail": "posted", "elapsedMs": 310},
				map[string]any{"channel": "jsm", "ok": true, "detail": "accepted", "elapsedMs": 900, "later": "more"},
			}},
			want: Notification{Deliveries: []Delivery{
				{Channel: "slack", OK: true, Confirmed: true, Detail: "posted", ElapsedMs: 310},
				{Channel: "jsm", OK: true, Detail: "accepted", ElapsedMs: 900},
			}},
		},
		{
			name: "one is not", calls: 1,
			answer: map[string]any{"deliveries": []any{
				map[string]any{"channel": "slack", "ok": true, "confirmed": true},
				map[string]any{"channel": "jsm", "error": unset},
				map[string]any{"channel": "sns", "error": "the topic does not exist"},
			}},
			want: Notification{Deliveries: []Delivery{
				{Channel: "slack", OK: true, Confirmed: true},
				{Channel: "jsm", Error: unset + ". Jira Service Management cannot be told of anything: export TF_VAR_jsm_api_key with the other secrets, raise secrets_version and deploy"},
				{Channel: "sns", Error: "the topic does not exist"},
			}},
		},
		{name: "not deployed", arn: "-", want: Notification{Error: "only a part of the region is deployed, without the function: deploy it again"}},
		{
			name: "an older function", calls: 1,
			answer: functionError{"InvalidInput", `decode payload: step: "notify-test" is unknown; use one of open, url`},
			want:   Notification{Error: `the deployed function sends no tests: deploy this version first (decode payload: step: "notify-test" is unknown; use one of open, url)`},
		},
		{name: "no channel", calls: 1, answer: map[string]any{}, want: Notification{Error: "the function named no channel that it has tried"}},
		{name: "no object", calls: 1, answer: "[]", want: Notification{Error: "the function answered with something else than deliveries: "}},
		// It may have sent already.
		{name: "an error of the function", calls: 1, answer: functionError{"Unavailable", "not now"}, want: Notification{Error: "Unavailable: not now"}},
		{name: "a server fault", calls: 1, err: refusal(http.StatusServiceUnavailable, "ServiceException"), want: Notification{Error: "ServiceException: said AWS"}},
		// It has not begun.
		{name: "throttled", calls: attempts, err: refusal(http.StatusTooManyRequests, "TooManyRequestsException"), want: Notification{Error: "TooManyRequestsException: said AWS"}},
		{name: "not ready", calls: attempts, err: refusal(http.StatusConflict, "ResourceConflictException"), want: Notification{Error: "ResourceConflictException: said AWS"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			arn := functionARN
			if tt.arn != "" {
				arn = ""
			}
			got := notified(t.Context(), arn, func(_ context.Context, c call) (any, error) {
				if calls++; c.Step != "notify-test" || c.Incident != nil {
					t.Errorf("it was invoked with %+v", c)
				}
				return tt.answer, tt.err
			})
			tt.want.Region = "eu-west-1"
			if tt.name == "no object" {
				if !strings.HasPrefix(got.Error, tt.want.Error) {
					t.Errorf("got %q", got.Error)
				}
				got.Error = tt.want.Error
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Notification{}, "Seconds"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if calls != tt.calls || got.OK() != tt.ok {
				t.Errorf("%d calls, want %d; ok %v, want %v", calls, tt.calls, got.OK(), tt.ok)
			}
		})
	}
}

func TestNotifyInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		got := notified(ctx, functionARN, func(ctx context.Context, _ call) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if got.Error != "interrupted" || got.OK() || got.Seconds != 60 {
			t.Errorf("%+v", got)
		}
	})
}

// What the real handler answers is understood.
func TestNotifyRealHandler(t *testing.T) {
	a := &around{}
	h := handlerAround(a, pagerAround{a: a, name: "opsgenie"}, pagerAround{a: a, name: "jsm", err: errUnset})
	got := (&function{client: h, arn: functionARN, pause: time.Millisecond}).notify(t.Context(), ireland(first))
	var channels []string
	for _, d := range got.Deliveries {
		channels = append(channels, fmt.Sprintf("%s %v %v %s", d.Channel, d.OK, d.Confirmed, d.Detail))
		if failed := d.Channel == "jsm"; failed != strings.Contains(d.Error, "export TF_VAR_jsm_api_key") {
			t.Errorf("%s: %q", d.Channel, d.Error)
		}
	}
	if diff := cmp.Diff([]string{"opsgenie true true made and closed", "jsm false false made and closed", "slack true false posted"}, channels); diff != "" || got.Error != "" || got.OK() {
		t.Errorf("%+v (-want +got):\n%s", got, diff)
	}
}
