// Package atomicfile writes files whole or not at all.
package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
)

// Write writes a file aside and moves it to path: whoever reads at the same
// time, and whoever comes after an interruption, finds the old file or the new
// one. Its mode is 0644.
func Write(path string, content []byte) error {
	partial, err := os.CreateTemp(filepath.Dir(path), ".partial-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(partial.Name()) }()
	_, err = partial.Write(content)
	if err = errors.Join(err, partial.Chmod(0o644), partial.Close()); err != nil {
		return err
	}
	return os.Rename(partial.Name(), path)
}
