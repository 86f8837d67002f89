package guard

import "testing"

func TestRedactWords(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		// Our own.
		{"read secret /firstline/secrets/slack-token: the SSM parameter does not exist; create it as a SecureString", ""},
		{"page: the OpsGenie API key is missing: store it and try again", ""},
		{"page: HTTP 403 Forbidden: renew the API key, and let its integration create alerts", ""},
		{"send to Slack: invalid_auth: the Slack token was refused", ""},
		{"read url.secretHeaders.Authorization from /app/auth: the parameter's value is empty", ""},
		{"GET http://203.0.113.7:8080/healthz: connection refused", ""},
		{"operation error SSM: GetParameter, https response error StatusCode: 400, RequestID: 8c1d3f8e-52b1-4c2e-9f43-0d5b2c7a9e11, api error AccessDeniedException: User: arn:aws:sts::123456789012:assumed-role/firstline-responder-eu-west-1/firstline-responder is not authorized to perform: ssm:GetParameter on resource: arn:aws:ssm:eu-west-1:123456789012:parameter/firstline/secrets/slack-token", ""},
		// What others may have put there.
		{"not you: Authorization=Bearer hunter2-hunter2 (key AKIAIOSFODNN7EXAMPLE)", "not you: Authorization=[redacted] [redacted] (key [redacted])"},
		{"GenieKey 12345678-aaaa-bbbb was refused", "GenieKey [redacted] was refused"},
		{"password=geheim, and more", "password=[redacted], and more"},
		{`Client_Secret = "ge heim"; x`, "Client_Secret = [redacted]; x"},
		{"https://joe:geheim@app.example.com/x", "https://[redacted]@app.example.com/x"},
		{"xoxb-1234567890-geheim said no", "[redacted] said no"},
		{"the key wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "the key [redacted]"},
		{"a\x1b[31mb\x00c", "abc"},
	} {
		want := tt.want
		if want == "" {
			want = tt.in
		}
		if got := RedactWords(tt.in); got != want {
			t.Errorf("%q\n got %q\nwant %q", tt.in, got, want)
		}
	}
}
