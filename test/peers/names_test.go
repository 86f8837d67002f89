package peers

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// zone is what our name servers know. A name without addresses is answered with
// what stands in faults, and any other one does not exist.
var zone = map[string][]string{
	appName:            {"127.0.0.1"},
	"four.test":        {"127.0.4.1", "127.0.4.2", "127.0.4.3", "127.0.4.4"},
	"two.test":         {"127.0.5.1", "127.0.5.2"},
	"both.test":        {"127.0.0.1", "::1"},
	"six.test":         {"::1"},
	"wrong.test":       {"127.0.0.99"},
	"linklocal.test":   {"169.254.169.254"},
	"unspecified.test": {"0.0.0.0"},
	"multicast.test":   {"224.0.0.251"},
	"private.test":     {"10.1.2.3"},
	"nobodys.test":     {"127.0.0.1"},
	silent6:            {"127.0.0.1"},
	broken6:            {"127.0.0.1"},
	slow4:              {"127.0.0.1", "::1"},
}

var faults = map[string]dnsmessage.RCode{
	"broken.test":  dnsmessage.RCodeServerFailure,
	"refuses.test": dnsmessage.RCodeRefused,
}

// silentName is never answered, silent6 not about IPv6, and broken6 has a fault
// there. slow4 is answered late about IPv4.
const silentName, silent6, broken6, slow4 = "silent.test", "silent6.test", "broken6.test", "slow4.test"

// answerNames starts the name servers, and has net.DefaultResolver ask them alone.
func answerNames() (stop func(), err error) {
	conn, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if reply, delay := answerName(b[:n]); reply != nil {
				time.AfterFunc(delay, func() { _, _ = conn.WriteTo(reply, from) }) // who does not get it asks again
			}
		}
	}()
	net.DefaultResolver.PreferGo = true
	net.DefaultResolver.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}
	return func() { _ = conn.Close() }, nil
}

// answerName answers one question, after a delay; nil is silence.
func answerName(question []byte) (reply []byte, delay time.Duration) {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil, 0
	}
	q := m.Questions[0]
	name := strings.TrimSuffix(q.Name.String(), ".")
	if name == silentName || name == silent6 && q.Type == dnsmessage.TypeAAAA {
		return nil, 0
	}
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	addresses, exists := zone[name]
	if code, ok := faults[name]; ok {
		m.RCode = code
	} else if name == broken6 && q.Type == dnsmessage.TypeAAAA {
		m.RCode = dnsmessage.RCodeServerFailure
	} else if !exists {
		m.RCode = dnsmessage.RCodeNameError
	}
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
	for _, text := range addresses {
		switch addr := netip.MustParseAddr(text); {
		case q.Type == dnsmessage.TypeA && addr.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}})
		case q.Type == dnsmessage.TypeAAAA && addr.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	if name == slow4 && q.Type == dnsmessage.TypeA {
		delay = 300 * time.Millisecond
	}
	reply, err := m.Pack()
	if err != nil {
		return nil, 0
	}
	return reply, delay
}
