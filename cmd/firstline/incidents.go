package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"firstline/internal/console"
	"firstline/internal/deployed"
	"firstline/internal/old/checks"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
	"firstline/internal/probe"
)

// records are what is kept of incidents in a region; see guard.Table.
type records interface {
	Incidents(ctx context.Context, since time.Time, instanceID string, limit int) ([]guard.Record, error)
	Incident(ctx context.Context, id string) (*guard.Record, *guard.Evidence, error)
	AlertOf(ctx context.Context, instanceID string) (*guard.Alert, error)
}

// reader reads records in many regions.
type reader struct {
	records func(deployed.Region) (records, error)
}

func newReader(cfg aws.Config) *reader {
	return &reader{records: func(r deployed.Region) (records, error) { return tableOf(cfg, r) }}
}

// incidentsResult is a list of incidents.
type incidentsResult struct {
	Command   string    `json:"command"`
	Since     time.Time `json:"since"`
	Incidents []listed  `json:"incidents"`
	// More is true when there are more than were asked for.
	More   bool          `json:"more"`
	Errors []regionError `json:"errors"`
}

// listed is an incident in a list.
type listed struct {
	ID         string    `json:"id"`
	Region     string    `json:"region"`
	InstanceID string    `json:"instanceId,omitempty"`
	StartedAt  time.Time `json:"startedAt"`
	EndedAt    time.Time `json:"endedAt,omitzero"`
	// End is one of incident's End constants.
	End string `json:"end"`
	// Dry says that it was a rehearsal, which acted on nothing.
	Dry bool `json:"dry,omitempty"`
	// Reboot is the outcome of the reboot, and Refusal the guard that refused
	// one; both are empty where none was due.
	Reboot  string `json:"reboot,omitempty"`
	Refusal string `json:"refusal,omitempty"`
	// Pager is the pager that took the page. Repeats counts the notes on its alert
	// up to this one; 0 where the page opened the alert.
	Pager   string `json:"pager,omitempty"`
	Repeats int64  `json:"repeats,omitempty"`
	// Fallback says that another pager took the page, since the first one failed.
	Fallback bool `json:"fallback,omitempty"`
	// TookSeconds is 0 for one that has not ended.
	TookSeconds float64 `json:"tookSeconds,omitempty"`
}

// list makes an entry of a list.
func list(rec guard.Record, r deployed.Region) listed {
	l := listed{ID: rec.ID, Region: r.Region, InstanceID: rec.InstanceID, StartedAt: rec.StartedAt.UTC(), End: rec.End, Dry: rec.Dry}
	if !rec.EndedAt.IsZero() {
		l.EndedAt, l.TookSeconds = rec.EndedAt.UTC(), rec.EndedAt.Sub(rec.StartedAt).Seconds()
	}
	if i := rec.Incident; i != nil {
		if i.Reboot != nil {
			l.Reboot = i.Reboot.Outcome
		}
		if i.Refusal != nil {
			l.Refusal = i.Refusal.Guard
		}
		if i.Alert != nil {
			l.Pager, l.Repeats = i.Alert.Pager, i.Alert.Repeats
		}
		l.Fallback = i.PageError != nil && i.Told != nil && i.Told.Page != nil
	}
	return l
}

// reboots says how many reboots an incident made, and why none.
func (l listed) reboots() string {
	switch {
	case l.Reboot == incident.RebootRequested:
		return "1"
	case l.Reboot == incident.RebootUnknown:
		return "1?"
	case l.Reboot != "":
		return "0 (" + l.Reboot + ")"
	case l.Refusal != "":
		return "0 (" + l.Refusal + ")"
	case l.EndedAt.IsZero():
		// The record says what was known when it was opened.
		return "-"
	}
	return "0"
}

// ended says how an incident ended.
func (l listed) ended() string {
	end := l.End
	if l.Repeats > 0 {
		end += fmt.Sprintf(" (repeat %d)", l.Repeats)
	}
	if l.Fallback {
		end += " (another way)"
	}
	if l.Dry {
		end += " (dry)"
	}
	return end
}

// newest is how many incidents are listed unless said otherwise.
const newest = 100

func newIncidents() *cobra.Command {
	var (
		flags     rootFlags
		instances []string
		since     string
		limit     int
	)
	c := &cobra.Command{
		Use:   "incidents",
		Short: "List incidents of all regions, the newest first",
		Long: `List incidents of all regions, the newest first: when it began, where, how it ended,
how many reboots it made (with "?", when the outcome is not known; in brackets, why
none), how long it took, and its id. "repeat 2" is an incident of an instance whose
alert was open: it is the second note on it, and paged nobody anew. "another way" is
a page that another pager took, since the first one failed. Records are kept for 90 days. One whose
execution ended without its last step is "unconcluded": look at the execution and at
the instance.

A region that does not answer is reported and does not stop the others.

Exit codes: 0 listed, 1 some region did not answer, 2 wrong usage or nothing
deployed, 130 interrupted.`,
		Example: "  firstline incidents --since 24h\n  firstline incidents --instance i-0c1cbf2e7abdedf75 --since 90d --limit 0 --json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			start, err := sinceWhen(since, time.Now())
			if err != nil {
				return err
			}
			if limit < 0 {
				return usagef("--limit: %d is not 1 or more, or 0 for all", limit)
			}
			if err := validInstances(instances); err != nil {
				return err
			}
			d, cfg, err := flags.fleet(c, "list")
			if err != nil {
				return err
			}
			result := newReader(cfg).incidents(c.Context(), d.regions, start, instances, limit)
			if err := c.Context().Err(); err != nil {
				return err
			}
			out := c.OutOrStdout()
			if flags.json {
				out = c.ErrOrStderr()
			}
			err = printIncidents(out, result, d, instances)
			if flags.json {
				err = errors.Join(err, printJSON(c.OutOrStdout(), result))
			}
			return err
		},
	}
	flags.add(c)
	c.Flags().StringSliceVar(&instances, "instance", nil, "list those of these instances only, comma-separated or repeated")
	c.Flags().StringVar(&since, "since", "7d", "list those that began since: a time ago such as 24h or 7d, or RFC 3339")
	c.Flags().IntVar(&limit, "limit", newest, "list the newest N only; 0 lists all")
	return c
}

// sinceWhen reads --since.
func sinceWhen(text string, now time.Time) (time.Time, error) {
	since, err := time.Parse(time.RFC3339, text)
	if err != nil {
		d, ok := parseSpan(text)
		if !ok {
			return time.Time{}, usagef("--since: %q is not a time: give a time ago such as 24h or 7d, or RFC 3339 with its zone, such as %s", text, stamp(now.Add(-24*time.Hour)))
		}
		since = now.Add(-d)
	}
	if since.After(now) {
		return time.Time{}, usagef("--since: %s is still to come, it is %s now: give a time that has passed", stamp(since), stamp(now))
	}
	return since.UTC().Truncate(time.Second), nil
}

// incidents lists the incidents of the regions, the newest first. A limit of 0 is
// none.
func (q *reader) incidents(ctx context.Context, all []deployed.Region, since time.Time, instances []string, limit int) incidentsResult {
	result := incidentsResult{Command: "incidents", Since: since, Incidents: []listed{}}
	// One more tells whether there are more.
	most := limit
	if limit > 0 {
		most++
	}
	if len(instances) == 0 {
		instances = []string{""}
	}
	slices.Sort(instances)
	instances = slices.Compact(instances)
	answers := everywhere(ctx, all, answerTime, func(ctx context.Context, r deployed.Region) ([]guard.Record, error) {
		table, err := q.records(r)
		if err != nil {
			return nil, err
		}
		var found []guard.Record
		for _, id := range instances {
			// Some may come with an error about others.
			some, err := table.Incidents(ctx, since, id, most)
			found = append(found, some...)
			if err != nil {
				return found, err
			}
		}
		return found, nil
	})
	for _, a := range answers {
		for _, rec := range a.value {
			result.Incidents = append(result.Incidents, list(rec, a.region))
		}
	}
	slices.SortStableFunc(result.Incidents, func(a, b listed) int {
		return cmp.Or(b.StartedAt.Compare(a.StartedAt), strings.Compare(a.Region, b.Region), strings.Compare(a.ID, b.ID))
	})
	if limit > 0 && len(result.Incidents) > limit {
		result.Incidents, result.More = result.Incidents[:limit], true
	}
	result.Errors = troubles(answers)
	return result
}

// printIncidents prints a list, and returns an error when a region did not
// answer.
func printIncidents(w io.Writer, result incidentsResult, d deployment, instances []string) error {
	if len(result.Incidents) > 0 {
		t := newTable(w)
		_, _ = fmt.Fprintln(t, "TIME\tREGION\tINSTANCE\tEND\tREBOOTS\tTOOK\tID")
		for _, l := range result.Incidents {
			took := "-"
			if !l.EndedAt.IsZero() {
				took = brief(l.EndedAt.Sub(l.StartedAt))
			}
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", stamp(l.StartedAt), l.Region, cmp.Or(clean(l.InstanceID), "-"), l.ended(), l.reboots(), took, clean(l.ID))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(w, "no incident since %s in %s\n", stamp(result.Since), d.answered(result.Errors)); err != nil {
		return err
	}
	if result.More {
		_, _ = fmt.Fprintf(w, "\nThere are more: the newest %d are listed. --limit 0 lists all, --since fewer.\n", len(result.Incidents))
	}
	for _, id := range instances {
		known := slices.ContainsFunc(d.regions, func(r deployed.Region) bool { return slices.Contains(r.InstanceIDs, id) })
		listed := slices.ContainsFunc(result.Incidents, func(l listed) bool { return l.InstanceID == id })
		if !known && !listed {
			_, _ = fmt.Fprintf(w, "\n%s is not watched in %s: is the id right?\n", id, d.names())
		}
	}
	return unanswered(w, result.Errors, "incidents could not be listed")
}

// answered names the regions but for those with an error.
func (d deployment) answered(errs []regionError) string {
	var names []string
	for _, r := range d.regions {
		if !slices.ContainsFunc(errs, func(e regionError) bool { return e.Region == r.Region }) {
			names = append(names, r.Region)
		}
	}
	return cmp.Or(strings.Join(names, ", "), "no region")
}

// incidentResult is one incident.
type incidentResult struct {
	Command  string             `json:"command"`
	Record   listed             `json:"record"`
	Incident *incident.Incident `json:"incident,omitempty"`
	Evidence *evidence          `json:"evidence,omitempty"`
	// Alert is what has become of the incident's alert by now.
	Alert *alertNow `json:"alert,omitempty"`
	// Errors are of regions that could not be searched, or of evidence or an alert
	// that cannot be read.
	Errors []regionError `json:"errors"`

	region deployed.Region
}

// evidence is what was kept of an instance before it was rebooted.
type evidence struct {
	At             time.Time `json:"at"`
	SystemStatus   string    `json:"systemStatus,omitempty"`
	InstanceStatus string    `json:"instanceStatus,omitempty"`
	// Console is the tail of the console's output, of ConsoleAt.
	Console   string    `json:"console,omitempty"`
	ConsoleAt time.Time `json:"consoleAt,omitzero"`
}

// alertNow is an alert as it is now, as far as firstline knows: what a person does
// at the pager it learns when it looks next.
type alertNow struct {
	Alias    string    `json:"alias"`
	Pager    string    `json:"pager"`
	Open     bool      `json:"open"`
	OpenedAt time.Time `json:"openedAt"`
	Repeats  int64     `json:"repeats"`
	// WatchUntil is until when it is looked whether the instance is well again.
	WatchUntil time.Time `json:"watchUntil,omitzero"`
	// ClosedHow is all-clear, person or replaced.
	ClosedAt  time.Time `json:"closedAt,omitzero"`
	ClosedHow string    `json:"closedHow,omitempty"`
}

// becameOf is what has become of an incident's alert. latest is its instance's,
// nil where the table has none.
func becameOf(a *incident.Alert, latest *guard.Alert) *alertNow {
	now := &alertNow{Alias: a.Alias, Pager: a.Pager, OpenedAt: a.OpenedAt.UTC(), Repeats: a.Repeats, ClosedHow: guard.ClosedReplaced}
	switch {
	case latest == nil || a.Generation == 0 || latest.Generation < a.Generation:
		// It was sent without the table, which knows nothing of it.
		return nil
	case latest.Generation > a.Generation:
		return now
	}
	return &alertNow{
		Alias: cmp.Or(latest.Alias, a.Alias), Pager: cmp.Or(latest.Pager, a.Pager), Open: latest.Open, OpenedAt: latest.OpenedAt.UTC(), Repeats: latest.Repeats,
		WatchUntil: latest.WatchUntil, ClosedAt: latest.ClosedAt, ClosedHow: latest.ClosedHow,
	}
}

// lines say it.
func (a *alertNow) lines(now time.Time) []string {
	if !a.Open && a.ClosedHow == guard.ClosedReplaced && a.ClosedAt.IsZero() {
		return []string{fmt.Sprintf("%s at %s", clean(a.Alias), channel(a.Pager)), "a later alert of the instance has come since"}
	}
	state := "open since " + stamp(a.OpenedAt)
	if !a.Open {
		how := map[string]string{
			guard.ClosedByAllClear: "by the all-clear", guard.ClosedByPerson: "by a person, as its pager told", guard.ClosedReplaced: "since another one took its place",
		}[a.ClosedHow]
		state = strings.TrimSpace(fmt.Sprintf("opened at %s, closed at %s %s", stamp(a.OpenedAt), stamp(a.ClosedAt), how))
	}
	all := []string{fmt.Sprintf("%s at %s", clean(a.Alias), channel(a.Pager)), state}
	if a.Repeats > 0 {
		all = append(all, count(int(a.Repeats), "further incident")+" of the instance added to it")
	}
	if a.Open && a.WatchUntil.After(now) {
		all = append(all, "looks until "+stamp(a.WatchUntil)+" whether the instance is well again")
	}
	return all
}

func newIncident() *cobra.Command {
	var (
		flags      rootFlags
		noEvidence bool
	)
	c := &cobra.Command{
		Use:   "incident ID",
		Short: "Show one incident as a timeline, with its evidence",
		Long: `Show one incident as a timeline: when the alarm rang, what each check found, what a
guard refused or what was rebooted, who was told, and how it ended; and under it what
has become of its alert, the settings it worked with and the evidence that was kept
before the reboot. ID is what
` + "`firstline incidents`" + ` and the messages name, its beginning if that is enough, or the
execution's ARN. All regions are searched.

Exit codes: 0 shown, 1 not found where a region did not answer, 2 wrong usage, no
such incident or nothing deployed, 130 interrupted.`,
		Example: "  firstline incident 2f6a1c9e\n  firstline incident 2f6a1c9e --json | jq .incident.findings",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("name one incident by its id, as `firstline incidents` lists it; see %s --help", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			id, err := incidentID(args[0])
			if err != nil {
				return err
			}
			d, cfg, err := flags.fleet(c, "show")
			if err != nil {
				return err
			}
			q := newReader(cfg)
			result, err := q.incident(c.Context(), d.regions, id)
			if c.Context().Err() != nil {
				return c.Context().Err()
			}
			if err != nil {
				return err
			}
			if noEvidence {
				result.Evidence = nil
			}
			for _, e := range result.Errors {
				_, _ = fmt.Fprintf(c.ErrOrStderr(), "%s: %s\n", e.Region, e.Error)
			}
			if flags.json {
				return printJSON(c.OutOrStdout(), result)
			}
			return printIncident(c.OutOrStdout(), result, noEvidence)
		},
	}
	flags.add(c)
	c.Flags().BoolVar(&noEvidence, "no-evidence", false, "leave the evidence out")
	return c
}

// incidentID reads the argument: an id, its beginning, or an execution's ARN.
func incidentID(text string) (string, error) {
	id := text[strings.LastIndex(text, ":")+1:]
	if id == "" || len(id) > 80 || strings.ContainsFunc(id, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) || r == '/' }) {
		return "", usagef("%q is not an incident's id: give one that `firstline incidents` lists, or its beginning", text)
	}
	return id, nil
}

// incident searches all regions for an incident.
func (q *reader) incident(ctx context.Context, all []deployed.Region, id string) (*incidentResult, error) {
	searching, found := context.WithCancel(ctx)
	defer found()
	type hit struct {
		record   *guard.Record
		evidence *guard.Evidence
	}
	var exact sync.Once
	answers := everywhere(searching, all, answerTime, func(ctx context.Context, r deployed.Region) (hit, error) {
		table, err := q.records(r)
		if err != nil {
			return hit{}, err
		}
		rec, ev, err := table.Incident(ctx, id)
		switch {
		case errors.Is(err, guard.ErrNotFound):
			return hit{}, nil
		case rec == nil:
			return hit{}, err
		case rec.ID == id:
			// There is one only, so a region that does not answer is not
			// waited for.
			exact.Do(found)
		}
		return hit{rec, ev}, err
	})
	var result *incidentResult
	var where, also []string
	// complete returns a result with what has become of its alert.
	complete := func(r *incidentResult) *incidentResult {
		if err := q.alert(ctx, r); err != nil {
			r.Errors = append(r.Errors, regionError{r.Record.Region, "what has become of the alert is not known: " + inWords(err)})
		}
		return r
	}
	for _, a := range answers {
		rec := a.value.record
		switch {
		case errors.Is(a.err, guard.ErrAmbiguous):
			also = append(also, a.region.Region)
			continue
		case rec == nil:
			continue
		}
		where = append(where, a.region.Region)
		if result != nil && rec.ID != id {
			continue
		}
		result = &incidentResult{Command: "incident", Record: list(*rec, a.region), Incident: rec.Incident, region: a.region}
		if e := a.value.evidence; e != nil {
			result.Evidence = &evidence{At: e.At, SystemStatus: e.SystemStatus, InstanceStatus: e.InstanceStatus, Console: e.Console, ConsoleAt: e.ConsoleAt}
		}
	}
	errs := troubles(answers)
	if result != nil && result.Record.ID == id {
		// What others would have said does not matter any more.
		result.Errors = slices.DeleteFunc(errs, func(e regionError) bool { return e.Region != result.Record.Region })
		return complete(result), nil
	}
	if len(also) > 0 || len(where) > 1 {
		return nil, usagef("%s: several incidents begin so (in %s): give more of the id, as `firstline incidents` lists it", id, strings.Join(append(also, where...), ", "))
	}
	if result != nil {
		result.Errors = errs
		return complete(result), nil
	}
	if len(errs) > 0 {
		var texts []string
		for _, e := range errs {
			texts = append(texts, e.Region+": "+e.Error)
		}
		return nil, fmt.Errorf("%s was not found where a region answered; not all did: %s", id, strings.Join(texts, "; "))
	}
	return nil, usagef("%s: no incident of this id in %s (they are kept for 90 days): `firstline incidents` lists them", id, deployment{regions: all}.names())
}

// alert looks what has become of the incident's alert.
func (q *reader) alert(ctx context.Context, r *incidentResult) error {
	if r.Incident == nil || r.Incident.Alert == nil || r.Record.InstanceID == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	table, err := q.records(r.region)
	if err != nil {
		return err
	}
	latest, err := table.AlertOf(ctx, r.Record.InstanceID)
	if err != nil {
		return err
	}
	r.Alert = becameOf(r.Incident.Alert, latest)
	return nil
}

// moment is one line of a timeline.
type moment struct {
	// at is zero where it is not known; then it comes after what is before it.
	at         time.Time
	what, text string
}

// moments are what happened in an incident, in order.
func moments(r *incidentResult) []moment {
	var all []moment
	say := func(at time.Time, what, format string, args ...any) {
		all = append(all, moment{at, what, clean(fmt.Sprintf(format, args...))})
	}
	i := r.Incident
	if i == nil {
		i = new(incident.Incident)
	}
	if a := i.Alarm; a != nil {
		say(a.At, "alarm", "%s rang: %s", a.Name, cmp.Or(a.Reason, "it gives no reason"))
		if late := i.EventAt.Sub(a.At); !i.EventAt.IsZero() && late > time.Minute {
			say(i.EventAt, "event", "sent %s after the alarm rang", brief(late))
		}
	}
	opened := "the checks begin"
	if r.Record.Dry {
		opened = "a rehearsal, which acts on nothing"
	}
	say(r.Record.StartedAt, "opened", "%s", opened)
	if p := i.Paused; p != nil {
		by := ""
		if p.By != "" {
			by = " by " + p.By
		}
		say(time.Time{}, "paused", "the %s, until %s%s: no reboot, no page", p.Scope, stamp(p.Until), by)
	}
	for _, f := range i.Findings {
		say(f.At, finding(f), "%s", seen(f))
	}
	if r.Evidence != nil {
		say(r.Evidence.At, "evidence", "kept; see below")
	}
	if i.Refusal != nil {
		say(i.Refusal.At, "guard", "no reboot (%s): %s", i.Refusal.Guard, i.Refusal.Reason)
	}
	if b := i.Reboot; b != nil {
		text := cmp.Or(b.Outcome, "requested")
		if b.Reason != "" {
			text += ": " + b.Reason
		}
		if !b.WindowClosesAt.IsZero() {
			text += "; looks end at " + stamp(b.WindowClosesAt)
		}
		say(b.At, "reboot", "%s", text)
	}
	failed(say, "reboot", i.RebootError)
	if v := i.Recovery; v != nil && v.Since != nil {
		say(*v.Since, "recovery", "all checks pass since then")
	}
	failed(say, "error", i.Error)
	failed(say, "slack", i.SlackError)
	failed(say, "page", i.PageError)
	for _, s := range i.Suppressed {
		if s.Action != incident.ActionReboot || i.Reboot == nil {
			say(s.At, s.Action, "left undone, since it is dry")
		}
	}
	// In a rehearsal it is when it would have been, which the lines above say.
	if t := i.Told; t != nil && !r.Record.Dry {
		if t.Slack != nil {
			say(*t.Slack, "slack", "message sent")
		}
		if t.Page != nil {
			say(*t.Page, "page", "%s", paged(i))
		}
		if th := i.Thread; th != nil {
			say(time.Time{}, "slack", "in the thread %s of channel %s", th.TS, th.Channel)
		}
	}
	failed(say, "watch", i.WatchError)
	failed(say, "close", i.CloseError)
	switch r.Record.End {
	case incident.EndOpen:
		say(time.Time{}, "now", "still open")
	case incident.EndUnconcluded:
		say(r.Record.EndedAt, "end", "unconcluded: its execution ended without its last step, look at it and at the instance")
	default:
		say(r.Record.EndedAt, "end", "%s", r.Record.End)
	}
	return inOrder(all)
}

// paged says where a page went, and what became of it there.
func paged(i *incident.Incident) string {
	a := i.Alert
	if a == nil {
		return "sent"
	}
	text := "sent"
	if a.Repeats > 0 {
		text = fmt.Sprintf("added as repeat %d to the alert", a.Repeats)
	}
	if a.Pager != "" {
		text += " through " + channel(a.Pager)
	}
	if i.PageError != nil {
		text += ", since another pager failed"
	}
	text += ": " + a.Alias
	if a.Repeats > 0 && !a.OpenedAt.IsZero() {
		text += ", open since " + stamp(a.OpenedAt)
	}
	return text
}

// failed says with which error something ended; nil is none.
func failed(say func(time.Time, string, string, ...any), what string, e *incident.Error) {
	if e == nil {
		return
	}
	text := probe.Unpack(e.Cause)
	if e.Error != "" && text != "" {
		text = e.Error + ": " + text
	}
	say(time.Time{}, what, "%s", cmp.Or(text, e.Error))
}

// inOrder sorts by time. What has none stays behind all that was said before it.
func inOrder(all []moment) []moment {
	type placed struct {
		moment
		by time.Time
	}
	var latest time.Time
	list := make([]placed, 0, len(all))
	for _, m := range all {
		p := placed{m, m.at}
		if m.at.IsZero() {
			p.by = latest
		}
		if p.by.After(latest) {
			latest = p.by
		}
		list = append(list, p)
	}
	slices.SortStableFunc(list, func(a, b placed) int { return a.by.Compare(b.by) })
	for n := range list {
		all[n] = list[n].moment
	}
	return all
}

// finding names a check and its run.
func finding(f checks.Finding) string {
	if f.Run > 1 {
		return fmt.Sprintf("%s, run %d", f.Check, f.Run)
	}
	return f.Check
}

// seen says what a finding saw.
func seen(f checks.Finding) string {
	if f.Skipped {
		return f.Reason
	}
	word := "failed"
	if f.Passed {
		word = "passed"
	}
	text := fmt.Sprintf("%s: %s (%s, %d ms", word, f.Reason, count(f.Attempts, "attempt"), f.ElapsedMs)
	if f.Looks > 1 {
		text += fmt.Sprintf("; %d looks", f.Looks)
		if f.Since != nil {
			text += " since " + stamp(*f.Since)
		}
	}
	return text + ")"
}

// printIncident prints an incident for people to read.
func printIncident(w io.Writer, r *incidentResult, noEvidence bool) error {
	l := r.Record
	instance := cmp.Or(clean(l.InstanceID), "no instance")
	if r.Incident != nil && r.Incident.Name != "" {
		instance += " (" + clean(r.Incident.Name) + ")"
	}
	title := fmt.Sprintf("%s in %s: %s", instance, l.Region, l.ended())
	if !l.EndedAt.IsZero() {
		title += " after " + brief(l.EndedAt.Sub(l.StartedAt))
	}
	if n := l.reboots(); n != "-" {
		title += ", reboots: " + n
	}
	if _, err := fmt.Fprintf(w, "%s\nincident %s\n", title, clean(l.ID)); err != nil {
		return err
	}
	if pages, public := console.In(r.region.Partition(), l.Region); public && r.Incident != nil && r.Incident.Execution.ID != "" {
		_, _ = fmt.Fprintln(w, pages.Execution(clean(r.Incident.Execution.ID)))
	}
	_, _ = fmt.Fprintln(w)
	t := newTable(w)
	_, _ = fmt.Fprintln(t, "TIME\tAFTER\tWHAT")
	for _, m := range moments(r) {
		at, after := "", ""
		if !m.at.IsZero() {
			at, after = stamp(m.at), "+"+brief(m.at.Sub(l.StartedAt))
			if before := l.StartedAt.Sub(m.at).Round(time.Second); before > 0 {
				after = "-" + brief(before)
			}
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", at, after, m.what, m.text)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if r.Alert != nil {
		_, _ = fmt.Fprintln(w, "\nalert")
		for _, line := range r.Alert.lines(time.Now()) {
			_, _ = fmt.Fprintln(w, "  "+line)
		}
	}
	if r.Incident != nil && r.Incident.Settings != nil {
		_, _ = fmt.Fprintln(w, "\nsettings")
		for _, line := range settingsLines(r.Incident.Settings) {
			_, _ = fmt.Fprintln(w, "  "+line)
		}
	}
	if noEvidence {
		return nil
	}
	return printEvidence(w, r)
}

// settingsLines say those settings on which the course of an incident depends.
func settingsLines(s *incident.Settings) []string {
	line := func(name, format string, args ...any) string {
		return fmt.Sprintf("%-8s %s", name, clean(fmt.Sprintf(format, args...)))
	}
	off := "off"
	var all []string
	if u := s.URL; u.Enabled {
		where := u.Scheme + "://…" + u.Path
		if u.Port != 0 {
			where = fmt.Sprintf("%s://…:%d%s", u.Scheme, u.Port, u.Path)
		}
		if u.Address != "" {
			where = address(u.Address)
		}
		all = append(all, line(checks.NameURL, "%s %s, %s of %s, wants %s", u.Method, where, count(u.Attempts, "attempt"), milliseconds(u.TimeoutMs), strings.Join(u.Status, ", ")))
	} else {
		all = append(all, line(checks.NameURL, "%s", off))
	}
	if r := s.Route53; r.HealthCheckID != "" {
		all = append(all, line(checks.NameRoute53, "health check %s, more than %d %% of the checkers", r.HealthCheckID, r.QuorumPercent))
	} else {
		all = append(all, line(checks.NameRoute53, "%s", off))
	}
	if h := s.SSH; h.Enabled {
		all = append(all, line(checks.NameSSH, "%s port %d, %s of %s", cmp.Or(h.Host, "the instance,"), h.Port, count(h.Attempts, "attempt"), milliseconds(h.TimeoutMs)))
	} else {
		all = append(all, line(checks.NameSSH, "%s", off))
	}
	b, r := s.Boot, s.Reboot
	all = append(all, line("boot", "first look after %s, then every %s, until %s after the reboot",
		seconds(b.FirstLookSeconds), seconds(b.IntervalSeconds), seconds(b.WindowSeconds)))
	reboots := fmt.Sprintf("at most one in %s and %d in 24 hours, for events of the last %s", seconds(r.CoolDownSeconds), r.PerDay, seconds(r.FreshSeconds))
	if r.PerDay == 0 {
		reboots = "never (per_day is 0)"
	}
	if r.DryRun {
		reboots += "; a dry run: EC2 is only asked whether it would"
	}
	return append(all, line("reboots", "%s", reboots))
}

// address is a URL without its query, in which people may have put a secret.
func address(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "an address that is no URL"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

func seconds(n int) string      { return brief(time.Duration(n) * time.Second) }
func milliseconds(n int) string { return (time.Duration(n) * time.Millisecond).String() }

// printEvidence prints what was kept of the instance before its reboot.
func printEvidence(w io.Writer, r *incidentResult) error {
	e := r.Evidence
	if e == nil {
		if r.Incident == nil || r.Incident.Reboot == nil {
			return nil
		}
		_, err := fmt.Fprintln(w, "\nevidence\n  none was kept")
		return err
	}
	_, err := fmt.Fprintf(w, "\nevidence of %s\n  system status    %s\n  instance status  %s\n", stamp(e.At), cmp.Or(clean(e.SystemStatus), "not known"), cmp.Or(clean(e.InstanceStatus), "not known"))
	if err != nil {
		return err
	}
	if strings.TrimSpace(e.Console) == "" {
		_, err = fmt.Fprintln(w, "  console          nothing")
		return err
	}
	of := ""
	if !e.ConsoleAt.IsZero() {
		of = " as of " + stamp(e.ConsoleAt)
	}
	_, _ = fmt.Fprintf(w, "  console, its last lines%s, redacted\n", of)
	for text := range strings.Lines(strings.TrimRight(e.Console, "\r\n")) {
		if _, err = fmt.Fprintln(w, strings.TrimRight("  | "+clean(strings.TrimRight(text, "\r\n")), " ")); err != nil {
			return err
		}
	}
	return nil
}
