// Command responder is the Lambda function. It makes the AWS clients and hands
// them to package handler; a client is made by the first step that uses it.
package main

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"firstline/checks"
	"firstline/handler"
	"firstline/internal/coverage"
	"firstline/internal/incident"
	"firstline/internal/store"
	"firstline/notify"
)

func main() { lambda.Start(newHandler(os.Getenv)) }

// newHandler wires the function from its environment, which terraform's
// modules/function sets.
func newHandler(getenv func(string) string) *handler.Handler {
	config := sync.OnceValue(func() aws.Config { return awsConfig(getenv) })
	parameters := sync.OnceValue(func() handler.ParameterGetter { return ssm.NewFromConfig(config()) })
	table := sync.OnceValue(func() *dynamodb.Client {
		return dynamodb.NewFromConfig(config(), func(o *dynamodb.Options) { o.HTTPClient = httpClient(tableTimeout) })
	})
	secrets := &handler.Secrets{SSM: parameters}
	egress := checks.DialEgress(egressAddresses(getenv)...)
	deps := notify.Deps{Secret: secrets.Get, SNS: func(region string) notify.SNSPublisher {
		// A topic may be in another region.
		return sns.NewFromConfig(config(), func(o *sns.Options) { o.Region = cmp.Or(region, o.Region) })
	}}
	h := &handler.Handler{
		Deployment:      getenv("FIRSTLINE_NAME"),
		Region:          getenv("AWS_REGION"),
		SettingsPath:    getenv("FIRSTLINE_SETTINGS_PATH"),
		Breaker:         breaker(getenv),
		StateMachineARN: getenv("FIRSTLINE_STATE_MACHINE_ARN"),
		AlarmPrefix:     getenv("FIRSTLINE_ALARM_PREFIX"),
		SlackPages:      getenv("FIRSTLINE_SLACK_PAGES") == "true",
		OnlyStep:        getenv("FIRSTLINE_ONLY_STEP"),
		VPC:             getenv("FIRSTLINE_VPC") == "true",
		Log:             newLog(getenv("FIRSTLINE_LOG_LEVEL")),

		SSM: parameters,
		Coverage: func() coverage.Clients {
			return coverage.Clients{CloudWatch: cloudwatch.NewFromConfig(config()), EC2: ec2.NewFromConfig(config()), Route53: route53.NewFromConfig(config())}
		},
		EC2:           sync.OnceValue(func() handler.EC2 { return ec2.NewFromConfig(config()) }),
		CloudWatch:    sync.OnceValue(func() handler.CloudWatch { return cloudwatch.NewFromConfig(config()) }),
		StepFunctions: sync.OnceValue(func() handler.Executions { return sfn.NewFromConfig(config()) }),
		Table: &store.Table{
			Name:   getenv("FIRSTLINE_TABLE"),
			Client: func(context.Context) (store.API, error) { return table(), nil },
		},
		Connected: func(ctx context.Context) bool { return egress(ctx, "tcp4") == nil },
		Pagers:    sync.OnceValues(func() ([]notify.Pager, error) { return notify.New([]byte(getenv("FIRSTLINE_PAGERS")), deps) }),
	}
	if heartbeat := getenv("FIRSTLINE_HEARTBEAT"); heartbeat != "" {
		h.Heartbeat = sync.OnceValues(func() (handler.Heartbeat, error) { return notify.NewHeartbeat([]byte(heartbeat), deps) })
	}
	if channel := getenv("FIRSTLINE_SLACK_CHANNEL_ID"); channel != "" {
		h.Slack = &notify.Slack{
			Token: func(ctx context.Context, fresh bool) (string, error) {
				return secrets.Get(ctx, getenv("FIRSTLINE_SLACK_TOKEN_PARAMETER"), fresh)
			},
			ChannelID: channel,
			Mention:   getenv("FIRSTLINE_SLACK_MENTION"),
			APIURL:    getenv("FIRSTLINE_SLACK_API_URL"),
		}
	}
	addPeers(h, config, getenv("FIRSTLINE_VANTAGE"))
	addChecks(h, config, egress, secrets, isLocal(getenv))
	return h
}

// isLocal reports whether AWS is a local one, whose instances are at loopback
// addresses.
func isLocal(getenv func(string) string) bool {
	u, err := url.Parse(getenv("AWS_ENDPOINT_URL"))
	return err == nil && net.ParseIP(u.Hostname()).IsLoopback()
}

// addChecks gives the handler its checks. Whatever is not said to be in a VPC is
// not: then a private address is an error that names it, and not a machine to
// reboot.
func addChecks(h *handler.Handler, config func() aws.Config, egress checks.Egress, secrets *handler.Secrets, local bool) {
	describe := func(ctx context.Context, in *ec2.DescribeInstancesInput, o ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
		return h.EC2().DescribeInstances(ctx, in, o...)
	}
	// Kept ones may be out of date, and a target that refuses them is well.
	secret := func(ctx context.Context, parameter string) (string, error) { return secrets.Get(ctx, parameter, true) }
	vantage := &checks.Vantage{DescribeInstances: describe, Secret: secret, Egress: egress, VPC: h.VPC, Local: local}
	checkers := &checks.Route53{
		Client:            sync.OnceValue(func() checks.HealthChecks { return route53.NewFromConfig(config()) }),
		DescribeInstances: describe,
	}
	h.Checks = map[string]handler.Check{
		incident.CheckURL: func(ctx context.Context, inc *incident.Incident) incident.Finding {
			return vantage.URL(ctx, inc.InstanceID, inc.Settings.URL)
		},
		incident.CheckRoute53: checkers.Check,
		incident.CheckSSH: func(ctx context.Context, inc *incident.Incident) incident.Finding {
			return vantage.SSH(ctx, inc.InstanceID, inc.Settings.SSH, inc.HostKeyType)
		},
	}
	h.Answers, h.Probe = vantage.Answers, vantage.Probe
}

// breaker bounds the region's reboots. Where the environment does not say, or
// nothing that makes sense, nothing is ever rebooted.
func breaker(getenv func(string) string) (b incident.Breaker) {
	if err := incident.DecodeStrict([]byte(getenv("FIRSTLINE_BREAKER")), &b); err != nil {
		return incident.Breaker{}
	}
	return b
}

// Time-outs of an answer's head. A service that takes the connection and says
// nothing must not use up the function's time at the first try; the table answers
// in milliseconds, and is asked before every reboot.
const (
	answerTimeout = 10 * time.Second
	tableTimeout  = 2 * time.Second
)

func httpClient(answer time.Duration) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = min(answer, 5*time.Second) }).
		WithTransportOptions(func(t *http.Transport) { t.ResponseHeaderTimeout = answer })
}

// awsConfig is what a Lambda function needs of the SDK's configuration. The
// config module would bring in profiles, single sign-on and instance metadata,
// which make the binary larger and its start slower.
func awsConfig(getenv func(string) string) aws.Config {
	c := aws.Config{
		Region: getenv("AWS_REGION"),
		Credentials: credentials.NewStaticCredentialsProvider(
			getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY"), getenv("AWS_SESSION_TOKEN")),
		HTTPClient: httpClient(answerTimeout),
	}
	if endpoint := getenv("AWS_ENDPOINT_URL"); endpoint != "" {
		c.BaseEndpoint = &endpoint
	}
	return c
}

// egressAddresses are what shows that our own way out works: the pagers and
// Slack, which must be reachable for anything to be told, and EC2 in other
// regions, which has IPv6 too. EC2's dual-stack names exist in some regions only
// (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-endpoints.html), so these
// are fixed. The function's own region is left out: an interface endpoint may
// answer for it inside the VPC, over IPv6 at an address that looks public. (S3,
// with such a name in every region, would not do: a gateway endpoint needs no way
// to the internet.)
func egressAddresses(getenv func(string) string) []string {
	var bases []string
	if endpoint := getenv("AWS_ENDPOINT_URL"); endpoint != "" {
		bases = append(bases, endpoint)
	} else {
		for _, region := range []string{"eu-west-1", "us-east-1", "us-west-2"} {
			if region != getenv("AWS_REGION") {
				bases = append(bases, "https://ec2."+region+".api.aws")
			}
		}
	}
	bases = append(bases, notify.Addresses([]byte(getenv("FIRSTLINE_PAGERS")))...)
	bases = append(bases, cmp.Or(getenv("FIRSTLINE_SLACK_API_URL"), "https://slack.com/api/")) // up also where nobody is told there
	addresses := []string{}
	for _, base := range bases {
		u, err := url.Parse(base)
		if err != nil || u.Hostname() == "" {
			continue
		}
		port := cmp.Or(u.Port(), map[string]string{"http": "80"}[u.Scheme], "443")
		addresses = append(addresses, net.JoinHostPort(u.Hostname(), port))
	}
	return addresses
}

// newLog logs from a level on, info where there is none of that name, in the form
// that Lambda filters by level.
func newLog(name string) *slog.Logger {
	level := slog.LevelInfo
	_ = level.UnmarshalText([]byte(name))
	return slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: level, ReplaceAttr: lambdacontext.ReplaceAttr}))
}
