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
	resp, err := a.moto.form(ctx, "ec2", region, url.Values{
		"Action": {"RunInstances"}, "Version": {"2016-11-15"}, "ImageId": {instanceImage},
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

// addresses replace those that moto made up; nil leaves an address alone.
type addresses struct{ public, private, ipv6 *string }

// SetPublicAddress has DescribeInstances show an instance's public IPv4 address
// as the given one, so that a check of the instance reaches a server of ours.
// Empty means that the instance has none.
func (a *AWS) SetPublicAddress(instanceID, address string) {
	a.setAddress(instanceID, func(s *addresses) { s.public = &address })
}

// SetPrivateAddress does the same for the private IPv4 address.
func (a *AWS) SetPrivateAddress(instanceID, address string) {
	a.setAddress(instanceID, func(s *addresses) { s.private = &address })
}

// SetIPv6Address does the same for the IPv6 address. Without it an instance has
// none.
func (a *AWS) SetIPv6Address(instanceID, address string) {
	a.setAddress(instanceID, func(s *addresses) { s.ipv6 = &address })
}

func (a *AWS) setAddress(instanceID string, set func(*addresses)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.addresses[instanceID]
	set(&s)
	a.addresses[instanceID] = s
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
	a.mu.Lock()
	none := len(a.addresses) == 0
	a.mu.Unlock()
	if none {
		return body
	}
	return a.rewrite("DescribeInstances", body, func(root *node) {
		for _, reservation := range root.at("reservationSet").children("item") {
			for _, instance := range reservation.at("instancesSet").children("item") {
				a.mu.Lock()
				s := a.addresses[instance.text("instanceId")]
				a.mu.Unlock()
				s.apply(instance)
			}
		}
	})
}

func (s addresses) apply(instance *node) {
	networkInterface := instance.at("networkInterfaceSet").at("item")
	private := networkInterface.at("privateIpAddressesSet").at("item")
	if s.private != nil {
		for _, n := range []*node{instance, networkInterface, private} {
			n.set("privateIpAddress", *s.private)
		}
	}
	if s.public != nil {
		instance.set("ipAddress", *s.public)
		if *s.public == "" {
			instance.set("dnsName", "")
			networkInterface.remove("association")
			private.remove("association")
		}
		for _, n := range []*node{networkInterface, private} {
			if association := n.at("association"); association != nil {
				association.set("publicIp", *s.public)
			}
		}
	}
	if s.ipv6 != nil {
		instance.set("ipv6Address", *s.ipv6)
		if networkInterface != nil {
			networkInterface.remove("ipv6AddressesSet")
			if *s.ipv6 != "" {
				item := &node{name: "item"}
				item.set("ipv6Address", *s.ipv6)
				networkInterface.nodes = append(networkInterface.nodes, &node{name: "ipv6AddressesSet", nodes: []*node{item}})
			}
		}
	}
}

// InstanceStatus is what DescribeInstanceStatus answers of an instance.
type InstanceStatus struct {
	// System and Instance are the summaries of the two status checks: "ok",
	// "impaired", "initializing", "insufficient-data" or "not-applicable". An
	// empty one is moto's, which is "ok".
	System, Instance string
	// Events are what AWS has planned for the instance.
	Events []ScheduledEvent
}

// ScheduledEvent is something that AWS has planned for an instance.
type ScheduledEvent struct {
	// ID is made up when it is empty.
	ID string
	// Code is "instance-reboot", "system-reboot", "system-maintenance",
	// "instance-retirement" or "instance-stop".
	Code string
	// Description begins with "[Completed]" or "[Canceled]" when it is over.
	Description         string
	NotBefore, NotAfter time.Time // zero for none
}

// SetInstanceStatus sets what DescribeInstanceStatus answers of an instance
// that is running.
func (a *AWS) SetInstanceStatus(instanceID string, s InstanceStatus) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.statuses[instanceID] = s
}

// SetConsoleOutput sets what GetConsoleOutput answers of an instance. Empty is
// an instance that has written nothing yet.
func (a *AWS) SetConsoleOutput(instanceID, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.consoles[instanceID] = text
}

// rewriteStatuses replaces the statuses in an answer of DescribeInstanceStatus.
func (a *AWS) rewriteStatuses(body []byte) []byte {
	return a.rewrite("DescribeInstanceStatus", body, func(root *node) {
		for _, item := range root.at("instanceStatusSet").children("item") {
			a.mu.Lock()
			s, set := a.statuses[item.text("instanceId")]
			a.mu.Unlock()
			if set {
				s.apply(item)
			}
		}
	})
}

func (s InstanceStatus) apply(item *node) {
	for name, summary := range map[string]string{"systemStatus": s.System, "instanceStatus": s.Instance} {
		if summary == "" {
			continue
		}
		reachability := map[string]string{"ok": "passed", "impaired": "failed"}[summary]
		if reachability == "" {
			reachability = summary
		}
		detail := &node{name: "item"}
		detail.set("name", "reachability")
		detail.set("status", reachability)
		status := &node{name: name}
		status.set("status", summary)
		status.nodes = append(status.nodes, &node{name: "details", nodes: []*node{detail}})
		item.replace(status)
	}
	events := &node{name: "eventsSet"}
	for i, e := range s.Events {
		event := &node{name: "item"}
		if e.ID == "" {
			e.ID = fmt.Sprintf("instance-event-%017x", i+1)
		}
		event.set("instanceEventId", e.ID)
		event.set("code", e.Code)
		event.set("description", e.Description)
		for name, at := range map[string]time.Time{"notBefore": e.NotBefore, "notAfter": e.NotAfter} {
			if !at.IsZero() {
				event.set(name, at.UTC().Format("2006-01-02T15:04:05.000Z"))
			}
		}
		events.nodes = append(events.nodes, event)
	}
	item.replace(events)
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

// replace puts a child in the place of the one of its name, or adds it.
func (n *node) replace(child *node) {
	for i, old := range n.nodes {
		if old.name == child.name {
			n.nodes[i] = child
			return
		}
	}
	n.nodes = append(n.nodes, child)
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
