package incident

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// DecodeStrict decodes one JSON value into v and refuses unknown fields and
// anything after the value. The error names the field.
func DecodeStrict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return explain(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is data after the JSON value: send one value only")
	}
	return nil
}

// explain puts encoding/json's errors into an operator's words.
func explain(err error) error {
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && te.Field != "" {
		return fmt.Errorf("%s: got a JSON %s, want %s", te.Field, te.Value, te.Type)
	}
	if se, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("not JSON: %w at byte %d", se, se.Offset)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not JSON: it ends too early")
	}
	// encoding/json has no type for this one.
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("unknown field %s: remove it or correct its spelling", field)
	}
	return err
}

// Salvage decodes what can be decoded of an incident that is not valid as a
// whole. Where no instance comes out of it, the text itself becomes the event.
func Salvage(data []byte) *Incident {
	i := new(Incident)
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err == nil {
		for name, value := range all {
			if one, err := json.Marshal(map[string]json.RawMessage{name: value}); err == nil {
				// A field that does not decode, in part or as a whole, stays empty.
				next := *i
				if err := json.Unmarshal(one, &next); err == nil {
					*i = next
				}
			}
		}
	}
	if i.InstanceID == "" && i.Event == nil {
		i.Event = data
	}
	return i
}

// SourceOf returns the source of an EventBridge event, or "" where there is
// none. The field's name must be exactly "source": encoding/json would take
// "Source" for it, and whether an incident is dry is not to depend on that.
func SourceOf(event json.RawMessage) string {
	var fields map[string]json.RawMessage
	var source string
	if json.Unmarshal(event, &fields) != nil || json.Unmarshal(fields["source"], &source) != nil {
		return ""
	}
	return source
}

// maxCause bounds what an incident keeps of an error's cause, in bytes. The
// function's own messages are shorter.
const maxCause = 3000

// MarshalJSON encodes an error with a cause that is not too long to keep.
func (c Caught) MarshalJSON() ([]byte, error) {
	type plain Caught
	c.Cause = Clip(c.Cause, maxCause)
	return json.Marshal(plain(c))
}

// Clip cuts a text to at most limit bytes and the mark of the cut.
func Clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// ParseSettings decodes settings as Terraform writes them, over the defaults, and
// checks them. It refuses unknown fields.
func ParseSettings(data []byte) (*Settings, error) {
	if bytes.Contains(data, []byte("null")) {
		// encoding/json takes null for "leave it as it is".
		sections := map[string]json.RawMessage{}
		if json.Unmarshal(data, &sections) == nil && sections == nil {
			return nil, errors.New("settings: got null, want an object")
		}
		for name, value := range sections {
			if string(value) == "null" {
				return nil, fmt.Errorf("settings: %s: got null, want an object", name)
			}
		}
	}
	s := new(DefaultSettings())
	if err := DecodeStrict(data, s); err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	return s, s.Validate()
}
