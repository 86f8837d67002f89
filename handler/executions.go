package handler

import (
	"context"
	"errors"
	"log/slog"
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
	status := "GONE"
	out, err := h.StepFunctions().DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &e.ID})
	if err == nil {
		status = string(out.Status)
	} else if _, unknown := errors.AsType[*sfntypes.ExecutionDoesNotExist](err); !unknown || time.Since(e.StartedAt) < unseen {
		h.warn(ctx, "cannot tell whether the execution that holds the lease has ended", instanceID, err)
		return false
	}
	switch status {
	case "GONE", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED":
		h.Log.LogAttrs(ctx, slog.LevelWarn, "an execution has ended without giving its lease back",
			slog.String("instance", instanceID), slog.String("holder", e.Name), slog.String("status", status))
		return true
	}
	return false
}
