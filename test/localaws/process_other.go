//go:build unix && !linux

package localaws

import "syscall"

// ownGroup puts a process into a group of its own, so that it can be killed
// with its children. When we die without closing, moto ends with its standard
// input, and functions end when they cannot reach the Runtime API.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func killGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) }

// awaitExit is not known here: children that a process left behind stay.
func awaitExit(int) bool { return false }

// memory is not known here: a function's memory limit is not enforced.
func memory(int) (now, peak int64) { return 0, 0 }
