package handler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"firstline/internal/incident"
)

const (
	// askTime bounds one question to a service.
	askTime = 5 * time.Second
	// unseen is how long Step Functions may not know an execution that has begun:
	// its answers are eventually consistent
	// (https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html).
	unseen = time.Minute
)

// ended reports whether an execution that holds a lease has ended: it was
// stopped, it ran out of time, or its last step failed. Whatever is not certain
// counts as running, since its lease is what keeps a second one away.
func (h *Handler) ended(ctx context.Context, instanceID string, e incident.Execution) bool {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	status, err := h.statusOf(ctx, e.ID)
	switch _, gone := errors.AsType[*sfntypes.ExecutionDoesNotExist](err); {
	case gone && !e.StartedAt.IsZero() && time.Since(e.StartedAt) >= unseen:
		status = "GONE"
	case err != nil:
		h.warn(ctx, "cannot tell whether the execution that holds the lease has ended", instanceID, err)
		return false
	case status == sfntypes.ExecutionStatusRunning || status == sfntypes.ExecutionStatusPendingRedrive:
		return false
	}
	h.Log.LogAttrs(ctx, slog.LevelWarn, "an execution has ended without giving its lease back",
		slog.String("instance", instanceID), slog.String("holder", e.Name), slog.String("status", string(status)))
	return true
}

// statusOf asks Step Functions what has become of an execution.
func (h *Handler) statusOf(ctx context.Context, arn string) (sfntypes.ExecutionStatus, error) {
	client, err := h.StepFunctions(ctx)
	if err != nil {
		return "", err
	}
	out, err := client.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arn})
	if err != nil {
		return "", err
	}
	if !slices.Contains(sfntypes.ExecutionStatus("").Values(), out.Status) {
		return "", fmt.Errorf("unknown status %q of execution %s", out.Status, arn)
	}
	return out.Status, nil
}
