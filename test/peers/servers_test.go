package peers

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// server is a real server with a configuration. It runs on a free port, from a
// temporary folder, as nobody where we are root.
type server struct {
	*program
	config string
	// holding is how many connections of ours it has already when the check comes.
	holding int
	// frozen: it gets SIGSTOP before the check comes.
	frozen bool
}

// program is a server's binary and how it is started.
type program struct {
	binary, versionFlag string
	// wrap makes a whole configuration of what a situation says.
	wrap string
	// args are its arguments; the configuration is in $DIR/config.
	args []string
}

var nginxProgram = program{
	binary: "nginx", versionFlag: "-v", args: []string{"-e", "$DIR/error.log", "-c", "$DIR/config"},
	wrap: `daemon off; master_process off; pid $DIR/pid;
events {}
http {
  access_log off; gzip_static off;
  client_body_temp_path $DIR/1; proxy_temp_path $DIR/2; fastcgi_temp_path $DIR/3; uwsgi_temp_path $DIR/4; scgi_temp_path $DIR/5;
  ssl_certificate $DIR/cert.pem; ssl_certificate_key $DIR/key.pem; ssl_client_certificate $DIR/cert.pem;
  server { root $DIR/www; %s }
}`,
}

var apacheProgram = program{
	binary: "apache2", versionFlag: "-v", args: []string{"-f", "$DIR/config", "-DFOREGROUND"},
	wrap: `ServerRoot $DIR
ServerName app.test
PidFile $DIR/pid
ErrorLog $DIR/error.log
Mutex file:$DIR default
Listen $HOST:$PORT
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
StartServers 1
TypesConfig /dev/null
DocumentRoot $DIR/www
DirectoryIndex index.html
SSLCertificateFile $DIR/cert.pem
SSLCertificateKeyFile $DIR/key.pem
SSLCACertificateFile $DIR/cert.pem
%s
`,
}

var haproxyProgram = program{
	binary: "haproxy", versionFlag: "-v", args: []string{"-db", "-f", "$DIR/config"},
	wrap: `defaults
  mode http
  timeout client 20s
  timeout server 20s
  timeout connect 20s
%s
`,
}

var sshdProgram = program{
	binary: "sshd", versionFlag: "-V", args: []string{"-D", "-e", "-f", "$DIR/config"},
	wrap: `ListenAddress $HOST:$PORT
PidFile none
UsePAM no
StrictModes no
%s
`,
}

func nginx(config string) server   { return server{program: &nginxProgram, config: config} }
func apache(config string) server  { return server{program: &apacheProgram, config: config} }
func haproxy(config string) server { return server{program: &haproxyProgram, config: config} }

// openssh has all three host keys, unless the configuration names one.
func openssh(config string) server {
	if !strings.Contains(config, "HostKey ") {
		config += "\nHostKey $DIR/ED25519\nHostKey $DIR/ECDSA\nHostKey $DIR/RSA"
	}
	return server{program: &sshdProgram, config: config}
}

// dropbear takes arguments; it has no configuration.
func dropbear(args ...string) server {
	return server{program: &program{
		binary: "dropbear", versionFlag: "-V", wrap: "%s",
		args: append([]string{"-F", "-E", "-p", "$HOST:$PORT", "-P", "$DIR/pid", "-r", "$DIR/dropbear"}, args...),
	}}
}

func (s server) holds(connections int) server {
	s.holding = connections
	return s
}

func (s server) stopped() server {
	s.frozen = true
	return s
}

// path is where the binary is; Debian has servers in a folder that is not on PATH.
func (p *program) path() string {
	if path, err := exec.LookPath(p.binary); err == nil {
		return path
	}
	path, _ := exec.LookPath("/usr/sbin/" + p.binary)
	return path
}

// version returns the server's name and version, or why it cannot be run.
func (p *program) version() (version, why string) {
	path := p.path()
	if path == "" {
		return "", p.binary + " is not installed"
	}
	out, err := exec.Command(path, p.versionFlag).CombinedOutput() //nolint:gosec,noctx // a constant of ours, which ends at once
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if line == "" {
		return "", fmt.Sprintf("%s %s: %v", p.binary, p.versionFlag, err)
	}
	line = strings.NewReplacer("Server version: ", "", "nginx version: ", "", "HAProxy version ", "HAProxy/").Replace(line)
	name, _, _ := strings.Cut(line, " - ")
	name, _, _ = strings.Cut(name, ", ")
	return name, ""
}

// start runs the server until the test ends.
func (s server) start(t *testing.T, h *here) {
	t.Helper()
	l, port := listen(t, h.host, 0)
	_ = l.Close() // it was only to find a free port
	h.port = port
	s.furnish(t, h)
	args := make([]string, len(s.args))
	for n, a := range s.args {
		args[n] = h.fill(a)
	}
	cmd := exec.Command(s.path(), args...) //nolint:gosec,noctx // constants of ours; it is ended below
	cmd.Dir, cmd.SysProcAttr = h.dir, &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancelCause(context.Background())
	go func() { end(cmd.Wait()) }()
	kill := func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		<-ended.Done()
	}
	t.Cleanup(kill)
	for began := time.Now(); !listens(h); time.Sleep(10 * time.Millisecond) {
		if ended.Err() != nil || time.Since(began) > 20*time.Second {
			kill() // before its output is read
			log, _ := os.ReadFile(filepath.Join(h.dir, "error.log"))
			t.Fatalf("%s does not listen: %s%s", s.binary, said.String(), log)
		}
	}
	for range s.holding {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", h.fill("$HOST:$PORT"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = io.ReadFull(conn, make([]byte, 4)) // it has this one; some say something first
	}
	if s.frozen {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
}

// listens reports whether somebody listens at the place, without connecting to it:
// a server may count that. It reads /proc/net/tcp (proc(5)): 0A is LISTEN.
func listens(h *here) bool {
	text, err := os.ReadFile("/proc/net/tcp")
	return err == nil && strings.Contains(string(text), fmt.Sprintf(":%04X 00000000:0000 0A", h.port))
}

// furnish writes what servers read into the folder.
func (s server) furnish(t *testing.T, h *here) {
	t.Helper()
	write := func(name, text string) {
		path := filepath.Join(h.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(h.dir, "www"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := s.config
	if strings.Contains(s.wrap, "%s") {
		config = fmt.Sprintf(s.wrap, config)
	}
	write("config", h.fill(config))
	write("www/index.html", "all is well\n")
	write("www/packed.html.gz", gzipped("all is well\n"))
	cert := goodTLS.get().Certificates[0]
	write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})))
	write("both.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))+string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())})))
	write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())})))
	for kind, key := range hostKeys() {
		block, err := ssh.MarshalPrivateKey(key, "")
		if err != nil {
			t.Fatal(err)
		}
		write(kind, string(pem.EncodeToMemory(block)))
	}
	if s.binary == "dropbear" {
		out, err := exec.CommandContext(t.Context(), "dropbearkey", "-t", "ed25519", "-f", filepath.Join(h.dir, "dropbear")).CombinedOutput() //nolint:gosec // the folder is ours
		if err != nil {
			t.Fatalf("dropbearkey: %v: %s", err, out)
		}
	}
	if os.Getuid() != 0 {
		return
	}
	root, err := os.OpenRoot(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }() // it was only read
	err = fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, root.Lchown(path, 65534, 65534))
	})
	if err != nil {
		t.Fatal(err)
	}
}
