package localaws

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"syscall"
	"time"
)

// checkerRegions are where Route 53 checks from.
var checkerRegions = []string{
	"us-east-1", "us-west-1", "us-west-2", "eu-west-1", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "sa-east-1",
}

// checkerTimeout is how long a checker waits for a connection
// (https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/dns-failover-determining-health-of-endpoints.html).
const checkerTimeout = 4 * time.Second

// healthCheckConfig is what a health check checks.
type healthCheckConfig struct {
	Type         string `xml:"HealthCheck>HealthCheckConfig>Type"`
	Address      string `xml:"HealthCheck>HealthCheckConfig>IPAddress"`
	Port         int    `xml:"HealthCheck>HealthCheckConfig>Port"`
	ResourcePath string `xml:"HealthCheck>HealthCheckConfig>ResourcePath"`
}

// healthCheckStatus answers GetHealthCheckStatus: it checks the endpoint now, and
// says of each checker that it saw the same. moto says of every health check that
// it is well.
func (a *AWS) healthCheckStatus(ctx context.Context, q *request) *response {
	resp, err := a.moto.get(ctx, "route53", q.region, "/2013-04-01/healthcheck/"+url.PathEscape(q.path[2]))
	if err != nil {
		return q.refuse(http.StatusServiceUnavailable, "ServiceUnavailable", err.Error())
	}
	if resp.status != http.StatusOK {
		return a.forward(q) // moto says that there is none
	}
	var config healthCheckConfig
	if err := xml.Unmarshal(resp.body, &config); err != nil {
		return q.refuse(http.StatusInternalServerError, "InternalFailure", err.Error())
	}
	if config.Type != "HTTP" && config.Type != "TCP" || net.ParseIP(config.Address) == nil {
		return q.refuse(http.StatusBadRequest, "InvalidInput", "the local AWS checks health checks of the types HTTP and TCP, with an IP address")
	}
	type observation struct {
		Region      string
		IPAddress   string
		Status      string `xml:"StatusReport>Status"`
		CheckedTime string `xml:"StatusReport>CheckedTime"`
	}
	answer := struct {
		XMLName      xml.Name      `xml:"https://route53.amazonaws.com/doc/2013-04-01/ GetHealthCheckStatusResponse"`
		Observations []observation `xml:"HealthCheckObservations>HealthCheckObservation"`
	}{}
	status := config.observe(ctx)
	for n, region := range checkerRegions {
		answer.Observations = append(answer.Observations, observation{
			region, fmt.Sprintf("192.0.2.%d", n+1), status, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
		})
	}
	var body bytes.Buffer
	body.WriteString(xml.Header)
	if err := xml.NewEncoder(&body).Encode(answer); err != nil {
		return q.refuse(http.StatusInternalServerError, "InternalFailure", err.Error())
	}
	return &response{
		status: http.StatusOK,
		header: http.Header{"Content-Type": {"text/xml"}, "X-Amzn-Requestid": {newID()}},
		body:   body.Bytes(),
	}
}

// observe checks the endpoint as a checker does, and says what came of it in a
// checker's words.
func (c healthCheckConfig) observe(ctx context.Context) string {
	port := c.Port
	if port == 0 {
		port = 80
	}
	endpoint := net.JoinHostPort(c.Address, strconv.Itoa(port))
	ctx, cancel := context.WithTimeout(ctx, checkerTimeout)
	defer cancel()
	if c.Type == "TCP" {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", endpoint)
		if err != nil {
			return noConnection(err)
		}
		_ = conn.Close()
		return "Success: TCP connection established"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+endpoint+c.ResourcePath, nil)
	if err != nil {
		return "Failure: " + err.Error()
	}
	// A connection of its own each time; redirects count as an answer.
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return noConnection(err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 5120))
	_ = resp.Body.Close()
	word := "Failure"
	if resp.StatusCode/100 == 2 || resp.StatusCode/100 == 3 {
		word = "Success"
	}
	return fmt.Sprintf("%s: HTTP Status Code %d, %s. Resolved IP: %s", word, resp.StatusCode, http.StatusText(resp.StatusCode), c.Address)
}

func noConnection(err error) string {
	why := "The health checker could not establish a connection within the timeout limit"
	if errors.Is(err, syscall.ECONNREFUSED) {
		why = "Connection refused"
	} else if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		why = "The connection ended without an answer"
	}
	return "Failure: " + why + ". The endpoint or the Internet connection is down, or requests are being blocked by your firewall."
}
