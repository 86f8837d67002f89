// Command floor is the smallest Lambda function in Go that does anything: it makes
// one GET of the URL in its event. What any function takes to start is measured
// with it.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/aws/aws-lambda-go/lambda"
)

// event is what it is invoked with.
type event struct {
	URL string `json:"url"`
}

func main() { lambda.Start(get) }

// get answers with the status of the answer that it got.
func get(ctx context.Context, e event) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("got status %d, want %d", resp.StatusCode, http.StatusOK)
	}
	return resp.StatusCode, nil
}
