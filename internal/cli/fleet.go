package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/spf13/cobra"

	"firstline/internal/deployed"
	"firstline/internal/incident"
	"firstline/internal/probe"
	"firstline/internal/store"
)

// fleet returns the deployed regions that the flags choose, and the caller's AWS
// configuration, for a command that does something there.
func (f *rootFlags) fleet(c *cobra.Command, what string) (deployment, aws.Config, error) {
	d, err := f.deployed(c, c.ErrOrStderr())
	if err != nil {
		return d, aws.Config{}, err
	}
	if len(d.regions) == 0 {
		where := ""
		if len(d.missing) > 0 {
			where = " in " + strings.Join(d.missing, ", ")
		}
		return d, aws.Config{}, usagef("nothing is deployed%s according to the state %s, so there is nothing to %s: name another state with --dir or --backend-config, or run `firstline deploy` first", where, d.state, what)
	}
	cfg, err := awsConfig(c.Context())
	return d, cfg, err
}

// tableOf returns the table of a region.
func tableOf(cfg aws.Config, r deployed.Region) (*store.Table, error) {
	if r.TableName == "" {
		return nil, errors.New("no table is deployed here: deploy this version first")
	}
	return &store.Table{Name: r.TableName, Client: func(context.Context) (store.API, error) {
		return dynamodb.NewFromConfig(probe.InRegion(cfg, r.Region)), nil
	}}, nil
}

// tables opens the tables of regions.
type tables func(deployed.Region) (*store.Table, error)

// tablesOf opens tables as the caller.
func tablesOf(cfg aws.Config) tables {
	return func(r deployed.Region) (*store.Table, error) { return tableOf(cfg, r) }
}

// answerTime is how long a region may take to answer a question. It is much more
// than one that is well takes, and less than people wait.
const answerTime = 30 * time.Second

// answer is what a region answered. There may be a value beside an error.
type answer[T any] struct {
	region deployed.Region
	value  T
	err    error
}

// everywhere asks all regions at the same time, and each for so long at most. The
// answers are in the order of the regions.
func everywhere[T any](ctx context.Context, regions []deployed.Region, most time.Duration, ask func(context.Context, deployed.Region) (T, error)) []answer[T] {
	answers := make([]answer[T], len(regions))
	var wg sync.WaitGroup
	for n, r := range regions {
		if r.Lost != nil {
			answers[n] = answer[T]{region: r, err: r.Lost}
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, most)
			defer cancel()
			value, err := ask(ctx, r)
			if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				err = fmt.Errorf("no answer within %s", brief(most))
			}
			answers[n] = answer[T]{r, value, err}
		})
	}
	wg.Wait()
	return answers
}

// regionError is what a region could not do.
type regionError struct {
	Region string `json:"region"`
	Error  string `json:"error"`
}

// troubles returns the errors of the answers.
func troubles[T any](answers []answer[T]) []regionError {
	all := []regionError{}
	for _, a := range answers {
		if a.err != nil {
			all = append(all, regionError{a.region.Region, inWords(a.err)})
		}
	}
	return all
}

// inWords puts an error of AWS into few words, one line.
func inWords(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return clean(strings.Join(strings.Fields(probe.Said(err)), " "))
}

// unanswered prints what regions could not do, and returns an error that names
// them, nil when there are none.
func unanswered(w io.Writer, all []regionError, what string) error {
	var names []string
	for n, e := range all {
		if n == 0 {
			_, _ = fmt.Fprintln(w)
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", e.Region, e.Error); err != nil {
			return err
		}
		names = append(names, e.Region)
	}
	if len(names) > 0 {
		return fmt.Errorf("%s in %s: see above", what, strings.Join(names, ", "))
	}
	return nil
}

// report prints a result for people, and as JSON where that is asked for.
func (f *rootFlags) report(c *cobra.Command, result any, print func(io.Writer) error) error {
	if !f.json {
		return print(c.OutOrStdout())
	}
	return errors.Join(print(c.ErrOrStderr()), printJSON(c.OutOrStdout(), result))
}

// names of the deployed regions, for messages.
func (d deployment) names() string {
	var names []string
	for _, r := range d.regions {
		names = append(names, r.Region)
	}
	return strings.Join(names, ", ")
}

// some lists names, as many as people read.
func some(names []string) string {
	const most = 20
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more (`firstline output --json` lists all)", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// validInstances refuses what is no instance id.
func validInstances(ids []string) error {
	for _, id := range ids {
		if !incident.ValidInstanceID(id) {
			return usagef("--instance: %q is not an instance id such as i-0c1cbf2e7abdedf75", id)
		}
	}
	return nil
}

// span is a time such as 90m, 2h, 3d or 1d12h: a Go duration that may begin with
// days.
var span = regexp.MustCompile(`^(?:([0-9]{1,5})d)?([0-9].*)?$`)

// parseSpan reads a time such as 2h or 3d. ok is false for anything else.
func parseSpan(text string) (d time.Duration, ok bool) {
	m := span.FindStringSubmatch(text)
	if m == nil || text == "" {
		return 0, false
	}
	if m[1] != "" {
		days, err := strconv.Atoi(m[1])
		if err != nil {
			return 0, false
		}
		d = time.Duration(days) * 24 * time.Hour
	}
	if m[2] != "" {
		rest, err := time.ParseDuration(m[2])
		if err != nil {
			return 0, false
		}
		d += rest
	}
	return d, d >= 0
}

// brief writes a time with the one or two units that matter.
func brief(d time.Duration) string {
	d = d.Round(time.Second)
	days, hours, minutes, seconds := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case days > 0 && hours > 0:
		return fmt.Sprintf("%dd%dh", days, hours)
	case days > 0:
		return fmt.Sprintf("%dd", days)
	case hours > 0 && minutes > 0:
		return fmt.Sprintf("%dh%dm", hours, minutes)
	case hours > 0:
		return fmt.Sprintf("%dh", hours)
	case minutes > 0 && seconds > 0:
		return fmt.Sprintf("%dm%ds", minutes, seconds)
	case minutes > 0:
		return fmt.Sprintf("%dm", minutes)
	}
	return fmt.Sprintf("%ds", seconds)
}

// stamp writes a time as everywhere here: UTC, and such that it can be given to
// --since and --until.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// clean takes out of a text what could do something to a terminal: texts come
// from instances and from AWS.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case !unicode.IsGraphic(r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, text)
}
