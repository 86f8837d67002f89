package localaws

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/http"
	"time"
)

// Observation is what one of Route 53's checkers saw.
type Observation struct {
	// Region and IPAddress are the checker's; empty ones are made up.
	Region, IPAddress string
	// Status is prose that begins with "Success" or "Failure".
	Status string
	// CheckedTime is when it looked; zero is the time of the question.
	CheckedTime time.Time
}

// SetHealthCheck sets what GetHealthCheckStatus answers for a health check. No
// observations are an empty answer, as AWS gives for a calculated check.
// Health checks that were never set are moto's: unknown (NoSuchHealthCheck), or
// one success for those created through the API.
func (a *AWS) SetHealthCheck(id string, observations ...Observation) {
	a.SetHealthCheckFunc(id, func() []Observation { return observations })
}

// SetHealthCheckFunc is SetHealthCheck with observations that are made at each
// question.
func (a *AWS) SetHealthCheckFunc(id string, observe func() []Observation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.healthChecks[id] = observe
}

// checkerRegions are where Route 53 checks from.
var checkerRegions = []string{
	"us-east-1", "us-west-1", "us-west-2", "eu-west-1", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "sa-east-1",
}

// healthCheckStatus answers GetHealthCheckStatus, or nothing where moto is to.
func (a *AWS) healthCheckStatus(q *request) *response {
	a.mu.Lock()
	observe := a.healthChecks[q.path[2]]
	a.mu.Unlock()
	if observe == nil {
		return nil
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
	for i, o := range observe() {
		if o.Region == "" {
			o.Region = checkerRegions[i%len(checkerRegions)]
		}
		if o.IPAddress == "" {
			o.IPAddress = fmt.Sprintf("192.0.2.%d", i%256)
		}
		if o.CheckedTime.IsZero() {
			o.CheckedTime = time.Now()
		}
		answer.Observations = append(answer.Observations, observation{
			o.Region, o.IPAddress, o.Status, o.CheckedTime.UTC().Format("2006-01-02T15:04:05.000Z"),
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
