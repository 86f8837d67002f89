package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"firstline/internal/rollout"
)

// board shows how far each region is: on a terminal one line per region that is
// drawn again and again, else a line whenever there is something to say.
type board struct {
	p    *progress
	live bool
	// width is the terminal's, in columns; height its lines.
	width, height int

	mu     sync.Mutex
	rows   []rollout.Status // by region
	drawn  int              // lines on the terminal now
	dirty  bool
	last   map[string]string // what was said last of a region, when not live
	saidAt map[string]time.Time
	hushed bool
	stop   chan struct{}
	ended  sync.WaitGroup
}

const (
	// redraw is how often a terminal is drawn.
	redraw = 200 * time.Millisecond
	// namedRows is how many regions one line names.
	namedRows = 3
	// repeat is how often progress is said at least where lines stay.
	repeat = 9 * time.Second
)

// newBoard makes a board that writes through p.
func newBoard(p *progress) *board {
	b := &board{p: p, last: map[string]string{}, saidAt: map[string]time.Time{}}
	if file := terminal(p.w); file != nil {
		if w, h, err := term.GetSize(int(file.Fd())); err == nil && w > 20 {
			b.live, b.width, b.height = true, w, h
		}
	}
	return b
}

// run has the board draw, and say what takes long, until it is closed.
func (b *board) run() {
	b.stop = make(chan struct{})
	b.ended.Go(func() {
		tick := time.NewTicker(redraw)
		defer tick.Stop()
		for {
			select {
			case <-b.stop:
				return
			case <-tick.C:
				b.beat()
			}
		}
	})
}

// beat draws the terminal; where it shows no region, or there is none, it says what is
// awaited when nothing was said for a while.
func (b *board) beat() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.draw()
	if b.drawn == 0 && !b.hushed {
		b.p.still(b.awaited())
	}
}

// awaited says what Terraform works on in the regions, "" for nothing.
func (b *board) awaited() string {
	var all []string
	for _, s := range b.rows {
		if s.Phase == rollout.Planning || s.Phase == rollout.Applying {
			all = append(all, strings.Join(strings.Fields(row(s)), " "))
		}
	}
	if len(all) > namedRows {
		all = append(all[:namedRows], fmt.Sprintf("and %d more regions", len(all)-namedRows))
	}
	return strings.Join(all, "; ")
}

// hush keeps the board from saying anything by itself, such as while a question waits
// for its answer.
func (b *board) hush(hushed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hushed = hushed
}

// terminal returns the terminal that w writes to, nil for anything else.
func terminal(w io.Writer) *os.File {
	if o, ok := w.(*output); ok {
		w = o.w
	}
	file, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return file
}

// close draws a last time and leaves the lines where they are.
func (b *board) close() {
	if b.stop != nil {
		close(b.stop)
		b.ended.Wait()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dirty = true
	b.draw()
	b.rows, b.drawn, b.live = nil, 0, false
}

// reset forgets the regions, so that what is said next comes below them.
func (b *board) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dirty = true
	b.draw()
	b.rows, b.drawn = nil, 0
	clear(b.last)
}

// Write says something besides, line by line.
func (b *board) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.erase()
	n, err := b.p.Write(text)
	b.dirty = true
	b.draw()
	return n, err
}

// tell takes a region's new status.
func (b *board) tell(s rollout.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, found := slices.BinarySearchFunc(b.rows, s.Region, func(r rollout.Status, name string) int { return strings.Compare(r.Region, name) })
	if found {
		b.rows[n] = s
	} else {
		b.rows = slices.Insert(b.rows, n, s)
	}
	b.dirty = true
	if !b.live {
		b.sayPlain(s)
	}
}

// sayPlain says a region's status if it is news.
func (b *board) sayPlain(s rollout.Status) {
	if b.last[s.Region] == string(s.Phase) && (time.Since(b.saidAt[s.Region]) < repeat || s.Phase != rollout.Applying) {
		return
	}
	b.last[s.Region], b.saidAt[s.Region] = string(s.Phase), time.Now()
	if s.Phase != rollout.Planning {
		b.p.status(row(s))
	}
}

// row is a region's line.
func row(s rollout.Status) string {
	line := fmt.Sprintf("%-15s %-10s", s.Region, s.Phase)
	switch s.Phase {
	case rollout.Planning:
		if s.Done > 0 {
			line += " " + count(s.Done, "resource") + " read"
		}
	case rollout.Planned:
		line += " " + changes(s.Add, s.Change, s.Destroy)
	case rollout.Applying, rollout.Done:
		line += fmt.Sprintf(" %d of %s, %.0f s", s.Done, count(s.Planned, "change"), s.Elapsed().Seconds())
	case rollout.Failed:
		if len(s.Errors) > 0 {
			first, _, _ := strings.Cut(s.Errors[0], "\n")
			line += " " + first
		}
	}
	line = strings.TrimRight(line, " ")
	if len(s.Awaited) > 0 && (s.Phase == rollout.Planning || s.Phase == rollout.Applying) {
		line += ", waiting for " + s.Awaited[0]
		if len(s.Awaited) > 1 {
			line += fmt.Sprintf(" and %d more", len(s.Awaited)-1)
		}
	}
	return line
}

// changes says what is planned or done.
func changes(add, change, destroy int) string {
	return fmt.Sprintf("+%d ~%d -%d", add, change, destroy)
}

// erase takes the drawn lines off the terminal.
func (b *board) erase() {
	if b.drawn > 0 {
		_, _ = fmt.Fprintf(b.p.w, "\x1b[%dA\x1b[J", b.drawn)
		b.drawn = 0
	}
}

// draw draws the regions' lines, if there is news; elapsed time is.
func (b *board) draw() {
	applying := slices.ContainsFunc(b.rows, func(s rollout.Status) bool { return s.Phase == rollout.Applying })
	if !b.live || !b.dirty && !applying {
		return
	}
	b.dirty = false
	b.erase()
	// More lines than the terminal has could not be taken back.
	rows := b.rows
	hidden := 0
	if most := b.height - 2; len(rows) > most && most > 0 {
		rows, hidden = rows[:most], len(rows)-most
	}
	var out strings.Builder
	for _, s := range rows {
		line := []rune("  " + row(s))
		if len(line) > b.width-1 {
			line = append(line[:b.width-2], '…')
		}
		out.WriteString(string(line) + "\n")
	}
	if hidden > 0 {
		fmt.Fprintf(&out, "  and %d more\n", hidden)
		b.drawn++
	}
	_, _ = io.WriteString(b.p.w, out.String())
	b.drawn += len(rows)
}
