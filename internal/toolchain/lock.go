package toolchain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPause is the time between two attempts to get the lock.
const lockPause = 200 * time.Millisecond

// lock lets one process at a time install into the build folder, which it
// makes. The kernel gives the lock up when its holder ends, however that ends.
func (t Toolchain) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(t.Build, 0o750); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(t.Build, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for told := false; ; told = true {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		if !told {
			t.say("waiting for another run that installs into %s", t.Build)
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(lockPause):
		}
	}
}
