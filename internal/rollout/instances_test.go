package rollout

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	gocmp "github.com/google/go-cmp/cmp"

	"firstline/internal/probe"
)

// TestMissingInstances: an instance of another region, of none, one that is terminated,
// and a region that does not tell.
func TestMissingInstances(t *testing.T) {
	const here, there, nowhere, dead = "i-00000001", "i-00000002", "i-00000003", "i-00000004"
	for _, tt := range []struct {
		name    string
		regions map[string]string // ids of the var files
		chosen  []string          // all when empty
		denied  string            // region
		want    []string
		unclear string
		asked   int
	}{
		{name: "all there", regions: map[string]string{"eu-west-1": here, "us-east-1": there}, asked: 2},
		{
			name: "all that is wrong at once", regions: map[string]string{"eu-west-1": here + " " + there + " " + nowhere + " " + dead, "us-east-1": ""},
			want: []string{
				there + ": not in eu-west-1, but in us-east-1: name it there",
				nowhere + ": not in eu-west-1, and in none of the regions of the var files: correct the id, or take it out",
				dead + " in eu-west-1 is terminated: take it out of the var file",
			}, asked: 2,
		},
		{name: "what has no id's form is not asked for", regions: map[string]string{"eu-west-1": here + " web"}, asked: 1},
		{name: "a region that is not worked on", regions: map[string]string{"eu-west-1": here, "us-east-1": nowhere}, chosen: []string{"eu-west-1"}, asked: 1},
		{
			name: "a region does not tell", regions: map[string]string{"eu-west-1": nowhere, "us-east-1": there}, denied: "us-east-1",
			want:    []string{nowhere + ": not in eu-west-1, and us-east-1 could not be asked: correct the region or the id"},
			unclear: "firstline cannot tell whether the instances of us-east-1 exist (UnauthorizedOperation: no): that needs the right ec2:DescribeInstances", asked: 3,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := make(chan url.Values, 10)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				body, _ := io.ReadAll(req.Body)
				form, _ := url.ParseQuery(string(body))
				asked <- form
				region := strings.Split(req.Header.Get("Authorization"), "/")[2]
				if region == tt.denied {
					w.WriteHeader(http.StatusForbidden)
					_, _ = io.WriteString(w, `<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors></Response>`)
					return
				}
				items := ""
				for n := 1; form.Get(fmt.Sprintf("Filter.1.Value.%d", n)) != ""; n++ {
					id := form.Get(fmt.Sprintf("Filter.1.Value.%d", n))
					state := map[string]string{"eu-west-1 " + here: "running", "us-east-1 " + there: "stopped", "eu-west-1 " + dead: "terminated"}[region+" "+id]
					if state != "" {
						items += fmt.Sprintf("<item><instanceId>%s</instanceId><instanceState><name>%s</name></instanceState></item>", id, state)
					}
				}
				_, _ = fmt.Fprintf(w, "<DescribeInstancesResponse><reservationSet><item><instancesSet>%s</instancesSet></item></reservationSet></DescribeInstancesResponse>", items)
			}))
			defer server.Close()
			r := held(t, "eu-west-1", "us-east-1")
			r.desired = intended("", "")
			for region, ids := range tt.regions {
				r.desired.Regions[region] = probe.IntendedRegion{Instances: map[string]probe.IntendedInstance{}}
				for id := range strings.FieldsSeq(ids) {
					r.desired.Regions[region].Instances[id] = probe.IntendedInstance{}
				}
				if tt.chosen == nil || tt.chosen[0] == region {
					r.status[region] = &Status{Region: region}
				}
			}
			var log strings.Builder
			r.o.Log = &log
			r.o.AWS = func(context.Context) (aws.Config, error) {
				return aws.Config{BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")}, nil
			}
			got, err := missingInstances(t.Context(), r, false)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if said := strings.TrimSpace(log.String()); said != tt.unclear {
				t.Errorf("it says %q, want %q", said, tt.unclear)
			}
			if len(asked) != tt.asked {
				t.Errorf("%d calls, want %d", len(asked), tt.asked)
			}
		})
	}
}
