package localaws

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of a message to a topic: the reference of SNS's Publish.
const (
	maxSubject = 100     // characters, of ASCII
	maxMessage = 262_144 // bytes
)

// Notification is a message that was published to a topic.
type Notification struct {
	At time.Time
	// Role made the call, as in Call.
	Role             string
	Subject, Message string
}

// Published lists what was published to a topic and taken, in the order it came
// in.
func (a *AWS) Published(topicARN string) []Notification {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.published[topicARN])
}

// keepPublished keeps a message that SNS has taken.
func (a *AWS) keepPublished(q *request, role string) {
	n := Notification{At: time.Now(), Role: role, Subject: q.form.Get("Subject"), Message: q.form.Get("Message")}
	topic := q.form.Get("TopicArn")
	if topic == "" {
		topic = q.form.Get("TargetArn")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.published[topic] = append(a.published[topic], n)
}

// rewriteSubscriptions hides the ARN of each subscription that waits for somebody to
// confirm it, as SNS does: nobody here can.
func (a *AWS) rewriteSubscriptions(body []byte) []byte {
	return a.rewrite("ListSubscriptionsByTopic", body, func(root *node) {
		for _, s := range root.at("ListSubscriptionsByTopicResult").at("Subscriptions").children("member") {
			if slices.Contains([]string{"email", "email-json", "http", "https"}, s.text("Protocol")) {
				s.set("SubscriptionArn", "PendingConfirmation")
			}
		}
	})
}

// refusedPublish answers what SNS refuses of a message. moto takes most of it.
func (q *request) refusedPublish() *response {
	bad := func(message string, args ...any) *response {
		return q.refuse(http.StatusBadRequest, "InvalidParameter", "Invalid parameter: "+fmt.Sprintf(message, args...))
	}
	topic, subject, message := q.form.Get("TopicArn"), q.form.Get("Subject"), q.form.Get("Message")
	_, hasSubject := q.form["Subject"]
	if topic == "" && q.form.Get("TargetArn") == "" && q.form.Get("PhoneNumber") == "" {
		return bad("TopicArn or TargetArn Reason: no value for required parameter")
	}
	if parts := strings.Split(topic, ":"); topic != "" && (len(parts) != 6 || parts[0] != "arn" || parts[2] != "sns" || parts[3] != q.region) {
		return bad("TopicArn (%s is no topic of %s, where it was published)", topic, q.region)
	}
	fifo := strings.HasSuffix(topic, ".fifo")
	switch {
	case fifo && q.form.Get("MessageGroupId") == "":
		return bad("The MessageGroupId parameter is required for FIFO topics")
	case hasSubject && subject == "":
		return bad("Subject (it is empty)")
	case utf8.RuneCountInString(subject) > maxSubject:
		return bad("Subject (it has %d characters, and at most %d are allowed)", utf8.RuneCountInString(subject), maxSubject)
	case strings.ContainsFunc(subject, func(r rune) bool { return r < ' ' || r > '~' }):
		return bad("Subject (%q is not all printable ASCII)", subject)
	case strings.HasPrefix(subject, " "):
		return bad("Subject (it must begin with a letter, a digit or a punctuation mark)")
	case message == "":
		return bad("Empty message")
	case !utf8.ValidString(message):
		return bad("Message (it is not UTF-8)")
	case len(message) > maxMessage:
		return bad("Message too long (it has %d bytes, and at most %d are allowed)", len(message), maxMessage)
	}
	if q.form.Get("MessageStructure") == "json" {
		var parts map[string]any
		if err := json.Unmarshal([]byte(message), &parts); err != nil {
			return bad("Message Structure - JSON message body failed to parse")
		}
		if text, ok := parts["default"].(string); !ok || text == "" {
			return bad("Message Structure - No default entry in JSON message body")
		}
	}
	return nil
}
