package probe

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/incident"
	"firstline/internal/regions"
)

// firewalls are what stands between the function and the instances of a region.
type firewalls struct {
	groups map[string]types.SecurityGroup
	acls   map[string]types.NetworkAcl // by subnet
	// ours are the function's own groups; it is in no VPC without any.
	ours []string
}

// askAtOnce is how many values a filter has at most.
const askAtOnce = 200

// readFirewalls asks EC2 for the firewalls of instances.
func readFirewalls(ctx context.Context, client *ec2.Client, want IntendedRegion, instances map[string]types.Instance) (*firewalls, error) {
	f := &firewalls{groups: map[string]types.SecurityGroup{}, acls: map[string]types.NetworkAcl{}}
	if want.VPC != nil {
		f.ours = want.VPC.SecurityGroupIDs
	}
	var ids, subnets []string
	for _, i := range instances {
		ids, subnets = append(ids, groupsOf(i)...), append(subnets, aws.ToString(i.SubnetId))
	}
	for ids := range slices.Chunk(regions.Union(ids), askAtOnce) {
		pages := ec2.NewDescribeSecurityGroupsPaginator(client, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{{Name: aws.String("group-id"), Values: ids}}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			for _, g := range page.SecurityGroups {
				f.groups[aws.ToString(g.GroupId)] = g
			}
		}
	}
	for subnets := range slices.Chunk(regions.Without(regions.Union(subnets), []string{""}), askAtOnce) {
		pages := ec2.NewDescribeNetworkAclsPaginator(client, &ec2.DescribeNetworkAclsInput{Filters: []types.Filter{{Name: aws.String("association.subnet-id"), Values: subnets}}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			for _, acl := range page.NetworkAcls {
				for _, a := range acl.Associations {
					f.acls[aws.ToString(a.SubnetId)] = acl
				}
			}
		}
	}
	return f, nil
}

func groupsOf(i types.Instance) []string {
	var ids []string
	for _, g := range i.SecurityGroups {
		ids = append(ids, aws.ToString(g.GroupId))
	}
	return ids
}

// closed says which of the ports that the checks of an instance ask is closed to the
// function; "" if none is, as far as can be told.
func (f *firewalls) closed(ctx context.Context, i types.Instance, s incident.Settings) string {
	if f == nil {
		return ""
	}
	var unadmitted, denied []string // ports
	for _, port := range ports(ctx, i, s) {
		switch {
		case !f.admitted(i, port):
			unadmitted = append(unadmitted, fmt.Sprintf("TCP %d", port))
		case len(f.ours) == 0 && f.denied(i, port):
			denied = append(denied, fmt.Sprintf("TCP %d", port))
		}
	}
	var reasons []string
	groups := "no security group of it (" + strings.Join(groupsOf(i), ", ") + ") admits " + strings.Join(unadmitted, " or ")
	switch {
	case len(unadmitted) > 0 && len(f.ours) > 0:
		reasons = append(reasons, groups+" from the function's groups ("+strings.Join(f.ours, ", ")+") or an address: add a rule")
	case len(unadmitted) > 0:
		reasons = append(reasons, groups+" from 0.0.0.0/0, and the function asks from changing addresses of the internet: add a rule, turn the check off, or give the region a vpc")
	}
	if len(denied) > 0 {
		reasons = append(reasons, fmt.Sprintf("the network ACL of its subnet (%s) denies %s from 0.0.0.0/0: add a rule with a lower number", aws.ToString(i.SubnetId), strings.Join(denied, " and ")))
	}
	return strings.Join(reasons, "; ")
}

// admitted reports whether a group lets the function in. In a VPC it may ask from its
// own address or that of a NAT gateway, so that any address will do; a prefix list may
// hold any.
func (f *firewalls) admitted(i types.Instance, port int32) bool {
	for _, id := range groupsOf(i) {
		for _, p := range f.groups[id].IpPermissions {
			if protocol := aws.ToString(p.IpProtocol); protocol != "-1" && (protocol != "tcp" || port < aws.ToInt32(p.FromPort) || port > aws.ToInt32(p.ToPort)) {
				continue
			}
			switch {
			case len(p.PrefixListIds) > 0, slices.ContainsFunc(p.IpRanges, func(r types.IpRange) bool { return len(f.ours) > 0 || incident.Everybody(aws.ToString(r.CidrIp)) }):
				return true
			case len(f.ours) > 0 && (len(p.Ipv6Ranges) > 0 || slices.ContainsFunc(p.UserIdGroupPairs, func(g types.UserIdGroupPair) bool { return slices.Contains(f.ours, aws.ToString(g.GroupId)) })):
				return true
			}
		}
	}
	return len(i.SecurityGroups) == 0
}

// denied reports whether the first rule of a subnet's ACL that is about everybody denies
// a port.
func (f *firewalls) denied(i types.Instance, port int32) bool {
	entries := slices.SortedFunc(slices.Values(f.acls[aws.ToString(i.SubnetId)].Entries), func(a, b types.NetworkAclEntry) int {
		return cmp.Compare(aws.ToInt32(a.RuleNumber), aws.ToInt32(b.RuleNumber))
	})
	for _, e := range entries {
		protocol := aws.ToString(e.Protocol)
		covers := protocol == "-1" || protocol == "6" && e.PortRange != nil && port >= aws.ToInt32(e.PortRange.From) && port <= aws.ToInt32(e.PortRange.To)
		if covers && !aws.ToBool(e.Egress) && incident.Everybody(aws.ToString(e.CidrBlock)) {
			return e.RuleAction == types.RuleActionDeny
		}
	}
	return false
}

// ports are those of the instance that its checks ask, sorted: those of another address
// are none of its groups' business.
func ports(ctx context.Context, i types.Instance, s incident.Settings) []int32 {
	found := map[int32]bool{}
	add := func(host, port string) {
		if n, err := strconv.ParseInt(port, 10, 32); err == nil && (host == "" || leadsTo(ctx, host, i)) {
			found[int32(n)] = true
		}
	}
	if s.URL.Enabled && !s.URL.LoadBalancer {
		u := &url.URL{Scheme: s.URL.Scheme, Host: ":" + strconv.Itoa(s.URL.Port)}
		if s.URL.Address != "" {
			u, _ = url.Parse(s.URL.Address)
		}
		if u != nil {
			port := u.Port()
			if port == "" || port == "0" {
				port = map[string]string{incident.SchemeHTTPS: "443"}[u.Scheme]
			}
			add(u.Hostname(), cmp.Or(port, "80"))
		}
	}
	if s.SSH.Enabled {
		add(s.SSH.Host, strconv.Itoa(s.SSH.Port))
	}
	return slices.Sorted(maps.Keys(found))
}

// leadsTo reports whether a name or an address is the instance's.
func leadsTo(ctx context.Context, host string, i types.Instance) bool {
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return false
	}
	own := []string{aws.ToString(i.PublicIpAddress), aws.ToString(i.PrivateIpAddress)}
	return slices.ContainsFunc(addrs, func(a string) bool { return slices.Contains(own, a) })
}
