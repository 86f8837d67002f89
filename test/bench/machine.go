package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"firstline/internal/toolchain"
)

// machine is where and with what was measured. It names nobody's host and no
// path.
type machine struct {
	Date  string `json:"date"`
	Cores int    `json:"cores"`
	// MemoryBytes is 0 where the kernel does not tell.
	MemoryBytes int64  `json:"memoryBytes"`
	Kernel      string `json:"kernel"`
	Go          string `json:"go"`
	Terraform   string `json:"terraform"`
	Provider    string `json:"provider"`
	// Load is the number of processes that wanted to run in the minute before.
	Load float64 `json:"load"`
}

// String is one sentence for people.
func (m machine) String() string {
	said := fmt.Sprintf("Measured on %s on %d cores with %.0f GB of memory, %s, %s, Terraform %s, AWS provider %s.",
		m.Date, m.Cores, float64(m.MemoryBytes)/1e9, m.Kernel, m.Go, m.Terraform, m.Provider)
	if m.Load > float64(m.Cores)/2 {
		said += fmt.Sprintf(" **The machine was busy (load %.0f): times are too long**; counts, sizes and ratios of CPU time hold.", m.Load)
	}
	return said
}

// describe asks the machine.
func describe(ctx context.Context, project string) (machine, error) {
	m := machine{
		Date: time.Now().UTC().Format(time.DateOnly), Cores: runtime.NumCPU(), Kernel: runtime.GOOS,
		Go: runtime.Version(), Provider: toolchain.ProviderVersion,
	}
	if raw, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.MemoryBytes, _ = kilobytes(raw, "MemTotal")
	}
	if raw, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = "Linux " + string(bytes.TrimSpace(raw))
	}
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		first, _, _ := strings.Cut(string(raw), " ")
		m.Load, _ = strconv.ParseFloat(first, 64)
	}
	terraform, err := toolchain.Toolchain{Build: filepath.Join(project, "build")}.Terraform(ctx)
	if err != nil {
		return m, err
	}
	out, err := exec.CommandContext(ctx, terraform, "version", "-json").Output() //nolint:gosec // the Terraform that is measured
	if err != nil {
		return m, fmt.Errorf("terraform version: %w", err)
	}
	var said struct {
		Version string `json:"terraform_version"`
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return m, fmt.Errorf("terraform version: %w", err)
	}
	m.Terraform = said.Version
	return m, nil
}
