package localaws

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxCalls bounds what Calls remembers.
const maxCalls = 200_000

// Calls lists every call that the gateway saw and answered, in the order they
// came in; of very many, the latest.
func (a *AWS) Calls() []Call {
	a.mu.Lock()
	calls := slices.Clone(a.calls)
	a.mu.Unlock()
	slices.SortStableFunc(calls, func(x, y Call) int { return x.Time.Compare(y.Time) })
	return calls
}

func (a *AWS) record(c Call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.calls) >= maxCalls {
		a.calls = slices.Delete(a.calls, 0, maxCalls/2)
	}
	a.calls = append(a.calls, c)
}

// keyOf is the access key of a role or service, which tells its calls apart.
func (a *AWS) keyOf(role string) string {
	sum := sha256.Sum256([]byte(role))
	key := "ASIA" + base32.StdEncoding.EncodeToString(sum[:10])
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roles[key] = role
	return key
}

// caller is the role or service that made a call, or empty.
func (a *AWS) caller(q *request) string {
	if q.key == engineKey {
		return q.token
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.roles[q.key]
}

// ServeHTTP is the gateway: every call to the local AWS comes in here.
func (a *AWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !a.begin() {
		drop(w)
		return
	}
	defer a.work.Done()
	at := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	q := parseRequest(r, body)
	if strings.HasPrefix(r.URL.Path, "/moto-api") || r.URL.Path == "/favicon.ico" {
		write(w, r, a.forward(q))
		return
	}
	role := a.caller(q)
	calls, resp := a.authorize(r.Context(), q, role)
	if resp == nil {
		resp = a.answer(r.Context(), q, role)
	}
	for _, c := range calls {
		c.Time, c.Status = at, resp.status
		a.record(c)
	}
	write(w, r, resp)
}

// answer answers a call, or breaks it where a fault is set.
func (a *AWS) answer(ctx context.Context, q *request, role string) *response {
	if fault := a.faults.take(q); fault != nil {
		if resp := fault.refuse(a.ctx, q); resp != nil {
			return resp
		}
	}
	// What was begun is finished, whether or not the caller still waits.
	ctx = context.WithoutCancel(ctx)
	if q.malformed != nil {
		return q.refuse(http.StatusBadRequest, "SerializationException", q.malformed.Error())
	}
	if resp := q.refused(); resp != nil {
		return resp
	}
	switch q.signed + ":" + q.action {
	case "lambda:Invoke":
		return a.functions.answer(ctx, q)
	case "lambda:GetAccountSettings":
		return accountSettings()
	case "states:ValidateStateMachineDefinition":
		return validateDefinition(q)
	case "states:ListStateMachineVersions":
		return answerJSON(http.StatusOK, map[string]any{"stateMachineVersions": []any{}})
	case "route53:GetHealthCheckStatus":
		return a.healthCheckStatus(ctx, q)
	case "events:PutEvents":
		return a.putEvents(ctx, q)
	case "events:TestEventPattern":
		return testEventPattern(q)
	case "monitoring:SetAlarmState":
		return a.setAlarmState(ctx, q)
	case "ec2:RebootInstances":
		if resp := dryRun(q); resp != nil {
			return resp
		}
	}
	switch q.signed {
	case "dynamodb":
		return a.tables.answer(q, a.forward)
	case "states":
		if resp := a.deleting(ctx, q); resp != nil {
			return resp
		}
	}
	switch {
	case q.is("states", "StartExecution"):
		// moto looks whether the name is taken, and takes it later.
		defer a.starts.lock(q.region)()
	}
	resp := a.forward(q)
	if resp.status/100 != 2 {
		return resp
	}
	switch {
	case q.is("ec2", "DescribeInstances"):
		resp.body = a.rewriteInstances(resp.body)
	case q.is("ec2", "DescribeInstanceCreditSpecifications"):
		resp.body = a.rewriteCredits(resp.body)
	case q.is("ec2", "GetConsoleOutput"):
		resp.body = a.rewriteConsole(resp.body)
	case q.is("ec2", "RebootInstances"):
		a.rebooted(q, role)
	case q.signed == "lambda":
		a.functions.watch(ctx, q, resp)
	case q.is("sns", "Publish"):
		a.keepPublished(q, role)
	case q.is("sns", "ListSubscriptionsByTopic"):
		resp.body = a.rewriteSubscriptions(resp.body)
	}
	return resp
}

// hopHeaders concern one connection only.
var hopHeaders = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// forward has moto answer.
func (a *AWS) forward(q *request) *response {
	m := a.moto
	if q.signed == "states" {
		m = a.engine
	}
	//nolint:gosec // the host is moto's
	req, err := http.NewRequestWithContext(a.ctx, q.http.Method, m.base+q.http.URL.RequestURI(), bytes.NewReader(q.body))
	if err != nil {
		return q.refuse(http.StatusBadRequest, "InvalidRequest", err.Error())
	}
	req.Header = q.http.Header.Clone()
	for _, name := range append(hopHeaders, "Expect", "Accept-Encoding") {
		req.Header.Del(name)
	}
	// moto makes addresses (of queues, say) from the host: they are to lead here.
	req.Host = q.http.Host
	if q.cbor {
		if err := forwardCBOR(req, q); err != nil {
			return q.refuse(http.StatusBadRequest, "SerializationException", err.Error())
		}
	}
	resp, err := m.do(req)
	if err != nil {
		return q.refuse(http.StatusServiceUnavailable, "ServiceUnavailable", "moto does not answer: "+err.Error())
	}
	for _, name := range hopHeaders {
		resp.header.Del(name)
	}
	if q.cbor {
		return cborResponse(resp)
	}
	return resp
}

func setBody(req *http.Request, body []byte) {
	req.Header.Del("Content-Length")
	req.ContentLength = int64(len(body))
	req.Body = io.NopCloser(bytes.NewReader(body))
}

// asRole calls this local AWS in the name of a role or service, as services do
// for their customers.
func (a *AWS) asRole(ctx context.Context, role, service, action, region string, in, out any) error {
	if err := callJSON(ctx, a.moto.do, a.endpoint, a.keyOf(role), service, action, region, in, out); err != nil {
		return fmt.Errorf("as %s: %w", role, err)
	}
	return nil
}

func write(w http.ResponseWriter, r *http.Request, resp *response) {
	maps.Copy(w.Header(), resp.header)
	if r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(resp.body)))
	}
	w.WriteHeader(resp.status)
	_, _ = w.Write(resp.body) //nolint:gosec // moto's answer, to an SDK
}

// drop closes the connection without an answer.
func drop(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			_ = conn.Close()
			return
		}
	}
	panic(http.ErrAbortHandler)
}
