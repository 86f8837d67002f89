package localaws

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"

	"github.com/aws/smithy-go/encoding/cbor"
)

// The SDK for Go speaks to CloudWatch in CBOR, which moto does not: the gateway
// translates to JSON and back.

// cborToJSON decodes a request.
func cborToJSON(body []byte) (map[string]any, error) {
	if len(body) == 0 {
		return map[string]any{}, nil
	}
	v, err := cbor.Decode(body)
	if err != nil {
		return nil, err
	}
	object, ok := plainValue(v).(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a request is a map, and this is %T", v)
	}
	return object, nil
}

// plainValue is a CBOR value as encoding/json decodes it; moments become
// seconds since 1970, as in AWS's JSON.
func plainValue(v cbor.Value) any {
	switch v := v.(type) {
	case cbor.Uint:
		return float64(v)
	case cbor.NegInt:
		return -float64(v)
	case cbor.Float32:
		return float64(v)
	case cbor.Float64:
		return float64(v)
	case cbor.String:
		return string(v)
	case cbor.Slice:
		return base64.StdEncoding.EncodeToString(v)
	case cbor.Bool:
		return bool(v)
	case *cbor.Tag:
		return plainValue(v.Value)
	case cbor.List:
		list := make([]any, len(v))
		for i, element := range v {
			list[i] = plainValue(element)
		}
		return list
	case cbor.Map:
		object := map[string]any{}
		for name, value := range v {
			object[name] = plainValue(value)
		}
		return object
	}
	return nil
}

// cborResponse translates moto's answer.
func cborResponse(resp *response) *response {
	var answer any = map[string]any{}
	if len(bytes.TrimSpace(resp.body)) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(resp.body))
		decoder.UseNumber()
		if err := decoder.Decode(&answer); err != nil {
			answer = map[string]any{"__type": "InternalFailure", "message": string(resp.body)}
		}
	}
	resp.header.Set("Content-Type", "application/cbor")
	resp.header.Set("Smithy-Protocol", "rpc-v2-cbor")
	resp.header.Del("Content-Length")
	resp.body = cbor.Encode(cborValue("", answer))
	return resp
}

// cborValue encodes a value of a field. JSON has no moments: a number in a
// field whose name says so is one.
func cborValue(field string, v any) cbor.Value {
	switch v := v.(type) {
	case string:
		return cbor.String(v)
	case bool:
		return cbor.Bool(v)
	case json.Number:
		number, err := v.Float64()
		if err != nil {
			return &cbor.Nil{}
		}
		if strings.HasSuffix(field, "Timestamp") || strings.HasSuffix(field, "Timestamps") || strings.HasSuffix(field, "Time") {
			return &cbor.Tag{ID: 1, Value: cbor.Float64(number)}
		}
		switch {
		case strings.ContainsAny(v.String(), ".eE") || math.Abs(number) >= 1<<53:
			return cbor.Float64(number)
		case number < 0:
			return cbor.NegInt(-number)
		}
		return cbor.Uint(number)
	case []any:
		list := make(cbor.List, len(v))
		for i, element := range v {
			list[i] = cborValue(field, element)
		}
		return list
	case map[string]any:
		object := cbor.Map{}
		for name, value := range v {
			if value != nil {
				object[name] = cborValue(name, value)
			}
		}
		return object
	}
	return &cbor.Nil{}
}

// forwardCBOR makes a request of moto's that it understands.
func forwardCBOR(req *http.Request, q *request) error {
	body, err := json.Marshal(q.json)
	if err != nil {
		return err
	}
	req.URL.Path, req.URL.RawPath = "/", ""
	req.Header.Del("Smithy-Protocol")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", q.path[1]+"."+q.action)
	setBody(req, body)
	return nil
}
