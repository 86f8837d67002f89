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
		return fmt.Errorf("decode JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("decode JSON: there is data after the JSON value")
	}
	return nil
}

// Salvage decodes what can be decoded of an incident that is not valid as a
// whole. Where no instance comes out of it, the text itself becomes the event.
func Salvage(data []byte) *Incident {
	i := new(Incident)
	_ = json.Unmarshal(data, i) // goes on after a field that does not fit
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

// Clip cuts a text to at most limit bytes and the mark of the cut.
func Clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
