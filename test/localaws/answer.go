package localaws

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// newID is a random UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// apiError is a refusal.
type apiError struct {
	status        int
	code, message string
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%d): %s", e.code, e.status, e.message) }

// readError reads a refusal in JSON or XML.
func readError(resp *response) *apiError {
	e := &apiError{status: resp.status, code: "Unknown", message: string(bytes.TrimSpace(resp.body))}
	var js struct {
		Type     string `json:"__type"`
		Message  string `json:"message"`
		Message2 string `json:"Message"`
	}
	if json.Unmarshal(resp.body, &js) == nil {
		if js.Type == "" {
			js.Type = resp.header.Get("X-Amzn-Errortype")
		}
		e.code = js.Type[strings.LastIndex(js.Type, "#")+1:]
		e.message = js.Message + js.Message2
		if js.Message == js.Message2 {
			e.message = js.Message
		}
		return e
	}
	if root, err := readXML(resp.body); err == nil {
		for _, n := range []*node{root.at("Error"), root.at("Errors").at("Error")} {
			if code := n.text("Code"); code != "" {
				e.code, e.message = code, n.text("Message")
			}
		}
	}
	return e
}

// answerJSON is an answer in JSON.
func answerJSON(status int, v any) *response {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"message":"`+strconv.Quote(err.Error())+`"}`)
	}
	return &response{
		status: status,
		header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amzn-Requestid": {newID()}},
		body:   body,
	}
}

// refuse answers with an error, in the way of the protocol that was spoken.
func (q *request) refuse(status int, code, message string) *response {
	resp := &response{status: status, header: http.Header{"X-Amzn-Requestid": {newID()}}}
	switch {
	case q.cbor:
		resp.body, _ = json.Marshal(map[string]string{"__type": code, "message": message})
		return cborResponse(resp)
	case q.http.Header.Get("X-Amz-Target") != "" || q.signed == "lambda" || q.signed == "xray":
		resp.header.Set("Content-Type", "application/x-amz-json-1.0")
		resp.header.Set("X-Amzn-Errortype", code)
		resp.body, _ = json.Marshal(map[string]string{"__type": code, "message": message})
	case q.signed == "ec2":
		resp.header.Set("Content-Type", "text/xml")
		resp.body = fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+
			`<Response><Errors><Error><Code>%s</Code><Message>%s</Message></Error></Errors><RequestID>%s</RequestID></Response>`,
			escapeXML(code), escapeXML(message), newID())
	case q.signed == "s3":
		resp.header.Set("Content-Type", "application/xml")
		resp.body = fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+
			`<Error><Code>%s</Code><Message>%s</Message><RequestId>%s</RequestId></Error>`,
			escapeXML(code), escapeXML(message), newID())
	default:
		resp.header.Set("Content-Type", "text/xml")
		resp.body = fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+
			`<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>`,
			escapeXML(code), escapeXML(message), newID())
	}
	return resp
}

func escapeXML(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}
