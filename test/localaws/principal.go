package localaws

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// NewPrincipal makes a user of the account who may do what the policies allow, and
// returns the access key. Whatever is called with it needs all rights that AWS would
// want, those of dependent actions such as iam:PassRole included. A call without
// them is refused as AWS refuses it, and so is one whose rights the local AWS does
// not know.
func (a *AWS) NewPrincipal(name string, policies ...Policy) (accessKey string) {
	arn := "arn:aws:iam::" + AccountID + ":user/" + name
	a.mu.Lock()
	a.policies[arn] = policies
	a.mu.Unlock()
	return a.keyOf(arn)
}

// authorize returns what to record of a call, one for each right that it needs, and
// an answer if a principal may not make it.
func (a *AWS) authorize(ctx context.Context, q *request, caller string) (calls []Call, refusal *response) {
	a.mu.Lock()
	policies, checked := a.policies[caller]
	a.mu.Unlock()
	rights := q.rights()
	if checked {
		rights = append(rights, q.dependent()...)
	}
	for _, r := range rights {
		c := Call{Role: caller, Service: r.service, Action: r.action, Region: q.region, Resources: r.resources}
		switch {
		case !checked || q.is("sts", "GetCallerIdentity"): // no policy can deny this one
		case operations[q.signed+":"+q.action] == nil:
			refusal = q.denied(fmt.Sprintf("The local AWS does not know the rights of %s:%s: name them in rights.go", q.signed, q.action))
		default:
			a.complete(ctx, q, r, &c)
			if refusal == nil && !Allowed(policies, c) {
				refusal = q.denied(fmt.Sprintf("User: %s is not authorized to perform: %s:%s on resource: %s because no identity-based policy allows the %s:%s action",
					caller, c.Service, c.Action, strings.Join(c.Resources, ", "), c.Service, c.Action))
			}
		}
		calls = append(calls, c)
	}
	return calls, refusal
}

// denied refuses a call for want of a right.
func (q *request) denied(message string) *response {
	status, code := http.StatusForbidden, "AccessDenied"
	switch {
	case q.signed == "ec2":
		code = "UnauthorizedOperation"
	case q.json != nil:
		status, code = http.StatusBadRequest, "AccessDeniedException"
	}
	if q.signed == "lambda" {
		status, code = http.StatusForbidden, "AccessDeniedException"
	}
	return q.refuse(status, code, message)
}

// complete adds to a call what the account knows of what it is made on, and the
// condition keys that this project's policies ask for.
func (a *AWS) complete(ctx context.Context, q *request, r right, c *Call) {
	c.Context = map[string]string{}
	maps.Copy(c.Context, r.context)
	if r.action == "PassRole" {
		return
	}
	for tag, value := range q.tags() {
		c.Context["aws:RequestTag/"+tag] = value
	}
	if name := q.form.Get("RoleName"); q.signed == "iam" && name != "" {
		arn, boundary := a.role(ctx, name)
		if arn != "" {
			c.Resources = []string{arn}
		}
		if boundary = cmp.Or(q.form.Get("PermissionsBoundary"), boundary); boundary != "" {
			c.Context["iam:PermissionsBoundary"] = boundary
		}
	}
	if q.signed == "kms" && len(c.Resources) > 0 && c.Resources[0] != "*" {
		a.completeKey(ctx, q, c)
	}
}

// completeKey adds the tags of the key that a call names, or whose alias it names,
// and that key itself: KMS wants a right to both.
func (a *AWS) completeKey(ctx context.Context, q *request, c *Call) {
	id := cmp.Or(q.text("KeyId"), q.text("TargetKeyId"), q.text("AliasName"))
	var key struct{ KeyMetadata struct{ Arn string } }
	if err := a.moto.call(ctx, "kms", "DescribeKey", q.region, map[string]string{"KeyId": id}, &key); err != nil {
		return
	}
	if arn := key.KeyMetadata.Arn; !slices.Contains(c.Resources, arn) {
		c.Resources = append(c.Resources, arn)
	}
	var out struct {
		Tags []struct{ TagKey, TagValue string }
	}
	if err := a.moto.call(ctx, "kms", "ListResourceTags", q.region, map[string]string{"KeyId": key.KeyMetadata.Arn}, &out); err != nil {
		return
	}
	for _, tag := range out.Tags {
		c.Context["aws:ResourceTag/"+tag.TagKey] = tag.TagValue
	}
}

// role returns a role's ARN, of which calls name the end alone, and its permissions
// boundary; both are empty where there is no such role.
func (a *AWS) role(ctx context.Context, name string) (arn, boundary string) {
	resp, err := a.moto.form(ctx, "iam", "us-east-1", url.Values{"Action": {"GetRole"}, "Version": {"2010-05-08"}, "RoleName": {name}})
	if err != nil {
		return "", ""
	}
	root, err := readXML(resp.body)
	if err != nil {
		return "", ""
	}
	found := root.at("GetRoleResult").at("Role")
	return found.text("Arn"), found.at("PermissionsBoundary").text("PermissionsBoundaryArn")
}
