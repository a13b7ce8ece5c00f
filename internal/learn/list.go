package learn

// Hot file: a lookup for each connection whose ID no rule covers. Budget: no
// allocation, one cache miss or two, at most 150 ns.

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/route"
)

const (
	// bucketEntries is how many entries share a bucket: two cache lines. An
	// ID has its place in one bucket only, so a lookup reads no more.
	bucketEntries = 8
	// maxServers bounds the names that a list remembers. Names come from the
	// configuration; those that are gone are dropped when the table is full.
	maxServers = 1 << 16
	// EntryBytes is the memory of one entry, in bytes, its part of the
	// bucket's lock included. A list takes that much for each of its
	// max_entries, rounded up to a full bucket, from the start, and never more.
	EntryBytes = 17
)

// A List remembers which server assigned an ID, for a time and up to a number
// of entries. When a bucket is full, the entry in it that was learned first
// makes room. It is safe for concurrent use.
type List struct {
	// Immutable after New.
	seed     maphash.Seed
	lifetime time.Duration
	now      func() time.Time
	start    time.Time // expiry is kept in seconds from here
	buckets  []bucket

	// mu guards the names. An entry holds the index of a name.
	mu    sync.RWMutex
	names []route.ServerName
	index map[route.ServerName]uint32
}

type bucket struct {
	mu      sync.Mutex
	entries [bucketEntries]entry
}

// An entry is one ID: 16 bytes.
type entry struct {
	hash    uint64 // of field and ID
	server  uint32 // index in names
	expires uint32 // seconds from start; 0: the entry is free
}

// Config says how much a list keeps.
type Config struct {
	// MaxEntries is how many IDs are remembered at most; see EntryBytes.
	MaxEntries int
	// Lifetime is for how long, from the last time that the ID was assigned.
	Lifetime time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// New returns an empty list.
func New(cfg Config) *List {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	n := max(1, (cfg.MaxEntries+bucketEntries-1)/bucketEntries)
	return &List{
		seed:     maphash.MakeSeed(),
		lifetime: cfg.Lifetime,
		now:      cfg.Now,
		start:    cfg.Now(),
		buckets:  make([]bucket, n),
		index:    make(map[route.ServerName]uint32),
	}
}

// Learn remembers that server assigned id, which stood in field. When two
// servers assign the same ID, the last one counts.
func (l *List) Learn(field idspace.Field, id []byte, server route.ServerName) {
	name, ok := l.nameIndex(server)
	if !ok {
		return
	}
	h := l.hash(field, id)
	now := l.seconds()
	b := l.bucketOf(h)
	b.mu.Lock()
	defer b.mu.Unlock()
	// The youngest entry stands first, so the last one is the oldest.
	place := bucketEntries - 1
	for i := range b.entries {
		if e := &b.entries[i]; e.hash == h || e.expires <= now {
			place = i
			break
		}
	}
	copy(b.entries[1:place+1], b.entries[:place])
	b.entries[0] = entry{hash: h, server: name, expires: now + uint32(max(1, l.lifetime/time.Second))}
}

// Server returns the server that assigned id, if the list still knows. It is
// part of route.LearnedList and does not allocate.
func (l *List) Server(field idspace.Field, id []byte) (route.ServerName, bool) {
	h := l.hash(field, id)
	now := l.seconds()
	b := l.bucketOf(h)
	server, ok := b.find(h, now)
	if !ok {
		return "", false
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.names[server], true
}

func (b *bucket) find(h uint64, now uint32) (server uint32, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.entries {
		if e := &b.entries[i]; e.hash == h && e.expires > now {
			return e.server, true
		}
	}
	return 0, false
}

// Len counts the entries that are remembered. It goes through all of them.
func (l *List) Len() int {
	now := l.seconds()
	n := 0
	for i := range l.buckets {
		b := &l.buckets[i]
		b.mu.Lock()
		for j := range b.entries {
			if b.entries[j].expires > now {
				n++
			}
		}
		b.mu.Unlock()
	}
	return n
}

func (l *List) nameIndex(server route.ServerName) (uint32, bool) {
	l.mu.RLock()
	i, ok := l.index[server]
	l.mu.RUnlock()
	if ok {
		return i, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i, ok := l.index[server]; ok {
		return i, true
	}
	if len(l.names) >= maxServers {
		return 0, false
	}
	i = uint32(len(l.names))
	l.names = append(l.names, server)
	l.index[server] = i
	return i, true
}

// hash mixes the field in, so that a cookie is never taken for a ticket.
func (l *List) hash(field idspace.Field, id []byte) uint64 {
	return maphash.Bytes(l.seed, id) ^ (uint64(field)+1)*0x9e3779b97f4a7c15
}

// bucketOf spreads hashes over any number of buckets by multiplication, which
// needs no division and uses the high bits.
func (l *List) bucketOf(h uint64) *bucket {
	return &l.buckets[(h>>32)*uint64(len(l.buckets))>>32]
}

func (l *List) seconds() uint32 { return uint32(l.now().Sub(l.start)/time.Second) + 1 }
