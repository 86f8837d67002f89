package checks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/smithy-go"

	"firstline/internal/incident"
	"firstline/internal/lazy"
)

// Route53 asks Route 53 what its health checkers see of an instance.
type Route53 struct {
	// Client is called only for an instance that has a health check.
	Client func() HealthChecks
	// DescribeInstances tells whether what the checkers ask is the instance.
	DescribeInstances DescribeInstances

	// The system's where it is nil.
	lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// HealthChecks is what is used of Route 53's client.
type HealthChecks interface {
	GetHealthCheck(context.Context, *route53.GetHealthCheckInput, ...func(*route53.Options)) (*route53.GetHealthCheckOutput, error)
	GetHealthCheckStatus(context.Context, *route53.GetHealthCheckStatusInput, ...func(*route53.Options)) (*route53.GetHealthCheckStatusOutput, error)
}

// Check asks up to route53.attempts times, once while the instance boots, and
// passes as soon as more than route53.quorum_percent of the checkers that have
// reported report success. After a reboot only reports of later checks count.
//
// What the health check is comes from inc.HealthCheck, and goes there when it had
// to be read: once a day, since Route 53 allows five requests a second for a whole
// account. For the same reason an error of the API ends the check at once: the
// look is repeated anyway. README.md says how much time ctx needs.
func (c *Route53) Check(ctx context.Context, inc *incident.Incident) incident.Finding {
	s := inc.Settings.Route53
	if s.HealthCheckID == "" {
		return skipped(incident.CheckRoute53, "the instance has no Route 53 health check")
	}
	if inc.Booting(time.Now()) {
		s.Attempts = 1
	}
	q := question{check: incident.CheckRoute53, what: "Route 53 health check " + s.HealthCheckID, start: time.Now()}
	foreign, isLocated := "", false
	tries := newSeries(s.Attempts, healthCheckAllowance.Seconds(), s.IntervalSeconds)
	a := tries.run(ctx, func(ctx context.Context, p *attempt) (saw string, why *cause) {
		unread, why := c.configure(ctx, inc)
		if why != nil {
			return "", why
		}
		out, err := c.Client().GetHealthCheckStatus(ctx, &route53.GetHealthCheckStatusInput{HealthCheckId: &s.HealthCheckID})
		if err != nil {
			return "", unaided("GetHealthCheckStatus", err)
		}
		t := count(out.HealthCheckObservations, inc.RebootedAt.Time())
		p.answered = t.answered
		if t.reports() == 0 && inc.HealthCheck != nil && time.Since(inc.HealthCheck.ReadAt.Time()) > freshReport {
			inc.HealthCheck = nil // it may have been disabled since
		}
		asked := c.asked(ctx, inc, t.addresses)
		if !isLocated {
			foreign, isLocated = c.DescribeInstances.foreign(ctx, inc.InstanceID, asked), true
		}
		saw, why = t.judge(s.QuorumPercent)
		switch {
		case why == nil || why.outcome != incident.Failed:
		case behind(inc):
			p.answered = false // by what is in front of the instance
		case unread != nil && len(asked) == 0:
			why = ours("%s; firstline cannot tell whether that is about this instance: %s", why.text, unread.text)
		}
		return saw, why
	})
	return elsewhere(q.finding(a), foreign)
}

const (
	// keepHealthCheck is how long what a health check is may be remembered.
	keepHealthCheck = 24 * time.Hour
	// configureAllowance bounds reading it, and hostAllowance looking up its host:
	// parts of the attempt, of which most is for the reports.
	configureAllowance, hostAllowance = 4 * time.Second, 2 * time.Second
)

// configure has inc.HealthCheck say what the health check is, where that is not
// remembered. The cause says why it tells nothing about the instance. That it could
// not be read is no reason not to read the reports; unread says why.
func (c *Route53) configure(ctx context.Context, inc *incident.Incident) (unread, why *cause) {
	id := inc.Settings.Route53.HealthCheckID
	if inc.HealthCheck != nil && inc.HealthCheck.ID != id {
		inc.HealthCheck = nil
	}
	if inc.HealthCheck != nil && time.Since(inc.HealthCheck.ReadAt.Time()) < keepHealthCheck {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, configureAllowance)
	defer cancel()
	out, err := c.Client().GetHealthCheck(ctx, &route53.GetHealthCheckInput{HealthCheckId: &id})
	switch {
	case err != nil:
		unread = unaided("GetHealthCheck", err)
	case out.HealthCheck == nil || out.HealthCheck.HealthCheckConfig == nil:
		unread = ours("GetHealthCheck: Route 53 returned no configuration")
	default:
		return nil, configured(inc, out.HealthCheck.HealthCheckConfig)
	}
	switch {
	case unread.kind == incident.Attention: // there is none of this id
		if api, ok := errors.AsType[smithy.APIError](err); ok {
			return nil, wrong("%s: correct route53.health_check_id", strings.TrimSuffix(api.ErrorMessage(), "."))
		}
		return nil, unread
	case inc.HealthCheck != nil: // what it was a day ago is better than nothing
		return nil, nil
	}
	return unread, nil
}

// configured remembers what a health check checks, or says why it tells nothing
// about an instance. That is not remembered: until a person has mended it, each
// look reads it in place of the reports.
func configured(inc *incident.Incident, config *types.HealthCheckConfig) *cause {
	inc.HealthCheck = nil
	why := ""
	switch config.Type {
	case types.HealthCheckTypeHttp, types.HealthCheckTypeHttps, types.HealthCheckTypeHttpStrMatch, types.HealthCheckTypeHttpsStrMatch, types.HealthCheckTypeTcp:
	case types.HealthCheckTypeCalculated:
		why = "it is calculated from other health checks, whose checkers are not asked; name one that checks the instance"
	case types.HealthCheckTypeCloudwatchMetric:
		why = "it follows a CloudWatch alarm, and no checker asks the instance; name one that checks the instance"
	case types.HealthCheckTypeRecoveryControl:
		why = "it follows a routing control, and no checker asks the instance; name one that checks the instance"
	default:
		why = fmt.Sprintf("its type %q is not known to firstline; name one of the type HTTP, HTTPS or TCP", config.Type)
	}
	switch {
	case why != "":
	case aws.ToBool(config.Disabled):
		why = "it is disabled, so no checker asks the instance; enable it"
	case aws.ToBool(config.Inverted):
		// Its checkers report the endpoint as they see it, says AWS, and Route 53
		// turns only the status round
		// (https://repost.aws/knowledge-center/route-53-fix-unhealthy-health-checks).
		// An instance that answers would be unhealthy then, and rebooted for it.
		why = "it is inverted, so it is healthy while the instance does not answer; name one that is not"
	}
	switch s := inc.Settings; {
	case why == "":
		inc.HealthCheck = &incident.HealthCheck{
			ID: s.Route53.HealthCheckID, Address: aws.ToString(config.IPAddress), Host: aws.ToString(config.FullyQualifiedDomainName),
			Port: int(aws.ToInt32(config.Port)), ReadAt: incident.At(time.Now()),
		}
		return nil
	case s.URL.Enabled || s.SSH.Enabled:
		return &cause{outcome: incident.Skipped, text: "skipped: " + why, final: true}
	}
	return wrong("%s; the instance has no other check", why)
}

// asked returns the addresses that the checkers ask: those that they name, else
// those of the health check. None: it is not known, or an answer from there counts
// as the instance's.
func (c *Route53) asked(ctx context.Context, inc *incident.Incident, named []netip.Addr) []netip.Addr {
	h := inc.HealthCheck
	switch {
	case behind(inc):
		return nil
	case h == nil || len(named) > 0:
		return named
	}
	if addr, err := netip.ParseAddr(h.Address); err == nil {
		return []netip.Addr{addr}
	}
	lookup := c.lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupNetIP
	}
	ctx, cancel := context.WithTimeout(ctx, hostAllowance)
	defer cancel()
	addrs, _ := lookup(ctx, "ip4", h.Host) // the checkers look for no other
	for n := range addrs {
		addrs[n] = addrs[n].Unmap()
	}
	return addrs
}

// behind reports whether the checkers ask the load balancer that is in front of the
// instance alone.
func behind(inc *incident.Incident) bool {
	u, err := url.Parse(inc.Settings.URL.Address)
	h := inc.HealthCheck
	return err == nil && inc.Settings.URL.LoadBalancer && h != nil && h.Address == "" && strings.EqualFold(u.Hostname(), h.Host)
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
	// addresses are those that checkers say they asked.
	addresses []netip.Addr
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

// reportedAddress is how a checker names the address that it asked.
var reportedAddress = lazy.Regexp(`(?i)\bResolved IP: ([0-9a-f.:]*[0-9a-f:])`)

// reportedFault is how a checker names what no reboot mends: its name, or its
// settings for TLS (types.HealthCheckConfig, FullyQualifiedDomainName and EnableSNI).
var reportedFault = lazy.Regexp(`(?i)\b(DNS resolution failed|SSL alert)\b`)

func (t *tally) add(success bool, report string) {
	if m := reportedAddress().FindStringSubmatch(report); m != nil {
		if addr, err := netip.ParseAddr(m[1]); err == nil && !slices.Contains(t.addresses, addr) {
			t.addresses = append(t.addresses, addr)
		}
	}
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
	switch {
	case status >= 400: // below, it is the body that the checker did not like
		_, kind = unexpected(status, false)
	case reportedFault().MatchString(report):
		kind = incident.Attention
	}
	t.failures[kind] = append(t.failures[kind], report)
}

// reports is how many checkers have reported.
func (t tally) reports() int {
	return t.successes + len(t.failures[""]) + len(t.failures[incident.Busy]) + len(t.failures[incident.Attention])
}

func (t tally) judge(quorumPercent int) (string, *cause) {
	tooBusy, rejected, reports := len(t.failures[incident.Busy]), len(t.failures[incident.Attention]), t.reports()
	if reports == 0 {
		// Checkers look every 10 or 30 seconds: asking again would not help.
		return "", ours("no checker has reported %s: the health check is new or was just disabled, or Route 53 has a problem", t.in)
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
	if enough(t.successes + tooBusy + rejected) { // do not call it dead
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
