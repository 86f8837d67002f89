package guard

import (
	"context"
	"strings"
	"time"

	"firstline/internal/old/incident"
)

// Evidence is what was seen of an instance before its reboot.
type Evidence struct {
	// At is when it was gathered.
	At time.Time
	// Console is the end of what the instance wrote to its console, redacted.
	Console string
	// ConsoleAt is when EC2 took that down, which may be long before At.
	ConsoleAt time.Time
	// SystemStatus and InstanceStatus are EC2's two status checks, "ok" or
	// "impaired".
	SystemStatus   string
	InstanceStatus string
}

// maxConsole is how much of the console's output is kept, in bytes.
const maxConsole = 16 << 10

// KeepEvidence keeps what was seen of the incident's instance before its reboot.
// It redacts the console's output itself (see Redact) and keeps the end of it:
// give it all that there is, since a secret whose beginning is cut off cannot be
// recognised. What was kept first for an execution stays: a reboot step that is
// invoked again would take down what came after the reboot.
func (t *Table) KeepEvidence(ctx context.Context, inc *incident.Incident, e Evidence) error {
	op := "keep evidence of " + inc.InstanceID
	if err := complete(op, inc); err != nil {
		return err
	}
	i := item{
		"instanceId":     text(inc.InstanceID),
		"at":             text(sortableTime(e.At)),
		"console":        text(tail(Redact(e.Console), maxConsole)),
		"systemStatus":   text(e.SystemStatus),
		"instanceStatus": text(e.InstanceStatus),
		"expiresAt":      seconds(t.now().Add(keepRecord)),
	}
	if !e.ConsoleAt.IsZero() {
		i["consoleAt"] = text(sortableTime(e.ConsoleAt))
	}
	return settle(ctx, op, func(ctx context.Context) error {
		return t.putNew(ctx, op, key{evidencePartition, nameOf(inc.Execution)}, i)
	})
}

func decodeEvidence(k key, in item) (Evidence, error) {
	d := &decoder{in: in}
	d.need("at")
	e := Evidence{
		At: d.rfc3339("at"), Console: d.text("console"), ConsoleAt: d.rfc3339("consoleAt"),
		SystemStatus: d.text("systemStatus"), InstanceStatus: d.text("instanceStatus"),
	}
	return e, d.err(k)
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
