package handler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/redact"
	"firstline/notify"
)

const (
	// othersTime bounds the question whether another instance answers us.
	othersTime = 8 * time.Second
	// maxOthers is how many other instances are asked, of those on the first
	// pages of SSM's answer.
	maxOthers, maxPages = 2, 5
)

// asking asks for the facts of one decision, each once.
type asking struct {
	h   *Handler
	inc *incident.Incident

	mu        sync.Mutex
	asked     map[string]bool
	known     policy.Facts
	alarmName *incident.Alarm
}

func (h *Handler) ask(inc *incident.Incident) *asking {
	return &asking{h: h, inc: inc, asked: map[string]bool{}, known: policy.Facts{Alerts: map[string]policy.AlertState{}}}
}

// facts puts what the decision needs into its input, all asked side by side. A
// dry incident asks even if its decision needs nothing: a missing right is found
// before it is needed.
func (a *asking) facts(ctx context.Context, in *policy.Input) {
	if a.inc.Dry || policy.NeedsFacts(*in) {
		a.gather(ctx, in)
	}
	in.Facts = a.known
	in.Alarm = a.inc.Alarm != nil
}

// gather asks what has not been asked yet.
func (a *asking) gather(ctx context.Context, in *policy.Input) {
	var questions []func()
	once := func(name string, question func()) {
		if !a.asked[name] {
			a.asked[name] = true
			questions = append(questions, question)
		}
	}
	once("ec2", func() { ask(ctx, a, &a.known.EC2, "EC2", askTime, a.h.askEC2) })
	if a.inc.Alarm == nil {
		once("alarm", func() { ask(ctx, a, &a.known.Alarm, "CloudWatch", askTime, a.askAlarm) })
	}
	if policy.NeedsOthers(*in) {
		once("others", func() { ask(ctx, a, &a.known.Others, "other instances", othersTime, a.h.askOthers) })
		once("connected", func() {
			ask(ctx, a, &a.known.Connected, "our own connectivity", askTime, func(ctx context.Context, _ string) (bool, error) { return a.h.connected(ctx) })
		})
	}
	for _, ref := range policy.AlertsToAsk(*in) {
		once("alert "+ref.Alias, func() { a.askAlert(ctx, ref) })
	}
	sideBySide(ctx, a.h, questions, func(question func()) { question() })
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.alarmName != nil {
		a.inc.Alarm, a.alarmName = a.alarmName, nil
	}
}

// ask asks for one fact in bounded time.
func ask[T any](ctx context.Context, a *asking, fact *policy.Fact[T], what string, bound time.Duration, question func(context.Context, string) (T, error)) {
	fact.Err = what + ": no answer" // if the question ends in a panic
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	v, err := question(ctx, a.inc.InstanceID)
	if err != nil {
		a.h.warn(ctx, "cannot ask for a fact", a.inc.InstanceID, err)
		*fact = policy.CouldNotAsk[T](incident.ClipLine(what+": "+redact.Error(err), maxFact))
		return
	}
	*fact = policy.Known(v)
}

// maxFact bounds why a fact could not be asked, in runes.
const maxFact = 200

func (a *asking) askAlarm(ctx context.Context, instanceID string) (string, error) {
	state, alarm, err := a.h.alarmOf(ctx, instanceID)
	if alarm != nil {
		a.mu.Lock()
		a.alarmName = alarm
		a.mu.Unlock()
	}
	return state, err
}

// askAlert asks the pager that has an alert whether it is open.
func (a *asking) askAlert(ctx context.Context, ref incident.AlertRef) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	state, err := a.h.alertState(ctx, ref)
	if err != nil {
		a.h.warn(ctx, "cannot ask whether an alert is open", a.inc.InstanceID, err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known.Alerts[ref.ID] = state
}

func (h *Handler) alertState(ctx context.Context, ref incident.AlertRef) (policy.AlertState, error) {
	pagers, err := h.Pagers()
	if err != nil {
		return "", err
	}
	p := pagerNamed(pagers, ref.Pager)
	if p == nil || !p.Capabilities().Readable {
		return policy.AlertUnreadable, nil
	}
	open, err := p.Open(ctx, ref.Alias)
	switch {
	case err != nil:
		return "", err
	case open:
		return policy.AlertOpen, nil
	}
	return policy.AlertClosed, nil
}

func pagerNamed(pagers []notify.Pager, name string) notify.Pager {
	for _, p := range pagers {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

func (h *Handler) connected(ctx context.Context) (bool, error) {
	if h.Connected == nil {
		return false, errors.New("this function has no way to tell")
	}
	return h.Connected(ctx)
}

// askOthers asks two other instances for a byte: those that follow this one in
// the order of their ids, so that not all ask the same two.
func (h *Handler) askOthers(ctx context.Context, instanceID string) (policy.Others, error) {
	others, err := h.otherInstances(ctx, instanceID)
	if err != nil {
		return policy.Others{}, err
	}
	answered := make([]bool, len(others))
	var numbers []int
	for n := range others {
		numbers = append(numbers, n)
	}
	sideBySide(ctx, h, numbers, func(n int) { answered[n] = h.Answers(ctx, others[n].id, others[n].settings) })
	got := policy.Others{Any: len(others) > 0, Answered: slices.Contains(answered, true)}
	if got.Any && !got.Answered && ctx.Err() != nil {
		return policy.Others{}, fmt.Errorf("they had no time to answer: %w", ctx.Err())
	}
	return got, nil
}

// other is another watched instance.
type other struct {
	id       string
	settings *incident.Settings
}

// otherInstances are watched instances which one of our own checks can ask.
func (h *Handler) otherInstances(ctx context.Context, instanceID string) ([]other, error) {
	client, err := h.SSM(ctx)
	if err != nil {
		return nil, err
	}
	var found []other
	in := &ssm.GetParametersByPathInput{Path: aws.String(strings.TrimSuffix(h.SettingsPath, "/"))}
	for range maxPages {
		out, err := client.GetParametersByPath(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, p := range out.Parameters {
			id := strings.TrimPrefix(aws.ToString(p.Name), h.SettingsPath)
			if !incident.ValidInstanceID(id) || id == instanceID {
				continue
			}
			if s, err := decodeSettings(aws.ToString(p.Value)); err == nil && (s.URL.Enabled || s.SSH.Enabled) {
				found = append(found, other{id, s})
			}
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			break
		}
	}
	slices.SortFunc(found, func(x, y other) int { return strings.Compare(x.id, y.id) })
	n, _ := slices.BinarySearchFunc(found, instanceID, func(o other, id string) int { return strings.Compare(o.id, id) })
	found = append(slices.Clone(found[n:]), found[:n]...)
	return found[:min(len(found), maxOthers)], nil
}
