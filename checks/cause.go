package checks

import (
	"errors"
	"fmt"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

// cause is why an attempt did not pass. It is an error so that it comes through
// net/http unchanged.
type cause struct {
	outcome incident.Outcome // Failed or Unknown
	kind    incident.Kind    // of Unknown
	text    string
	// connection says how far the attempt got before a byte came.
	connection incident.Connection
	// status is that of the HTTP answer; 0 if none came.
	status int
	// unanswered: what came was a TLS handshake or a redirect, and nothing where it
	// failed.
	unanswered bool
	// final: asking again within this look changes nothing.
	final bool
}

func (c *cause) Error() string { return c.text }

// failed says that the target is at fault and a reboot may cure it.
func failed(connection incident.Connection, format string, args ...any) *cause {
	return &cause{outcome: incident.Failed, connection: connection, text: fmt.Sprintf(format, args...)}
}

func unknown(kind incident.Kind, final bool, format string, args ...any) *cause {
	return &cause{outcome: incident.Unknown, kind: kind, final: final, text: fmt.Sprintf(format, args...)}
}

// wrong says that a person has to act: names, certificates, settings.
func wrong(format string, args ...any) *cause {
	return unknown(incident.Attention, true, format, args...)
}

// busy says that the target is alive and rejects the connection.
func busy(format string, args ...any) *cause {
	return unknown(incident.Busy, false, format, args...)
}

// blind says that the fault is ours or an AWS API's.
func blind(format string, args ...any) *cause {
	return unknown(incident.Blind, false, format, args...)
}

// ours is a blind that is final: what our client does not do.
func ours(format string, args ...any) *cause {
	return unknown(incident.Blind, true, format, args...)
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
