package checks

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"firstline/internal/incident"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
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
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	_ = conn.Close() // the reset is what was wanted
}

// silent never connects, as behind a firewall that drops.
func silent(ctx context.Context, _, address string) (net.Conn, error) {
	<-ctx.Done()
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.Join(ctx.Err(), errors.New(address))}
}

func wantUnknown(t *testing.T, f incident.Finding, kind incident.Kind, words ...string) {
	t.Helper()
	if f.Outcome != incident.Unknown || f.Kind != kind {
		t.Errorf("got %s %s, want unknown %s: %s", f.Outcome, f.Kind, kind, f.Reason)
	}
	wantWords(t, f, words...)
}

func wantFinding(t *testing.T, f incident.Finding, passed bool, attempts int, words ...string) {
	t.Helper()
	want := incident.Failed
	if passed {
		want = incident.Passed
	}
	if f.Outcome != want || f.Kind != "" {
		t.Errorf("got %s %s, want %s: %s", f.Outcome, f.Kind, want, f.Reason)
	}
	if attempts != 0 && f.Attempts != attempts {
		t.Errorf("%d attempts, want %d", f.Attempts, attempts)
	}
	wantWords(t, f, words...)
}

func wantWords(t *testing.T, f incident.Finding, words ...string) {
	t.Helper()
	if f.At == 0 {
		t.Error("no time")
	}
	for _, w := range words {
		if !strings.Contains(f.Reason, w) {
			t.Errorf("reason %q does not say %q", f.Reason, w)
		}
	}
}

// timedOut reports whether the target said nothing at all in time.
func timedOut(f incident.Finding) bool {
	return f.Outcome == incident.Failed && !f.Answered && (f.Connection == incident.Silent || f.Connection == incident.NoConnection)
}

func TestSkipped(t *testing.T) {
	for _, tc := range []struct {
		finding      incident.Finding
		check, words string
	}{
		{new(Vantage).URL(t.Context(), instance, incident.URLSettings{}), "url", "url.enabled is false"},
		{new(Vantage).SSH(t.Context(), instance, incident.SSHSettings{}, ""), "ssh", "ssh.enabled is false"},
		{new(Route53).Check(t.Context(), &incident.Incident{Settings: new(incident.Settings)}), "route53", "no Route 53 health check"},
	} {
		if f := tc.finding; f.Outcome != incident.Skipped || f.Check != tc.check || f.At == 0 || !strings.Contains(f.Reason, tc.words) {
			t.Errorf("got %+v, want a skipped %s: %s", f, tc.check, tc.words)
		}
	}
}
