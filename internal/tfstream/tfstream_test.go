package tfstream

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	const out = `{"@level":"info","@message":"Terraform 1.11.4","@timestamp":"2026-11-23T10:00:00.000000Z","type":"version"}
not JSON
{"@level":"info","@message":"x: Plan to create","type":"planned_change","change":{"resource":{"addr":"module.eu-west-1[0].aws_sqs_queue.q","resource_type":"aws_sqs_queue"},"action":"create"}}
{"@level":"info","@message":"Plan: 1 to add","type":"change_summary","changes":{"add":1,"change":2,"remove":3,"operation":"plan"}}
{"@level":"info","@message":"done","type":"apply_complete","hook":{"resource":{"addr":"a.b"},"action":"create","elapsed_seconds":1}}
{"@level":"error","@message":"Error: no","type":"diagnostic","diagnostic":{"severity":"error","summary":"no","detail":"because\n","address":"a.b","range":{"filename":"main.tf","start":{"line":7}}}}
`
	var got []Message
	if err := Read(strings.NewReader(out), func(m Message) { m.Timestamp = m.Timestamp.Truncate(0); got = append(got, m) }); err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, m := range got {
		types = append(types, m.Type)
	}
	if diff := cmp.Diff([]string{"version", "", PlannedChange, ChangeSummary, ApplyComplete, Diagnosed}, types); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if got[1].Text != "not JSON" {
		t.Errorf("a line that is no message: %q", got[1].Text)
	}
	if c := got[2].Change; c.Action != "create" || c.Resource.Address != "module.eu-west-1[0].aws_sqs_queue.q" {
		t.Errorf("change: %+v", c)
	}
	if diff := cmp.Diff(&Changes{1, 2, 3}, got[3].Changes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if h := got[4].Hook; h.Action != "create" || h.Resource.Address != "a.b" {
		t.Errorf("hook: %+v", h)
	}
	if d := got[5].Diagnostic; !d.Error() || d.String() != "no: because\n  with a.b\n  on main.tf line 7" {
		t.Errorf("diagnostic: %s", d)
	}
}

func TestReadToTheEnd(t *testing.T) {
	// A line too long to be read must not leave the writer waiting.
	r, w := io.Pipe()
	go func() {
		_, err := io.WriteString(w, strings.Repeat("x", maxLine+10)+"\nlast\n")
		w.CloseWithError(err)
	}()
	if err := Read(r, func(Message) {}); err == nil || !strings.Contains(err.Error(), "token too long") {
		t.Errorf("got %v", err)
	}
	broken := errors.New("broken")
	if err := Read(iotest.ErrReader(broken), func(Message) {}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
