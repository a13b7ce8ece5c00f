package control_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

func web(servers ...string) *mintmarkv1.Pool {
	m := &mintmarkv1.Pool{
		Name: "web", SettingsJson: `{"session_lifetime": "10m", "policy": "least-connections"}`,
		Scheme: &mintmarkv1.Scheme{Kind: "ranges"},
	}
	for i, name := range servers {
		m.Servers = append(m.Servers, &mintmarkv1.Server{Name: name, Address: "127.0.0.1:" + string(rune('1'+i)) + "000"})
	}
	return m
}

// The whole life of a generation over the API: a pool appears at the balancer,
// is acknowledged, is minted, is rotated out, dies, and is gone.
func TestLifeOfAGeneration(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	b := p.balancer("x")
	if got := b.receive().GetPoolsYaml(); got != "pools: []\n" {
		t.Errorf("an empty store is told as %q", got)
	}
	diff := p.putPool(web("a", "b")).GetDiff()
	if len(diff.GetAdded()) != 2 || len(diff.GetRetired()) != 0 || diff.GetReserve() == "" {
		t.Errorf("creating the pool: %v", diff)
	}
	a := p.agent("web", "a", &mintmarkv1.WatchAssignmentsRequest{})
	if m := a.receive(); len(m.GetKeys()) != 0 {
		t.Errorf("server a may mint %v, and no balancer has acknowledged", m.GetKeys())
	}
	if got := p.phase("web", "a", 0); got != mintmarkv1.Phase_PHASE_PREPARED {
		t.Errorf("the space is %v; want prepared", got)
	}
	if w := p.rollout("web").GetWaits(); len(w) != 1 || w[0].GetKind() != "balancer" || w[0].GetName() != "x" || w[0].GetCost() == "" {
		t.Errorf("the rollout waits for %v; want balancer x", w)
	}
	if s := b.receive(); len(s.GetPlans()["web"]) == 0 || !strings.Contains(s.GetPoolsYaml(), "least-connections") {
		t.Errorf("the balancer got %q and plans %v", s.GetPoolsYaml(), s.GetPlans())
	}
	b.ack()
	first := a.until("generation 0", encrypts(0))
	if k := first.GetKeys()[0]; len(k.GetKeyName()) != 16 || len(k.GetMarkKey()) != 0 || k.GetText() == "" {
		t.Errorf("got the key %v", k)
	}
	a.report()
	if got := p.phase("web", "a", 0); got != mintmarkv1.Phase_PHASE_MINTING {
		t.Errorf("the space is %v; want minting", got)
	}
	if got := p.phase("web", "b", 0); got != mintmarkv1.Phase_PHASE_MINTING { // nobody reports for it
		t.Errorf("the space of a server without an agent is %v", got)
	}

	if _, err := p.admin.Rotate(t.Context(), connect.NewRequest(&mintmarkv1.RotateRequest{Pool: "web"})); err != nil {
		t.Fatal(err)
	}
	if got := p.phase("web", "a", 1); got != mintmarkv1.Phase_PHASE_PREPARED {
		t.Errorf("the new space is %v; want prepared", got)
	}
	b.receive()
	b.ack()
	second := a.until("generation 1", encrypts(1))
	if len(second.GetKeys()) != 2 || !bytes.Equal(second.GetKeys()[1].GetKeyName(), first.GetKeys()[0].GetKeyName()) {
		t.Errorf("after the rotation the keys are %v; want the old one kept", second.GetKeys())
	}
	a.report()
	if got := p.phase("web", "a", 0); got != mintmarkv1.Phase_PHASE_RETIRING {
		t.Errorf("the old space is %v; want retiring", got)
	}
	p.pass(12 * time.Minute)
	if got := p.phase("web", "a", 0); got != mintmarkv1.Phase_PHASE_RETIRING {
		t.Errorf("the old space is %v, and nobody said what was seen", got)
	}
	b.tell(&mintmarkv1.SeenSpace{Pool: "web", Owner: "a", Generation: 1, LastSeen: nil})
	if got := p.phase("web", "a", 0); got != mintmarkv1.Phase_PHASE_DEAD {
		t.Errorf("the old space is %v; want dead", got)
	}
	// Server b has no agent: an operator says that it has stopped.
	waits := p.rollout("web").GetWaits()
	if len(waits) != 1 || waits[0].GetKind() != "server" || waits[0].GetName() != "b" {
		t.Fatalf("the rollout waits for %v; want server b", waits)
	}
	advance := &mintmarkv1.AdvanceRolloutRequest{Pool: "web", Waits: []*mintmarkv1.Wait{{Kind: "server", Name: "b"}}}
	if _, err := p.admin.AdvanceRollout(t.Context(), connect.NewRequest(advance)); connect.CodeOf(err) != connect.CodeFailedPrecondition ||
		!strings.Contains(err.Error(), waits[0].GetCost()) {
		t.Errorf("overriding without the cost: %v", err)
	}
	advance.AcceptedCosts = []string{waits[0].GetCost()}
	if _, err := p.admin.AdvanceRollout(t.Context(), connect.NewRequest(advance)); err != nil {
		t.Fatal(err)
	}
	p.pass(12 * time.Minute)
	b.tell()
	if got := p.phase("web", "a", 0); got != mintmarkv1.Phase_PHASE_GONE {
		t.Errorf("the old space is %v; want gone", got)
	}
}

// What a server minted in the clear is told with its owner and phase.
func TestExplain(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.putPool(web("a", "b"))
	a := p.agent("web", "b", &mintmarkv1.WatchAssignmentsRequest{})
	m := a.until("generation 0", encrypts(0)) // no balancer is known: nobody is waited for
	r, err := p.admin.Explain(t.Context(), connect.NewRequest(&mintmarkv1.ExplainRequest{Pool: "web", Field: "ticket", Id: m.GetKeys()[0].GetKeyName()}))
	if err != nil {
		t.Fatal(err)
	}
	if r.Msg.GetOwner() != "b" || r.Msg.Generation == nil || r.Msg.GetGeneration() != 0 || r.Msg.GetRule() == "" || r.Msg.GetPhase() != "minting" {
		t.Errorf("got %v", r.Msg)
	}
	r, err = p.admin.Explain(t.Context(), connect.NewRequest(&mintmarkv1.ExplainRequest{Pool: "web", Id: []byte{0xff, 0xff, 0xff, 0xff}}))
	if err != nil || r.Msg.GetOwner() != "" || r.Msg.GetReason() == "" {
		t.Errorf("an ID of nobody: %v, %v", r.Msg, err)
	}
}

// A change from a revision that is not the current one is refused, and a
// change with a mistake in it changes nothing.
func TestChangesAreRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	first := p.putPool(web("a"))
	_, err := p.admin.AddServer(t.Context(), connect.NewRequest(&mintmarkv1.AddServerRequest{
		Pool: "web", Server: &mintmarkv1.Server{Name: "b", Address: "127.0.0.1:2000"}, FromRevision: first.GetPool().GetRevision(),
	}))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		code connect.Code
		want string
		do   func() error
	}{
		"an old revision": {connect.CodeAborted, "was changed meanwhile", func() error {
			_, err := p.admin.RemoveServer(t.Context(), connect.NewRequest(&mintmarkv1.RemoveServerRequest{
				Pool: "web", Server: "b", FromRevision: first.GetPool().GetRevision(),
			}))
			return err
		}},
		"a bad address": {connect.CodeInvalidArgument, "address", func() error {
			_, err := p.admin.AddServer(t.Context(), connect.NewRequest(&mintmarkv1.AddServerRequest{
				Pool: "web", Server: &mintmarkv1.Server{Name: "c", Address: "nowhere"},
			}))
			return err
		}},
		"a server twice": {connect.CodeAlreadyExists, "has a server b already", func() error {
			_, err := p.admin.AddServer(t.Context(), connect.NewRequest(&mintmarkv1.AddServerRequest{
				Pool: "web", Server: &mintmarkv1.Server{Name: "b", Address: "127.0.0.1:2000"},
			}))
			return err
		}},
		"an unknown setting": {connect.CodeInvalidArgument, "polcy", func() error {
			m := web()
			m.SettingsJson = `{"polcy": "hash"}`
			_, err := p.admin.PutPool(t.Context(), connect.NewRequest(&mintmarkv1.PutPoolRequest{Pool: m}))
			return err
		}},
		"another scheme": {connect.CodeInvalidArgument, "cannot become", func() error {
			m := web()
			m.Scheme.Kind = "sealed"
			_, err := p.admin.PutPool(t.Context(), connect.NewRequest(&mintmarkv1.PutPoolRequest{Pool: m}))
			return err
		}},
		"a planned scheme as a setting": {connect.CodeInvalidArgument, "field of its own", func() error {
			_, err := p.admin.PutPool(t.Context(), connect.NewRequest(&mintmarkv1.PutPoolRequest{
				Pool: &mintmarkv1.Pool{Name: "other", SettingsJson: `{"scheme": {"kind": "ranges"}}`},
			}))
			return err
		}},
		"no name": {connect.CodeInvalidArgument, "name", func() error {
			_, err := p.admin.PutPool(t.Context(), connect.NewRequest(&mintmarkv1.PutPoolRequest{Pool: &mintmarkv1.Pool{Name: "a/b"}}))
			return err
		}},
		"a pool that is not there": {connect.CodeNotFound, "no such pool", func() error {
			_, err := p.admin.Rotate(t.Context(), connect.NewRequest(&mintmarkv1.RotateRequest{Pool: "nothing"}))
			return err
		}},
		"a token for a server that is not there": {connect.CodeNotFound, "has no server", func() error {
			_, err := p.admin.CreateToken(t.Context(), connect.NewRequest(&mintmarkv1.CreateTokenRequest{Role: "agent", Pool: "web", Name: "zz"}))
			return err
		}},
	} {
		before, err := p.admin.ListPools(t.Context(), connect.NewRequest(&mintmarkv1.ListPoolsRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		err = c.do()
		if connect.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v; want %v with %q", name, err, c.code, c.want)
		}
		after, err := p.admin.ListPools(t.Context(), connect.NewRequest(&mintmarkv1.ListPoolsRequest{}))
		if err != nil || after.Msg.GetRevision() != before.Msg.GetRevision() {
			t.Errorf("%s: the store is at revision %d instead of %d, %v", name, after.Msg.GetRevision(), before.Msg.GetRevision(), err)
		}
	}
}

// A dry run shows what would become of the spaces, and changes nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.putPool(web("a"))
	r, err := p.admin.AddServer(t.Context(), connect.NewRequest(&mintmarkv1.AddServerRequest{
		Pool: "web", Server: &mintmarkv1.Server{Name: "b", Address: "127.0.0.1:2000"}, DryRun: true,
	}))
	if err != nil || len(r.Msg.GetDiff().GetAdded()) != 1 || r.Msg.GetDiff().GetAdded()[0].GetOwner() != "b" {
		t.Fatalf("got %v, %v", r.Msg.GetDiff(), err)
	}
	if s := p.rollout("web").GetSpaces(); len(s) != 2 { // a and the reserve
		t.Errorf("a dry run changed the spaces: %v", s)
	}
	all, err := p.admin.ListPools(t.Context(), connect.NewRequest(&mintmarkv1.ListPoolsRequest{}))
	if err != nil || len(all.Msg.GetPools()[0].GetServers()) != 1 {
		t.Errorf("a dry run changed the servers: %v, %v", all.Msg, err)
	}
}

// Every change of a person is in the log, and what balancers and servers
// report is not.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	rev := p.putPool(web("a")).GetPool().GetRevision()
	b := p.balancer("x")
	b.receive()
	b.ack()
	a := p.agent("web", "a", &mintmarkv1.WatchAssignmentsRequest{})
	a.until("generation 0", encrypts(0))
	a.report()
	r, err := p.admin.ListAudit(t.Context(), connect.NewRequest(&mintmarkv1.ListAuditRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range r.Msg.GetEntries() {
		got = append(got, e.GetActor()+": "+e.GetAction()+" "+e.GetSubject())
	}
	want := "admin admin: create token agent web/a\nadmin admin: create token balancer x\nadmin admin: put pool web"
	if strings.Join(got, "\n") != want {
		t.Errorf("the log has\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	if last := r.Msg.GetEntries()[len(got)-1]; last.GetRevision() != rev {
		t.Errorf("the change was made at revision %d, and the log says %d", rev, last.GetRevision())
	}
}

// The OpenAPI document names every call that does not stream, and anybody may
// read it.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // it is on this machine
	defer client.CloseIdleConnections()
	r, err := client.Get(p.url + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var doc struct {
		OpenAPI string
		Paths   map[string]struct{ Post map[string]any }
	}
	if err := json.NewDecoder(r.Body).Decode(&doc); err != nil || doc.OpenAPI != "3.1.0" {
		t.Fatalf("the document has version %q, %v", doc.OpenAPI, err)
	}
	for _, file := range []protoreflect.FileDescriptor{mintmarkv1.File_mintmark_v1_control_proto, mintmarkv1.File_mintmark_v1_member_proto} {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				path := "/" + string(s.FullName()) + "/" + string(m.Name())
				if described := doc.Paths[path].Post != nil; described == m.IsStreamingServer() {
					t.Errorf("%s is described: %v", path, described)
				}
			}
		}
	}
}
