package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"firstline/internal/coverage"
	"firstline/internal/probe"
)

// coverageResult is what keeps instances from being watched.
type coverageResult struct {
	Command  string            `json:"command"`
	Findings []coverageFinding `json:"findings"`
	Errors   []regionError     `json:"errors"`
}

// coverageFinding is a finding in a region.
type coverageFinding struct {
	Region string `json:"region"`
	coverage.Finding
}

// coverageTime is how long a region may take: the function takes up to a minute.
const coverageTime = 90 * time.Second

// gapsError says that there are findings.
type gapsError struct{ findings int }

func (e gapsError) Error() string {
	return count(e.findings, "finding") + ": see above"
}

func newCoverage() *cobra.Command {
	var flags rootFlags
	c := &cobra.Command{
		Use:   "coverage",
		Short: "Compare what is watched with what is: instances, alarms, their data, health checks",
		Long: `Compare what is watched with what is, through the deployed function, which does so
once a day and tells Slack. Each line is an instance that is not watched as it should
be, and says what to do. A line that begins with "warning" is well now and may not be
later. Nothing is changed and nobody is told.

Exit codes: 0 no finding or warnings only, 1 some region did not answer, 2 wrong usage
or nothing deployed, 3 a finding, 130 interrupted.`,
		Example: "  firstline coverage\n  firstline coverage --json | jq -r '.findings[] | select(.kind == \"gone\") | .instance_id'",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p := newProgress(c.ErrOrStderr())
			d, cfg, err := flags.fleet(c, "compare")
			if err != nil {
				return err
			}
			for _, name := range d.missing {
				p.say("%s is in the var files and not deployed", name)
			}
			p.say("comparing in %s: this takes up to a minute", d.names())
			verifier := probe.NewVerifier(cfg)
			answers := everywhere(c.Context(), d.regions, coverageTime, verifier.Coverage)
			if err := c.Context().Err(); err != nil {
				return err
			}
			result := coverageResult{Command: "coverage", Findings: []coverageFinding{}, Errors: troubles(answers)}
			for _, a := range answers {
				for _, f := range a.value {
					result.Findings = append(result.Findings, coverageFinding{a.region.Region, f})
				}
			}
			return flags.report(c, result, func(w io.Writer) error { return printCoverage(w, result) })
		},
	}
	flags.add(c)
	flags.addName(c)
	return c
}

// printCoverage prints a line for each finding, and returns the error that the command
// ends with.
func printCoverage(w io.Writer, result coverageResult) error {
	gaps := 0
	for _, f := range result.Findings {
		label := "warning: "
		if !f.Warning {
			label = ""
			gaps++
		}
		if _, err := fmt.Fprintf(w, "%s %s: %s%s: %s\n", f.Region, f.InstanceID, label, clean(f.What), clean(f.Do)); err != nil {
			return err
		}
	}
	if len(result.Findings)+len(result.Errors) == 0 {
		_, err := fmt.Fprintln(w, "nothing found: every instance is watched as it should be")
		return err
	}
	if err := unanswered(w, result.Errors, "what is watched could not be compared"); err != nil || gaps == 0 {
		return err
	}
	return gapsError{gaps}
}
