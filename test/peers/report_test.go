package peers

import (
	"fmt"
	"io"
	"strings"
	"time"

	"firstline/internal/incident"
)

// print writes what came of each situation, and how many reboots were unwanted.
func (r *report) print(out io.Writer) error {
	w := new(strings.Builder)
	row, counts := "", map[string]int{}
	for _, one := range r.results {
		if one == nil { // its peer could not be made
			counts["wrong"]++
			continue
		}
		if one.row != row {
			row = one.row
			fmt.Fprintf(w, "\n%s\n", row)
		}
		one.print(w)
		one.count(counts)
	}
	fmt.Fprintf(w, "\n%d situations with a peer: %d as wanted, %d not, %d skipped\n", counts["all"], counts["ok"], counts["wrong"], counts["skipped"])
	fmt.Fprintf(w, "reboots of a healthy machine that nothing tells from a dead one, as documented: %d\n", counts["known"])
	fmt.Fprintf(w, "unwanted reboots: %d, in %d situations\n", counts["unwanted"], counts["rebooting"])
	_, err := io.WriteString(out, w.String())
	return err
}

func (r *result) count(counts map[string]int) {
	counts["all"]++
	counts["known"] += r.known
	counts["unwanted"] += r.unwanted
	switch {
	case r.skipped != "":
		counts["skipped"]++
	case len(r.wrong) > 0:
		counts["wrong"]++
	default:
		counts["ok"]++
	}
	if r.unwanted > 0 {
		counts["rebooting"]++
	}
}

func (r *result) print(w *strings.Builder) {
	title := incident.CheckTitle(r.s.check) + ": " + r.s.name
	if r.skipped != "" {
		fmt.Fprintf(w, "  skip  %s [%s]: %s\n", title, r.peer, r.skipped)
		return
	}
	mark := "ok  "
	if len(r.wrong) > 0 {
		mark = "FAIL"
	}
	saw := strings.TrimSpace(string(r.f.Outcome) + " " + string(r.f.Kind))
	fmt.Fprintf(w, "  %s  %s [%s]: %s, %v\n", mark, title, r.peer, saw, r.took.Round(time.Millisecond))
	fmt.Fprintf(w, "          %s\n", r.f.Reason)
	var then []string
	for rest, what := range r.then {
		if what != "" {
			then = append(then, restNames[rest]+": "+what)
		}
	}
	fmt.Fprintf(w, "          %s\n", strings.Join(then, "; "))
	if r.known > 0 {
		fmt.Fprintf(w, "          known: %s\n", r.s.known)
	}
	for _, wrong := range r.wrong {
		fmt.Fprintf(w, "          wrong: %s\n", wrong)
	}
}
