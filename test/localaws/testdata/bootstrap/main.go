// Command bootstrap is a Lambda function that does what its event says.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do string        `json:"do"`
	Ms time.Duration `json:"ms"`
	// Of calls to AWS; 0 times is once. The body is also what is printed.
	Service, Target, Body string
	Times                 int
	// What a state machine hands on.
	Name  string         `json:"name,omitempty"`
	Event map[string]any `json:"event,omitempty"`
}

type answer struct {
	PID         int               `json:"pid"`
	Count       int               `json:"count"`
	RequestID   string            `json:"requestId"`
	ARN         string            `json:"arn"`
	RemainingMs int64             `json:"remainingMs"`
	Env         map[string]string `json:"env,omitempty"`
	Names       []string          `json:"names,omitempty"`
	Text        string            `json:"text,omitempty"`
	Event       map[string]any    `json:"event,omitempty"`
}

var (
	count int
	eaten [][]byte
)

func main() {
	if os.Getenv("FAIL") == "init" {
		fmt.Println("cannot start")
		os.Exit(3)
	}
	lambda.Start(handle)
}

func handle(ctx context.Context, e event) (*answer, error) {
	count++
	fmt.Println("doing", e.Do)
	deadline, _ := ctx.Deadline()
	lc, _ := lambdacontext.FromContext(ctx)
	a := &answer{
		PID: os.Getpid(), Count: count, RequestID: lc.AwsRequestID, ARN: lc.InvokedFunctionArn,
		RemainingMs: time.Until(deadline).Milliseconds(), Event: e.Event, Text: e.Name,
	}
	switch e.Do {
	case "env":
		a.Env = map[string]string{}
		for _, v := range os.Environ() {
			name, value, _ := strings.Cut(v, "=")
			a.Env[name] = value
		}
		a.Names = slices.Sorted(maps.Keys(a.Env))
	case "named error":
		return nil, messages.InvokeResponse_Error{Type: "Denied", Message: "not allowed"}
	case "error":
		return nil, errors.New("no such luck")
	case "exit":
		os.Exit(7)
	case "sleep":
		time.Sleep(e.Ms * time.Millisecond)
	case "print":
		fmt.Println(e.Body)
	case "eat":
		for range 64 {
			b := make([]byte, 8<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			eaten = append(eaten, b)
			time.Sleep(20 * time.Millisecond)
		}
	case "call":
		for n := range max(e.Times, 1) {
			fmt.Println("call", n+1)
			text, err := call(ctx, e)
			if err != nil {
				return nil, err
			}
			a.Text = text
		}
	}
	return a, nil
}

// call calls AWS and returns the status and body of its answer.
func call(ctx context.Context, e event) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv("AWS_ENDPOINT_URL"), strings.NewReader(e.Body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", e.Target)
	req.Header.Set("X-Amz-Security-Token", os.Getenv("AWS_SESSION_TOKEN"))
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/20260101/%s/%s/aws4_request, SignedHeaders=host, Signature=x",
		os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_REGION"), e.Service))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(resp.StatusCode, " ", string(body)), nil
}
