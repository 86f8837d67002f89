package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestKilobytes(t *testing.T) {
	const rollup = "00400000-7ffc1b5f8000 ---p 00000000 00:00 0                          [rollup]\n" +
		"Rss:              912345 kB\nPss:              123456 kB\nPss_Dirty:          4000 kB\nPss_Anon:           3000 kB\n"
	for _, tt := range []struct {
		name, text, field string
		want              int64
		err               string
	}{
		{"smaps_rollup", rollup, "Pss", 123456 * 1024, ""},
		{"another field of it", rollup, "Pss_Anon", 3000 * 1024, ""},
		{"meminfo", "MemTotal:       24684364 kB\nMemFree:  1 kB\n", "MemTotal", 24684364 * 1024, ""},
		{"nothing at all, as of a zombie", "", "Pss", 0, "there is no Pss"},
		{"another unit", "Pss: 12 MB\n", "Pss", 0, `Pss is in "MB", not in kB`},
		{"no number", "Pss: many kB\n", "Pss", 0, `Pss is "many", not a number of kB`},
		{"negative", "Pss: -1 kB\n", "Pss", 0, `Pss is "-1", not a number of kB`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := kilobytes([]byte(tt.text), tt.field)
			if said := errorText(err); got != tt.want || said != tt.err {
				t.Errorf("got %d, %q; want %d, %q", got, said, tt.want, tt.err)
			}
		})
	}
}

// errorText is an error's text, "" for none.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestMemorySumsUpTheMarkedProcesses(t *testing.T) {
	proc := t.TempDir()
	for pid, files := range map[string]map[string]string{
		"10":   {"environ": "A=1\x00" + mark + "=x\x00", "smaps_rollup": "Pss: 100 kB\n"},
		"11":   {"environ": mark + "=x\x00B=2\x00", "smaps_rollup": "Rss: 9000 kB\nPss: 23 kB\n"},
		"12":   {"environ": mark + "=xy\x00", "smaps_rollup": "Pss: 1000 kB\n"},            // another's
		"13":   {"environ": "X" + mark + "=x\x00", "smaps_rollup": "Pss: 1000 kB\n"},       // a longer name
		"14":   {"environ": mark + "=x\x00", "smaps_rollup": ""},                           // a zombie
		"15":   {"environ": mark + "=x\x00"},                                               // it has just ended
		"16":   {"smaps_rollup": "Pss: 1000 kB\n"},                                         // somebody else's
		"self": {"environ": mark + "=x\x00", "smaps_rollup": "Pss: 1000 kB\n"},             // no process id
		"sys":  {"environ": "nothing", "smaps_rollup": "no process, and none that counts"}, //
	} {
		for name, text := range files {
			path := filepath.Join(proc, pid, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, want := memory(proc, mark+"=x"), int64(123*1024); got != want {
		t.Errorf("got %d bytes, want %d", got, want)
	}
}

func TestStrangers(t *testing.T) {
	for _, tt := range []struct {
		name, comm, environ string
		want                bool
	}{
		{"ours", "terraform-provi\n", mark + "=x\x00", false},
		{"another's", "terraform-provi\n", mark + "=y\x00", true},
		{"one that has ended", "terraform-provi\n", "", false},
		{"no provider", "terraform\n", mark + "=y\x00", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proc := t.TempDir()
			if err := os.Mkdir(filepath.Join(proc, "10"), 0o700); err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{"comm": tt.comm, "environ": tt.environ} {
				if err := os.WriteFile(filepath.Join(proc, "10", name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := strangers(proc, mark+"=x"); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

func TestMeasureCountsWhatHasLostItsParent(t *testing.T) {
	if _, err := os.Stat("/proc/self/smaps_rollup"); err != nil {
		t.Skip("this system has no /proc/PID/smaps_rollup")
	}
	f := &frame{every: time.Millisecond, limit: time.Minute}
	// The child goes on alone, in a session of its own, until it is told to end.
	dir := t.TempDir()
	script := `setsid sh -c 'echo $$ >child; until [ -e end ]; do sleep 0.01; done' >/dev/null 2>&1 </dev/null &
until [ -s child ]; do sleep 0.01; done`
	if _, err := f.measure(t.Context(), command{Args: []string{"sh", "-c", script}, Dir: dir, Env: []string{"PATH=" + os.Getenv("PATH"), "OTHER=1"}}); err != nil {
		t.Fatal(err)
	}
	pid, err := os.ReadFile(filepath.Join(dir, "child")) //nolint:gosec // below a folder of our own
	if err != nil {
		t.Fatal(err)
	}
	environ, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "environ")) //nolint:gosec // below /proc
	if err != nil {
		t.Fatal(err)
	}
	marked := ""
	for v := range strings.SplitSeq(string(environ), "\x00") {
		if strings.HasPrefix(v, mark+"=") {
			marked = v
		}
	}
	if marked == "" || memory("/proc", marked) == 0 {
		t.Errorf("the child is not found by %q", marked)
	}
	if err := os.WriteFile(filepath.Join(dir, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); memory("/proc", marked) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the child does not end")
		}
	}
}

func TestMeasure(t *testing.T) {
	env := []string{"PATH=" + os.Getenv("PATH")}
	t.Run("time and memory", func(t *testing.T) {
		f := &frame{every: time.Millisecond, limit: time.Minute}
		u, err := f.measure(t.Context(), command{Args: []string{"sleep", "0.2"}, Env: env})
		if err != nil {
			t.Fatal(err)
		}
		if u.Seconds < 0.2 || u.PeakBytes == 0 || f.measured.Seconds() < 0.2 || f.sampling == 0 {
			t.Errorf("got %+v, measured %s, sampling %s", u, f.measured, f.sampling)
		}
	})
	t.Run("no memory", func(t *testing.T) {
		f := &frame{limit: time.Minute}
		if u, err := f.measure(t.Context(), command{Args: []string{"true"}, Env: env}); err != nil || u.PeakBytes != 0 || f.sampling != 0 {
			t.Errorf("got %+v, %v, sampling %s", u, err, f.sampling)
		}
	})
	t.Run("it fails", func(t *testing.T) {
		f := &frame{limit: time.Minute}
		_, err := f.measure(t.Context(), command{Args: []string{"sh", "-c", "echo why >&2; exit 3"}, Env: env})
		if said := errorText(err); !strings.Contains(said, "exit status 3: why") {
			t.Errorf("got %q", said)
		}
	})
	t.Run("it takes too long", func(t *testing.T) {
		f := &frame{limit: 50 * time.Millisecond}
		_, err := f.measure(t.Context(), command{Args: []string{"sleep", "300"}, Env: env})
		if said := errorText(err); !strings.Contains(said, "deadline exceeded") {
			t.Errorf("got %q", said)
		}
	})
}
