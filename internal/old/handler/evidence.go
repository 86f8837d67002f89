package handler

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
	"firstline/internal/old/guard"
	"firstline/internal/old/incident"
)

// keepTime is kept of the evidence's time for writing it down.
const keepTime = 2 * time.Second

// keepEvidence keeps what a reboot wipes out: the console's output, and the status
// checks as they are. It is as good as it can be had in the time, and never an
// error.
func (h *Handler) keepEvidence(ctx context.Context, client Rebooter, guards Guards, inc *incident.Incident, status *types.InstanceStatus) {
	allowance := evidenceTime
	if deadline, ok := ctx.Deadline(); ok {
		allowance = min(allowance, time.Until(deadline)-reserveTime-rebootTime)
	}
	missing := func(err error) {
		h.Log.LogAttrs(ctx, slog.LevelWarn, "evidence is missing", slog.String("instance", inc.InstanceID), problem(err))
	}
	if allowance <= 0 {
		missing(errors.New("no time is left for it"))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, allowance)
	defer cancel()
	e := guard.Evidence{At: time.Now().UTC(), SystemStatus: string(status.SystemStatus.Status), InstanceStatus: string(status.InstanceStatus.Status)}
	var err error
	if e.Console, e.ConsoleAt, err = console(ctx, client, inc.InstanceID, allowance-keepTime); err != nil {
		missing(fmt.Errorf("read the console of %s: %w", inc.InstanceID, err))
	}
	if err := guards.KeepEvidence(ctx, inc, e); err != nil {
		missing(fmt.Errorf("keep it: %w", err))
	}
}

// console returns the whole output of an instance's console, and when EC2 read it.
// The latest is there on Nitro only; others have what EC2 kept of the last start
// (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html).
func console(ctx context.Context, client Rebooter, id string, allowance time.Duration) (string, time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, allowance)
	defer cancel()
	out, err := client.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id, Latest: aws.Bool(true)})
	if _, answered := errors.AsType[smithy.APIError](err); answered && fault.KindOf(fault.AWS("", err)) == fault.InvalidInput {
		out, err = client.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id})
	}
	if err != nil {
		return "", time.Time{}, err
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	if err != nil {
		return "", time.Time{}, errors.New("EC2's answer is not base64")
	}
	return string(text), aws.ToTime(out.Timestamp).UTC(), nil
}
