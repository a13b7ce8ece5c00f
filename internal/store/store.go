// Package store keeps the desired state of a control plane: a small set of
// keys and values with revisions, changed by transactions that say what they
// expect.
//
// There are two implementations with one behaviour, which storetest holds
// them to: a file of this machine (bbolt), for one control plane, and etcd,
// for several. Nothing of a control plane lives in memory alone, so whatever
// Commit has returned survives a crash, and control planes that share an etcd
// need no leader: each loads, decides, and commits on the condition that
// nobody else has changed what it has loaded.
//
// Every change has a revision, a number that grows by one or more with each
// transaction of the whole store and never comes back. An entry carries the
// revision of its last change.
//
// Secret values are encrypted before they reach the file or etcd, with a key
// that lies beside (see Options.KeyFile): a copy of the store alone opens no
// ticket and mints no mark.
package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Limits, which keep a caller's mistake from making a store that opens
// slowly or that etcd refuses.
const (
	// MaxKeyBytes is the longest key.
	MaxKeyBytes = 512
	// MaxValueBytes is the longest value, before it is encrypted. A plan of
	// 3,000 servers is below 1 MiB; etcd's own limit of a request is 1.5 MiB
	// unless it is told otherwise.
	MaxValueBytes = 16 << 20
	// MaxOperations is how many conditions and changes a transaction may
	// have. It is etcd's default limit.
	MaxOperations = 128
)

// ErrNotFound is the error of a key that the store does not have.
var ErrNotFound = errors.New("not found")

// A ConflictError says that a condition of a transaction did not hold: somebody
// else changed Key since it was read. Nothing was changed; the remedy is to
// read again and decide anew.
type ConflictError struct {
	Key string
	// Want is the revision that the transaction expected (0: no such key),
	// Have what the key had.
	Want, Have uint64
}

// Error names the key and both revisions.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s is at revision %d and was expected at %d: it was changed meanwhile", e.Key, e.Have, e.Want)
}

// An Entry is a key with its value.
type Entry struct {
	Key   string
	Value []byte
	// Revision is that of the key's last change.
	Revision uint64
}

// A Condition of a transaction: Key was last changed at Revision, or, when
// Revision is 0, does not exist.
type Condition struct {
	Key      string
	Revision uint64
}

// A Put sets Key to Value. A secret value is encrypted at rest.
type Put struct {
	Key    string
	Value  []byte
	Secret bool
}

// A Txn is changes that are made together, or not at all, if all conditions
// hold. No key may stand in two of its changes.
type Txn struct {
	If     []Condition
	Put    []Put
	Delete []string
}

// A Store keeps entries. It is safe for concurrent use.
type Store interface {
	// Get returns the entry of key, or ErrNotFound.
	Get(ctx context.Context, key string) (Entry, error)
	// List returns the entries whose keys begin with prefix, sorted by key,
	// and the revision of the store: all of one moment.
	List(ctx context.Context, prefix string) ([]Entry, uint64, error)
	// Commit makes the changes of t and returns their revision. When it
	// returns nil they are on disk. The error is a *ConflictError when a
	// condition does not hold; nothing has changed then. With another error
	// it is not known whether the changes were made: read before trying
	// again.
	Commit(ctx context.Context, t Txn) (uint64, error)
	// Watch returns a channel of one slot that holds a token whenever
	// something under prefix may have changed since the last token was
	// taken: List tells what. There is a token in it from the start. It is
	// closed when ctx ends or the store is closed.
	Watch(ctx context.Context, prefix string) (<-chan struct{}, error)
	// Close releases what the store holds. Nothing may be called after it.
	Close() error
}

// Options of Open.
type Options struct {
	// KeyFile holds the key that secrets are encrypted with, an age identity
	// in a file that nobody but its owner may read. It is made when the store
	// is new. The default is the path of the store with ".key" added; etcd
	// has no default.
	KeyFile string
}

// EtcdScheme begins the address of a store in etcd:
// etcd://HOST:PORT,HOST:PORT/PREFIX.
const EtcdScheme = "etcd://"

// Open opens the store at where, a path or an address that begins with
// EtcdScheme, and makes it if it is not there.
func Open(ctx context.Context, where string, o Options) (Store, error) {
	if strings.HasPrefix(where, EtcdScheme) {
		return OpenEtcd(ctx, where, o)
	}
	return OpenBolt(where, o)
}

// check refuses a transaction that no implementation takes.
func (t *Txn) check() error {
	if n := len(t.If) + len(t.Put) + len(t.Delete); n > MaxOperations {
		return fmt.Errorf("a transaction of %d operations: the limit is %d", n, MaxOperations)
	}
	seen := make(map[string]bool, len(t.Put)+len(t.Delete))
	use := func(key string) error {
		if err := checkKey(key); err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("key %q is changed twice in one transaction", key)
		}
		seen[key] = true
		return nil
	}
	for _, p := range t.Put {
		if err := use(p.Key); err != nil {
			return err
		}
		if len(p.Value) > MaxValueBytes {
			return fmt.Errorf("the value of %q has %d bytes: the limit is %d", p.Key, len(p.Value), MaxValueBytes)
		}
	}
	for _, k := range t.Delete {
		if err := use(k); err != nil {
			return err
		}
	}
	return nil
}

func checkKey(key string) error {
	if key == "" || len(key) > MaxKeyBytes {
		return fmt.Errorf("a key of %d bytes: it must have 1 to %d", len(key), MaxKeyBytes)
	}
	return nil
}
