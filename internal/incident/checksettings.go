package incident

import "net/http"

// URLSettings says what to ask of an instance's web server. Terraform's
// variables.tf describes every field for operators.
type URLSettings struct {
	Enabled bool `json:"enabled"`
	// Address is the whole URL to ask; empty: build it from the instance's
	// address, Scheme, Port and Path.
	Address string `json:"address,omitempty"`
	Scheme  string `json:"scheme"`
	// Port 0 is the scheme's own.
	Port int    `json:"port,omitempty"`
	Path string `json:"path"`
	// Private asks the instance's private address instead of its public one.
	Private bool `json:"private,omitempty"`
	// AddressFamily is "ipv4" or "ipv6".
	AddressFamily string            `json:"addressFamily"`
	Method        string            `json:"method"`
	Headers       map[string]string `json:"headers,omitempty"`
	// SecretHeaders maps a header's name to the SSM parameter that holds its value.
	SecretHeaders map[string]string `json:"secretHeaders,omitempty"`
	// TimeoutMs bounds one attempt as a whole: name, connection, TLS,
	// redirects, header and body.
	TimeoutMs int `json:"timeoutMs"`
	Attempts  int `json:"attempts"`
	// IntervalMs is the pause between two attempts.
	IntervalMs int `json:"intervalMs"`
	// Status lists the accepted status codes, "200" or "200-299".
	Status []string `json:"status"`
	// BodyPattern is an RE2 pattern that the first MiB of the body must match.
	BodyPattern       string `json:"bodyPattern,omitempty"`
	FollowRedirects   bool   `json:"followRedirects"`
	ServerName        string `json:"serverName,omitempty"`
	VerifyCertificate bool   `json:"verifyCertificate"`
}

// Route53Settings names the instance's Route 53 health check, if it has one.
type Route53Settings struct {
	// HealthCheckID empty: the check is skipped.
	HealthCheckID string `json:"healthCheckId,omitempty"`
	// QuorumPercent: the check passes when more than this share of the
	// checkers report success. Route 53's own figure is 18.
	QuorumPercent int `json:"quorumPercent"`
	Attempts      int `json:"attempts"`
	IntervalMs    int `json:"intervalMs"`
}

// SSHSettings says how to reach an instance's SSH server.
type SSHSettings struct {
	Enabled bool `json:"enabled"`
	// Host empty: the instance's own address.
	Host          string `json:"host,omitempty"`
	Port          int    `json:"port"`
	Private       bool   `json:"private,omitempty"`
	AddressFamily string `json:"addressFamily"`
	// TimeoutMs bounds one attempt: connection and key exchange together.
	TimeoutMs  int `json:"timeoutMs"`
	Attempts   int `json:"attempts"`
	IntervalMs int `json:"intervalMs"`
	// HostKeyFingerprint pins the host key, "SHA256:…" as ssh-keygen -lf prints it.
	HostKeyFingerprint string `json:"hostKeyFingerprint,omitempty"`
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
		AddressFamily:     FamilyIPv4,
		Method:            http.MethodGet,
		TimeoutMs:         3000,
		Attempts:          3,
		IntervalMs:        2000,
		Status:            []string{"200-299"},
		FollowRedirects:   true,
		VerifyCertificate: true,
	}
}

// DefaultRoute53Settings returns the settings of an instance that overrides
// none: without a health check id the check is skipped. The quorum is Route
// 53's own.
func DefaultRoute53Settings() Route53Settings {
	return Route53Settings{QuorumPercent: 18, Attempts: 3, IntervalMs: 2000}
}

// DefaultSSHSettings returns the settings of an instance that overrides none.
func DefaultSSHSettings() SSHSettings {
	return SSHSettings{
		Enabled:       true,
		Port:          22,
		AddressFamily: FamilyIPv4,
		TimeoutMs:     5000,
		Attempts:      3,
		IntervalMs:    2000,
	}
}
