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
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
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

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/guard"
	"firstline/internal/old/handler"
	"firstline/internal/old/notify"
)

func main() { lambda.Start(newHandler(os.Getenv)) }

// newHandler wires the function from its environment, which terraform's
// modules/function sets. What is missing there is an error of the step that
// needs it, so that the others still work.
func newHandler(getenv func(string) string) *handler.Handler {
	region := getenv("AWS_REGION")
	config := sync.OnceValue(func() aws.Config { return awsConfig(getenv, region) })
	ssmClient := sync.OnceValue(func() *ssm.Client { return ssm.NewFromConfig(config()) })
	ec2Client := sync.OnceValue(func() *ec2.Client { return ec2.NewFromConfig(config()) })
	alarms := sync.OnceValue(func() *cloudwatch.Client { return cloudwatch.NewFromConfig(config()) })
	healthChecks := sync.OnceValue(func() *route53.Client { return route53.NewFromConfig(config()) })
	executions := sync.OnceValue(func() *sfn.Client { return sfn.NewFromConfig(config()) })
	items := sync.OnceValue(func() *dynamodb.Client {
		return dynamodb.NewFromConfig(config(), func(o *dynamodb.Options) { o.HTTPClient = httpClient(tableTimeout) })
	})
	logLevel := level(getenv("FIRSTLINE_LOG_LEVEL"))
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{Level: logLevel}))
	table := &guard.Table{
		Name:   getenv("FIRSTLINE_TABLE"),
		Client: func(context.Context) (guard.API, error) { return items(), nil },
		Log:    log,
	}

	parameters := func(context.Context) (handler.ParameterGetter, error) { return ssmClient(), nil }
	secrets := &handler.Secrets{SSM: parameters}
	secret := func(parameter string) notify.Secret {
		return func(ctx context.Context, fresh bool) (string, error) {
			return secrets.Get(ctx, parameter, fresh)
		}
	}
	topics := func(region string) *sns.Client {
		return sns.NewFromConfig(config(), func(o *sns.Options) { o.Region = cmp.Or(region, o.Region) })
	}
	describe := func(ctx context.Context, in *ec2.DescribeInstancesInput, o ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
		return ec2Client().DescribeInstances(ctx, in, o...)
	}
	// Whatever is not said to be in a VPC is not: then a private address is an
	// error that names it, and not a machine to reboot.
	vpc := getenv("FIRSTLINE_VPC") == "true"
	egress := checks.DialEgress(egressAddresses(getenv, region)...)
	return &handler.Handler{
		Deployment:       getenv("FIRSTLINE_NAME"),
		Region:           region,
		SettingsPath:     getenv("FIRSTLINE_SETTINGS_PATH"),
		ExecutionTimeout: executionTimeout(getenv),
		Brake:            brake(getenv),
		StateMachineARN:  getenv("FIRSTLINE_STATE_MACHINE_ARN"),
		AlarmPrefix:      getenv("FIRSTLINE_ALARM_PREFIX"),
		SlackPages:       slackPages(getenv),
		AllClear:         allClear(getenv),
		Log:              log,
		Metrics:          &handler.Metrics{Out: os.Stdout, Deployment: getenv("FIRSTLINE_NAME"), Level: logLevel},

		SSM:           parameters,
		EC2:           func(context.Context) (handler.Rebooter, error) { return ec2Client(), nil },
		CloudWatch:    func(context.Context) (handler.AlarmDescriber, error) { return alarms(), nil },
		StepFunctions: func(context.Context) (handler.Executioner, error) { return executions(), nil },
		Guards: func(context.Context) (handler.Guards, error) {
			if table.Name == "" {
				return nil, fault.New(fault.InvalidInput, "ask the guards", "the function's environment has no FIRSTLINE_TABLE; apply the Terraform root again")
			}
			return table, nil
		},

		URL: &checks.URL{
			DescribeInstances: describe,
			Secret:            secrets.Get,
			Egress:            egress,
			VPC:               vpc,
		},
		Route53: &checks.Route53{GetHealthCheckStatus: func(ctx context.Context, in *route53.GetHealthCheckStatusInput, o ...func(*route53.Options)) (*route53.GetHealthCheckStatusOutput, error) {
			return healthChecks().GetHealthCheckStatus(ctx, in, o...)
		}},
		SSH:    &checks.SSH{DescribeInstances: describe, Egress: egress, VPC: vpc},
		Slack:  &notify.Slack{Token: secret(getenv("FIRSTLINE_SLACK_TOKEN_PARAMETER")), ChannelID: getenv("FIRSTLINE_SLACK_CHANNEL_ID"), APIURL: getenv("FIRSTLINE_SLACK_API_URL")},
		Pagers: newPagers(getenv, secret, topics),
	}
}

// executionTimeout is how long an execution of the state machine may take; 0 when
// the environment does not say, or nothing that makes sense.
func executionTimeout(getenv func(string) string) time.Duration {
	seconds, err := strconv.ParseUint(getenv("FIRSTLINE_EXECUTION_TIMEOUT_SECONDS"), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// brake is how many reboots the region may have; nil when the environment does not
// say. None at all is 0 in it.
func brake(getenv func(string) string) *guard.Limits {
	inFlight, errInFlight := strconv.ParseUint(getenv("FIRSTLINE_BRAKE_IN_FLIGHT"), 10, 31)
	perHour, errPerHour := strconv.ParseUint(getenv("FIRSTLINE_BRAKE_PER_HOUR"), 10, 31)
	if errInFlight != nil || errPerHour != nil {
		return nil
	}
	return &guard.Limits{InFlight: int(inFlight), PerHour: int(perHour)}
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
func awsConfig(getenv func(string) string, region string) aws.Config {
	c := aws.Config{
		Region: region,
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
// Slack, which must be reachable for anything to be told, and EC2's dual-stack
// endpoint, which has IPv6 too
// (https://docs.aws.amazon.com/general/latest/gr/ec2-service.html). Several,
// since a pager of one's own or EC2's endpoint may be inside the VPC, where it
// shows nothing.
func egressAddresses(getenv func(string) string, region string) []string {
	ec2 := "https://ec2." + region + ".api.aws"
	if endpoint := getenv("AWS_ENDPOINT_URL"); endpoint != "" {
		ec2 = endpoint
	}
	addresses := []string{}
	bases := append([]string{ec2}, pagerURLs(getenv)...)
	bases = append(bases, cmp.Or(getenv("FIRSTLINE_SLACK_API_URL"), "https://slack.com/api/"))
	for _, base := range bases {
		u, err := url.Parse(base)
		if err != nil || u.Hostname() == "" {
			continue
		}
		port := u.Port()
		switch {
		case port != "":
		case u.Scheme == "http":
			port = "80"
		default:
			port = "443"
		}
		addresses = append(addresses, net.JoinHostPort(u.Hostname(), port))
	}
	return addresses
}

// level is the log level of that name, info when there is none.
func level(name string) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(name)); err != nil {
		return slog.LevelInfo
	}
	return l
}
