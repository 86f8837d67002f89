package localaws

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// instanceImage is one of the images that moto knows from the start.
const instanceImage = "ami-12c6146b"

// Reboot is a RebootInstances call that EC2 accepted, for one instance.
type Reboot struct {
	Time       time.Time
	Region     string
	InstanceID string
	// Role is the ARN of the role that asked for it; empty for callers outside.
	Role string
}

// RunInstance starts an instance and returns its id when it is running.
func (a *AWS) RunInstance(ctx context.Context, region string) (id string, err error) {
	group, err := a.openGroup(ctx, region)
	if err != nil {
		return "", fmt.Errorf("make a security group in %s: %w", region, err)
	}
	resp, err := a.moto.form(ctx, "ec2", region, url.Values{
		"SecurityGroupId.1": {group},
		"Action":            {"RunInstances"}, "Version": {"2016-11-15"}, "ImageId": {instanceImage},
		"InstanceType": {"t3.micro"}, "MinCount": {"1"}, "MaxCount": {"1"},
	})
	if err != nil {
		return "", fmt.Errorf("run an instance in %s: %w", region, err)
	}
	var out struct {
		IDs []string `xml:"instancesSet>item>instanceId"`
	}
	if err := xml.Unmarshal(resp.body, &out); err != nil {
		return "", fmt.Errorf("run an instance in %s: %w", region, err)
	}
	if len(out.IDs) != 1 {
		return "", fmt.Errorf("run an instance in %s: moto made %d", region, len(out.IDs))
	}
	return out.IDs[0], nil
}

// openGroup returns a security group that admits everybody, of a name of its own: the
// instances of moto's have none else, and those of AWS always have one.
func (a *AWS) openGroup(ctx context.Context, region string) (id string, err error) {
	resp, err := a.moto.form(ctx, "ec2", region, url.Values{
		"Action": {"CreateSecurityGroup"}, "Version": {"2016-11-15"}, "GroupName": {fmt.Sprintf("open-%d", a.groups.Add(1))}, "GroupDescription": {"open"},
	})
	if err != nil {
		return "", err
	}
	var out struct {
		ID string `xml:"groupId"`
	}
	if err := xml.Unmarshal(resp.body, &out); err != nil {
		return "", err
	}
	_, err = a.moto.form(ctx, "ec2", region, url.Values{
		"Action": {"AuthorizeSecurityGroupIngress"}, "Version": {"2016-11-15"}, "GroupId": {out.ID},
		"IpPermissions.1.IpProtocol": {"-1"}, "IpPermissions.1.IpRanges.1.CidrIp": {"0.0.0.0/0"},
	})
	return out.ID, err
}

// SetPublicAddress has DescribeInstances show an instance's public IPv4 address
// as the given one, so that a check of the instance reaches a server of ours.
func (a *AWS) SetPublicAddress(instanceID, address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.addresses[instanceID] = address
}

// OnReboot has fn called for each instance of a RebootInstances call that EC2
// accepted, before the caller gets the answer (which waits for fn). It is
// called concurrently where calls are.
func (a *AWS) OnReboot(fn func(region, instanceID string)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.onReboot = append(a.onReboot, fn)
}

// Reboots lists the reboots that EC2 accepted, in order.
func (a *AWS) Reboots() []Reboot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.reboots)
}

// dryRun answers a call that is only to say what would happen, as EC2 does when
// it would have carried it out (moto's status is another one); nil for a call
// that is meant.
func dryRun(q *request) *response {
	if q.form.Get("DryRun") != "true" {
		return nil
	}
	return q.refuse(http.StatusPreconditionFailed, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
}

func (a *AWS) rebooted(q *request, role string) {
	for _, id := range instanceIDs(q.form) {
		a.mu.Lock()
		a.reboots = append(a.reboots, Reboot{Time: time.Now(), Region: q.region, InstanceID: id, Role: role})
		tell := slices.Clone(a.onReboot)
		a.mu.Unlock()
		for _, fn := range tell {
			fn(q.region, id)
		}
	}
}

// instanceIDs are the instances that a call of EC2's query protocol names.
func instanceIDs(form url.Values) []string {
	var ids []string
	for i := 1; ; i++ {
		id := form.Get(fmt.Sprintf("InstanceId.%d", i))
		if id == "" {
			return ids
		}
		ids = append(ids, id)
	}
}

// rewriteInstances replaces the addresses in an answer of DescribeInstances.
func (a *AWS) rewriteInstances(body []byte) []byte {
	return a.rewrite("DescribeInstances", body, func(root *node) {
		for _, reservation := range root.at("reservationSet").children("item") {
			for _, instance := range reservation.at("instancesSet").children("item") {
				a.mu.Lock()
				address, set := a.addresses[instance.text("instanceId")]
				a.mu.Unlock()
				if !set {
					continue
				}
				instance.set("ipAddress", address)
				networkInterface := instance.at("networkInterfaceSet").at("item")
				for _, n := range []*node{networkInterface, networkInterface.at("privateIpAddressesSet").at("item")} {
					n.at("association").set("publicIp", address)
				}
			}
		}
	})
}

// rewriteCredits gives each instance the credit mode with which EC2 starts a T3, such
// as those of RunInstance. moto says "standard" of all.
func (a *AWS) rewriteCredits(body []byte) []byte {
	return a.rewrite("DescribeInstanceCreditSpecifications", body, func(root *node) {
		for _, item := range root.at("instanceCreditSpecificationSet").children("item") {
			item.set("cpuCredits", "unlimited")
		}
	})
}

// SetConsoleOutput sets what GetConsoleOutput answers of an instance. Empty is
// an instance that has written nothing yet.
func (a *AWS) SetConsoleOutput(instanceID, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.consoles[instanceID] = text
}

// rewriteConsole replaces the text in an answer of GetConsoleOutput.
func (a *AWS) rewriteConsole(body []byte) []byte {
	return a.rewrite("GetConsoleOutput", body, func(root *node) {
		a.mu.Lock()
		text, set := a.consoles[root.text("instanceId")]
		a.mu.Unlock()
		if set {
			root.set("output", base64.StdEncoding.EncodeToString([]byte(text)))
		}
	})
}

// rewrite changes an answer in XML.
func (a *AWS) rewrite(action string, body []byte, change func(root *node)) []byte {
	root, err := readXML(body)
	if err != nil {
		a.log.printf("moto's answer to %s: %v", action, err)
		return body
	}
	change(root)
	var out bytes.Buffer
	out.WriteString(xml.Header)
	root.write(&out)
	return out.Bytes()
}

// node is an XML element: either text or elements. A nil node has nothing.
type node struct {
	name  string
	attrs []xml.Attr
	nodes []*node
	data  string
}

func readXML(body []byte) (*node, error) {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	var open []*node
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			n := &node{name: t.Name.Local, attrs: slices.Clone(t.Attr)}
			if len(open) > 0 {
				parent := open[len(open)-1]
				parent.nodes = append(parent.nodes, n)
			}
			open = append(open, n)
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].data += string(t)
			}
		case xml.EndElement:
			if len(open) == 1 {
				return open[0], nil
			}
			open = open[:len(open)-1]
		}
	}
}

func (n *node) write(out *bytes.Buffer) {
	out.WriteString("<" + n.name)
	for _, a := range n.attrs {
		fmt.Fprintf(out, ` %s="%s"`, a.Name.Local, escapeXML(a.Value))
	}
	out.WriteString(">")
	if len(n.nodes) == 0 {
		out.WriteString(escapeXML(n.data))
	}
	for _, child := range n.nodes {
		child.write(out)
	}
	out.WriteString("</" + n.name + ">")
}

func (n *node) children(name string) []*node {
	if n == nil {
		return nil
	}
	var found []*node
	for _, child := range n.nodes {
		if child.name == name {
			found = append(found, child)
		}
	}
	return found
}

// at is the first child of a name, or nil.
func (n *node) at(name string) *node {
	if found := n.children(name); len(found) > 0 {
		return found[0]
	}
	return nil
}

func (n *node) text(name string) string {
	if child := n.at(name); child != nil {
		return strings.TrimSpace(child.data)
	}
	return ""
}

func (n *node) remove(name string) {
	if n != nil {
		n.nodes = slices.DeleteFunc(n.nodes, func(child *node) bool { return child.name == name })
	}
}

// set makes a child hold a text; an empty text removes it.
func (n *node) set(name, text string) {
	if n == nil {
		return
	}
	if text == "" {
		n.remove(name)
		return
	}
	if child := n.at(name); child != nil {
		child.data, child.nodes = text, nil
		return
	}
	n.nodes = append(n.nodes, &node{name: name, data: text})
}
