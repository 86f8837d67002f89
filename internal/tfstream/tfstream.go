// Package tfstream reads Terraform's machine-readable output, which plan, apply
// and destroy write with -json
// (https://developer.hashicorp.com/terraform/internals/machine-readable-ui).
package tfstream

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// Message is one line of the output: what this project reads of it.
type Message struct {
	Type      string    `json:"type"`
	Text      string    `json:"@message"`
	Timestamp time.Time `json:"@timestamp"`
	// Change is what is planned for a resource (planned_change), or what was
	// changed outside of Terraform (resource_drift).
	Change *Change `json:"change"`
	// Changes sums up (change_summary).
	Changes *Changes `json:"changes"`
	// Hook is what happens to a resource (refresh_… and apply_…).
	Hook       *Hook       `json:"hook"`
	Diagnostic *Diagnostic `json:"diagnostic"`
}

// Types of messages.
const (
	PlannedChange   = "planned_change"
	ChangeSummary   = "change_summary"
	RefreshStart    = "refresh_start"
	RefreshComplete = "refresh_complete"
	ApplyStart      = "apply_start"
	ApplyComplete   = "apply_complete"
	ApplyErrored    = "apply_errored"
	Diagnosed       = "diagnostic"
)

// Resource names an instance of a resource.
type Resource struct {
	Address string `json:"addr"`
}

// Change is a change of one resource.
type Change struct {
	Resource Resource `json:"resource"`
	// Action is create, update, delete, replace, read, noop, move, import or
	// forget.
	Action string `json:"action"`
}

// Changes counts the changes of a whole run.
type Changes struct {
	Add    int `json:"add"`
	Change int `json:"change"`
	Remove int `json:"remove"`
}

// Hook is one moment of a resource's operation.
type Hook struct {
	Resource Resource `json:"resource"`
	Action   string   `json:"action"`
	// ID is the resource's, as an operation begins; "" for one that is created.
	ID string `json:"id_value"`
}

// Diagnostic is an error or a warning.
type Diagnostic struct {
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail"`
	Address  string `json:"address"`
	Range    *struct {
		Filename string `json:"filename"`
		Start    struct {
			Line int `json:"line"`
		} `json:"start"`
	} `json:"range"`
}

// Error reports whether it is an error, and not a warning.
func (d *Diagnostic) Error() bool { return d.Severity == "error" }

// died matches what Terraform says of a plugin whose process has ended
// (https://github.com/hashicorp/terraform/blob/main/internal/plugin/grpc_error.go),
// and of one that did not come up.
var died = regexp.MustCompile(`Plugin did not respond|plugin exited|timeout while waiting for plugin to start|Unrecognized remote plugin message|error reading from server: EOF|transport is closing`)

// PluginDied reports whether it says that a provider's process has ended.
func (d *Diagnostic) PluginDied() bool { return died.MatchString(d.Summary + " " + d.Detail) }

// Cancelled reports whether it comes of another error, or of an interrupt.
func (d *Diagnostic) Cancelled() bool { return d.Summary == "Request cancelled" }

// String is the whole of it, in a form close to Terraform's own.
func (d *Diagnostic) String() string {
	var b strings.Builder
	b.WriteString(d.Summary)
	if detail := strings.TrimSpace(d.Detail); detail != "" {
		b.WriteString(": " + detail)
	}
	if d.Address != "" {
		fmt.Fprintf(&b, "\n  with %s", d.Address)
	}
	if d.Range != nil && d.Range.Filename != "" {
		fmt.Fprintf(&b, "\n  on %s line %d", d.Range.Filename, d.Range.Start.Line)
	}
	return b.String()
}

// maxLine bounds a line of the output, in bytes: a diagnostic may quote a whole
// policy.
const maxLine = 16 << 20

// Read calls each for every message until r ends. Lines that are no messages
// are messages of no type, with the line as their text. It reads r to its end
// in any case, so that who writes is never kept waiting.
func Read(r io.Reader, each func(Message)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var m Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			m = Message{Text: lines.Text()}
		}
		each(m)
	}
	_, err := io.Copy(io.Discard, r)
	if lines.Err() != nil {
		err = fmt.Errorf("read Terraform's output: %w", lines.Err())
	}
	return err
}
