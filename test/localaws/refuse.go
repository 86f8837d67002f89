package localaws

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode"
)

// nested is a reference to another parameter, which AWS does not allow in one.
var nested = regexp.MustCompile(`\{\{.*\}\}`)

// reservedVariables are names that Lambda keeps for itself.
var reservedVariables = map[string]bool{
	"_HANDLER": true, "_X_AMZN_TRACE_ID": true, "AWS_ACCESS_KEY": true, "AWS_ACCESS_KEY_ID": true,
	"AWS_DEFAULT_REGION": true, "AWS_EXECUTION_ENV": true, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": true,
	"AWS_LAMBDA_FUNCTION_NAME": true, "AWS_LAMBDA_FUNCTION_VERSION": true, "AWS_LAMBDA_INITIALIZATION_TYPE": true,
	"AWS_LAMBDA_LOG_GROUP_NAME": true, "AWS_LAMBDA_LOG_STREAM_NAME": true, "AWS_LAMBDA_RUNTIME_API": true,
	"AWS_REGION": true, "AWS_SECRET_ACCESS_KEY": true, "AWS_SESSION_TOKEN": true,
	"LAMBDA_RUNTIME_DIR": true, "LAMBDA_TASK_ROOT": true,
}

// refused answers what AWS refuses and moto takes, where a deployment of this
// project might ask for it.
func (q *request) refused() *response {
	bad := func(code, message string, args ...any) *response {
		return q.refuse(http.StatusBadRequest, code, fmt.Sprintf(message, args...))
	}
	switch q.signed + ":" + q.action {
	case "ssm:PutParameter":
		switch value := q.text("Value"); {
		case value == "":
			return bad("ValidationException", "1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length greater than or equal to 1.")
		case nested.MatchString(value):
			return bad("ValidationException", `Parameter value can't nest another parameter. Do not use "{{}}" in the value.`)
		}
	case "sns:Publish":
		return q.refusedPublish()
	case "iam:CreatePolicy", "iam:CreatePolicyVersion":
		if size := policySize(q.form.Get("PolicyDocument")); size > 6144 {
			return q.refuse(http.StatusConflict, "LimitExceeded", fmt.Sprintf("Cannot exceed quota for PolicySize: 6144 (it is %d)", size))
		}
	case "iam:PutRolePolicy":
		if size := policySize(q.form.Get("PolicyDocument")); size > 10240 {
			return q.refuse(http.StatusConflict, "LimitExceeded",
				fmt.Sprintf("Maximum policy size of 10240 bytes exceeded for role %s (it is %d)", q.form.Get("RoleName"), size))
		}
	case "lambda:CreateFunction", "lambda:UpdateFunctionConfiguration":
		env, _ := q.json["Environment"].(map[string]any)
		variables, _ := env["Variables"].(map[string]any)
		size := 0
		for name, value := range variables {
			if reservedVariables[name] {
				return bad("InvalidParameterValueException",
					"Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: %s", name)
			}
			size += len(name) + len(fmt.Sprint(value))
		}
		if size > 4096 {
			return bad("InvalidParameterValueException",
				"Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit (they have %d bytes).", size)
		}
	}
	return nil
}

// policySize is the size of a policy as IAM counts it: without white space.
func policySize(document string) int {
	return len(strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, document))
}
