package cli

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Every command says what it does, what its flags are, and its exit codes, all in the
// same form; the README has these.
func TestEveryHelp(t *testing.T) {
	readme, err := os.ReadFile("../../cmd/firstline/README.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`Exit codes: 0 (.+?), 1 (.+?), 2 (.+?)(?:, 3 (.+?))?, 130 interrupted`)
	aside := regexp.MustCompile(` \([^)]*\)`)
	var table strings.Builder
	for _, c := range leaves(newRoot(Build{})) {
		name := strings.TrimPrefix(c.CommandPath(), "firstline ")
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || !strings.HasSuffix(c.Long, ".") {
			t.Errorf("%s: it is not described: %q, %q", name, c.Short, c.Long)
		}
		for line := range strings.Lines(c.Long) {
			if len(line) > 95 {
				t.Errorf("%s: %d columns: %s", name, len(line), line)
			}
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
				t.Errorf("%s --%s: %q", name, f.Name, f.Usage)
			}
		})
		m := codes.FindStringSubmatch(strings.Join(strings.Fields(c.Long), " "))
		if m == nil {
			t.Errorf("%s: it does not say its exit codes:\n%s", name, c.Long)
			continue
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s |\n", name, m[1], m[2], aside.ReplaceAllString(m[3], ""), cmp.Or(m[4], "-"))
	}
	if !strings.Contains(string(readme), table.String()) {
		t.Errorf("README.md does not have this table:\n%s", table.String())
	}
}
