package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

func api(code string) error { return &smithy.GenericAPIError{Code: code, Message: "says AWS"} }

// answered is an error as the SDK returns it: around the service's own.
func answered(status int, err error) error {
	return &smithy.OperationError{ServiceID: "EC2", OperationName: "DescribeInstances", Err: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}},
		Err:      err,
	}}
}

func TestAWS(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want Kind
	}{
		{"denied", api("AccessDeniedException"), Denied},
		{"denied by EC2", answered(http.StatusForbidden, api("UnauthorizedOperation")), Denied},
		{"expired token", api("ExpiredToken"), Denied},
		{"throttled", api("Throttling"), Unavailable},
		{"throttled, the other name", api("ThrottlingException"), Unavailable},
		{"throttled by EC2", api("RequestLimitExceeded"), Unavailable},
		{"throttled by status", answered(http.StatusTooManyRequests, api("Whatever")), Unavailable},
		{"throttled by DynamoDB", api("ProvisionedThroughputExceededException"), Unavailable},
		{"another transaction", api("TransactionConflictException"), Unavailable},
		{"the same transaction", api("TransactionInProgressException"), Unavailable},
		{"a condition that is not met", api("ConditionalCheckFailedException"), InvalidInput},
		{"Route 53 is busy", api("PriorRequestNotComplete"), Unavailable},
		{"server's fault by status", answered(http.StatusServiceUnavailable, api("Unavailable")), Unavailable},
		{"server's fault by class", &smithy.GenericAPIError{Code: "InternalError", Fault: smithy.FaultServer}, Unavailable},
		{"no such instance", answered(http.StatusBadRequest, api("InvalidInstanceID.NotFound")), InvalidInput},
		{"connection lost", &smithy.OperationError{Err: io.ErrUnexpectedEOF}, Unavailable},
		{"out of time", context.DeadlineExceeded, Unavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := AWS("describe i-0abc", tc.err)
			if got := KindOf(err); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if !errors.Is(err, tc.err) {
				t.Error("the cause is lost")
			}
			if got, want := err.Error(), "describe i-0abc: "+tc.err.Error(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	if err := AWS("describe i-0abc", nil); err != nil {
		t.Errorf("got %v for no error", err)
	}
}

func TestKindOf(t *testing.T) {
	inner := New(Denied, "read", "no")
	for _, tc := range []struct {
		name string
		err  error
		want Kind
	}{
		{"plain", errors.New("x"), Internal},
		{"ended", fmt.Errorf("x: %w", context.DeadlineExceeded), Unavailable},
		{"cancelled", context.Canceled, Unavailable},
		{"wrapped", fmt.Errorf("x: %w", inner), Denied},
		{"the outermost counts", New(Unavailable, "ask", "x: %w", inner), Unavailable},
		{"a kind beats a context", New(InvalidInput, "ask", "x: %w", context.Canceled), InvalidInput},
		{"joined", errors.Join(errors.New("x"), inner), Denied},
	} {
		if got := KindOf(tc.err); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestError(t *testing.T) {
	cause := errors.New("cause")
	err := New(InvalidInput, "", "bad: %w", cause)
	if err.Error() != "bad: cause" || !errors.Is(err, cause) {
		t.Errorf("got %q", err)
	}
}

func TestThrottledAndServerFault(t *testing.T) {
	for _, tc := range []struct {
		name                   string
		err                    error
		throttled, serverFault bool
	}{
		{"throttled", api("RequestThrottled"), true, false},
		{"slow down", api("SlowDown"), true, false},
		{"capacity", api("ProvisionedThroughputExceededException"), true, false},
		{"conflict", api("TransactionConflictException"), false, false},
		{"server", answered(http.StatusInternalServerError, api("InternalError")), false, true},
		{"server without a code", answered(http.StatusBadGateway, errors.New("no body")), false, true},
		{"client", answered(http.StatusBadRequest, api("InvalidInput")), false, false},
		{"no answer", io.EOF, false, false},
		{"none", nil, false, false},
	} {
		if got := Throttled(tc.err); got != tc.throttled {
			t.Errorf("%s: throttled %t", tc.name, got)
		}
		if got := ServerFault(tc.err); got != tc.serverFault {
			t.Errorf("%s: server's fault %t", tc.name, got)
		}
	}
}

func TestIsTimeout(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want bool
	}{
		{"context", fmt.Errorf("x: %w", context.DeadlineExceeded), true},
		{"deadline", fmt.Errorf("x: %w", os.ErrDeadlineExceeded), true},
		{"TCP", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ETIMEDOUT)}, true},
		{"name server", &net.DNSError{IsTimeout: true}, true},
		{"refused", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, false},
		{"cancelled", context.Canceled, false},
		{"plain", io.EOF, false},
		{"none", nil, false},
	} {
		if got := IsTimeout(tc.err); got != tc.want {
			t.Errorf("%s: got %t, want %t", tc.name, got, tc.want)
		}
	}
}
