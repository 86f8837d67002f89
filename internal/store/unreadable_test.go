package store_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"firstline/internal/fault"
	"firstline/internal/incident"
	"firstline/internal/policy"
	"firstline/internal/store"
	"firstline/test/dynamo"
)

// An item that cannot be read, or that a newer version wrote, is never
// overwritten, whatever is called.
func TestUnreadableItemsAreNeverOverwritten(t *testing.T) {
	execution := incident.Execution{ID: "arn:x:run", Name: "run", StartedAt: start}
	record := store.RecordOf(&incident.Incident{InstanceID: one, Execution: execution})
	run := "2026-11-22T10:00:00.000Z#run"
	keys := map[string]dynamo.Item{
		"instance": {"pk": text("instance"), "sk": text(one)},
		"region":   {"pk": text("region"), "sk": text("region")},
		"incident": {"pk": text("incident"), "sk": text(run), "id": text("run"), "started_at": number(int(start.UnixMilli()))},
	}
	faults := map[string]struct {
		attributes dynamo.Item
		want       error
	}{
		"newer":         {dynamo.Item{"schema": number(policy.Schema + 1), "version": number(1)}, store.ErrSchema},
		"no schema":     {dynamo.Item{"version": number(1)}, store.ErrUnreadable},
		"schema a text": {dynamo.Item{"schema": text("1"), "version": number(1)}, store.ErrUnreadable},
		"no version":    {dynamo.Item{"schema": number(1)}, store.ErrUnreadable},
		"a wrong type": {dynamo.Item{
			"schema": number(1), "version": number(1),
			"reboots": text("many"), "looks": text("many"), "instance_id": &types.AttributeValueMemberBOOL{Value: true},
		}, store.ErrUnreadable},
		"another id": {dynamo.Item{"schema": number(1), "version": number(1), "id": text(two)}, store.ErrUnreadable},
	}
	calls := map[string]struct {
		reads string // which partition's item it needs
		call  func(*testing.T, *store.Table) error
	}{
		"Load": {"instance region", func(t *testing.T, table *store.Table) error {
			_, err := table.Load(t.Context(), one)
			return err
		}},
		"Update": {"instance region", func(t *testing.T, table *store.Table) error {
			_, err := table.Update(t.Context(), one, func(e *store.Entry) error {
				e.State.Instance.HealthyRun, e.State.Region.BreakerResetAt = 9, 9
				return nil
			})
			return err
		}},
		"Update with a record": {"instance region incident", func(t *testing.T, table *store.Table) error {
			_, err := table.Update(t.Context(), one, func(e *store.Entry) error {
				e.State.Instance.HealthyRun = 9
				e.Record = firstLook(execution)
				return nil
			})
			return err
		}},
		"UpdateRegion": {"region", func(t *testing.T, table *store.Table) error {
			return table.UpdateRegion(t.Context(), func(r *policy.Region) error {
				r.BreakerResetAt = 9
				return nil
			})
		}},
		"Update with a record without a look": {"region incident", func(t *testing.T, table *store.Table) error {
			_, err := table.Update(t.Context(), "", func(e *store.Entry) error {
				e.Record = &record
				return nil
			})
			return err
		}},
		"Records": {"incident", func(t *testing.T, table *store.Table) error {
			_, err := all(t, table, time.Time{})
			return err
		}},
	}
	for partition, k := range keys {
		for wrong, f := range faults {
			if wrong == "another id" && partition != "instance" || wrong == "no version" && partition == "incident" {
				continue
			}
			for name, c := range calls {
				t.Run(partition+"/"+wrong+"/"+name, func(t *testing.T) {
					table, db := newTable()
					bad := maps.Clone(k)
					maps.Copy(bad, f.attributes)
					db.Put(bad)
					err := c.call(t, table)
					if needs(c.reads, partition) && (!errors.Is(err, f.want) || fault.KindOf(err) != fault.Internal) {
						t.Errorf("got %v, want %v", err, f.want)
					}
					if diff := cmp.Diff(bad, db.Get(partition, keyText(k)), ignoreNoSmithy()); diff != "" {
						t.Error(diff)
					}
				})
			}
		}
	}
}

func keyText(i dynamo.Item) string {
	s, _ := i["sk"].(*types.AttributeValueMemberS)
	return s.Value
}

func needs(partitions, one string) bool { return slices.Contains(strings.Fields(partitions), one) }

// One that turned bad, or came, after the instance was loaded.
func TestItemsThatTurnUnreadableAreNotOverwritten(t *testing.T) {
	newer := func(pk, sk string) dynamo.Item {
		return dynamo.Item{"pk": text(pk), "sk": text(sk), "schema": number(policy.Schema + 1), "lease": text("of another form")}
	}
	for _, existed := range []bool{false, true} {
		table, db := newTable()
		if existed {
			must[*store.Entry](t)(table.Update(t.Context(), one, func(e *store.Entry) error {
				e.State.Instance.HealthyRun, e.State.Region.BreakerResetAt = 1, 1
				return nil
			}))
		}
		for _, bad := range []dynamo.Item{newer("instance", one), newer("region", "region")} {
			e := must[*store.Entry](t)(table.Load(t.Context(), one))
			e.State.Instance.HealthyRun, e.State.Region.BreakerResetAt = 9, 9
			pk := bad["pk"].(*types.AttributeValueMemberS).Value
			was := db.Get(pk, keyText(bad))
			db.Put(bad)
			if err := table.Save(t.Context(), e); !errors.Is(err, store.ErrChanged) {
				t.Errorf("Save: got %v, want ErrChanged", err)
			}
			if diff := cmp.Diff(bad, db.Get(pk, keyText(bad)), ignoreNoSmithy()); diff != "" {
				t.Error(diff)
			}
			if was == nil {
				break
			}
			db.Put(was)
		}
	}
}

func TestUnreadableItemsDoNotHideOthers(t *testing.T) {
	table, db := newTable()
	must[*store.Entry](t)(table.Update(t.Context(), one, func(e *store.Entry) error {
		e.State.Instance.HealthyRun = 1
		return nil
	}))
	db.Put(dynamo.Item{"pk": text("instance"), "sk": text(two), "schema": number(policy.Schema + 1), "version": number(1)})
	db.Put(dynamo.Item{"pk": text("region"), "sk": text("region"), "schema": number(1), "version": number(1), "alerts": number(3)})
	l := must[*store.Listing](t)(table.Instances(t.Context()))
	if len(l.Instances) != 1 || l.Instances[0].ID != one {
		t.Errorf("instances: %+v", l.Instances)
	}
	if len(l.Unreadable) != 1 || !errors.Is(l.Unreadable[two], store.ErrSchema) {
		t.Errorf("unreadable: %v", l.Unreadable)
	}
	want := "list instances: item region/region of table firstline-incidents: the item cannot be decoded; correct it, or delete it: attribute alerts: unmarshal failed, cannot unmarshal number into Go value type map[string]policy.Alert"
	if !errors.Is(l.RegionErr, store.ErrUnreadable) || l.RegionErr.Error() != want {
		t.Errorf("region: %v", l.RegionErr)
	}
}

func TestUnknownWordsAreRead(t *testing.T) {
	table, db := newTable()
	db.Put(dynamo.Item{"pk": text("instance"), "sk": text(one), "schema": number(1), "version": number(1), "last_verdict": text("haunted")})
	e := must[*store.Entry](t)(table.Load(t.Context(), one))
	if e.State.Instance.LastVerdict != "haunted" || e.State.Instance.ID != one {
		t.Errorf("got %+v", e.State.Instance)
	}
}
