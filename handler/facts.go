package handler

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	// maxFact bounds why a fact could not be asked, in runes.
	maxFact = 200
)

// asking asks for the facts of one decision, each once.
type asking struct {
	h     *Handler
	inc   *incident.Incident
	asked map[string]bool
	known policy.Facts
}

func (h *Handler) ask(inc *incident.Incident) *asking {
	return &asking{h: h, inc: inc, asked: map[string]bool{}, known: policy.Facts{Alerts: map[string]policy.AlertState{}}}
}

// facts puts what the decision needs into its input; what has not been asked yet
// is asked, all side by side. A dry incident asks even if its decision needs
// nothing: a missing right is found before it is needed.
func (a *asking) facts(ctx context.Context, in *policy.Input) {
	var questions []func() error
	once := func(name string, question func() error) {
		if !a.asked[name] {
			a.asked[name] = true
			questions = append(questions, question)
		}
	}
	var mu sync.Mutex // of known.Alerts
	if a.inc.Dry || policy.NeedsFacts(*in) {
		once("EC2", func() error { return ask(ctx, &a.known.EC2, "EC2", askTime, a.ec2) })
		if a.inc.Alarm == nil {
			once("CloudWatch", func() error { return ask(ctx, &a.known.Alarm, "CloudWatch", askTime, a.alarm) })
		}
		if policy.NeedsOthers(*in) {
			once("others", func() error { return ask(ctx, &a.known.Others, "other instances", othersTime, a.others) })
			once("connected", func() error {
				return ask(ctx, &a.known.Connected, "our own connectivity", askTime, func(ctx context.Context) (bool, error) { return a.h.Connected(ctx), nil })
			})
		}
		for _, ref := range policy.AlertsToAsk(*in) {
			once(ref.Alias, func() error {
				var state policy.Fact[policy.AlertState]
				err := ask(ctx, &state, "pager "+ref.Pager, askTime, func(ctx context.Context) (policy.AlertState, error) { return a.h.alertState(ctx, ref) })
				mu.Lock()
				defer mu.Unlock()
				a.known.Alerts[ref.ID] = state.Value
				return err
			})
		}
	}
	for _, err := range sideBySide(ctx, a.h, questions, func(question func() error) error { return question() }) {
		if err != nil {
			a.h.warn(ctx, "cannot ask for a fact", a.inc.InstanceID, err)
		}
	}
	in.Facts = a.known
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
			return errNoAnswer
		}
		return nil
	})
	got := policy.Others{Any: len(ids) > 0, Answered: slices.Contains(answers, nil)}
	if got.Any && !got.Answered && ctx.Err() != nil {
		return policy.Others{}, fmt.Errorf("they had no time to answer: %w", ctx.Err())
	}
	return got, nil
}

var errNoAnswer = errors.New("no answer")

// watched are the watched instances which one of our own checks can ask.
func (h *Handler) watched(ctx context.Context) (map[string]*incident.Settings, error) {
	found := map[string]*incident.Settings{}
	in := &ssm.GetParametersByPathInput{Path: aws.String(strings.TrimSuffix(h.SettingsPath, "/"))}
	for range maxPages {
		out, err := h.SSM().GetParametersByPath(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, p := range out.Parameters {
			id := strings.TrimPrefix(aws.ToString(p.Name), h.SettingsPath)
			s, err := incident.ParseSettings([]byte(aws.ToString(p.Value)))
			if err == nil && incident.ValidInstanceID(id) && (s.URL.Enabled || s.SSH.Enabled) {
				found[id] = s
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	return found, nil
}
