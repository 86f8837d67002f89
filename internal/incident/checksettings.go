package incident

import "net/http"

// URLSettings says what to ask of an instance's web server. Terraform's
// modules/settings has the same names and units.
type URLSettings struct {
	Enabled bool `json:"enabled"`
	// Address is the whole URL to ask; empty: build it from the instance's
	// address, Scheme, Port and Path.
	Address string `json:"address,omitempty"`
	// LoadBalancer: Address names a load balancer or a CDN in front of this
	// instance alone, so an answer from there counts as the instance's.
	LoadBalancer bool   `json:"load_balancer,omitempty"`
	Scheme       string `json:"scheme"`
	// Port 0 is the scheme's own.
	Port int    `json:"port,omitempty"`
	Path string `json:"path"`
	// Private asks the instance's private address instead of its public one.
	Private bool `json:"private,omitempty"`
	// AddressFamily is "ipv4" or "ipv6". Empty: every address of a name; of the
	// instance itself the IPv4 one, or the IPv6 one where it has no other.
	AddressFamily string            `json:"address_family,omitempty"`
	Method        string            `json:"method"`
	Headers       map[string]string `json:"headers,omitempty"`
	// SecretHeaders maps a header's name to the SSM parameter that holds its value.
	SecretHeaders map[string]string `json:"secret_headers,omitempty"`
	// TimeoutSeconds bounds one attempt as a whole: name, connection, TLS,
	// redirects, header and body.
	TimeoutSeconds float64 `json:"timeout_seconds"`
	Attempts       int     `json:"attempts"`
	// IntervalSeconds is the pause between two attempts.
	IntervalSeconds float64 `json:"interval_seconds"`
	// Status lists the accepted status codes, "200" or "200-299".
	Status []string `json:"status"`
	// BodyPattern is an RE2 pattern that the first MiB of the body must match.
	BodyPattern       string `json:"body_pattern,omitempty"`
	FollowRedirects   bool   `json:"follow_redirects"`
	ServerName        string `json:"server_name,omitempty"`
	VerifyCertificate bool   `json:"verify_certificate"`
}

// Route53Settings names the instance's Route 53 health check, if it has one.
type Route53Settings struct {
	// HealthCheckID empty: the check is skipped.
	HealthCheckID string `json:"health_check_id,omitempty"`
	// QuorumPercent: the check passes when more than this share of the
	// checkers report success. Route 53's own figure is 18.
	QuorumPercent   int     `json:"quorum_percent"`
	Attempts        int     `json:"attempts"`
	IntervalSeconds float64 `json:"interval_seconds"`
}

// SSHSettings says how to reach an instance's SSH server.
type SSHSettings struct {
	Enabled bool `json:"enabled"`
	// Host empty: the instance's own address.
	Host    string `json:"host,omitempty"`
	Port    int    `json:"port"`
	Private bool   `json:"private,omitempty"`
	// AddressFamily is as in URLSettings.
	AddressFamily string `json:"address_family,omitempty"`
	// TimeoutSeconds bounds one attempt: connection and key exchange together. By
	// default it is more than the 5 seconds after which the TCP wrappers close the
	// connection of a client that /etc/hosts.deny names.
	TimeoutSeconds  float64 `json:"timeout_seconds"`
	Attempts        int     `json:"attempts"`
	IntervalSeconds float64 `json:"interval_seconds"`
	// HostKeyFingerprint pins the host key, "SHA256:…" as ssh-keygen -lf prints it.
	HostKeyFingerprint string `json:"host_key_fingerprint,omitempty"`
}

// Schemes and address families that the settings know.
const (
	SchemeHTTP  = "http"
	SchemeHTTPS = "https"
	FamilyIPv4  = "ipv4"
	FamilyIPv6  = "ipv6"
)

// DefaultURLSettings returns the settings of an instance that overrides none.
func DefaultURLSettings() URLSettings {
	return URLSettings{
		Enabled:           true,
		Scheme:            SchemeHTTP,
		Path:              "/",
		Method:            http.MethodGet,
		TimeoutSeconds:    3,
		Attempts:          3,
		IntervalSeconds:   2,
		Status:            []string{"200-299"},
		FollowRedirects:   true,
		VerifyCertificate: true,
	}
}

// DefaultSSHSettings returns the settings of an instance that overrides none.
func DefaultSSHSettings() SSHSettings {
	return SSHSettings{
		Enabled:         true,
		Port:            22,
		TimeoutSeconds:  7,
		Attempts:        3,
		IntervalSeconds: 2,
	}
}
