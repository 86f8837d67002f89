package testbed

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// endStrays kills the processes that were started with this temporary folder:
// Terraform's providers, where Terraform was killed before it ended them.
func endStrays(temp string) error {
	variable := []byte("TMPDIR=" + temp)
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		strays, err := withVariable(variable)
		if err != nil || len(strays) == 0 {
			return err
		}
		for _, p := range strays {
			_ = p.Kill()
			_ = p.Release()
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d processes of Terraform's do not end", len(strays))
		}
	}
}

// withVariable finds the processes that have a variable in their environment.
func withVariable(variable []byte) ([]*os.Process, error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var found []*os.Process
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil || pid == os.Getpid() {
			continue
		}
		// Opened before it is looked at, so that it is the one that gets killed.
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		environ, err := os.ReadFile(filepath.Join(folder, "environ")) //nolint:gosec // below /proc
		has := false
		for v := range bytes.SplitSeq(environ, []byte{0}) {
			has = has || bytes.Equal(v, variable)
		}
		if err == nil && has {
			found = append(found, p)
		} else {
			_ = p.Release()
		}
	}
	return found, nil
}
