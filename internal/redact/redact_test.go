package redact

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/aws/smithy-go"
)

// The secrets here are examples of AWS's documentation or made up.
const (
	accessKey = "AKIA" + "IOSFODNN7EXAMPLE"
	secret40  = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"
	jwt       = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	keyBody   = "MIIEpAIBAAKCAQEA7bq98rGxC2Zkq0eXo1q9R0sZx8mYV5n5d8bA1l3C4t6u7v8w\nMIIEpAIBAAKCAQEA7bq98rGxC2Zkq0eXo1q9R0sZx8mYV5n5d8bA1l3C4t6u7v8w\nq9R0sZx8mQ==\n"
)

// hex64 and the like are split so that no scanner of secrets takes them for one.
const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestConsole(t *testing.T) {
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
		{"Bitnami", "Setting Bitnami application password to 'hunter2'", "Setting Bitnami application password to '[redacted]'"},
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

		// Names of passwords, and blanks around what assigns.
		{"YAML, compound", "DB_PASS: hunter2", "DB_PASS: [redacted]"},
		{"YAML, several words", "db-pass: correct horse", "db-pass: [redacted]"},
		{"blanks around =", "PASSWORD = hunter2", "PASSWORD = [redacted]"},
		{"blanks around =, weak", "db_pass = hunter2", "db_pass = [redacted]"},
		{"blank behind =", "DB_PASSWORD= hunter2", "DB_PASSWORD= [redacted]"},
		{"pwd", "  pwd: hunter2", "  pwd: [redacted]"},
		{"pwd, letters only", "pwd: geheim", "pwd: [redacted]"},
		{"pwd of a database", "Data Source=db;User Id=sa;Pwd=hunter2;", "Data Source=db;User Id=sa;Pwd=[redacted];"},
		{"MySQL's variable", "MYSQL_PWD=hunter2 mysql", "MYSQL_PWD=[redacted] mysql"},
		{"weak JSON", `{"pass":"hunter2","n":1}`, `{"pass":"[redacted]","n":1}`},
		{"weak JSON in JSON", `{\"db_pass\":\"hunter2\"}`, `{\"db_pass\":[redacted]`},
		{"weak, behind many that are kept", strings.Repeat("bypass: ", 25) + "pwd: hunter2", strings.Repeat("bypass: ", 25) + "pwd: [redacted]"},
		{"weak, within a value that is kept", "PWD=/x?token=hunter2", "PWD=/x?token=[redacted]"},
		{"told of another", "Generated token for admin: 'hunter2'", "Generated token for admin: '[redacted]'"},
		{"weak, twice", "bypass: 1, pwd: hunter2", "bypass: 1, pwd: [redacted]"},
		{"Azure", "AccountName=x;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6==;EndpointSuffix=y", "AccountName=x;AccountKey=[redacted]"},
		{"Azure, short", "AccountKey=abc", "AccountKey=[redacted]"},
		{"recovery key", "BitLocker Recovery Key: 123456-123456", "BitLocker Recovery Key: [redacted]"},
		{"told, perfect", "The root password has been set to hunter2", "The root password has been set to [redacted]"},
		{"prompt", "Password: ", "Password: "},

		// Commands.
		{"curl", "+ curl -u admin:hunter2 https://x/y", "+ curl -u [redacted] https://x/y"},
		{"curl, adjacent", "curl -uadmin:hunter2 https://x", "curl -u[redacted] https://x"},
		{"curl, among others", "curl -fsSu admin:hunter2 https://x", "curl -fsSu [redacted] https://x"},
		{"curl, quoted", "curl -u 'admin:hun ter2' https://x", "curl -u '[redacted]' https://x"},
		{"curl, long", `curl --user "admin:hun ter2" https://x`, `curl --user "[redacted]" https://x`},
		{"curl, equals", "curl --user=admin:hunter2 --proxy-user p:hunter2 x", "curl --user=[redacted] --proxy-user [redacted] x"},
		{"curl, next line", "    -u admin:hunter2 \\", "    -u [redacted] \\"},
		{"curl, no password", "curl -u admin https://x:8080", "curl -u admin https://x:8080"},
		{"redis", "requirepass hunter2", "requirepass [redacted]"},
		{"redis, quoted", `CONFIG SET requirepass "hun ter2"`, `CONFIG SET requirepass "[redacted]"`},
		{"redis, option", "redis-server --requirepass hunter2 --port 1", "redis-server --requirepass [redacted] --port 1"},
		{"redis, client", "redis-cli -h x -a hunter2 ping", "redis-cli -h x -a [redacted] ping"},
		{"option and scheme", "x --header-token Bearer abc123def", "x --header-token [redacted] [redacted]"},
		{"option, blanks around =", "x --password = hunter2 y", "x --password = [redacted]"},
		{"mysql", "mysql -uroot -phunter2 app", "mysql -uroot -p[redacted] app"},
		{"sshpass", "sshpass -p hunter2 ssh x", "sshpass -p [redacted] ssh x"},
		{"docker login", "docker login -u x -p hunter2 y", "docker login -u x -p [redacted] y"},
		{"npm", "npm config set //registry/:_authToken 123e4567-e89b", "npm config set //registry/:_authToken [redacted]"},
		{"chpasswd", "echo 'root:hunter2' | chpasswd", "echo 'root:[redacted]' | chpasswd"},
		{"chpasswd, here string", "+ chpasswd <<< ubuntu:hunter2", "+ chpasswd <<< ubuntu:[redacted]"},
		{"kubeadm", "kubeadm join 10.0.0.1:6443 --token abcdef.0123456789abcdef", "kubeadm join 10.0.0.1:6443 --token [redacted]"},

		// cloud-init's passwords.
		{
			"cloud-init", "Set the following 'random' passwords\nubuntu:R8kd93kdlasd\nec2-user:geheim\nok",
			"Set the following 'random' passwords\nubuntu:[redacted]\nec2-user:[redacted]\nok",
		},
		{
			"cloud-init, in a log",
			"[   12.3] cloud-init[1]: Set the following 'random' passwords\n\n[   12.4] audit: type=1400\n[   12.4] cloud-init[1]: ubuntu:R8kd93kdlasd\r\nx: y",
			"[   12.3] cloud-init[1]: Set the following 'random' passwords\n\n[   12.4] audit: type=1400\n[   12.4] cloud-init[1]: ubuntu:[redacted]\nx: y",
		},
		{
			"cloud-init, long ago", "Set the following 'random' passwords\n" + strings.Repeat("x\n", randomWindow) + "ubuntu:stays",
			"Set the following 'random' passwords\n" + strings.Repeat("x\n", randomWindow) + "ubuntu:stays",
		},

		// Tokens of services.
		{"Slack webhook", "POST https://hooks.slack.com/services/T00000000/B00000000/XXXX 200", "POST https://hooks.slack.com/services/[redacted] 200"},
		{"Slack webhook, quoted", `{"url":"https://hooks.slack.com/services/T0/B0/X"}`, `{"url":"https://hooks.slack.com/services/[redacted]"}`},
		{"Vault", "got hvs.CAESIJ0123456789abcdef.", "got [redacted]."},
		{"Vault, header", "curl -H 'X-Vault-Token: hvs.CAESIJ0123456789abcdef' https://v", "curl -H 'X-Vault-Token: [redacted]"},
		{"SendGrid", "SG." + "ngeVfQFYQlKU0ufo8x5d1A.TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc-1s5cr, x", "[redacted], x"},
		{"DigitalOcean", "dop_v1_" + hex64 + " x", "[redacted] x"},
		{"OpenAI", "sk-proj-abcdefghijklmnopqrstuvwxyz", "[redacted]"},
		{"Atlassian", "ATATT3xFfGF0abcdefghij0123456789=ABC", "[redacted]"},
		{"Docker Swarm", "SWMTKN-1-0abc-0def 10.0.0.1:2377", "[redacted] 10.0.0.1:2377"},
		{"query", "GET /healthz?key=0123&sig=abc&b=1 HTTP/1.1", "GET /healthz?key=[redacted]&sig=[redacted]&b=1 HTTP/1.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Console(tt.in); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if got := Console(tt.want); got != tt.want {
				t.Errorf("redacted again it is %q, was %q", got, tt.want)
			}
		})
	}
}

// What a console says most of the time helps to find the fault and stays.
func TestConsoleKeepsOrdinaryLines(t *testing.T) {
	for _, line := range []string{
		"sshd[812]: password authentication disabled",
		"sshd[812]: Failed password for invalid user admin from 203.0.113.7 port 4711 ssh2",
		"sshd[812]: Accepted publickey for ubuntu from 203.0.113.7 port 4711 ssh2: ED25519 SHA256:uNiVztksCsDhcc0u9e8BrDLvNNNhn",
		"sudo:   ubuntu : TTY=pts/0 ; PWD=/home/ubuntu ; USER=root ; COMMAND=/usr/bin/apt-get update",
		"+ pwd",
		"bash: pwd: write error: Broken pipe",
		"pwd: error retrieving current directory: getcwd: cannot access parent directories",
		"pwd",
		"OLDPWD=/root",
		"Pass 1: Checking inodes, blocks, and sizes",
		"[    0.1] Speculative Store Bypass: Mitigation: Speculative Store Bypass disabled via prctl",
		"[    0.1] Kernel command line: BOOT_IMAGE=/vmlinuz root=/dev/xvda1 ro console=ttyS0 spec_store_bypass_disable=on iommu.passthrough=0",
		"[    1.0] Key type asymmetric registered",
		"[    1.0] Asymmetric key parser 'x509' registered",
		"[    1.0] Loaded X.509 cert 'Build time autogenerated kernel key: 0f7b3c2d1e'",
		"[    1.0] random: crng init done",
		"[    1.0] systemd[1]: Started Dispatch Password Requests to Console Directory Watch.",
		"[    1.0] Out of memory: Killed process 4711 (mysqld) total-vm:123kB, anon-rss:4kB, file-rss:0kB, shmem-rss:0kB, UID:27 pgtables:1kB oom_score_adj:0",
		"[    1.0] sd 0:0:0:0: [sda] Attached SCSI disk, task-management-function-sk-hba",
		"[    1.0] EXT4-fs (xvda1): mounted filesystem with ordered data mode. Opts: (null). Quota mode: none.",
		"[    1.0] SG driver version 3.5.36, MSG.something_or_other_is_ordinary",
		"SG.a is a host, DISG.0123456789abcdef too",
		"hvs.example.com answers, do_v1 is a version",
		"+ date -u +%Y-%m-%dT%H:%M:%SZ",
		"+ docker run -u 1000:1000 --user 1000:1000 --user app:app x",
		"+ sort -u a:b",
		"+ mkdir -p /var/lib/mysql",
		"+ mysql -u root -p app",
		"# requirepass is not set",
		"cloud-init[1]: ci-info: |   0   | 0.0.0.0 | 172.31.0.1 | 0.0.0.0 |  eth0  |   UG  |",
		"-----BEGIN SSH HOST KEY KEYS-----",
		"ec2: 256 SHA256:uNiVztksCsDhcc0u9e8BrDLvNNNhn root@ip-10-0-0-1 (ECDSA)",
		"ip-10-0-0-1 login: ",
		"https://hooks.slack.com is reachable",
		"a random passwords' list",
		"ubuntu:x:1000:1000",
	} {
		if got := Console(line); got != line {
			t.Errorf("%q\nbecomes %q", line, got)
		}
		if got := Text(line); got != line {
			t.Errorf("as a text %q\nbecomes %q", line, got)
		}
	}
}

func TestText(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		// Our own.
		{"read secret /firstline/secrets/slack-token: the SSM parameter does not exist; create it as a SecureString", ""},
		{"page: the OpsGenie API key is missing: store it and try again", ""},
		{"page: HTTP 403 Forbidden: renew the API key, and let its integration create alerts", ""},
		{"send to Slack: invalid_auth: the Slack token was refused", ""},
		{"read url.secret_headers.Authorization from /app/auth: the parameter's value is empty", ""},
		{"GET http://203.0.113.7:8080/healthz: connection refused", ""},
		{"operation error SSM: GetParameter, https response error StatusCode: 400, RequestID: 8c1d3f8e-52b1-4c2e-9f43-0d5b2c7a9e11, api error AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/firstline-responder-eu-west-1/firstline-responder is not authorized to perform: ssm:GetParameter on resource: arn:aws:ssm:eu-west-1:123456789012:parameter/firstline/secrets/slack-token", ""},
		// What others may have put there.
		{"not you: Authorization=Bearer very-secret-token", "not you: Authorization=[redacted]"},
		{"not you: Authorization=Bearer hunter2-hunter2 (key AKIAIOSFODNN7EXAMPLE)", "not you: Authorization=[redacted] (key [redacted])"},
		{"GenieKey 12345678-aaaa-bbbb was refused", "GenieKey [redacted] was refused"},
		{"password=geheim, and more", "password=[redacted], and more"},
		{`Client_Secret = "ge heim"; x`, `Client_Secret = "[redacted]"; x`},
		{"https://joe:geheim@app.example.com/x", "https://[redacted]@app.example.com/x"},
		{"xoxb-1234567890-geheim said no", "[redacted] said no"},
		{"the key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "the key [redacted]"},
		{"a\x1b[31mb\x00c", "abc"},
		{"DB_PASS: hunter2", "DB_PASS: [redacted]"},
		{"(pwd: hunter2)", "(pwd: [redacted]"},
		{"PASSWORD = hunter2; x", "PASSWORD = [redacted]; x"},
		{"db_pass = hunter2", "db_pass = [redacted]"},
		{"password=a,b, and more", "password=[redacted], and more"},
		{`{"errorMessage":"x","password":"hunter2"}`, `{"errorMessage":"x","password":"[redacted]"}`},
		{`{"errorMessage":"{\"token\":\"hunter2\"}"}`, `{"errorMessage":"{\"token\":[redacted]`},
		{"x;AccountKey=abc==;y", "x;AccountKey=[redacted]"},
		{"POST https://hooks.slack.com/services/T0/B0/X: no", "POST https://hooks.slack.com/services/[redacted] no"},
		{"curl -u a:hunter2 x", "curl -u [redacted] x"},
		{"requirepass hunter2", "requirepass [redacted]"},
		{"mysql --password hunter2 app", "mysql --password [redacted] app"},
		{"echo root:hunter2 | chpasswd", "echo root:[redacted] | chpasswd"},
		{"hvs.CAESIJ0123456789 and dop_v1_" + hex64, "[redacted] and [redacted]"},
		// Words behind a colon are prose.
		{"read secret /firstline/db_pass: i-0ab has none", ""},
		{"password: HTTP 403 Forbidden", ""},
		{"open session: token is missing", ""},
		{"set --slack-token or leave Slack out", ""},
	} {
		want := tt.want
		if want == "" {
			want = tt.in
		}
		if got := Text(tt.in); got != want {
			t.Errorf("%q\n got %q\nwant %q", tt.in, got, want)
		}
		if got := Text(want); got != want {
			t.Errorf("redacted again %q is %q", want, got)
		}
	}
}

func TestError(t *testing.T) {
	api := &smithy.GenericAPIError{Code: "SignatureDoesNotMatch", Message: "request: x-amz-security-token: hunter2"}
	ours := errors.New("read secret /app/token: password=hunter2")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{ours, "read secret /app/token: password=[redacted]"},
		{api, "api error SignatureDoesNotMatch: request: x-amz-security-token: [redacted]"},
		{
			errors.Join(ours, fmt.Errorf("ask: %w", api)),
			"read secret /app/token: password=[redacted]\nask: api error SignatureDoesNotMatch: request: x-amz-security-token: [redacted]",
		},
	} {
		if got := Error(tt.err); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}

// A line that no regular expression is asked of has nothing that one would find.
func TestHints(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"A3TABCDEFGHIJKLMNOPQ", "AKIA0123456789ABCDEF", "ASIA0123456789ABCDEF", "ABIA0123456789ABCDEF", "ACCA0123456789ABCDEF",
		"IQoJ" + strings.Repeat("ab1/", 12), "FwoG" + strings.Repeat("ab1/", 12), "FQoG" + strings.Repeat("ab1/", 12), "eyJhbGciOi.eyJzdWIi",
		"ghx_0123456789abcdefxyij", "github_pat_0123456789abcdefxyij", "glpat-0123456789", "npm_0123456789abcdefxyij", "xoxz-0123456789",
		"xapp-0123456789", "rk_live_0123456789", "sk_test_0123456789", "AIza0123456789abcdefxyijABCDEFGHIJ", "$y$abc", "$argon2id$x",
		"hvs.0123456789ab", "hvb.0123456789ab", "hvr.0123456789ab", "SG.0123456789abcdefxyij", "dor_v1_0123456789abcdef",
		"sk-0123456789abcdefxyijk", "ATATT30123456789abcdefxyij", "SWMTKN-1-0", "AGE-SECRET-KEY-10123456789ABCDEFGHIJ", "https://u:p@h",
		"Passphrase=x", "SECRET=x", "tok" + "en: x", "credential was x", "x api key: x", "signing_key=x", "Recovery Key: x", "Authorization: x", "Cookie: x",
		"PWD=x", "bypass_pass: x", "Signature=x", "Bearer abc123def", "basic dXNlcjpwYXNz", "Digest a1b2c3d4", "negotiate a1b2c3d4", "GenieKey a1b2c3d4",
		"hooks.slack.com/services/x", "Hooks.slack-gov.com/triggers/x", "Discord.com/api/webhooks/x", "x.WEBHOOK.office.com/webhookb2/y",
		"?key=x", "&SIG=x", ";auth=x", "&jwt=x", "?sid=x", "curl -fU 'a:b'", " -u a:b", " --proxy-user=a:b", " --user a:b",
		"--api-key x", "requirepass x", "masterauth x", "_authToken x", "mysqldump -px", "mariadb -px", "redis-cli -a x", "sshpass -p x",
		"docker login -p x", "podman login -p x", "root:x | chpasswd",
	} {
		if got := behind(toEndOfLine, inText(line)); got == line || !suspect(line) {
			t.Errorf("%s becomes %s, suspect: %v", line, got, suspect(line))
		}
	}
}

// mustBeClean fails if a secret gets through or what does not print is left.
func mustBeClean(t *testing.T, out, secret, form string) {
	t.Helper()
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

// Whatever stands around them, none of these gets through.
func FuzzRedact(f *testing.F) {
	const secret = "hunter2secret"
	f.Add("", "")
	f.Add("a \x1b[1m\n", "\nb")
	f.Add("\"", "\"")
	f.Add("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----")
	f.Add("<password>", "https://")
	f.Add("password", "=:")
	f.Add("set the following 'random' passwords", "a:b")
	f.Add("curl -u", "pwd: bypass: PWD=/")
	both := []string{
		"password=" + secret, `"token":"` + secret + `"`, "secret = " + secret, "DB_PASS: " + secret, "db_pass = " + secret, "AccountKey=" + secret,
		"https://user:" + secret + "@host ", "api_key=" + secret, "https://hooks.slack.com/services/" + secret, "hvs." + secret, "SG." + secret + secret,
		"dop_v1_" + secret + secret, "requirepass " + secret, "curl -u a:" + secret, "curl --user 'a:" + secret + "'", "root:" + secret + " | chpasswd",
		"Set the following 'random' passwords\nubuntu:" + secret, "pwd: " + secret,
		"-----BEGIN RSA PRIVATE KEY-----\n" + secret + "\n-----END RSA PRIVATE KEY-----",
	}
	console := []string{"\npassword: " + secret, "Authorization: Basic " + secret}
	f.Fuzz(func(t *testing.T, before, after string) {
		if strings.Contains(before+after, "hunter2") {
			return
		}
		for _, form := range both {
			in := before + "\n" + form + "\n" + after
			mustBeClean(t, Text(in), secret, form)
		}
		for _, form := range append(console, both...) {
			mustBeClean(t, Console(before+"\n"+form+"\n"+after), secret, form)
		}
	})
}

func BenchmarkConsole(b *testing.B) {
	for _, bb := range []struct{ name, line string }{
		{"worst", "[   12.345678] systemd[1]: Started Session 1 of User root, key token=abc password: x http://a:b@c\n"},
		{"hostile names", strings.Repeat("bypass:bypass=pwd: pass: ", 4)},
		{"hostile", strings.Repeat("bypass: bypass=-----END PRIVATE KEY----- ", 3) + "\n"},
		{"ordinary", "[   12.345678] systemd[1]: Started Session 1 of User root, and whatever else a console says of it\n"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			console := strings.Repeat(bb.line, 640)
			b.SetBytes(int64(len(console)))
			for b.Loop() {
				Console(console)
			}
		})
	}
}
