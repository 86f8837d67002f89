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
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"

	"firstline/internal/incident"
	"firstline/test/dynamo"
	"firstline/test/testbed"
)

// What the peers know.
const (
	functionRegion     = "eu-west-1"
	functionAccount    = "123456789012"
	functionDeployment = "firstline"
	functionTable      = "firstline-incidents"
	functionSettings   = "/firstline/instances/"
	functionSecret     = "a-secret-of-the-benchmark"
	functionMachine    = "arn:aws:states:eu-west-1:123456789012:stateMachine:firstline"
	functionInstance   = "i-0c1cbf2e7abdedf75"
)

// peers are all that the function speaks to, each on loopback: an account with one
// instance, Slack and a pager.
type peers struct {
	awsURL      string
	pager       *testbed.Service
	slack       *testbed.Service
	instance    *testbed.Instance
	closes      []func()
	mu          sync.Mutex
	settings    incident.Settings
	table       *dynamo.DB
	stopped     bool
	unreachable bool
	// calls counts AWS's calls by service, and problem is the first that was not
	// understood.
	calls   map[string]int
	problem error
}

func startPeers(ctx context.Context) (_ *peers, err error) {
	p := &peers{}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: p, ReadHeaderTimeout: 5 * time.Second}
	p.closes = append(p.closes, func() { _ = server.Close() })
	go func() { _ = server.Serve(ln) }()
	p.awsURL = "http://" + ln.Addr().String()
	// An address that nobody else has.
	for n := 0; p.instance == nil; n++ {
		address := fmt.Sprintf("127.%d.%d.1", 128+n, os.Getpid()%250)
		if p.instance, err = testbed.NewInstance(ctx, functionRegion, functionInstance, address); err != nil && n == 64 {
			return nil, err
		}
	}
	p.closes = append(p.closes, p.instance.Close)
	if p.slack, err = testbed.NewSlack(ctx, functionSecret); err != nil {
		return nil, err
	}
	p.closes = append(p.closes, p.slack.Close)
	if p.pager, err = testbed.NewPager(ctx, functionSecret); err != nil {
		return nil, err
	}
	p.closes = append(p.closes, p.pager.Close)
	// It is to say at the first question what became of a request: else the
	// function would wait half a second before the second one.
	p.pager.SetLag(time.Nanosecond)
	return p, p.begin()
}

func (p *peers) close() {
	for _, c := range p.closes {
		c()
	}
}

// begin has all be well and as if nothing had ever happened.
func (p *peers) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings = incident.DefaultSettings()
	p.settings.URL.Port, p.settings.SSH.Port = testbed.HTTPPort, testbed.SSHPort
	p.settings.URL.Attempts, p.settings.Route53.Attempts = 1, 1
	p.settings.Route53.HealthCheckID = "4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b"
	p.settings.ConfirmSeconds = 0
	p.table, p.stopped, p.calls, p.problem = dynamo.New(functionTable), false, map[string]int{}, nil
	if !p.unreachable {
		return nil
	}
	p.unreachable = false
	return p.instance.SetHTTP(testbed.Healthy)
}

// down has the instance's web server refuse connections, and Route 53 see it.
func (p *peers) down() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unreachable = true
	return p.instance.SetHTTP(testbed.Refuse)
}

// never forbids reboots, so that a failure pages.
func (p *peers) never() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settings.Reboot.PerDay = 0
	return nil
}

// stop is what a person does to the instance.
func (p *peers) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	return nil
}

// variables is the environment that terraform/modules/function gives the function,
// as far as it concerns this deployment.
func (p *peers) variables() []string {
	return []string{
		"AWS_REGION=" + functionRegion, "AWS_ENDPOINT_URL=" + p.awsURL,
		"AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY=" + functionSecret, "AWS_SESSION_TOKEN=" + strings.Repeat("x", 800),
		"GOGC=200", "FIRSTLINE_NAME=" + functionDeployment, "FIRSTLINE_SETTINGS_PATH=" + functionSettings, "FIRSTLINE_LOG_LEVEL=info", "FIRSTLINE_VPC=false",
		"FIRSTLINE_SLACK_CHANNEL_ID=" + testbed.SlackChannel, "FIRSTLINE_SLACK_API_URL=" + p.slack.URL,
		"FIRSTLINE_SLACK_TOKEN_PARAMETER=/firstline/secrets/slack-token", "FIRSTLINE_SLACK_PAGES=true",
		fmt.Sprintf(`FIRSTLINE_PAGERS=[{"type":"opsgenie","endpoint":%q,"key_parameter":"/firstline/secrets/opsgenie-api-key","priority":"P1"}]`, p.pager.URL),
		"FIRSTLINE_TABLE=" + functionTable, "FIRSTLINE_STATE_MACHINE_ARN=" + functionMachine,
		"FIRSTLINE_ALARM_PREFIX=firstline-alarm-", `FIRSTLINE_BREAKER={"in_flight":2,"per_hour":6}`,
	}
}

// outcome is how often each service was called, and what was not understood.
func (p *peers) outcome() (map[string]int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls, p.problem
}

// ServeHTTP answers at once what the account does.
func (p *peers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	kind, answer, err := p.answer(r, body)
	if err != nil {
		p.problem = errors.Join(p.problem, fmt.Errorf("%s %s %s: %w", r.Method, r.URL.Path, r.Header.Get("X-Amz-Target"), err))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", kind)
	if kind == typeCBOR {
		w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	if string(answer) == dryRunOperation {
		w.WriteHeader(http.StatusPreconditionFailed)
	}
	_, _ = w.Write(answer) //nolint:gosec // to the function
}

const (
	typeCBOR = "application/cbor"
	typeJSON = "application/x-amz-json-1.0"
	typeXML  = "text/xml"
)

// answer finds the service by how it is spoken to.
func (p *peers) answer(r *http.Request, body []byte) (kind string, answer []byte, err error) {
	target := r.Header.Get("X-Amz-Target")
	service, action, _ := strings.Cut(target, ".")
	switch {
	case strings.HasPrefix(service, "DynamoDB"):
		p.calls["dynamodb"]++
		v, err := answerTable(r.Context(), p.table, action, body)
		if err != nil {
			return "", nil, err
		}
		answer, err = json.Marshal(v)
		return typeJSON, answer, err
	case target != "":
		v, err := p.json(action, body)
		if err != nil {
			return "", nil, err
		}
		answer, err = json.Marshal(v)
		return typeJSON, answer, err
	case strings.HasSuffix(r.URL.Path, "/operation/DescribeAlarms"):
		p.calls["cloudwatch"]++
		return typeCBOR, alarms(), nil
	case strings.HasSuffix(r.URL.Path, "/operation/GetMetricData"):
		p.calls["cloudwatch"]++
		return typeCBOR, cbor.Encode(cbor.Map{"MetricDataResults": cbor.List{}}), nil
	case strings.HasSuffix(r.URL.Path, "/operation/ListMetrics"):
		p.calls["cloudwatch"]++
		return typeCBOR, cbor.Encode(cbor.Map{"Metrics": cbor.List{}}), nil
	case r.URL.Path == "/2013-04-01/healthcheck":
		return typeXML, []byte(healthChecks), nil
	case strings.HasPrefix(r.URL.Path, "/2013-04-01/healthcheck/") && !strings.HasSuffix(r.URL.Path, "/status"):
		return typeXML, []byte(healthCheckConfig), nil
	case strings.HasPrefix(r.URL.Path, "/2013-04-01/healthcheck/"):
		return typeXML, healthCheckStatus(time.Now(), p.unreachable), nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", nil, err
	}
	answer, err = p.ec2(form)
	return typeXML, answer, err
}

// json answers Systems Manager and Step Functions.
func (p *peers) json(action string, body []byte) (any, error) {
	switch action {
	case "GetParameter":
		var in struct{ Name string }
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(in.Name, functionSettings) {
			return map[string]any{"Parameter": map[string]any{"Name": in.Name, "Type": "SecureString", "Value": functionSecret, "Version": 1}}, nil
		}
		settings, err := json.Marshal(p.settings)
		return map[string]any{"Parameter": map[string]any{"Name": in.Name, "Type": "String", "Value": string(settings), "Version": 1}}, err
	case "GetParametersByPath":
		settings, err := json.Marshal(p.settings)
		return map[string]any{"Parameters": []any{map[string]any{"Name": functionSettings + functionInstance, "Type": "String", "Value": string(settings), "Version": 1}}}, err
	case "StartExecution":
		return map[string]any{"executionArn": strings.Replace(functionMachine, "stateMachine", "execution", 1) + ":x", "startDate": 1.7e9}, nil
	case "DescribeExecution":
		return map[string]any{"status": "SUCCEEDED", "startDate": 1.7e9}, nil
	}
	return nil, errors.New("the benchmark knows no such call")
}

// alarms answers CloudWatch's DescribeAlarms.
func alarms() []byte {
	const name = "firstline-alarm-" + functionInstance + "-cpu"
	return cbor.Encode(cbor.Map{"CompositeAlarms": cbor.List{}, "MetricAlarms": cbor.List{cbor.Map{
		"AlarmName":             cbor.String(name),
		"AlarmArn":              cbor.String(alarmARN),
		"AlarmDescription":      cbor.String("CPU of " + functionInstance),
		"StateValue":            cbor.String("ALARM"),
		"StateReason":           cbor.String(alarmReason),
		"StateUpdatedTimestamp": &cbor.Tag{ID: 1, Value: cbor.Float64(float64(time.Now().Unix()))},
		"MetricName":            cbor.String("CPUUtilization"),
		"Namespace":             cbor.String("AWS/EC2"),
		"Statistic":             cbor.String("Maximum"),
		"Dimensions":            cbor.List{cbor.Map{"Name": cbor.String("InstanceId"), "Value": cbor.String(functionInstance)}},
		"Period":                cbor.Uint(300),
		"EvaluationPeriods":     cbor.Uint(1),
		"Threshold":             cbor.Float64(100),
		"ActionsEnabled":        cbor.Bool(true),
	}}})
}

const alarmReason = "Threshold Crossed: 1 datapoint [100.0 (22/11/26 09:59:00)] was greater than or equal to the threshold (100.0)."

const alarmARN = "arn:aws:cloudwatch:" + functionRegion + ":" + functionAccount + ":alarm:firstline-alarm-" + functionInstance + "-cpu"

const (
	healthCheck       = `<HealthCheck><Id>4f2b8a1e-9c3d-4e5f-8a7b-6c5d4e3f2a1b</Id><CallerReference>x</CallerReference><HealthCheckConfig><IPAddress>127.0.0.1</IPAddress><Port>80</Port><Type>HTTP</Type><ResourcePath>/</ResourcePath></HealthCheckConfig><HealthCheckVersion>1</HealthCheckVersion></HealthCheck>`
	healthCheckConfig = `<?xml version="1.0"?><GetHealthCheckResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/">` + healthCheck + `</GetHealthCheckResponse>`
	healthChecks      = `<?xml version="1.0"?><ListHealthChecksResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><HealthChecks>` + healthCheck + `</HealthChecks><Marker></Marker><IsTruncated>false</IsTruncated><MaxItems>100</MaxItems></ListHealthChecksResponse>`
)

// healthCheckers is how many checkers of Route 53 tell.
const healthCheckers = 16

func healthCheckStatus(now time.Time, unreachable bool) []byte {
	status := "Success: HTTP Status Code 200, OK"
	if unreachable {
		status = "Failure: Connection refused"
	}
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><GetHealthCheckStatusResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><HealthCheckObservations>`)
	for n := range healthCheckers {
		fmt.Fprintf(&b, "<HealthCheckObservation><Region>eu-west-1</Region><IPAddress>192.0.2.%d</IPAddress><StatusReport><Status>%s</Status><CheckedTime>%s</CheckedTime></StatusReport></HealthCheckObservation>",
			n, status, now.UTC().Format(time.RFC3339))
	}
	b.WriteString("</HealthCheckObservations></GetHealthCheckStatusResponse>")
	return []byte(b.String())
}

// consoleOutput is as long as EC2's answer may be (64 KiB).
var consoleOutput = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("[   12.345678] systemd[1]: Started app.service - The application.\n", 64<<10/66)))

// ec2 answers EC2.
func (p *peers) ec2(form url.Values) ([]byte, error) {
	action, id := form.Get("Action"), form.Get("InstanceId.1")
	answer := func(inner string) ([]byte, error) {
		return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?><%sResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId>%s</%sResponse>`, action, inner, action), nil
	}
	switch action {
	case "DescribeInstances":
		switch form.Get("Filter.1.Name") {
		case "tag-key":
			return answer("<reservationSet/>") // nothing has the tag
		case "instance-id":
			id = form.Get("Filter.1.Value.1")
		}
		state := "<instanceState><code>16</code><name>running</name></instanceState>"
		if p.stopped {
			state = "<instanceState><code>80</code><name>stopped</name></instanceState><stateReason><code>Client.UserInitiatedShutdown</code><message>Client.UserInitiatedShutdown: User initiated shutdown</message></stateReason>"
		}
		return answer(fmt.Sprintf(describedInstance, id, state, p.instance.Address))
	case "DescribeInstanceStatus":
		return answer(fmt.Sprintf(`<instanceStatusSet><item><instanceId>%s</instanceId><availabilityZone>eu-west-1a</availabilityZone>
			<instanceState><code>16</code><name>running</name></instanceState>
			<systemStatus><status>ok</status><details><item><name>reachability</name><status>passed</status></item></details></systemStatus>
			<instanceStatus><status>ok</status><details><item><name>reachability</name><status>passed</status></item></details></instanceStatus></item></instanceStatusSet>`, id))
	case "DescribeInstanceCreditSpecifications":
		return answer("<instanceCreditSpecificationSet><item><instanceId>" + id + "</instanceId><cpuCredits>unlimited</cpuCredits></item></instanceCreditSpecificationSet>")
	case "DescribeSecurityGroups":
		return answer(`<securityGroupInfo><item><groupId>sg-0c1cbf2e7abdedf75</groupId><ipPermissions><item><ipProtocol>-1</ipProtocol><groups/>
			<ipRanges><item><cidrIp>0.0.0.0/0</cidrIp></item></ipRanges><ipv6Ranges/><prefixListIds/></item></ipPermissions></item></securityGroupInfo>`)
	case "GetConsoleOutput":
		return answer("<instanceId>" + form.Get("InstanceId") + "</instanceId><timestamp>2026-11-22T10:00:00.000Z</timestamp><output>" + consoleOutput + "</output>")
	case "RebootInstances":
		if form.Get("DryRun") == "true" {
			return []byte(dryRunOperation), nil
		}
		return answer("<return>true</return>")
	}
	return nil, fmt.Errorf("%q: the benchmark knows no such call", action)
}

// dryRunOperation is how EC2 says that it would have carried out a dry run.
const dryRunOperation = `<Response><Errors><Error><Code>DryRunOperation</Code><Message>Request would have succeeded, but DryRun flag is set.</Message></Error></Errors><RequestID>r</RequestID></Response>`

// describedInstance is about as long as an instance's description is.
const describedInstance = `<reservationSet><item><reservationId>r-0c1cbf2e7abdedf75</reservationId><ownerId>123456789012</ownerId><groupSet/>
<instancesSet><item><instanceId>%s</instanceId><imageId>ami-0c1cbf2e7abdedf75</imageId>%s
<privateDnsName>ip-10-0-0-10.eu-west-1.compute.internal</privateDnsName><dnsName>ec2-192-0-2-10.eu-west-1.compute.amazonaws.com</dnsName>
<reason/><keyName>key</keyName><amiLaunchIndex>0</amiLaunchIndex><productCodes/><instanceType>t3.large</instanceType><launchTime>2026-10-01T08:00:00.000Z</launchTime>
<placement><availabilityZone>eu-west-1a</availabilityZone><groupName/><tenancy>default</tenancy></placement><monitoring><state>disabled</state></monitoring>
<subnetId>subnet-0c1cbf2e7abdedf75</subnetId><vpcId>vpc-0c1cbf2e7abdedf75</vpcId><privateIpAddress>10.0.0.10</privateIpAddress><ipAddress>%s</ipAddress>
<sourceDestCheck>true</sourceDestCheck><groupSet><item><groupId>sg-0c1cbf2e7abdedf75</groupId><groupName>web</groupName></item></groupSet>
<architecture>x86_64</architecture><rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda</rootDeviceName>
<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-0c1cbf2e7abdedf75</volumeId><status>attached</status><attachTime>2026-10-01T08:00:01.000Z</attachTime><deleteOnTermination>true</deleteOnTermination></ebs></item></blockDeviceMapping>
<virtualizationType>hvm</virtualizationType><clientToken>c</clientToken><tagSet><item><key>Name</key><value>web</value></item><item><key>team</key><value>shop</value></item></tagSet><hypervisor>xen</hypervisor>
<networkInterfaceSet><item><networkInterfaceId>eni-0c1cbf2e7abdedf75</networkInterfaceId><subnetId>subnet-0c1cbf2e7abdedf75</subnetId><vpcId>vpc-0c1cbf2e7abdedf75</vpcId><description/><ownerId>123456789012</ownerId><status>in-use</status><macAddress>06:00:00:00:00:01</macAddress><privateIpAddress>10.0.0.10</privateIpAddress>
<groupSet><item><groupId>sg-0c1cbf2e7abdedf75</groupId><groupName>web</groupName></item></groupSet><attachment><attachmentId>eni-attach-0c1cbf2e7abdedf75</attachmentId><deviceIndex>0</deviceIndex><status>attached</status><deleteOnTermination>true</deleteOnTermination></attachment><ipv6AddressesSet/></item></networkInterfaceSet>
<ebsOptimized>true</ebsOptimized><enaSupport>true</enaSupport><cpuOptions><coreCount>1</coreCount><threadsPerCore>2</threadsPerCore></cpuOptions><metadataOptions><state>applied</state><httpTokens>required</httpTokens><httpPutResponseHopLimit>2</httpPutResponseHopLimit><httpEndpoint>enabled</httpEndpoint></metadataOptions></item></instancesSet></item></reservationSet>`
