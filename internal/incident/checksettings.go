package incident

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"firstline/internal/lazy"
)

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

// Bounds of the settings; Terraform's variables.tf has the same.
const (
	minTimeoutMs  = 100
	maxTimeoutMs  = 30_000
	maxAttempts   = 10
	maxIntervalMs = 30_000
	maxPort       = 65_535
)

// Schemes and address families that the settings know.
const (
	SchemeHTTP  = "http"
	SchemeHTTPS = "https"
	FamilyIPv4  = "ipv4"
	FamilyIPv6  = "ipv6"
)

// methods are those that ask and change nothing, and POST, since some health
// endpoints (gRPC gateways, JSON-RPC) take nothing else. PUT, PATCH and DELETE
// act, and a check never does.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions}

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

// Validate returns every fault of the settings at once, or nil. Each names the
// field by its JSON path and says what would be right. A check that is off is
// validated too, so that turning it on is never what breaks it. No message
// holds an address or a header's value, since either may hold a secret that
// does not belong there.
func (s URLSettings) Validate() error {
	f := faults{check: CheckURL}
	f.oneOf("scheme", s.Scheme, SchemeHTTP, SchemeHTTPS)
	f.oneOf("addressFamily", s.AddressFamily, FamilyIPv4, FamilyIPv6)
	f.oneOf("method", s.Method, methods...)
	f.series(s.TimeoutMs, s.Attempts, s.IntervalMs)
	if s.Port != 0 {
		f.port("port", s.Port)
	}
	s.validatePath(&f)
	if s.Address != "" {
		s.validateAddress(&f)
	}
	if _, err := ParseStatus(s.Status); err != nil {
		f.add("status", "%v", err)
	}
	if _, err := regexp.Compile(s.BodyPattern); err != nil {
		f.add("bodyPattern", "%v; use an RE2 pattern, see https://golang.org/s/re2syntax", err)
	}
	if s.BodyPattern != "" && s.Method == http.MethodHead {
		f.add("bodyPattern", "the answer to HEAD has no body; use GET, or no pattern")
	}
	if s.ServerName != "" && !validHost(s.ServerName) {
		f.add("serverName", "%q is not a host name; use the name in the certificate, without scheme and port", s.ServerName)
	}
	s.validateHeaders(&f)
	return f.err()
}

func (s URLSettings) validatePath(f *faults) {
	switch u, err := url.ParseRequestURI(s.Path); {
	case !strings.HasPrefix(s.Path, "/"):
		f.add("path", `does not begin with "/"; use a path such as "/healthz"`)
	case strings.Contains(s.Path, "#"):
		f.add("path", `a fragment is never sent; leave out "#" and what follows`)
	case err != nil, u.Host != "":
		f.add("path", `is not a path; use one such as "/healthz"`)
	}
	f.query("path", s.Path)
}

func (s URLSettings) validateAddress(f *faults) {
	const example = "use an absolute one such as https://app.example.com/healthz"
	u, err := url.Parse(s.Address)
	switch {
	case err != nil:
		// The error repeats the address, which may hold a password.
		f.add("address", "is not a URL; %s", example)
	case u.Scheme != SchemeHTTP && u.Scheme != SchemeHTTPS:
		f.add("address", "is neither an http nor an https URL; %s", example)
	case u.Opaque != "" || u.Hostname() == "":
		f.add("address", "has no host; %s", example)
	case !validHost(u.Hostname()):
		f.add("address", "its host is neither a name (in ASCII, xn--… for other scripts) nor an IP address; %s", example)
	default:
		if p := u.Port(); p != "" {
			if n, err := strconv.Atoi(p); err != nil || n < 1 || n > maxPort {
				f.add("address", "%s is not a port; use 1 to %d", p, maxPort)
			}
		} else if strings.HasSuffix(u.Host, ":") {
			f.add("address", "has an empty port; leave out the colon or use 1 to %d", maxPort)
		}
		f.family("address", u.Hostname(), s.AddressFamily)
	}
	if u != nil && u.User != nil {
		f.add("address", "holds user info, a secret; put the whole header value (\"Basic …\") into an SSM parameter and name it in url.secretHeaders.Authorization")
	}
	f.query("address", s.Address)
	if s.Private {
		f.add("private", "has no meaning with url.address, which says whom to ask; leave out one of the two")
	}
	if s.Port != 0 {
		f.add("port", "has no meaning with url.address; put the port into the address")
	}
}

// connectionHeaders are those that HTTP's own machinery sets.
var connectionHeaders = []string{"Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// secretMarks are parts of the names of headers and query parameters that
// carry secrets; Terraform's modules/settings has the same.
var secretMarks = []string{"authorization", "cookie", "token", "secret", "password", "passwd", "api-key", "apikey", "access-key", "credential", "session", "signature", "x-auth"}

func carriesSecret(header string) bool {
	header = strings.ToLower(header)
	return slices.ContainsFunc(secretMarks, func(mark string) bool { return strings.Contains(header, mark) })
}

// secretParameters are whole names of query parameters that carry secrets,
// beside those with a mark.
var secretParameters = []string{"auth", "jwt", "pass", "pwd", "sig"}

// query finds query parameters that look like secrets: settings stand in
// Terraform's state, in an SSM String and in the incident for all to read.
func (f *faults) query(field, address string) {
	_, query, _ := strings.Cut(address, "?")
	query, _, _ = strings.Cut(query, "#")
	var seen []string
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err == nil {
			name = decoded
		}
		plain := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
		if (carriesSecret(plain) || slices.Contains(secretParameters, plain)) && !slices.Contains(seen, name) {
			seen = append(seen, name)
			f.add(field, "its query parameter %q looks like a secret; put the value into an SSM SecureString parameter and have it sent as a header: url.secretHeaders", ClipLine(name, 40))
		}
	}
}

// parameterName is what SSM allows in the name of a parameter, with the
// leading "/" that our parameters all have.
var parameterName = lazy.Regexp(`^(/[A-Za-z0-9_.-]+)+$`)

func (s URLSettings) validateHeaders(f *faults) {
	seen := map[string]string{}
	name := func(field, header string) bool {
		path := field + "." + header
		if !httpguts.ValidHeaderFieldName(header) {
			f.add(field, "%q is not a header name; use letters, digits and hyphens", header)
			return false
		}
		canonical := http.CanonicalHeaderKey(header)
		if slices.Contains(connectionHeaders, canonical) {
			f.add(path, "is set by HTTP itself; leave it out")
		}
		if other, twice := seen[canonical]; twice {
			f.add(path, "is set twice, here and as url.%s; leave out one", other)
		}
		seen[canonical] = path
		return true
	}
	for _, header := range slices.Sorted(maps.Keys(s.Headers)) {
		if !name("headers", header) {
			continue
		}
		value, path := s.Headers[header], "headers."+header
		switch {
		case carriesSecret(header):
			f.add(path, "carries a secret; put its value into an SSM SecureString parameter and name that in url.secretHeaders.%s", header)
		case !httpguts.ValidHeaderFieldValue(value):
			f.add(path, "its value holds control characters; use printable text on one line")
		case strings.EqualFold(header, "Host") && !httpguts.ValidHostHeader(value):
			f.add(path, "its value is not a host; use a name such as app.example.com")
		}
	}
	for _, header := range slices.Sorted(maps.Keys(s.SecretHeaders)) {
		if !name("secretHeaders", header) {
			continue
		}
		path := "secretHeaders." + header
		if strings.EqualFold(header, "Host") {
			f.add(path, "is no secret; use url.headers.Host")
		}
		// The value is not shown: who puts the secret itself here would else
		// read it in the error.
		if !parameterName().MatchString(s.SecretHeaders[header]) {
			f.add(path, `is not the name of an SSM parameter; use one that begins with "/", such as /firstline/app/token`)
		}
	}
}

// Validate returns every fault of the settings at once, or nil, as
// URLSettings.Validate does.
func (s Route53Settings) Validate() error {
	f := faults{check: CheckRoute53}
	if s.HealthCheckID != "" && !healthCheckID().MatchString(s.HealthCheckID) {
		f.add("healthCheckId", "%q is not the id of a health check; use the UUID that Route 53 shows, such as 4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", s.HealthCheckID)
	}
	f.within("quorumPercent", s.QuorumPercent, 0, 99, " percent")
	f.attempts(s.Attempts, s.IntervalMs)
	return f.err()
}

var healthCheckID = lazy.Regexp(`^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)

// Validate returns every fault of the settings at once, or nil, as
// URLSettings.Validate does.
func (s SSHSettings) Validate() error {
	f := faults{check: CheckSSH}
	f.port("port", s.Port)
	f.oneOf("addressFamily", s.AddressFamily, FamilyIPv4, FamilyIPv6)
	f.series(s.TimeoutMs, s.Attempts, s.IntervalMs)
	if s.Host != "" {
		if !validHost(s.Host) {
			f.add("host", "%q is neither a host name nor an IP address; leave out scheme, user, brackets and port (the port is ssh.port)", s.Host)
		} else {
			f.family("host", s.Host, s.AddressFamily)
		}
		if s.Private {
			f.add("private", "has no meaning with ssh.host, which says whom to ask; leave out one of the two")
		}
	}
	if s.HostKeyFingerprint != "" && !validFingerprint(s.HostKeyFingerprint) {
		f.add("hostKeyFingerprint", "%q is not a fingerprint; use SHA256: and 43 base64 characters, as ssh-keygen -lf prints it", s.HostKeyFingerprint)
	}
	return f.err()
}

func validFingerprint(s string) bool {
	digest, ok := strings.CutPrefix(s, "SHA256:")
	if !ok || len(digest) != base64.RawStdEncoding.EncodedLen(sha256.Size) {
		return false
	}
	_, err := base64.RawStdEncoding.Strict().DecodeString(digest)
	return err == nil
}

var hostName = lazy.Regexp(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?$`)

// validHost reports whether s is a name or an address that can be dialled. A
// zone ("fe80::1%eth0") means an interface of ours, which no setting knows.
func validHost(s string) bool {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Zone() == ""
	}
	return len(s) <= 253 && hostName().MatchString(s)
}

// StatusRange is an inclusive range of status codes.
type StatusRange struct{ First, Last int }

var statusForm = lazy.Regexp(`^([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?$`)

// ParseStatus reads a list of status codes and ranges, "200" or "200-299".
func ParseStatus(list []string) ([]StatusRange, error) {
	if len(list) == 0 {
		return nil, errors.New(`is empty; list at least one code or range, such as "200-299"`)
	}
	ranges := make([]StatusRange, 0, len(list))
	for _, s := range list {
		m := statusForm().FindStringSubmatch(s)
		if m == nil {
			return nil, fmt.Errorf(`%q is neither a status code nor a range of them; use "200" or "200-299", 100 to 599`, s)
		}
		first, _ := strconv.Atoi(m[1]) // three digits, says the pattern
		last := first
		if m[2] != "" {
			last, _ = strconv.Atoi(m[2]) // as above
		}
		if last < first {
			return nil, fmt.Errorf(`%q runs backwards; use "%d-%d"`, s, last, first)
		}
		ranges = append(ranges, StatusRange{first, last})
	}
	return ranges, nil
}

// faults gathers what is wrong with the settings of one check.
type faults struct {
	check string
	errs  []error
}

func (f *faults) add(field, format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("%s.%s: %s", f.check, field, fmt.Sprintf(format, args...)))
}

func (f *faults) err() error { return errors.Join(f.errs...) }

func (f *faults) oneOf(field, got string, want ...string) {
	if !slices.Contains(want, got) {
		f.add(field, "%q is not known; use one of %s", got, strings.Join(want, ", "))
	}
}

func (f *faults) within(field string, got, low, high int, unit string) {
	if got < low || got > high {
		f.add(field, "%d is out of range; use %d to %d%s", got, low, high, unit)
	}
}

func (f *faults) port(field string, got int) {
	if got < 1 || got > maxPort {
		f.add(field, "%d is not a port; use 1 to %d", got, maxPort)
	}
}

func (f *faults) series(timeoutMs, attempts, intervalMs int) {
	f.within("timeoutMs", timeoutMs, minTimeoutMs, maxTimeoutMs, " ms")
	f.attempts(attempts, intervalMs)
}

func (f *faults) attempts(attempts, intervalMs int) {
	f.within("attempts", attempts, 1, maxAttempts, "")
	f.within("intervalMs", intervalMs, 0, maxIntervalMs, " ms")
}

// family finds an IP address of the other family than the one asked for.
func (f *faults) family(field, host, family string) {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return
	}
	if own := FamilyOf(addr); own != family {
		f.add("addressFamily", "%q does not fit the address in %s.%s; use %q", family, f.check, field, own)
	}
}

// FamilyOf is the family of an address.
func FamilyOf(addr netip.Addr) string {
	if addr.Unmap().Is4() {
		return FamilyIPv4
	}
	return FamilyIPv6
}
