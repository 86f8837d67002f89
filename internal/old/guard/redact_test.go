package guard

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// The secrets here are examples of AWS's documentation or made up.
const (
	accessKey = "AKIA" + "IOSFODNN7EXAMPLE"
	secret40  = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"
	jwt       = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	keyBody   = "MIIEpAIBAAKCAQEA7bq98rGxC2Zkq0eXo1q9R0sZx8mYV5n5d8bA1l3C4t6u7v8w\nMIIEpAIBAAKCAQEA7bq98rGxC2Zkq0eXo1q9R0sZx8mYV5n5d8bA1l3C4t6u7v8w\nq9R0sZx8mQ==\n"
)

func TestRedact(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		// What stays: most of what a console says.
		{"kernel", "[    0.000000] Linux version 6.1.0 (gcc 12.2) #1 SMP 2026-11-22", "[    0.000000] Linux version 6.1.0 (gcc 12.2) #1 SMP 2026-11-22"},
		{"panic", "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"},
		{"target", "[  OK  ] Reached target Basic System.", "[  OK  ] Reached target Basic System."},
		{"systemd", "Started Forward Password Requests to Wall Directory Watch.", "Started Forward Password Requests to Wall Directory Watch."},
		{"fsck", "Pass 1: Checking inodes, blocks, and sizes", "Pass 1: Checking inodes, blocks, and sizes"},
		{"signature", "loop: module verification failed: signature and/or required key missing - tainting kernel", "loop: module verification failed: signature and/or required key missing - tainting kernel"},
		{"a public key", "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY root@ip-10-0-0-1", "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY root@ip-10-0-0-1"},
		{"fingerprint", "256 SHA256:uNiVztksCsDhcc0u9e8BrDLvNNNhn root (ED25519)", "256 SHA256:uNiVztksCsDhcc0u9e8BrDLvNNNhn root (ED25519)"},
		{"SHA-1", "commit 2790d1c2790d1c2790d1c2790d1c2790d1c2790d", "commit 2790d1c2790d1c2790d1c2790d1c2790d1c2790d"},
		{"address", "GET http://203.0.113.7:8080/healthz?x=1 200", "GET http://203.0.113.7:8080/healthz?x=1 200"},
		{"mail", "mail to ops@example.com", "mail to ops@example.com"},
		{"prose", "the bearer token expired, basic authentication was used", "the bearer token expired, basic authentication was used"},
		{"tabs and lines", "a\tb\n\nc\n", "a\tb\n\nc\n"},
		{"letters", "Größe: 5 µs ✓", "Größe: 5 µs ✓"},

		// Terminal escapes and what does not print.
		{"colours", "\x1b[0;1;31m*\x1b[0m\x1b[K failed\x1b[39;49m", "* failed"},
		{"title", "\x1b]0;root@host: ~\x07root", "root"},
		{"link", "\x1b]8;;http://x\x1b\\text\x1b]8;;\x1b\\", "text"},
		{"device control", "\x1bPq#0;2;0;0;0\x1b\\x", "x"},
		{"charset, reset", "\x1b(B\x1bc\x1b=x", "x"},
		{"8-bit", "\u009b31mx\u009d0;t\u009c", "x"},
		{"one that has no end", "\x1b]0;title\nnext", "0;title\nnext"},
		{"a lone escape", "a\x1b", "a"},
		{"carriage returns", "10%\r20%\r\ndone\r\n", "10%\n20%\ndone\n"},
		{"controls", "a\x00b\x08\x7fc\x0bd\x0ce", "abc d e"},
		{"directions", "a\u202eb\u2066c\u200bd\ufeff", "abcd"},
		{"not UTF-8", "a\xffb\xc3", "ab"},
		{"inside of a secret", "pass\x1b[1mword=\x00hun\x1b[0mter2", "password=[redacted]"},
		{"inside of a key", "AKIA\x1b[1mIOSFODNN7EXAMPLE", "[redacted]"},

		// Keys.
		{"access key", "id " + accessKey + ", ASIAIOSFODNN7EXAMPLE", "id [redacted], [redacted]"},
		{"secret key, named", "aws_secret_access_key = " + secret40, "aws_secret_access_key = [redacted]"},
		{"secret keys, bare", secret40 + " " + secret40 + "\n" + secret40, "[redacted] [redacted]\n[redacted]"},
		{
			"credentials of a role", `{"AccessKeyId":"` + accessKey + `","SecretAccessKey":"` + secret40 + `","Token":"IQoJb3JpZ2luX2VjEXAMPLE","Expiration":"2026"}`,
			`{"AccessKeyId":"[redacted]","SecretAccessKey":"[redacted]","Token":"[redacted]","Expiration":"2026"}`,
		},
		{"private key", "a\n-----BEGIN RSA PRIVATE KEY-----\n" + keyBody + "-----END RSA PRIVATE KEY-----\nb", "a\n[redacted]\nb"},
		{"OpenSSH", "-----BEGIN OPENSSH PRIVATE KEY-----\n" + keyBody + "-----END OPENSSH PRIVATE KEY-----", "[redacted]"},
		{"no algorithm", "-----BEGIN PRIVATE KEY-----\n" + keyBody + "-----END PRIVATE KEY-----\n", "[redacted]\n"},
		{"PGP", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n" + keyBody + "-----END PGP PRIVATE KEY BLOCK-----\nx", "[redacted]\nx"},
		{"SSH2", "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n" + keyBody + "---- END SSH2 ENCRYPTED PRIVATE KEY ----\nx", "[redacted]\nx"},
		{"on one line", `{"key":"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\n"}`, `{"key":"[redacted]\n"}`},
		{"two keys", "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\nmiddle\n-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----", "[redacted]\nmiddle\n[redacted]"},
		{"end missing", "a\n-----BEGIN RSA PRIVATE KEY-----\n" + keyBody, "a\n[redacted]"},
		{"beginning missing", keyBody + "-----END RSA PRIVATE KEY-----\nb", "[redacted]\nb"},
		{"beginning missing, in a log", "boot: ok\nci[1]: " + strings.ReplaceAll(strings.TrimSpace(keyBody), "\n", "\nci[1]: ") + "\nci[1]: -----END PRIVATE KEY-----\nb", "boot: ok\n[redacted]\nb"},
		{"nothing but the end", "-----END PRIVATE KEY-----", "[redacted]"},
		{"a certificate stays", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"},
		{"Windows", "<Username>Administrator</Username>\n<Password>\nabc+def\n==\n</Password>\nend", "<Username>Administrator</Username>\n<Password>[redacted]</Password>\nend"},
		{"Windows, cut", "<Password>\nabc+def", "<Password>[redacted]"},

		// Names.
		{"shell", "export DB_PASSWORD=hunter2 PATH=/bin", "export DB_PASSWORD=[redacted] PATH=/bin"},
		{"quoted", `password="correct horse" user="x"`, `password="[redacted]" user="x"`},
		{"single quotes", `secret: 'it\'s' next: 1`, `secret: '[redacted]' next: 1`},
		{"quote without an end", `password="correct horse`, `password="[redacted]`},
		{"JSON", `{"user":"x","password":"hun\"ter2","n":1}`, `{"user":"x","password":"[redacted]","n":1}`},
		{"JSON in JSON", `{"m":"{\"api_key\":\"hunter2\"}"}`, `{"m":"{\"api_key\":[redacted]`},
		{"YAML", "  password: correct horse battery", "  password: [redacted]"},
		{"ini", "client_secret = correct horse", "client_secret = [redacted]"},
		{"Ruby", ":auth_token => 'x', :b => 1", ":auth_token => '[redacted]', :b => 1"},
		{"Go", "apiKey := hunter2", "apiKey := [redacted]"},
		{"address's query", "GET /x?token=hunter2&b=1 200", "GET /x?token=[redacted] 200"},
		{"presigned", "https://s3/x?X-Amz-Signature=0123abcd", "https://s3/x?X-Amz-Signature=[redacted]"},
		{"weak names", "pwd=hunter2 pass='x' signature=y", "pwd=[redacted] pass='[redacted]' signature=[redacted]"},
		{"option", "mysql --password hunter2 --host x", "mysql --password [redacted] --host x"},
		{"MySQL", "A temporary password is generated for root@localhost: qw:er=ty", "A temporary password is [redacted]"},
		{"told", "Generated password for admin: a b c", "Generated password for admin: [redacted]"},
		{"Bitnami", "Setting Bitnami application password to 'hunter2'", "Setting Bitnami application password to [redacted]"},
		{"nothing", "password=\npassword:", "password=\npassword:"},
		{"spaces before the value", "TOKEN   :    hunter2  ", "TOKEN   :    [redacted]"},

		// HTTP and tokens of their own.
		{"authorization", "> Authorization: Basic dXNlcjpwYXNz, more", "> Authorization: [redacted]"},
		{"cookie", "Set-Cookie: sid=hunter2; Path=/", "Set-Cookie: [redacted]"},
		{"API key", "x-api-key: hunter2", "x-api-key: [redacted]"},
		{"bearer", "curl -H 'Bearer abc123def456'", "curl -H 'Bearer [redacted]'"},
		{"basic", "sent Basic dXNlcjpwYXNz", "sent Basic [redacted]"},
		{"GenieKey", "GenieKey eb243592-faa2-4ba2-a551q-1afdf565c889", "GenieKey [redacted]"},
		{"JWT", "id " + jwt + ".", "id [redacted]."},
		{"user info", "clone https://user:hunter2@example.com/x and ftp://token@host", "clone https://[redacted]@example.com/x and ftp://[redacted]@host"},
		{"odd user info", "postgres://u:p@ss/w@db:5432/x", "postgres://[redacted]@db:5432/x"},
		{"GitHub", "ghp_0123456789abcdefghijABCDEFGHIJ012345", "[redacted]"},
		{"Slack", "xoxb-123456789012-abcdefghij", "[redacted]"},
		{"Stripe", "sk_live_0123456789abcdef", "[redacted]"},
		{"shadow", "root:$6$salt$hash./x:19000:0:99999:7:::", "root:[redacted]:19000:0:99999:7:::"},
		{"bcrypt", "$2y$10$abcdefghijklmnopqrstuv", "[redacted]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Redact(tt.in); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if got := Redact(tt.want); got != tt.want {
				t.Errorf("redacted again it is %q, was %q", got, tt.want)
			}
		})
	}
}

// redactSlowly asks every regular expression of everything.
func redactSlowly(s string) string {
	r := redactor()
	s = r.escape.ReplaceAllString(strings.ToValidUTF8(s, ""), "")
	s = strings.Map(printable, strings.ReplaceAll(s, "\r\n", "\n"))
	s = r.windows.ReplaceAllString(r.cutKeys(r.keyBlock.ReplaceAllString(s, redacted)), "${1}"+redacted+"${2}")
	run := regexp.MustCompile(`[A-Za-z0-9+/]+`)
	lines := strings.Split(s, "\n")
	for n, line := range lines {
		line = run.ReplaceAllStringFunc(r.form.ReplaceAllString(line, redacted), func(m string) string {
			if secretKey(m) {
				return redacted
			}
			return m
		})
		line = r.userInfo.ReplaceAllString(line, "${1}"+redacted+"@")
		line = r.value.ReplaceAllString(line, "${1}${2}${4}${6}${7}"+redacted+"${3}${5}")
		line = r.option.ReplaceAllString(line, "${1}"+redacted)
		lines[n] = r.schemes(line)
	}
	return strings.Join(lines, "\n")
}

// Lines that no regular expression is asked of have nothing that one would find.
func TestRedactIsAsThoroughAsItIsSlow(t *testing.T) {
	t.Parallel()
	parts := []string{
		"A3TABCDEFGHIJKLMNOPQ", "ASIA0123456789ABCDEF", "IQoJ" + strings.Repeat("ab1/", 12), "eyJhbGciOi.eyJzdWIi", "ghx_0123456789abcdefghij",
		"github_pat_0123456789abcdefghij", "glpat-0123456789", "npm_0123456789abcdefghij", "xoxz-0123456789", "xapp-0123456789", "rk_live_0123456789",
		"sk_test_0123456789", "AIza0123456789abcdefghijABCDEFGHIJ", "$y$abc", "$argon2id$x", strings.Repeat("aB3/", 10), strings.Repeat("aB3+", 10) + "x",
		"https://u:p@h", "PaſſWord: x", "To\u212aen = x", "--api-key x", "bearer abc123def", "Baſic dXNlcjpwYXNz", "negotiate a1b2c3d4", "token abc=def",
		"pwd=", "signature=", "Cookie: ", "\"", "'", "=", ": ", " ", "\n", "\r\n", "\x1b[31m", "\u009b1m", "\u0090x\u009c", "\xff", "é", "\v",
		"-----BEGIN PRIVATE \u212aEY-----", "-----END rsa private key-----", "<PASSWORD>", "<paſſword>", "</Password>", "x",
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same ones each time
	for range 5000 {
		var b strings.Builder
		for range 1 + random.IntN(8) {
			b.WriteString(parts[random.IntN(len(parts))])
		}
		if in := b.String(); Redact(in) != redactSlowly(in) {
			t.Fatalf("%q:\ngot  %q\nwant %q", in, Redact(in), redactSlowly(in))
		}
	}
}

// Whatever stands around them, none of these gets through.
func FuzzRedact(f *testing.F) {
	const secret = "hunter2secret"
	f.Add("", "")
	f.Add("a \x1b[1m\n", "\nb")
	f.Add("\"", "\"")
	f.Add("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----")
	f.Add("<password>", "https://")
	f.Add("password", "=:")
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.Contains(before+after, "hunter2") {
			return
		}
		for _, form := range []string{
			"password=" + secret, "\npassword: " + secret, `"token":"` + secret + `"`, "secret = " + secret,
			"Authorization: Basic " + secret, "https://user:" + secret + "@host ", "api_key=" + secret,
			"-----BEGIN RSA PRIVATE KEY-----\n" + secret + "\n-----END RSA PRIVATE KEY-----",
		} {
			out := Redact(before + "\n" + form + "\n" + after)
			if slow := redactSlowly(before + "\n" + form + "\n" + after); slow != out {
				t.Fatalf("got %q, slowly it is %q", out, slow)
			}
			if strings.Contains(out, secret) {
				t.Fatalf("%q gets through in %q", form, out)
			}
			if !utf8.ValidString(out) {
				t.Fatalf("not UTF-8: %q", out)
			}
			for _, r := range out {
				if r != '\n' && r != '\t' && !unicode.IsGraphic(r) {
					t.Fatalf("%q does not print in %q", r, out)
				}
			}
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	console := strings.Repeat("[   12.345678] systemd[1]: Started Session 1 of User root, key token=abc password: x http://a:b@c\n", 640)
	b.SetBytes(int64(len(console)))
	for b.Loop() {
		Redact(console)
	}
}
