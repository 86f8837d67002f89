package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"firstline/checks"
)

func TestEgressAddresses(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want []string
	}{
		{"a service's own names", map[string]string{"FIRSTLINE_OPSGENIE_ENDPOINT": "eu"}, []string{"ec2.eu-west-1.api.aws:443", "api.eu.opsgenie.com:443", "slack.com:443"}},
		{"ports as given", map[string]string{"FIRSTLINE_OPSGENIE_ENDPOINT": "https://pager.example.com:8443", "AWS_ENDPOINT_URL": "http://127.0.0.1", "FIRSTLINE_SLACK_API_URL": "http://127.0.0.1:8080/"}, []string{"127.0.0.1:80", "pager.example.com:8443", "127.0.0.1:8080"}},
		{"a pager set wrongly", nil, []string{"ec2.eu-west-1.api.aws:443", "slack.com:443"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := egressAddresses(func(k string) string { return tt.env[k] }, "eu-west-1")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestVPC(t *testing.T) {
	for value, want := range map[string]bool{"true": true, "false": false, "": false} {
		h := newHandler(func(k string) string { return map[string]string{"FIRSTLINE_VPC": value}[k] })
		url, ssh := h.URL.(*checks.URL), h.SSH.(*checks.SSH)
		if url.VPC != want || ssh.VPC != want {
			t.Errorf("FIRSTLINE_VPC=%q: url %t, ssh %t, want %t", value, url.VPC, ssh.VPC, want)
		}
	}
}
