package checks

import (
	"context"
	"errors"
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/fault"
)

// DescribeInstances is the method of that name of an *ec2.Client, or a
// function that makes the client first: it is called only when an address
// must be looked up.
type DescribeInstances func(ctx context.Context, in *ec2.DescribeInstancesInput, optFns ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)

// address returns the address of a running instance. Whatever keeps it from
// that is an error with a kind, never the instance's failure.
func (describe DescribeInstances) address(ctx context.Context, instanceID, addressFamily string, private bool) (netip.Addr, error) {
	op := "find the address of " + instanceID
	if describe == nil {
		return netip.Addr{}, fault.New(fault.Internal, op, "the check was built without DescribeInstances")
	}
	call, cancel := context.WithTimeout(ctx, lookupAllowance)
	defer cancel()
	out, err := describe(call, &ec2.DescribeInstancesInput{InstanceIds: []string{instanceID}})
	if err != nil {
		return netip.Addr{}, withKind(op, err)
	}
	instance := pick(out, instanceID)
	if instance == nil {
		return netip.Addr{}, fault.New(fault.InvalidInput, op, "there is no such instance in this region and account")
	}
	state := types.InstanceStateName("unknown")
	if instance.State != nil {
		state = instance.State.Name
	}
	switch state {
	case types.InstanceStateNameRunning:
	case types.InstanceStateNamePending:
		// It will be running in a moment.
		return netip.Addr{}, fault.New(fault.Unavailable, op, "the instance is pending, not running")
	default:
		return netip.Addr{}, fault.New(fault.InvalidInput, op, "the instance is %s, not running", state)
	}
	text := addressText(instance, addressFamily, private)
	if text == "" {
		return netip.Addr{}, fault.New(fault.InvalidInput, op, "%s", noAddress(addressFamily, private))
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fault.New(fault.Internal, op, "EC2 answered with an address that is none: %w", err)
	}
	return addr, nil
}

func pick(out *ec2.DescribeInstancesOutput, instanceID string) *types.Instance {
	if out == nil {
		return nil
	}
	for _, r := range out.Reservations {
		for i := range r.Instances {
			if text(r.Instances[i].InstanceId) == instanceID {
				return &r.Instances[i]
			}
		}
	}
	return nil
}

func addressText(instance *types.Instance, addressFamily string, private bool) string {
	switch {
	case addressFamily == familyIPv6:
		// EC2's IPv6 addresses are the same inside and outside of the VPC.
		if a := text(instance.Ipv6Address); a != "" {
			return a
		}
		for _, nic := range instance.NetworkInterfaces {
			for _, a := range nic.Ipv6Addresses {
				if t := text(a.Ipv6Address); t != "" {
					return t
				}
			}
		}
		return ""
	case private:
		return text(instance.PrivateIpAddress)
	default:
		return text(instance.PublicIpAddress)
	}
}

func noAddress(addressFamily string, private bool) string {
	switch {
	case addressFamily == familyIPv6:
		return `the instance has no IPv6 address; assign one, or set addressFamily to "ipv4"`
	case private:
		return "the instance has no private IPv4 address"
	default:
		return "the instance has no public IPv4 address; give it one, name the host in the settings, or set private (the function then needs the instance's VPC)"
	}
}

// withKind gives an error that came out of a function of the caller's a kind,
// unless it has one.
func withKind(op string, err error) error {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return fault.New(e.Kind, op, "%w", err)
	}
	return fault.AWS(op, err)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
