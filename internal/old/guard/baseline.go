package guard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"firstline/internal/fault"
	"firstline/internal/old/checks"
	"firstline/internal/old/incident"
)

// Learn makes what passed in the incident's findings the baseline of its
// instance: from then on a failure of that check, with these settings, may lead
// to a reboot. A check that was skipped has not passed, and an older pass never
// takes the place of a newer one. Without settings there is nothing to learn.
func (t *Table) Learn(ctx context.Context, inc *incident.Incident) error {
	op := "learn baseline of " + inc.InstanceID
	if err := complete(op, inc); err != nil {
		return err
	}
	k := guardKey(inc.InstanceID)
	return settle(ctx, op, func(ctx context.Context) error {
		items, err := t.read(ctx, op, k)
		if err != nil {
			return err
		}
		i, err := decodeInstance(k, items[k])
		if err != nil {
			return unreadable(op, err)
		}
		now := t.now()
		learned, err := i.learn(op, inc, now)
		if err != nil || !learned {
			return err
		}
		return t.update(ctx, op, changeOf(k, i.version).
			set("baseline", encodeBaseline(i.baseline)).
			set("expiresAt", seconds(now.Add(keepInstance))))
	})
}

// learn takes over what passed in the incident, and reports whether that
// changed anything.
func (i *instance) learn(op string, inc *incident.Incident, now time.Time) (bool, error) {
	if inc.Settings == nil {
		return false, nil
	}
	learned := false
	for _, f := range inc.Findings {
		if !f.Passed || f.Skipped {
			continue
		}
		hash, err := settingsHash(inc.Settings, f.Check)
		if err != nil {
			return false, fault.New(fault.Internal, op, "%w", err)
		}
		// A time in the future would keep later passes out.
		at := f.At.UTC().Truncate(time.Millisecond)
		if at.After(now) {
			at = now
		}
		if old, ok := i.baseline[f.Check]; hash == "" || ok && !at.After(old.at) {
			continue
		}
		if i.baseline == nil {
			i.baseline = map[string]pass{}
		}
		i.baseline[f.Check] = pass{hash, at}
		learned = true
	}
	return learned, nil
}

// settingsHash is the SHA-256 of one check's settings, or "" for a check that
// this version does not know.
//
// It is taken of the settings as this version encodes them, defaults included:
// encoding/json writes fields in their order and sorts maps. So another version
// that adds a field, or changes a default, begins with an empty baseline, and
// pages instead of rebooting until each check has passed once (firstline deploy
// and verify see to that). That is the safe side: it may check otherwise, too.
func settingsHash(s *incident.Settings, check string) (string, error) {
	var section any
	switch check {
	case checks.NameURL:
		section = s.URL
	case checks.NameRoute53:
		section = s.Route53
	case checks.NameSSH:
		section = s.SSH
	default:
		return "", nil
	}
	raw, err := json.Marshal(section)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}
