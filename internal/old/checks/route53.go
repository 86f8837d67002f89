package checks

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"

	"firstline/internal/fault"
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
// Reports older than five minutes do not count, nor those without a time:
// checkers look every 10 or 30 seconds, and what one of them saw before it went
// silent says nothing about now.
//
// With a since, the time of the reboot, only reports of later checks count,
// and while there are none the finding has not passed: the next look will see
// them. Else no reports that count are an Unavailable error: a new health check
// has none yet, so asking again may help; a calculated one never has any.
//
// Errors of the API end the check at once, since Route 53 allows five requests
// a second for a whole account and it is the state machine that has the
// patience: InvalidInput for an unknown or calculated health check, Denied,
// and Unavailable for throttling and lost connections. Too little time left in
// ctx is Unavailable, too: s.Budget is always enough.
func (c *Route53) Check(ctx context.Context, s Route53Settings, since time.Time) (Finding, error) {
	if s.HealthCheckID == "" {
		return skipped(NameRoute53, "the instance has no Route 53 health check"), nil
	}
	if err := s.Validate(); err != nil {
		return Finding{}, fault.New(fault.InvalidInput, "route53 settings", "%w", err)
	}
	op := "Route 53 health check " + s.HealthCheckID
	if c.GetHealthCheckStatus == nil {
		return Finding{}, fault.New(fault.Internal, op, "the check was built without GetHealthCheckStatus")
	}
	start := time.Now()
	a, err := s.series().run(ctx, op, func(ctx context.Context) (string, error) {
		out, err := c.GetHealthCheckStatus(ctx, &route53.GetHealthCheckStatusInput{HealthCheckId: &s.HealthCheckID})
		if err != nil {
			return "", withKind(op, err)
		}
		return count(out.HealthCheckObservations, since, time.Now().Add(-freshReport)).judge(op, s.QuorumPercent, since)
	})
	if err != nil {
		return Finding{}, err
	}
	return newFinding(NameRoute53, start, a.attempts, a.passed, op+": "+a.reason), nil
}

// freshReport is how old a checker's report may be: ten of its slower rounds.
const freshReport = 5 * time.Minute

// tally is what the checkers that count have reported.
type tally struct {
	successes, reports int
	// stale checkers have not looked since the reboot; silent ones have not in
	// the last five minutes.
	stale, silent int
	// failure is what one of those without success says.
	failure string
}

// count reads the checkers' prose: it begins with "Success" or "Failure";
// whatever else it may be tells neither.
func count(observations []types.HealthCheckObservation, since, fresh time.Time) tally {
	var t tally
	for _, o := range observations {
		if o.StatusReport == nil {
			continue
		}
		status := text(o.StatusReport.Status)
		success := strings.HasPrefix(status, "Success")
		if !success && !strings.HasPrefix(status, "Failure") {
			continue
		}
		var checked time.Time
		if o.StatusReport.CheckedTime != nil {
			checked = *o.StatusReport.CheckedTime
		}
		if !since.IsZero() && !checked.After(since) {
			t.stale++
			continue
		}
		if checked.Before(fresh) {
			t.silent++
			continue
		}
		t.reports++
		switch {
		case success:
			t.successes++
		case t.failure == "":
			t.failure = status
		}
	}
	return t
}

func (t tally) judge(op string, quorumPercent int, since time.Time) (string, error) {
	if t.reports == 0 {
		switch {
		case !since.IsZero() && t.silent > 0:
			return "", &targetFault{reason: fmt.Sprintf("no checker has reported in the last %d minutes", freshReport/time.Minute)}
		case !since.IsZero():
			return "", &targetFault{reason: "no checker has reported since the reboot at " + since.UTC().Format(time.RFC3339)}
		case t.silent > 0:
			return "", fault.New(fault.Unavailable, op, "no checker has reported in the last %d minutes: the health check was disabled, or Route 53 is in trouble",
				freshReport/time.Minute)
		}
		return "", fault.New(fault.Unavailable, op, "no checker has reported: the health check is new, disabled, or a calculated one, which this check can't use")
	}
	saw := fmt.Sprintf("%d of %d checkers report success", t.successes, t.reports)
	if t.stale > 0 {
		saw += fmt.Sprintf(" (%d have not looked since the reboot)", t.stale)
	}
	if t.silent > 0 {
		saw += fmt.Sprintf(" (%d have not looked for %d minutes)", t.silent, freshReport/time.Minute)
	}
	if t.successes*100 > quorumPercent*t.reports {
		return saw, nil
	}
	saw += fmt.Sprintf(", want more than %d %%", quorumPercent)
	if t.failure != "" {
		saw += "; one says: " + t.failure
	}
	return "", &targetFault{reason: saw}
}
