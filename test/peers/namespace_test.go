package peers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// inNamespace is in the environment of the process that runs in the namespace.
const inNamespace = "FIRSTLINE_PEERS_NAMESPACE"

// routes is what the namespace knows beside loopback: the instance's public address,
// one that a router calls unreachable, as iptables does with icmp-host-prohibited
// and icmp-admin-prohibited, and no way to anywhere else.
var routes = [][]string{
	{"link", "set", "lo", "up"},
	{"addr", "add", "203.0.113.7/32", "dev", "lo"},
	{"route", "add", "unreachable", "203.0.113.9/32"},
}

// isolate runs the tests again in a network namespace of their own, where they may
// have public addresses and routes, and returns their exit code. Where that cannot
// be, it says so, and the situations that need it are skipped.
func isolate() (code int, done bool) {
	if !*real || os.Getenv(inNamespace) != "" || whyNoNamespace() != "" {
		return 0, false
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:gosec,noctx // these tests, which end by themselves
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), true
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "no network namespace:", err)
	}
	return 0, err == nil
}

// whyNoNamespace says what is missing for a namespace; "" for nothing.
func whyNoNamespace() string {
	switch _, err := exec.LookPath("ip"); {
	case os.Getenv(inNamespace) != "":
		return ""
	case !*real:
		return "it needs a network namespace, which make peers makes"
	case os.Getuid() != 0:
		return "it needs a network namespace, and so root"
	case err != nil:
		return "it needs a network namespace, and ip is not installed"
	}
	return ""
}

// route makes the routes of the namespace, in the namespace.
func route() error {
	if os.Getenv(inNamespace) == "" {
		return nil
	}
	for _, args := range routes {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil { //nolint:gosec,noctx // constants, and it ends at once
			return fmt.Errorf("ip %v: %w: %s", args, err, out)
		}
	}
	return nil
}
