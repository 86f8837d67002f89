package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"firstline/internal/artifact"
)

// archFigures are those of the function's package for an architecture.
type archFigures struct {
	// Architecture is Lambda's name.
	Architecture string `json:"architecture"`
	ZipBytes     int64  `json:"zipBytes"`
	BinaryBytes  int64  `json:"binaryBytes"`
	// Stripped says that it has neither symbols nor what a debugger reads.
	Stripped bool `json:"stripped"`
	// Same says that two builds, in two folders, gave the same bytes.
	Same bool `json:"sameTwice"`
}

// buildPackages builds the function for every architecture, in the project's folder
// and in a copy of its source elsewhere, and unpacks the one that this machine can
// run.
func (b *function) buildPackages(ctx context.Context, f *frame, dir string) (all []archFigures, binary string, err error) {
	host := artifact.HostArchitecture(runtime.GOARCH)
	if host == "" {
		return nil, "", fmt.Errorf("this machine's architecture, %s, is none of Lambda's (%s): the function cannot be run here", runtime.GOARCH, strings.Join(artifact.Names(), ", "))
	}
	elsewhere := filepath.Join(dir, "another", "folder")
	if err := copySource(f.project, elsewhere); err != nil {
		return nil, "", err
	}
	for _, arch := range artifact.Names() {
		f.say("building the function for %s, twice", arch)
		first, err := artifact.Build(ctx, f.project, filepath.Join(dir, "first"), arch)
		if err != nil {
			return all, "", err
		}
		restore := func() error { return nil }
		if b.fresh {
			// Nothing that the first build has left.
			if restore, err = changeVariable("GOCACHE", filepath.Join(dir, "cache")); err != nil {
				return all, "", err
			}
		}
		second, err := artifact.Build(ctx, elsewhere, filepath.Join(dir, "second"), arch)
		if err := errors.Join(err, restore()); err != nil {
			return all, "", err
		}
		one, unpacked, err := inspect(first, second)
		if err != nil {
			return all, "", err
		}
		one.Architecture = arch
		all = append(all, one)
		if arch == host {
			binary = filepath.Join(dir, "bootstrap")
			if err := os.WriteFile(binary, unpacked, 0o700); err != nil { //nolint:gosec // it is to be run
				return all, "", err
			}
		}
	}
	return all, binary, nil
}

// changeVariable sets a variable of this process's environment until it is restored.
func changeVariable(name, value string) (restore func() error, err error) {
	old, had := os.LookupEnv(name)
	return func() error {
		if had {
			return os.Setenv(name, old)
		}
		return os.Unsetenv(name)
	}, os.Setenv(name, value)
}

// copySource copies the project's Go code, with the texts that are embedded in it.
func copySource(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{"build", ".git", "terraform"}, name):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o750)
		case !slices.Contains([]string{".go", ".mod", ".sum", ".txt"}, filepath.Ext(name)):
			return nil
		}
		raw, err := os.ReadFile(path) //nolint:gosec // the project's own
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), raw, 0o600) //nolint:gosec // a folder of our own
	})
}

// inspect looks at two zips that are to be the same, and returns what is in them.
func inspect(first, second string) (archFigures, []byte, error) {
	one, err := os.ReadFile(first) //nolint:gosec // what was just built
	if err != nil {
		return archFigures{}, nil, err
	}
	two, err := os.ReadFile(second) //nolint:gosec // what was just built
	if err != nil {
		return archFigures{}, nil, err
	}
	z, err := zip.NewReader(bytes.NewReader(one), int64(len(one)))
	if err != nil {
		return archFigures{}, nil, fmt.Errorf("%s: %w", filepath.Base(first), err)
	}
	entry, err := z.Open("bootstrap")
	if err != nil {
		return archFigures{}, nil, fmt.Errorf("%s: %w", filepath.Base(first), err)
	}
	binary, err := io.ReadAll(entry)
	if err := errors.Join(err, entry.Close()); err != nil {
		return archFigures{}, nil, fmt.Errorf("%s: %w", filepath.Base(first), err)
	}
	stripped, err := isStripped(binary)
	return archFigures{
		ZipBytes: int64(len(one)), BinaryBytes: int64(len(binary)), Stripped: stripped,
		Same: sha256.Sum256(one) == sha256.Sum256(two),
	}, binary, err
}

// isStripped reports whether a program has neither symbols nor a debugger's data.
func isStripped(binary []byte) (bool, error) {
	program, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return false, fmt.Errorf("bootstrap: %w", err)
	}
	return !slices.ContainsFunc(program.Sections, func(s *elf.Section) bool {
		return s.Name == ".symtab" || strings.HasPrefix(s.Name, ".debug") || strings.HasPrefix(s.Name, ".zdebug")
	}), nil
}

// goBuild builds a program as the function is built, for this machine.
func goBuild(ctx context.Context, project, out, pkg, linker string, more ...string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", linker, "-o", out}, more...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...) //nolint:gosec // our own command lines
	cmd.Dir = project
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, lastLines(string(said), 20))
	}
	return nil
}

// Flags of the linker: as the function is built, and with symbols.
const (
	linkedAsDeployed  = "-s -w -buildid="
	linkedWithSymbols = "-buildid="
)

// ec2Module is the client that the function has of EC2.
const ec2Module = "github.com/aws/aws-sdk-go-v2/service/ec2"

// buildWithoutEC2 builds the function with a client of EC2 that is written by hand in
// the place of the SDK's.
func buildWithoutEC2(ctx context.Context, project, dir, out string) error {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", ec2Module)
	cmd.Dir = project
	said, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list -m %s: %w", ec2Module, err)
	}
	sdk, module := strings.TrimSpace(string(said)), filepath.Join(dir, "ec2")
	// The types stay: the function's packages are written with them.
	if err := os.CopyFS(filepath.Join(module, "types"), os.DirFS(filepath.Join(sdk, "types"))); err != nil {
		return err
	}
	files := map[string]string{
		filepath.Join(module, "go.mod"): filepath.Join(sdk, "go.mod"),
		filepath.Join(module, "ec2.go"): filepath.Join(project, "test", "bench", "floor", "ec2", "ec2.go"),
		filepath.Join(dir, "ec2.mod"):   filepath.Join(project, "go.mod"),
		filepath.Join(dir, "ec2.sum"):   filepath.Join(project, "go.sum"),
	}
	for to, from := range files {
		raw, err := os.ReadFile(from) //nolint:gosec // the project's own, and the SDK's
		if err != nil {
			return err
		}
		if filepath.Base(to) == "ec2.mod" {
			raw = fmt.Appendf(raw, "\nreplace %s => %s\n", ec2Module, module)
		}
		if err := os.WriteFile(to, raw, 0o600); err != nil { //nolint:gosec // a folder of our own
			return err
		}
	}
	return goBuild(ctx, project, out, "./cmd/responder", linkedAsDeployed, "-modfile="+filepath.Join(dir, "ec2.mod"))
}

// packedBytes is how long a program is, and how long its zip is but for the names in it.
func packedBytes(path string) (size, packed int64, err error) {
	raw, err := os.ReadFile(path) //nolint:gosec // what was just built
	if err != nil {
		return 0, 0, err
	}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		return 0, 0, err
	}
	if _, err := w.Write(raw); err != nil {
		return 0, 0, err
	}
	if err := w.Close(); err != nil {
		return 0, 0, err
	}
	return int64(len(raw)), int64(out.Len()), nil
}

// symbolBytes sums up what a program's symbols take, by package, as `go tool nm -size`
// lists them: code and data, without the tables that the linker makes of all of them.
func symbolBytes(ctx context.Context, binary string) (map[string]int64, error) {
	out, err := exec.CommandContext(ctx, "go", "tool", "nm", "-size", binary).Output() //nolint:gosec // what was just built
	if err != nil {
		return nil, fmt.Errorf("go tool nm: %w", err)
	}
	program, err := elf.Open(binary)
	if err != nil {
		return nil, err
	}
	defer func() { _ = program.Close() }()
	// What is nought when the program starts is in memory and not in the file, though
	// nm calls some of it data.
	inFile := func(address uint64) bool {
		return !slices.ContainsFunc(program.Sections, func(s *elf.Section) bool {
			return s.Type == elf.SHT_NOBITS && s.Addr <= address && address < s.Addr+s.Size
		})
	}
	return packagesOf(string(out), inFile), nil
}

// packagesOf sums up the lines of `go tool nm -size` by package; what is of none is
// under "", and what is not in the file is left out.
func packagesOf(listing string, inFile func(address uint64) bool) map[string]int64 {
	sum := map[string]int64{}
	for line := range strings.Lines(listing) {
		fields := strings.Fields(line)
		// address size kind name; what is undefined has no address.
		if len(fields) < 4 {
			continue
		}
		if address, err := strconv.ParseUint(fields[0], 16, 64); err != nil || !inFile(address) {
			continue
		}
		size, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			continue
		}
		sum[packageOf(strings.Join(fields[3:], " "))] += size
	}
	return sum
}

// packageOf is the import path in a symbol's name.
func packageOf(symbol string) string {
	for _, prefix := range []string{"type:.eq.", "type:.hash.", "type:", "go:itab."} {
		symbol = strings.TrimPrefix(symbol, prefix)
	}
	symbol = strings.TrimLeft(symbol, "*[]")
	// Type arguments have paths of their own.
	symbol, _, _ = strings.Cut(symbol, "[")
	if end := strings.IndexAny(symbol, " (,{"); end >= 0 {
		symbol = symbol[:end]
	}
	slash := strings.LastIndexByte(symbol, '/') + 1
	dot := strings.IndexByte(symbol[slash:], '.')
	if dot <= 0 {
		return ""
	}
	return strings.ReplaceAll(symbol[:slash+dot], "%2e", ".")
}

// largest are the packages with the most bytes, the types of a service with its
// client.
func largest(sum map[string]int64, most int) (names []string, merged map[string]int64) {
	merged = map[string]int64{}
	for name, size := range sum {
		if name != "" {
			merged[moduleOf(name)] += size
		}
	}
	names = slices.SortedFunc(maps.Keys(merged), func(x, y string) int {
		return cmp.Or(cmp.Compare(merged[y], merged[x]), strings.Compare(x, y))
	})
	return names[:min(most, len(names))], merged
}

// moduleOf has the packages of one service of AWS count as one.
func moduleOf(name string) string {
	const services = "github.com/aws/aws-sdk-go-v2/service/"
	if rest, ok := strings.CutPrefix(name, services); ok {
		service, _, _ := strings.Cut(rest, "/")
		return services + service
	}
	return name
}
