package guard

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/old/incident"
)

// plain is an attribute's value that can be printed and compared.
func plain(v types.AttributeValue) any {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return "S" + v.Value
	case *types.AttributeValueMemberN:
		return "N" + v.Value
	case *types.AttributeValueMemberBOOL:
		return v.Value
	case *types.AttributeValueMemberL:
		all := []any{}
		for _, e := range v.Value {
			all = append(all, plain(e))
		}
		return all
	case *types.AttributeValueMemberM:
		all := map[string]any{}
		for name, e := range v.Value {
			all[name] = plain(e)
		}
		return all
	}
	return fmt.Sprintf("%T", v)
}

// attribute reads a value as DynamoDB writes it in JSON.
func attribute(raw json.RawMessage) types.AttributeValue {
	var one map[string]json.RawMessage
	if json.Unmarshal(raw, &one) != nil || len(one) != 1 {
		return nil
	}
	for kind, value := range one {
		switch kind {
		case "S", "N":
			var s string
			if json.Unmarshal(value, &s) != nil {
				return nil
			}
			if kind == "N" {
				return &types.AttributeValueMemberN{Value: s}
			}
			return text(s)
		case "BOOL":
			var b bool
			_ = json.Unmarshal(value, &b)
			return boolean(b)
		case "NULL":
			return &types.AttributeValueMemberNULL{Value: true}
		case "B":
			return &types.AttributeValueMemberB{}
		case "L":
			var all []json.RawMessage
			_ = json.Unmarshal(value, &all)
			l := &types.AttributeValueMemberL{}
			for _, e := range all {
				l.Value = append(l.Value, attribute(e))
			}
			return l
		case "M":
			return &types.AttributeValueMemberM{Value: attributes(value)}
		}
	}
	return nil
}

func attributes(raw []byte) item {
	var all map[string]json.RawMessage
	_ = json.Unmarshal(raw, &all)
	i := item{}
	for name, value := range all {
		if v := attribute(value); v != nil {
			i[name] = v
		}
	}
	return i
}

const (
	wholeInstance = `{
		"pk": {"S": "instance#i-0c1cbf2e7abdedf75"}, "sk": {"S": "guard"}, "version": {"N": "7"}, "expiresAt": {"N": "1830000000"},
		"holder": {"S": "arn:1"}, "holderName": {"S": "one"}, "holderStartedAt": {"N": "1795341600000"}, "heldUntil": {"N": "1795352400"},
		"handledAt": {"N": "1795341600000"}, "handledBy": {"S": "arn:1"}, "handledByName": {"S": "one"}, "handledByStartedAt": {"N": "1795341600000"},
		"reboots": {"L": [{"M": {"at": {"N": "1795341600000"}, "by": {"S": "arn:0"}, "claim": {"S": "X"}, "more": {"BOOL": true}}}]},
		"baseline": {"M": {"url": {"M": {"hash": {"S": "h"}, "at": {"N": "1795341600000"}}}}},
		"pagedAt": {"N": "1795341600000"}, "pageAlias": {"S": "alias"}, "pagePager": {"S": "jsm"}, "of another version": {"NULL": true}
	}`
	wholeBrake = `{"pk": {"S": "region"}, "sk": {"S": "brake"}, "version": {"N": "3"},
		"reboots": {"L": [{"M": {"at": {"N": "1795341600000"}, "by": {"S": "arn:0"}, "instance": {"S": "i-1"}, "until": {"N": "1795342200000"}}}]},
		"suspects": {"L": [{"M": {"at": {"N": "1795341600000"}, "instance": {"S": "i-2"}}}]}, "pagedAt": {"N": "1795341600000"}, "pagedBy": {"S": "arn:0"}}`
)

func TestDecode(t *testing.T) {
	i, err := decodeInstance(guardKey(instanceID), attributes([]byte(wholeInstance)))
	if err != nil {
		t.Fatal(err)
	}
	one := incident.Execution{ID: "arn:1", Name: "one", StartedAt: at}
	same(t, i, instance{
		holder: one, heldUntil: at.Add(3 * time.Hour), handledAt: at, handledBy: one,
		reboots:  []reboot{{at: at, by: "arn:0", claim: "X"}},
		baseline: map[string]pass{"url": {"h", at}}, pagedAt: at, pageAlias: "alias", pagePager: "jsm", version: 7,
	})
	b, err := decodeBrake(attributes([]byte(wholeBrake)))
	if err != nil {
		t.Fatal(err)
	}
	same(t, b, brake{
		reboots:  []reboot{{at: at, by: "arn:0", instance: "i-1", until: at.Add(10 * time.Minute)}},
		suspects: []suspect{{at, "i-2"}}, version: 3,
	})
	// What is not there is not known.
	if i, err := decodeInstance(guardKey(instanceID), nil); err != nil || !cmp.Equal(i, instance{}, cmp.AllowUnexported(instance{})) {
		t.Errorf("%+v, %v", i, err)
	}
	if b, err := decodeBrake(nil); err != nil || b.version != 0 {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestDecodeGarbage(t *testing.T) {
	for _, tt := range []struct{ raw, want string }{
		{`{"version": {"N": "-1"}}`, `version: got "-1", want a whole number`},
		{`{"version": {"N": "1.5"}}`, `version: got "1.5"`},
		{`{"version": {"N": "99999999999999999999"}}`, `version: got "99999999999999999999"`},
		{`{"version": {"NULL": true}}`, "version: got null, want a number"},
		{`{"version": {"B": ""}}`, "version: got another type, want a number"},
		{`{"heldUntil": {"N": "1"}}`, "holder: is there without heldUntil, or that without it"},
		{`{"holder": {"S": "x"}}`, "holder: is there without heldUntil"},
		{`{"holder": {"S": ""}, "heldUntil": {"N": "1"}}`, "holder: is empty"},
		{`{"holder": {"L": []}, "heldUntil": {"N": "1"}}`, "holder: got a list, want a text"},
		{`{"holder": {"S": "x"}, "heldUntil": {"N": "253402300800"}}`, "heldUntil: 253402300800 is no time of ours"},
		{`{"holder": {"S": "x"}, "heldUntil": {"S": "1"}}`, "heldUntil: got a text, want a number"},
		{`{"handledBy": {"S": "x"}}`, "handledBy: is there without handledAt"},
		{`{"reboots": {"M": {}}}`, "reboots: got a map, want a list"},
		{`{"reboots": {"L": [{"S": "x"}]}}`, "reboots[0]: got a text, want a map"},
		{`{"reboots": {"L": [{"M": {"at": {"N": "1"}, "by": {"S": "x"}}}, {"M": {"at": {"N": "1"}}}]}}`, "reboots[1].by: missing"},
		{`{"reboots": {"L": [{"M": {"by": {"S": "x"}}}]}}`, "reboots[0].at: missing"},
		{`{"reboots": {"L": [{"M": {"at": {"BOOL": true}, "by": {"S": "x"}}}]}}`, "reboots[0].at: got true or false, want a number"},
		{`{"baseline": {"L": []}}`, "baseline: got a list, want a map"},
		{`{"baseline": {"M": {"url": {"S": "h"}}}}`, "baseline.url: got a text, want a map"},
		{`{"baseline": {"M": {"url": {"M": {"hash": {"N": "1"}}}}}}`, "baseline.url.at: missing\nbaseline.url.hash: got a number, want a text"},
	} {
		_, err := decodeInstance(guardKey(instanceID), attributes([]byte(tt.raw)))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "instance#"+instanceID+"/guard cannot be read, put it right or delete it") {
			t.Errorf("%s: got %v, want %q", tt.raw, err, tt.want)
		}
	}
	for _, tt := range []struct{ raw, want string }{
		{`{"reboots": {"L": [{"M": {"at": {"N": "1"}, "by": {"S": "x"}}}]}}`, "reboots[0].instance: missing\nreboots[0].until: missing"},
		{`{"suspects": {"S": ""}}`, "suspects: got a text, want a list"},
		{`{"suspects": {"L": [{"M": {}}]}}`, "suspects[0].at: missing\nsuspects[0].instance: missing"},
	} {
		if _, err := decodeBrake(attributes([]byte(tt.raw))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.raw, err, tt.want)
		}
	}
}

func TestTimesThatNoItemHolds(t *testing.T) {
	for _, tt := range []struct {
		in              time.Time
		millis, seconds string
	}{
		{time.Time{}, "0", "0"},
		{time.Unix(-1, 0), "0", "0"},
		{time.Unix(1, 1), "1000", "2"}, // nothing ends before its time
		{time.Unix(1, 1_000_000), "1001", "2"},
		{time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC), "253402300799000", "253402300799"},
	} {
		m, s := plain(millis(tt.in)), plain(seconds(tt.in))
		if m != "N"+tt.millis || s != "N"+tt.seconds {
			t.Errorf("%s: got %s, %s; want %s, %s", tt.in, m, s, tt.millis, tt.seconds)
		}
		d := decoder{in: item{"m": millis(tt.in), "s": seconds(tt.in)}}
		if d.millis("m"); len(d.errs) > 0 {
			t.Error(d.errs)
		}
		if d.seconds("s"); len(d.errs) > 0 {
			t.Error(d.errs)
		}
	}
}

// Whatever an item holds, it is read whole or refused: what was read is written
// and read again the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(wholeInstance))
	f.Add([]byte(wholeBrake))
	f.Add([]byte(`{"until": {"N": "1795341600"}, "id": {"S": "x"}, "incident": {"S": "{}"}, "end": {"S": "open"}, "startedAt": {"S": "2026-11-22T10:00:00Z"}}`))
	f.Add([]byte(`{"reboots": {"L": [{"M": {}}, null]}, "baseline": {"M": {"": {"M": {}}}}, "version": {"N": "1e3"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := attributes(raw)
		if i, err := decodeInstance(guardKey(instanceID), in); err == nil {
			if i.version < 0 || i.leased(at) && i.holder.ID == "" {
				t.Fatalf("%+v", i)
			}
			again, err := decodeInstance(guardKey(instanceID), item{"reboots": encodeReboots(i.reboots), "baseline": encodeBaseline(i.baseline)})
			if err != nil {
				t.Fatal(err)
			}
			if len(again.reboots) != len(i.reboots) || len(again.baseline) != len(i.baseline) {
				t.Fatalf("got %+v, was %+v", again, i)
			}
			for n, r := range i.reboots {
				// The brake's attributes are not read of an instance's.
				if got := again.reboots[n]; !got.at.Equal(r.at) || got.by != r.by || got.claim != r.claim {
					t.Fatalf("got %+v, was %+v", got, r)
				}
			}
		}
		if b, err := decodeBrake(in); err == nil {
			again, err := decodeBrake(item{"reboots": encodeReboots(b.reboots), "suspects": encodeSuspects(b.suspects)})
			if err != nil || !slices.Equal(again.suspects, b.suspects) || len(again.reboots) != len(b.reboots) {
				t.Fatalf("got %+v, was %+v: %v", again, b, err)
			}
			_ = b.refuses(instanceID, limits, at)
			if n := len(b.recentSuspects(at)); n > len(b.suspects) {
				t.Fatalf("%d suspects of %d", n, len(b.suspects))
			}
		}
		if p, err := decodePause(in, at); err == nil && p != nil && !p.Until.After(at) {
			t.Fatalf("%+v", p)
		}
		if r, err := decodeRecord(in, at); err == nil && r.Incident == nil {
			t.Fatalf("%+v", r)
		}
		_, _ = decodeEvidence(key{}, in)
	})
}
