package peers

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
)

var (
	real  = flag.Bool("peers.real", false, "run the table against the real servers, too, where they are installed")
	table = flag.Bool("peers.table", false, "print what came of each situation")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if code, done := isolate(); done {
		os.Exit(code)
	}
	os.Exit(run(m))
}

// run gives the checks an authority that they trust, and name servers. Most
// situations wait for a time-out, so that more run at once than there are cores.
func run(m *testing.M) int {
	_ = flag.Set("test.parallel", "12") // it exists, and this is a number
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }() // what stays is in the temporary folder
	if err := errors.Join(trust(dir), route()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	stop, err := answerNames()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	return m.Run()
}
