package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"firstline/internal/toolchain"
)

// What the documents and the alarms tell people to type exists: every command and
// every flag.
func TestDocumentedCommands(t *testing.T) {
	root, err := toolchain.Root()
	if err != nil {
		t.Fatal(err)
	}
	inText := regexp.MustCompile("`(?:build/)?firstline ([a-z-][^`]*)`")
	inBlock := regexp.MustCompile(`(?m)^ *(?:build/)?firstline ([a-z-].*)$`)
	found := 0
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"build", ".git", "testdata", ".terraform"}, d.Name()):
			return fs.SkipDir
		case !slices.Contains([]string{".md", ".tf", ".tfvars"}, filepath.Ext(path)):
			return nil
		}
		text, err := os.ReadFile(path) //nolint:gosec // the project's own documents
		if err != nil {
			return err
		}
		for n, part := range strings.Split(string(text), "```") {
			typed, complete := inText, n%2 == 1
			if complete {
				typed = inBlock
			}
			for _, m := range typed.FindAllStringSubmatch(part, -1) {
				found++
				line, _, _ := strings.Cut(m[1], " #")
				if err := exists(strings.Fields(line), complete); err != nil {
					t.Errorf("%s: firstline %s: %v", path, line, err)
				}
			}
		}
		return nil
	})
	if err != nil || found < 40 {
		t.Errorf("%d commands, %v", found, err)
	}
}

// exists returns an error if there is no such command, or one of its flags is none.
// A complete one can be typed as it is.
func exists(words []string, complete bool) error {
	c, rest, err := newRoot().Find(words)
	if err != nil {
		return err
	}
	if complete {
		if err := c.ParseFlags(rest); err != nil {
			return err
		}
		return c.ValidateArgs(c.Flags().Args())
	}
	for _, word := range rest {
		name, isFlag := strings.CutPrefix(word, "--")
		if name, _, _ = strings.Cut(name, "="); isFlag && c.Flag(name) == nil {
			return fmt.Errorf("there is no --%s", name)
		}
	}
	return nil
}
