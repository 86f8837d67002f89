package checks

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/fault"
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
		kind     fault.Kind
		words    string
	}{
		{"public", describes(full), instance, "ipv4", false, "203.0.113.7", "", ""},
		{"private", describes(full), instance, "ipv4", true, "10.0.0.7", "", ""},
		{"IPv6", describes(full), instance, "ipv6", false, "2001:db8::7", "", ""},
		{"IPv6 on an interface", describes(second), instance, "ipv6", false, "2001:db8::8", "", ""},
		{"no public", describes(types.Instance{State: running()}), instance, "ipv4", false, "", fault.InvalidInput, "no public IPv4 address"},
		{"no private", describes(types.Instance{State: running()}), instance, "ipv4", true, "", fault.InvalidInput, "no private IPv4 address"},
		{"no IPv6", describes(types.Instance{State: running()}), instance, "ipv6", false, "", fault.InvalidInput, "no IPv6 address"},
		{"stopped", in(types.InstanceStateNameStopped), instance, "ipv4", false, "", fault.InvalidInput, "the instance is stopped, not running"},
		{"terminated", in(types.InstanceStateNameTerminated), instance, "ipv4", false, "", fault.InvalidInput, "the instance is terminated, not running"},
		{"pending", in(types.InstanceStateNamePending), instance, "ipv4", false, "", fault.Unavailable, "pending"},
		{"no state", describes(types.Instance{}), instance, "ipv4", false, "", fault.InvalidInput, "the instance is unknown, not running"},
		{"another instance", describes(full), "i-0000000000000000a", "ipv4", false, "", fault.InvalidInput, "no such instance"},
		{"not found", refuses("InvalidInstanceID.NotFound"), instance, "ipv4", false, "", fault.InvalidInput, "InvalidInstanceID.NotFound"},
		{"denied", refuses("UnauthorizedOperation"), instance, "ipv4", false, "", fault.Denied, instance},
		{"throttled", refuses("RequestLimitExceeded"), instance, "ipv4", false, "", fault.Unavailable, ""},
		{"no answer", func(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
			return nil, errors.New("connection lost")
		}, instance, "ipv4", false, "", fault.Unavailable, "connection lost"},
		{"client can't be made", func(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
			return nil, fault.New(fault.Internal, "make a client", "no region")
		}, instance, "ipv4", false, "", fault.Internal, "no region"},
		{"empty answer", func(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
			return nil, nil //nolint:nilnil // what a broken client might answer
		}, instance, "ipv4", false, "", fault.InvalidInput, "no such instance"},
		{"nonsense", at("nonsense"), instance, "ipv4", false, "", fault.Internal, "an address that is none"},
		{"nobody to ask", nil, instance, "ipv4", false, "", fault.Internal, "without DescribeInstances"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.describe.address(t.Context(), tc.id, tc.family, tc.private)
			if tc.kind != "" {
				wantKind(t, err, tc.kind, tc.words)
				return
			}
			if err != nil || got.String() != tc.want {
				t.Errorf("got %v, %v, want %s", got, err, tc.want)
			}
		})
	}
}
