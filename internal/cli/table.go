package cli

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"firstline/internal/incident"
)

const (
	// columns is how wide a table is at most.
	columns = 80
	// gap is the space between two columns of a table, indent that before a text that
	// stands below its row.
	gap, indent = "  ", "    "
	// leastText is how many columns the text of a last column needs beside the others.
	leastText = 24
	// leastCell is what is left of a cell at least.
	leastCell = 4
)

// table aligns columns within the width of a terminal. It is written to as a
// tabwriter is: rows end with a line feed, and cells are separated by tabs. A row
// without a tab ends the table that is above it. Where the columns are too wide, the
// text of the last one is wrapped, beside the others or below its row; then others are
// cut, but for those that hold ids, regions or times.
type table struct {
	w    io.Writer
	text bytes.Buffer
}

func newTable(w io.Writer) *table { return &table{w: w} }

func (t *table) Write(text []byte) (int, error) { return t.text.Write(text) }

// Flush prints what was written.
func (t *table) Flush() error {
	var out strings.Builder
	var rows [][]string
	for line := range strings.Lines(t.text.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.Contains(line, "\t") {
			cells := strings.Split(line, "\t")
			if len(rows) > 0 && len(cells) != len(rows[0]) {
				layOut(&out, rows)
				rows = nil
			}
			rows = append(rows, cells)
			continue
		}
		layOut(&out, rows)
		rows = nil
		out.WriteString(line + "\n")
	}
	layOut(&out, rows)
	t.text.Reset()
	_, err := io.WriteString(t.w, out.String())
	return err
}

// kept matches cells that are never cut: instances, regions, times, ids.
var kept = regexp.MustCompile(`^\s*(?:i-[0-9a-f]+|[a-z]{2,4}(?:-[a-z]+)+-[0-9]|[0-9]{4}-[0-9]{2}-[0-9]{2}T\S+|[0-9a-f]{8})$`)

// layOut writes rows, the first of which is their heading.
func layOut(out *strings.Builder, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	last := len(rows[0]) - 1
	widths, whole := make([]int, last+1), make([]bool, last+1)
	total := len(gap) * last
	for n := range widths {
		for _, row := range rows {
			widths[n] = max(widths[n], utf8.RuneCountInString(row[n]))
			whole[n] = whole[n] || kept.MatchString(row[n])
		}
		total += widths[n]
	}
	wraps := total > columns && widths[last] > leastText
	if wraps {
		total -= widths[last]
		if widths[last] = columns - total; widths[last] < leastText {
			widths[last] = 0
			total -= len(gap)
		}
		total += widths[last]
		whole[last] = true
	}
	for ; total > columns; total-- {
		widest := -1
		for n := range widths {
			if !whole[n] && widths[n] > leastCell && (widest < 0 || widths[n] > widths[widest]) {
				widest = n
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	for _, row := range rows {
		writeRow(out, row, widths, wraps)
	}
}

// writeRow writes a row. Where the last cell wraps, it stands beside the others if its
// words fit there, else below.
func writeRow(out *strings.Builder, row []string, widths []int, wraps bool) {
	line := ""
	last := len(row) - 1
	for n, cell := range row[:last] {
		cell = incident.ClipLine(cell, widths[n])
		line += cell + strings.Repeat(" ", widths[n]-utf8.RuneCountInString(cell)) + gap
	}
	text := row[last]
	if !wraps {
		out.WriteString(strings.TrimRight(line+incident.ClipLine(text, widths[last]), " ") + "\n")
		return
	}
	parts := wrap(text, widths[last])
	if len(parts) == 0 {
		out.WriteString(strings.TrimRight(line, " ") + "\n")
		line, parts = indent, wrap(torn(text, columns-len(indent)), columns-len(indent))
	}
	for _, part := range parts {
		out.WriteString(line + part + "\n")
		line = strings.Repeat(" ", utf8.RuneCountInString(line))
	}
}

// wrap breaks a text between words; nil when one of them is longer than a line.
func wrap(text string, width int) (lines []string) {
	for word := range strings.FieldsSeq(text) {
		long := utf8.RuneCountInString(word)
		if long > width {
			return nil
		}
		if n := len(lines) - 1; n >= 0 && utf8.RuneCountInString(lines[n])+1+long <= width {
			lines[n] += " " + word
		} else {
			lines = append(lines, word)
		}
	}
	return lines
}

// torn breaks the words of a text that are longer than a line.
func torn(text string, width int) string {
	words := strings.Fields(text)
	for n, word := range words {
		var b strings.Builder
		for k, r := range []rune(word) {
			if k > 0 && k%width == 0 {
				b.WriteByte(' ')
			}
			b.WriteRune(r)
		}
		words[n] = b.String()
	}
	return strings.Join(words, " ")
}

// count says how many there are of something.
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
