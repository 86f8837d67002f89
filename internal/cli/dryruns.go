package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"firstline/internal/deployed"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
)

// dryResult is what would have been done to the instances with reboot.dry_run.
type dryResult struct {
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
	// Rows counts all of their incidents; Would lists those that did not end silently.
	Rows   []rowCount    `json:"rows"`
	Would  []would       `json:"would"`
	More   bool          `json:"more"`
	Errors []regionError `json:"errors"`
}

// rowCount is how many incidents would have come to the same by one row of the policy.
type rowCount struct {
	Row       int    `json:"row"`
	Would     string `json:"would"`
	Incidents int    `json:"incidents"`
}

// would is what an incident would have come to.
type would struct {
	Region   string          `json:"region"`
	ID       string          `json:"incident_id"`
	At       incident.Millis `json:"at"`
	Instance string          `json:"instance_id"`
	Name     string          `json:"name,omitempty"`
	Row      int             `json:"row"`
	// Would is the word of the decision, "reboot" where dry_run alone refused one.
	Would  string `json:"would"`
	Guard  string `json:"guard,omitempty"`
	Reason string `json:"reason"`
}

// wouldHave is what an incident would have come to: the reboot that dry_run refused, or
// else its last decision.
func wouldHave(rec *store.Record) would {
	l := rec.Looks[len(rec.Looks)-1]
	n := slices.IndexFunc(rec.Looks, func(l incident.Decision) bool { return l.Guard == policy.GuardDryRun })
	if n >= 0 {
		l = rec.Looks[n]
		l.Next, l.Guard = incident.NextReboot, ""
		if _, why, ok := strings.Cut(l.Reason, "rebooted: "); ok {
			l.Reason = why
		}
	}
	return would{rec.Region, rec.ID, l.At, rec.InstanceID, rec.Name, l.Row, l.Next, l.Guard, l.Reason}
}

// dryRuns tells what would have been done to the instances with reboot.dry_run. The
// limit bounds the list; 0 is none.
func (open tables) dryRuns(ctx context.Context, all []deployed.Region, since time.Time, instances []string, limit int) dryResult {
	result := dryResult{Command: "incidents", Since: since, Rows: []rowCount{}, Would: []would{}}
	records, errs := open.records(ctx, all, since, 0, func(rec store.Record) bool {
		return rec.Settings != nil && rec.Settings.Reboot.DryRun && !rec.Dry && len(rec.Looks) > 0 &&
			(len(instances) == 0 || slices.Contains(instances, rec.InstanceID))
	})
	result.Errors = errs
	for n := range records {
		w := wouldHave(&records[n])
		k := slices.IndexFunc(result.Rows, func(r rowCount) bool { return r.Row == w.Row && r.Would == w.Would })
		if k < 0 {
			k, result.Rows = len(result.Rows), append(result.Rows, rowCount{Row: w.Row, Would: w.Would})
		}
		result.Rows[k].Incidents++
		isSilent := w.Would == incident.NextDone || w.Would == incident.NextHandedOver
		switch {
		case isSilent:
		case limit > 0 && len(result.Would) == limit:
			result.More = true
		default:
			result.Would = append(result.Would, w)
		}
	}
	slices.SortFunc(result.Rows, func(a, b rowCount) int { return cmp.Or(a.Row-b.Row, strings.Compare(a.Would, b.Would)) })
	return result
}

// printDryRuns prints what would have been done, and returns an error when a region did
// not answer.
func printDryRuns(w io.Writer, result dryResult, d deployment) error {
	t := newTable(w)
	if len(result.Rows) == 0 {
		_, _ = fmt.Fprintf(t, "no incident of an instance with reboot.dry_run since %s in %s\n", stamp(result.Since), d.answered(result.Errors))
	} else {
		_, _ = fmt.Fprintln(t, "ROW\tWOULD\tINCIDENTS")
	}
	for _, r := range result.Rows {
		_, _ = fmt.Fprintf(t, "%d\t%s\t%d\n", r.Row, r.Would, r.Incidents)
	}
	if len(result.Would) > 0 {
		_, _ = fmt.Fprintln(t, "\nTIME\tID\tREGION\tINSTANCE\tROW\tNAME, WOULD: REASON")
	}
	for _, l := range result.Would {
		text := l.Would
		if l.Guard != "" {
			text += " (" + l.Guard + ")"
		}
		if l.Name != "" {
			text = incident.ClipLine(l.Name, maxName) + ", " + text
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\n", stamp(l.At.Time()), shortID(l.ID), l.Region, l.Instance, l.Row, incident.ClipLine(clean(text+": "+l.Reason), columns-len(indent)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if result.More {
		_, _ = fmt.Fprintf(w, "\nThere are more: the newest %d are listed. --limit 0 lists all, --since fewer.\n", len(result.Would))
	}
	return unanswered(w, result.Errors, "incidents could not be listed")
}
