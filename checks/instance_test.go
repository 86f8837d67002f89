package checks

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/fault"
	"firstline/internal/incident"
)

func TestInstanceAddress(t *testing.T) {
	full := types.Instance{
		State:            running(),
		PublicIpAddress:  new("203.0.113.7"),
		PrivateIpAddress: new("10.0.0.7"),
		Ipv6Address:      new("2001:db8::7"),
	}
	in := func(s types.InstanceStateName) DescribeInstances {
		i := full
		i.State = &types.InstanceState{Name: s}
		return describes(i)
	}
	second := types.Instance{State: running(), NetworkInterfaces: []types.InstanceNetworkInterface{
		{}, {Ipv6Addresses: []types.InstanceIpv6Address{{Ipv6Address: new("2001:db8::8")}}},
	}}
	for _, tc := range []struct {
		name     string
		describe DescribeInstances
		id       string
		family   string
		private  bool
		want     string
		kind     incident.Kind
		words    string
	}{
		{"public", describes(full), instance, "ipv4", false, "203.0.113.7", "", ""},
		{"private", describes(full), instance, "ipv4", true, "10.0.0.7", "", ""},
		{"IPv6", describes(full), instance, "ipv6", false, "2001:db8::7", "", ""},
		{"IPv6 on an interface", describes(second), instance, "ipv6", false, "2001:db8::8", "", ""},
		{"of any family", describes(full), instance, "", false, "203.0.113.7", "", ""},
		{"of any family, private", describes(full), instance, "", true, "10.0.0.7", "", ""},
		{"of any family, IPv6 only", describes(second), instance, "", false, "2001:db8::8", "", ""},
		{"of any family, private, IPv6 only", describes(second), instance, "", true, "2001:db8::8", "", ""},
		{"of any family, none", describes(types.Instance{State: running(), PrivateIpAddress: new("10.0.0.7")}), instance, "", false, "", incident.Attention, "no public IPv4 address"},
		{"no public", describes(types.Instance{State: running()}), instance, "ipv4", false, "", incident.Attention, "no public IPv4 address"},
		{"no private", describes(types.Instance{State: running()}), instance, "ipv4", true, "", incident.Attention, "no private IPv4 address"},
		{"no IPv6", describes(types.Instance{State: running()}), instance, "ipv6", false, "", incident.Attention, "no IPv6 address"},
		{"stopped", in(types.InstanceStateNameStopped), instance, "ipv4", false, "", incident.Attention, "the instance is stopped, not running"},
		{"terminated", in(types.InstanceStateNameTerminated), instance, "ipv4", false, "", incident.Attention, "the instance is terminated, not running"},
		{"pending", in(types.InstanceStateNamePending), instance, "ipv4", false, "", incident.Attention, "pending"},
		{"another instance", describes(full), "i-0000000000000000a", "ipv4", false, "", incident.Attention, "no such instance"},
		{"not found", refuses("InvalidInstanceID.NotFound"), instance, "ipv4", false, "", incident.Attention, "InvalidInstanceID.NotFound"},
		{"denied", refuses("UnauthorizedOperation"), instance, "ipv4", false, "", incident.Blind, instance},
		{"throttled", refuses("RequestLimitExceeded"), instance, "ipv4", false, "", incident.Blind, ""},
		{"no answer", func(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
			return nil, errors.New("connection lost")
		}, instance, "ipv4", false, "", incident.Blind, "connection lost"},
		{"client can't be made", func(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
			return nil, fault.New(fault.Internal, "make a client", "no region")
		}, instance, "ipv4", false, "", incident.Blind, "no region"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, c := tc.describe.address(t.Context(), tc.id, tc.family, tc.private)
			if tc.kind != "" {
				wantUnknown(t, question{}.finding(answer{cause: c}), tc.kind, tc.words)
				return
			}
			if c != nil || got != tc.want {
				t.Errorf("got %v, %v, want %s", got, c, tc.want)
			}
		})
	}
}

// What answers at none of the instance's addresses is not the instance.
func TestForeign(t *testing.T) {
	full := describes(types.Instance{
		State: running(), PublicIpAddress: new("203.0.113.7"), PrivateIpAddress: new("10.0.0.7"),
		NetworkInterfaces: []types.InstanceNetworkInterface{{
			PrivateIpAddresses: []types.InstancePrivateIpAddress{{
				Association: &types.InstanceNetworkInterfaceAssociation{PublicIp: new("203.0.113.8")}, PrivateIpAddress: new("10.0.0.8"),
			}},
			Ipv6Addresses: []types.InstanceIpv6Address{{Ipv6Address: new("2001:db8::8")}},
		}},
	})
	for _, tc := range []struct {
		name     string
		describe DescribeInstances
		asked    []string
		want     string
	}{
		{"public", full, []string{"203.0.113.7"}, ""},
		{"private", full, []string{"10.0.0.7"}, ""},
		{"of an interface", full, []string{"203.0.113.8"}, ""},
		{"private, of an interface", full, []string{"10.0.0.8"}, ""},
		{"IPv6", full, []string{"2001:db8::8"}, ""},
		{"another", full, []string{"198.51.100.4"}, "198.51.100.4"},
		{"one of several", full, []string{"198.51.100.4", "203.0.113.7"}, ""},
		{"nothing asked", full, nil, ""},
		{"no address at all", describes(types.Instance{}), []string{"198.51.100.4"}, "198.51.100.4"},
		{"EC2 refuses", refuses("UnauthorizedOperation"), []string{"198.51.100.4"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var asked []netip.Addr
			for _, a := range tc.asked {
				asked = append(asked, netip.MustParseAddr(a))
			}
			if got := tc.describe.foreign(t.Context(), instance, asked); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
