package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// functionLimit is how long one invocation may take: more than any does, so that
// one that waits for something is not taken for one that hangs.
const functionLimit = 30 * time.Second

// invoked is an invocation that has ended.
type invoked struct {
	// began is when the function got it, and ended when it had answered.
	began, ended time.Time
	answer       []byte
	failed       bool
}

// lambdaRuntime plays the Lambda Runtime API
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html) to one process.
type lambdaRuntime struct {
	address string
	server  *http.Server
	events  chan []byte
	done    chan invoked

	mu    sync.Mutex
	began time.Time
	count int
}

func startRuntime(ctx context.Context) (*lambdaRuntime, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &lambdaRuntime{address: ln.Addr().String(), events: make(chan []byte, 1), done: make(chan invoked, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", r.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/{kind}", r.ended)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", r.ended)
	r.server = &http.Server{Handler: mux, ReadHeaderTimeout: functionLimit}
	go func() { _ = r.server.Serve(ln) }()
	return r, nil
}

// next hands an event out.
func (r *lambdaRuntime) next(w http.ResponseWriter, req *http.Request) {
	var event []byte
	select {
	case event = <-r.events:
	case <-req.Context().Done():
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	h := w.Header()
	h.Set("Lambda-Runtime-Aws-Request-Id", fmt.Sprintf("8476a536-e9f4-11e8-9739-%012d", r.count))
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(2*time.Minute).UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:"+functionRegion+":"+functionAccount+":function:firstline:1")
	h.Set("Content-Type", "application/json")
	r.began = time.Now()
	_, _ = w.Write(event)
}

// ended takes an answer.
func (r *lambdaRuntime) ended(w http.ResponseWriter, req *http.Request) {
	answer, err := io.ReadAll(req.Body)
	ended := time.Now()
	r.mu.Lock()
	i := invoked{began: r.began, ended: ended, answer: answer, failed: err != nil || req.PathValue("kind") != "response"}
	r.mu.Unlock()
	w.WriteHeader(http.StatusAccepted)
	select {
	case r.done <- i:
	default: // nobody waits for a second one
	}
}

// lambdaProcess is a process of a function.
type lambdaProcess struct {
	runtime *lambdaRuntime
	cmd     *exec.Cmd
	log     *os.File
	started time.Time
	exited  chan struct{}
}

// startFunction starts a function. A first event waits for it already.
func startFunction(ctx context.Context, dir, binary string, variables []string, event ...[]byte) (*lambdaProcess, error) {
	r, err := startRuntime(ctx)
	if err != nil {
		return nil, err
	}
	// A file, since a pipe would want a reader, and time for it.
	log, err := os.CreateTemp(dir, "log-")
	if err != nil {
		_ = r.server.Close()
		return nil, err
	}
	p := &lambdaProcess{runtime: r, log: log, exited: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, binary)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = filepath.Dir(binary), log, log
	p.cmd.Env = append([]string{"AWS_LAMBDA_RUNTIME_API=" + r.address}, variables...)
	for _, e := range event {
		r.events <- e
	}
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		_ = r.server.Close()
		return nil, errors.Join(err, log.Close(), os.Remove(log.Name()))
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// wait waits for the answer to the event that the process was given last.
func (p *lambdaProcess) wait(ctx context.Context) (invoked, error) {
	limit := time.NewTimer(functionLimit)
	defer limit.Stop()
	select {
	case i := <-p.runtime.done:
		if i.failed {
			return i, fmt.Errorf("it answered with an error: %s", i.answer)
		}
		return i, nil
	case <-p.exited:
		return invoked{}, fmt.Errorf("it ended before it answered: %s", p.logged())
	case <-limit.C:
		return invoked{}, fmt.Errorf("it did not answer within %s: %s", functionLimit, p.logged())
	case <-ctx.Done():
		return invoked{}, context.Cause(ctx)
	}
}

// logged is the end of what the process wrote.
func (p *lambdaProcess) logged() string {
	raw, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return lastLines(strings.TrimSpace(string(raw)), 10)
}

// peakBytes is the most memory that the process has had, 0 where the kernel does
// not tell.
func (p *lambdaProcess) peakBytes() int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	n, _ := kilobytes(raw, "VmHWM")
	return n
}

// end ends the process.
func (p *lambdaProcess) end() error {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.exited
	return errors.Join(p.runtime.server.Close(), p.log.Close(), os.Remove(p.log.Name()))
}
