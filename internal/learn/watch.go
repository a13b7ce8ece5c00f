package learn

import (
	"encoding/hex"
	"hash/maphash"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/probe"
	"github.com/mintmark/mintmark/internal/route"
)

const (
	// maxExamples is how many foreign mints are kept of one server, so that a
	// server that goes wrong cannot fill the memory.
	maxExamples = 4
	// exampleMark is how many bytes of an example are shown: enough to
	// recognise a key name, too few to resume anything with.
	exampleMark = 8
	// logPause is how long the log stays silent on a server after a line
	// about it: one whose IDs are all different would fill it.
	logPause = time.Minute
)

// Names is told what the traffic shows of servers whose names are probed. A
// *discover.Runner is one.
type Names interface {
	// Kick asks for a probe of a server out of turn.
	Kick(pool route.PoolName, server route.ServerName)
	// Accepted says that a server accepted a session by a ticket that no rule
	// knows.
	Accepted(pool route.PoolName, server route.ServerName, ticket []byte)
}

// A Watch learns and checks what servers mint and accept, as connections show
// it. It is a witness of the data planes and safe for concurrent use.
//
// A foreign mint is an ID that a server assigned, in a field for which it has
// a space, outside of that space and its group's: the sign of a stale
// configuration or a wrong key file.
type Watch struct {
	// Immutable after New.
	names   Names
	log     *slog.Logger
	foreign func(s *route.Server, field idspace.Field)
	seed    maphash.Seed
	now     func() time.Time

	// mu guards the records. It is taken for IDs assigned in the clear and
	// for declined sessions, not for each connection.
	mu      sync.Mutex
	records map[watched]*record
}

type watched struct {
	pool   route.PoolName
	server route.ServerName
}

// A record is what is known of one server. Its size is fixed.
type record struct {
	minted   [idspace.NumFields]bool // it was seen to mint in its own space, by field
	spaces   spaces
	count    uint64
	examples []Example // the oldest first
	last     string    // what was last logged
	logged   time.Time
}

// An Example is one foreign mint.
type Example struct {
	Time  time.Time
	Field idspace.Field
	// Mark is the first bytes of the ID, in hex.
	Mark string
	// Hash tells different IDs apart without showing them.
	Hash uint64
	// Owner is whose space the ID lies in, "" for nobody's.
	Owner idspace.Owner
}

// WatchConfig is what a Watch tells others. Every field may be nil.
type WatchConfig struct {
	Names Names
	// Foreign counts a foreign mint.
	Foreign func(s *route.Server, field idspace.Field)
	Logger  *slog.Logger
	Now     func() time.Time
}

// NewWatch returns a Watch that has seen nothing.
func NewWatch(cfg WatchConfig) *Watch {
	w := &Watch{
		names: cfg.Names, log: cfg.Logger, foreign: cfg.Foreign, now: cfg.Now,
		seed: maphash.MakeSeed(), records: make(map[watched]*record),
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if w.foreign == nil {
		w.foreign = func(*route.Server, idspace.Field) {}
	}
	if w.now == nil {
		w.now = time.Now
	}
	return w
}

// Watches reports whether there is anything to learn or to check in p.
func (w *Watch) Watches(p *route.Pool) bool {
	return p.Config.Learned != nil || p.Config.Table != nil || p.Config.Discovered
}

// Resumed hears whether a server accepted the session that was offered to it.
// One that declines what its own mark brought there may have a new name, or
// mint what it should not; where nothing is probed, nobody heeds the kick.
func (w *Watch) Resumed(s *route.Server, by route.RoutedBy, field idspace.Field, id []byte, accepted bool) {
	p := s.Pool.Config
	if !accepted {
		if w.names != nil && by == route.ByMint {
			w.names.Kick(p.Name, s.Config.Name)
		}
		return
	}
	if len(id) == 0 {
		return
	}
	if w.names != nil && p.Discovered && (field == idspace.FieldPSK || field == idspace.FieldTicket) {
		w.names.Accepted(p.Name, s.Config.Name, id)
	}
	// The server knows the session, whoever minted it: what is routed by
	// balance today can be routed there tomorrow.
	if list := listOf(s.Pool); list != nil && by != route.ByLearned {
		list.Learn(field, id, s.Config.Name)
	}
}

// Minted hears of an ID that a server assigned in the clear.
func (w *Watch) Minted(s *route.Server, field idspace.Field, id []byte, whole bool) {
	if list := listOf(s.Pool); list != nil && whole {
		if _, owned := ownerOf(s.Pool.Config.Table, field, id); !owned {
			list.Learn(field, id, s.Config.Name)
		}
	}
	w.check(s, field, id)
}

// Probed hears what a probe found: TLS 1.3 tickets are encrypted on the wire,
// so only a client, as the probe is one, sees what a server mints.
func (w *Watch) Probed(s *route.Server, r *probe.Result) {
	var seen idspace.FieldSet
	for _, t := range r.Tickets() {
		field := idspace.FieldPSK
		if t.Version < tls13 {
			field = idspace.FieldTicket
		}
		if seen != 0 && seen.Has(field) {
			continue // one a probe tells it all
		}
		seen |= idspace.Fields(field)
		w.check(s, field, t.ID)
	}
}

const tls13 = 0x0304

func listOf(p *route.Pool) *List {
	list, _ := p.Config.Learned.(*List)
	return list
}

// check counts id if it is a foreign mint.
func (w *Watch) check(s *route.Server, field idspace.Field, id []byte) {
	t := s.Pool.Config.Table
	if t == nil || s.Pool.Config.Discovered {
		return // what was read off the servers says nothing about what they should mint
	}
	owner, owned := ownerOf(t, field, id)
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.record(s)
	if r.spaces.of != t {
		r.spaces = spacesOf(t, s)
	}
	if !r.spaces.any || !r.spaces.fields.Has(field) {
		return
	}
	if owned && isOwn(s, owner) {
		r.minted[field] = true
		return
	}
	// A session_id is random unless the server was told otherwise, and many
	// servers hand one out that resumes nothing. Only a server that has a
	// space for this very field, or was seen to mint in one, is held to it.
	if field == idspace.FieldSessionID && !r.spaces.bound && !r.minted[field] {
		return
	}
	if !owned {
		owner = ""
	}
	w.count(s, r, Example{
		Time: w.now(), Field: field, Mark: hex.EncodeToString(id[:min(len(id), exampleMark)]),
		Hash: maphash.Bytes(w.seed, id), Owner: owner,
	})
}

// ownerOf returns whose space of t an ID lies in; t may be nil.
func ownerOf(t *idspace.Table, field idspace.Field, id []byte) (idspace.Owner, bool) {
	if t == nil {
		return "", false
	}
	m, ok := t.Lookup(field, id)
	if !ok {
		return "", false
	}
	return t.Owners()[m.Owner], true
}

// spaces is which fields a server, or its group, has spaces for in a table.
// It is worked out once for each table, which may have very many rules.
type spaces struct {
	of     *idspace.Table
	any    bool             // it has a space at all
	fields idspace.FieldSet // of its spaces; the zero set is every field
	bound  bool             // one is bound to session_id
}

func spacesOf(t *idspace.Table, s *route.Server) spaces {
	out := spaces{of: t}
	rules := t.Rules()
	if len(rules) == 0 { // a function
		out.any = slices.ContainsFunc(t.Owners(), func(o idspace.Owner) bool { return isOwn(s, o) })
		return out
	}
	unbound := false
	for i := range rules {
		if r := &rules[i]; isOwn(s, r.Owner) {
			out.any = true
			unbound = unbound || r.Fields == 0
			out.fields |= r.Fields
			out.bound = out.bound || r.Fields != 0 && r.Fields.Has(idspace.FieldSessionID)
		}
	}
	if unbound {
		out.fields = 0
	}
	return out
}

func isOwn(s *route.Server, o idspace.Owner) bool {
	return o == idspace.Owner(s.Config.Name) || s.Config.Group != "" && (o == idspace.Owner(s.Config.Group) || inGroup(s, o))
}

// inGroup reports whether o is another member of the server's group: a group
// shares its keys, so its members mint in each other's names for a while.
func inGroup(s *route.Server, o idspace.Owner) bool {
	other := s.Pool.Server(route.ServerName(o))
	return other != nil && other.Config.Group == s.Config.Group
}

func (w *Watch) record(s *route.Server) *record {
	k := watched{s.Pool.Config.Name, s.Config.Name}
	r := w.records[k]
	if r == nil {
		r = &record{}
		w.records[k] = r
	}
	return r
}

// count takes down a foreign mint, and logs it if it says something new.
func (w *Watch) count(s *route.Server, r *record, x Example) {
	r.count++
	w.foreign(s, x.Field)
	if len(r.examples) == maxExamples {
		r.examples = slices.Delete(r.examples, 0, 1)
	}
	r.examples = append(r.examples, x)
	what := x.Field.String() + " " + x.Mark + " " + string(x.Owner)
	if what == r.last || x.Time.Sub(r.logged) < logPause && r.last != "" {
		return
	}
	r.last, r.logged = what, x.Time
	w.log.Warn("a server assigned an ID outside its space: is its configuration stale, or its key file another's?",
		"pool", s.Pool.Config.Name, "server", s.Config.Name, "field", x.Field.String(), "mark", x.Mark, "owner_of_mark", string(x.Owner))
}

// Update forgets the servers that the snapshot does not have.
func (w *Watch) Update(snap *route.Snapshot) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.records, func(k watched, _ *record) bool {
		p := snap.Pools[k.pool]
		return p == nil || p.Server(k.server) == nil
	})
}

// Foreign returns how many foreign mints of a server were seen, and the last
// few of them.
func (w *Watch) Foreign(pool route.PoolName, server route.ServerName) (count uint64, examples []Example) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.records[watched{pool, server}]; r != nil {
		return r.count, slices.Clone(r.examples)
	}
	return 0, nil
}
