package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"

	"firstline/internal/stage"
)

// busyTimes are the times in which a peer was at work: from the last byte of a
// request to the last byte of the answer.
type busyTimes struct {
	// writing is held for reading while a peer answers: whoever got the answer may be
	// done with it before the peer has told how long it took.
	writing sync.RWMutex

	mu  sync.Mutex
	all [][2]time.Time
}

func (b *busyTimes) add(from, to time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, [2]time.Time{from, to})
}

// take returns for how long at least one peer was at work between two moments, and
// forgets all.
func (b *busyTimes) take(from, to time.Time) (sum time.Duration) {
	b.writing.Lock()
	b.mu.Lock()
	all := b.all
	b.all = nil
	b.mu.Unlock()
	b.writing.Unlock()
	slices.SortFunc(all, func(x, y [2]time.Time) int { return x[0].Compare(y[0]) })
	for _, one := range all {
		begin, end := one[0], one[1]
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		if end.After(begin) {
			sum += end.Sub(begin)
			from = end
		}
	}
	return sum
}

// timedConn tells when its server is at work.
type timedConn struct {
	net.Conn
	times *busyTimes

	mu sync.Mutex
	// asked is when the client said something last, or was answered last.
	asked time.Time
}

func (c *timedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.mu.Lock()
		c.asked = time.Now()
		c.mu.Unlock()
	}
	return n, err
}

func (c *timedConn) Write(p []byte) (int, error) {
	c.times.writing.RLock()
	defer c.times.writing.RUnlock()
	n, err := c.Conn.Write(p)
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times.add(c.asked, now)
	c.asked = now
	return n, err
}

// timedListener makes timed connections.
type timedListener struct {
	net.Listener
	times *busyTimes
}

func (l timedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &timedConn{Conn: c, times: l.times, asked: time.Now()}, nil
}

func listenTimed(ctx context.Context, times *busyTimes) (net.Listener, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	return timedListener{ln, times}, err
}

// relay stands before a server that cannot be timed itself, and passes all on. What
// that takes counts as the server's.
func relay(ctx context.Context, ln net.Listener, to string) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = c.Close() }()
			s, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(s, c)
				_ = s.Close()
			}()
			_, _ = io.Copy(c, s)
		}()
	}
}

// What the peers know.
const (
	functionRegion     = "eu-west-1"
	functionAccount    = "123456789012"
	functionDeployment = "firstline"
	functionTable      = "firstline-incidents"
	functionSettings   = "/firstline/instances/"
	functionSecret     = "a-secret-of-the-benchmark"
	functionMachine    = "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"
)

// peers are all that the function speaks to, each on loopback.
type peers struct {
	times *busyTimes
	aws   *fakeAWS
	// awsURL, slackURL and pagerURL are bases, webURL is a page, and webPort and
	// sshPort are those of every instance.
	awsURL, slackURL, pagerURL, webURL string
	webPort, sshPort                   int
	// pager and slack are those behind the URLs, without being timed.
	pager, slack *stage.Service
	closes       []func()
}

func startPeers(ctx context.Context) (_ *peers, err error) {
	p := &peers{times: &busyTimes{}, aws: &fakeAWS{}}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	ln, err := listenTimed(ctx, p.times)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: p.aws, ReadHeaderTimeout: 5 * time.Second}
	p.closes = append(p.closes, func() { _ = server.Close() })
	go func() { _ = server.Serve(ln) }()
	p.awsURL = "http://" + ln.Addr().String()

	instance, err := playInstance(ctx)
	if err != nil {
		return nil, err
	}
	p.closes = append(p.closes, instance.Close)
	if p.slack, err = stage.NewSlack(ctx, functionSecret); err != nil {
		return nil, err
	}
	p.closes = append(p.closes, p.slack.Close)
	if p.pager, err = stage.NewPager(ctx, functionSecret); err != nil {
		return nil, err
	}
	p.closes = append(p.closes, p.pager.Close)
	// It is to say at the first question what became of a request: else the
	// function would wait half a second before the second one.
	p.pager.SetLag(time.Nanosecond)

	before := func(address string) (string, error) {
		ln, err := listenTimed(ctx, p.times)
		if err != nil {
			return "", err
		}
		p.closes = append(p.closes, func() { _ = ln.Close() })
		go relay(ctx, ln, address)
		return ln.Addr().String(), nil
	}
	beforeURL := func(base string) (string, error) {
		u, err := url.Parse(base)
		if err == nil {
			u.Host, err = before(u.Host)
		}
		if err != nil {
			return "", err
		}
		return u.String(), nil
	}
	if p.slackURL, err = beforeURL(p.slack.URL); err != nil {
		return nil, err
	}
	if p.pagerURL, err = beforeURL(p.pager.URL); err != nil {
		return nil, err
	}
	web, err := before(net.JoinHostPort(instance.Address, strconv.Itoa(stage.HTTPPort)))
	if err != nil {
		return nil, err
	}
	ssh, err := before(net.JoinHostPort(instance.Address, strconv.Itoa(stage.SSHPort)))
	if err != nil {
		return nil, err
	}
	p.webURL = "http://" + web + "/"
	p.webPort, p.sshPort = portOf(web), portOf(ssh)
	return p, nil
}

func (p *peers) close() {
	for _, c := range slices.Backward(p.closes) {
		c()
	}
}

func portOf(address string) int {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port) // a listener's own
	return n
}

// playInstance plays an instance at an address that nobody else has.
func playInstance(ctx context.Context) (i *stage.Instance, err error) {
	for n := range 64 {
		address := fmt.Sprintf("127.%d.%d.1", 128+n, os.Getpid()%250)
		if i, err = stage.NewInstance(ctx, functionRegion, "i-0c1cbf2e7abdedf75", address); err == nil {
			return i, nil
		}
	}
	return nil, err
}

// variables is the environment that terraform/modules/function gives the function,
// as far as it concerns this deployment.
func (p *peers) variables() []string {
	return []string{
		"AWS_REGION=" + functionRegion, "AWS_ENDPOINT_URL=" + p.awsURL,
		"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=" + functionSecret, "AWS_SESSION_TOKEN=" + strings.Repeat("x", 800),
		"GOGC=200", "FIRSTLINE_NAME=" + functionDeployment, "FIRSTLINE_SETTINGS_PATH=" + functionSettings, "FIRSTLINE_LOG_LEVEL=info", "FIRSTLINE_VPC=false",
		"FIRSTLINE_SLACK_CHANNEL_ID=" + stage.SlackChannel, "FIRSTLINE_SLACK_API_URL=" + p.slackURL,
		"FIRSTLINE_SLACK_TOKEN_PARAMETER=/firstline/secrets/slack-token", "FIRSTLINE_SLACK_PAGES=true",
		fmt.Sprintf(`FIRSTLINE_PAGERS=[{"type":"opsgenie","url":%q,"keyParameter":"/firstline/secrets/opsgenie-api-key","priority":"P1"}]`, p.pagerURL),
		"FIRSTLINE_ALL_CLEAR_EVERY_MINUTES=5", "FIRSTLINE_ALL_CLEAR_FOR_MINUTES=120",
		"FIRSTLINE_TABLE=" + functionTable, "FIRSTLINE_STATE_MACHINE_ARN=" + functionMachine, "FIRSTLINE_EXECUTION_TIMEOUT_SECONDS=10800",
		"FIRSTLINE_ALARM_PREFIX=firstline-", "FIRSTLINE_BRAKE_IN_FLIGHT=2", "FIRSTLINE_BRAKE_PER_HOUR=6",
	}
}

// fakeAWS answers at once what an account with one instance does.
type fakeAWS struct {
	mu sync.Mutex
	// instance is the one that there is, and settings its own.
	instance, settings string
	items              map[[2]string]map[string]any
	// writes counts those to the table, and problem is the first call that was not
	// understood.
	writes  int
	problem error
}

// begin forgets all, and has the table hold some items.
func (a *fakeAWS) begin(instance, settings string, items ...map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.instance, a.settings, a.writes, a.problem = instance, settings, 0, nil
	a.items = map[[2]string]map[string]any{}
	for _, i := range items {
		a.items[itemKey(i)] = i
	}
}

// outcome is how many writes there were, and what was not understood.
func (a *fakeAWS) outcome() (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.writes, a.problem
}

func (a *fakeAWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	kind, answer, err := a.answer(r, body)
	if err != nil {
		a.problem = errors.Join(a.problem, fmt.Errorf("%s %s %s: %w", r.Method, r.URL.Path, r.Header.Get("X-Amz-Target"), err))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", kind)
	if kind == typeCBOR {
		w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	_, _ = w.Write(answer) //nolint:gosec // to the function
}

const (
	typeCBOR = "application/cbor"
	typeJSON = "application/x-amz-json-1.0"
	typeXML  = "text/xml"
)

// answer finds the service by how it is spoken to.
func (a *fakeAWS) answer(r *http.Request, body []byte) (kind string, answer []byte, err error) {
	switch target := r.Header.Get("X-Amz-Target"); {
	case target != "":
		v, err := a.json(target[strings.LastIndex(target, ".")+1:], body)
		if err != nil {
			return "", nil, err
		}
		answer, err = json.Marshal(v)
		return typeJSON, answer, err
	case strings.HasSuffix(r.URL.Path, "/operation/DescribeAlarms"):
		return typeCBOR, a.alarms(), nil
	case strings.HasPrefix(r.URL.Path, "/2013-04-01/healthcheck/"):
		return typeXML, healthCheckStatus(time.Now()), nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", nil, err
	}
	answer, err = a.ec2(form)
	return typeXML, answer, err
}

// json answers Systems Manager, DynamoDB and Step Functions.
func (a *fakeAWS) json(action string, body []byte) (any, error) {
	switch action {
	case "GetParameter":
		var in struct{ Name string }
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
		p := map[string]any{"Name": in.Name, "Type": "SecureString", "Value": functionSecret, "Version": 1}
		if strings.HasPrefix(in.Name, functionSettings) {
			p["Type"], p["Value"] = "String", a.settings
		}
		return map[string]any{"Parameter": p}, nil
	case "StartExecution":
		return map[string]any{"executionArn": strings.Replace(functionMachine, "stateMachine", "execution", 1) + ":x", "startDate": 1.7e9}, nil
	case "BatchGetItem":
		var in struct {
			RequestItems map[string]struct{ Keys []map[string]any }
		}
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
		responses := map[string]any{}
		for table, of := range in.RequestItems {
			found := []any{}
			for _, key := range of.Keys {
				if i := a.items[itemKey(key)]; i != nil {
					found = append(found, i)
				}
			}
			responses[table] = found
		}
		return map[string]any{"Responses": responses, "UnprocessedKeys": map[string]any{}}, nil
	case "PutItem":
		var in struct{ Item map[string]any }
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
		a.writes++
		a.items[itemKey(in.Item)] = in.Item
		return struct{}{}, nil
	case "UpdateItem":
		var in itemUpdate
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
		a.writes++
		return struct{}{}, a.update(in)
	case "TransactWriteItems":
		var in struct {
			TransactItems []struct{ Update itemUpdate }
		}
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
		a.writes++
		for _, t := range in.TransactItems {
			if err := a.update(t.Update); err != nil {
				return nil, err
			}
		}
		return struct{}{}, nil
	}
	return nil, errors.New("the benchmark knows no such call")
}

// itemUpdate is an update of DynamoDB. Its condition is taken for met.
type itemUpdate struct {
	Key                       map[string]any
	UpdateExpression          string
	ExpressionAttributeNames  map[string]string
	ExpressionAttributeValues map[string]any
}

func (a *fakeAWS) update(in itemUpdate) error {
	i := a.items[itemKey(in.Key)]
	if i == nil {
		i = map[string]any{"pk": in.Key["pk"], "sk": in.Key["sk"]}
		a.items[itemKey(in.Key)] = i
	}
	sets, removes, _ := strings.Cut(in.UpdateExpression, " REMOVE ")
	for set := range strings.SplitSeq(strings.TrimPrefix(sets, "SET "), ", ") {
		name, value, _ := strings.Cut(set, " = ")
		v, ok := in.ExpressionAttributeValues[value]
		if !ok {
			return fmt.Errorf("%q is no update that the benchmark knows", set)
		}
		i[in.ExpressionAttributeNames[name]] = v
	}
	for name := range strings.SplitSeq(removes, ", ") {
		delete(i, in.ExpressionAttributeNames[name])
	}
	return nil
}

func itemKey(i map[string]any) [2]string {
	plain := func(name string) string {
		v, _ := i[name].(map[string]any)
		s, _ := v["S"].(string)
		return s
	}
	return [2]string{plain("pk"), plain("sk")}
}

// alarms answers CloudWatch's DescribeAlarms.
func (a *fakeAWS) alarms() []byte {
	name := "firstline-cpu-" + a.instance
	return cbor.Encode(cbor.Map{"CompositeAlarms": cbor.List{}, "MetricAlarms": cbor.List{cbor.Map{
		"AlarmName":             cbor.String(name),
		"AlarmArn":              cbor.String(alarmARN(a.instance)),
		"AlarmDescription":      cbor.String("CPU of " + a.instance),
		"StateValue":            cbor.String("ALARM"),
		"StateReason":           cbor.String(alarmReason),
		"StateUpdatedTimestamp": &cbor.Tag{ID: 1, Value: cbor.Float64(float64(time.Now().Unix()))},
		"MetricName":            cbor.String("CPUUtilization"),
		"Namespace":             cbor.String("AWS/EC2"),
		"Statistic":             cbor.String("Maximum"),
		"Dimensions":            cbor.List{cbor.Map{"Name": cbor.String("InstanceId"), "Value": cbor.String(a.instance)}},
		"Period":                cbor.Uint(300),
		"EvaluationPeriods":     cbor.Uint(1),
		"Threshold":             cbor.Float64(100),
		"ActionsEnabled":        cbor.Bool(true),
	}}})
}

const alarmReason = "Threshold Crossed: 1 datapoint [100.0 (22/11/26 09:59:00)] was greater than or equal to the threshold (100.0)."

func alarmARN(instance string) string {
	return "arn:aws:cloudwatch:" + functionRegion + ":" + functionAccount + ":alarm:firstline-cpu-" + instance
}

// healthCheckers is how many checkers of Route 53 tell.
const healthCheckers = 16

func healthCheckStatus(now time.Time) []byte {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><GetHealthCheckStatusResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><HealthCheckObservations>`)
	for n := range healthCheckers {
		fmt.Fprintf(&b, "<HealthCheckObservation><Region>eu-west-1</Region><IPAddress>192.0.2.%d</IPAddress><StatusReport><Status>Success: HTTP Status Code 200, OK</Status><CheckedTime>%s</CheckedTime></StatusReport></HealthCheckObservation>",
			n, now.UTC().Format(time.RFC3339))
	}
	b.WriteString("</HealthCheckObservations></GetHealthCheckStatusResponse>")
	return []byte(b.String())
}

// consoleOutput is as long as EC2's answer may be (64 KiB).
var consoleOutput = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("[   12.345678] systemd[1]: Started app.service - The application.\n", 64<<10/66)))

// ec2 answers EC2.
func (a *fakeAWS) ec2(form url.Values) ([]byte, error) {
	action, id := form.Get("Action"), form.Get("InstanceId.1")
	answer := func(inner string) ([]byte, error) {
		return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?><%sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>%s</%sResponse>`, action, inner, action), nil
	}
	switch action {
	case "DescribeInstances":
		if form.Get("Filter.1.Name") != "" {
			return answer("<reservationSet/>") // nothing has the tag
		}
		return answer(fmt.Sprintf(describedInstance, id))
	case "DescribeInstanceStatus":
		return answer(fmt.Sprintf(`<instanceStatusSet><item><instanceId>%s</instanceId><availabilityZone>eu-west-1a</availabilityZone>
			<instanceState><code>16</code><name>running</name></instanceState>
			<systemStatus><status>ok</status><details><item><name>reachability</name><status>passed</status></item></details></systemStatus>
			<instanceStatus><status>ok</status><details><item><name>reachability</name><status>passed</status></item></details></instanceStatus></item></instanceStatusSet>`, id))
	case "GetConsoleOutput":
		return answer("<instanceId>" + form.Get("InstanceId") + "</instanceId><timestamp>2026-11-22T10:00:00.000Z</timestamp><output>" + consoleOutput + "</output>")
	case "RebootInstances":
		return answer("<return>true</return>")
	}
	return nil, fmt.Errorf("%q: the benchmark knows no such call", action)
}

// describedInstance is about as long as an instance's description is.
const describedInstance = `<reservationSet><item><reservationId>r-0c1cbf2e7abdedf75</reservationId><ownerId>123456789012</ownerId><groupSet/>
<instancesSet><item><instanceId>%s</instanceId><imageId>ami-0c1cbf2e7abdedf75</imageId><instanceState><code>16</code><name>running</name></instanceState>
<privateDnsName>ip-10-0-0-10.eu-west-1.compute.internal</privateDnsName><dnsName>ec2-192-0-2-10.eu-west-1.compute.amazonaws.com</dnsName>
<reason/><keyName>key</keyName><amiLaunchIndex>0</amiLaunchIndex><productCodes/><instanceType>t3.large</instanceType><launchTime>2026-10-01T08:00:00.000Z</launchTime>
<placement><availabilityZone>eu-west-1a</availabilityZone><groupName/><tenancy>default</tenancy></placement><monitoring><state>disabled</state></monitoring>
<subnetId>subnet-0c1cbf2e7abdedf75</subnetId><vpcId>vpc-0c1cbf2e7abdedf75</vpcId><privateIpAddress>10.0.0.10</privateIpAddress><ipAddress>127.0.0.1</ipAddress>
<sourceDestCheck>true</sourceDestCheck><groupSet><item><groupId>sg-0c1cbf2e7abdedf75</groupId><groupName>web</groupName></item></groupSet>
<architecture>x86_64</architecture><rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda</rootDeviceName>
<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-0c1cbf2e7abdedf75</volumeId><status>attached</status><attachTime>2026-10-01T08:00:01.000Z</attachTime><deleteOnTermination>true</deleteOnTermination></ebs></item></blockDeviceMapping>
<virtualizationType>hvm</virtualizationType><clientToken>c</clientToken><tagSet><item><key>Name</key><value>web</value></item><item><key>team</key><value>shop</value></item></tagSet><hypervisor>xen</hypervisor>
<networkInterfaceSet><item><networkInterfaceId>eni-0c1cbf2e7abdedf75</networkInterfaceId><subnetId>subnet-0c1cbf2e7abdedf75</subnetId><vpcId>vpc-0c1cbf2e7abdedf75</vpcId><description/><ownerId>123456789012</ownerId><status>in-use</status><macAddress>06:00:00:00:00:01</macAddress><privateIpAddress>10.0.0.10</privateIpAddress>
<groupSet><item><groupId>sg-0c1cbf2e7abdedf75</groupId><groupName>web</groupName></item></groupSet><attachment><attachmentId>eni-attach-0c1cbf2e7abdedf75</attachmentId><deviceIndex>0</deviceIndex><status>attached</status><deleteOnTermination>true</deleteOnTermination></attachment><ipv6AddressesSet/></item></networkInterfaceSet>
<ebsOptimized>true</ebsOptimized><enaSupport>true</enaSupport><cpuOptions><coreCount>1</coreCount><threadsPerCore>2</threadsPerCore></cpuOptions><metadataOptions><state>applied</state><httpTokens>required</httpTokens><httpPutResponseHopLimit>2</httpPutResponseHopLimit><httpEndpoint>enabled</httpEndpoint></metadataOptions></item></instancesSet></item></reservationSet>`
