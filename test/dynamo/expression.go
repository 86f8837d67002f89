package dynamo

import (
	"cmp"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// expression evaluates expressions on one item. Of DynamoDB's grammar it knows
// names of whole attributes, written as #name, and values, written as :value.
type expression struct {
	names  map[string]string
	values Item
	item   Item
	// used are the names and values that were used: DynamoDB refuses others.
	used map[string]bool

	// rest is what of the text has not been read, token the next one of it.
	rest, token string
	err         error
}

// check refuses expressions that are too long, and values that cannot be stored.
func (e *expression) check(all ...*string) error {
	for _, one := range all {
		if n := len(aws.ToString(one)); n > maxExpression {
			return invalid("Expression size has exceeded the maximum allowed size: %d bytes", n)
		}
	}
	if e.values != nil && len(e.values) == 0 || e.names != nil && len(e.names) == 0 {
		return invalid("ExpressionAttributeValues and ExpressionAttributeNames must not be empty")
	}
	for name, v := range e.values {
		if !valid(v) {
			return invalid("ExpressionAttributeValues: the value of %s is not valid", name)
		}
	}
	return nil
}

// unused refuses names and values that no expression uses.
func (e *expression) unused() error {
	for _, name := range slices.Concat(slices.Sorted(maps.Keys(e.names)), slices.Sorted(maps.Keys(e.values))) {
		if !e.used[name] {
			return invalid("Value provided in ExpressionAttributeNames or ExpressionAttributeValues unused in expressions: %s", name)
		}
	}
	return nil
}

func (e *expression) begin(text string) {
	e.rest, e.err = text, nil
	e.next()
}

// scan returns the length of the token that a text begins with: a word, which #
// or : may begin, an operator, or one byte.
func scan(text string) int {
	n := 0
	if text[0] == '#' || text[0] == ':' {
		n++
	}
	for n < len(text) && isWord(text[n]) {
		n++
	}
	if len(text) > 1 && n == 0 && (text[:2] == "<=" || text[:2] == ">=" || text[:2] == "<>") {
		return 2
	}
	return max(n, 1)
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// end returns the first error, or one about what is left.
func (e *expression) end(text string) error {
	if e.err == nil && e.token != "" {
		e.fail("syntax error at %q", e.token)
	}
	if e.err != nil {
		return fmt.Errorf("%w in the expression %q", e.err, text)
	}
	return nil
}

func (e *expression) fail(format string, args ...any) {
	if e.err == nil {
		e.err = invalid("Invalid expression: "+format, args...)
	}
	e.rest, e.token = "", ""
}

func (e *expression) peek() string { return e.token }

func (e *expression) next() string {
	was := e.token
	e.token = ""
	if e.rest = strings.TrimLeft(e.rest, " "); e.rest != "" {
		n := scan(e.rest)
		e.token, e.rest = e.rest[:n], e.rest[n:]
	}
	return was
}

// accept takes a token if it is the next one.
func (e *expression) accept(t string) bool {
	if e.peek() == t {
		e.next()
		return true
	}
	return false
}

func (e *expression) need(t string) {
	if !e.accept(t) {
		e.fail("got %q, want %q", e.peek(), t)
	}
}

// name reads the name of an attribute.
func (e *expression) name() string {
	t := e.next()
	name, ok := e.names[t]
	if !ok || !strings.HasPrefix(t, "#") {
		e.fail("%q is not a name in ExpressionAttributeNames", t)
	}
	e.used[t] = true
	return name
}

// operand reads a name or a value; nil is an attribute that does not exist.
func (e *expression) operand() types.AttributeValue {
	if !strings.HasPrefix(e.peek(), ":") {
		return e.item[e.name()]
	}
	t := e.next()
	v, ok := e.values[t]
	if !ok {
		e.fail("%q is not a value in ExpressionAttributeValues", t)
	}
	e.used[t] = true
	return v
}

// meets evaluates a condition; none is met.
func (e *expression) meets(condition *string) (bool, error) {
	if condition == nil {
		return true, nil
	}
	e.begin(*condition)
	met := e.or()
	return met, e.end(*condition)
}

func (e *expression) or() bool {
	met := e.and()
	for e.accept("OR") {
		// Both sides are read in any case.
		right := e.and()
		met = met || right
	}
	return met
}

func (e *expression) and() bool {
	met := e.term()
	for e.accept("AND") {
		right := e.term()
		met = met && right
	}
	return met
}

func (e *expression) term() bool {
	switch t := e.peek(); t {
	case "(":
		e.next()
		met := e.or()
		e.need(")")
		return met
	case "attribute_exists", "attribute_not_exists":
		e.next()
		e.need("(")
		_, exists := e.item[e.name()]
		e.need(")")
		return exists == (t == "attribute_exists")
	case "attribute_type", "begins_with":
		e.next()
		e.need("(")
		v := e.operand()
		e.need(",")
		with, ok := e.operand().(*types.AttributeValueMemberS)
		e.need(")")
		if !ok {
			e.fail("the second operand of %s is not a string", t)
			return false
		}
		if t == "attribute_type" {
			return typeOf(v) == with.Value
		}
		s, ok := v.(*types.AttributeValueMemberS)
		return ok && strings.HasPrefix(s.Value, with.Value)
	}
	return e.comparison()
}

func (e *expression) comparison() bool {
	left := e.operand()
	switch op := e.next(); op {
	case "BETWEEN":
		low := e.operand()
		e.need("AND")
		high := e.operand()
		a, ok := compare(low, left)
		b, ok2 := compare(left, high)
		return ok && ok2 && a <= 0 && b <= 0
	case "=", "<", "<=", ">", ">=":
		c, ok := compare(left, e.operand())
		return ok && (c < 0 && op[0] == '<' || c > 0 && op[0] == '>' || c == 0 && strings.HasSuffix(op, "="))
	default:
		e.fail("the operator %q is not known", op)
		return false
	}
}

// compare orders two strings or two numbers; ok is false for anything else, of
// which no comparison holds.
func compare(a, b types.AttributeValue) (c int, ok bool) {
	if s, isString := a.(*types.AttributeValueMemberS); isString {
		t, ok := b.(*types.AttributeValueMemberS)
		if !ok {
			return 0, false
		}
		return strings.Compare(s.Value, t.Value), true
	}
	if x, ok := wholeOf(a); ok {
		if y, ok := wholeOf(b); ok {
			return cmp.Compare(x, y), true
		}
	}
	x, ok := numberOf(a)
	y, ok2 := numberOf(b)
	if !ok || !ok2 {
		return 0, false
	}
	return x.Cmp(y), true
}

// update changes a copy of the item as an update expression says. parse: the
// condition is not met, so that only the grammar counts.
func (e *expression) update(next Item, text string, parse bool) error {
	e.begin(text)
	changed := map[string]bool{}
	target := func() string {
		name := e.name()
		if name == "pk" || name == "sk" {
			e.fail("%s is part of the key", name)
		}
		if changed[name] {
			e.fail("Two document paths overlap: %s", name)
		}
		changed[name] = true
		return name
	}
	if e.accept("SET") {
		for more := true; more; more = e.accept(",") {
			name := target()
			e.need("=")
			next[name] = e.sum(parse)
		}
	}
	if e.accept("REMOVE") {
		for more := true; more; more = e.accept(",") {
			delete(next, target())
		}
	}
	if len(changed) == 0 {
		e.fail("neither SET nor REMOVE")
	}
	return e.end(text)
}

// sum reads what SET writes: a value, or two with a plus between them.
func (e *expression) sum(parse bool) types.AttributeValue {
	left := e.assigned(parse)
	if !e.accept("+") {
		return left
	}
	x, ok := numberOf(left)
	y, ok2 := numberOf(e.assigned(parse))
	if ok && ok2 && x.IsInt() && y.IsInt() {
		return &types.AttributeValueMemberN{Value: new(big.Int).Add(x.Num(), y.Num()).String()}
	}
	if !parse {
		e.fail("An operand in the update expression has an incorrect data type")
	}
	return left
}

func (e *expression) assigned(parse bool) types.AttributeValue {
	switch e.peek() {
	case "if_not_exists":
		e.next()
		e.need("(")
		v := e.item[e.name()]
		e.need(",")
		other := e.assigned(parse)
		e.need(")")
		if v == nil {
			return other
		}
		return v
	case "list_append":
		e.next()
		e.need("(")
		a, ok := e.assigned(parse).(*types.AttributeValueMemberL)
		e.need(",")
		b, ok2 := e.assigned(parse).(*types.AttributeValueMemberL)
		e.need(")")
		if ok && ok2 {
			return &types.AttributeValueMemberL{Value: slices.Concat(a.Value, b.Value)}
		}
		if !parse {
			e.fail("An operand in the update expression has an incorrect data type")
		}
		return nil
	}
	isValue := strings.HasPrefix(e.peek(), ":")
	v := e.operand()
	if isValue {
		v = cloneValue(v)
	}
	if v == nil && !parse {
		e.fail("The provided expression refers to an attribute that does not exist in the item")
	}
	return v
}

var keyCondition = regexp.MustCompile(`^#pk = (:\w+)( AND #sk (BETWEEN :\w+ AND :\w+|[<>]?=? ?:\w+))?$`)

// partition returns the partition of a Query.
func (e *expression) partition(condition string) (string, error) {
	m := keyCondition.FindStringSubmatch(condition)
	if m == nil || e.names["#pk"] != "pk" || m[2] != "" && e.names["#sk"] != "sk" {
		return "", invalid("the key condition %q is not known to the DynamoDB in memory", condition)
	}
	pk, ok := e.values[m[1]].(*types.AttributeValueMemberS)
	if !ok || pk.Value == "" {
		return "", invalid("the key condition %q does not name a partition", condition)
	}
	return pk.Value, nil
}

// projection returns what leaves of an item what is asked for.
func (e *expression) projection(text string) (func(Item) Item, error) {
	if text == "" {
		return func(i Item) Item { return i }, nil
	}
	e.begin(text)
	var names []string
	for more := true; more; more = e.accept(",") {
		names = append(names, e.name())
	}
	if err := e.end(text); err != nil {
		return nil, err
	}
	return func(i Item) Item {
		maps.DeleteFunc(i, func(name string, _ types.AttributeValue) bool { return !slices.Contains(names, name) })
		return i
	}, nil
}
