package checks

import (
	"errors"
	"fmt"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// cause is why an attempt did not pass. It is an error so that it comes through
// net/http and crypto/ssh unchanged.
type cause struct {
	outcome incident.Outcome // Failed or Unknown
	kind    incident.Kind    // of Unknown
	text    string
	// connection says how far the attempt got before a byte came.
	connection incident.Connection
	// unreached: the attempt timed out before any connection to a public address
	// stood. A dead machine looks like that, and so does our own broken network.
	unreached bool
	// final: asking again within this look changes nothing.
	final bool
	// renew reads a credential again that may be out of date, within a time of its
	// own; its refusal says nothing about the target.
	renew func() *cause
	err   error
}

func (c *cause) Error() string { return c.text }

func (c *cause) Unwrap() error { return c.err }

// failed says that the target is at fault and a reboot may cure it.
func failed(connection incident.Connection, format string, args ...any) *cause {
	return &cause{outcome: incident.Failed, connection: connection, text: fmt.Sprintf(format, args...)}
}

// attention says that a person has to act.
func attention(format string, args ...any) *cause {
	return &cause{outcome: incident.Unknown, kind: incident.Attention, text: fmt.Sprintf(format, args...)}
}

// wrong is a final attention: names, certificates, settings.
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

// ours is a final blind: what our client does not do.
func ours(format string, args ...any) *cause {
	c := blind(format, args...)
	c.final = true
	return c
}

// unaided says that a call to AWS failed: attention where AWS does not know what
// was asked for, else blind. The SDK has retried already, so it is final.
func unaided(what string, err error) *cause {
	if _, ok := errors.AsType[*fault.Error](err); !ok {
		err = fault.AWS("", err)
	}
	if fault.KindOf(err) == fault.InvalidInput {
		return wrong("%s: %s", what, err)
	}
	return ours("%s: %s", what, err)
}

// causeOf returns the cause in an error's chain. Whatever else an attempt ends
// with is not known to be the target's doing.
func causeOf(err error) *cause {
	if c, ok := errors.AsType[*cause](err); ok {
		return c
	}
	return blind("%s", clip(err.Error()))
}
