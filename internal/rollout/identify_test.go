package rollout

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// answers is what the regions' STS says, by region: a status and a body. A region
// that is not named cannot be reached.
type answers map[string]answer

type answer struct {
	status int
	body   string
}

const known = `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`

func refusal(code, message string) string {
	return `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>` + code + `</Code><Message>` + message + `</Message></Error></ErrorResponse>`
}

// asking is a Root of an AWS that answers so.
func asking(t *testing.T, says answers) *Root {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		answer := says[strings.Split(q.Host, ".")[1]]
		w.WriteHeader(answer.status)
		_, _ = w.Write([]byte(answer.body))
	}))
	t.Cleanup(server.Close)
	var names []string
	for name := range says {
		names = append(names, name)
	}
	r := held(t, names...)
	r.all = names
	for _, name := range names {
		r.status[name] = &Status{Region: name, Phase: Waiting}
	}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if says[strings.Split(address, ".")[1]].status == 0 {
			return nil, errors.New("no such host")
		}
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	client := &http.Client{Transport: plain{&http.Transport{DialContext: dial}}}
	r.o.AWS = func(context.Context) (aws.Config, error) {
		return aws.Config{Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "secret", ""), HTTPClient: client}, nil
	}
	return r
}

// plain leaves TLS out.
type plain struct{ http.RoundTripper }

func (p plain) RoundTrip(q *http.Request) (*http.Response, error) {
	q.URL.Scheme = "http"
	return p.RoundTripper.RoundTrip(q)
}

func TestIdentify(t *testing.T) {
	invalid := refusal("InvalidClientTokenId", "The security token included in the request is invalid")
	for _, tt := range []struct {
		name, region string
		status       int
		body         string
		want         string
	}{
		{"well", "us-east-1", 200, known, ""},
		{"not enabled", "me-south-1", 403, invalid, "the region is not enabled in this account, or does not take this session token (InvalidClientTokenId): enable it in the account (`aws account enable-region --region-name me-south-1`"},
		{"STS switched off", "us-east-1", 403, refusal("RegionDisabledException", "STS is not activated in this region for account:123456789012."), "STS is switched off for the region in this account"},
		{"a default region does not know the token", "us-east-1", 403, invalid, "the region refuses your credentials (InvalidClientTokenId: "},
		{"expired meanwhile", "us-east-1", 403, refusal("ExpiredToken", "The security token included in the request is expired"), "the region refuses your credentials (ExpiredToken: The security token included in the request is expired): renew them"},
		{"throttled", "us-east-1", 400, refusal("Throttling", "Rate exceeded"), "the region does not answer: HTTP 400: Throttling: Rate exceeded"},
		{"denied", "me-south-1", 403, refusal("AccessDenied", "User: arn:aws:sts::123456789012:assumed-role/ops/ann is not authorized"), "the region denies sts:GetCallerIdentity, which needs no right (AccessDenied: User: arn:aws:sts::123456789012:assumed-role/ops/ann is not authorized): a service control policy"},
		{"unreachable", "us-east-1", 0, "", "the region does not answer: no answer from sts.us-east-1.amazonaws.com: no such host; look at DNS, network and proxy"},
		{"a proxy answers", "us-east-1", 403, "<html>Forbidden</html>", "the region does not answer: something other than AWS answered with HTTP 403"},
		{"AWS is down", "us-east-1", 503, refusal("ServiceUnavailable", "try later"), "the region does not answer: HTTP 503: ServiceUnavailable: try later; see https://health.aws.amazon.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := asking(t, answers{"eu-west-1": {200, known}, tt.region: {tt.status, tt.body}})
			if err := r.identify(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(r.errors[tt.region], "")
			if !strings.HasPrefix(got, tt.want) || (tt.want == "") != (got == "") || len(r.errors["eu-west-1"]) > 0 {
				t.Errorf("got  %q\nwant %q; eu-west-1: %q", got, tt.want, r.errors["eu-west-1"])
			}
		})
	}
}

// What all regions say alike is about the caller.
func TestIdentifyNowhere(t *testing.T) {
	invalid := refusal("InvalidClientTokenId", "The security token included in the request is invalid")
	for _, tt := range []struct {
		name string
		says answers
		want string // of the error; "": the regions fail one by one
	}{
		{"wrong credentials", answers{"eu-west-1": {403, invalid}, "me-south-1": {403, invalid}}, "AWS refuses your credentials: InvalidClientTokenId: "},
		{"expired credentials", answers{"eu-west-1": {403, refusal("ExpiredToken", "expired")}, "me-south-1": {403, refusal("ExpiredToken", "expired")}}, "AWS refuses your credentials: ExpiredToken: "},
		{"throttled", answers{"eu-west-1": {400, refusal("Throttling", "Rate exceeded")}}, ""},
		{"an opt-in region alone", answers{"me-south-1": {403, invalid}}, ""},
		{"different faults", answers{"eu-west-1": {403, invalid}, "us-east-1": {0, ""}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := asking(t, tt.says)
			err := r.identify(t.Context())
			if _, ok := errors.AsType[InputError](err); ok != (tt.want != "") || ok && !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if failed := len(r.all) - len(r.Chosen()); tt.want == "" && failed != len(tt.says) {
				t.Errorf("%d regions failed, want %d", failed, len(tt.says))
			}
		})
	}
}
