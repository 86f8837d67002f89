package localaws

import (
	"cmp"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"firstline/internal/artifact"
)

const (
	errTimedOut    = "Sandbox.Timedout"
	errExited      = "Runtime.ExitError"
	errEntrypoint  = "Runtime.InvalidEntrypoint"
	initTimeout    = 30 * time.Second       // Lambda gives 10 s, on a machine that is not shared
	idleTimeout    = 5 * time.Minute        // about when Lambda ends a process that has nothing to do
	memoryInterval = 100 * time.Millisecond // between looks at a process's memory
)

// result is how an invocation ended.
type result struct {
	id      string
	payload []byte
	failed  bool
}

// fail makes it end with an error that is not the function's own.
func (r *result) fail(kind, message string) {
	r.failed = true
	r.payload, _ = json.Marshal(map[string]string{"errorType": kind, "errorMessage": message})
}

// invocation is one event on its way through a process.
type invocation struct {
	id       string
	arn      string
	event    []byte
	deadline time.Time
	timeout  time.Duration
	done     chan result // buffered; the first answer counts
}

// dies is how it ends when its process is killed.
func (inv *invocation) dies(kind string) (r result) {
	message := "RequestId: " + inv.id + " Error: Runtime exited with error: signal: killed"
	if kind == errTimedOut {
		message = fmt.Sprintf("RequestId: %s Error: Task timed out after %.2f seconds", inv.id, inv.timeout.Seconds())
	}
	r.id = inv.id
	r.fail(kind, message)
	return r
}

// pool is the processes of one version of a function.
type pool struct {
	region, name string
	busy         int
	idle         []*process
}

// process runs a function's bootstrap and speaks the Lambda Runtime API to it.
type process struct {
	functions *functions
	config    *configuration
	log       *processLog
	server    *http.Server
	cmd       *exec.Cmd
	group     *group
	ctx       context.Context //nolint:containedctx // the life of the process
	cancel    context.CancelFunc
	exited    chan struct{}
	exit      string // why it ended; read after exited
	ready     chan struct{}
	next      chan *invocation
	peak      int64 // resident memory in bytes; of the running invocation

	mu       sync.Mutex
	isReady  bool
	current  *invocation
	initFail *result
	reaper   *time.Timer
}

// invoke runs a function once. The error is our own fault.
func (fs *functions) invoke(ctx context.Context, c *configuration, name functionName, event []byte) (result, error) {
	if len(event) == 0 {
		event = []byte("{}")
	}
	for {
		p, cold, err := fs.acquire(ctx, c)
		if err != nil {
			entry, ok := errors.AsType[*entrypointError](err)
			if !ok {
				return result{}, err
			}
			r := result{id: newID()}
			r.fail(errEntrypoint, "RequestId: "+r.id+" Error: "+entry.Error())
			log := &processLog{log: fs.logOf(c)}
			log.begin(Invocation{Time: time.Now(), RequestID: r.id, Version: c.Version, Event: event})
			_, _ = fmt.Fprintf(log, "%s\n", entry)
			log.end(r)
			return r, nil
		}
		r, taken := p.run(c, name, event, cold)
		fs.release(c, p)
		// A process that had ended by itself before it took the event is no
		// failure of this invocation.
		if taken || cold {
			return r, nil
		}
	}
}

func (fs *functions) logOf(c *configuration) *functionLog {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	arn := unqualified(c.FunctionArn)
	if fs.logs[arn] == nil {
		fs.logs[arn] = &functionLog{}
	}
	return fs.logs[arn]
}

// unqualified is a function's ARN without a version.
func unqualified(arn string) string {
	parts := strings.Split(arn, ":")
	return strings.Join(parts[:min(len(parts), 7)], ":")
}

// acquire finds an idle process of a function or starts one.
func (fs *functions) acquire(ctx context.Context, c *configuration) (p *process, cold bool, err error) {
	key := unqualified(c.FunctionArn) + ":" + c.Version
	fs.mu.Lock()
	po := fs.pools[key]
	if po == nil {
		arn := strings.Split(c.FunctionArn, ":")
		po = &pool{region: arn[3], name: c.FunctionName}
		fs.pools[key] = po
	}
	po.busy++
	for len(po.idle) > 0 && p == nil {
		last := po.idle[len(po.idle)-1]
		po.idle = po.idle[:len(po.idle)-1]
		if !last.reaper.Stop() {
			// It was idle for too long: its reaper is about to kill it.
			continue
		}
		select {
		case <-last.exited:
		default:
			// A process that was busy while its function changed is of no use.
			if last.config.fingerprint == c.fingerprint {
				p = last
			} else {
				last.kill()
			}
		}
	}
	fs.mu.Unlock()
	if p != nil {
		return p, false, nil
	}
	if p, err = fs.start(ctx, c); err != nil {
		fs.mu.Lock()
		po.busy--
		fs.mu.Unlock()
		return nil, true, err
	}
	return p, true, nil
}

// release returns a process to its pool, if it is still of use.
func (fs *functions) release(c *configuration, p *process) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	po := fs.pools[unqualified(c.FunctionArn)+":"+c.Version]
	po.busy--
	select {
	case <-p.exited:
	case <-p.ctx.Done():
	default:
		p.reaper = time.AfterFunc(idleTimeout, func() {
			fs.mu.Lock()
			po.idle = slices.DeleteFunc(po.idle, func(other *process) bool { return other == p })
			fs.mu.Unlock()
			p.kill()
		})
		po.idle = append(po.idle, p)
	}
}

// close ends all processes; those at work have ended with the local AWS's
// context, and are waited for here.
func (fs *functions) close() {
	fs.mu.Lock()
	var idle []*process
	for _, p := range fs.pools {
		idle = append(idle, p.idle...)
		p.idle = nil
	}
	fs.mu.Unlock()
	for _, p := range idle {
		p.reaper.Stop()
		p.kill()
	}
	for {
		fs.mu.Lock()
		busy := 0
		for _, p := range fs.pools {
			busy += p.busy
		}
		fs.mu.Unlock()
		if busy == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// entrypointError: the package's bootstrap cannot be started.
type entrypointError struct{ text string }

func (e *entrypointError) Error() string { return e.text }

// machineOf names the processor that a program was built for as Go does, or is
// empty where that cannot be told.
func machineOf(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64"
	case elf.EM_AARCH64:
		return "arm64"
	}
	return f.Machine.String()
}

// lambdaName is what Lambda calls a processor, or Go's name where Lambda has
// none.
func lambdaName(goarch string) string { return cmp.Or(artifact.HostArchitecture(goarch), goarch) }

// start starts a process and waits until it asks for work.
func (fs *functions) start(ctx context.Context, c *configuration) (*process, error) {
	dir, err := fs.unpacked(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.FunctionArn, err)
	}
	path := filepath.Join(dir, "bootstrap")
	machine := machineOf(path)
	if machine != "" && len(c.Architectures) > 0 && lambdaName(machine) != c.Architectures[0] {
		return nil, &entrypointError{fmt.Sprintf("fork/exec /var/task/bootstrap: exec format error: the package of %s is built for %s, and the function is configured for %s",
			c.FunctionName, lambdaName(machine), c.Architectures[0])}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &process{
		functions: fs, config: c, log: &processLog{log: fs.logOf(c)},
		exited: make(chan struct{}), ready: make(chan struct{}), next: make(chan *invocation, 1),
		reaper: time.NewTimer(0),
	}
	p.ctx, p.cancel = context.WithCancel(fs.aws.ctx)
	p.server = &http.Server{Handler: p.api(), ReadHeaderTimeout: time.Minute, BaseContext: func(net.Listener) context.Context { return p.ctx }}
	go func() { _ = p.server.Serve(l) }()
	//nolint:gosec // running the deployed function is what this is for
	p.cmd = exec.CommandContext(p.ctx, path)
	p.cmd.Dir = dir
	p.cmd.Env = fs.environ(c, dir, l.Addr().String())
	p.cmd.SysProcAttr = ownGroup()
	p.group = &group{cmd: p.cmd}
	p.cmd.Cancel = p.group.kill
	p.cmd.WaitDelay = time.Second
	p.cmd.Stdout = p.log
	if c.LoggingConfig.LogFormat == "JSON" {
		p.cmd.Stdout = &filteredLog{to: p.log, least: c.LoggingConfig.ApplicationLogLevel}
	}
	p.cmd.Stderr = p.cmd.Stdout
	if err := fs.aws.spawn.start(p.cmd); err != nil {
		p.cancel()
		_ = p.server.Close()
		if errors.Is(err, errEnded) {
			return nil, err
		}
		text := fmt.Sprintf("%s: %v", c.FunctionName, err)
		if machine != "" && machine != runtime.GOARCH {
			text += fmt.Sprintf(": its package is built for %s, and this machine is %s; build and deploy it for that",
				lambdaName(machine), lambdaName(runtime.GOARCH))
		}
		return nil, &entrypointError{text}
	}
	go func() {
		err := p.group.wait()
		switch {
		case p.cmd.ProcessState.Success():
			p.exit = "Runtime exited without providing a reason"
		case err != nil:
			p.exit = "Runtime exited with error: " + p.cmd.ProcessState.String()
		}
		p.cancel()
		_ = p.server.Close()
		close(p.exited)
	}()
	select {
	case <-p.ready:
	case <-p.exited:
	case <-time.After(initTimeout):
		p.kill()
	}
	return p, nil
}

// environ is the environment of a function's process: its own, and what Lambda
// gives to every function.
func (fs *functions) environ(c *configuration, dir, api string) []string {
	logGroup := c.LoggingConfig.LogGroup
	if logGroup == "" {
		logGroup = "/aws/lambda/" + c.FunctionName
	}
	region := strings.Split(c.FunctionArn, ":")[3]
	env := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin", "LANG=en_US.UTF-8", "TZ=:UTC",
		"LAMBDA_TASK_ROOT=" + dir, "LAMBDA_RUNTIME_DIR=" + dir, "_HANDLER=" + c.Handler,
		"AWS_REGION=" + region, "AWS_DEFAULT_REGION=" + region,
		"AWS_LAMBDA_RUNTIME_API=" + api,
		"AWS_LAMBDA_FUNCTION_NAME=" + c.FunctionName,
		"AWS_LAMBDA_FUNCTION_VERSION=" + c.Version,
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=" + strconv.FormatInt(c.MemorySize, 10),
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME=" + logGroup,
		"AWS_LAMBDA_LOG_STREAM_NAME=" + time.Now().UTC().Format("2006/01/02/") + "[" + c.Version + "]" + strings.ReplaceAll(newID(), "-", ""),
		"AWS_ACCESS_KEY_ID=" + fs.aws.keyOf(c.Role), "AWS_SECRET_ACCESS_KEY=" + outsideSecret, "AWS_SESSION_TOKEN=" + newID(),
		// What Lambda does not give: where this AWS is.
		"AWS_ENDPOINT_URL=" + fs.aws.endpoint, "AWS_EC2_METADATA_DISABLED=true",
	}
	for name, value := range c.Environment.Variables {
		env = append(env, name+"="+value)
	}
	return env
}

func (p *process) kill() {
	p.cancel()
	<-p.exited
}

// run has the process handle one event. It was not taken if the process ended
// before it could be.
func (p *process) run(c *configuration, name functionName, event []byte, cold bool) (r result, taken bool) {
	timeout := time.Duration(c.Timeout) * time.Second
	start := time.Now()
	inv := &invocation{
		id: newID(), arn: name.arn(), event: event, timeout: timeout, deadline: start.Add(timeout), done: make(chan result, 1),
	}
	p.log.begin(Invocation{Time: start, RequestID: inv.id, Version: c.Version, Event: event, Cold: cold})
	defer func() {
		if taken {
			p.log.end(r)
		}
	}()
	if init := p.failedInit(); init != nil {
		p.kill()
		init.id = inv.id
		return *init, true
	}
	_, _ = fmt.Fprintf(p.log, "START RequestId: %s Version: %s\n", inv.id, c.Version)
	p.mu.Lock()
	p.current = inv
	p.mu.Unlock()
	p.next <- inv // has room: one invocation at a time
	r, tooBig := p.wait(inv, timeout, c.MemorySize<<20)
	r.id = inv.id
	switch {
	case r.payload != nil:
		taken = true
	case tooBig:
		r, taken = inv.dies(errExited), true
	default:
		select {
		case <-p.exited:
			// It ended by itself.
			select {
			case <-p.next:
				taken = cold
			default:
				taken = true
			}
			r.fail(errExited, "RequestId: "+inv.id+" Error: "+p.exit)
		default:
			p.kill()
			taken = true
			r = inv.dies(errTimedOut)
		}
	}
	p.mu.Lock()
	p.current = nil
	p.mu.Unlock()
	elapsed := time.Since(start)
	p.look()
	end := fmt.Sprintf("END RequestId: %s\nREPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %d ms\tMemory Size: %d MB\tMax Memory Used: %d MB\n",
		inv.id, inv.id, float64(elapsed.Microseconds())/1000, elapsed.Milliseconds()+1, c.MemorySize, (p.peak+1<<20-1)>>20)
	if r.failed {
		end = string(r.payload) + "\n" + end
	}
	_, _ = p.log.Write([]byte(end))
	return r, taken
}

// wait waits for the answer, the process's end, the time limit, or more memory
// than the function has. Without an answer there is no payload.
func (p *process) wait(inv *invocation, limit time.Duration, memoryLimit int64) (r result, tooBig bool) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	look := time.NewTicker(memoryInterval)
	defer look.Stop()
	for {
		select {
		case r := <-inv.done:
			return r, false
		case <-p.exited:
			// An answer and an end right after it are still an answer.
			select {
			case r := <-inv.done:
				return r, false
			default:
				return result{}, false
			}
		case <-deadline.C:
			return result{}, false
		case <-look.C:
			if now := p.look(); memoryLimit > 0 && now > memoryLimit {
				p.kill()
				return result{}, true
			}
		}
	}
}

// look measures the process's resident memory in bytes and remembers the peak.
// (What the kernel reports of a process that has ended includes our own memory
// at the time we started it.)
func (p *process) look() int64 {
	now, peak := memory(p.cmd.Process.Pid)
	p.peak = max(p.peak, peak)
	return now
}

// failedInit is how a process failed before it asked for work, or nil.
func (p *process) failedInit() *result {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isReady {
		return nil
	}
	if p.initFail != nil {
		return p.initFail
	}
	r := &result{}
	select {
	case <-p.ctx.Done():
		<-p.exited
		r.fail(errExited, "Error: "+p.exit)
	case <-p.exited:
		r.fail(errExited, "Error: "+p.exit)
	}
	return r
}

// api is the Lambda Runtime API.
func (p *process) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", p.serveNext)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", p.serveAnswer)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", p.serveAnswer)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", func(w http.ResponseWriter, r *http.Request) {
		payload, err := io.ReadAll(r.Body)
		if err == nil {
			p.mu.Lock()
			p.initFail = &result{failed: true, payload: payload}
			p.mu.Unlock()
		}
		w.WriteHeader(http.StatusAccepted)
	})
	return mux
}

func (p *process) serveNext(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	if !p.isReady {
		p.isReady = true
		close(p.ready)
	}
	p.mu.Unlock()
	select {
	case inv := <-p.next:
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", inv.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(inv.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", inv.arn)
		id := strings.ReplaceAll(newID(), "-", "")
		sampled := 0
		if p.config.TracingConfig.Mode == "Active" {
			sampled = 1
		}
		h.Set("Lambda-Runtime-Trace-Id", fmt.Sprintf("Root=1-%08x-%s;Parent=%s;Sampled=%d", time.Now().Unix(), id[:24], id[:16], sampled))
		_, _ = w.Write(inv.event)
	case <-r.Context().Done():
	}
}

func (p *process) serveAnswer(w http.ResponseWriter, r *http.Request) {
	payload, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	p.mu.Lock()
	inv := p.current
	p.mu.Unlock()
	if inv == nil || inv.id != r.PathValue("id") {
		http.Error(w, `{"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"}`, http.StatusBadRequest)
		return
	}
	if len(payload) == 0 {
		payload = []byte("null")
	}
	select {
	case inv.done <- result{payload: payload, failed: strings.HasSuffix(r.URL.Path, "/error")}:
	default:
	}
	w.WriteHeader(http.StatusAccepted)
}
