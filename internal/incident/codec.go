package incident

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"strings"
	"sync"
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
		return fmt.Errorf("unknown field %s: remove it or mend its spelling", field)
	}
	return err
}

// known are the JSON names of the incident's own fields.
var known = sync.OnceValue(func() map[string]bool {
	names := map[string]bool{}
	for f := range reflect.TypeFor[Incident]().Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names[name] = true
		}
	}
	return names
})

// UnmarshalJSON decodes an incident. Fields that this version does not know
// are kept and written again, since another version may have put them there;
// the settings are decoded strictly.
func (i *Incident) UnmarshalJSON(data []byte) error {
	type plain Incident
	var p plain
	if err := json.Unmarshal(data, &p); err != nil {
		return explain(err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return explain(err)
	}
	maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return known()[name] })
	if len(all) > 0 {
		p.extra = all
	}
	*i = Incident(p)
	return nil
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
				type plain Incident
				next := plain(*i)
				if err := json.Unmarshal(one, &next); err == nil {
					*i = Incident(next)
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

// MarshalJSON encodes the incident with the fields that it carries along.
func (i Incident) MarshalJSON() ([]byte, error) {
	type plain Incident
	own, err := json.Marshal(plain(i))
	if err != nil || len(i.extra) == 0 {
		return own, err
	}
	extra, err := json.Marshal(i.extra)
	if err != nil {
		return nil, err
	}
	// Two objects with no common name become one.
	own[len(own)-1] = ','
	return append(own, extra[1:]...), nil
}

// UnmarshalJSON decodes settings over the defaults and refuses unknown fields.
func (s *Settings) UnmarshalJSON(data []byte) error {
	type plain Settings
	p := plain(DefaultSettings())
	var sections map[string]json.RawMessage
	if err := json.Unmarshal(data, &sections); err == nil {
		// encoding/json takes null for "leave it as it is".
		if sections == nil {
			return errors.New("settings: got null, want an object")
		}
		for name, value := range sections {
			if string(value) == "null" {
				return fmt.Errorf("settings: %s: got null, want an object", name)
			}
		}
	}
	if err := DecodeStrict(data, &p); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	*s = Settings(p)
	return nil
}
