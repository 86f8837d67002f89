package peers

import (
	"firstline/internal/incident"
)

// want is what a check must say, and what the policy must do with it in each rest
// of the world.
type want struct {
	outcome    incident.Outcome
	kind       incident.Kind
	answered   bool
	connection incident.Connection
	elsewhere  bool
	then       [rests]string
}

// wanted gives the want of a check; the policy does not weigh all checks alike.
type wanted func(check string) want

const (
	nothing      = "nothing"
	slack        = "slack"
	reboot       = "reboot"
	notRebooted  = "page " + incident.SituationNotRebooted
	attends      = "page " + incident.SituationAttention
	contradicted = "page " + incident.SituationContradicted
	onlyHere     = "page " + incident.SituationOnlyHere
	isBusy       = "page " + incident.SituationBusy
	isBlind      = "page " + incident.SituationBlind
)

// well: the check passes.
func well(string) want {
	return want{outcome: incident.Passed, answered: true, then: [rests]string{nothing, nothing, nothing, nothing, anything}}
}

// attention: it answers, and a person has to act.
func attention(string) want {
	return want{outcome: incident.Unknown, kind: incident.Attention, answered: true, then: [rests]string{attends, attends, attends, attends, anything}}
}

// unheard is attention without an answer.
func unheard(check string) want {
	w := attention(check)
	w.answered = false
	return w
}

// busy: it is alive and rejects the connection with a word.
func busy(string) want {
	return want{outcome: incident.Unknown, kind: incident.Busy, answered: true, then: [rests]string{slack, isBusy, isBusy, slack, anything}}
}

// mute is busy without a word.
func mute(check string) want {
	w := busy(check)
	w.answered, w.connection = false, incident.ClosedEarly
	return w
}

// blind: the fault is ours.
func blind(string) want {
	return want{outcome: incident.Unknown, kind: incident.Blind, then: [rests]string{slack, isBlind, isBlind, slack, anything}}
}

// bad: it answers, and a reboot may help.
func bad(string) want {
	return want{outcome: incident.Failed, answered: true, then: [rests]string{reboot, reboot, reboot, reboot, reboot}}
}

// refused: nothing listens, or a firewall rejects us. Of a web server, the two
// cannot be told apart where SSH answers and there is no Route 53 health check.
func refused(check string) want {
	w := want{outcome: incident.Failed, connection: incident.Refused, then: [rests]string{reboot, notRebooted, notRebooted, onlyHere, reboot}}
	if check == incident.CheckSSH {
		w.then[otherPasses], w.then[route53Passes] = contradicted, contradicted
	}
	return w
}

// dropped: no connection in time.
func dropped(check string) want {
	w := want{outcome: incident.Failed, connection: incident.NoConnection, then: [rests]string{notRebooted, notRebooted, notRebooted, onlyHere, reboot}}
	if check == incident.CheckSSH {
		w.then[otherPasses], w.then[route53Passes] = contradicted, contradicted
	}
	return w
}

// silent: the kernel accepts, and nobody speaks.
func silent(check string) want {
	w := want{outcome: incident.Failed, connection: incident.Silent, then: [rests]string{reboot, reboot, reboot, onlyHere, reboot}}
	if check == incident.CheckSSH {
		w.then[route53Passes] = reboot
	}
	return w
}

// closed: the connection ends before a byte comes.
func closed(check string) want {
	w := dropped(check)
	w.connection = incident.ClosedEarly
	return w
}

// heard is a want in which a byte came, all the same.
func heard(of func(string) want) func(string) want {
	return func(check string) want {
		w := of(check)
		w.answered = true
		if w.then[route53Passes] == onlyHere {
			w.then[route53Passes] = contradicted
		}
		return w
	}
}

var (
	// closedInTLS: the connection ends after the TLS handshake, before a byte of HTTP
	// comes.
	closedInTLS = heard(closed)
	// refusedNext: the web server redirects to another port, which is refused.
	refusedNext = heard(refused)
	blindHeard  = heard(blind)
)

// wellElsewhere: a machine passes that is not the instance. It says nothing about
// the instance: Slack hears of it where that was the web server, and a person has to
// act where nothing else says anything.
func wellElsewhere(check string) want {
	w := well(check)
	w.elsewhere = true
	w.then = [rests]string{slack, attends, attends, slack, anything}
	if check == incident.CheckSSH {
		w.then[otherPasses], w.then[route53Passes] = nothing, nothing
	}
	return w
}

// badElsewhere: a machine fails that is not the instance.
func badElsewhere(check string) want {
	w := bad(check)
	w.elsewhere = true
	w.then = [rests]string{attends, attends, attends, attends, anything}
	return w
}

// awayElsewhere: a machine is away that is not the instance.
func awayElsewhere(check string) want {
	w := badElsewhere(check)
	w.answered, w.connection = false, incident.Refused
	return w
}

// badBehind: the load balancer in front of the instance says that the instance
// fails. The byte is the load balancer's.
func badBehind(check string) want {
	w := bad(check)
	w.answered = false
	w.then = [rests]string{notRebooted, notRebooted, notRebooted, contradicted, reboot}
	return w
}

// blindAway is blind after no connection stood.
func blindAway(check string) want {
	w := blind(check)
	w.connection = incident.NoConnection
	return w
}
