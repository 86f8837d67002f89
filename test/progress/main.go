// Command progress makes of `go test -json` what a person reads: a line per
// package, and per test that takes long, as it ends; what runs, after ten seconds
// without a line; and at the end all that the failed ones have printed.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"
)

// long is how long a test runs that gets a line of its own, and how long none is
// written; shown is how many tests a line names that run meanwhile.
const (
	long  = 10 * time.Second
	shown = 3
)

// event is one of `go doc test2json` and `go help buildjson`; Elapsed is in seconds.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

// report keeps what runs, and what it has printed, by "package test".
type report struct {
	sync.Mutex
	out             io.Writer
	said            time.Time
	runs            map[string]bool
	printed         map[string][]string
	skipped, failed string
}

func main() {
	signal.Ignore(os.Interrupt) // go test ends then, and with it the input
	r := &report{out: os.Stdout, said: time.Now(), runs: map[string]bool{}, printed: map[string][]string{}}
	go func() {
		for range time.Tick(time.Second) {
			r.tick()
		}
	}()
	r.read(os.Stdin)
}

func (r *report) say(text string) {
	r.said = time.Now()
	_, _ = fmt.Fprintln(r.out, text)
}

func (r *report) tick() {
	r.Lock()
	defer r.Unlock()
	if time.Since(r.said) < long {
		return
	}
	all := slices.Sorted(maps.Keys(r.runs))
	names := slices.DeleteFunc(slices.Clone(all), func(name string) bool { // which runs a part
		return slices.ContainsFunc(all, func(part string) bool { return strings.HasPrefix(part, name+"/") })
	})
	if n := len(names) - shown; n > 0 {
		names = append(names[:shown], fmt.Sprintf("%d more", n))
	}
	r.say("      " + cmp.Or(strings.Join(names, ", "), "compiling"))
}

func (r *report) read(in io.Reader) {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		r.Lock()
		if e := (event{}); json.Unmarshal(line, &e) == nil {
			r.take(e, strings.TrimSpace(cmp.Or(e.Package, e.ImportPath)+" "+e.Test))
		} else if len(line) > 0 {
			r.say(strings.TrimSuffix(string(line), "\n"))
		}
		r.Unlock()
		if err != nil {
			break
		}
	}
	for _, text := range []string{r.skipped, r.failed} {
		if text != "" {
			r.say("\n" + strings.TrimSuffix(text, "\n"))
		}
	}
}

func (r *report) take(e event, key string) {
	switch e.Action {
	case "run", "cont":
		r.runs[key] = true
	case "pause":
		delete(r.runs, key)
	case "output", "build-output":
		r.printed[key] = append(r.printed[key], e.Output)
	case "pass", "skip", "fail", "build-fail":
		r.end(e, key)
	}
}

func (r *report) end(e event, key string) {
	isPackage, isFailure := e.Test == "", strings.HasSuffix(e.Action, "fail")
	cached := strings.Contains(strings.Join(r.printed[key], ""), "(cached)")
	for _, k := range slices.Sorted(maps.Keys(r.printed)) {
		// A package that was cut off has tests without an end.
		if k != key && (!isPackage || !strings.HasPrefix(k, key+" ")) {
			continue
		}
		if isFailure {
			r.failed += strings.Join(r.printed[k], "")
		} else if e.Action == "skip" && !isPackage {
			r.skipped += strings.Join(r.printed[k], "")
		}
		delete(r.printed, k)
		delete(r.runs, k)
	}
	switch word := map[string]string{"pass": "ok", "fail": "FAIL"}[e.Action]; {
	case word == "" || strings.Contains(e.Test, "/"):
	case cached:
		r.say("ok    " + key + " (cached)")
	case isPackage || isFailure || e.Elapsed >= long.Seconds():
		r.say(fmt.Sprintf("%-5s %s (%.1f s)", word, key, e.Elapsed))
	}
}
