package cli

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
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
	for path, text := range documents(t, root, ".md", ".tf", ".tfvars") {
		for n, part := range strings.Split(text, "```") {
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
	}
	if found < 40 {
		t.Errorf("%d commands", found)
	}
}

// documents returns the text of each file of the project with one of the extensions, by
// its path.
func documents(t *testing.T, root string, extensions ...string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"build", ".git", "testdata", ".terraform"}, d.Name()):
			return fs.SkipDir
		case !slices.Contains(extensions, filepath.Ext(path)):
			return nil
		}
		text, err := os.ReadFile(path) //nolint:gosec // the project's own documents
		texts[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// Each link within the project leads to a file, and to a heading that is there.
func TestLinks(t *testing.T) {
	root, err := toolchain.Root()
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)\s:]*)\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	other := regexp.MustCompile(`[^\w -]`) // what GitHub leaves out of an anchor
	texts := documents(t, root, ".md")
	for path, text := range texts {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			file := filepath.Join(filepath.Dir(path), target)
			if target == "" {
				file = path
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: %s: %v", path, m[1], err)
			}
			ok := anchor == ""
			for _, h := range heading.FindAllStringSubmatch(texts[file], -1) {
				ok = ok || strings.ReplaceAll(other.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") == anchor
			}
			if !ok {
				t.Errorf("%s: %s: there is no such heading", path, m[1])
			}
		}
	}
}

// The page of examples shows the first one as it is.
func TestEvaluationIsShown(t *testing.T) {
	root, err := toolchain.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "terraform", "examples")
	var read [2]string
	for n, name := range []string{"README.md", "evaluation.tfvars"} {
		text, err := os.ReadFile(filepath.Join(dir, name)) //nolint:gosec // the project's own
		if err != nil {
			t.Fatal(err)
		}
		read[n] = string(text)
	}
	_, block, _ := strings.Cut(read[0], "```hcl\n")
	if shown, _, _ := strings.Cut(block, "```"); shown != read[1] {
		t.Errorf("README.md shows\n%s\nnot evaluation.tfvars:\n%s", shown, read[1])
	}
}

// exists returns an error if there is no such command, or one of its flags is none.
// A complete one can be typed as it is.
func exists(words []string, complete bool) error {
	c, rest, err := newRoot(Build{}).Find(words)
	if err != nil {
		return err
	}
	c.InitDefaultVersionFlag() // as Execute does it
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

// What a deployment consists of is committed, what Terraform makes of it is not.
func TestIgnored(t *testing.T) {
	root, err := toolchain.Root()
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile(filepath.Join(root, ".gitignore")) //nolint:gosec // the project's own
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), rules, 0o600); err != nil { //nolint:gosec // the test's own folder
		t.Fatal(err)
	}
	git := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "git", args...) //nolint:gosec // fixed words
		cmd.Dir = dir
		out, _ := cmd.Output() // check-ignore fails when nothing is ignored
		return string(out)
	}
	git("init", "--quiet")
	ignored := []string{"terraform/terraform.tfstate", "terraform/terraform.tfstate.backup", "terraform/.terraform/environment", "terraform/x.tfplan", "build/firstline"}
	kept := []string{"terraform/regions.tfvars", "terraform/regions.tfvars.json", "terraform/.terraform.lock.hcl", "terraform/regions.tf", "terraform/backend.tf", "terraform/backend.hcl"}
	got := strings.Fields(git(append([]string{"check-ignore"}, slices.Concat(ignored, kept)...)...))
	if !slices.Equal(got, ignored) {
		t.Errorf("git ignores %v, want %v", got, ignored)
	}
}
