// Package tfvars reads the root's variables from where Terraform reads them
// (https://developer.hashicorp.com/terraform/language/values/variables): the
// environment, the files of the root's folder, and the files of -var-file.
//
// It knows just what the command has to know before it runs Terraform, which
// has the last word on every value.
package tfvars

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"firstline/internal/tfconfig"
	"firstline/notify"
)

// Defaults of the root's variables, which are terraform/variables.tf's and
// modules/settings' own.
const (
	defaultName         = "firstline"
	defaultArchitecture = "arm64"
)

// envPrefix begins the name of a variable in the environment.
const envPrefix = "TF_VAR_"

// pagerTypes are the pagers in modules/settings' own order. Each has a variable of
// its name.
var pagerTypes = func() (names []string) {
	for _, t := range notify.Types() {
		names = append(names, t.Name)
	}
	return slices.Compact(names) // one is there twice
}()

// Vars are the root's variables.
type Vars struct {
	regions map[string]region
	name    string
	pkg     string
	never   []string
	slack   bool
	pagers  []string
	secrets map[string]string
	lacks   string
}

// region is what var.regions holds for a region.
type region struct {
	instances []string
	// where is the file and line.
	where string
}

// Regions returns the names of the regions to deploy to, sorted. Whether they
// are regions is not looked at.
func (v Vars) Regions() []string { return slices.Sorted(maps.Keys(v.regions)) }

// Instances returns the ids of the instances to watch in a region, sorted.
func (v Vars) Instances(name string) []string { return slices.Clone(v.regions[name].instances) }

// Where returns the file and line that name a region, or the environment
// variable, "" for a region that is not named.
func (v Vars) Where(name string) string { return v.regions[name].where }

// Name returns the prefix of every name that is deployed.
func (v Vars) Name() string { return v.name }

// Package returns the path of the function's zip; it is relative when the
// folder given to Load was.
func (v Vars) Package() string { return v.pkg }

// Never returns which bounds of the breaker are 0, so that nothing is ever
// rebooted: in_flight, per_hour.
func (v Vars) Never() []string { return slices.Clone(v.never) }

// Slack reports whether there is Slack.
func (v Vars) Slack() bool { return v.slack }

// Pagers returns the types of the chosen pagers, in their order. What is none is
// left out.
func (v Vars) Pagers() []string { return slices.Clone(v.pagers) }

// Secrets returns where a secret stands in a file, which it should not: the
// variable's name => file and line.
func (v Vars) Secrets() map[string]string { return maps.Clone(v.secrets) }

// Missing returns an error that says what must be set and is not, a line each, with
// the file to add it to and an example; nil when nothing is missing.
func (v Vars) Missing() error {
	if v.lacks == "" {
		return nil
	}
	return errors.New(v.lacks)
}

// Load returns the variables as Terraform reads them when it runs in dir:
// environ's TF_VAR_ variables, then in dir terraform.tfvars,
// terraform.tfvars.json and those that end in .auto.tfvars or .auto.tfvars.json
// by name, then files in their order, whose paths are relative to the working
// directory of this process. What comes later wins.
//
// An error is one line with the file and the line in it: of a file that is not
// there, is none, or does not parse, and of a name that is none of the variables that
// dir declares: Terraform warns of it, goes on, and the setting has no effect. It
// says nothing of one in the environment, which may be meant for another root: that
// is an error when it is much like a variable. Wrong settings are Terraform's to
// report.
func Load(dir string, files []string, environ []string) (Vars, error) {
	l, err := newLoader(dir)
	if err != nil {
		return Vars{}, err
	}
	if err := l.environment(environ); err != nil {
		return Vars{}, err
	}
	own, err := automatic(dir)
	if err != nil {
		return Vars{}, err
	}
	for _, file := range slices.Concat(own, files) {
		if err := l.file(file); err != nil {
			return Vars{}, err
		}
	}
	v := Vars{secrets: l.secrets}
	if v.regions, err = l.regions(); err != nil {
		return Vars{}, err
	}
	if v.name, err = l.name(); err != nil {
		return Vars{}, err
	}
	if v.never, err = l.never(); err != nil {
		return Vars{}, err
	}
	if v.slack, err = l.isSet("slack"); err != nil {
		return Vars{}, err
	}
	if v.pagers, err = l.pagers(); err != nil {
		return Vars{}, err
	}
	if v.pkg, err = l.pkg(dir); err != nil {
		return Vars{}, err
	}
	pages, err := l.isSet("pagers")
	if err != nil {
		return Vars{}, err
	}
	v.lacks, err = l.lacking(dir, v.slack || pages || len(v.pagers) > 0)
	return v, err
}

// Named returns the regions that one var file of the root in dir names, with the
// file and line of each; none when it does not set the variable. It fails as Load
// does.
func Named(dir, file string) (map[string]string, error) {
	l, err := newLoader(dir)
	if err != nil {
		return nil, err
	}
	if err := l.file(file); err != nil {
		return nil, err
	}
	found, err := l.regions()
	if err != nil || found == nil {
		return nil, err
	}
	named := map[string]string{}
	for name, r := range found {
		named[name] = r.where
	}
	return named, nil
}

// automatic returns the files that Terraform reads unasked, in its order.
func automatic(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: name the folder of the Terraform root", dir, cause(err))
	}
	var files []string
	for _, name := range []string{"terraform.tfvars", "terraform.tfvars.json"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			files = append(files, path)
		}
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".auto.tfvars") || strings.HasSuffix(e.Name(), ".auto.tfvars.json") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// cause returns an error of the file system without the path, which the caller
// names.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// variable is a value that is not evaluated before it is known to win: Terraform
// does not look at those that lose either.
type variable struct {
	// text is the value of an environment variable, which a variable of a simple
	// type takes as it is.
	text *string
	expr hcl.Expression
	// where is the file and line, or the name of the environment variable.
	where string
}

// loader collects variables; what is added later wins.
type loader struct {
	// known are the variables that the root declares, and hidden those of them that are
	// ephemeral: secrets, which belong into the environment only.
	known, hidden []string
	vars          map[string]variable
	// files are those that were read.
	files   []string
	secrets map[string]string
}

// variableBlocks are the declarations of variables.
var variableBlocks = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "variable", LabelNames: []string{"name"}}}}

// ephemeral is what the declaration of a secret has.
var ephemeral = &hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "ephemeral"}}}

// newLoader returns a loader that knows the variables that the root in dir declares.
// Of a folder that declares none every name is accepted: it is no root, which
// Terraform says.
func newLoader(dir string) (*loader, error) {
	l := &loader{vars: map[string]variable{}, secrets: map[string]string{}}
	paths, err := tfconfig.Files(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: name the folder of the Terraform root", dir, cause(err))
	}
	for _, path := range paths {
		src, err := os.ReadFile(path) //nolint:gosec // the root's own file
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, cause(err))
		}
		file, err := parse(path, src)
		if err != nil {
			return nil, err
		}
		content, _, _ := file.Body.PartialContent(variableBlocks) // the rest is Terraform's to judge
		for _, b := range content.Blocks {
			l.known = append(l.known, b.Labels[0])
			if declared, _, _ := b.Body.PartialContent(ephemeral); len(declared.Attributes) > 0 {
				l.hidden = append(l.hidden, b.Labels[0])
			}
		}
	}
	return l, nil
}

// isKnown reports whether the root declares a variable.
func (l *loader) isKnown(name string) bool {
	return len(l.known) == 0 || slices.Contains(l.known, name)
}

// nearest returns the known name that is most like one that is not, "" when each
// differs in more than so many letters.
func (l *loader) nearest(name string, most int) string {
	best := ""
	for _, k := range l.known {
		if d := levenshtein.Distance(name, k, nil); d <= most {
			best, most = k, d-1
		}
	}
	return best
}

// environment adds what the environment sets. What is meant for another root is not
// ours to refuse, so a misspelt name is one that differs in a third of its letters at
// most.
func (l *loader) environment(environ []string) error {
	for _, entry := range environ {
		key, value, _ := strings.Cut(entry, "=")
		name, ok := strings.CutPrefix(key, envPrefix)
		if !ok {
			continue
		}
		if near := l.nearest(name, len(name)/3); near != "" && !l.isKnown(name) {
			return fmt.Errorf("%s: there is no variable %s; did you mean %s%s? If it is meant for something else, unset it here", key, name, envPrefix, near)
		}
		l.vars[name] = variable{text: &value, where: key}
	}
	return nil
}

// unknown says that there is no variable of a name.
func (l *loader) unknown(name string) string {
	if near := l.nearest(name, max(2, len(name)/3)); near != "" {
		return fmt.Sprintf("there is no variable %s; did you mean %s?", name, near)
	}
	names := slices.DeleteFunc(slices.Sorted(slices.Values(l.known)), func(k string) bool { return slices.Contains(l.hidden, k) })
	return fmt.Sprintf("there is no variable %s; there are %s", name, strings.Join(names, ", "))
}

func (l *loader) file(path string) error {
	src, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		if info, failed := os.Stat(path); failed == nil && info.IsDir() {
			return fmt.Errorf("%s is a folder: name a var file in it", path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: there is no such var file: copy one of terraform/examples, or name another with --var-file", path)
		}
		return fmt.Errorf("%s: %w", path, cause(err))
	}
	return l.add(path, src)
}

// parse reads the text of a file.
func parse(path string, src []byte) (*hcl.File, error) {
	file, diags := tfconfig.Parse(path, src)
	return file, first(diags, path)
}

// add adds the text of a file.
func (l *loader) add(path string, src []byte) error {
	l.files = append(l.files, path)
	file, err := parse(path, src)
	if err != nil {
		return err
	}
	if body, ok := file.Body.(*hclsyntax.Body); ok && len(body.Blocks) > 0 {
		b := body.Blocks[0]
		if b.Type == "variable" {
			return fmt.Errorf("%s: a variable is declared here; a var file sets values: write name = value", at(b.TypeRange))
		}
		return fmt.Errorf("%s: %s is written as a block; a var file sets values: write %[2]s = { ... }", at(b.TypeRange), b.Type)
	}
	attributes, diags := file.Body.JustAttributes()
	if err := first(diags, path); err != nil {
		return err
	}
	var wrong []string
	for _, a := range slices.SortedFunc(maps.Values(attributes), func(a, b *hcl.Attribute) int { return a.NameRange.Start.Byte - b.NameRange.Start.Byte }) {
		name := a.Name
		if !l.isKnown(name) {
			wrong = append(wrong, at(a.NameRange)+": "+l.unknown(name))
		}
		l.vars[name] = variable{expr: a.Expr, where: at(a.NameRange)}
		if !slices.Contains(l.hidden, name) {
			continue
		}
		if value, diags := a.Expr.Value(nil); diags.HasErrors() || !value.IsNull() {
			l.secrets[name] = at(a.NameRange)
		}
	}
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// first returns the first error of HCL as one line.
func first(diags hcl.Diagnostics, path string) error {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		where := path
		if d.Subject != nil {
			where = at(*d.Subject)
		}
		return fmt.Errorf("%s: %s", where, sentence(d))
	}
	return nil
}

// sentence returns what a diagnostic says, on one line.
func sentence(d *hcl.Diagnostic) string {
	text := d.Summary
	if d.Detail != "" {
		text += ": " + d.Detail
	}
	return strings.TrimSuffix(strings.Join(strings.Fields(text), " "), ".")
}

func at(r hcl.Range) string { return fmt.Sprintf("%s:%d", r.Filename, r.Start.Line) }

// expression returns the variable as an expression of HCL, which is how
// Terraform reads variables of the environment whose type is not a simple one.
func (v variable) expression() (hcl.Expression, error) {
	if v.text == nil {
		return v.expr, nil
	}
	expr, diags := hclsyntax.ParseExpression([]byte(*v.text), v.where, hcl.InitialPos)
	return expr, first(diags, v.where)
}

// value returns the value of a variable, and the expression that it comes from.
func (v variable) value() (cty.Value, hcl.Expression, error) {
	expr, err := v.expression()
	if err != nil {
		return cty.NilVal, nil, err
	}
	value, diags := expr.Value(nil)
	if err := first(diags, v.where); err != nil {
		return cty.NilVal, nil, err
	}
	return value, expr, nil
}

const regionsWanted = `want { "eu-west-1" = { instances = { "i-0123456789abcdef0" = {} } } }`

func (l *loader) regions() (map[string]region, error) {
	v, ok := l.vars["regions"]
	if !ok {
		return nil, nil
	}
	value, expr, err := v.value()
	if err != nil {
		return nil, err
	}
	if !isMap(value) {
		return nil, fmt.Errorf("%s: regions is %s; %s", v.where, kind(value), regionsWanted)
	}
	if value.LengthInt() == 0 {
		return nil, fmt.Errorf("%s: regions names no region; %s, or remove everything with `firstline destroy`", v.where, regionsWanted)
	}
	items, err := entries(expr, v.where, "region")
	if err != nil {
		return nil, err
	}
	found := map[string]region{}
	for name, value := range value.AsValueMap() {
		r := region{where: v.where}
		item := items[name]
		if item != nil {
			r.where = l.at(item.Key.Range(), v)
		}
		if !isMap(value) {
			return nil, fmt.Errorf("%s: regions[%q] is %s; want { instances = { \"i-0123456789abcdef0\" = {} } }", r.where, name, kind(value))
		}
		if instances := value.AsValueMap()["instances"]; instances != cty.NilVal && !instances.IsNull() {
			if !isMap(instances) {
				return nil, fmt.Errorf("%s: regions[%q].instances is %s; want { \"i-0123456789abcdef0\" = {} }", r.where, name, kind(instances))
			}
			r.instances = slices.Sorted(maps.Keys(instances.AsValueMap()))
			if item != nil {
				if err := unique(item.Value, v.where); err != nil {
					return nil, err
				}
			}
		}
		found[name] = r
	}
	return found, nil
}

// at is the position of a part of a variable.
func (l *loader) at(r hcl.Range, v variable) string {
	if v.text != nil {
		return v.where
	}
	return at(r)
}

// unique returns an error when a region names an instance twice.
func unique(expr hcl.Expression, where string) error {
	fields, err := entries(expr, where, "setting")
	if err != nil || fields["instances"] == nil {
		return err
	}
	_, err = entries(fields["instances"].Value, where, "instance")
	return err
}

// entries returns the entries of a map's expression by key; none when it is
// another expression that yields a map. Terraform takes the last of two entries
// of one key without a word, and then instances go unwatched: here it is an
// error.
func entries(expr hcl.Expression, where, what string) (map[string]*hcl.KeyValuePair, error) {
	pairs, diags := hcl.ExprMap(expr)
	if diags.HasErrors() {
		return nil, nil
	}
	found := map[string]*hcl.KeyValuePair{}
	for i := range pairs {
		value, diags := pairs[i].Key.Value(nil)
		if err := first(diags, where); err != nil {
			return nil, err
		}
		key, err := convert.Convert(value, cty.String)
		if err != nil || key.IsNull() {
			continue
		}
		if before := found[key.AsString()]; before != nil {
			return nil, fmt.Errorf("%s: %s %q is named a second time, after line %d; Terraform would take the second alone: make them one", at(pairs[i].Key.Range()), what, key.AsString(), before.Key.Range().Start.Line)
		}
		found[key.AsString()] = &pairs[i]
	}
	return found, nil
}

func isMap(v cty.Value) bool {
	return !v.IsNull() && v.IsWhollyKnown() && (v.Type().IsObjectType() || v.Type().IsMapType())
}

// kind names the type of a value, with its article.
func kind(v cty.Value) string {
	switch ty := v.Type(); {
	case v.IsNull():
		return "null"
	case ty.IsTupleType():
		return "a list"
	case ty == cty.Bool:
		return "true or false"
	default:
		return "a " + ty.FriendlyName()
	}
}

// text returns a value as a string, as Terraform converts it; "" when it cannot.
func text(v cty.Value) string {
	s, err := convert.Convert(v, cty.String)
	if err != nil || s.IsNull() || !s.IsKnown() {
		return ""
	}
	return s.AsString()
}

func (l *loader) name() (string, error) {
	v, ok := l.vars["name"]
	if !ok {
		return defaultName, nil
	}
	if v.text != nil {
		return *v.text, nil
	}
	value, _, err := v.value()
	if err != nil {
		return "", err
	}
	if value.IsNull() || !value.Type().IsPrimitiveType() {
		return "", fmt.Errorf("%s: name is %s; want a string, such as %q", v.where, kind(value), defaultName)
	}
	return text(value), nil
}

// never returns the bounds of the breaker that are 0. Whether others are right is
// not looked at.
func (l *loader) never() ([]string, error) {
	v, ok := l.vars["breaker"]
	if !ok {
		return nil, nil
	}
	value, _, err := v.value()
	if err != nil || !isMap(value) {
		return nil, err
	}
	var zero []string
	for field, value := range value.AsValueMap() {
		number, err := convert.Convert(value, cty.Number)
		if (field == "in_flight" || field == "per_hour") && err == nil && !number.IsNull() && number.RawEquals(cty.Zero) {
			zero = append(zero, field)
		}
	}
	slices.Sort(zero)
	return zero, nil
}

// isSet reports whether a variable is there and not null.
func (l *loader) isSet(name string) (bool, error) {
	v, ok := l.vars[name]
	if !ok {
		return false, nil
	}
	value, _, err := v.value()
	return err == nil && !value.IsNull(), err
}

// pagers returns the types of the pagers: those that are named, or else those that
// have a block. Whether they are right is not looked at.
func (l *loader) pagers() ([]string, error) {
	var types []string
	named, err := l.isSet("pagers")
	if err != nil {
		return nil, err
	}
	if !named {
		for _, name := range pagerTypes {
			set, err := l.isSet(name)
			if err != nil {
				return nil, err
			}
			if set {
				types = append(types, name)
			}
		}
		return types, nil
	}
	value, _, err := l.vars["pagers"].value()
	if err != nil || !value.IsWhollyKnown() || !value.CanIterateElements() {
		return nil, err
	}
	for _, pager := range value.AsValueSlice() {
		if name := text(pager); name != "" {
			types = append(types, name)
		}
	}
	return types, nil
}

// needed are the variables that must be set, with an example.
var needed = []struct{ name, example, or string }{
	{"regions", `{ "eu-west-1" = { instances = { "i-0123456789abcdef0" = {} } } }`, ""},
	{"subscribers", `[{ protocol = "email", endpoint = "oncall@example.com" }]`, ", or [] to tell nobody when firstline itself fails"},
	{"slack", `{ channel_id = "C0123456789" }`, ", or a pager by its block (" + strings.Join(pagerTypes, ", ") + "), or pagers = [] to tell nobody"},
}

// lacking says what must be set and is not, "" for nothing. Slack may be left out
// where somebody is told in another way, or nobody on purpose.
func (l *loader) lacking(dir string, told bool) (string, error) {
	var lines []string
	for _, n := range needed {
		set, err := l.isSet(n.name)
		if err != nil {
			return "", err
		}
		if !set && (n.name != "slack" || !told) {
			lines = append(lines, fmt.Sprintf("%s is not set: add %s%s", n.name, l.assignment(n.name, n.example), n.or))
		}
	}
	switch _, regions := l.vars["regions"]; {
	case len(lines) == 0:
		return "", nil
	case len(l.files) == 0 && !regions:
		return fmt.Sprintf("there is no var file: pass one with --var-file (terraform/examples has some to copy), or write %s", filepath.Join(dir, "terraform.tfvars")), nil
	case len(l.files) == 0:
		return strings.Join(lines, "; "), nil
	case len(lines) == 1:
		return l.files[len(l.files)-1] + ": " + lines[0], nil
	}
	return fmt.Sprintf("%s: these are not set:\n  - %s", l.files[len(l.files)-1], strings.Join(lines, "\n  - ")), nil
}

// assignment is an example as it stands in the last of the files.
func (l *loader) assignment(name, example string) string {
	if len(l.files) == 0 || !strings.HasSuffix(l.files[len(l.files)-1], ".json") {
		return name + " = " + example
	}
	expr, diags := hclsyntax.ParseExpression([]byte(example), name, hcl.InitialPos)
	value, more := expr.Value(nil)
	text, err := ctyjson.Marshal(value, value.Type())
	if diags.HasErrors() || more.HasErrors() || err != nil {
		return name
	}
	return fmt.Sprintf("%q: %s", name, text)
}

// pkg returns function.package as modules/settings completes it and Terraform
// finds it: from its working directory, which is dir, with ~ for the home
// folder. A value that modules/settings refuses counts as none, as it does there.
func (l *loader) pkg(dir string) (string, error) {
	path, architecture := "", defaultArchitecture
	if v, ok := l.vars["function"]; ok {
		value, _, err := v.value()
		if err != nil {
			return "", err
		}
		if isMap(value) {
			fields := value.AsValueMap()
			if p, ok := fields["package"]; ok {
				path = text(p)
			}
			if a, ok := fields["architecture"]; ok && slices.Contains([]string{"arm64", "x86_64"}, text(a)) {
				architecture = text(a)
			}
		}
	}
	if path == "" {
		path = filepath.Join("..", "build", "responder-"+architecture+".zip")
	}
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || rest[0] == '/') {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("function.package: %s: %w", path, err)
		}
		path = filepath.Join(home, rest)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return path, nil
}
