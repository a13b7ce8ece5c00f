// Package audit is the log of changes: who changed what, when, and from which
// revision. An entry is written in the same transaction as the change, so
// there is no change without one, and none without a change.
package audit

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/store"
)

// Limits of the log.
const (
	// MaxEntries is how many entries are kept. The oldest go first, so that
	// somebody who changes things in a loop does not fill the disk.
	MaxEntries = 10_000
	// trimSlack is how many more may pile up before Trim does anything.
	trimSlack = 500
)

const prefix = "audit/"

// An Entry is a change that was made.
type Entry struct {
	// Revision is that of the store after the change.
	Revision uint64 `json:"-"`
	// Time is when it was made.
	Time time.Time `json:"time"`
	// Actor is who made it, as access.Identity prints.
	Actor string `json:"actor"`
	// Action is what was done, as in "add server", and Subject to what.
	Action  string `json:"action"`
	Subject string `json:"subject"`
	// FromRevision is what the actor had seen of it; 0: it did not say.
	FromRevision uint64 `json:"from_revision,omitempty"`
}

// Put returns what to put into the transaction of the change.
func Put(at time.Time, who access.Identity, action, subject string, from uint64) store.Put {
	mark := make([]byte, 8)
	_, _ = rand.Read(mark) // never fails, by its documentation
	value, err := json.Marshal(Entry{Time: at.UTC(), Actor: who.String(), Action: action, Subject: subject, FromRevision: from})
	if err != nil {
		panic(err) // strings and a time
	}
	// Keys sort by time. The random part keeps two changes of one moment apart.
	return store.Put{Key: fmt.Sprintf("%s%020d-%s", prefix, at.UnixNano(), hex.EncodeToString(mark)), Value: value}
}

// List returns up to limit entries, newest first: those with a revision below
// before, or all when that is 0.
func List(ctx context.Context, s store.Store, before uint64, limit int) ([]Entry, error) {
	all, _, err := s.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	// By revision, because clocks of several control planes differ.
	slices.SortStableFunc(all, func(a, b store.Entry) int { return cmp.Compare(a.Revision, b.Revision) })
	var out []Entry
	for _, e := range slices.Backward(all) {
		if len(out) == limit {
			break
		}
		if before != 0 && e.Revision >= before {
			continue
		}
		entry := Entry{Revision: e.Revision}
		if err := json.Unmarshal(e.Value, &entry); err != nil {
			return nil, fmt.Errorf("the audit log's entry %s is damaged: %w", e.Key, err)
		}
		out = append(out, entry)
	}
	return out, nil
}

// Trim removes the oldest entries beyond MaxEntries.
func Trim(ctx context.Context, s store.Store) error {
	all, _, err := s.List(ctx, prefix)
	if err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	if len(all) <= MaxEntries+trimSlack {
		return nil
	}
	for chunk := range slices.Chunk(all[:len(all)-MaxEntries], store.MaxOperations) {
		var t store.Txn
		for _, e := range chunk {
			t.Delete = append(t.Delete, e.Key)
		}
		if _, err := s.Commit(ctx, t); err != nil {
			return fmt.Errorf("trimming the audit log: %w", err)
		}
	}
	return nil
}
