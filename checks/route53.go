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

// GetHealthCheckStatus is the method of that name of a *route53.Client, or a
// function that makes the client first: it is called only for an instance
// that has a health check.
type GetHealthCheckStatus func(ctx context.Context, in *route53.GetHealthCheckStatusInput, optFns ...func(*route53.Options)) (*route53.GetHealthCheckStatusOutput, error)

// Route53 asks Route 53 what its health checkers see.
type Route53 struct {
	GetHealthCheckStatus GetHealthCheckStatus
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
	q := inquiry{check: incident.CheckRoute53, what: "Route 53 health check " + s.HealthCheckID, start: time.Now()}
	return q.finding(route53Series(s).run(ctx, func(ctx context.Context, p *progress) (string, error) {
		out, err := c.GetHealthCheckStatus(ctx, &route53.GetHealthCheckStatusInput{HealthCheckId: &s.HealthCheckID})
		if err != nil {
			return "", unaided("GetHealthCheckStatus", err)
		}
		t := count(out.HealthCheckObservations, since, time.Now().Add(-freshReport))
		if t.answered {
			p.hear()
		}
		return t.judge(s.QuorumPercent, since)
	}))
}

// freshReport is how old a checker's report may be: ten of its slower rounds.
const freshReport = 5 * time.Minute

// tally is what the checkers that count have reported.
type tally struct {
	reports, successes int
	// failures are counted by the kind that their status has; "" is the target's
	// failure. says is what the first of each kind says.
	failures map[incident.Kind]int
	says     map[incident.Kind]string
	// answered: a checker names an HTTP status.
	answered bool
	// stale checkers have not looked since the reboot; silent ones have not in
	// the last five minutes.
	stale, silent int
}

// count reads the checkers' prose: it begins with "Success" or "Failure";
// whatever else it may be tells neither.
func count(observations []types.HealthCheckObservation, since, fresh time.Time) tally {
	t := tally{failures: map[incident.Kind]int{}, says: map[incident.Kind]string{}}
	for _, o := range observations {
		if o.StatusReport == nil {
			continue
		}
		report := aws.ToString(o.StatusReport.Status)
		success := strings.HasPrefix(report, "Success")
		if !success && !strings.HasPrefix(report, "Failure") {
			continue
		}
		checked := aws.ToTime(o.StatusReport.CheckedTime)
		switch {
		case !since.IsZero() && !checked.After(since):
			t.stale++
		case checked.Before(fresh):
			t.silent++
		default:
			t.add(success, report)
		}
	}
	return t
}

func (t *tally) add(success bool, report string) {
	t.reports++
	status := statusIn(report)
	t.answered = t.answered || status != 0
	if success {
		t.successes++
		return
	}
	var kind incident.Kind
	if status >= 400 { // below, it is the body that the checker did not like
		_, kind = unexpected(status, false)
	}
	t.failures[kind]++
	if t.says[kind] == "" {
		t.says[kind] = report
	}
}

// reportedStatus is how a checker names the status that it got: "Failure: HTTP
// Status Code 503, Service Unavailable. Resolved IP: 203.0.113.7".
var reportedStatus = lazy.Regexp(`(?i)\bHTTP Status Code:? ([1-5][0-9]{2})\b`)

func statusIn(report string) int {
	if m := reportedStatus().FindStringSubmatch(report); m != nil {
		status, _ := strconv.Atoi(m[1]) // three digits, says the pattern
		return status
	}
	return 0
}

func (t tally) judge(quorumPercent int, since time.Time) (string, error) {
	if t.reports == 0 {
		return "", t.nothing(since)
	}
	saw := fmt.Sprintf("%d of %d checkers report success", t.successes, t.reports)
	if t.stale > 0 {
		saw += fmt.Sprintf(" (%d have not looked since the reboot)", t.stale)
	}
	if t.silent > 0 {
		saw += fmt.Sprintf(" (%d have not looked for %d minutes)", t.silent, freshReport/time.Minute)
	}
	enough := func(n int) bool { return n*100 > quorumPercent*t.reports }
	if enough(t.successes) {
		return saw, nil
	}
	saw += fmt.Sprintf(", want more than %d %%", quorumPercent)
	c := failed("", "%s", saw)
	if rejected := t.failures[incident.Busy] + t.failures[incident.Attention]; enough(t.successes + rejected) {
		// Enough checkers reach the target.
		c = attention("%s", saw)
		if t.failures[incident.Busy] > t.failures[incident.Attention] {
			c = busy("%s", saw)
		}
	}
	if says := t.says[c.kind]; says != "" {
		c.text += "; one says: " + says
	}
	return "", c
}

// nothing says why no report counts. Asking again within the look would not
// help: checkers look every 10 or 30 seconds.
func (t tally) nothing(since time.Time) *cause {
	switch {
	case t.silent > 0:
		return ours("no checker has reported in the last %d minutes: the health check was disabled, or Route 53 is in trouble", freshReport/time.Minute)
	case !since.IsZero():
		return ours("no checker has reported since the reboot at %s", since.UTC().Format(time.RFC3339))
	}
	return ours("no checker has reported: the health check is new, disabled, or a calculated one, which this check cannot use")
}
