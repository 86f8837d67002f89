package cli

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"firstline/internal/deployed"
	"firstline/internal/store"
)

func newHandBack() *cobra.Command {
	var (
		flags     rootFlags
		instances []string
	)
	c := &cobra.Command{
		Use:   "handback",
		Short: "End the hand-over of an instance that a person has mended",
		Long: `End the hand-over of instances that a person has mended, before they have been well for
long enough. A look at each starts at once: it takes the instance out of its alert, which
is resolved when no other instance is in it, and tells Slack who has handed it back.

firstline watches the instance again from then on. If it is not healthy, somebody is
paged anew within minutes. It is not rebooted for four hours, as after each alert.
` + "`firstline paused`" + ` lists what is handed over.

Exit codes: 0 done, 1 not everywhere, 2 wrong usage, or not handed over (nothing was
touched), 130 interrupted.`,
		Example: "  firstline handback --instance i-0c1cbf2e7abdedf75",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if len(instances) == 0 {
				return usagef("name the instances to hand back with --instance")
			}
			targets, cfg, err := flags.targets(c, instances)
			if err != nil {
				return err
			}
			result, err := newPauser(cfg).handBack(c.Context(), targets)
			if err := errors.Join(err, c.Context().Err()); err != nil {
				return err
			}
			return flags.report(c, result, func(w io.Writer) error { return printPause(w, result, flags.name) })
		},
	}
	flags.add(c)
	flags.addName(c)
	c.Flags().StringSliceVar(&instances, "instance", nil, "hand these instances back, comma-separated or repeated")
	return c
}

// handBack ends hand-overs. None is ended where one of the instances is not handed over.
func (p *pauser) handBack(ctx context.Context, t targets) (result pauseResult, err error) {
	var none []string
	for _, a := range everywhere(ctx, t.regions, answerTime, p.notHandedOver) {
		none = append(none, a.value...)
	}
	if len(none) > 0 {
		return result, usagef("--instance: not handed over: %s; `firstline paused` lists what is", strings.Join(none, ", "))
	}
	return p.each(ctx, "handback", t, func(ctx context.Context, table *store.Table, r deployed.Region) ([]pauseLine, error) {
		by, err := p.caller(ctx, r)
		if err != nil {
			return nil, err
		}
		lines := t.lines(r, pauseHanded, by)
		var errs []error
		for n, id := range r.InstanceIDs {
			_, err := table.Update(ctx, id, func(e *store.Entry) error {
				if m := e.State.Instance.Membership; m != nil {
					m.HandedBackBy = by
				}
				return nil
			})
			if err != nil {
				lines[n].Result, lines[n].By = pauseFailed, ""
			} else {
				err = p.look(ctx, r, id, "handback")
			}
			errs = append(errs, err)
		}
		return lines, errors.Join(errs...)
	}), nil
}

// notHandedOver are the instances of a region that are not handed over.
func (p *pauser) notHandedOver(ctx context.Context, r deployed.Region) (ids []string, err error) {
	table, err := p.table(r)
	if err != nil {
		return nil, err
	}
	for _, id := range r.InstanceIDs {
		e, err := table.Load(ctx, id)
		if err != nil {
			return ids, err
		}
		if e.State.Instance.Membership == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
