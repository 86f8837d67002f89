package rollout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
	"firstline/internal/probe"
	"firstline/internal/regions"
)

// identifyTime bounds the question whether a region answers.
const identifyTime = 15 * time.Second

// probing is the configuration of a question to a region that may not answer: a few
// attempts ride out a moment's trouble.
func probing(config aws.Config, region string) aws.Config {
	config = probe.InRegion(config, region)
	config.Retryer = func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = 3 })
	}
	return config
}

// identify asks each chosen region who is calling: a region that does not answer
// would hold up all of them in Terraform.
func (r *Root) identify(ctx context.Context) error {
	config, err := r.o.AWS(ctx)
	if err != nil {
		return InputError{err}
	}
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed = map[string]error{}
		caller = map[string]bool{}
	)
	chosen := r.Chosen()
	for _, name := range chosen {
		wg.Go(func() {
			account, err := account(ctx, config, name)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[name] = err
				return
			}
			caller[account] = true
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(failed) == len(chosen) {
		// The same everywhere is no region's fault.
		if err := refusedAll(failed); err != nil {
			return err
		}
	}
	for name, err := range failed {
		r.fail(name, refused(name, err))
	}
	for account := range caller {
		if len(r.state.Accounts) > 0 && !slices.Contains(r.state.Accounts, account) {
			return inputf("the state is of account %s, your credentials are of %s: use the other account's credentials, or another state", strings.Join(r.state.Accounts, ", "), account)
		}
	}
	return nil
}

// account asks a region which account is calling.
func account(ctx context.Context, config aws.Config, region string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, identifyTime)
	defer cancel()
	out, err := sts.NewFromConfig(probing(config, region)).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.Account), nil
}

// refusedAll returns what is wrong with the caller's, nil unless that is what
// all regions' errors say.
func refusedAll(failed map[string]error) (mistake error) {
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		err := failed[name]
		answer, status := answered(err)
		_, cancelled := errors.AsType[*aws.RequestCanceledError](err)
		switch {
		case answer != nil && unknownThere(answer) && regions.OptIn(name):
			// It may be the region's.
		case answer != nil && status < http.StatusInternalServerError && answer.ErrorCode() != regionDisabled && !fault.Throttled(answer):
			mistake = inputf("AWS refuses your credentials: %s: %s", answer.ErrorCode(), answer.ErrorMessage())
		case answer == nil && status == 0 && !cancelled && strings.Contains(err.Error(), "credentials"):
			mistake = inputf("no AWS credentials: %w", err)
		default:
			return nil
		}
	}
	return mistake
}

// answered returns what AWS has said, nil where it has said nothing, and the
// HTTP status, 0 for none.
func answered(err error) (smithy.APIError, int) {
	status := 0
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		status = answer.HTTPStatusCode()
	}
	// What is between us and AWS answers too, but not with an error of AWS's form.
	if answer, ok := errors.AsType[smithy.APIError](err); ok && answer.ErrorCode() != "UnknownError" {
		return answer, status
	}
	return nil, status
}

// unknownThere reports whether a region does not know the credentials. One that
// is not enabled knows none, and session tokens of STS's global endpoint are
// known only where regions are enabled by default.
func unknownThere(answer smithy.APIError) bool {
	return slices.Contains([]string{"InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "OptInRequired"}, answer.ErrorCode())
}

// unfit reports whether credentials have expired, or were not what a request was
// signed with (https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html).
func unfit(answer smithy.APIError) bool {
	return slices.Contains([]string{"ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "RequestExpired", "SignatureDoesNotMatch"}, answer.ErrorCode())
}

// regionDisabled is what STS says where it was switched off for an account.
const regionDisabled = "RegionDisabledException"

// refused tells in words why a region did not say who is calling: it is not
// enabled, it takes no such credentials, it denies, or it cannot be reached.
func refused(region string, err error) string {
	answer, status := answered(err)
	switch {
	case answer != nil && answer.ErrorCode() == regionDisabled:
		return fmt.Sprintf("STS is switched off for the region in this account (%s): activate it in the account settings of IAM's console", answer.ErrorMessage())
	case answer != nil && unknownThere(answer) && regions.OptIn(region):
		return fmt.Sprintf("the region is not enabled in this account, or does not take this session token (%s): %s", answer.ErrorCode(), regions.Enable(region))
	case answer != nil && (unknownThere(answer) || unfit(answer)):
		return fmt.Sprintf("the region refuses your credentials (%s: %s): renew them, such as with `aws sso login`, see that this machine's clock is right, and run this again", answer.ErrorCode(), answer.ErrorMessage())
	case answer != nil && status < http.StatusInternalServerError && !fault.Throttled(answer):
		return fmt.Sprintf("the region denies sts:GetCallerIdentity, which needs no right (%s: %s): a service control policy or the policy of a VPC endpoint may be in the way; allow the region there, or leave it out with --exclude-region", answer.ErrorCode(), answer.ErrorMessage())
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("the region does not answer: nothing within %s; look at DNS, network and proxy from here to %s", identifyTime, host(region))
	case answer == nil && status > 0 && status < http.StatusInternalServerError:
		return fmt.Sprintf("the region does not answer: something other than AWS answered with HTTP %d; look at the proxy from here to %s", status, host(region))
	case answer == nil && status == 0:
		return fmt.Sprintf("the region does not answer: %s; look at DNS, network and proxy from here to %s", probe.Said(err), host(region))
	}
	return fmt.Sprintf("the region does not answer: HTTP %d: %s; see https://health.aws.amazon.com", status, probe.Said(err))
}

// host is where a region's STS answers.
func host(region string) string { return "sts." + region + ".amazonaws.com" }
