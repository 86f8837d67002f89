package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"firstline/internal/console"
	"firstline/internal/deployed"
	"firstline/internal/incident"
	"firstline/internal/store"
	"firstline/internal/timeline"
)

// incidentsResult is a list of incidents, each as it is stored.
type incidentsResult struct {
	Command   string         `json:"command"`
	Since     time.Time      `json:"since"`
	Incidents []store.Record `json:"incidents"`
	// More is true when there are more than were asked for.
	More   bool          `json:"more"`
	Errors []regionError `json:"errors"`
}

// Ends of an incident that has no end in its record.
const (
	endOpen        = "open"
	endUnconcluded = "unconcluded"
)

// concluded completes a record: where it is from, and how it ended as far as that
// is known.
func concluded(rec store.Record, r deployed.Region, now time.Time) store.Record {
	rec.Region = r.Region
	switch {
	case rec.EndedAt == 0 && rec.LeaseUntil != 0 && rec.LeaseUntil <= incident.At(now):
		rec.End = endUnconcluded
	case rec.EndedAt == 0:
		rec.End = endOpen
	}
	return rec
}

// likeAll is a result that holds stored records. It is encoded with the names and forms
// that all results have: times, which these have in Unix milliseconds, in RFC 3339, the
// ARNs of executions, severities in words, and the errors that Step Functions has
// caught.
type likeAll struct{ result any }

var (
	millis   = regexp.MustCompile(`"(at|[a-z]+_at|lease_until|paused_until|since)":([0-9]+)`)
	severity = regexp.MustCompile(`"severity":([0-9]+)`)
)

// renamed are names of stored fields that others have in results. A quotation mark
// within a text has a backslash before it, so none of these is in one.
var renamed = strings.NewReplacer(`"execution":"arn:`, `"execution_arn":"arn:`, `"Error":`, `"error":`, `"Cause":`, `"cause":`)

func (s likeAll) MarshalJSON() ([]byte, error) {
	raw, err := json.Marshal(s.result)
	number := func(field []byte, of *regexp.Regexp, group int) int64 {
		n, _ := strconv.ParseInt(string(of.FindSubmatch(field)[group]), 10, 64)
		return n
	}
	raw = millis.ReplaceAllFunc(raw, func(field []byte) []byte {
		return fmt.Appendf(nil, `"%s":"%s"`, millis.FindSubmatch(field)[1], incident.Millis(number(field, millis, 2)).Time().Format(time.RFC3339Nano))
	})
	raw = severity.ReplaceAllFunc(raw, func(field []byte) []byte {
		return fmt.Appendf(nil, `"severity":%q`, incident.Severity(number(field, severity, 1)).String())
	})
	return []byte(renamed.Replace(string(raw))), err
}

// newest is how many incidents are listed unless said otherwise.
const newest = 100

func newIncidents() *cobra.Command {
	var (
		flags     rootFlags
		instances []string
		since     string
		limit     int
		dry       bool
	)
	c := &cobra.Command{
		Use:   "incidents",
		Short: "List incidents of all regions, the newest first",
		Long: `List incidents of all regions, the newest first. For each it shows when and where it
began, the first eight characters of its id, how it ended, the instance's Name tag, the
number of looks, how long it took, the outcome of its reboot, and the last decision: the
verdict, the row of the policy's table (in handler/README.md), what followed, and why.
With --json each incident has all of its looks. Records are kept for 90 days. An
incident whose execution ended without its last step is "unconcluded"; the schedule
starts the next look at its instance.

With --dry it counts what would have been done without reboot.dry_run, by the row of
the policy's table, and lists it, but for incidents that ended silently. Of an instance
that would have been rebooted somebody was paged, so that what came later is not what
would have come after the reboot.

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
			if dry {
				result := tablesOf(cfg).dryRuns(c.Context(), d.regions, start, instances, limit)
				if err := c.Context().Err(); err != nil {
					return err
				}
				return flags.report(c, likeAll{result}, func(w io.Writer) error { return printDryRuns(w, result, d) })
			}
			result := tablesOf(cfg).incidents(c.Context(), d.regions, start, instances, limit)
			if err := c.Context().Err(); err != nil {
				return err
			}
			return flags.report(c, likeAll{result}, func(w io.Writer) error { return printIncidents(w, result, d, instances) })
		},
	}
	flags.add(c)
	flags.addName(c)
	c.Flags().StringSliceVar(&instances, "instance", nil, "list those of these instances only, comma-separated or repeated")
	c.Flags().StringVar(&since, "since", "7d", "list those that began since: a time ago such as 24h or 7d, or RFC 3339")
	c.Flags().BoolVar(&dry, "dry", false, "tell what would have been done to the instances with reboot.dry_run")
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
		return time.Time{}, usagef("--since: %s is in the future, it is %s now: give a time that has passed", stamp(since), stamp(now))
	}
	return since.UTC().Truncate(time.Second), nil
}

// incidents lists the incidents of the regions, the newest first. A limit of 0 is
// none.
func (open tables) incidents(ctx context.Context, all []deployed.Region, since time.Time, instances []string, limit int) incidentsResult {
	result := incidentsResult{Command: "incidents", Since: since}
	// One more tells whether there are more.
	most := limit
	if limit > 0 {
		most++
	}
	result.Incidents, result.Errors = open.records(ctx, all, since, most, func(rec store.Record) bool {
		return len(instances) == 0 || slices.Contains(instances, rec.InstanceID)
	})
	if limit > 0 && len(result.Incidents) > limit {
		result.Incidents, result.More = result.Incidents[:limit], true
	}
	return result
}

// records are the incidents of the regions that are wanted, the newest first; of each
// region most of them at most, or all where it is 0.
func (open tables) records(ctx context.Context, all []deployed.Region, since time.Time, most int, wanted func(store.Record) bool) ([]store.Record, []regionError) {
	found := []store.Record{}
	answers := everywhere(ctx, all, answerTime, func(ctx context.Context, r deployed.Region) ([]store.Record, error) {
		table, err := open(r)
		if err != nil {
			return nil, err
		}
		return pick(table.Records(ctx, since), most, wanted)
	})
	now := time.Now()
	for _, a := range answers {
		for _, rec := range a.value {
			rec.Settings, rec.Evidence = nil, nil // `incident` shows them
			found = append(found, concluded(rec, a.region, now))
		}
	}
	slices.SortStableFunc(found, func(a, b store.Record) int {
		return cmp.Or(cmp.Compare(b.StartedAt, a.StartedAt), strings.Compare(a.Region, b.Region), strings.Compare(a.ID, b.ID))
	})
	return found, troubles(answers)
}

// pick returns the first of the records that are wanted, most of them or all
// where it is 0, and errors about others.
func pick(records iter.Seq2[store.Record, error], most int, wanted func(store.Record) bool) (found []store.Record, err error) {
	for rec, bad := range records {
		switch {
		case bad != nil:
			err = errors.Join(err, bad)
		case wanted(rec):
			if found = append(found, rec); len(found) == most {
				return found, err
			}
		}
	}
	return found, err
}

// ended says how an incident ended.
func ended(rec *store.Record) string {
	if rec.Dry {
		return rec.End + " (dry)"
	}
	return rec.End
}

// rebooted says what became of the reboot that an incident has made.
func rebooted(rec *store.Record) string { return cmp.Or(rec.Reboot.Outcome, rec.Reboot.Request) }

// took is how long an incident that has ended took.
func took(rec *store.Record) string { return brief(rec.EndedAt.Sub(rec.StartedAt)) }

// decided says what was decided on a look.
func decided(l incident.Decision) string { return clean(timeline.Decision(l)) }

// shortLength is how much of an id people read and type.
const shortLength = 8

// named matches the ids of incidents that an event started: random from their begin.
var named = regexp.MustCompile(`^[0-9a-f]{8}-`)

// shortID is what people call an incident: the begin of its id, or, where that is not
// random, of the id's SHA-256.
func shortID(id string) string {
	if named.MatchString(id) {
		return id[:shortLength]
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])[:shortLength]
}

// summary says in one line what an incident came to.
func summary(rec *store.Record) string {
	text := count(len(rec.Looks), "look")
	if rec.Name != "" {
		text = incident.ClipLine(rec.Name, maxName) + ", " + text
	}
	if rec.EndedAt > 0 {
		text += " in " + took(rec)
	}
	if rec.Reboot != nil {
		text += ", reboot " + rebooted(rec)
	}
	if n := len(rec.Looks); n > 0 {
		text += ": " + decided(rec.Looks[n-1])
	}
	return incident.ClipLine(text, columns-len(indent))
}

// maxName is how much of a Name tag a list shows, in runes.
const maxName = 30

// printIncidents prints a list, and returns an error when a region did not
// answer.
func printIncidents(w io.Writer, result incidentsResult, d deployment, instances []string) error {
	t := newTable(w)
	if len(result.Incidents) > 0 {
		_, _ = fmt.Fprintln(t, "TIME\tID\tREGION\tINSTANCE\tEND\tNAME, LOOKS: LAST DECISION")
	} else {
		_, _ = fmt.Fprintf(t, "no incident since %s in %s\n", stamp(result.Since), d.answered(result.Errors))
	}
	for n := range result.Incidents {
		rec := &result.Incidents[n]
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", stamp(rec.StartedAt.Time()), shortID(rec.ID), rec.Region, cmp.Or(clean(rec.InstanceID), "-"), ended(rec), summary(rec))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if result.More {
		_, _ = fmt.Fprintf(w, "\nThere are more: the newest %d are listed. --limit 0 lists all, --since fewer.\n", len(result.Incidents))
	}
	for _, id := range instances {
		known := slices.ContainsFunc(d.regions, func(r deployed.Region) bool { return slices.Contains(r.InstanceIDs, id) })
		listed := slices.ContainsFunc(result.Incidents, func(rec store.Record) bool { return rec.InstanceID == id })
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

// incidentResult is one incident as it is stored.
type incidentResult struct {
	Command  string          `json:"command"`
	Incident store.Record    `json:"incident"`
	Evidence *store.Evidence `json:"evidence,omitempty"`
	// HandedOver is there while its instance is a member of an alert.
	HandedOver *handedOver `json:"handed_over,omitempty"`
	// Errors are of regions that could not be searched, or of what could not be
	// read beside the incident.
	Errors []regionError `json:"errors"`

	region deployed.Region
}

func newIncident() *cobra.Command {
	var flags rootFlags
	c := &cobra.Command{
		Use:   "incident ID",
		Short: "Show one incident as a timeline, with its evidence",
		Long: `Show one incident as a timeline: the alarm, what each check saw in each look, the
verdict, the decision with its reason and the row of the policy's table (in
handler/README.md), the reboot, who was told, and how it ended. Below it says whether
the instance is handed over now, and shows the evidence from before the reboot. ID is
the eight characters that ` + "`firstline incidents`" + ` shows, the id in a message, the
beginning of either if that is unique, or the execution's ARN. All regions are searched.

Exit codes: 0 shown, 1 not found where a region did not answer, 2 wrong usage, no
such incident or nothing deployed, 130 interrupted.`,
		Example: "  firstline incident 2f6a1c9e\n  firstline incident 2f6a1c9e --json | jq '.incident.looks[] | {look, verdict, row, reason}'",
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
			result, err := tablesOf(cfg).incident(c.Context(), d.regions, id)
			if c.Context().Err() != nil {
				return c.Context().Err()
			}
			if err != nil {
				return err
			}
			for _, e := range result.Errors {
				_, _ = fmt.Fprintf(c.ErrOrStderr(), "%s: %s\n", e.Region, e.Error)
			}
			if flags.json {
				return printJSON(c.OutOrStdout(), likeAll{result})
			}
			return printIncident(c.OutOrStdout(), result)
		},
	}
	flags.add(c)
	flags.addName(c)
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

// incident searches all regions for an incident by its id, or by what begins its id or
// its short id.
func (open tables) incident(ctx context.Context, all []deployed.Region, id string) (*incidentResult, error) {
	searching, isFound := context.WithCancel(ctx)
	defer isFound()
	answers := everywhere(searching, all, answerTime, func(ctx context.Context, r deployed.Region) ([]store.Record, error) {
		table, err := open(r)
		if err != nil {
			return nil, err
		}
		found, err := pick(table.Records(ctx, time.Time{}), 0, func(rec store.Record) bool {
			return strings.HasPrefix(rec.ID, id) || strings.HasPrefix(shortID(rec.ID), id)
		})
		for n := range found {
			found[n] = concluded(found[n], r, time.Now())
			if found[n].ID == id {
				// There is one only, so a region that does not answer is not waited for.
				defer isFound()
				return found[n : n+1], err
			}
		}
		return found, err
	})
	result, err := oneOf(answers, id)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if table, err := open(result.region); err == nil {
		if result.HandedOver, err = handedOverNow(ctx, table, &result.Incident); err != nil {
			result.Errors = append(result.Errors, regionError{result.region.Region, err.Error()})
		}
	}
	return result, nil
}

// handedOverNow is the present place of an incident's instance in an alert.
func handedOverNow(ctx context.Context, table *store.Table, rec *store.Record) (*handedOver, error) {
	if rec.InstanceID == "" {
		return nil, nil
	}
	e, err := table.Load(ctx, rec.InstanceID)
	if err != nil {
		return nil, fmt.Errorf("whether the instance is handed over now: %s", inWords(err))
	}
	return handedOverOf(rec.Region, &e.State.Instance, &e.State.Region), nil
}

// oneOf picks the one incident that was asked for out of the regions' answers.
func oneOf(answers []answer[[]store.Record], id string) (*incidentResult, error) {
	var found []store.Record
	var names []string
	errs := troubles(answers)
	result := &incidentResult{Command: "incident"}
	for _, a := range answers {
		names = append(names, a.region.Region)
		found = append(found, a.value...)
		if len(a.value) > 0 && (result.region.Region == "" || a.value[0].ID == id) {
			result.region = a.region
		}
	}
	if n := slices.IndexFunc(found, func(rec store.Record) bool { return rec.ID == id }); n >= 0 {
		// What others would have said does not matter any more.
		found = found[n : n+1]
		errs = slices.DeleteFunc(errs, func(e regionError) bool { return e.Region != found[0].Region })
	}
	switch {
	case len(found) > 1:
		return nil, usagef("%s: several incidents begin with that: give more of the id of one: %s", id, candidates(found, id))
	case len(found) == 1:
		result.Incident, result.Evidence, result.Errors = found[0], found[0].Evidence, errs
		result.Incident.Evidence = nil
		return result, nil
	case len(errs) > 0:
		var texts []string
		for _, e := range errs {
			texts = append(texts, e.Region+": "+e.Error)
		}
		return nil, fmt.Errorf("%s was not found in the regions that answered; not all did: %s", id, strings.Join(texts, "; "))
	}
	return nil, usagef("%s: no incident of this id in %s (they are kept for 90 days): `firstline incidents` lists them", id, strings.Join(names, ", "))
}

// candidates names incidents, the newest first, so that each can be told from the
// others.
func candidates(found []store.Record, given string) string {
	const most = 10
	slices.SortStableFunc(found, func(a, b store.Record) int { return cmp.Compare(b.StartedAt, a.StartedAt) })
	short := map[string]int{}
	for _, rec := range found {
		short[shortID(rec.ID)]++
	}
	var texts []string
	for _, rec := range found[:min(len(found), most)] {
		id := shortID(rec.ID)
		if short[id] > 1 || !strings.HasPrefix(id, given[:min(len(given), len(id))]) {
			id = rec.ID
		}
		texts = append(texts, fmt.Sprintf("%s (%s, %s in %s)", clean(id), stamp(rec.StartedAt.Time()), cmp.Or(clean(rec.InstanceID), "no instance"), rec.Region))
	}
	if more := len(found) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("%d more", more))
	}
	return strings.Join(texts, ", ")
}

// moment is one line of a timeline.
type moment struct {
	// at is 0 where it is not known.
	at         incident.Millis
	what, text string
	// by is where it belongs: what has no time stays behind all that was said
	// before it.
	by incident.Millis
}

// moments are what happened in an incident, in order.
func moments(r *incidentResult) (all []moment) {
	latest := incident.Millis(0)
	say := func(at incident.Millis, what, text string) {
		all = append(all, moment{at, what, clean(text), cmp.Or(at, latest)})
		latest = max(latest, at)
	}
	rec := &r.Incident
	if a := rec.Alarm; a != nil {
		say(a.At, "alarm", cmp.Or(a.Trigger, a.Name)+": "+cmp.Or(a.Reason, "it gives no reason"))
	}
	say(rec.StartedAt, "opened", "started by: "+cmp.Or(rec.Trigger, "an event that names no instance"))
	for _, l := range rec.Looks {
		for _, f := range l.Findings {
			if f.Outcome != incident.Skipped {
				say(f.At, f.Check, timeline.Finding(f))
			}
		}
		say(l.At, fmt.Sprintf("look %d", l.Look), decided(l))
	}
	if r.Evidence != nil {
		say(r.Evidence.At, "evidence", "kept; see below")
	}
	if b := rec.Reboot; b != nil {
		say(b.At, "reboot", fmt.Sprintf("%s, outcome %s: %s", b.Request, cmp.Or(b.Outcome, "open"), b.Reason))
	}
	for _, s := range rec.Suppressed {
		say(s.At, s.Action, "left undone, since it is dry")
	}
	for _, step := range slices.Sorted(maps.Keys(rec.Caught)) {
		say(0, step, "failed: "+rec.Caught[step].Error+": "+rec.Caught[step].Cause)
	}
	if p := rec.Paged; p != nil {
		say(p.At, "page", "taken by "+p.Pager+", alias "+p.Alias)
	}
	if th := rec.Thread; th != nil {
		say(0, "slack", "in the thread "+th.TS+" of channel "+th.Channel)
	}
	switch rec.End {
	case endOpen:
		say(0, "now", "still open")
	case endUnconcluded:
		say(rec.LeaseUntil, "end", "its execution ended without its last step; the schedule has looked at the instance since")
	default:
		say(rec.EndedAt, "end", rec.End)
	}
	slices.SortStableFunc(all, func(a, b moment) int { return cmp.Compare(a.by, b.by) })
	return all
}

// printIncident prints an incident for people to read.
func printIncident(w io.Writer, r *incidentResult) error {
	rec := &r.Incident
	instance := cmp.Or(clean(rec.InstanceID), "no instance")
	if rec.Name != "" {
		instance += " (" + clean(rec.Name) + ")"
	}
	title := fmt.Sprintf("%s in %s: %s, %s", instance, rec.Region, ended(rec), count(len(rec.Looks), "look"))
	if rec.EndedAt > 0 {
		title += ", took " + took(rec)
	}
	if rec.Reboot != nil {
		title += ", reboot " + rebooted(rec)
	}
	if _, err := fmt.Fprintf(w, "%s\nincident %s of %s\n", title, clean(rec.ID), stamp(rec.StartedAt.Time())); err != nil {
		return err
	}
	if pages, public := console.In(r.region.Partition(), rec.Region); public && rec.Execution != "" {
		_, _ = fmt.Fprintln(w, pages.Execution(clean(rec.Execution)))
	}
	t := newTable(w)
	_, _ = fmt.Fprintln(t, "\nTIME\tAFTER\tWHAT\t")
	for _, m := range moments(r) {
		at, after := "", ""
		if m.at > 0 {
			at, after = m.at.Time().UTC().Format("15:04:05Z"), "+"+brief(m.at.Sub(rec.StartedAt))
			if before := rec.StartedAt.Sub(m.at).Round(time.Second); before > 0 {
				after = "-" + brief(before)
			}
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", at, after, m.what, m.text)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if h := r.HandedOver; h != nil {
		_, _ = fmt.Fprintf(w, "\nhanded over since %s: %s\n  alert %s at %s\n", stamp(h.Since), h.state(), clean(h.Alert), cmp.Or(clean(h.Pager), "no pager yet"))
	}
	if r.Evidence == nil {
		return nil
	}
	return printEvidence(w, r.Evidence)
}

// printEvidence prints what was kept of the instance before its reboot.
func printEvidence(w io.Writer, e *store.Evidence) error {
	known := func(status string) string { return cmp.Or(clean(status), "not known") }
	_, err := fmt.Fprintf(w, "\nevidence of %s\n  status checks: system %s, instance %s, EBS %s\n", stamp(e.At.Time()), known(e.SystemStatus), known(e.InstanceStatus), known(e.EBSStatus))
	if strings.TrimSpace(e.Console) == "" {
		return err
	}
	_, _ = fmt.Fprintf(w, "  console, its last lines as of %s, redacted\n", stamp(e.ConsoleAt.Time()))
	for text := range strings.Lines(strings.TrimRight(e.Console, "\r\n")) {
		_, err = fmt.Fprintln(w, strings.TrimRight("  | "+clean(strings.TrimRight(text, "\r\n")), " "))
	}
	return err
}
