package handler

import (
	"cmp"
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

// facts asks for what a decision needs, side by side, and gives the incident the
// settings of now. A dry incident asks whatever could be needed: a missing right is
// found before.
func (h *Handler) facts(ctx context.Context, inc *incident.Incident, in policy.Input) *policy.Facts {
	f := &policy.Facts{Alerts: map[string]policy.AlertState{}}
	var settings policy.Fact[*incident.Settings]
	questions := []func() error{
		func() error { return ask(ctx, inc, &f.EC2, "EC2", askTime, h.ec2(inc.Dry || policy.Failed(in))) },
		func() error { return ask(ctx, inc, &settings, "settings", askTime, h.settingsNow) },
	}
	if inc.Alarm == nil {
		questions = append(questions, func() error { return ask(ctx, inc, &f.Alarm, "CloudWatch", askTime, h.alarm) })
	}
	if policy.NeedsOthers(in) {
		questions = append(questions,
			func() error { return ask(ctx, inc, &f.Others, "other instances", othersTime, h.others) },
			func() error { return ask(ctx, inc, &f.Connected, "our own connectivity", askTime, h.connected) })
	}
	unanswered := policy.Unanswered(in)
	if inc.Dry || len(unanswered) > 0 {
		questions = append(questions, func() error {
			return ask(ctx, inc, &f.Closed, "security groups", askTime, func(ctx context.Context, inc *incident.Incident) (map[string]string, error) {
				return h.closed(ctx, inc, unanswered)
			})
		})
	}
	questions = append(questions, h.peerQuestions(ctx, inc, f, append(unanswered, policy.Unlearned(in)...))...)
	refs := policy.AlertsToAsk(in)
	states := make([]policy.Fact[policy.AlertState], len(refs))
	for n, ref := range refs {
		questions = append(questions, func() error {
			return ask(ctx, inc, &states[n], "pager "+ref.Pager, askTime, func(ctx context.Context, _ *incident.Incident) (policy.AlertState, error) {
				return h.alertState(ctx, ref)
			})
		})
	}
	for _, err := range sideBySide(ctx, h, questions, func(question func() error) error { return question() }) {
		if err != nil {
			h.warn(ctx, "cannot ask for a fact", inc.InstanceID, err)
		}
	}
	for n, ref := range refs {
		f.Alerts[ref.ID] = states[n].Value
	}
	if settings.Asked {
		f.Unwatched = settings.Value == nil
		inc.Settings = cmp.Or(settings.Value, inc.Settings)
	}
	return f
}

// asked are facts, and the region as it was when they were asked for.
type asked struct {
	facts  *policy.Facts
	region policy.Region
}

// known gives the input the facts, which are asked for once though others may have
// written since. An alert that was paged again meanwhile has another alias: of that
// one nothing is known.
func (h *Handler) known(ctx context.Context, inc *incident.Incident, in *policy.Input, a *asked) {
	if a.facts == nil {
		a.facts, a.region = h.facts(ctx, inc, *in), in.State.Region
	}
	maps.DeleteFunc(a.facts.Alerts, func(id string, _ policy.AlertState) bool {
		return a.region.Alerts[id].Alias != in.State.Region.Alerts[id].Alias
	})
	in.Facts, in.Settings = *a.facts, inc.Settings
}

// settingsNow returns the instance's settings; nil: it is no longer watched.
func (h *Handler) settingsNow(ctx context.Context, inc *incident.Incident) (*incident.Settings, error) {
	s, err := h.readSettings(ctx, inc.InstanceID)
	if errors.Is(err, errMissing) {
		return nil, nil
	}
	return s, err
}

// ask asks for one fact in bounded time.
func ask[T any](
	ctx context.Context, inc *incident.Incident, fact *policy.Fact[T], what string, bound time.Duration,
	question func(context.Context, *incident.Incident) (T, error),
) error {
	fact.Err = what + ": no answer" // if the question ends in a panic
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	v, err := question(ctx, inc)
	if err != nil {
		err = fmt.Errorf("%s: %w", what, err)
		*fact = policy.CouldNotAsk[T](incident.ClipLine(redact.Error(err), maxFact))
		return err
	}
	*fact = policy.Known(v)
	return nil
}

func (h *Handler) connected(ctx context.Context, _ *incident.Incident) (bool, error) {
	return h.Connected(ctx), nil
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
func (h *Handler) others(ctx context.Context, inc *incident.Incident) (policy.Others, error) {
	all, err := h.watched(ctx)
	if err != nil {
		return policy.Others{}, err
	}
	delete(all, inc.InstanceID)
	ids := slices.Sorted(maps.Keys(all))
	n, _ := slices.BinarySearch(ids, inc.InstanceID)
	ids = slices.Concat(ids[n:], ids[:n])
	ids = ids[:min(len(ids), maxOthers)]
	answers := sideBySide(ctx, h, ids, func(id string) error {
		if !h.Answers(ctx, id, all[id]) {
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
