package store

import (
	"context"
	"errors"
	"strings"

	"firstline/internal/incident"
)

// Evidence is what was seen of an instance before its reboot.
type Evidence struct {
	InstanceID string `json:"instance_id"`
	// At is when it was gathered.
	At incident.Millis `json:"at"`
	// Console is the end of what the instance wrote to its console, redacted.
	Console string `json:"console,omitempty"`
	// ConsoleAt is when EC2 took that down, which may be long before At.
	ConsoleAt incident.Millis `json:"console_at,omitempty"`
	// SystemStatus, InstanceStatus and EBSStatus are EC2's status checks, "ok" or
	// "impaired".
	SystemStatus   string `json:"system_status,omitempty"`
	InstanceStatus string `json:"instance_status,omitempty"`
	EBSStatus      string `json:"ebs_status,omitempty"`
}

// maxConsole is how much of the console's output is kept, in bytes.
const maxConsole = 16 << 10

// PutEvidence keeps what was seen of an incident's instance before its reboot. It
// keeps the end of the console's output. Redact all of it first: a secret whose
// beginning is cut off cannot be recognized. What was kept first for an execution
// stays: a reboot step that runs again would take down what came after the
// reboot.
func (t *Table) PutEvidence(ctx context.Context, x incident.Execution, e Evidence) error {
	op := "keep evidence of " + e.InstanceID
	sk, err := recordSort(op, nameOf(x), incident.At(x.StartedAt))
	if err != nil {
		return err
	}
	e.Console = tail(e.Console, maxConsole)
	c, _, err := loaded{}.next(key{evidencePartition, sk}, e)
	if err != nil {
		return err
	}
	c.set("expiresAt", number(t.now().Add(keepRecord).Unix()))
	// There is some already.
	c.refused = ErrKeep
	err = t.settle(ctx, op, func() error { return t.write(ctx, op, c) })
	if errors.Is(err, ErrKeep) {
		return nil
	}
	return err
}

// tail returns the last bytes of a text, limit at most, from the beginning of a
// line where there is one.
func tail(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	s = s[len(s)-limit:]
	// Half a line is better than a long one missing.
	if n := strings.IndexByte(s, '\n'); n >= 0 && n < limit/8 {
		return s[n+1:]
	}
	return strings.ToValidUTF8(s, "")
}
