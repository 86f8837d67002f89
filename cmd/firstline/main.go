// Command firstline is the operator's side of firstline: it deploys, verifies and
// shows what has happened.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"firstline/internal/cli"
)

// The version of terraform/VERSION and the commit that this was built from: make
// sets both when it links.
var version, commit string

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	// nohup has it ignored, which is to stay so.
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	// A reader that is gone must not end us before we have cleaned up: writing to
	// it fails, and that ends us. It is caught, not ignored, since the programs
	// that we start would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	code := cli.Run(ctx, cli.Build{Version: version, Commit: commit}, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
