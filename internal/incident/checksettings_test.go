package incident

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDefaultsAreValid(t *testing.T) {
	for name, err := range map[string]error{
		"url":     DefaultURLSettings().Validate(),
		"route53": DefaultRoute53Settings().Validate(),
		"ssh":     DefaultSSHSettings().Validate(),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

func TestURLSettingsValidate(t *testing.T) {
	const example = "use an absolute one such as https://app.example.com/healthz"
	query := func(field, name string) string {
		return `url.` + field + `: its query parameter "` + name + `" looks like a secret; put the value into an SSM SecureString parameter and have it sent as a header: url.secretHeaders`
	}
	for _, tc := range []struct {
		name string
		set  func(*URLSettings)
		want []string
	}{
		{"all that may be set", func(s *URLSettings) {
			s.Scheme, s.Port, s.Path, s.Private, s.AddressFamily = "https", 8443, "/a/b?c=d", true, "ipv6"
			s.Method, s.TimeoutMs, s.Attempts, s.IntervalMs = "POST", 30_000, 10, 0
			s.Status, s.BodyPattern, s.ServerName = []string{"200", "300-399"}, "^ok", "app.example.com"
			s.Headers = map[string]string{"Host": "app.example.com:8443", "Accept": "text/plain"}
			s.SecretHeaders = map[string]string{"Authorization": "/firstline/app/token"}
		}, nil},
		{"an address", func(s *URLSettings) { s.Address, s.ServerName = "https://app.example.com:8443/x?y=z", "b.example" }, nil},
		{"an IPv6 address", func(s *URLSettings) { s.Address, s.AddressFamily = "http://[2001:db8::1]/", "ipv6" }, nil},
		{"scheme", func(s *URLSettings) { s.Scheme = "ftp" }, []string{`url.scheme: "ftp" is not known; use one of http, https`}},
		{"family", func(s *URLSettings) { s.AddressFamily = "" }, []string{`url.addressFamily: "" is not known; use one of ipv4, ipv6`}},
		{"method", func(s *URLSettings) { s.Method = "DELETE" }, []string{`url.method: "DELETE" is not known; use one of GET, HEAD, POST, OPTIONS`}},
		{"method in small letters", func(s *URLSettings) { s.Method = "get" }, []string{`url.method: "get" is not known; use one of GET, HEAD, POST, OPTIONS`}},
		{"port", func(s *URLSettings) { s.Port = 70000 }, []string{"url.port: 70000 is not a port; use 1 to 65535"}},
		{"negative port", func(s *URLSettings) { s.Port = -1 }, []string{"url.port: -1 is not a port; use 1 to 65535"}},
		{"path", func(s *URLSettings) { s.Path = "healthz" }, []string{`url.path: does not begin with "/"; use a path such as "/healthz"`}},
		{"empty path", func(s *URLSettings) { s.Path = "" }, []string{`url.path: does not begin with "/"; use a path such as "/healthz"`}},
		{"path with a bad escape", func(s *URLSettings) { s.Path = "/%zz" }, []string{`url.path: is not a path; use one such as "/healthz"`}},
		{"path with a fragment", func(s *URLSettings) { s.Path = "/#a" }, []string{`url.path: a fragment is never sent; leave out "#" and what follows`}},
		{"timeout too short", func(s *URLSettings) { s.TimeoutMs = 99 }, []string{"url.timeoutMs: 99 is out of range; use 100 to 30000 ms"}},
		{"timeout too long", func(s *URLSettings) { s.TimeoutMs = 30001 }, []string{"url.timeoutMs: 30001 is out of range; use 100 to 30000 ms"}},
		{"attempts", func(s *URLSettings) { s.Attempts = 0 }, []string{"url.attempts: 0 is out of range; use 1 to 10"}},
		{"interval", func(s *URLSettings) { s.IntervalMs = -1 }, []string{"url.intervalMs: -1 is out of range; use 0 to 30000 ms"}},
		{"no status", func(s *URLSettings) { s.Status = nil }, []string{`url.status: is empty; list at least one code or range, such as "200-299"`}},
		{"status", func(s *URLSettings) { s.Status = []string{"200", "2xx"} }, []string{`url.status: "2xx" is neither a status code nor a range of them; use "200" or "200-299", 100 to 599`}},
		{"status out of range", func(s *URLSettings) { s.Status = []string{"600"} }, []string{`url.status: "600" is neither a status code nor a range of them; use "200" or "200-299", 100 to 599`}},
		{"status backwards", func(s *URLSettings) { s.Status = []string{"299-200"} }, []string{`url.status: "299-200" runs backwards; use "200-299"`}},
		{"pattern", func(s *URLSettings) { s.BodyPattern = "a(" }, []string{"url.bodyPattern: error parsing regexp: missing closing ): `a(`; use an RE2 pattern, see https://golang.org/s/re2syntax"}},
		{"pattern without a body", func(s *URLSettings) { s.Method, s.BodyPattern = "HEAD", "ok" }, []string{"url.bodyPattern: the answer to HEAD has no body; use GET, or no pattern"}},
		{"server name", func(s *URLSettings) { s.ServerName = "https://a" }, []string{`url.serverName: "https://a" is not a host name; use the name in the certificate, without scheme and port`}},
		{"address of another scheme", func(s *URLSettings) { s.Address = "ftp://a/" }, []string{"url.address: is neither an http nor an https URL; " + example}},
		{"address without a scheme", func(s *URLSettings) { s.Address = "app.example.com" }, []string{"url.address: is neither an http nor an https URL; " + example}},
		{"address without a host", func(s *URLSettings) { s.Address = "http:///a" }, []string{"url.address: has no host; " + example}},
		{"opaque address", func(s *URLSettings) { s.Address = "http:a" }, []string{"url.address: has no host; " + example}},
		{"address that is no URL", func(s *URLSettings) { s.Address = "http://a:secret" }, []string{"url.address: is not a URL; " + example}},
		{"address with a strange host", func(s *URLSettings) { s.Address = "http://a_!/" }, []string{"url.address: its host is neither a name (in ASCII, xn--… for other scripts) nor an IP address; " + example}},
		{"address with a port out of range", func(s *URLSettings) { s.Address = "http://a:70000/" }, []string{"url.address: 70000 is not a port; use 1 to 65535"}},
		{"address with an empty port", func(s *URLSettings) { s.Address = "http://a:/" }, []string{"url.address: has an empty port; leave out the colon or use 1 to 65535"}},
		{"address of the other family", func(s *URLSettings) { s.Address = "http://[2001:db8::1]/" }, []string{`url.addressFamily: "ipv4" does not fit the address in url.address; use "ipv6"`}},
		{"address with a secret", func(s *URLSettings) { s.Address = "http://joe:geheim@a/" }, []string{`url.address: holds user info, a secret; put the whole header value ("Basic …") into an SSM parameter and name it in url.secretHeaders.Authorization`}},
		{"address and what it makes meaningless", func(s *URLSettings) { s.Address, s.Private, s.Port = "http://a/", true, 80 }, []string{
			"url.private: has no meaning with url.address, which says whom to ask; leave out one of the two",
			"url.port: has no meaning with url.address; put the port into the address",
		}},
		{"secrets in the address' query", func(s *URLSettings) {
			s.Address = "http://a/?x=1&api_key=geheim;Token=geheim&token=a&Token=b#?pwd=geheim"
		}, []string{
			query("address", "api_key"), query("address", "Token"), query("address", "token"),
		}},
		{"secrets in the path's query", func(s *URLSettings) {
			s.Path = "/?X-Amz-Signature=geheim&X-Amz-Credential=geheim&sig=geheim&p%61ssword=geheim"
		}, []string{
			query("path", "X-Amz-Signature"), query("path", "X-Amz-Credential"), query("path", "sig"), query("path", "password"),
		}},
		{"no secrets in a query", func(s *URLSettings) { s.Path = "/token/secret?deep=token&signal=1&author=me&passed=2" }, nil},
		{"header name", func(s *URLSettings) { s.Headers = map[string]string{"a b": ""} }, []string{`url.headers: "a b" is not a header name; use letters, digits and hyphens`}},
		{"header value", func(s *URLSettings) { s.Headers = map[string]string{"A": "b\r\nC: d"} }, []string{"url.headers.A: its value holds control characters; use printable text on one line"}},
		{"header of the connection", func(s *URLSettings) { s.Headers = map[string]string{"content-length": "3"} }, []string{"url.headers.content-length: is set by HTTP itself; leave it out"}},
		{"host header", func(s *URLSettings) { s.Headers = map[string]string{"Host": "a b"} }, []string{"url.headers.Host: its value is not a host; use a name such as app.example.com"}},
		{"headers with secrets", func(s *URLSettings) {
			s.Headers = map[string]string{"authorization": "geheim", "Cookie": "geheim", "X-Api-Key": "geheim"}
		}, []string{
			"url.headers.Cookie: carries a secret; put its value into an SSM SecureString parameter and name that in url.secretHeaders.Cookie",
			"url.headers.X-Api-Key: carries a secret; put its value into an SSM SecureString parameter and name that in url.secretHeaders.X-Api-Key",
			"url.headers.authorization: carries a secret; put its value into an SSM SecureString parameter and name that in url.secretHeaders.authorization",
		}},
		{"the same header twice", func(s *URLSettings) {
			s.Headers, s.SecretHeaders = map[string]string{"X-A": "b"}, map[string]string{"x-a": "/a"}
		}, []string{"url.secretHeaders.x-a: is set twice, here and as url.headers.X-A; leave out one"}},
		{"secret instead of a parameter", func(s *URLSettings) { s.SecretHeaders = map[string]string{"Authorization": "geheim"} }, []string{`url.secretHeaders.Authorization: is not the name of an SSM parameter; use one that begins with "/", such as /firstline/app/token`}},
		{"secret header name", func(s *URLSettings) { s.SecretHeaders = map[string]string{"": "/a"} }, []string{`url.secretHeaders: "" is not a header name; use letters, digits and hyphens`}},
		{"secret host", func(s *URLSettings) { s.SecretHeaders = map[string]string{"host": "/a"} }, []string{"url.secretHeaders.host: is no secret; use url.headers.Host"}},
		{"all at once", func(s *URLSettings) { s.Scheme, s.Attempts = "x", 11 }, []string{
			`url.scheme: "x" is not known; use one of http, https`,
			"url.attempts: 11 is out of range; use 1 to 10",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := DefaultURLSettings()
			tc.set(&s)
			err := s.Validate()
			if diff := cmp.Diff(tc.want, lines(err)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if err != nil && strings.Contains(err.Error(), "geheim") {
				t.Errorf("%q holds a secret", err)
			}
		})
	}
}

func TestRoute53SettingsValidate(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*Route53Settings)
		want []string
	}{
		{"all", func(s *Route53Settings) { s.HealthCheckID, s.QuorumPercent = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b", 0 }, nil},
		{"id", func(s *Route53Settings) { s.HealthCheckID = "4f2b" }, []string{`route53.healthCheckId: "4f2b" is not the id of a health check; use the UUID that Route 53 shows, such as 4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b`}},
		{"quorum", func(s *Route53Settings) { s.QuorumPercent = 100 }, []string{"route53.quorumPercent: 100 is out of range; use 0 to 99 percent"}},
		{"attempts and interval", func(s *Route53Settings) { s.Attempts, s.IntervalMs = 11, 30001 }, []string{
			"route53.attempts: 11 is out of range; use 1 to 10",
			"route53.intervalMs: 30001 is out of range; use 0 to 30000 ms",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := DefaultRoute53Settings()
			tc.set(&s)
			if diff := cmp.Diff(tc.want, lines(s.Validate())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSSHSettingsValidate(t *testing.T) {
	host := func(s string) []string {
		return []string{`ssh.host: "` + s + `" is neither a host name nor an IP address; leave out scheme, user, brackets and port (the port is ssh.port)`}
	}
	fingerprint := func(s string) []string {
		return []string{`ssh.hostKeyFingerprint: "` + s + `" is not a fingerprint; use SHA256: and 43 base64 characters, as ssh-keygen -lf prints it`}
	}
	for _, tc := range []struct {
		name string
		set  func(*SSHSettings)
		want []string
	}{
		{"all", func(s *SSHSettings) {
			s.Host, s.AddressFamily, s.Port = "2001:db8::1", "ipv6", 2222
			s.HostKeyFingerprint = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
		}, nil},
		{"a name", func(s *SSHSettings) { s.Host = "bastion-1.example.com" }, nil},
		{"private", func(s *SSHSettings) { s.Private = true }, nil},
		{"port", func(s *SSHSettings) { s.Port = 0 }, []string{"ssh.port: 0 is not a port; use 1 to 65535"}},
		{"family", func(s *SSHSettings) { s.AddressFamily = "inet" }, []string{`ssh.addressFamily: "inet" is not known; use one of ipv4, ipv6`}},
		{"the other family", func(s *SSHSettings) { s.Host, s.AddressFamily = "192.0.2.1", "ipv6" }, []string{`ssh.addressFamily: "ipv6" does not fit the address in ssh.host; use "ipv4"`}},
		{"host with a scheme", func(s *SSHSettings) { s.Host = "ssh://a" }, host("ssh://a")},
		{"host with a port", func(s *SSHSettings) { s.Host = "a:22" }, host("a:22")},
		{"host with a space", func(s *SSHSettings) { s.Host = "a b" }, host("a b")},
		{"host with a user", func(s *SSHSettings) { s.Host = "root@a" }, host("root@a")},
		{"host in brackets", func(s *SSHSettings) { s.Host = "[::1]" }, host("[::1]")},
		{"host with a zone", func(s *SSHSettings) { s.Host = "fe80::1%eth0" }, host("fe80::1%eth0")},
		{"host and private", func(s *SSHSettings) { s.Host, s.Private = "a", true }, []string{"ssh.private: has no meaning with ssh.host, which says whom to ask; leave out one of the two"}},
		{"timeout", func(s *SSHSettings) { s.TimeoutMs = 0 }, []string{"ssh.timeoutMs: 0 is out of range; use 100 to 30000 ms"}},
		{"fingerprint of another kind", func(s *SSHSettings) { s.HostKeyFingerprint = "MD5:00" }, fingerprint("MD5:00")},
		{"short fingerprint", func(s *SSHSettings) { s.HostKeyFingerprint = "SHA256:abc" }, fingerprint("SHA256:abc")},
		{"fingerprint of other letters", func(s *SSHSettings) { s.HostKeyFingerprint = "SHA256:" + strings.Repeat("_", 43) }, fingerprint("SHA256:" + strings.Repeat("_", 43))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := DefaultSSHSettings()
			tc.set(&s)
			if diff := cmp.Diff(tc.want, lines(s.Validate())); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
