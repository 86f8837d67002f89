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

func TestMeasureCountsWhatHasLostItsParent(t *testing.T) {
	if _, err := os.Stat("/proc/self/smaps_rollup"); err != nil {
		t.Skip("this system has no /proc/PID/smaps_rollup")
	}
	f := &frame{limit: time.Minute}
	// The child goes on alone, in a session of its own, until it is told to end.
	dir := t.TempDir()
	script := `setsid sh -c 'echo $$ >child; until [ -e end ]; do sleep 0.01; done' >/dev/null 2>&1 </dev/null &
until [ -s child ]; do sleep 0.01; done`
	if _, _, err := f.measure(t.Context(), command{Args: []string{"sh", "-c", script}, Dir: dir, Env: []string{"PATH=" + os.Getenv("PATH"), "OTHER=1"}}); err != nil {
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
	for _, tt := range []struct {
		name, script string
		limit        time.Duration
		err          string
	}{
		{"time and memory", "sleep 0.5; echo done", time.Minute, ""},
		{"it fails", "echo why >&2; exit 3", time.Minute, "exit status 3: why"},
		{"it takes too long", "exec sleep 300", 50 * time.Millisecond, "deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &frame{limit: tt.limit}
			u, text, err := f.measure(t.Context(), command{Args: []string{"sh", "-c", tt.script}, Env: []string{"PATH=" + os.Getenv("PATH")}})
			if said := errorText(err); (tt.err == "") != (err == nil) || !strings.Contains(said, tt.err) {
				t.Fatalf("got %q, want %q", said, tt.err)
			}
			if err == nil && (u.Seconds < 0.5 || u.PeakBytes == 0 || text != "done\n") {
				t.Errorf("got %+v, %q", u, text)
			}
		})
	}
}
