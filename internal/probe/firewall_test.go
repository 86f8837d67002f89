package probe

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/incident"
)

// TestFirewalls: of the ports that the checks ask, those are told that no group admits,
// or that the subnet's ACL denies.
func TestFirewalls(t *testing.T) {
	rule := func(from, to int32, cidrs ...string) types.IpPermission {
		p := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &from, ToPort: &to}
		for _, cidr := range cidrs {
			p.IpRanges = append(p.IpRanges, types.IpRange{CidrIp: &cidr})
		}
		return p
	}
	from := func(group string) types.IpPermission {
		return types.IpPermission{IpProtocol: aws.String("-1"), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &group}}}
	}
	entry := func(number int32, action types.RuleAction, cidr string) types.NetworkAclEntry {
		return types.NetworkAclEntry{RuleNumber: &number, Protocol: aws.String("-1"), RuleAction: action, CidrBlock: &cidr, Egress: aws.Bool(false)}
	}
	const all, office = "0.0.0.0/0", "198.51.100.0/24"
	for _, tt := range []struct {
		name  string
		ours  []string
		rules []types.IpPermission
		acl   []types.NetworkAclEntry
		set   func(*incident.Settings)
		want  []string // "" is nothing
	}{
		{name: "open to all", rules: []types.IpPermission{rule(80, 80, all), rule(20, 30, office, all)}},
		{name: "open to all in two halves", rules: []types.IpPermission{rule(1, 65535, "0.0.0.0/1", "128.0.0.0/1")}},
		{name: "closed", rules: nil, want: []string{"(sg-1) admits TCP 22 or TCP 80 from 0.0.0.0/0"}},
		{name: "open to some", rules: []types.IpPermission{rule(80, 80, all), rule(22, 22, office)}, want: []string{"admits TCP 22 from"}},
		{name: "a check that is off", rules: []types.IpPermission{rule(80, 80, all)}, set: func(s *incident.Settings) { s.SSH.Enabled = false }},
		{name: "other ports", rules: []types.IpPermission{rule(8443, 8443, all), rule(2222, 2222, all)}, set: func(s *incident.Settings) {
			s.URL.Address, s.SSH.Port = "https://192.0.2.7:8443/", 2222
		}},
		{name: "of https", rules: []types.IpPermission{rule(22, 22, all)}, set: func(s *incident.Settings) { s.URL.Scheme = "https" }, want: []string{"admits TCP 443"}},
		{name: "another machine's address is none of its business", rules: []types.IpPermission{rule(22, 22, all)}, set: func(s *incident.Settings) { s.URL.Address = "http://192.0.2.8/" }},
		{name: "from the function's group", ours: []string{"sg-9"}, rules: []types.IpPermission{from("sg-9")}},
		{name: "from another group", ours: []string{"sg-9"}, rules: []types.IpPermission{from("sg-8")}, want: []string{"admits TCP 22 or TCP 80 from the function's groups (sg-9)"}},
		{name: "in a VPC any address may be a NAT gateway's", ours: []string{"sg-9"}, rules: []types.IpPermission{rule(1, 65535, office)}},
		{name: "an ACL that denies", rules: []types.IpPermission{rule(1, 65535, all)}, acl: []types.NetworkAclEntry{entry(100, types.RuleActionDeny, all), entry(200, types.RuleActionAllow, all)}, want: []string{"(subnet-1) denies TCP 22 and TCP 80"}},
		{name: "an ACL that denies last", rules: []types.IpPermission{rule(1, 65535, all)}, acl: []types.NetworkAclEntry{entry(32767, types.RuleActionDeny, all), entry(100, types.RuleActionAllow, all), entry(50, types.RuleActionDeny, office)}},
	} {
		s := incident.DefaultSettings()
		if tt.set != nil {
			tt.set(&s)
		}
		f := &firewalls{
			groups: map[string]types.SecurityGroup{"sg-1": {IpPermissions: tt.rules}},
			acls:   map[string]types.NetworkAcl{"subnet-1": {Entries: tt.acl}}, ours: tt.ours,
		}
		got := f.closed(t.Context(), types.Instance{
			PublicIpAddress: aws.String("192.0.2.7"), SubnetId: aws.String("subnet-1"), SecurityGroups: []types.GroupIdentifier{{GroupId: aws.String("sg-1")}},
		}, s)
		if len(tt.want) == 0 && got != "" {
			t.Errorf("%s: got %q", tt.name, got)
		}
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: got %q, want %q", tt.name, got, want)
			}
		}
	}
}
