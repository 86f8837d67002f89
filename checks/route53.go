package checks

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"firstline/internal/incident"
	"firstline/internal/lazy"
)

// Route53 asks Route 53 what its health checkers see.
type Route53 struct {
	// GetHealthCheckStatus is the method of that name of a *route53.Client, or a
	// function that makes the client first: it is called only for an instance
	// that has a health check.
	GetHealthCheckStatus func(ctx context.Context, in *route53.GetHealthCheckStatusInput, optFns ...func(*route53.Options)) (*route53.GetHealthCheckStatusOutput, error)
}

// Check asks up to s.Attempts times and passes as soon as more than
// s.QuorumPercent of the checkers that have reported report success. Without a
// health check id it is skipped.
//
// With a since, the time of the reboot, only reports of later checks count.
//
// Errors of the API end the check at once, since Route 53 allows five requests
// a second for a whole account, and the look is repeated anyway. README.md
// says how much time ctx needs.
func (c *Route53) Check(ctx context.Context, s incident.Route53Settings, since time.Time) incident.Finding {
	if s.HealthCheckID == "" {
		return skipped(incident.CheckRoute53, "the instance has no Route 53 health check")
	}
	q := question{check: incident.CheckRoute53, what: "Route 53 health check " + s.HealthCheckID, start: time.Now()}
	tries := newSeries(s.Attempts, healthCheckAllowance.Seconds(), s.IntervalSeconds)
	return q.finding(tries.run(ctx, func(ctx context.Context, p *progress) (string, *cause) {
		out, err := c.GetHealthCheckStatus(ctx, &route53.GetHealthCheckStatusInput{HealthCheckId: &s.HealthCheckID})
		if err != nil {
			return "", unaided("GetHealthCheckStatus", err)
		}
		t := count(out.HealthCheckObservations, since)
		p.answered = t.answered
		return t.judge(s.QuorumPercent)
	}))
}

// freshReport is how old a checker's report may be: ten of its slower rounds.
const freshReport = 5 * time.Minute

// tally is what the checkers have reported in a time.
type tally struct {
	// in is the time, "in the last 5 minutes".
	in        string
	successes int
	// failures are what the others say, by the kind that their status has; "" is
	// the target's failure.
	failures map[incident.Kind][]string
	// answered: a checker names an HTTP status.
	answered bool
	// old is how many have not looked in that time.
	old int
}

// count reads the checkers' prose: it begins with "Success" or "Failure";
// whatever else it may be tells neither.
func count(observations []types.HealthCheckObservation, since time.Time) tally {
	t := tally{in: fmt.Sprintf("in the last %d minutes", freshReport/time.Minute), failures: map[incident.Kind][]string{}}
	after := time.Now().Add(-freshReport)
	if since.After(after) {
		after, t.in = since, "since the reboot at "+since.UTC().Format(time.RFC3339)
	}
	for _, o := range observations {
		if o.StatusReport == nil {
			continue
		}
		report := aws.ToString(o.StatusReport.Status)
		success := strings.HasPrefix(report, "Success")
		switch {
		case !success && !strings.HasPrefix(report, "Failure"):
		case !aws.ToTime(o.StatusReport.CheckedTime).After(after):
			t.old++
		default:
			t.add(success, report)
		}
	}
	return t
}

// reportedStatus is how a checker names the status that it got: "Failure: HTTP
// Status Code 503, Service Unavailable. Resolved IP: 203.0.113.7".
var reportedStatus = lazy.Regexp(`(?i)\bHTTP Status Code:? ([1-5][0-9]{2})\b`)

func (t *tally) add(success bool, report string) {
	status := 0
	if m := reportedStatus().FindStringSubmatch(report); m != nil {
		status, _ = strconv.Atoi(m[1]) // three digits, says the pattern
		t.answered = true
	}
	if success {
		t.successes++
		return
	}
	var kind incident.Kind
	if status >= 400 { // below, it is the body that the checker did not like
		_, kind = unexpected(status, false)
	}
	t.failures[kind] = append(t.failures[kind], report)
}

func (t tally) judge(quorumPercent int) (string, *cause) {
	tooBusy, rejected := len(t.failures[incident.Busy]), len(t.failures[incident.Attention])
	reports := t.successes + len(t.failures[""]) + tooBusy + rejected
	if reports == 0 {
		// Checkers look every 10 or 30 seconds: asking again would not help.
		return "", ours("no checker has reported %s: the health check is new, disabled, or a calculated one, which this check cannot use, or Route 53 is in trouble", t.in)
	}
	saw := fmt.Sprintf("%d of %d checkers report success", t.successes, reports)
	if t.old > 0 {
		saw += fmt.Sprintf(" (%d have not looked %s)", t.old, t.in)
	}
	enough := func(n int) bool { return n*100 > quorumPercent*reports }
	if enough(t.successes) {
		return saw, nil
	}
	c := failed("", "%s, want more than %d %%", saw, quorumPercent)
	if enough(t.successes + tooBusy + rejected) { // reach the target
		c.outcome, c.kind = incident.Unknown, incident.Attention
		if tooBusy > rejected {
			c.kind = incident.Busy
		}
	}
	if says := t.failures[c.kind]; len(says) > 0 {
		c.text += "; one says: " + says[0]
	}
	return "", c
}
