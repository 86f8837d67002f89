package guard

import (
	"errors"
	"testing"
	"time"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
)

func TestLearn(t *testing.T) {
	d := newDB(t)
	inc := newIncident(instanceID, "a")
	skipped := finding(checks.NameRoute53, true, at)
	skipped.Skipped = true
	inc.Findings = []checks.Finding{
		finding(checks.NameURL, true, at.Add(-2*time.Minute)),
		finding(checks.NameSSH, false, at.Add(-time.Minute)),
		skipped,
		finding("a check of another version", true, at),
		finding(checks.NameURL, true, at.Add(-time.Minute)),
	}
	if err := d.Learn(t.Context(), inc); err != nil {
		t.Fatal(err)
	}
	url, err := settingsHash(inc.Settings, checks.NameURL)
	if err != nil {
		t.Fatal(err)
	}
	same(t, d.instance(instanceID), instance{baseline: map[string]pass{"url": {url, at.Add(-time.Minute)}}, version: 1})

	// Again: nothing is new, and nothing is written.
	if err := d.Learn(t.Context(), inc); err != nil || d.count("UpdateItem") != 1 {
		t.Errorf("%d writes, %v", d.count("UpdateItem"), err)
	}

	// Another check joins it; an older pass with other settings does not.
	next := newIncident(instanceID, "b")
	next.Settings.URL.Path = "/other"
	next.Findings = []checks.Finding{finding(checks.NameURL, true, at.Add(-time.Hour)), finding(checks.NameSSH, true, at)}
	if err := d.Learn(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	i := d.instance(instanceID)
	if i.baseline["url"].hash != url || i.baseline["ssh"].at != at {
		t.Errorf("%+v", i.baseline)
	}

	// A newer one takes its place, and one from the future keeps none out.
	next.Findings = []checks.Finding{finding(checks.NameURL, true, at.AddDate(1, 0, 0))}
	if err := d.Learn(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if i := d.instance(instanceID); i.baseline["url"].hash == url || i.baseline["url"].at != at {
		t.Errorf("%+v", i.baseline)
	}

	// Without settings, or a time, there is nothing to learn.
	inc.Findings = []checks.Finding{finding(checks.NameURL, true, time.Time{})}
	if err := d.Learn(t.Context(), inc); err != nil {
		t.Fatal(err)
	}
	inc.Settings = nil
	if err := d.Learn(t.Context(), inc); err != nil || d.count("UpdateItem") != 3 {
		t.Errorf("%d writes, %v", d.count("UpdateItem"), err)
	}
}

func TestLearnWhileOthersWrite(t *testing.T) {
	d := newDB(t)
	ssh := newIncident(instanceID, "ssh")
	ssh.Findings = []checks.Finding{finding(checks.NameSSH, true, at)}
	d.on("UpdateItem", func(_ any, call func() error) error {
		d.meddle = nil
		d.learned(instanceID)
		return call()
	})
	if err := d.Learn(t.Context(), ssh); err != nil {
		t.Fatal(err)
	}
	if i := d.instance(instanceID); len(i.baseline) != 2 || i.version != 2 {
		t.Errorf("%+v", i)
	}
	d.on("UpdateItem", func(any, func() error) error { return errors.New("connection reset") })
	ssh.Findings[0].At = at.Add(-time.Second)
	ssh.Findings[0].Check = checks.NameRoute53
	want(t, d.Learn(t.Context(), ssh), fault.Unavailable, "learn baseline of "+instanceID)
}

// Any setting of a check belongs to its baseline, and none of another's.
func TestSettingsHash(t *testing.T) {
	hashes := func(mend func(*incident.Settings)) map[string]string {
		s := incident.DefaultSettings()
		mend(&s)
		all := map[string]string{}
		for _, check := range []string{checks.NameURL, checks.NameRoute53, checks.NameSSH} {
			var err error
			if all[check], err = settingsHash(&s, check); err != nil || len(all[check]) != 64 {
				t.Fatalf("%s: %q, %v", check, all[check], err)
			}
		}
		return all
	}
	before := hashes(func(*incident.Settings) {})
	for check, mends := range map[string][]func(*incident.Settings){
		"": {func(*incident.Settings) {}, func(s *incident.Settings) { s.Boot.WindowSeconds = 300 }, func(s *incident.Settings) { s.Reboot.PerDay = 1 }},
		checks.NameURL: {
			func(s *incident.Settings) { s.URL.Path = "/healthz" },
			func(s *incident.Settings) { s.URL.Headers = map[string]string{"Host": "x"} },
			func(s *incident.Settings) { s.URL.TimeoutMs = 1000 },
		},
		checks.NameRoute53: {func(s *incident.Settings) { s.Route53.HealthCheckID = "x" }},
		checks.NameSSH:     {func(s *incident.Settings) { s.SSH.Port = 2222 }},
	} {
		for n, mend := range mends {
			for name, hash := range hashes(mend) {
				if (hash != before[name]) != (name == check) {
					t.Errorf("%s %d: %s is %s, was %s", check, n, name, hash, before[name])
				}
			}
		}
	}
	// Maps have no order.
	many := func(s *incident.Settings) {
		s.URL.Headers = map[string]string{"A": "1", "B": "2", "C": "3", "D": "4", "E": "5"}
	}
	for range 20 {
		same(t, hashes(many), hashes(many))
	}
}
