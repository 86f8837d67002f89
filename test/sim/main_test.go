package sim

import (
	"os"
	"runtime/debug"
	"testing"
)

// TestMain lets the heap grow: a day leaves little behind and allocates much.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	os.Exit(m.Run())
}
