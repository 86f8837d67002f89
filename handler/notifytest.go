package handler

import (
	"context"
	"time"

	"firstline/internal/incident"
	"firstline/internal/redact"
	"firstline/notify"
)

// delivery is what became of one test message.
type delivery struct {
	// Channel is the pager's name, "slack" or "heartbeat".
	Channel string `json:"channel"`
	// OK says that the service took it, Confirmed that it also said what became of
	// it.
	OK        bool   `json:"ok"`
	Confirmed bool   `json:"confirmed"`
	Detail    string `json:"detail,omitempty"`
	Error     string `json:"error,omitempty"`
	ElapsedMs int64  `json:"elapsed_ms"`

	test func(context.Context, notify.Message) (notify.Delivery, error)
}

// tested is the answer of the step notify-test.
type tested struct {
	Deliveries []*delivery `json:"deliveries"`
}

// notifyTest sends a message that says it is a test through each channel, and pings the
// heartbeat, all at once. What fails is in the answer: the others have been tried all the same.
func notifyTest(ctx context.Context, h *Handler, _ request) (any, error) {
	m := notify.Message{Kind: notify.KindTest, Incident: &incident.Incident{Region: h.Region}, Deployment: h.Deployment, Now: time.Now().UTC()}
	pagers, err := h.Pagers()
	if err != nil {
		return nil, err
	}
	all := []*delivery{}
	for _, p := range pagers {
		all = append(all, &delivery{Channel: p.Name(), test: p.Test})
	}
	if h.Slack != nil {
		all = append(all, &delivery{Channel: "slack", test: h.Slack.Test})
	}
	if h.Heartbeat != nil {
		all = append(all, &delivery{Channel: "heartbeat", test: func(ctx context.Context, m notify.Message) (notify.Delivery, error) {
			b, err := h.Heartbeat()
			if err != nil {
				return notify.Delivery{}, err
			}
			return b.Test(ctx, m)
		}})
	}
	errs := sideBySide(ctx, h, all, func(d *delivery) error {
		begun := time.Now()
		got, err := d.test(ctx, m)
		d.OK, d.Confirmed, d.Detail, d.ElapsedMs = err == nil, got.Confirmed && err == nil, got.Detail, time.Since(begun).Milliseconds()
		return err
	})
	for n, err := range errs {
		if err != nil {
			all[n].Error = incident.Clip(redact.Error(err), maxMessage)
		}
	}
	return &tested{Deliveries: all}, nil
}
