package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/old/handler"
	byhand "firstline/test/bench/floor/ec2"
)

func TestEveryStepIsMeasured(t *testing.T) {
	var steps []string
	for _, c := range stepCases {
		steps = append(steps, c.step)
	}
	slices.Sort(steps)
	if diff := cmp.Diff(handler.Steps(), slices.Compact(steps)); diff != "" {
		t.Errorf("-handler.Steps() +stepCases:\n%s", diff)
	}
}

// What several do at the same moment counts once.
func TestBusyTimes(t *testing.T) {
	begin := time.Now()
	at := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Millisecond) }
	for _, tt := range []struct {
		name string
		all  [][2]int
		want int
	}{
		{"nobody", nil, 0},
		{"one after another", [][2]int{{50, 60}, {10, 20}}, 20},
		{"at the same time", [][2]int{{10, 30}, {20, 40}, {22, 25}}, 30},
		{"before and after", [][2]int{{-20, 10}, {90, 120}, {200, 300}}, 20},
		{"all the time", [][2]int{{-20, 300}}, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b busyTimes
			for _, one := range tt.all {
				b.add(at(one[0]), at(one[1]))
			}
			if got := b.take(at(0), at(100)); got != time.Duration(tt.want)*time.Millisecond {
				t.Errorf("got %s, want %d ms", got, tt.want)
			}
			if got := b.take(at(0), at(100)); got != 0 {
				t.Errorf("they count twice: %s", got)
			}
		})
	}
}

func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		all  []float64
		part float64
		want float64
	}{
		{nil, 0.5, 0},
		{[]float64{3}, 0.5, 3},
		{[]float64{4, 1, 3, 2}, 0.5, 2.5},
		{[]float64{5, 1, 3, 2, 4}, 0.25, 2},
		{[]float64{5, 1, 3, 2, 4}, 1, 5},
	} {
		if got := quantile(tt.all, tt.part); got != tt.want {
			t.Errorf("quantile(%v, %g) = %g, want %g", tt.all, tt.part, got, tt.want)
		}
	}
}

func TestPackagesOf(t *testing.T) {
	const listing = `  46d2a0        100 T firstline/checks.(*URL).Check
  46d2a1         20 R type:*github.com/aws/aws-sdk-go-v2/service/ec2.Client
  46d2a2          3 t github.com/aws/aws-sdk-go-v2/service/ec2/types.init
  46d2a3          4 R go:itab.*net/http.Client,firstline/x.Doer
  46d2a4          5 T slices.SortFunc[go.shape.[]firstline/x.T]
  46d2a5          6 R type:.eq.[2]gopkg.in/a%2ev1.T
  46d2a6       9999 B runtime.mheap_
  46d2a7          7 R go:string.*
                    U undefined
`
	sum := packagesOf(listing, func(address uint64) bool { return address != 0x46d2a6 })
	want := map[string]int64{
		"firstline/checks": 100, "github.com/aws/aws-sdk-go-v2/service/ec2": 20, "github.com/aws/aws-sdk-go-v2/service/ec2/types": 3,
		"net/http": 4, "slices": 5, "go:string": 7,
	}
	for name, size := range want {
		if sum[name] != size {
			t.Errorf("%s: %d bytes, want %d; all: %v", name, sum[name], size, sum)
		}
	}
	if names, merged := largest(sum, 2); !slices.Equal(names, []string{"firstline/checks", ec2Module}) || merged[ec2Module] != 23 {
		t.Errorf("the largest are %v of %v", names, merged)
	}
}

func TestCopySource(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	for _, name := range []string{"go.mod", "cmd/x/main.go", "notify/wording/a.txt", "build/x.go", "terraform/x.txt", "README.md"} {
		path := filepath.Join(from, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(name), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := copySource(from, to); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"go.mod": true, "cmd/x/main.go": true, "notify/wording/a.txt": true, "build/x.go": false, "terraform": false, "README.md": false} {
		if _, err := os.Stat(filepath.Join(to, name)); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %t", name, err, want)
		}
	}
}

// The client of EC2 that is written by hand says the same as the SDK's, as far as
// either is used.
func TestEC2ByHand(t *testing.T) {
	p, err := startPeers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	config := aws.Config{
		Region: functionRegion, BaseEndpoint: &p.awsURL, HTTPClient: http.DefaultClient,
		Credentials: credentials.NewStaticCredentialsProvider("id", "key", ""),
	}
	sdk, own := ec2.NewFromConfig(config), byhand.NewFromConfig(config)
	id := "i-0c1cbf2e7abdedf75"
	ctx := t.Context()

	a, err := sdk.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := own.DescribeInstances(ctx, &byhand.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		t.Fatal(err)
	}
	x, y := a.Reservations[0].Instances[0], b.Reservations[0].Instances[0]
	if *x.InstanceId != *y.InstanceId || x.State.Name != y.State.Name || *x.PublicIpAddress != *y.PublicIpAddress || *x.PrivateIpAddress != *y.PrivateIpAddress ||
		len(x.Tags) != 2 || len(y.Tags) != 2 || *x.Tags[0].Key != *y.Tags[0].Key || *x.Tags[1].Value != *y.Tags[1].Value {
		t.Errorf("the SDK has %+v, and by hand it is %+v", x, y)
	}
	s, err := sdk.DescribeInstanceStatus(ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: []string{id}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := own.DescribeInstanceStatus(ctx, &byhand.DescribeInstanceStatusInput{InstanceIds: []string{id}})
	if err != nil {
		t.Fatal(err)
	}
	if s.InstanceStatuses[0].SystemStatus.Status != r.InstanceStatuses[0].SystemStatus.Status || s.InstanceStatuses[0].InstanceStatus.Status != r.InstanceStatuses[0].InstanceStatus.Status {
		t.Errorf("the SDK has %+v, and by hand it is %+v", s, r)
	}
	c, err := sdk.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id})
	if err != nil {
		t.Fatal(err)
	}
	d, err := own.GetConsoleOutput(ctx, &byhand.GetConsoleOutputInput{InstanceId: &id})
	if err != nil {
		t.Fatal(err)
	}
	if *c.Output != *d.Output || !c.Timestamp.Equal(*d.Timestamp) {
		t.Errorf("the SDK has %d bytes of %s, and by hand it is %d of %s", len(*c.Output), c.Timestamp, len(*d.Output), d.Timestamp)
	}
	if _, err := own.RebootInstances(ctx, &byhand.RebootInstancesInput{InstanceIds: []string{id}}); err != nil {
		t.Error(err)
	}
	own = byhand.NewFromConfig(aws.Config{Region: functionRegion, BaseEndpoint: &p.awsURL, HTTPClient: refusing{}, Credentials: config.Credentials})
	_, err = own.RebootInstances(ctx, &byhand.RebootInstancesInput{InstanceIds: []string{id}})
	if api, ok := errors.AsType[smithy.APIError](err); !ok || api.ErrorCode() != "UnauthorizedOperation" {
		t.Errorf("refused it says %v", err)
	}
}

// refusing answers as EC2 does when it refuses.
type refusing struct{}

func (refusing) Do(req *http.Request) (*http.Response, error) {
	const answer = `<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors><RequestID>r</RequestID></Response>`
	return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{}, Body: body{strings.NewReader(answer)}, Request: req}, nil
}

type body struct{ *strings.Reader }

func (body) Close() error { return nil }

// Every step takes the way that is meant, in the function as it is built.
func TestStepsAreMeasuredOnTheirWay(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the function")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	project, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	binary, floor := filepath.Join(dir, "bootstrap"), filepath.Join(dir, "floor")
	if err := errors.Join(
		goBuild(ctx, project, binary, "./cmd/responder", linkedAsDeployed),
		goBuild(ctx, project, floor, "./test/bench/floor", linkedAsDeployed),
	); err != nil {
		t.Fatal(err)
	}
	programs := []program{{floor, floorCase}}
	for _, c := range stepCases {
		programs = append(programs, program{binary, c})
	}
	f := &frame{log: t.Output(), start: time.Now()}
	got, err := (&function{}).measure(ctx, f, dir, programs, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	for n, s := range got {
		if len(s.cold) != 1 || len(s.warm) != 2 || s.cold[0] <= 0 || s.coldPeers[0] <= 0 || s.coldPeers[0] >= s.cold[0] || s.peers[0] <= 0 || s.overhead[0] <= 0 {
			t.Errorf("%s: %+v", programs[n].name, s)
		}
	}
}

func TestFunctionTargets(t *testing.T) {
	f := functionFigures{
		Floor: stepFigures{Step: "floor", ColdMs: 5, PeakBytes: 8e6},
		Steps: []stepFigures{
			{Step: "open", Ratio: 4.5, OverheadMs: 2.5, PeakBytes: 41e6},
			{Step: "url", Ratio: 1.5, OverheadMs: 0.5, PeakBytes: 20e6},
		},
		Packages: []archFigures{
			{Architecture: "arm64", ZipBytes: 6e6, Stripped: true, Same: true},
			{Architecture: "x86_64", ZipBytes: 8e6, Stripped: true},
		},
	}
	want := []string{
		"1.50: yes", "4.50 (open): **no**", "open 2.5; the others less: **no**", "8.00 MB: **no**", "yes: yes", "41.0 MB (open): **no**", "no: **no**",
	}
	if diff := cmp.Diff(want, verdicts(f.targets())); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	keys := map[string]float64{}
	for _, r := range f.ratios() {
		keys[r.Key] = r.Value
	}
	wantKeys := map[string]float64{
		"function/open/cold": 4.5, "function/open/memory": 5.125, "function/url/cold": 1.5, "function/url/memory": 2.5,
		"function/zip/arm64": 6e6, "function/zip/x86_64": 8e6, "function/different-builds/arm64": 1, "function/different-builds/x86_64": 2,
	}
	if diff := cmp.Diff(wantKeys, keys); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
