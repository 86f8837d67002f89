package handler

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"firstline/internal/fault"
)

// What AWS repeats of a request goes neither into the state nor into the log.
func TestNoSecretInAnError(t *testing.T) {
	const secret = "hunter2-hunter2"
	api := func(code, message string) error { return &smithy.GenericAPIError{Code: code, Message: message} }
	canonical := "The request signature we calculated does not match. The Canonical String for this request should have been\n'POST\n/\nhost:ec2\nx-amz-security-token:" + secret + "\n'"
	for name, err := range map[string]error{
		"a header":         api("UnauthorizedOperation", "not you: Authorization=Bearer "+secret),
		"a request":        api("SignatureDoesNotMatch", canonical),
		"a pair of errors": errors.Join(errors.New("first"), fmt.Errorf("second: %w", api("RequestLimitExceeded", "password: "+secret))),
		"words only":       errors.New("lost: Authorization=Bearer " + secret),
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{parameters: settingsAt(`{}`), state: ec2types.InstanceStateNameRunning, rebootErr: err, describe: err, alarmErr: err}
			h, log := newHandler(f)
			f.table.errs = map[string]error{"Cancel": err, "Paged": err, "KeepEvidence": err}
			for _, step := range []string{"reboot", "opsgenie", "slack"} {
				_, lerr := invoke(t, h, payload(t, step, failed()))
				if strings.Contains(lerr.Message+log.String(), secret) {
					t.Errorf("%s: %v, log %s", step, lerr, log)
				}
				if step == "reboot" && lerr.Type == "" {
					t.Error("no error")
				}
			}
			f.describe = nil
			if _, lerr := invoke(t, h, payload(t, "reboot", failed())); lerr.Type == "" || strings.Contains(lerr.Message+log.String(), secret) {
				t.Errorf("%v, log %s", lerr, log)
			}
			f.ssmErr = err
			if _, lerr := invoke(t, h, openPayload(sampleEvent(t))); strings.Contains(lerr.Message+log.String(), secret) || !strings.Contains(lerr.Message, "read settings of "+instance) {
				t.Errorf("%v, log %s", lerr, log)
			}
		})
	}
}

// Our own words stay, though they are about secrets.
func TestOwnWordsStay(t *testing.T) {
	f := &fake{sendErr: fault.New(fault.InvalidInput, "read secret /firstline/secrets/slack-token", `it was never given a value; see "Secrets" in the README`)}
	h, log := newHandler(f)
	const want = `read secret /firstline/secrets/slack-token: it was never given a value; see "Secrets" in the README`
	if _, lerr := invoke(t, h, payload(t, "slack", failed())); lerr.Message != want || !strings.Contains(log.String(), "it was never given a value") {
		t.Errorf("got %v, log %s", lerr, log)
	}
}
