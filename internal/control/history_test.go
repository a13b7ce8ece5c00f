package control_test

import (
	"fmt"
	"testing"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

// The last states of a pool are kept, each beside its entry in the log, and the
// oldest go; a state that is gone is not gone back to.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.putPool(web("a"))
	for i := range 25 {
		_, err := p.admin.UpdateServer(t.Context(), connect.NewRequest(&mintmarkv1.UpdateServerRequest{
			Pool: "web", Server: "a", Address: new(fmt.Sprintf("10.0.0.%d:443", i+1)),
		}))
		if err != nil {
			t.Fatal(err)
		}
	}
	log, err := p.admin.ListAudit(t.Context(), connect.NewRequest(&mintmarkv1.ListAuditRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	kept, oldest, first := 0, uint64(0), uint64(0)
	for _, e := range log.Msg.GetEntries() {
		if e.GetRestorablePool() == "web" {
			kept++
			oldest = e.GetRevision()
		}
		if e.GetAction() == "put pool" {
			first = e.GetRevision()
		}
	}
	if kept != 20 {
		t.Errorf("%d states are kept; want 20", kept)
	}
	restore := func(revision uint64) (*connect.Response[mintmarkv1.RestorePoolResponse], error) {
		return p.admin.RestorePool(t.Context(), connect.NewRequest(&mintmarkv1.RestorePoolRequest{Pool: "web", Revision: revision}))
	}
	if _, err := restore(first); connect.CodeOf(err) != connect.CodeNotFound {
		t.Errorf("going back to a state that is gone: %v", err)
	}
	r, err := restore(oldest)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Msg.GetPool().GetServers()[0].GetAddress(); got != "10.0.0.6:443" {
		t.Errorf("the state that was gone back to has the address %s", got)
	}
	if _, err := p.admin.DeletePool(t.Context(), connect.NewRequest(&mintmarkv1.DeletePoolRequest{Name: "web"})); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(oldest); err == nil {
		t.Error("a pool that was deleted came back")
	}
}
