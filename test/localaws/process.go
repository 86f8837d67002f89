package localaws

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"sync"
)

// group is a process that leads a group of its own (see ownGroup), with the
// children that it may have.
type group struct {
	cmd *exec.Cmd

	mu     sync.Mutex
	reaped bool
}

// kill ends the process and its children. Once the process has been waited for
// it does nothing: its number may be somebody else's by then.
func (g *group) kill() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reaped || g.cmd.Process == nil {
		return os.ErrProcessDone
	}
	return killGroup(g.cmd.Process.Pid)
}

// wait waits for the end of the process, which was started, and kills the
// children that it left behind.
func (g *group) wait() error {
	pid := g.cmd.Process.Pid
	ended := awaitExit(pid)
	g.mu.Lock()
	if ended {
		// Nobody has waited for it yet, so that its number is still its own.
		_ = killGroup(pid)
		g.reaped = true
	}
	g.mu.Unlock()
	err := g.cmd.Wait()
	g.mu.Lock()
	g.reaped = true
	g.mu.Unlock()
	return err
}

// errEnded: the local AWS is being closed.
var errEnded = errors.New("the local AWS has ended")

// spawner starts every process from one thread that lives as long as the local
// AWS does: on Linux, a process is killed when the thread that started it ends
// (see ownGroup), and Go gives no promise about the threads of its own.
type spawner struct {
	requests chan func()
	done     chan struct{}
	once     sync.Once
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan func()), done: make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for {
			select {
			case start := <-s.requests:
				start()
			case <-s.done:
				return
			}
		}
	}()
	return s
}

// start starts cmd.
func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	select {
	case s.requests <- func() { result <- cmd.Start() }:
		return <-result
	case <-s.done:
		return errEnded
	}
}

func (s *spawner) close() { s.once.Do(func() { close(s.done) }) }
