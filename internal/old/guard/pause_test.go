package guard

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"firstline/internal/fault"
	"firstline/internal/old/incident"
)

func TestPauseRegion(t *testing.T) {
	d := newDB(t)
	ctx := t.Context()
	none := func() {
		t.Helper()
		if p, err := d.RegionPause(ctx); p != nil || err != nil {
			t.Errorf("paused %v, %v", p, err)
		}
	}
	none()
	for range 2 {
		if err := d.PauseRegion(ctx, at.Add(time.Hour), "arn:aws:iam::123456789012:user/ops"); err != nil {
			t.Fatal(err)
		}
	}
	p, err := d.RegionPause(ctx)
	if err != nil {
		t.Fatal(err)
	}
	same(t, p, &incident.Pause{Until: at.Add(time.Hour), Scope: incident.PauseRegion, By: "arn:aws:iam::123456789012:user/ops"})
	// A later one takes its place, be it shorter.
	if err := d.PauseRegion(ctx, at.Add(time.Minute+time.Nanosecond), ""); err != nil {
		t.Fatal(err)
	}
	if p, err := d.RegionPause(ctx); err != nil || p == nil || !p.Until.Equal(at.Add(time.Minute+time.Second)) {
		t.Errorf("paused %v, %v", p, err)
	}
	d.pass(time.Minute + time.Second)
	none()
	d.pass(-time.Minute)
	for range 2 {
		if err := d.ResumeRegion(ctx); err != nil {
			t.Fatal(err)
		}
		none()
	}
	if err := d.PauseRegion(ctx, d.Now().Add(7*24*time.Hour), ""); err != nil {
		t.Errorf("seven days: %v", err)
	}
	want(t, d.PauseRegion(ctx, d.Now().Add(7*24*time.Hour+time.Second), ""), fault.InvalidInput, "is more than 7 days ahead; a pause lasts that long at most")
	want(t, d.PauseRegion(ctx, d.Now(), ""), fault.InvalidInput, "pause region: 2026-11-22T10:00:01Z is over; now it is 2026-11-22T10:00:01Z")
}

func TestPauseUnreadable(t *testing.T) {
	for said, i := range map[string]item{
		"until: got a text, want a number":      {"until": text("2026")},
		"until: missing":                        {"since": number(1)},
		"until: 2027-11-22T10:00:00Z is more":   {"until": seconds(at.AddDate(1, 0, 0))},
		`until: got "1e9", want a whole number`: {"until": &types.AttributeValueMemberN{Value: "1e9"}},
		"by: got a number, want a text":         {"until": seconds(at.Add(time.Hour)), "by": number(1)},
	} {
		if p, err := decodePause(i, at); p != nil || err == nil || !strings.Contains(err.Error(), said) || !strings.Contains(err.Error(), "firstline resume removes it") {
			t.Errorf("got %v, %v; want %q", p, err, said)
		}
	}
	// The clock of whoever asked may be ahead.
	if p, err := decodePause(item{"until": seconds(at.Add(7*24*time.Hour + 10*time.Minute))}, at); p == nil || err != nil {
		t.Errorf("got %v, %v", p, err)
	}
}

func TestPauseFromTag(t *testing.T) {
	for _, tt := range []struct{ value, until, err string }{
		{"", "", ""},
		{"2026-11-22T10:00:00Z", "", ""},
		{"2020-01-01T00:00:00Z", "", ""},
		{"2026-11-22T10:00:01Z", "2026-11-22T10:00:01Z", ""},
		{" 2026-11-22T13:00:00+02:00\n", "2026-11-22T11:00:00Z", ""},
		{"2026-11-29T10:00:00Z", "2026-11-29T10:00:00Z", ""},
		// The clock of whoever set it may be ahead.
		{"2026-11-29T11:00:00Z", "2026-11-29T11:00:00Z", ""},
		{"2026-11-29T11:00:01Z", "", "tag firstline:pause: 2026-11-29T11:00:01Z is more than 7 days ahead"},
		{"9999-12-31T23:59:59Z", "", "is more than 7 days ahead"},
		{" ", "", `tag firstline:pause: " " is not a time such as 2026-11-22T11:00:00Z`},
		{"yes", "", `"yes" is not a time`},
		{"2026-11-22", "", "is not a time"},
		{"2026-11-22 11:00", "", "is not a time"},
		{"1795341600", "", "is not a time"},
	} {
		p, err := PauseFromTag(tt.value, at)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || p != nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%q: got %v, %v; want %q", tt.value, p, err, tt.err)
			continue
		}
		switch {
		case tt.until == "" && p != nil:
			t.Errorf("%q: paused until %s", tt.value, p.Until)
		case tt.until != "" && (p == nil || stamp(p.Until) != tt.until || p.Scope != incident.PauseInstance):
			t.Errorf("%q: got %+v, want %s", tt.value, p, tt.until)
		}
	}
}
