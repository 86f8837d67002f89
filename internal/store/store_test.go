package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
	"firstline/test/dynamo"
)

const (
	tableName = "firstline-incidents"
	one       = "i-00000000000000001"
	two       = "i-00000000000000002"
)

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// newTable returns an empty table.
func newTable() (*store.Table, *dynamo.DB) {
	db := dynamo.New(tableName)
	return &store.Table{
		Name:   tableName,
		Client: func(context.Context) (store.API, error) { return db, nil },
	}, db
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func number(n int) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: fmt.Sprint(n)}
}

// failing returns an error once an op is called, n times.
func failing(op string, n int, err error) func(context.Context, dynamo.Call) error {
	return func(_ context.Context, c dynamo.Call) error {
		if c.Op == op && n > 0 {
			n--
			return err
		}
		return nil
	}
}

// counting counts the calls by their op.
func counting(db *dynamo.DB) map[string]int {
	calls := map[string]int{}
	db.Before = func(_ context.Context, c dynamo.Call) error {
		calls[c.Op]++
		return nil
	}
	return calls
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// firstLook is the record of an execution's first look.
func firstLook(x incident.Execution) *store.Record {
	r := store.RecordOf(&incident.Incident{InstanceID: one, Execution: x})
	r.Looks = []incident.Decision{{Look: 1}}
	return &r
}

// all are the records since a time, and the errors of those that cannot be read.
func all(t *testing.T, table *store.Table, since time.Time) (records []store.Record, err error) {
	t.Helper()
	for r, bad := range table.Records(t.Context(), since) {
		if bad != nil {
			err = errors.Join(err, bad)
		} else {
			records = append(records, r)
		}
	}
	return records, err
}

// only is the only record.
func only(t *testing.T, table *store.Table) store.Record {
	t.Helper()
	records, err := all(t, table, time.Time{})
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	return records[0]
}

// fill sets everything in a value to something that is not zero.
func fill(v reflect.Value, n *int64) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(*n)
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(k, n)
			fill(e, n)
			v.SetMapIndex(k, e)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n)
			}
		}
	default:
		panic("no rule for " + v.Type().String())
	}
}

func TestEveryFieldOfTheStateIsKept(t *testing.T) {
	table, _ := newTable()
	var want policy.State
	var n int64
	fill(reflect.ValueOf(&want).Elem(), &n)
	want.Instance.ID = one
	must[*store.Entry](t)(table.Update(t.Context(), one, func(e *store.Entry) error {
		if e.Exists {
			t.Error("an instance without an item exists")
		}
		e.State = want
		return nil
	}))
	e := must[*store.Entry](t)(table.Load(t.Context(), one))
	if diff := cmp.Diff(want, e.State); diff != "" {
		t.Error(diff)
	}
	if !e.Exists {
		t.Error("the item that was written does not exist")
	}
}

func TestItemsHaveTheirKeysSchemaAndVersion(t *testing.T) {
	table, db := newTable()
	update := func() {
		must[*store.Entry](t)(table.Update(t.Context(), one, func(e *store.Entry) error {
			e.State.Instance.HealthyRun++
			e.State.Region.BreakerResetAt++
			return nil
		}))
	}
	update()
	update()
	for _, k := range [][2]string{{"instance", one}, {"region", "region"}} {
		i := db.Get(k[0], k[1])
		if diff := cmp.Diff([]types.AttributeValue{number(policy.Schema), number(2)}, []types.AttributeValue{i["schema"], i["version"]}, cmp.AllowUnexported(types.AttributeValueMemberN{}), ignoreNoSmithy()); diff != "" {
			t.Error(k, diff)
		}
		if i["healthy_since"] != nil {
			t.Error("a time that is 0 is stored")
		}
	}
}

// ignoreNoSmithy compares attributes by what they hold.
func ignoreNoSmithy() cmp.Option {
	return cmp.FilterPath(func(p cmp.Path) bool { return strings.Contains(p.String(), "noSmithyDocumentSerde") }, cmp.Ignore())
}

func TestNothingChangedIsNoCall(t *testing.T) {
	table, db := newTable()
	e := must[*store.Entry](t)(table.Load(t.Context(), one))
	calls := counting(db)
	if err := table.Save(t.Context(), e); err != nil || len(calls) > 0 {
		t.Errorf("got %v after the calls %v", err, calls)
	}
	e.State.Instance.HealthyRun = 1
	for range 2 {
		if err := table.Save(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]int{"TransactWriteItems": 1}, calls); diff != "" {
		t.Error("one item changed, saved twice:", diff)
	}
	e.State.Instance.HealthyRun, e.State.Region.BreakerResetAt = 2, 5
	if err := table.Save(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"TransactWriteItems": 2}, calls); diff != "" {
		t.Error("two items changed:", diff)
	}
}

// recorder keeps the update expressions that pass through it.
type recorder struct {
	store.API
	updates []string
}

func (r *recorder) TransactWriteItems(ctx context.Context, in *dynamodb.TransactWriteItemsInput, o ...func(*dynamodb.Options)) (*dynamodb.TransactWriteItemsOutput, error) {
	for _, i := range in.TransactItems {
		r.updates = append(r.updates, aws.ToString(i.Update.UpdateExpression))
	}
	return r.API.TransactWriteItems(ctx, in, o...)
}

func TestOnlyWhatChangedIsWritten(t *testing.T) {
	table, db := newTable()
	db.Put(dynamo.Item{
		"pk": text("instance"), "sk": text(one), "schema": number(1), "version": number(7), "id": text(one), "healthy_run": number(3),
		"last_reason": text("passed"), "name": text("web-1"), "of_another_version": text("kept"),
		"lease": &types.AttributeValueMemberM{Value: dynamo.Item{"until": number(5), "of_another_version": text("kept as well")}},
	})
	r := &recorder{API: db}
	table.Client = func(context.Context) (store.API, error) { return r, nil }
	must[*store.Entry](t)(table.Update(t.Context(), one, func(e *store.Entry) error {
		e.State.Instance.HealthyRun, e.State.Instance.LastReason = 4, ""
		return nil
	}))
	want := []string{"SET #schema = :schema, #version = :version, #healthy_run = :healthy_run REMOVE #last_reason"}
	if diff := cmp.Diff(want, r.updates); diff != "" {
		t.Error(diff)
	}
	i := db.Get("instance", one)
	lease, _ := i["lease"].(*types.AttributeValueMemberM)
	if i["of_another_version"] == nil || lease == nil || lease.Value["of_another_version"] == nil || i["last_reason"] != nil {
		t.Errorf("after the write there is %v", i)
	}
}

func TestAChangeBySomebodyElseIsSeen(t *testing.T) {
	execution := incident.Execution{ID: "arn:x:run", Name: "run", StartedAt: start}
	tests := map[string]func(e *store.Entry){
		"instance": func(e *store.Entry) { e.State.Instance.HealthyRun = 9 },
		"both":     func(e *store.Entry) { e.State.Instance.HealthyRun, e.State.Region.BreakerResetAt = 9, 9 },
		"with a record": func(e *store.Entry) {
			e.State.Instance.HealthyRun = 9
			e.Record = firstLook(execution)
		},
	}
	for name, change := range tests {
		for _, existed := range []bool{false, true} {
			t.Run(fmt.Sprint(name, existed), func(t *testing.T) {
				table, db := newTable()
				write := func(e *store.Entry) error {
					e.State.Instance.HealthyRun++
					return nil
				}
				if existed {
					must[*store.Entry](t)(table.Update(t.Context(), one, write))
				}
				late := must[*store.Entry](t)(table.Load(t.Context(), one))
				must[*store.Entry](t)(table.Update(t.Context(), one, write))
				before := db.Get("instance", one)
				change(late)
				err := table.Save(t.Context(), late)
				if !errors.Is(err, store.ErrChanged) || fault.KindOf(err) != fault.Unavailable {
					t.Errorf("got %v, want ErrChanged", err)
				}
				if diff := cmp.Diff(before, db.Get("instance", one), ignoreNoSmithy()); diff != "" {
					t.Error(diff)
				}
				if db.Get("region", "region") != nil || len(db.Sorts("incident")) > 0 {
					t.Error("half of it was written")
				}
			})
		}
	}
}

func TestNoUpdateIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, db := newTable()
		db.Before = func(context.Context, dynamo.Call) error {
			time.Sleep(rand.N(5 * time.Millisecond)) //nolint:gosec // it spreads the calls
			return nil
		}
		const workers, each = 12, 5
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				id := []string{one, two}[w%2]
				for n := range each {
					_, err := table.Update(t.Context(), id, func(e *store.Entry) error {
						e.State.Instance.HealthyRun++
						e.State.Region.Reboots = append(e.State.Region.Reboots, policy.RegionReboot{Instance: fmt.Sprint(w, "/", n)})
						return nil
					})
					if err != nil {
						t.Error(err)
					}
					err = table.UpdateRegion(t.Context(), func(r *policy.Region) error {
						r.BreakerResetAt++
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		l := must[*store.Listing](t)(table.Instances(t.Context()))
		if len(l.Instances) != 2 || l.Instances[0].HealthyRun != workers*each/2 || l.Instances[1].HealthyRun != workers*each/2 {
			t.Errorf("instances: %+v", l.Instances)
		}
		if len(l.Region.Reboots) != workers*each || l.Region.BreakerResetAt != workers*each {
			t.Errorf("region: %d reboots, %d pauses, want %d each", len(l.Region.Reboots), l.Region.BreakerResetAt, workers*each)
		}
	})
}

func TestALostAnswerIsNoSecondWrite(t *testing.T) {
	for name, withRecord := range map[string]bool{"the instance alone": false, "with a record": true} {
		t.Run(name, func(t *testing.T) {
			table, db := newTable()
			db.After = failing("TransactWriteItems", 1, errors.New("connection reset by peer"))
			execution := incident.Execution{ID: "arn:x:run", Name: "run", StartedAt: start}
			decide := func(e *store.Entry) error {
				if e.State.Instance.Decided != nil {
					return nil
				}
				e.State.Instance.Decided = &policy.Decided{Execution: execution.ID, Look: 1}
				if withRecord {
					e.Record = firstLook(execution)
				}
				return nil
			}
			_, err := table.Update(t.Context(), one, decide)
			if fault.KindOf(err) != fault.Unavailable || errors.Is(err, store.ErrChanged) {
				t.Fatalf("got %v, want Unavailable and not ErrChanged, since it may have been written", err)
			}
			e := must[*store.Entry](t)(table.Update(t.Context(), one, decide))
			if e.State.Instance.Decided == nil {
				t.Error("the decision is not there")
			}
			if withRecord && len(only(t, table).Looks) != 1 {
				t.Error("want one look")
			}
		})
	}
}

func TestUpdateTriesAgain(t *testing.T) {
	tests := map[string]struct {
		op    string
		times int
		err   error
		want  error // nil: it goes through
	}{
		"conflict of one write":       {"TransactWriteItems", 3, dynamo.Conflict(1), nil},
		"conflict of a transaction":   {"TransactWriteItems", 3, dynamo.Conflict(2), nil},
		"throttled transaction":       {"TransactWriteItems", 7, throttledTransaction(), nil},
		"transaction that stays so":   {"TransactWriteItems", 1000, throttledTransaction(), throttledTransaction()},
		"conflicts that do not cease": {"TransactWriteItems", 1000, dynamo.Conflict(2), store.ErrChanged},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table, db := newTable()
				db.Before = failing(tt.op, tt.times, tt.err)
				e, err := table.Update(t.Context(), one, func(e *store.Entry) error {
					e.State.Instance.HealthyRun++
					if tt.op == "TransactWriteItems" {
						e.State.Region.BreakerResetAt++
					}
					return nil
				})
				switch {
				case tt.want == nil && (err != nil || e.State.Instance.HealthyRun != 1):
					t.Errorf("got %v, %v", e, err)
				case tt.want != nil && fault.KindOf(err) != fault.Unavailable:
					t.Errorf("got %v, want Unavailable", err)
				}
			})
		})
	}
}

func throttledTransaction() error {
	return &types.TransactionCanceledException{CancellationReasons: []types.CancellationReason{{Code: aws.String("None")}, {Code: aws.String("ThrottlingError")}}}
}

func TestUpdateEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, db := newTable()
		db.Before = failing("TransactWriteItems", 1000, dynamo.Conflict(1))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		_, err := table.Update(ctx, one, func(e *store.Entry) error {
			e.State.Instance.HealthyRun++
			return nil
		})
		if fault.KindOf(err) != fault.Unavailable || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

func TestACallThatHangsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table, db := newTable()
		db.Before = func(ctx context.Context, _ dynamo.Call) error {
			<-ctx.Done()
			return ctx.Err()
		}
		began := time.Now()
		_, err := table.Load(t.Context(), one)
		if fault.KindOf(err) != fault.Unavailable || time.Since(began) != 10*time.Second {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

func TestFunctionsOfUpdateCanEndIt(t *testing.T) {
	table, db := newTable()
	calls := counting(db)
	own, errEnd := fmt.Errorf("own: %w", store.ErrChanged), errors.New("no more")
	for _, tt := range []struct{ give, want error }{{errEnd, errEnd}, {own, own}} {
		e, err := table.Update(t.Context(), one, func(e *store.Entry) error {
			e.State.Instance.HealthyRun++
			return tt.give
		})
		if !errors.Is(err, tt.want) || e == nil {
			t.Errorf("Update: got %v, %v, want %v", e, err, tt.want)
		}
		err = table.UpdateRegion(t.Context(), func(r *policy.Region) error {
			r.BreakerResetAt++
			return tt.give
		})
		if !errors.Is(err, tt.want) {
			t.Errorf("UpdateRegion: got %v, want %v", err, tt.want)
		}
	}
	if diff := cmp.Diff(map[string]int{"BatchGetItem": 4}, calls); diff != "" {
		t.Error(diff)
	}
	if err := table.UpdateRegion(t.Context(), func(*policy.Region) error { return nil }); err != nil || calls["TransactWriteItems"] > 0 {
		t.Errorf("a region that did not change: %v, %v", err, calls)
	}
}

func TestKindsOfErrors(t *testing.T) {
	reasons := func(codes ...string) error {
		err := &types.TransactionCanceledException{}
		for _, c := range codes {
			err.CancellationReasons = append(err.CancellationReasons, types.CancellationReason{Code: &c})
		}
		return err
	}
	tests := map[string]struct {
		err  error
		want fault.Kind
	}{
		"throttled":                {dynamo.Throttled(), fault.Unavailable},
		"denied":                   {dynamo.Denied("TransactWriteItems"), fault.Denied},
		"fault of DynamoDB":        {dynamo.Broken(), fault.Unavailable},
		"no answer":                {errors.New("no route to host"), fault.Unavailable},
		"no table":                 {&types.ResourceNotFoundException{}, fault.InvalidInput},
		"denied in a transaction":  {reasons("None", "AccessDenied"), fault.Denied},
		"invalid in a transaction": {reasons("ValidationError", "None"), fault.Internal},
		"no reason":                {reasons("None"), fault.Unavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			table, db := newTable()
			db.Before = failing("TransactWriteItems", 1, tt.err)
			_, err := table.Update(t.Context(), one, func(e *store.Entry) error {
				e.State.Instance.HealthyRun, e.State.Region.BreakerResetAt = 1, 1
				return nil
			})
			if fault.KindOf(err) != tt.want || !strings.Contains(err.Error(), one) || !strings.Contains(err.Error(), tableName) {
				t.Errorf("got %s: %v, want %s that names the instance and the table", fault.KindOf(err), err, tt.want)
			}
		})
	}
	t.Run("item too large", func(t *testing.T) {
		table, _ := newTable()
		_, err := table.Update(t.Context(), one, func(e *store.Entry) error {
			e.State.Instance.LastReason = strings.Repeat("x", 400<<10)
			return nil
		})
		if fault.KindOf(err) != fault.Internal {
			t.Errorf("got %v, want Internal", err)
		}
	})
}

// odd answers BatchGetItem in its own way.
type odd struct {
	store.API
	answer func(*dynamodb.BatchGetItemOutput)
}

func (o odd) BatchGetItem(ctx context.Context, in *dynamodb.BatchGetItemInput, opts ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	out, err := o.API.BatchGetItem(ctx, in, opts...)
	if err == nil {
		o.answer(out)
	}
	return out, err
}

func TestAnswersThatSayTooLittle(t *testing.T) {
	asked := 0
	tests := map[string]struct {
		answer func(*dynamodb.BatchGetItemOutput)
		fine   bool
	}{
		"one left out, then not": {func(o *dynamodb.BatchGetItemOutput) {
			if asked++; asked == 1 {
				left := o.Responses[tableName][0]
				o.Responses[tableName] = nil
				o.UnprocessedKeys = map[string]types.KeysAndAttributes{tableName: {Keys: []map[string]types.AttributeValue{{"pk": left["pk"], "sk": left["sk"]}}}}
			}
		}, true},
		"one left out, always": {func(o *dynamodb.BatchGetItemOutput) {
			o.UnprocessedKeys = map[string]types.KeysAndAttributes{tableName: {Keys: []map[string]types.AttributeValue{{"pk": text("instance"), "sk": text(one)}}}}
		}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table, db := newTable()
				must[*store.Entry](t)(table.Update(t.Context(), one, func(e *store.Entry) error {
					e.State.Instance.HealthyRun = 3
					return nil
				}))
				table.Client = func(context.Context) (store.API, error) { return odd{db, tt.answer}, nil }
				e, err := table.Update(t.Context(), one, func(*store.Entry) error { return nil })
				switch {
				case tt.fine && (err != nil || e.State.Instance.HealthyRun != 3):
					t.Errorf("got %+v, %v", e, err)
				case !tt.fine && fault.KindOf(err) != fault.Unavailable:
					t.Errorf("got %+v, %v, want Unavailable", e, err)
				}
			})
		})
	}
}

func TestInstancesAreListedPageByPage(t *testing.T) {
	table, db := newTable()
	db.Page = 2
	var want []string
	for n := range 7 {
		id := fmt.Sprintf("i-%017x", n)
		want = append(want, id)
		must[*store.Entry](t)(table.Update(t.Context(), id, func(e *store.Entry) error {
			e.State.Instance.Name, e.State.Region.BreakerResetAt = "name of "+id, 7
			return nil
		}))
	}
	l := must[*store.Listing](t)(table.Instances(t.Context()))
	var got []string
	for _, i := range l.Instances {
		got = append(got, i.ID)
		if i.Name != "name of "+i.ID {
			t.Error(i)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(l.Unreadable) > 0 || l.RegionErr != nil || l.Region.BreakerResetAt != 7 {
		t.Errorf("%s %+v", diff, l)
	}
}
