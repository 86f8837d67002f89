// Package fault gives an error one of the four kinds that the state machine
// can tell apart.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Kind is the name under which an error leaves the function. The state
// machine's Retry and Catch match on it.
type Kind string

const (
	// InvalidInput says that what was asked can't be right: a malformed
	// payload, wrong settings, an instance that does not exist. No retry.
	InvalidInput Kind = "InvalidInput"
	// Denied says that AWS, Slack or the pager refused our identity. No retry.
	Denied Kind = "Denied"
	// Unavailable says that the other side, our way to it, or our own time
	// failed us: worth a retry.
	Unavailable Kind = "Unavailable"
	// Internal says that the function itself is at fault.
	Internal Kind = "Internal"
)

// Error is an error with a kind and the operation that it ended.
type Error struct {
	Kind Kind
	// Op names the operation and its object, "read settings of i-0abc".
	Op  string
	Err error
}

// Error returns "operation: cause".
func (e *Error) Error() string {
	if e.Op == "" {
		return e.Err.Error()
	}
	return e.Op + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of a kind with a formatted cause (%w works).
func New(kind Kind, op, format string, args ...any) error {
	return &Error{Kind: kind, Op: op, Err: fmt.Errorf(format, args...)}
}

// KindOf returns the kind of the outermost Error in err's chain; Unavailable
// for an ended context, else Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Unavailable
	}
	return Internal
}

// deniedCodes are the error codes with which AWS services refuse an identity.
// The codes are those of the common errors of each service's API reference.
var deniedCodes = map[string]bool{
	"AccessDenied":                true,
	"AccessDeniedException":       true,
	"AuthFailure":                 true,
	"AuthorizationError":          true, // of SNS
	"ExpiredToken":                true,
	"ExpiredTokenException":       true,
	"IncompleteSignature":         true,
	"InvalidClientTokenId":        true,
	"InvalidSignatureException":   true,
	"MissingAuthenticationToken":  true,
	"OptInRequired":               true,
	"SignatureDoesNotMatch":       true,
	"UnauthorizedOperation":       true,
	"UnrecognizedClientException": true,
	"KMSAccessDenied":             true, // of SNS
	"KMSAccessDeniedException":    true,
}

// busyCodes are the error codes with which DynamoDB says that another call is at
// the same item, that the same one is under way already, and that a transaction
// was not carried out
// (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/CommonErrors.html).
var busyCodes = map[string]bool{
	"TransactionCanceledException":   true,
	"TransactionConflictException":   true,
	"TransactionInProgressException": true,
}

// AWS gives an error of an AWS call its kind: refused identities are Denied,
// throttling, server faults, conflicts with other calls and lost connections are
// Unavailable, any other refusal is InvalidInput.
func AWS(op string, err error) error {
	if err == nil {
		return nil
	}
	// Without an answer the request did not get through, or the answer got lost.
	kind := Unavailable
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		switch code := api.ErrorCode(); {
		case deniedCodes[code]:
			kind = Denied
		case !Throttled(err) && !ServerFault(err) && !busyCodes[code]:
			kind = InvalidInput
		}
	}
	return &Error{Kind: kind, Op: op, Err: err}
}

// Throttled reports whether AWS refused a call for its rate. Such a call was
// not carried out.
func Throttled(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	code := api.ErrorCode()
	return strings.Contains(code, "Throttl") || code == "RequestLimitExceeded" ||
		code == "TooManyRequestsException" || code == "PriorRequestNotComplete" ||
		code == "ProvisionedThroughputExceededException" ||
		code == "SlowDown" || status(err) == http.StatusTooManyRequests
}

// ServerFault reports whether AWS answered with a fault of its own (5xx).
// Whether such a call was carried out is unknown.
func ServerFault(err error) bool {
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorFault() == smithy.FaultServer {
		return true
	}
	return status(err) >= http.StatusInternalServerError
}

func status(err error) int {
	if re, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return re.HTTPStatusCode()
	}
	return 0
}

// IsTimeout reports whether err is a time-out of the network or of a context.
func IsTimeout(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}
