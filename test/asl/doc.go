// Package asl runs Amazon States Language definitions in tests: every state
// machine of the project runs on it for days of virtual time. It implements
// what the project's definition uses and refuses everything else when it loads
// a definition.
//
// Step Functions is the reference (https://states-language.net,
// https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html).
// Where engines differ, the construct is refused.
package asl
