// Package toolchain finds the programs that firstline runs, and installs those
// that are missing into the build folder: Terraform, moto's server, and a
// mirror of Terraform's AWS provider where the machine has one.
package toolchain

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/fs"
	"github.com/hashicorp/hc-install/product"
	"github.com/hashicorp/hc-install/releases"

	"firstline/internal/atomicfile"
)

// Versions that fit. Terraform 1.11 is the first with write-only arguments;
// moto 5.2 is the first whose States Language engine runs the definition.
const (
	TerraformVersions = ">= 1.11.0, < 2.0.0"
	terraformInstall  = "1.11.4"
	MotoVersions      = ">= 5.2.0, < 6.0.0"
	motoInstall       = "moto[server,stepfunctions]==5.2.1"
)

// ProviderVersion is the version of Terraform's AWS provider that deployments
// to the local AWS are tested with. A deployment to AWS may use any that
// terraform/versions.tf allows.
const ProviderVersion = "5.100.0"

// Toolchain finds and installs programs.
type Toolchain struct {
	// Build is the folder for what has to be installed.
	Build string
	// Log is told of everything that takes time.
	Log io.Writer
}

// Root returns the project's folder: the nearest one at or above the working
// directory whose go.mod names this module.
func Root() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return Above(start)
}

// Above returns the project's folder: the nearest one at or above start, an absolute
// path.
func Above(start string) (string, error) {
	for dir := start; ; dir = filepath.Dir(dir) {
		//nolint:gosec // the path is a go.mod above the working directory
		if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(mod), "module firstline\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside firstline's folder: change to it first", start)
		}
	}
}

// Terraform returns the path of a Terraform that fits: the one on PATH, one
// installed before, or one that hc-install fetches now.
func (t Toolchain) Terraform(ctx context.Context) (string, error) {
	fits := version.MustConstraints(version.NewConstraint(TerraformVersions))
	path, err := (&fs.Version{Product: product.Terraform, Constraints: fits}).Find(ctx)
	if err == nil {
		return path, nil
	}
	unlock, err := t.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	bin := filepath.Join(t.Build, "bin")
	path, err = (&fs.Version{Product: product.Terraform, Constraints: fits, ExtraPaths: []string{bin}}).Find(ctx)
	if err == nil {
		return path, nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	found := onPath(ctx)
	t.say("%s, wanted is %s: installing %s into %s", found, TerraformVersions, terraformInstall, bin)
	if err := os.MkdirAll(bin, 0o750); err != nil {
		return "", err
	}
	path, err = (&releases.ExactVersion{Product: product.Terraform, Version: version.Must(version.NewVersion(terraformInstall)), InstallDir: bin}).Install(ctx)
	if err != nil {
		return "", fmt.Errorf("%s, wanted is %s, and %s could not be installed (%w): install it by hand (https://developer.hashicorp.com/terraform/install) and put it on PATH", found, TerraformVersions, terraformInstall, err)
	}
	return path, nil
}

// onPath says which Terraform is on PATH.
func onPath(ctx context.Context) string {
	path, err := exec.LookPath("terraform")
	if err != nil {
		return "no Terraform is on PATH"
	}
	have, err := product.Terraform.GetVersion(ctx, path)
	if err != nil {
		return fmt.Sprintf("the Terraform on PATH does not tell its version (%v)", err)
	}
	return fmt.Sprintf("the Terraform on PATH is %s", have)
}

// Moto returns the path of a moto_server that fits: the one on PATH, one
// installed before, or one that pip installs now.
func (t Toolchain) Moto(ctx context.Context) (string, error) {
	var rejected error
	if path, err := exec.LookPath("moto_server"); err == nil {
		if rejected = motoFits(ctx, path); rejected == nil {
			return path, nil
		}
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	unlock, err := t.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	venv := filepath.Join(t.Build, "venv")
	installed := filepath.Join(venv, "bin", "moto_server")
	if _, err := exec.LookPath(installed); err == nil {
		if rejected = motoFits(ctx, installed); rejected == nil {
			return installed, nil
		}
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if rejected != nil {
		t.say("%v", rejected)
	}
	t.say("installing %s into %s", motoInstall, venv)
	temp, err := os.MkdirTemp(t.Build, ".pip-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	for _, c := range [][]string{
		{"python3", "-m", "venv", venv},
		{filepath.Join(venv, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", motoInstall},
	} {
		cmd := exec.CommandContext(ctx, c[0], c[1:]...) //nolint:gosec // fixed words and our own build folder
		cmd.Stdout, cmd.Stderr = t.Log, t.Log
		cmd.Env = append(os.Environ(), "TMPDIR="+temp)
		// An interrupt goes to the programs that it runs, too.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
		cmd.WaitDelay = 10 * time.Second
		if err := cmd.Run(); ctx.Err() != nil {
			return "", fmt.Errorf("install %s: %w", motoInstall, ctx.Err())
		} else if err != nil {
			return "", fmt.Errorf("install %s: %s: %w; install moto_server %s by hand and put it on PATH", motoInstall, strings.Join(c, " "), err, MotoVersions)
		}
	}
	if err := motoFits(ctx, installed); err != nil {
		return "", err
	}
	return installed, nil
}

// motoFits asks the Python that a moto_server runs on for moto's version.
func motoFits(ctx context.Context, server string) error {
	// moto_server has no --version. The script's first line names its Python;
	// a pyenv shim's does not, and then the python3 beside it is the one.
	python := filepath.Join(filepath.Dir(server), "python3")
	if script, err := os.ReadFile(server); err == nil { //nolint:gosec // a program found on PATH
		first, _, _ := strings.Cut(string(script), "\n")
		if m := regexp.MustCompile(`^#!(\S*python[0-9.]*)$`).FindStringSubmatch(first); m != nil {
			python = m[1]
		}
	}
	out, err := exec.CommandContext(ctx, python, "-W", "ignore", "-c", "import moto; print(moto.__version__)").Output() //nolint:gosec // the interpreter of a program found on PATH
	if err != nil {
		return fmt.Errorf("%s: cannot tell its version: %w", server, err)
	}
	have, err := version.NewVersion(strings.TrimSpace(string(out)))
	if err != nil {
		return fmt.Errorf("%s: %w", server, err)
	}
	if !version.MustConstraints(version.NewConstraint(MotoVersions)).Check(have) {
		return fmt.Errorf("%s is moto %s, wanted is %s", server, have, MotoVersions)
	}
	return nil
}

// CLIConfig returns the Terraform CLI configuration to set as
// TF_CLI_CONFIG_FILE. A configuration of the user's own is left in charge, and
// then the result is its path, or "" for the one that Terraform finds itself.
// Else one is written into the build folder: with the provider mirror that
// this machine has on disk, or with a cache so that the registry is asked once.
func (t Toolchain) CLIConfig() (string, error) {
	if own := os.Getenv("TF_CLI_CONFIG_FILE"); own != "" {
		if _, err := os.Stat(own); err == nil { //nolint:gosec // the user names the file
			return own, nil
		}
		t.say("TF_CLI_CONFIG_FILE names a file that does not exist: left aside")
	} else if home, err := os.UserHomeDir(); err == nil {
		if _, err := os.Stat(filepath.Join(home, ".terraformrc")); err == nil {
			return "", nil
		}
	}
	if err := os.MkdirAll(t.Build, 0o750); err != nil {
		return "", err
	}
	var text string
	if mirror := findMirror(mirrorRoots()); mirror != "" {
		text = fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path    = %s\n    include = [\"registry.terraform.io/hashicorp/aws\"]\n  }\n  direct {\n    exclude = [\"registry.terraform.io/hashicorp/aws\"]\n  }\n}\n", strconv.Quote(mirror))
	} else {
		cache := filepath.Join(t.Build, "plugin-cache")
		if err := os.MkdirAll(cache, 0o750); err != nil {
			return "", err
		}
		text = fmt.Sprintf("plugin_cache_dir = %s\nplugin_cache_may_break_dependency_lock_file = true\n", strconv.Quote(cache))
	}
	path := filepath.Join(t.Build, "terraform.rc")
	if old, err := os.ReadFile(path); err == nil && string(old) == text { //nolint:gosec // our own build folder
		return path, nil
	}
	return path, atomicfile.Write(path, []byte(text))
}

// mirrorRoots are the folders below which a provider mirror is looked for.
func mirrorRoots() []string {
	roots := []string{"/opt", "/usr/local/share", "/usr/share/terraform", "/srv", "/var/lib"}
	if cache := os.Getenv("TF_PLUGIN_CACHE_DIR"); cache != "" {
		roots = append([]string{cache}, roots...)
	}
	if home, err := os.UserHomeDir(); err == nil {
		roots = append(roots, filepath.Join(home, ".terraform.d"), filepath.Join(home, ".local", "share"))
	}
	return roots
}

// mirrorDepth is how deep below a root a mirror may lie.
const mirrorDepth = 4

// findMirror returns the folder that holds a registry.terraform.io with the AWS
// provider in the tested version, or "".
func findMirror(roots []string) string {
	for _, root := range roots {
		found := ""
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil //nolint:nilerr // a folder that cannot be read holds no mirror for us
			}
			if d.Name() == "registry.terraform.io" {
				if holdsProvider(path) {
					found = filepath.Dir(path)
					return filepath.SkipAll
				}
				return filepath.SkipDir
			}
			if rel, _ := filepath.Rel(root, path); strings.Count(rel, string(filepath.Separator)) >= mirrorDepth {
				return filepath.SkipDir
			}
			return nil
		})
		if found != "" {
			return found
		}
	}
	return ""
}

// holdsProvider reports whether a mirror holds the tested AWS provider,
// unpacked or packed.
func holdsProvider(registry string) bool {
	entries, err := os.ReadDir(filepath.Join(registry, "hashicorp", "aws"))
	if err != nil {
		return false
	}
	packed := regexp.MustCompile(`^terraform-provider-aws_([0-9.]+)_`)
	for _, e := range entries {
		name := e.Name()
		if m := packed.FindStringSubmatch(name); m != nil {
			name = m[1]
		}
		if name == ProviderVersion {
			return true
		}
	}
	return false
}

func (t Toolchain) say(format string, args ...any) {
	if t.Log != nil {
		_, _ = fmt.Fprintf(t.Log, format+"\n", args...)
	}
}
