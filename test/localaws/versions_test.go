package localaws

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// The number of a version that was deleted is not given to another one.
func TestVersionNumbers(t *testing.T) {
	a := shared(t)
	client, name, _ := makeFunction(t, a, nil) // publishes 1
	publish := func(memory int32) string {
		if _, err := client.UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, MemorySize: &memory}); err != nil {
			t.Fatal(err)
		}
		out, err := client.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: &name})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(out.Version)
	}
	if got := publish(300); got != "2" {
		t.Errorf("got version %s, want 2", got)
	}
	if _, err := client.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: &name, Qualifier: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	if got := publish(301); got != "3" {
		t.Errorf("got version %s, want 3", got)
	}
}
