package audit_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/control/audit"
	"github.com/mintmark/mintmark/internal/store"
)

func TestAudit(t *testing.T) {
	t.Parallel()
	s, err := store.OpenBolt(filepath.Join(t.TempDir(), "s.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	who := access.Identity{Role: access.RoleAdmin, Name: "ops"}
	at := time.Unix(1_900_000_000, 0).UTC()
	for i := range 3 {
		// Two of them at the same moment.
		_, err := s.Commit(t.Context(), store.Txn{Put: []store.Put{audit.Put(at.Add(time.Duration(i/2)), who, "add server", "web/a", uint64(i))}})
		if err != nil {
			t.Fatal(err)
		}
	}
	all, err := audit.List(t.Context(), s, 0, 100)
	if err != nil || len(all) != 3 {
		t.Fatalf("got %v, %v; want 3 entries", all, err)
	}
	if e := all[0]; e.FromRevision != 2 || e.Actor != "admin ops" || e.Action != "add server" || e.Subject != "web/a" || !e.Time.Equal(at.Add(1)) {
		t.Errorf("the newest entry is %+v", e)
	}
	older, err := audit.List(t.Context(), s, all[0].Revision, 1)
	if err != nil || len(older) != 1 || older[0].Revision >= all[0].Revision {
		t.Errorf("before revision %d: %v, %v", all[0].Revision, older, err)
	}
}

func TestTrimKeepsTheNewest(t *testing.T) {
	t.Parallel()
	s, err := store.OpenBolt(filepath.Join(t.TempDir(), "s.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	const most = 10_600
	at := time.Unix(1_900_000_000, 0)
	for i := 0; i < most; i += 100 {
		var txn store.Txn
		for j := range 100 {
			txn.Put = append(txn.Put, audit.Put(at.Add(time.Duration(i+j)), access.Identity{}, "", "", uint64(i+j+1)))
		}
		if _, err := s.Commit(t.Context(), txn); err != nil {
			t.Fatal(err)
		}
	}
	if err := audit.Trim(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	all, err := audit.List(t.Context(), s, 0, most)
	if err != nil || len(all) != audit.MaxEntries || all[0].FromRevision != most || all[len(all)-1].FromRevision != most-audit.MaxEntries+1 {
		t.Errorf("%d entries are left, %v", len(all), err)
	}
}
