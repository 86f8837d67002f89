package notify

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSay(t *testing.T) {
	t.Parallel()
	words := wordsOf(`# a comment
plain = Some text = with signs.
gap = ${a} and ${b}, ${c}
alone = ${a}

block =
  first ${a}
  ${b}

  Head:
  ${c}

  end
# no part of it
after = here
no key
`)
	if diff := cmp.Diff(map[string]string{
		"plain": "Some text = with signs.", "gap": "${a} and ${b}, ${c}", "alone": "${a}",
		"block": "first ${a}\n${b}\n\nHead:\n${c}\n\nend", "after": "here",
	}, words()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		key    string
		values []string
		want   string
	}{
		{"plain", nil, "Some text = with signs."},
		{"missing", nil, ""},
		{"gap", []string{"a", "x", "b", "y", "c", "z"}, "x and y, z"},
		{"gap", []string{"a", "x", "c", "z"}, "x and, z"},
		{"gap", []string{"a", "${b}", "b", "${a}"}, "${b} and ${a},"},
		{"alone", []string{"a"}, ""},
	} {
		if got := words.say(tt.key, tt.values...); got != tt.want {
			t.Errorf("%s %q: got %q, want %q", tt.key, tt.values, got, tt.want)
		}
	}
	for _, tt := range []struct {
		values []string
		want   []string
	}{
		{nil, []string{"end"}},
		{[]string{"a", "x"}, []string{"first x", "", "end"}},
		{[]string{"b", "1\n2", "c", "z"}, []string{"1", "2", "", "Head:", "z", "", "end"}},
	} {
		if diff := cmp.Diff(tt.want, words.lay("block", tt.values...)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.values, diff)
		}
	}
}

var (
	placeholder = regexp.MustCompile(`\$\{([a-z]+)\}`)
	wordsKey    = regexp.MustCompile(`^[a-zA-Z0-9.-]+$`)
)

// use is a key that the code uses, or the beginning of several.
type use struct {
	file   string // the list of words
	key    string
	prefix bool
	// names are the values that go with it; open says that there are others.
	names []string
	open  bool
	at    token.Position
}

// usesInCode finds every call of say and lay.
func usesInCode(t *testing.T) []use {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var uses []use
	files := token.NewFileSet()
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if f, ok := n.(*ast.FuncDecl); ok && f.Name.Name == "say" && f.Recv == nil {
				return false // It hands its key on.
			}
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			u := use{at: files.Position(call.Pos())}
			switch f := call.Fun.(type) {
			case *ast.Ident:
				if f.Name != "say" {
					return true
				}
				u.file = "sentences"
			case *ast.SelectorExpr:
				list, ok := f.X.(*ast.Ident)
				if !ok || f.Sel.Name != "say" && f.Sel.Name != "lay" {
					return true
				}
				u.file = list.Name
			default:
				return true
			}
			u.key, u.prefix = keyOf(call.Args[0])
			u.open = call.Ellipsis.IsValid()
			for i := 1; i < len(call.Args); i += 2 {
				if lit, ok := call.Args[i].(*ast.BasicLit); ok {
					name, _ := strconv.Unquote(lit.Value)
					u.names = append(u.names, name)
				}
			}
			uses = append(uses, u)
			return true
		})
	}
	return uses
}

// keyOf reads a key: a text, the beginning of one, or a variable, which is the
// beginning of any.
func keyOf(e ast.Expr) (key string, prefix bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		key, _ = strconv.Unquote(e.Value)
		return key, false
	case *ast.BinaryExpr:
		key, _ = keyOf(e.X)
		return key, true
	}
	return "", true
}

// Every key that the code uses exists, every key is used, and every placeholder gets
// a value somewhere.
func TestWordingFitsTheCode(t *testing.T) {
	t.Parallel()
	lists := map[string]map[string]string{"sentences": sentences(), "slackWords": slackWords(), "opsgenieWords": opsgenieWords(), "snsWords": snsWords()}
	// What goes by a variable: which key, and with which list of words.
	variable := map[string][]string{
		// slack.failed or slack.failed-first; what a test came to.
		"sentences": {"slack.failed", "slack.failed-first"}, "opsgenieWords": {"test.confirmed", "test.confirmed-no-id", "test.accepted", "test.half", "description", "note", "closing"},
		"snsWords": {"body"}, "slackWords": {},
	}
	// What values gives every form of a channel.
	forms := []string{"headline", "summary", "next", "facts", "pages", "looks"}

	used := map[string]map[string]bool{}
	known := map[string]map[string][]string{} // the names that go with a key
	for list := range lists {
		used[list], known[list] = map[string]bool{}, map[string][]string{}
	}
	mark := func(list, key string, names []string, open bool) {
		used[list][key] = true
		if open {
			names = append(slices.Clone(names), forms...)
		}
		known[list][key] = append(known[list][key], names...)
	}
	for _, u := range usesInCode(t) {
		of := []string{u.file}
		if _, ok := lists[u.file]; !ok {
			// A list that is handed in is any channel's.
			of = []string{"slackWords", "opsgenieWords", "snsWords"}
		}
		for _, list := range of {
			switch {
			case u.prefix && u.key == "":
				for _, key := range variable[list] {
					mark(list, key, u.names, u.open)
				}
			case u.prefix:
				found := false
				for key := range lists[list] {
					if strings.HasPrefix(key, u.key) {
						found = true
						mark(list, key, u.names, u.open)
					}
				}
				if !found {
					t.Errorf("%s: %s has no key that begins with %q", u.at, list, u.key)
				}
			default:
				if lists[list][u.key] == "" {
					t.Errorf("%s: %s has no key %q", u.at, list, u.key)
				}
				mark(list, u.key, u.names, u.open)
			}
		}
	}
	for list, words := range lists {
		for key, text := range words {
			if !wordsKey.MatchString(key) {
				t.Errorf("%s: the key %q", list, key)
			}
			if !used[list][key] {
				t.Errorf("%s: nothing uses %q", list, key)
			}
			for _, name := range placeholder.FindAllStringSubmatch(text, -1) {
				if !slices.Contains(known[list][key], name[1]) {
					t.Errorf("%s: %q has ${%s}, which gets no value", list, key, name[1])
				}
			}
			if rest := placeholder.ReplaceAllString(text, ""); strings.ContainsAny(rest, "${}") {
				t.Errorf("%s: %q has a placeholder that is none: %s", list, key, text)
			}
		}
	}
}

// The files have no line that is not understood, and no key twice.
func TestWordingFiles(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{"sentences": sentencesFile, "slack": slackFile, "opsgenie": opsgenieFile, "sns": snsFile} {
		if !strings.HasPrefix(file, "# ") {
			t.Errorf("%s.txt does not say what it is", name)
		}
		seen := map[string]bool{}
		inBlock := false
		for i, line := range strings.Split(strings.TrimSuffix(file, "\n"), "\n") {
			key, text, found := strings.Cut(line, " =")
			switch {
			case strings.TrimRight(line, " \t") != line && !strings.HasSuffix(line, " ="):
				t.Errorf("%s.txt:%d: spaces at the end", name, i+1)
			case line == "":
			case strings.HasPrefix(line, "#"):
				inBlock = false
			case strings.HasPrefix(line, "  ") && inBlock:
			case !found || !wordsKey.MatchString(key) || text != "" && !strings.HasPrefix(text, " "):
				t.Errorf("%s.txt:%d: not understood: %s", name, i+1, line)
			case seen[key]:
				t.Errorf("%s.txt:%d: %s once more", name, i+1, key)
			default:
				seen[key], inBlock = true, text == ""
			}
		}
	}
}

// Whatever can become of an incident has a title.
func TestEveryOutcomeHasATitle(t *testing.T) {
	t.Parallel()
	all := []outcome{recovered, down, unchecked, paused, refused, braked, notRebooted, rebootUnknown, noIncident, unclear, allClear, tested}
	titles := 0
	for key := range slackWords() {
		if strings.HasPrefix(key, "title.") {
			titles++
		}
	}
	for _, o := range all {
		if slackWords()["title."+string(o)] == "" {
			t.Errorf("%s has no title", o)
		}
	}
	if titles != len(all) {
		t.Errorf("%d titles, %d outcomes", titles, len(all))
	}
	for name := range guarded {
		if sentences()["why."+name] == "" || sentences()["guard."+name] == "" {
			t.Errorf("the guard %s has no words", name)
		}
	}
}
