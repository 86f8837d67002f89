package handler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/redact"
	"firstline/notify"
)

const (
	// othersTime bounds the question whether another instance answers us, and
	// maxOthers is how many are asked.
	othersTime = 8 * time.Second
	maxOthers  = 2
	// maxFact bounds why a fact could not be asked, in runes.
	maxFact = 200
)

// asking asks for the facts of one decision, once.
type asking struct {
	h     *Handler
	inc   *incident.Incident
	asked bool
	known policy.Facts
}

func (h *Handler) ask(inc *incident.Incident) *asking { return &asking{h: h, inc: inc} }

// facts puts what the decision needs into its input. A dry incident asks even if
// its decision needs nothing: a missing right is found before it is needed.
func (a *asking) facts(ctx context.Context, in *policy.Input) {
	if !a.asked && (a.inc.Dry || policy.NeedsFacts(*in)) {
		a.asked = true
		a.askAll(ctx, in)
	}
	in.Facts = a.known
}

// askAll asks all questions side by side.
func (a *asking) askAll(ctx context.Context, in *policy.Input) {
	k := &a.known
	questions := []func() error{func() error { return ask(ctx, &k.EC2, "EC2", askTime, a.ec2) }}
	if a.inc.Alarm == nil {
		questions = append(questions, func() error { return ask(ctx, &k.Alarm, "CloudWatch", askTime, a.alarm) })
	}
	if policy.NeedsOthers(*in) {
		questions = append(questions,
			func() error { return ask(ctx, &k.Others, "other instances", othersTime, a.others) },
			func() error { return ask(ctx, &k.Connected, "our own connectivity", askTime, a.connected) })
	}
	refs := policy.AlertsToAsk(*in)
	states := make([]policy.Fact[policy.AlertState], len(refs))
	for n, ref := range refs {
		questions = append(questions, func() error {
			return ask(ctx, &states[n], "pager "+ref.Pager, askTime, func(ctx context.Context) (policy.AlertState, error) { return a.h.alertState(ctx, ref) })
		})
	}
	for _, err := range sideBySide(ctx, a.h, questions, func(question func() error) error { return question() }) {
		if err != nil {
			a.h.warn(ctx, "cannot ask for a fact", a.inc.InstanceID, err)
		}
	}
	k.Alerts = map[string]policy.AlertState{}
	for n, ref := range refs {
		k.Alerts[ref.ID] = states[n].Value
	}
}

// ask asks for one fact in bounded time.
func ask[T any](ctx context.Context, fact *policy.Fact[T], what string, bound time.Duration, question func(context.Context) (T, error)) error {
	fact.Err = what + ": no answer" // if the question ends in a panic
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	v, err := question(ctx)
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
		*fact = policy.CouldNotAsk[T](incident.ClipLine(redact.Error(err), maxFact))
		return err
	}
	*fact = policy.Known(v)
	return nil
}

func (a *asking) alarm(ctx context.Context) (state string, err error) {
	state, a.inc.Alarm, err = a.h.alarmOf(ctx, a.inc.InstanceID)
	return state, err
}

func (a *asking) connected(ctx context.Context) (bool, error) { return a.h.Connected(ctx), nil }

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

// pagerNamed returns the pager of that name, or nil.
func pagerNamed(pagers []notify.Pager, name string) notify.Pager {
	for _, p := range pagers {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

// others asks two other instances for a byte: those that follow this one in the
// order of their ids, so that not all ask the same two.
func (a *asking) others(ctx context.Context) (policy.Others, error) {
	all, err := a.h.watched(ctx)
	if err != nil {
		return policy.Others{}, err
	}
	delete(all, a.inc.InstanceID)
	ids := slices.Sorted(maps.Keys(all))
	n, _ := slices.BinarySearch(ids, a.inc.InstanceID)
	ids = slices.Concat(ids[n:], ids[:n])
	ids = ids[:min(len(ids), maxOthers)]
	answers := sideBySide(ctx, a.h, ids, func(id string) error {
		if !a.h.Answers(ctx, id, all[id]) {
			return errors.New("no answer")
		}
		return nil
	})
	got := policy.Others{Any: len(ids) > 0, Answered: slices.Contains(answers, nil)}
	if got.Any && !got.Answered && ctx.Err() != nil {
		return policy.Others{}, fmt.Errorf("they had no time to answer: %w", ctx.Err())
	}
	return got, nil
}
