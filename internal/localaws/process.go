package localaws

import (
	"errors"
	"os/exec"
	"runtime"
	"sync"
)

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
