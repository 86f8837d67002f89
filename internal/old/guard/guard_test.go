package guard

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/localaws"
	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
	"firstline/internal/toolchain"
)

const (
	region     = "eu-west-1"
	instanceID = "i-0c1cbf2e7abdedf75"
)

// at is when everything in these tests begins.
var at = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// bench is the local AWS that the tests share, each with a table of its own.
var bench struct {
	once   sync.Once
	aws    *localaws.AWS
	client *dynamodb.Client
	err    error
	log    syncBuffer
	tables atomic.Int32
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if bench.aws != nil {
		if err := bench.aws.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if code != 0 {
		fmt.Fprintf(os.Stderr, "the local AWS said:\n%s", bench.log.b.String())
	}
	os.Exit(code)
}

// db is a table in the local AWS, and what a test does to its calls and clock.
type db struct {
	t *testing.T
	Table
	mu  sync.Mutex
	now time.Time
	// meddle, if it is set, gets every call and carries it out or not.
	meddle func(action string, in any, call func() error) error
	calls  map[string]int
}

func newDB(t *testing.T) *db {
	t.Helper()
	bench.once.Do(func() {
		root, err := toolchain.Root()
		if err != nil {
			bench.err = err
			return
		}
		moto, err := toolchain.Toolchain{Build: filepath.Join(root, "build"), Log: os.Stderr}.Moto(context.Background())
		if err != nil {
			bench.err = err
			return
		}
		if bench.aws, bench.err = localaws.Start(context.Background(), localaws.Options{Log: &bench.log, Moto: moto}); bench.err == nil {
			bench.client = dynamodb.NewFromConfig(bench.aws.Config(region))
		}
	})
	if bench.err != nil {
		t.Fatal(bench.err)
	}
	d := &db{t: t, now: at, calls: map[string]int{}}
	d.Table = Table{
		Name:   fmt.Sprintf("t%d-incidents", bench.tables.Add(1)),
		Client: func(context.Context) (API, error) { return meddler{d}, nil },
		Now: func() time.Time {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.now
		},
	}
	_, err := bench.client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &d.Name, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("pk"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("sk"), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("pk"), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String("sk"), KeyType: types.KeyTypeRange},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *db) pass(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(by)
}

func (d *db) on(action string, meddle func(in any, call func() error) error) {
	d.meddle = func(a string, in any, call func() error) error {
		if a != action {
			return call()
		}
		return meddle(in, call)
	}
}

// get reads an item past the meddling; nil if there is none.
func (d *db) get(k key) item {
	d.t.Helper()
	out, err := bench.client.GetItem(d.t.Context(), &dynamodb.GetItemInput{TableName: &d.Name, Key: k.attributes(), ConsistentRead: aws.Bool(true)})
	if err != nil {
		d.t.Fatal(err)
	}
	return out.Item
}

func (d *db) put(k key, i item) {
	d.t.Helper()
	maps.Copy(i, k.attributes())
	if _, err := bench.client.PutItem(d.t.Context(), &dynamodb.PutItemInput{TableName: &d.Name, Item: i}); err != nil {
		d.t.Fatal(err)
	}
}

func (d *db) instance(id string) instance {
	d.t.Helper()
	i, err := decodeInstance(guardKey(id), d.get(guardKey(id)))
	if err != nil {
		d.t.Fatal(err)
	}
	return i
}

func (d *db) brake() brake {
	d.t.Helper()
	b, err := decodeBrake(d.get(brakeKey))
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

func (d *db) count(action string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls[action]
}

// meddler is the client as the table sees it.
type meddler struct{ *db }

func through[Out any](d *db, action string, in any, call func() (Out, error)) (out Out, err error) {
	d.mu.Lock()
	d.calls[action]++
	meddle := d.meddle
	d.mu.Unlock()
	do := func() error {
		out, err = call()
		return err
	}
	if meddle == nil {
		err = do()
		return out, err
	}
	err = meddle(action, in, do)
	return out, err
}

func (m meddler) BatchGetItem(ctx context.Context, in *dynamodb.BatchGetItemInput, o ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	return through(m.db, "BatchGetItem", in, func() (*dynamodb.BatchGetItemOutput, error) { return bench.client.BatchGetItem(ctx, in, o...) })
}

func (m meddler) PutItem(ctx context.Context, in *dynamodb.PutItemInput, o ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	return through(m.db, "PutItem", in, func() (*dynamodb.PutItemOutput, error) { return bench.client.PutItem(ctx, in, o...) })
}

func (m meddler) UpdateItem(ctx context.Context, in *dynamodb.UpdateItemInput, o ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	return through(m.db, "UpdateItem", in, func() (*dynamodb.UpdateItemOutput, error) { return bench.client.UpdateItem(ctx, in, o...) })
}

func (m meddler) DeleteItem(ctx context.Context, in *dynamodb.DeleteItemInput, o ...func(*dynamodb.Options)) (*dynamodb.DeleteItemOutput, error) {
	return through(m.db, "DeleteItem", in, func() (*dynamodb.DeleteItemOutput, error) { return bench.client.DeleteItem(ctx, in, o...) })
}

func (m meddler) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, o ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	return through(m.db, "TransactWriteItems", in, func() (*dynamodb.TransactWriteItemsOutput, error) {
		return bench.client.TransactWriteItems(ctx, in, o...)
	})
}

func (m meddler) Query(ctx context.Context, in *dynamodb.QueryInput, o ...func(*dynamodb.Options)) (*dynamodb.QueryOutput, error) {
	return through(m.db, "Query", in, func() (*dynamodb.QueryOutput, error) { return bench.client.Query(ctx, in, o...) })
}

// refusal is an error that DynamoDB answers with.
func refusal(code string) error { return &smithy.GenericAPIError{Code: code, Message: "says DynamoDB"} }

func canceled(codes ...string) error {
	e := &types.TransactionCanceledException{Message: aws.String("Transaction cancelled")}
	for _, c := range codes {
		e.CancellationReasons = append(e.CancellationReasons, types.CancellationReason{Code: aws.String(c)})
	}
	return e
}

// newIncident is the incident of an execution, for an event of at.
func newIncident(id, execution string) *incident.Incident {
	s := incident.DefaultSettings()
	return &incident.Incident{
		InstanceID: id, Region: region, AccountID: localaws.AccountID, Run: 1, EventAt: at,
		Alarm:     &incident.Alarm{Name: "firstline-cpu-" + id, At: at},
		Execution: incident.Execution{ID: "arn:aws:states:eu-west-1:123456789012:execution:firstline:" + execution, Name: execution, StartedAt: at},
		Settings:  &s,
	}
}

func finding(check string, passed bool, at time.Time) checks.Finding {
	return checks.Finding{Run: 1, Check: check, Passed: passed, Reason: "it said so", Attempts: 3, At: at}
}

var (
	urlFailed   = finding(checks.NameURL, false, at)
	urlTimedOut = checks.Finding{Run: 1, Check: checks.NameURL, TimedOut: true, Reason: "it said nothing", At: at}
	limits      = Limits{InFlight: 2, PerHour: 6}
	until       = at.Add(3 * time.Hour)
)

// opened is an incident whose lease was taken and whose URL check has passed
// some time.
func (d *db) opened(id, execution string) *incident.Incident {
	d.t.Helper()
	inc := newIncident(id, execution)
	inc.EventAt = d.Now()
	inc.Execution.StartedAt = d.Now()
	d.learned(id)
	if handled, _, err := d.Open(d.t.Context(), inc, d.Now().Add(3*time.Hour), nil); err != nil || handled != nil {
		d.t.Fatalf("open: handled by %v, %v", handled, err)
	}
	return inc
}

func (d *db) learned(id string) {
	d.t.Helper()
	inc := newIncident(id, "verify")
	inc.Findings = []checks.Finding{finding(checks.NameURL, true, at.Add(-time.Hour))}
	if err := d.Learn(d.t.Context(), inc); err != nil {
		d.t.Fatal(err)
	}
}

// reserved reserves a reboot.
func (d *db) reserved(inc *incident.Incident) {
	d.t.Helper()
	if own, refusal, err := d.Reserve(d.t.Context(), inc, urlFailed, limits); own != nil || refusal != nil || err != nil {
		d.t.Fatalf("reserve: own %v, refusal %v, %v", own, refusal, err)
	}
}

// want complains unless err has a kind and contains a text.
func want(t *testing.T, err error, kind fault.Kind, text string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v (%s), want %s with %q", err, fault.KindOf(err), kind, text)
	}
}

func same(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(instance{}, brake{}, reboot{}, suspect{}, pass{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestErrorKinds(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		kind fault.Kind
		text string
		// calls is how often the write is tried.
		calls int
	}{
		{"denied", refusal("AccessDeniedException"), fault.Denied, "AccessDenied", 1},
		{"throttled", refusal("ThrottlingException"), fault.Unavailable, "ThrottlingException", 1},
		{"no capacity", refusal("ProvisionedThroughputExceededException"), fault.Unavailable, "ProvisionedThroughput", 1},
		{"server's fault", &smithy.GenericAPIError{Code: "InternalServerError", Fault: smithy.FaultServer}, fault.Unavailable, "InternalServerError", 1},
		{"no answer", &smithy.OperationError{Err: os.ErrDeadlineExceeded}, fault.Unavailable, "timeout", 1},
		{"no table", refusal("ResourceNotFoundException"), fault.InvalidInput, "there is no such table; apply Terraform", 1},
		{"a wrong request", refusal("ValidationException"), fault.Internal, "ValidationException", 1},
		{"canceled: a full item", canceled("None", "ValidationError"), fault.Internal, "ValidationError", 1},
		{"canceled: throttled", canceled("None", "ThrottlingError"), fault.Unavailable, "the table is throttled", maxThrottled},
		{"canceled: throttled and changed", canceled("ConditionalCheckFailed", "ProvisionedThroughputExceeded"), fault.Unavailable, "the table is throttled", maxThrottled},
		{"canceled: denied", canceled("AccessDenied", "None"), fault.Denied, "AccessDenied", 1},
		{"canceled: who knows why", canceled(), fault.Unavailable, "Transaction cancelled", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t)
			inc := d.opened(instanceID, "a")
			d.on("TransactWriteItems", func(any, func() error) error { return tt.err })
			own, refusal, err := d.Reserve(t.Context(), inc, urlFailed, limits)
			want(t, err, tt.kind, tt.text)
			want(t, err, tt.kind, "reserve reboot of "+instanceID)
			if own != nil || refusal != nil {
				t.Errorf("beside the error: own %v, refusal %v", own, refusal)
			}
			if n := d.count("TransactWriteItems"); n != tt.calls {
				t.Errorf("tried %d times, want %d", n, tt.calls)
			}
		})
	}
}

// What passes is tried again; others' changes are taken into account.
func TestTransientErrors(t *testing.T) {
	for name, passing := range map[string]error{
		"condition":    canceled("ConditionalCheckFailed", "None"),
		"transaction":  canceled("None", "TransactionConflict"),
		"throttled":    canceled("ThrottlingError", "None"),
		"single write": refusal("TransactionConflictException"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDB(t)
			inc := d.opened(instanceID, "a")
			left := 2
			d.on("TransactWriteItems", func(_ any, call func() error) error {
				if left--; left >= 0 {
					return passing
				}
				return call()
			})
			d.reserved(inc)
			if n := d.count("TransactWriteItems"); n != 3 {
				t.Errorf("tried %d times, want 3", n)
			}
		})
	}
}

func TestConflictsEndWithTheContext(t *testing.T) {
	d := newDB(t)
	inc := d.opened(instanceID, "a")
	d.on("TransactWriteItems", func(any, func() error) error { return canceled("TransactionConflict", "None") })
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, _, err := d.Reserve(ctx, inc, urlFailed, limits)
	want(t, err, fault.Unavailable, "context deadline exceeded")
	want(t, err, fault.Unavailable, "others kept changing it")
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
	d.meddle = nil
	if own, _, err := d.Look(t.Context(), inc); own != nil || err != nil {
		t.Errorf("reserved at %v, %v", own, err)
	}
}

func TestTableThatDoesNotAnswer(t *testing.T) {
	t.Run("hangs", func(t *testing.T) {
		d := newDB(t)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		d.on("BatchGetItem", func(any, func() error) error {
			<-ctx.Done()
			return ctx.Err()
		})
		_, _, err := d.Open(ctx, newIncident(instanceID, "a"), until, nil)
		want(t, err, fault.Unavailable, "open incident of "+instanceID)
	})
	t.Run("no client", func(t *testing.T) {
		denied := fault.New(fault.Denied, "credentials", "none")
		table := &Table{Name: "x", Client: func(context.Context) (API, error) { return nil, denied }}
		if _, _, err := table.Open(t.Context(), newIncident(instanceID, "a"), until, nil); !strings.Contains(fmt.Sprint(err), "credentials: none") || fault.KindOf(err) != fault.Denied {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no name", func(t *testing.T) {
		_, err := (&Table{}).RegionPause(t.Context())
		want(t, err, fault.Internal, "the name of the region's table is not set")
	})
	t.Run("does not exist", func(t *testing.T) {
		d := newDB(t)
		d.Name = "another-incidents"
		_, err := d.RegionPause(t.Context())
		want(t, err, fault.InvalidInput, "there is no such table")
	})
}

// An answer that says nothing must not read as "there is nothing".
func TestGarbageAnswers(t *testing.T) {
	d := newDB(t)
	inc := d.opened(instanceID, "a")
	for name, answer := range map[string]*dynamodb.BatchGetItemOutput{
		"nothing":       {},
		"another table": {Responses: map[string][]map[string]types.AttributeValue{"x": {}}},
		"another item":  {Responses: map[string][]map[string]types.AttributeValue{d.Name: {guardKey("i-0a1b2c3d").attributes()}}},
	} {
		table := &Table{Name: d.Name, Now: d.Now, Client: func(context.Context) (API, error) { return answers{meddler{d}, answer}, nil }}
		_, _, err := table.Reserve(t.Context(), inc, urlFailed, limits)
		want(t, err, fault.Unavailable, "DynamoDB's answer")
		if _, _, err := table.Open(t.Context(), newIncident(instanceID, "b"), until, nil); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// answers always answers a read in the same way.
type answers struct {
	API
	answer *dynamodb.BatchGetItemOutput
}

func (a answers) BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	return a.answer, nil
}

func TestIncidentsThatLackSomething(t *testing.T) {
	d := newDB(t)
	ctx := t.Context()
	lacks := func(mend func(*incident.Incident)) *incident.Incident {
		inc := newIncident(instanceID, "a")
		mend(inc)
		return inc
	}
	noExecution := lacks(func(i *incident.Incident) { i.Execution = incident.Execution{} })
	noInstance := lacks(func(i *incident.Incident) { i.InstanceID = "web-1" })
	for name, call := range map[string]func(*incident.Incident) error{
		"Open":           func(i *incident.Incident) error { _, _, err := d.Open(ctx, i, until, nil); return err },
		"Look":           func(i *incident.Incident) error { _, _, err := d.Look(ctx, i); return err },
		"Reserve":        func(i *incident.Incident) error { _, _, err := d.Reserve(ctx, i, urlFailed, limits); return err },
		"Cancel":         func(i *incident.Incident) error { return d.Cancel(ctx, i) },
		"Learn":          func(i *incident.Incident) error { return d.Learn(ctx, i) },
		"KeepEvidence":   func(i *incident.Incident) error { return d.KeepEvidence(ctx, i, Evidence{}) },
		"ClaimBrakePage": func(i *incident.Incident) error { _, err := d.ClaimBrakePage(ctx, i); return err },
		"Close":          func(i *incident.Incident) error { return d.Close(ctx, i, incident.EndPaged) },
		"ClaimAlert":     func(i *incident.Incident) error { _, _, err := d.ClaimAlert(ctx, i, incident.AlertDown); return err },
		"ReclaimAlert": func(i *incident.Incident) error {
			_, _, err := d.ReclaimAlert(ctx, i, incident.AlertDown, Alert{}, ClosedByPerson)
			return err
		},
		"AlertSent": func(i *incident.Incident) error { return d.AlertSent(ctx, i, Alert{}, "opsgenie") },
	} {
		want(t, call(noExecution), fault.InvalidInput, "incident.execution.id: missing")
		if name != "Close" && name != "ClaimBrakePage" {
			want(t, call(noInstance), fault.InvalidInput, `incident.instanceId: "web-1" is not an instance id`)
		}
	}
	_, _, err := d.Open(ctx, lacks(func(i *incident.Incident) { i.EventAt = time.Time{} }), until, nil)
	want(t, err, fault.InvalidInput, "incident.eventAt: missing")
	_, _, err = d.Reserve(ctx, lacks(func(i *incident.Incident) { i.Settings = nil }), urlFailed, limits)
	want(t, err, fault.InvalidInput, "incident.settings: missing")
}
