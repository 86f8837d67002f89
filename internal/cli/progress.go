package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress prints what is being done, a line each, with the time since the
// start.
type progress struct {
	w     io.Writer
	start time.Time

	mu   sync.Mutex
	last time.Time // of the last line
	text string    // what is being done
}

func newProgress(w io.Writer) *progress {
	return &progress{w: w, start: time.Now(), last: time.Now()}
}

func (p *progress) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.text = time.Now(), text
	p.line(text)
}

func (p *progress) line(text string) {
	_, _ = fmt.Fprintf(p.w, "%6.1fs  %s\n", time.Since(p.start).Seconds(), text)
}

// status says how far something is; it is not what is being done.
func (p *progress) status(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	p.line(text)
}

// doing notes what is being done, for still.
func (p *progress) doing(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = text
}

// longestStill bounds a line that says what is still being done, in runes.
const longestStill = 120

// still says what is being done when nothing was said for as long as repeat. What is
// awaited says it better than the last line, unless it is "".
func (p *progress) still(awaited string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.last) < repeat || p.text == "" {
		return
	}
	p.last = time.Now()
	text, _, _ := strings.Cut(cmp.Or(awaited, p.text), "\n")
	if runes := []rune(text); len(runes) > longestStill {
		text = string(runes[:longestStill-1]) + "…"
	}
	p.line("still " + text)
}

// Write lets packages below report through the same lines.
func (p *progress) Write(text []byte) (int, error) {
	p.say("%s", strings.TrimRight(string(text), "\r\n"))
	return len(text), nil
}
