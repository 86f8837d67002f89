package localaws

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "embed" // the start hook
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// motoStart is how long moto may take until it answers. It needs one second on
// an idle machine.
const motoStart = 3 * time.Minute

// startHook is run by moto's Python when it starts.
//
//go:embed sitecustomize.py
var startHook []byte

// mends is how many modules of moto's the start hook mends.
const mends = 16

// moto is a running moto server.
type moto struct {
	aws    *AWS
	base   string
	client *http.Client
	cmd    *exec.Cmd
	group  *group
	stdin  io.Closer
	exited chan struct{}
	// serving is closed when it says that it listens: a port that answers
	// before may be another program's.
	serving chan struct{}
	// mended gets a word of each module that the start hook has mended, nil, or
	// could not.
	mended chan error

	mu     sync.Mutex
	serves bool
	last   []string // its latest lines that are no access log
}

// startMotos starts both motos, at once, and waits until they answer.
func (a *AWS) startMotos(path string) error {
	hooks := filepath.Join(a.dir, "start")
	if err := os.MkdirAll(hooks, 0o700); err != nil {
		return fmt.Errorf("local AWS: %w", err)
	}
	if err := os.WriteFile(filepath.Join(hooks, "sitecustomize.py"), startHook, 0o600); err != nil {
		return fmt.Errorf("local AWS: %w", err)
	}
	engine := make(chan error)
	go func() {
		var err error
		a.engine, err = startMoto(a, path, hooks)
		engine <- err
	}()
	var err error
	a.moto, err = startMoto(a, path, hooks)
	return cmp.Or(err, <-engine)
}

// startMoto starts moto on a free port and waits until it answers.
func startMoto(a *AWS, path, hooks string) (*moto, error) {
	var err error
	// Between finding a free port and moto's taking it somebody else may.
	for range 5 {
		var m *moto
		if m, err = tryMoto(a, path, hooks); err == nil {
			return m, nil
		}
		if m == nil || !m.said("in use") {
			break
		}
	}
	return nil, err
}

func tryMoto(a *AWS, path, hooks string) (*moto, error) {
	port, err := freePort(a.ctx)
	if err != nil {
		return nil, fmt.Errorf("local AWS: %w", err)
	}
	m := &moto{
		aws:  a,
		base: "http://127.0.0.1:" + strconv.Itoa(port),
		// moto closes connections when it likes; a fresh one a request never
		// meets one that is being closed.
		client: &http.Client{
			Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		exited:  make(chan struct{}),
		serving: make(chan struct{}),
		mended:  make(chan error, 2*mends),
	}
	//nolint:gosec // the program is the caller's choice or moto_server on PATH
	cmd := exec.CommandContext(a.ctx, path, "-H", "127.0.0.1", "-p", strconv.Itoa(port))
	m.cmd, m.group = cmd, &group{cmd: cmd}
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(v), "=")
		return strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "MOTO_") || strings.HasSuffix(name, "_PROXY") || name == "PYTHONPATH"
	})
	cmd.Env = append(cmd.Env,
		// Where its States Language engine finds the other services: at ours.
		"MOTO_PORT="+strconv.Itoa(a.port),
		"PYTHONWARNINGS=ignore", "PYTHONUNBUFFERED=1", "PYTHONPATH="+hooks, "PYTHONDONTWRITEBYTECODE=1",
		"FIRSTLINE_MOTO=1", fmt.Sprintf("FIRSTLINE_PACE=%g", cmp.Or(a.opts.Pace, 1)),
		"NO_PROXY=*",
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_EC2_METADATA_DISABLED=true",
	)
	cmd.Dir = a.dir
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = m.group.kill
	cmd.WaitDelay = 2 * time.Second
	logFile, err := os.OpenFile(filepath.Join(a.dir, "moto.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("local AWS: %w", err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("local AWS: %w", err), logFile.Close())
	}
	m.stdin = stdin
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		m.follow(io.TeeReader(read, logFile))
		_ = logFile.Close()
	}()
	if err := a.spawn.start(cmd); err != nil {
		_ = write.Close()
		return nil, fmt.Errorf("local AWS: start %s: %w", path, err)
	}
	go func() {
		_ = m.group.wait()
		_ = write.Close()
		<-drained
		close(m.exited)
	}()
	if err := m.ready(); err != nil {
		m.stop()
		return m, fmt.Errorf("local AWS: %s: %w%s", path, err, m.lastWords())
	}
	return m, nil
}

// ready waits for moto, turns its States Language engine on and sees to it that
// its faults are mended.
func (m *moto) ready() error {
	ctx, cancel := context.WithTimeout(m.aws.ctx, motoStart)
	defer cancel()
	ended := func() error {
		switch {
		case ctx.Err() == nil:
			return errors.New("moto ended before it was ready")
		case m.aws.ctx.Err() == nil:
			return fmt.Errorf("moto was not ready in %s", motoStart)
		}
		return ctx.Err()
	}
	select {
	case <-m.serving:
	case <-m.exited:
		return ended()
	case <-ctx.Done():
		return ended()
	}
	resp, err := m.plain(ctx, http.MethodPost, "/moto-api/config", `{"stepfunctions": {"execute_state_machine": true}}`)
	if err != nil {
		return err
	}
	if resp.status/100 != 2 {
		return fmt.Errorf("cannot turn its States Language engine on: %d %s", resp.status, resp.body)
	}
	// The first calls load what has to be mended.
	for service, action := range map[string]string{"dynamodb": "ListTables", "monitoring": "DescribeAlarms", "states": "ListStateMachines"} {
		if err := m.call(ctx, service, action, "us-east-1", map[string]any{}, nil); err != nil {
			return err
		}
	}
	if _, err := m.form(ctx, "sns", "us-east-1", url.Values{"Action": {"ListTopics"}, "Version": {"2010-03-31"}}); err != nil {
		return err
	}
	if _, err := m.get(ctx, "lambda", "us-east-1", "/2015-03-31/functions"); err != nil {
		return err
	}
	for range mends {
		select {
		case err := <-m.mended:
			if err != nil {
				return err
			}
		case <-m.exited:
			return ended()
		case <-ctx.Done():
			return ended()
		}
	}
	return nil
}

// stop ends moto and its children.
func (m *moto) stop() {
	_ = m.stdin.Close()
	_ = m.group.kill()
	<-m.exited
}

// accessLog is a line of moto's that says nothing but that a request was
// answered.
var accessLog = regexp.MustCompile(`^\S+ - - \[[^]]*\] "[A-Z]+ .*" [1-4]\d\d `)

// follow reads what moto prints and passes complaints on.
func (m *moto) follow(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimRight(line, "\n"); line != "" {
			m.line(line)
		}
		if err != nil {
			return
		}
	}
}

func (m *moto) line(line string) {
	if said, ok := strings.CutPrefix(line, "firstline: "); ok {
		var err error
		if !strings.HasPrefix(said, "mended ") {
			err = errors.New(said)
		}
		select {
		case m.mended <- err:
		default:
		}
		return
	}
	if strings.HasPrefix(line, " * Running on") {
		m.mu.Lock()
		if !m.serves {
			m.serves = true
			close(m.serving)
		}
		m.mu.Unlock()
		return
	}
	if accessLog.MatchString(line) || strings.HasPrefix(line, "WARNING: This is a development server") || strings.HasPrefix(line, "Press CTRL+C") {
		return
	}
	m.mu.Lock()
	m.last = append(m.last, line)
	if len(m.last) > 40 {
		m.last = m.last[1:]
	}
	m.mu.Unlock()
	m.aws.log.printf("moto: %s", line)
}

func (m *moto) said(text string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.ContainsFunc(m.last, func(line string) bool { return strings.Contains(line, text) })
}

func (m *moto) lastWords() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.last) == 0 {
		return ""
	}
	return "; its last words:\n" + strings.Join(m.last, "\n")
}

// response is an answer, whole.
type response struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request to moto. An error means that moto did not answer.
func (m *moto) do(req *http.Request) (*response, error) {
	resp, err := m.client.Do(req) //nolint:gosec // to moto or to our own gateway
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return &response{status: resp.StatusCode, header: resp.Header, body: body}, nil
}

func (m *moto) plain(ctx context.Context, method, path, body string) (*response, error) {
	req, err := http.NewRequestWithContext(ctx, method, m.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	return m.do(req)
}

// target names the prefix of X-Amz-Target and the signing name of a service
// that speaks JSON.
var target = map[string]string{
	"dynamodb":   "DynamoDB_20120810",
	"events":     "AWSEvents",
	"kms":        "TrentService",
	"monitoring": "GraniteServiceVersion20100801",
	"sqs":        "AmazonSQS",
	"ssm":        "AmazonSSM",
	"states":     "AWSStepFunctions",
}

// call asks moto itself, past the gateway, in JSON. It answers with an
// *apiError where moto refuses.
func (m *moto) call(ctx context.Context, service, action, region string, in, out any) error {
	return callJSON(ctx, m.do, m.base, outsideKey, service, action, region, in, out)
}

// callJSON calls a service that speaks JSON, in the name of an access key.
func callJSON(ctx context.Context, do func(*http.Request) (*response, error), base, key, service, action, region string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s %s: %w", service, action, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s %s: %w", service, action, err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", target[service]+"."+action)
	sign(req, key, region, service)
	resp, err := do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", service, action, err)
	}
	if resp.status/100 != 2 {
		return fmt.Errorf("%s %s: %w", service, action, readError(resp))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(resp.body, out); err != nil {
		return fmt.Errorf("%s %s: %w", service, action, err)
	}
	return nil
}

// form asks moto itself, past the gateway, in the query protocol.
func (m *moto) form(ctx context.Context, service, region string, values url.Values) (*response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.base+"/", strings.NewReader(values.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	sign(req, outsideKey, region, service)
	resp, err := m.do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", service, values.Get("Action"), err)
	}
	if resp.status/100 != 2 {
		return nil, fmt.Errorf("%s %s: %w", service, values.Get("Action"), readError(resp))
	}
	return resp, nil
}

// get asks moto itself, past the gateway, for a resource of a REST service.
func (m *moto) get(ctx context.Context, service, region, path string) (*response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.base+path, nil) //nolint:gosec // the host is moto's
	if err != nil {
		return nil, err
	}
	sign(req, outsideKey, region, service)
	return m.do(req)
}

// sign writes the header that says who calls what where. It is no signature:
// neither moto nor the gateway checks one.
func sign(req *http.Request, key, region, service string) {
	now := time.Now().UTC()
	req.Header.Set("X-Amz-Date", now.Format("20060102T150405Z"))
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=host, Signature=none",
		key, now.Format("20060102"), region, service))
}

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
