package handler

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"firstline/internal/incident"
	"firstline/internal/policy"
)

// vantageTime bounds the question to another region: its probe takes 4 s, and 3 s to
// prove its own connectivity.
const vantageTime = 8 * time.Second

// peerQuestions are the questions to the other regions about what our checks asked; the
// answers go into f.
func (h *Handler) peerQuestions(ctx context.Context, inc *incident.Incident, f *policy.Facts, findings []incident.Finding) (questions []func() error) {
	f.Peers = make([]policy.Peer, 0, len(findings)*len(h.Peers))
	for _, finding := range findings {
		for _, region := range h.Peers {
			if finding.Address == "" {
				continue // no other region has a way to it
			}
			f.Peers = append(f.Peers, policy.Peer{Region: region, Check: finding.Check})
			p := &f.Peers[len(f.Peers)-1]
			questions = append(questions, func() error {
				var saw policy.Fact[incident.Finding]
				err := ask(ctx, inc, &saw, region, vantageTime, func(ctx context.Context, inc *incident.Incident) (incident.Finding, error) {
					return h.AskPeer(ctx, region, probe(inc, finding))
				})
				p.Finding, p.Err = saw.Value, saw.Err
				return err
			})
		}
	}
	return questions
}

// probe is what another region is asked about the target of a finding. It gets no
// secret, and has no key to compare.
func probe(inc *incident.Incident, f incident.Finding) incident.Probe {
	s := inc.Settings
	if f.Check == incident.CheckSSH {
		ssh := s.SSH
		ssh.Host, ssh.HostKeyFingerprint = cmp.Or(ssh.Host, f.Address), ""
		return incident.Probe{Check: f.Check, Address: f.Address, SSH: &ssh}
	}
	u := s.URL
	if u.SecretHeaders = nil; u.Address == "" {
		host := net.JoinHostPort(f.Address, strconv.Itoa(port(inc, f.Check)))
		u.Address, u.Port = u.Scheme+"://"+host+u.Path, 0
	}
	return incident.Probe{Check: f.Check, Address: f.Address, URL: &u}
}

// port is the port that a check asks; 0: not known.
func port(inc *incident.Incident, check string) int {
	s := inc.Settings
	switch {
	case check == incident.CheckSSH:
		return s.SSH.Port
	case check == incident.CheckRoute53 && inc.HealthCheck == nil:
		return 0
	case check == incident.CheckRoute53:
		return inc.HealthCheck.Port
	}
	scheme, asked := s.URL.Scheme, s.URL.Port
	if u, err := url.Parse(s.URL.Address); err == nil && s.URL.Address != "" {
		scheme = u.Scheme
		asked, _ = strconv.Atoi(u.Port())
	}
	return cmp.Or(asked, map[string]int{incident.SchemeHTTPS: 443}[scheme], 80)
}

// closed says by check why the instance's security groups admit nobody to what sent no
// byte. (What is not at an address of the instance's never fails: see policy.Weigh.)
func (h *Handler) closed(ctx context.Context, inc *incident.Incident, unanswered []incident.Finding) (map[string]string, error) {
	i, err := oneInstance(h.EC2().DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{inc.InstanceID}}))
	if err != nil || i == nil || len(i.SecurityGroups) == 0 {
		return nil, err
	}
	in := &ec2.DescribeSecurityGroupsInput{}
	for _, f := range append(unanswered, incident.Finding{}) { // of a dry run, too
		for _, g := range groups(i, f.Address) {
			if id := aws.ToString(g.GroupId); !slices.Contains(in.GroupIds, id) {
				in.GroupIds = append(in.GroupIds, id)
			}
		}
	}
	out, err := h.EC2().DescribeSecurityGroups(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("DescribeSecurityGroups: %w", err)
	}
	why := map[string]string{}
	for _, f := range unanswered {
		n, from := port(inc, f.Check), "anybody"
		// We ask from changing addresses of the internet. What accepts or refuses a
		// connection is let through, or is not the instance.
		isPublic := f.Address != "" && !h.VPC && f.Connection == incident.NoConnection
		if isPublic {
			from = "0.0.0.0/0"
		}
		its := groups(i, f.Address)
		if n > 0 && !slices.ContainsFunc(out.SecurityGroups, func(g types.SecurityGroup) bool {
			isIts := slices.ContainsFunc(its, func(id types.GroupIdentifier) bool { return aws.ToString(id.GroupId) == aws.ToString(g.GroupId) })
			return isIts && admits(g, n, isPublic)
		}) {
			why[f.Check] = fmt.Sprintf("no security group of it admits %s to TCP %d any more", from, n)
		}
	}
	return why, nil
}

// groups are the security groups of the network interface that has a public address, or
// else the instance's.
func groups(i *types.Instance, address string) []types.GroupIdentifier {
	for _, n := range i.NetworkInterfaces {
		for _, a := range n.PrivateIpAddresses {
			if address != "" && a.Association != nil && aws.ToString(a.Association.PublicIp) == address {
				return n.Groups
			}
		}
	}
	return i.SecurityGroups
}

// admits reports whether a group admits everybody to a port, or anybody at all. A
// prefix list may hold everybody.
func admits(g types.SecurityGroup, port int, everybody bool) bool {
	return slices.ContainsFunc(g.IpPermissions, func(p types.IpPermission) bool {
		protocol := aws.ToString(p.IpProtocol)
		isAll := protocol == "-1" || protocol == "tcp" && port >= int(aws.ToInt32(p.FromPort)) && port <= int(aws.ToInt32(p.ToPort))
		return isAll && (!everybody || len(p.PrefixListIds) > 0 ||
			slices.ContainsFunc(p.IpRanges, func(r types.IpRange) bool { return incident.Everybody(aws.ToString(r.CidrIp)) }))
	})
}

const (
	// creditsPeriod is how often CloudWatch gets CPUCreditBalance, in seconds, and
	// noCredits the balance at which an instance has none to spend
	// (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-performance-instances-monitoring-cpu-credits.html).
	creditsPeriod = 300
	noCredits     = 1.0
)

// burstable are the families whose instances earn CPU credits.
var burstable = []string{"t2", "t3", "t3a", "t4g"}

// credits says in words that a burstable instance in standard mode has no CPU credits
// left: it runs at its baseline then, however busy it is.
func (h *Handler) credits(ctx context.Context, id string) (string, error) {
	specs, err := h.EC2().DescribeInstanceCreditSpecifications(ctx, &ec2.DescribeInstanceCreditSpecificationsInput{InstanceIds: []string{id}})
	if err != nil {
		return "", fmt.Errorf("DescribeInstanceCreditSpecifications: %w", err)
	}
	isStandard := slices.ContainsFunc(specs.InstanceCreditSpecifications, func(s types.InstanceCreditSpecification) bool {
		return aws.ToString(s.CpuCredits) == "standard"
	})
	if !isStandard {
		return "", nil
	}
	now := time.Now()
	out, err := h.CloudWatch().GetMetricData(ctx, &cloudwatch.GetMetricDataInput{
		StartTime: aws.Time(now.Add(-4 * creditsPeriod * time.Second)), EndTime: &now, ScanBy: cwtypes.ScanByTimestampDescending,
		MetricDataQueries: []cwtypes.MetricDataQuery{{Id: aws.String("credits"), MetricStat: &cwtypes.MetricStat{
			Period: aws.Int32(creditsPeriod), Stat: aws.String("Minimum"),
			Metric: &cwtypes.Metric{
				Namespace: aws.String("AWS/EC2"), MetricName: aws.String("CPUCreditBalance"),
				Dimensions: []cwtypes.Dimension{{Name: aws.String(incident.DimensionInstance), Value: &id}},
			},
		}}},
	})
	if err != nil {
		return "", fmt.Errorf("GetMetricData: %w", err)
	}
	for _, r := range out.MetricDataResults {
		if len(r.Values) > 0 && r.Values[0] < noCredits {
			return fmt.Sprintf("it has no CPU credits left (CPUCreditBalance %.2g, standard mode): it is slow, and a reboot gives it none", r.Values[0]), nil
		}
	}
	return "", nil
}
