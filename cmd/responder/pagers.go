package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"

	"firstline/internal/fault"
	"firstline/internal/old/handler"
	"firstline/internal/old/incident"
	"firstline/internal/old/notify"
)

// pagerSettings are one pager's, as terraform's modules/function writes them into
// FIRSTLINE_PAGERS.
type pagerSettings struct {
	Type string `json:"type"`
	// URL is what notify.OpsGenieURL or notify.JSMURL takes.
	URL             string             `json:"url"`
	KeyParameter    string             `json:"keyParameter"`
	Responders      []notify.Responder `json:"responders"`
	Priority        string             `json:"priority"`
	PriorityUnknown string             `json:"priorityUnknown"`
	Tags            []string           `json:"tags"`
	Details         map[string]string  `json:"details"`
	Entity          string             `json:"entity"`
	Source          string             `json:"source"`
	TopicARN        string             `json:"topicArn"`
}

// readPagers reads the deployment's pagers, the first choice first. Whether the
// settings of one are right, it says itself when it is used: then the others still
// work.
func readPagers(getenv func(string) string) ([]pagerSettings, error) {
	const op = "read FIRSTLINE_PAGERS"
	const want = `want a list such as [{"type":"opsgenie","url":"eu","keyParameter":"/firstline/secrets/opsgenie-api-key"}]; apply the Terraform root again`
	value := getenv("FIRSTLINE_PAGERS")
	if strings.TrimSpace(value) == "" {
		return nil, fault.New(fault.InvalidInput, op, "the function's environment has none: %s", want)
	}
	var all []json.RawMessage
	if err := incident.DecodeStrict([]byte(value), &all); err != nil {
		return nil, fault.New(fault.InvalidInput, op, "%w: %s", err, want)
	}
	if len(all) == 0 {
		return nil, fault.New(fault.InvalidInput, op, "the list is empty, so nobody could be paged: %s", want)
	}
	pagers := make([]pagerSettings, len(all))
	seen := map[string]bool{}
	for n, raw := range all {
		p := &pagers[n]
		if err := incident.DecodeStrict(raw, p); err != nil {
			return nil, fault.New(fault.InvalidInput, op, "[%d]: %w: %s", n, err, want)
		}
		switch p.Type {
		case notify.NameOpsGenie, notify.NameJSM, notify.NameSNS:
		default:
			return nil, fault.New(fault.InvalidInput, op, "[%d].type: %q is no pager's: use %s, %s or %s", n, p.Type, notify.NameOpsGenie, notify.NameJSM, notify.NameSNS)
		}
		if seen[p.Type] {
			return nil, fault.New(fault.InvalidInput, op, "[%d].type: %s is there twice; name each pager once", n, p.Type)
		}
		seen[p.Type] = true
	}
	return pagers, nil
}

// newPagers makes the pagers; secret makes a secret of the name of its parameter,
// and topics is the client of SNS for a region.
func newPagers(getenv func(string) string, secret func(parameter string) notify.Secret, topics func(region string) *sns.Client) func() (*notify.Pagers, error) {
	settings, err := readPagers(getenv)
	pagers := &notify.Pagers{}
	for _, s := range settings {
		if s.Type == notify.NameSNS {
			pagers.All = append(pagers.All, &notify.SNS{
				TopicARN: s.TopicARN,
				Client: func(_ context.Context, region string) (notify.SNSPublisher, error) {
					// Of a topic somewhere else, SNS wants to be asked there.
					return topics(region), nil
				},
			})
			continue
		}
		pagers.All = append(pagers.All, &notify.OpsGenie{
			Type: s.Type, BaseURL: s.URL, Key: secret(s.KeyParameter), Responders: s.Responders,
			Priority: s.Priority, PriorityUnknown: s.PriorityUnknown,
			Tags: s.Tags, Details: s.Details, Entity: s.Entity, Source: s.Source,
		})
	}
	return func() (*notify.Pagers, error) {
		if err != nil {
			return nil, err
		}
		return pagers, nil
	}
}

// pagerURLs are the addresses that the pagers are called at. One that is set
// wrongly is an error of its own, when it is used.
func pagerURLs(getenv func(string) string) []string {
	settings, _ := readPagers(getenv)
	var urls []string
	for _, s := range settings {
		var base string
		var err error
		switch s.Type {
		case notify.NameOpsGenie:
			base, err = notify.OpsGenieURL(s.URL)
		case notify.NameJSM:
			base, err = notify.JSMURL(s.URL)
		}
		if err == nil && base != "" {
			urls = append(urls, base)
		}
	}
	return urls
}

// slackPages says whether pages are told in Slack too; nil when the environment
// does not say.
func slackPages(getenv func(string) string) *bool {
	switch getenv("FIRSTLINE_SLACK_PAGES") {
	case "true":
		return new(true)
	case "false":
		return new(false)
	}
	return nil
}

// Bounds of the watch after a page, in minutes.
const (
	maxEveryMinutes = 60
	maxForMinutes   = 1440
)

// allClear is how the function looks after a page; nil when the environment does
// not say, or nothing that makes sense.
func allClear(getenv func(string) string) *handler.AllClear {
	every, err := minutes(getenv("FIRSTLINE_ALL_CLEAR_EVERY_MINUTES"), 1, maxEveryMinutes)
	if err != nil {
		return nil
	}
	lasts, err := minutes(getenv("FIRSTLINE_ALL_CLEAR_FOR_MINUTES"), 0, maxForMinutes)
	if err != nil {
		return nil
	}
	return &handler.AllClear{Every: every, For: lasts}
}

func minutes(value string, lowest, highest uint64) (time.Duration, error) {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n < lowest || n > highest {
		return 0, fmt.Errorf("%q is not a number from %d to %d", value, lowest, highest)
	}
	return time.Duration(n) * time.Minute, nil
}
