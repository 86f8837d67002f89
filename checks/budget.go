package checks

import (
	"math"
	"time"

	"firstline/internal/incident"
)

// What a check may need beyond its attempts and pauses. The Terraform module
// settings computes the same sums (problems.tf).
const (
	// slack is a series' own, on a machine with a fraction of a core.
	slack = time.Second
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
// off or unknown. README.md shows the sum.
func Budget(settings *incident.Settings, check string) time.Duration {
	if !settings.Enabled(check) {
		return 0
	}
	switch check {
	case incident.CheckURL:
		s := settings.URL
		budget := urlSeries(s).budget() + networkAllowance(s.Address, s.Private)
		if len(s.SecretHeaders) > 0 {
			// Secrets that are out of date are read again and cost an attempt.
			budget += 2*secretAllowance + seconds(s.TimeoutSeconds)
		}
		return budget
	case incident.CheckRoute53:
		return route53Series(settings.Route53).budget()
	default:
		s := settings.SSH
		return sshSeries(s).budget() + networkAllowance(s.Host, s.Private)
	}
}

// networkAllowance is for finding the target's address, or for comparing the
// one that the settings name, and for the proof of our own connectivity.
func networkAllowance(named string, private bool) time.Duration {
	allowance := lookupAllowance
	if named != "" {
		allowance = elsewhereAllowance
	}
	if !private {
		allowance += egressAllowance
	}
	return allowance
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

// seconds rounds a setting's time to milliseconds.
func seconds(n float64) time.Duration {
	return time.Duration(math.Round(1000*n)) * time.Millisecond
}
