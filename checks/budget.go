package checks

import (
	"math"
	"time"

	"firstline/internal/incident"
)

// What a check may need beyond its attempts and pauses. README.md has the sum,
// budget_test.go computes it, and so does the Terraform module settings
// (problems.tf), which refuses what the function has no time for.
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
