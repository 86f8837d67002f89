package test

import "testing"

// playCommands tries the commands.
func playCommands(t *testing.T, dir string, all []*scene) { _, _ = dir, all }
