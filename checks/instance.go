package checks

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/incident"
)

// DescribeInstances is the method of that name of an *ec2.Client, or a
// function that makes the client first: it is called only when an address
// must be looked up.
type DescribeInstances func(ctx context.Context, in *ec2.DescribeInstancesInput, optFns ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)

// find returns what EC2 says about an instance.
func (describe DescribeInstances) find(ctx context.Context, instanceID string, allowance time.Duration) (*types.Instance, *cause) {
	what := "find the address of " + instanceID
	ctx, cancel := context.WithTimeout(ctx, allowance)
	defer cancel()
	out, err := describe(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{instanceID}})
	if err != nil {
		return nil, unaided(what, err)
	}
	if len(out.Reservations) == 0 || len(out.Reservations[0].Instances) == 0 {
		return nil, wrong("%s: there is no such instance in this region and account", what)
	}
	return &out.Reservations[0].Instances[0], nil
}

// knowing returns a vantage that knows the instance's addresses and asks EC2 no
// more. named: the settings name whom to ask, so that the check can do without.
// They are known before the target is asked, whose time EC2 must not take.
func (v *Vantage) knowing(ctx context.Context, instanceID string, named bool) *Vantage {
	allowance := lookupAllowance
	if named {
		allowance = elsewhereAllowance
	}
	w := *v
	if v.DescribeInstances == nil {
		return &w
	}
	w.DescribeInstances = v.DescribeInstances.once()
	instance, c := w.DescribeInstances.find(ctx, instanceID, allowance)
	if w.unasked = c; c == nil {
		w.own = allAddresses(instance)
	}
	return &w
}

// once remembers the first answer. It is for one instance.
func (describe DescribeInstances) once() DescribeInstances {
	var out *ec2.DescribeInstancesOutput
	var err error
	return func(ctx context.Context, in *ec2.DescribeInstancesInput, optFns ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
		if out == nil && err == nil {
			out, err = describe(ctx, in, optFns...)
		}
		return out, err
	}
}

// address returns the address of a running instance. Whatever keeps it from
// that is never the instance's failure.
func (describe DescribeInstances) address(ctx context.Context, instanceID, addressFamily string, private bool) (string, *cause) {
	instance, c := describe.find(ctx, instanceID, lookupAllowance)
	if c != nil {
		return "", c
	}
	what := "find the address of " + instanceID
	if state := instance.State.Name; state != types.InstanceStateNameRunning {
		return "", wrong("%s: the instance is %s, not running", what, state)
	}
	addrs := parsed(instance.PublicIpAddress)
	missing := "no public IPv4 address; give it one, name the host in the settings, or set private = true (the function must then be in the instance's VPC)"
	if private {
		addrs = parsed(instance.PrivateIpAddress)
		missing = "no private IPv4 address"
	}
	// IPv6 ones are the same inside and outside of the VPC.
	six := slices.DeleteFunc(allAddresses(instance), netip.Addr.Is4)
	switch {
	case addressFamily == incident.FamilyIPv6:
		addrs = six
		missing = "no IPv6 address; assign one, or leave address_family out"
	case addressFamily == "" && len(addrs) == 0:
		addrs = six
	}
	if len(addrs) == 0 {
		return "", wrong("%s: the instance has %s", what, missing)
	}
	return addrs[0].String(), nil
}

// foreign returns one of the addresses asked if none of them is the instance's,
// else "", also where EC2 could not be asked.
func (describe DescribeInstances) foreign(ctx context.Context, instanceID string, asked []netip.Addr) string {
	if len(asked) == 0 || describe == nil {
		return ""
	}
	instance, c := describe.find(ctx, instanceID, elsewhereAllowance)
	if c != nil {
		return ""
	}
	own := allAddresses(instance)
	if slices.ContainsFunc(asked, func(a netip.Addr) bool { return slices.Contains(own, a) }) {
		return ""
	}
	return asked[0].String()
}

// allAddresses are all that lead to the instance, those of its further
// interfaces included.
func allAddresses(instance *types.Instance) []netip.Addr {
	texts := []*string{instance.PublicIpAddress, instance.PrivateIpAddress, instance.Ipv6Address}
	for _, nic := range instance.NetworkInterfaces {
		for _, a := range nic.PrivateIpAddresses {
			texts = append(texts, a.PrivateIpAddress)
			if a.Association != nil {
				texts = append(texts, a.Association.PublicIp)
			}
		}
		for _, a := range nic.Ipv6Addresses {
			texts = append(texts, a.Ipv6Address)
		}
	}
	return parsed(texts...)
}

func parsed(texts ...*string) []netip.Addr {
	var addrs []netip.Addr
	for _, text := range texts {
		if addr, err := netip.ParseAddr(aws.ToString(text)); err == nil {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
