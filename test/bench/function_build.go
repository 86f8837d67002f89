package main

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"firstline/internal/artifact"
)

// archFigures are those of the package of an architecture.
type archFigures struct {
	architecture          string
	zipBytes, binaryBytes int64
}

// buildPackages builds the function's package for every architecture.
func buildPackages(ctx context.Context, f *frame, dir string) (all []archFigures, err error) {
	for _, arch := range artifact.Names() {
		f.say("building the package for %s", arch)
		path, err := artifact.Build(ctx, f.project, dir, arch, nil)
		if err != nil {
			return nil, err
		}
		one := archFigures{architecture: arch}
		if one.zipBytes, one.binaryBytes, err = packed(path); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		all = append(all, one)
	}
	return all, nil
}

// packed is how long a zip is, and what is in it.
func packed(path string) (zipped, unpacked int64, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	z, err := zip.OpenReader(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	for _, file := range z.File {
		unpacked += int64(file.UncompressedSize64) //nolint:gosec // a binary
	}
	return info.Size(), unpacked, nil
}

// goBuild builds a program as the function is built, for this machine.
func goBuild(ctx context.Context, project, out, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w -buildid=", "-o", out, pkg) //nolint:gosec // our own command lines
	cmd.Dir = project
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, lastLines(string(said), 20))
	}
	return nil
}

// packageLines is how many lines of a package run in Lambda.
type packageLines struct {
	name  string
	lines int
}

// linesInLambda counts the lines of our packages that the function is made of, with
// comments and blank ones.
func linesInLambda(ctx context.Context, project string) (all []packageLines, err error) {
	const form = `{{if and .Module .Module.Main}}{{.ImportPath}}{{range .GoFiles}} {{$.Dir}}/{{.}}{{end}}{{end}}`
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-tags", "lambda.norpc", "-f", form, "./cmd/responder")
	cmd.Dir, cmd.Env = project, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -deps ./cmd/responder: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		p := packageLines{name: fields[0]}
		for _, path := range fields[1:] {
			text, err := os.ReadFile(path) //nolint:gosec // the project's own
			if err != nil {
				return nil, err
			}
			p.lines += bytes.Count(text, []byte("\n"))
		}
		all = append(all, p)
	}
	return all, nil
}

func totalLines(all []packageLines) (sum int) {
	for _, p := range all {
		sum += p.lines
	}
	return sum
}
