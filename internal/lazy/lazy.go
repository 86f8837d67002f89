// Package lazy makes what a program may need when it is first needed. The function
// is cold most of the time, and each of its steps needs little.
package lazy

import (
	"regexp"
	"sync"
)

// Regexp returns what compiles a regular expression once, at its first call. It
// panics there if the expression is malformed, as regexp.MustCompile does.
func Regexp(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
