package rollout

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-cmp/cmp"
)

func TestSuperseded(t *testing.T) {
	vpc := func(subnets ...string) *lambdatypes.VpcConfigResponse {
		return &lambdatypes.VpcConfigResponse{SubnetIds: subnets, SecurityGroupIds: []string{"sg-1"}}
	}
	inA, inAToo, inB, none := vpc("subnet-a", "subnet-b"), vpc("subnet-b", "subnet-a"), vpc("subnet-c"), vpc()
	for _, tt := range []struct {
		name     string
		versions []*lambdatypes.VpcConfigResponse // of version 1, 2, ...
		deployed int
		want     []string
	}{
		{name: "the first", versions: []*lambdatypes.VpcConfigResponse{nil}, deployed: 1},
		{name: "the one before stays", versions: []*lambdatypes.VpcConfigResponse{nil, nil, nil, nil}, deployed: 4, want: []string{"1", "2"}},
		{name: "in the same VPC", versions: []*lambdatypes.VpcConfigResponse{inA, inA, inAToo}, deployed: 3, want: []string{"1"}},
		{name: "into a VPC", versions: []*lambdatypes.VpcConfigResponse{none, none, inA}, deployed: 3, want: []string{"1"}},
		{name: "out of a VPC", versions: []*lambdatypes.VpcConfigResponse{inA, inA, none}, deployed: 3, want: []string{"1", "2"}},
		{name: "into another VPC", versions: []*lambdatypes.VpcConfigResponse{inA, inB}, deployed: 2, want: []string{"1"}},
		{name: "a later one is somebody else's", versions: []*lambdatypes.VpcConfigResponse{nil, nil, nil, nil}, deployed: 3, want: []string{"1"}},
		{name: "what is deployed is not there", versions: []*lambdatypes.VpcConfigResponse{nil, nil, nil}, deployed: 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var versions []lambdatypes.FunctionConfiguration
			for n, vpc := range tt.versions {
				versions = append(versions, lambdatypes.FunctionConfiguration{
					Version: aws.String(fmt.Sprint(n + 1)), FunctionArn: aws.String(fmt.Sprintf("arn:%d", n+1)), VpcConfig: vpc,
				})
			}
			var got []string
			for _, v := range superseded(versions, fmt.Sprintf("arn:%d", tt.deployed)) {
				got = append(got, *v.Version)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
