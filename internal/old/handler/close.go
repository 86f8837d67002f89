package handler

import (
	"context"
	"log/slog"

	"firstline/internal/old/incident"
)

// closeIncident ends the incident's lease, keeps which checks have passed, and
// finishes its record. It leaves the incident as it is: how the execution ends is
// the state machine's to decide, and goes by the same.
func closeIncident(ctx context.Context, h *Handler, inc *incident.Incident) error {
	if inc.HandledBy != nil {
		return nil // it never had the lease
	}
	if inc.Execution.ID == "" {
		// Not even its execution is known, so nothing in the table is known to be
		// its.
		h.Log.LogAttrs(ctx, slog.LevelError, "an incident without its execution cannot be closed: its lease runs out by itself", slog.String("instance", inc.InstanceID))
		return nil
	}
	guards, err := h.Guards(ctx)
	if err != nil {
		return err
	}
	known := h.known(inc)
	return kinded("close the incident of "+known.InstanceID, guards.Close(ctx, known, endOf(inc)))
}

// endOf says how an incident ends, from what the steps have left in it: as the
// state "How did it end?" does, and "Close quietly" before it.
func endOf(inc *incident.Incident) string {
	slack := inc.Told != nil && inc.Told.Slack != nil
	page := inc.Told != nil && inc.Told.Page != nil
	switch {
	// Whichever pager took it.
	case page && inc.InstanceID == "":
		return incident.EndNoIncident
	case page:
		return incident.EndPaged
	case allGood(inc) && !slack && !page:
		return incident.EndAllGood
	case !slack && !page:
		return incident.EndNobodyTold
	case inc.PageError != nil:
		return incident.EndPageFailed
	case inc.Paused != nil:
		return incident.EndPaused
	}
	return incident.EndRecovered
}

// allGood reports whether run 1 has passed: of that nobody is told.
func allGood(inc *incident.Incident) bool {
	return inc.InstanceID != "" && inc.Run == 1 && inc.Passed && inc.Reboot == nil && inc.Refusal == nil &&
		inc.Error == nil && inc.SlackError == nil && inc.PageError == nil
}

// baseline keeps which checks have passed, which is all that an incident of the
// operator's command is for.
func baseline(ctx context.Context, h *Handler, inc *incident.Incident) error {
	guards, err := h.Guards(ctx)
	if err != nil {
		return err
	}
	return kinded("keep what has passed of "+inc.InstanceID, guards.Learn(ctx, inc))
}
