package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"firstline/internal/atomicfile"
)

// Provenance says what a zip was built from. It is not in the zip, whose bytes
// depend on the function's sources alone: a release that does not change them
// publishes no new version of the function. It lies beside the zip, where
// terraform/modules/function reads it too; see ProvenancePath.
type Provenance struct {
	// Version is that of terraform/VERSION.
	Version string `json:"version"`
	// Commit is the last one that changed what is deployed: the function's sources or
	// Terraform's. It ends in -dirty where files differ from it, and is "" outside of
	// a git checkout.
	Commit string `json:"commit"`
	// Source is the SHA-256 of the function's sources.
	Source string `json:"source"`
	// Zip is the SHA-256 of the zip.
	Zip string `json:"sha256"`
}

// ProvenancePath is where the provenance of a zip lies.
func ProvenancePath(zip string) string { return zip + ".json" }

// ErrNoSources says that a folder does not hold the function's sources.
var ErrNoSources = errors.New("no sources of the function")

// Version returns the version of a Terraform root.
func Version(terraform string) (string, error) {
	text, err := os.ReadFile(filepath.Join(terraform, "VERSION")) //nolint:gosec // the operator names the folder
	return strings.TrimSpace(string(text)), err
}

// Checkout returns what a zip would be built from in the project in root, with no
// zip yet; ErrNoSources where root holds none.
func Checkout(ctx context.Context, root string) (Provenance, error) {
	files, err := sources(root)
	if err != nil {
		return Provenance{}, err
	}
	var p Provenance
	if p.Version, err = Version(filepath.Join(root, "terraform")); err != nil {
		return Provenance{}, err
	}
	h := sha256.New()
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(root, name)) //nolint:gosec // the project's own file
		if err != nil {
			return Provenance{}, err
		}
		_, _ = fmt.Fprintf(h, "%s %x\n", name, sha256.Sum256(text))
	}
	p.Source = hex.EncodeToString(h.Sum(nil))
	p.Commit = commit(ctx, root, append(files, "terraform/VERSION", "terraform/*.tf", "terraform/modules/workflow/*.json", ":(exclude)terraform/backend.tf"))
	return p, nil
}

// sources are the files that the function is built from, with slashes, sorted:
// go.mod, go.sum, and the packages of this module that cmd/responder imports. The
// compiler is not asked, since whoever deploys need not have one.
func sources(root string) ([]string, error) {
	if mod, err := os.ReadFile(filepath.Join(root, "go.mod")); err != nil || !strings.HasPrefix(string(mod), "module firstline\n") { //nolint:gosec // the project's own file
		return nil, ErrNoSources
	}
	files := []string{"go.mod", "go.sum"}
	packages := []string{"cmd/responder"}
	for n := 0; n < len(packages); n++ {
		found, err := filepath.Glob(filepath.Join(root, packages[n], "*.go"))
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("%w: %s", ErrNoSources, packages[n])
		}
		for _, path := range found {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			files = append(files, packages[n]+"/"+filepath.Base(path))
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return nil, err
			}
			for _, i := range file.Imports {
				name, err := strconv.Unquote(i.Path.Value)
				if name, ours := strings.CutPrefix(name, "firstline/"); err == nil && ours && !slices.Contains(packages, name) {
					packages = append(packages, name)
				}
			}
		}
	}
	slices.Sort(files)
	return files, nil
}

// commit is Provenance.Commit, of the files that match.
func commit(ctx context.Context, root string, match []string) string {
	git := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "git", append(args, match...)...) //nolint:gosec // fixed words and our own files
		cmd.Dir = root
		out, err := cmd.Output()
		return strings.TrimSpace(string(out)), err
	}
	last, err := git("log", "-1", "--format=%H", "--")
	if err != nil || last == "" {
		return ""
	}
	if changed, err := git("status", "--porcelain", "--"); err != nil || changed != "" {
		last += "-dirty"
	}
	return last
}

// Read returns what a zip was built from.
func Read(zip string) (Provenance, error) {
	content, err := os.ReadFile(zip) //nolint:gosec // the operator names the file
	if err != nil {
		return Provenance{}, err
	}
	path := ProvenancePath(zip)
	text, err := os.ReadFile(path) //nolint:gosec // beside it
	if errors.Is(err, fs.ErrNotExist) {
		return Provenance{}, fmt.Errorf("%s is missing, which says what the zip was built from", path)
	} else if err != nil {
		return Provenance{}, err
	}
	var p Provenance
	if err := json.Unmarshal(text, &p); err != nil {
		return Provenance{}, fmt.Errorf("%s: %w", path, err)
	}
	if p.Zip != digest(content) {
		return Provenance{}, fmt.Errorf("%s is of another zip", path)
	}
	return p, nil
}

// Write writes the provenance of a zip, whose SHA-256 it fills in.
func (p Provenance) Write(zip string) error {
	content, err := os.ReadFile(zip) //nolint:gosec // the caller's own
	if err != nil {
		return err
	}
	p.Zip = digest(content)
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", "  ")
	if err := e.Encode(p); err != nil {
		return err
	}
	return atomicfile.Write(ProvenancePath(zip), text.Bytes())
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
