package checks

import (
	"math"
	"time"

	"firstline/internal/incident"
)

// Allowances beyond the attempts themselves: what is bounded by them is part
// of Budget.
const (
	// lookupAllowance bounds DescribeInstances, the SDK's retries included.
	lookupAllowance = 10 * time.Second
	// elsewhereAllowance bounds DescribeInstances where it only tells whether an
	// address is the instance's.
	elsewhereAllowance = 5 * time.Second
	// secretAllowance bounds reading the parameters of secret_headers once.
	secretAllowance = 5 * time.Second
	// egressAllowance bounds one proof of our own connectivity.
	egressAllowance = 3 * time.Second
	// healthCheckAllowance bounds one GetHealthCheckStatus, the SDK's retries
	// included.
	healthCheckAllowance = 10 * time.Second
)

// Budget is the longest that a check may take with these settings; 0 if it is
// off or unknown. It is the sum of all attempts and pauses, one second of
// slack, and the allowances, each where it may be needed: the instance's
// address (10 s; 5 s where the settings name the target), secrets, twice, and
// one attempt more when the first were out of date (5 s, 5 s and an attempt),
// the proof of our own connectivity (3 s). A call of Route 53's API counts ten
// seconds.
func Budget(settings *incident.Settings, check string) time.Duration {
	if !settings.Enabled(check) {
		return 0
	}
	switch check {
	case incident.CheckURL:
		return urlBudget(settings.URL)
	case incident.CheckRoute53:
		return route53Series(settings.Route53).budget()
	case incident.CheckSSH:
		return sshBudget(settings.SSH)
	}
	return 0
}

func urlBudget(s incident.URLSettings) time.Duration {
	budget := urlSeries(s).budget() + addressAllowance(s.Address)
	if len(s.SecretHeaders) > 0 {
		budget += 2*secretAllowance + seconds(s.TimeoutSeconds)
	}
	if !s.Private {
		budget += egressAllowance
	}
	return budget
}

func sshBudget(s incident.SSHSettings) time.Duration {
	budget := sshSeries(s).budget() + addressAllowance(s.Host)
	if !s.Private {
		budget += egressAllowance
	}
	return budget
}

func addressAllowance(named string) time.Duration {
	if named == "" {
		return lookupAllowance
	}
	return elsewhereAllowance
}

func urlSeries(s incident.URLSettings) series {
	return series{attempts: s.Attempts, timeout: seconds(s.TimeoutSeconds), interval: seconds(s.IntervalSeconds)}
}

func route53Series(s incident.Route53Settings) series {
	return series{attempts: s.Attempts, timeout: healthCheckAllowance, interval: seconds(s.IntervalSeconds)}
}

func sshSeries(s incident.SSHSettings) series {
	return series{attempts: s.Attempts, timeout: seconds(s.TimeoutSeconds), interval: seconds(s.IntervalSeconds)}
}

// seconds is a setting's time; fractions of a millisecond are rounded.
func seconds(n float64) time.Duration {
	return time.Duration(math.Round(1000*n)) * time.Millisecond
}
