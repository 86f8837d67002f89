package checks

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"firstline/internal/incident"
)

func TestAnswers(t *testing.T) {
	var logins atomic.Int32
	host, sshPort := listen(t, sshServer(&logins, nil, newHostKeys()(t).ed25519))
	_, oneByte := listen(t, func(conn net.Conn) {
		_, _ = conn.Write([]byte("x"))
		_ = conn.Close()
	})
	_, closes := listen(t, func(conn net.Conn) { _ = conn.Close() })
	_, server, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "" {
			t.Error("sent a secret")
		}
		w.WriteHeader(http.StatusUnauthorized)
	})
	p := &Vantage{DescribeInstances: at(host)}
	for _, tc := range []struct {
		name string
		set  func(*incident.Settings)
		want bool
	}{
		{"ssh", func(s *incident.Settings) { s.SSH.Port = sshPort }, true},
		{"ssh sends one byte", func(s *incident.Settings) { s.SSH.Port = oneByte }, true},
		{"ssh closes", func(s *incident.Settings) { s.SSH.Port = closes }, false},
		{"ssh refuses", func(s *incident.Settings) { s.SSH.Port = nobody(t) }, false},
		{"url, no secret is sent", func(s *incident.Settings) {
			s.SSH.Enabled, s.URL.Port = false, portNumber(t, server.URL)
			s.URL.SecretHeaders = map[string]string{"X-Key": "/a"}
		}, true},
		{"url refuses", func(s *incident.Settings) { s.SSH.Enabled, s.URL.Port = false, nobody(t) }, false},
		{"both off", func(s *incident.Settings) { s.SSH.Enabled, s.URL.Enabled = false, false }, false},
		{"no address", func(s *incident.Settings) { s.SSH.AddressFamily = "ipv6" }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := incident.DefaultSettings()
			tc.set(&s)
			if got := p.Answers(t.Context(), instance, &s); got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
	t.Run("another machine answers", func(t *testing.T) {
		s := incident.DefaultSettings()
		s.SSH.Enabled, s.URL.Address = false, server.URL
		if (&Vantage{DescribeInstances: at("203.0.113.7")}).Answers(t.Context(), instance, &s) {
			t.Error("answers")
		}
	})
	t.Run("bounded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := &Vantage{DescribeInstances: at("203.0.113.7"), dial: silent, Egress: func(context.Context, string) error {
				t.Error("asked for our own connectivity")
				return nil
			}}
			s, start := incident.DefaultSettings(), time.Now()
			if p.Answers(t.Context(), instance, &s) {
				t.Error("answers")
			}
			if took := time.Since(start); took != answersAllowance {
				t.Errorf("took %v, want %v", took, answersAllowance)
			}
		})
	})
}

// Who asks may have little time left: what there is must do.
func TestAnswersWithLittleTime(t *testing.T) {
	host, port := listen(t, func(conn net.Conn) { _, _ = conn.Write([]byte("x")) })
	ctx, cancel := context.WithTimeout(t.Context(), answersAllowance-time.Second)
	defer cancel()
	s := incident.DefaultSettings()
	s.SSH.Port = port
	if !(&Vantage{DescribeInstances: at(host)}).Answers(ctx, instance, &s) {
		t.Error("does not answer")
	}
}

// No deadline of ours is ever the target's failure.
func TestOwnDeadline(t *testing.T) {
	host, port := listen(t, func(net.Conn) {})
	for _, left := range []time.Duration{0, 100 * time.Millisecond, 350 * time.Millisecond, 500 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), left)
		defer cancel()
		web := hasty(func(s *incident.URLSettings) { s.Port = port })
		web.Attempts = 3
		u := (&Vantage{DescribeInstances: at(host)}).URL(ctx, instance, web)
		ctx, cancel = context.WithTimeout(t.Context(), left)
		defer cancel()
		s := (&Vantage{DescribeInstances: at(host)}).SSH(ctx, instance, sshSettings(port, func(s *incident.SSHSettings) { s.TimeoutSeconds, s.Attempts = 0.2, 3 }), "")
		wantUnknown(t, u, incident.Blind, "our own time is up")
		wantUnknown(t, s, incident.Blind, "our own time is up")
	}
}
