package handler

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/redact"
	"firstline/internal/store"
)

const (
	// evidenceTime bounds what is kept of the instance before its reboot, and
	// keepTime is kept of it for writing it down.
	evidenceTime, keepTime = 8 * time.Second, 2 * time.Second
)

// keepEvidence keeps what a reboot wipes out: the console's output, and the
// status checks. It is as good as it can be had in the time, and never an error.
func (h *Handler) keepEvidence(ctx context.Context, inc *incident.Incident, state policy.EC2) {
	ctx, cancel := keeping(ctx, reserveTime)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, evidenceTime)
	defer cancel()
	text, at, err := h.console(ctx, inc.InstanceID)
	if err != nil {
		h.warn(ctx, "cannot read the console", inc.InstanceID, err)
	}
	word := map[bool]string{false: "ok", true: "impaired"}
	r := store.RecordOf(inc)
	r.Evidence = &store.Evidence{
		At:           incident.At(time.Now()),
		SystemStatus: word[state.System], InstanceStatus: word[state.Instance], EBSStatus: word[state.EBS],
		Console: redact.Console(text), ConsoleAt: incident.At(at),
	}
	if err := h.Table.UpdateRecord(ctx, r); err != nil {
		h.warn(ctx, "cannot keep evidence", inc.InstanceID, err)
	}
}

// console returns the output of an instance's console, and when EC2 read it.
// The latest is there on Nitro only; others have what EC2 kept of the last start
// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html).
func (h *Handler) console(ctx context.Context, id string) (string, time.Time, error) {
	ctx, cancel := keeping(ctx, keepTime)
	defer cancel()
	out, err := h.EC2().GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id, Latest: aws.Bool(true)})
	if _, answered := errors.AsType[smithy.APIError](err); answered && fault.KindOf(fault.AWS("", err)) == fault.InvalidInput {
		out, err = h.EC2().GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id})
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("GetConsoleOutput: %w", err)
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	if err != nil {
		return "", time.Time{}, errors.New("EC2's answer is not base64")
	}
	return string(text), aws.ToTime(out.Timestamp).UTC(), nil
}
