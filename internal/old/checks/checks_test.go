package checks

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
)

const instance = "i-0c1cbf2e7abdedf75"

// describes is EC2 with one instance.
func describes(i types.Instance) DescribeInstances {
	return func(_ context.Context, in *ec2.DescribeInstancesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
		if len(in.InstanceIds) != 1 || in.InstanceIds[0] != instance {
			return &ec2.DescribeInstancesOutput{}, nil
		}
		i.InstanceId = new(instance)
		return &ec2.DescribeInstancesOutput{Reservations: []types.Reservation{{Instances: []types.Instance{i}}}}, nil
	}
}

// at is an instance that runs at a public IPv4 address.
func at(address string) DescribeInstances {
	return describes(types.Instance{State: running(), PublicIpAddress: &address})
}

func running() *types.InstanceState {
	return &types.InstanceState{Name: types.InstanceStateNameRunning}
}

func refuses(code string) DescribeInstances {
	return func(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
		return nil, &smithy.GenericAPIError{Code: code, Message: "says AWS"}
	}
}

// listen starts a TCP server on loopback that hands each connection to serve,
// and keeps it open until the test ends or serve closes it.
func listen(t *testing.T, serve func(net.Conn)) (host string, port int) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go serve(conn)
		}
	}()
	addr := netip.MustParseAddrPort(l.Addr().String())
	return addr.Addr().String(), int(addr.Port())
}

// nobody returns a port on which nobody listens.
func nobody(t *testing.T) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := int(netip.MustParseAddrPort(l.Addr().String()).Port())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

func reset(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Error(err)
	}
	_ = conn.Close() // the reset is what was wanted
}

// silent never connects, as behind a firewall that drops.
func silent(ctx context.Context, _, address string) (net.Conn, error) {
	<-ctx.Done()
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.Join(ctx.Err(), errors.New(address))}
}

func wantKind(t *testing.T, err error, want fault.Kind, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", want)
	}
	if got := fault.KindOf(err); got != want {
		t.Errorf("kind %s, want %s: %v", got, want, err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

func wantFinding(t *testing.T, f Finding, err error, passed bool, attempts int, words ...string) {
	t.Helper()
	if err != nil {
		t.Fatalf("error %v, want a finding", err)
	}
	if f.Passed != passed {
		t.Errorf("passed %t, want %t: %s", f.Passed, passed, f.Reason)
	}
	if attempts != 0 && f.Attempts != attempts {
		t.Errorf("%d attempts, want %d", f.Attempts, attempts)
	}
	if f.At.IsZero() || f.At.Location().String() != "UTC" {
		t.Errorf("at %v, want a time in UTC", f.At)
	}
	for _, w := range words {
		if !strings.Contains(f.Reason, w) {
			t.Errorf("reason %q does not say %q", f.Reason, w)
		}
	}
}

func TestClip(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"short", "got status 502", "got status 502"},
		{"one line", "a\r\n\tb  c ", "a b c"},
		{"control characters", "a\x00\x1b[31mb\u202ec", "a[31mbc"},
		{"not UTF-8", "a\xff\xfeb", "ab"},
		{"as long as may be", strings.Repeat("é", maxReason), strings.Repeat("é", maxReason)},
		{"one too long", strings.Repeat("é", maxReason+1), strings.Repeat("é", maxReason-1) + "…"},
		{"far too long", strings.Repeat("𝄞", 1<<16), strings.Repeat("𝄞", maxReason-1) + "…"},
		{"nothing left of the beginning", strings.Repeat("\x00", 1<<16) + "a", "…"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := clip(tc.in); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzClip(f *testing.F) {
	f.Add("got status 502", 500)
	f.Add("a\xff\x00\n\u202e…", 3)
	f.Add(strings.Repeat("é", 600), 500)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 1 || limit > 10_000 {
			t.Skip()
		}
		got := clipTo(s, limit)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8", got)
		}
		if n := utf8.RuneCountInString(got); n > limit {
			t.Errorf("%d runes, want at most %d", n, limit)
		}
		if i := strings.IndexFunc(got, func(r rune) bool { return !unicode.IsGraphic(r) }); i >= 0 {
			t.Errorf("%q holds a rune that can't be seen", got)
		}
		if again := clipTo(got, limit); again != got {
			t.Errorf("%q becomes %q when clipped again", got, again)
		}
	})
}

func TestSkipped(t *testing.T) {
	for _, tc := range []struct {
		name  string
		check func() (Finding, error)
		words string
	}{
		{"url", func() (Finding, error) { return new(URL).Check(t.Context(), instance, URLSettings{}) }, "url.enabled is false"},
		{"ssh", func() (Finding, error) { return new(SSH).Check(t.Context(), instance, SSHSettings{}) }, "ssh.enabled is false"},
		{"route53", func() (Finding, error) {
			return new(Route53).Check(t.Context(), Route53Settings{}, time0)
		}, "no Route 53 health check"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := tc.check()
			wantFinding(t, f, err, true, 0, "skipped", tc.words)
			if !f.Skipped || f.Check != tc.name {
				t.Errorf("got %+v, want a skipped %s", f, tc.name)
			}
		})
	}
}
