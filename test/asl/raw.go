package asl

import (
	"encoding/json"
	"slices"
)

// Data travels as the JSON text that the function returned. What a path names is
// found in it, so that an object of which a state reads one field is not decoded.

// Get returns what fields name, one within the other, in a JSON value, and
// whether there is such a thing.
func Get(v json.RawMessage, fields ...string) (json.RawMessage, bool) {
	return path{fields: fields}.of(v)
}

// member returns where the value of an object's field begins and ends; begin is
// below 0 where there is none. v is valid.
func member(v []byte, name string) (begin, end int) {
	if len(v) == 0 || v[0] != '{' {
		return -1, -1
	}
	for at := space(v, 1); v[at] != '}'; {
		keyEnd := text(v, at)
		key := v[at+1 : keyEnd-1]
		begin = space(v, space(v, keyEnd)+1)
		end = value(v, begin)
		if string(key) == name || isEscaped(key, name) {
			return begin, end
		}
		if at = space(v, end); v[at] == ',' {
			at = space(v, at+1)
		}
	}
	return -1, -1
}

// isEscaped reports whether a key is the name, written with escapes.
func isEscaped(key []byte, name string) bool {
	var s string
	return slices.Contains(key, '\\') && json.Unmarshal(slices.Concat([]byte{'"'}, key, []byte{'"'}), &s) == nil && s == name
}

// value returns where a value ends that begins at a byte.
func value(v []byte, at int) int {
	switch v[at] {
	case '"':
		return text(v, at)
	case '{', '[':
		for depth := 0; ; at++ {
			switch v[at] {
			case '"':
				at = text(v, at) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return at + 1
				}
			}
		}
	}
	for ; at < len(v); at++ {
		switch v[at] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return at
		}
	}
	return at
}

// text returns where a text ends that begins at a byte.
func text(v []byte, at int) int {
	for at++; v[at] != '"'; at++ {
		if v[at] == '\\' {
			at++
		}
	}
	return at + 1
}

// space returns the first byte from at on that is no white space.
func space(v []byte, at int) int {
	for v[at] == ' ' || v[at] == '\t' || v[at] == '\n' || v[at] == '\r' {
		at++
	}
	return at
}
