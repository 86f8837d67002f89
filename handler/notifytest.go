package handler

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/redact"
	"firstline/notify"
)

// delivery is what became of one test message.
type delivery struct {
	// Channel is the pager's name, or "slack".
	Channel string `json:"channel"`
	// OK says that the service took it, Confirmed that it also said what became of
	// it.
	OK        bool   `json:"ok"`
	Confirmed bool   `json:"confirmed"`
	Detail    string `json:"detail,omitempty"`
	Error     string `json:"error,omitempty"`
	ElapsedMs int64  `json:"elapsed_ms"`
}

// tested is the answer of the step notify-test.
type tested struct {
	Deliveries []delivery `json:"deliveries"`
}

// tester is a channel that can be tried.
type tester interface {
	Test(ctx context.Context, m notify.Message) (notify.Delivery, error)
}

// notifyTest sends a message that says it is a test through each channel, all at
// once. What fails is in the answer: the others have been tried all the same.
func notifyTest(ctx context.Context, h *Handler, req request) (any, error) {
	if err := only(req); err != nil {
		return nil, err
	}
	type channel struct {
		name string
		by   tester
	}
	var channels []channel
	answer := &tested{Deliveries: []delivery{}}
	pagers, err := h.Pagers()
	if err != nil {
		answer.Deliveries = append(answer.Deliveries, delivery{Channel: "pagers", Error: incident.Clip(redact.Error(err), maxMessage)})
	} else {
		for _, p := range pagers {
			channels = append(channels, channel{p.Name(), p})
		}
	}
	if h.Slack != nil {
		channels = append(channels, channel{"slack", h.Slack})
	}
	m := notify.Message{Kind: notify.KindTest, Incident: &incident.Incident{Region: h.Region}, Deployment: h.Deployment, Now: time.Now().UTC()}
	got := make([]delivery, len(channels))
	var all sync.WaitGroup
	for n, c := range channels {
		all.Go(func() { got[n] = h.try(ctx, c.name, c.by, m) })
	}
	all.Wait()
	for _, d := range got {
		if d.OK {
			h.Metrics.write(metric{name: metricTestMessages, value: 1}, "")
		}
	}
	answer.Deliveries = append(answer.Deliveries, got...)
	return answer, nil
}

// try sends a test through one channel.
func (h *Handler) try(ctx context.Context, name string, by tester, m notify.Message) (d delivery) {
	begun := time.Now()
	d.Channel = name
	defer func() {
		d.ElapsedMs = time.Since(begun).Milliseconds()
		if r := recover(); r != nil {
			d.OK, d.Error = false, string(fault.Internal)
			h.Log.LogAttrs(ctx, slog.LevelError, "panic", slog.String("channel", name), slog.Any("panic", r))
		}
	}()
	got, err := by.Test(ctx, m)
	d.Confirmed, d.Detail = got.Confirmed && err == nil, got.Detail
	if err != nil {
		d.Error = incident.Clip(redact.Error(err), maxMessage)
		return d
	}
	d.OK = true
	return d
}
