// Command release builds what is published of a commit: the command for each
// platform, the function's zips, the Terraform root, a bill of materials, and
// checksums. The same commit and the same Go give the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"

	"firstline/internal/artifact"
	"firstline/internal/atomicfile"
	"firstline/internal/toolchain"
)

// sumsFile has the checksums.
const sumsFile = "SHA256SUMS"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := &release{log: os.Stderr}
	flag.StringVar(&r.out, "out", filepath.Join("build", "release"), "folder to write to")
	platforms := flag.String("platforms", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64", "platforms of the command, comma-separated")
	flag.Parse()
	r.platforms = strings.Split(*platforms, ",")
	if err := r.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

type release struct {
	root, out, version, commit string
	platforms                  []string
	log                        io.Writer
	// files are what was written, in this order.
	files []string
	// built are the programs, for the bill of materials.
	built map[string]*debug.BuildInfo
}

// git runs git in the project's folder.
func (r *release) git(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // our own words
	cmd.Dir = r.root
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(exit.Stderr))
	}
	return out, err
}

func (r *release) run(ctx context.Context) (err error) {
	if r.root, err = toolchain.Root(); err != nil {
		return err
	}
	if changed, err := r.git(ctx, "status", "--porcelain"); err != nil {
		return err
	} else if len(changed) > 0 {
		return fmt.Errorf("a release is built from a commit, and these files differ from it: commit or remove them\n%s", bytes.TrimRight(changed, "\n"))
	}
	commit, err := r.git(ctx, "rev-parse", "HEAD")
	if err != nil {
		return err
	}
	r.commit = string(bytes.TrimSpace(commit))
	if r.version, err = artifact.Version(filepath.Join(r.root, "terraform")); err != nil {
		return err
	}
	if err := r.empty(); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o750); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(r.out, sumsFile), nil); err != nil { // by which a release that was interrupted is known
		return err
	}
	r.built = map[string]*debug.BuildInfo{}
	for _, step := range []func(context.Context) error{r.commands, r.zips, r.terraform, r.materials, r.sums} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// write writes a file of the release.
func (r *release) write(name string, content []byte) error {
	r.wrote(name)
	return atomicfile.Write(filepath.Join(r.out, name), content)
}

// wrote notes a file of the release.
func (r *release) wrote(name string) {
	_, _ = fmt.Fprintln(r.log, filepath.Join(r.out, name))
	r.files = append(r.files, name)
}

// empty deletes the release before, and nothing else.
func (r *release) empty() error {
	found, err := os.ReadDir(r.out)
	if len(found) == 0 && (err == nil || errors.Is(err, fs.ErrNotExist)) {
		return nil
	}
	if _, err := os.Stat(filepath.Join(r.out, sumsFile)); err != nil {
		return fmt.Errorf("%s holds something else than a release: name an empty folder, or one that is not there", r.out)
	}
	return os.RemoveAll(r.out)
}

func (r *release) commands(ctx context.Context) error {
	licence, err := os.ReadFile(filepath.Join(r.root, "LICENSE"))
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "firstline-release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	for _, platform := range r.platforms {
		program := filepath.Join(scratch, strings.ReplaceAll(platform, "/", "_"))
		stamp := fmt.Sprintf("-X main.version=%s -X main.commit=%s", r.version, r.commit)
		if err := artifact.Compile(ctx, r.root, "./cmd/firstline", platform, program, stamp, r.log); err != nil {
			return err
		}
		binary, err := os.ReadFile(program) //nolint:gosec // what was just built
		if err != nil {
			return err
		}
		if r.built["the command"], err = buildinfo.ReadFile(program); err != nil {
			return err
		}
		packed, err := pack([]file{{"LICENSE", 0o644, licence}, {"firstline", 0o755, binary}})
		if err != nil {
			return err
		}
		if err := r.write(fmt.Sprintf("firstline_%s_%s.tar.gz", r.version, filepath.Base(program)), packed); err != nil {
			return err
		}
	}
	return nil
}

type file struct {
	name    string
	mode    int64
	content []byte
}

// pack makes a tar.gz without any trace of when, where and by whom.
func pack(files []file) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return compress(out.Bytes())
}

func compress(content []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err = w.Write(content); err != nil {
		return nil, err
	}
	err = w.Close()
	return out.Bytes(), err
}

func (r *release) zips(ctx context.Context) error {
	for _, arch := range artifact.Names() {
		zip, err := artifact.Build(ctx, r.root, r.out, arch, r.log)
		if err != nil {
			return err
		}
		for _, path := range []string{zip, artifact.ProvenancePath(zip)} {
			r.wrote(filepath.Base(path))
		}
		if err := r.function(zip); err != nil {
			return err
		}
	}
	return nil
}

// terraform packs the committed files only: an operator's own may hold secrets.
func (r *release) terraform(ctx context.Context) error {
	archive, err := r.git(ctx, "archive", "--format=tar", "HEAD", "LICENSE", "terraform")
	if err != nil {
		return err
	}
	packed, err := compress(archive)
	if err != nil {
		return err
	}
	return r.write(fmt.Sprintf("firstline_%s_terraform.tar.gz", r.version), packed)
}

func (r *release) sums(context.Context) error {
	var text strings.Builder
	for _, name := range r.files {
		content, err := os.ReadFile(filepath.Join(r.out, name)) //nolint:gosec // what was just written
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(&text, "%x  %s\n", sha256.Sum256(content), name)
	}
	return r.write(sumsFile, []byte(text.String()))
}
