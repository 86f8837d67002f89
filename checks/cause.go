package checks

import (
	"errors"
	"fmt"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// cause is why an attempt did not pass. It is an error so that it comes through
// net/http and crypto/ssh unchanged, from where it is known to where it counts.
type cause struct {
	outcome incident.Outcome // Failed or Unknown
	kind    incident.Kind    // of Unknown
	text    string
	// connection says how far the attempt got before a byte came.
	connection incident.Connection
	// unreached: the attempt ran out of time before any connection to a public
	// address stood. A dead machine looks like that, and so does our own broken
	// connectivity.
	unreached bool
	// final: asking again within this look changes nothing.
	final bool
	// renew gets the current value of a credential that may be out of date; its
	// refusal says nothing about the target. It bounds its time itself.
	renew func() error
	err   error
}

func (c *cause) Error() string { return c.text }

func (c *cause) Unwrap() error { return c.err }

// prefixed returns the cause with words before its text.
func (c *cause) prefixed(words string) *cause {
	p := *c
	p.text = words + p.text
	return &p
}

// failed says that the target is at fault and a reboot may cure it.
func failed(connection incident.Connection, format string, args ...any) *cause {
	return &cause{outcome: incident.Failed, connection: connection, text: fmt.Sprintf(format, args...)}
}

// attention says that a person has to act.
func attention(format string, args ...any) *cause {
	return &cause{outcome: incident.Unknown, kind: incident.Attention, text: fmt.Sprintf(format, args...)}
}

// wrong is attention for what stays as it is however often it is asked: names,
// certificates, settings.
func wrong(format string, args ...any) *cause {
	c := attention(format, args...)
	c.final = true
	return c
}

// busy says that the target is alive and rejects the connection.
func busy(format string, args ...any) *cause {
	return &cause{outcome: incident.Unknown, kind: incident.Busy, text: fmt.Sprintf(format, args...)}
}

// blind says that the fault is ours or an AWS API's.
func blind(format string, args ...any) *cause {
	return &cause{outcome: incident.Unknown, kind: incident.Blind, text: fmt.Sprintf(format, args...)}
}

// ours is blind for what stays as it is however often it is asked: what our
// client does not do.
func ours(format string, args ...any) *cause {
	c := blind(format, args...)
	c.final = true
	return c
}

// unaided is blind for a call to AWS, or to a function of the caller's, that
// failed; it is attention where AWS does not know what was asked for. The SDK
// has retried already, so it is final.
func unaided(what string, err error) *cause {
	if _, ok := errors.AsType[*fault.Error](err); !ok {
		err = fault.AWS("", err)
	}
	c := blind("%s: %s", what, err)
	if fault.KindOf(err) == fault.InvalidInput {
		c = attention("%s: %s", what, err)
	}
	c.final, c.err = true, err
	return c
}

// causeOf returns the cause in an error's chain. Whatever else an attempt ends
// with is not known to be the target's doing.
func causeOf(err error) *cause {
	if c, ok := errors.AsType[*cause](err); ok {
		return c
	}
	return blind("%s", clip(err.Error()))
}
