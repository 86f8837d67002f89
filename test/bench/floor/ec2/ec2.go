// Package ec2 is what the function uses of EC2's client, written by hand: the
// benchmark builds the function with it in the client's place, to see what the
// client costs. It is not for use. It knows no dual-stack or FIPS endpoint, corrects
// no clock, and keeps no quota of retries.
package ec2

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Options are those of the client that are used.
type Options struct{ RetryMaxAttempts int }

// Client makes the calls.
type Client struct{ config aws.Config }

// NewFromConfig returns a client.
func NewFromConfig(c aws.Config, _ ...func(*Options)) *Client { return &Client{config: c} }

// The requests and answers have the fields that are used.
type (
	// DescribeInstancesInput is a request.
	DescribeInstancesInput struct {
		InstanceIds []string //nolint:revive // the SDK's name
		Filters     []types.Filter
		NextToken   *string
	}
	// DescribeInstancesOutput is its answer.
	DescribeInstancesOutput struct {
		Reservations []types.Reservation
		NextToken    *string
	}
	// DescribeInstanceStatusInput is a request.
	DescribeInstanceStatusInput struct{ InstanceIds []string } //nolint:revive // the SDK's name
	// DescribeInstanceStatusOutput is its answer.
	DescribeInstanceStatusOutput struct{ InstanceStatuses []types.InstanceStatus }
	// GetConsoleOutputInput is a request.
	GetConsoleOutputInput struct {
		InstanceId *string //nolint:revive // the SDK's name
		Latest     *bool
	}
	// GetConsoleOutputOutput is its answer.
	GetConsoleOutputOutput struct {
		Output    *string
		Timestamp *time.Time
	}
	// RebootInstancesInput is a request.
	RebootInstancesInput struct {
		InstanceIds []string //nolint:revive // the SDK's name
		DryRun      *bool
	}
	// RebootInstancesOutput is its answer.
	RebootInstancesOutput struct{}
)

// DescribeInstances is the call of that name.
func (c *Client) DescribeInstances(ctx context.Context, in *DescribeInstancesInput, o ...func(*Options)) (*DescribeInstancesOutput, error) {
	form := listed("InstanceId", in.InstanceIds)
	for n, f := range in.Filters {
		at := fmt.Sprintf("Filter.%d.", n+1)
		form.Set(at+"Name", aws.ToString(f.Name))
		for m, v := range f.Values {
			form.Set(at+"Value."+strconv.Itoa(m+1), v)
		}
	}
	if in.NextToken != nil {
		form.Set("NextToken", *in.NextToken)
	}
	var said struct {
		NextToken    *string `xml:"nextToken"`
		Reservations []struct {
			Instances []struct {
				ID      *string                 `xml:"instanceId"`
				State   types.InstanceStateName `xml:"instanceState>name"`
				Public  *string                 `xml:"ipAddress"`
				Private *string                 `xml:"privateIpAddress"`
				IPv6    *string                 `xml:"ipv6Address"`
				Tags    []struct {
					Key   *string `xml:"key"`
					Value *string `xml:"value"`
				} `xml:"tagSet>item"`
				Interfaces []struct {
					IPv6 []struct {
						Address *string `xml:"ipv6Address"`
					} `xml:"ipv6AddressesSet>item"`
				} `xml:"networkInterfaceSet>item"`
			} `xml:"instancesSet>item"`
		} `xml:"reservationSet>item"`
	}
	if err := c.call(ctx, "DescribeInstances", form, &said, o); err != nil {
		return nil, err
	}
	out := &DescribeInstancesOutput{NextToken: said.NextToken}
	for _, r := range said.Reservations {
		var reservation types.Reservation
		for _, i := range r.Instances {
			one := types.Instance{
				InstanceId: i.ID, PublicIpAddress: i.Public, PrivateIpAddress: i.Private, Ipv6Address: i.IPv6,
				State: &types.InstanceState{Name: i.State},
			}
			for _, t := range i.Tags {
				one.Tags = append(one.Tags, types.Tag{Key: t.Key, Value: t.Value})
			}
			for _, n := range i.Interfaces {
				var nic types.InstanceNetworkInterface
				for _, a := range n.IPv6 {
					nic.Ipv6Addresses = append(nic.Ipv6Addresses, types.InstanceIpv6Address{Ipv6Address: a.Address})
				}
				one.NetworkInterfaces = append(one.NetworkInterfaces, nic)
			}
			reservation.Instances = append(reservation.Instances, one)
		}
		out.Reservations = append(out.Reservations, reservation)
	}
	return out, nil
}

// DescribeInstanceStatus is the call of that name.
func (c *Client) DescribeInstanceStatus(ctx context.Context, in *DescribeInstanceStatusInput, o ...func(*Options)) (*DescribeInstanceStatusOutput, error) {
	var said struct {
		Statuses []struct {
			System   types.SummaryStatus `xml:"systemStatus>status"`
			Instance types.SummaryStatus `xml:"instanceStatus>status"`
			Events   []struct {
				Code        types.EventCode `xml:"code"`
				Description *string         `xml:"description"`
				NotBefore   *time.Time      `xml:"notBefore"`
			} `xml:"eventsSet>item"`
		} `xml:"instanceStatusSet>item"`
	}
	if err := c.call(ctx, "DescribeInstanceStatus", listed("InstanceId", in.InstanceIds), &said, o); err != nil {
		return nil, err
	}
	out := &DescribeInstanceStatusOutput{}
	for _, s := range said.Statuses {
		one := types.InstanceStatus{
			SystemStatus:   &types.InstanceStatusSummary{Status: s.System},
			InstanceStatus: &types.InstanceStatusSummary{Status: s.Instance},
		}
		for _, e := range s.Events {
			one.Events = append(one.Events, types.InstanceStatusEvent{Code: e.Code, Description: e.Description, NotBefore: e.NotBefore})
		}
		out.InstanceStatuses = append(out.InstanceStatuses, one)
	}
	return out, nil
}

// GetConsoleOutput is the call of that name.
func (c *Client) GetConsoleOutput(ctx context.Context, in *GetConsoleOutputInput, o ...func(*Options)) (*GetConsoleOutputOutput, error) {
	form := url.Values{"InstanceId": {aws.ToString(in.InstanceId)}}
	if in.Latest != nil {
		form.Set("Latest", strconv.FormatBool(*in.Latest))
	}
	var said struct {
		Output    *string    `xml:"output"`
		Timestamp *time.Time `xml:"timestamp"`
	}
	err := c.call(ctx, "GetConsoleOutput", form, &said, o)
	return &GetConsoleOutputOutput{Output: said.Output, Timestamp: said.Timestamp}, err
}

// RebootInstances is the call of that name.
func (c *Client) RebootInstances(ctx context.Context, in *RebootInstancesInput, o ...func(*Options)) (*RebootInstancesOutput, error) {
	form := listed("InstanceId", in.InstanceIds)
	if in.DryRun != nil {
		form.Set("DryRun", strconv.FormatBool(*in.DryRun))
	}
	return &RebootInstancesOutput{}, c.call(ctx, "RebootInstances", form, &struct{}{}, o)
}

func listed(name string, values []string) url.Values {
	form := url.Values{}
	for n, v := range values {
		form.Set(name+"."+strconv.Itoa(n+1), v)
	}
	return form
}

// call makes a call, again and again where that may help, and decodes its answer.
func (c *Client) call(ctx context.Context, action string, form url.Values, answer any, with []func(*Options)) error {
	o := Options{RetryMaxAttempts: retry.DefaultMaxAttempts}
	for _, set := range with {
		set(&o)
	}
	form.Set("Action", action)
	form.Set("Version", "2016-11-15")
	again := retry.NewStandard(func(s *retry.StandardOptions) { s.MaxAttempts = o.RetryMaxAttempts })
	for n := 1; ; n++ {
		err := c.once(ctx, []byte(form.Encode()), answer)
		if err == nil {
			return nil
		}
		if n >= o.RetryMaxAttempts || !again.IsErrorRetryable(err) {
			return fmt.Errorf("operation error EC2: %s, %w", action, err)
		}
		pause, failed := again.RetryDelay(n, err)
		if failed != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// maxAnswer is more than EC2 ever answers to these calls.
const maxAnswer = 16 << 20

// once makes one request.
func (c *Client) once(ctx context.Context, body []byte, answer any) error {
	endpoint := "https://ec2." + c.config.Region + ".amazonaws.com/"
	if c.config.BaseEndpoint != nil {
		endpoint = *c.config.BaseEndpoint
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	credentials, err := c.config.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, req, hex.EncodeToString(sum[:]), "ec2", c.config.Region, time.Now()); err != nil {
		return err
	}
	resp, err := c.config.HTTPClient.Do(req)
	if err != nil {
		return &smithyhttp.RequestSendError{Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusOK {
		return xml.Unmarshal(raw, answer)
	}
	var refused struct {
		Code    string `xml:"Errors>Error>Code"`
		Message string `xml:"Errors>Error>Message"`
	}
	_ = xml.Unmarshal(raw, &refused) // without a code the status tells
	return &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: resp},
		Err:      &smithy.GenericAPIError{Code: refused.Code, Message: refused.Message},
	}
}
