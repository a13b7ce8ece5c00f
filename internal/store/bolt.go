package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// lockWait is how long OpenBolt waits for another process to let go of the
// file: a predecessor that is ending, not one that stays.
const lockWait = 5 * time.Second

// The buckets of the file, and the keys of meta.
const (
	bucketMeta    = "meta"
	bucketEntries = "entries"
	keyRevision   = "revision"
)

// revisionBytes stands before each value: its revision, big-endian.
const revisionBytes = 8

// A Bolt is a Store in one file of this machine.
type Bolt struct {
	db    *bolt.DB
	vault *vault
	bell  bell
}

// OpenBolt opens the file at path, and makes it with mode 0600 if it is not
// there. Only one process can have it open.
func OpenBolt(path string, o Options) (*Bolt, error) {
	if o.KeyFile == "" {
		o.KeyFile = path + ".key"
	}
	// A store that was begun and holds nothing yet is as good as none: the
	// process may have been killed before it had its key.
	st, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	if err == nil && st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("opening the store %s: %w", path, errMode)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockWait})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("opening the store %s: another process has it open", path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the store %s: %w", path, err)
	}
	s := &Bolt{db: db}
	if err := s.prepare(o.KeyFile); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the store %s: %w", path, err), db.Close())
	}
	return s, nil
}

func (s *Bolt) prepare(keyFile string) error {
	fresh := false
	err := s.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucketEntries))
		fresh = b == nil || b.Stats().KeyN == 0
		return nil
	})
	if err != nil {
		return err
	}
	if s.vault, err = openVault(keyFile, fresh); err != nil {
		return err
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists([]byte(bucketMeta))
		if err == nil {
			_, err = tx.CreateBucketIfNotExists([]byte(bucketEntries))
		}
		return err
	})
}

// Close implements Store.
func (s *Bolt) Close() error {
	s.bell.close()
	return s.db.Close()
}

// Get implements Store.
func (s *Bolt) Get(_ context.Context, key string) (Entry, error) {
	var e Entry
	err := s.db.View(func(tx *bolt.Tx) error {
		rest := tx.Bucket([]byte(bucketEntries)).Get([]byte(key))
		if rest == nil {
			return fmt.Errorf("%s: %w", key, ErrNotFound)
		}
		var err error
		e, err = s.entry(key, rest)
		return err
	})
	return e, err
}

// List implements Store.
func (s *Bolt) List(_ context.Context, prefix string) (all []Entry, revision uint64, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		revision = revisionOf(tx)
		c := tx.Bucket([]byte(bucketEntries)).Cursor()
		for k, rest := c.Seek([]byte(prefix)); bytes.HasPrefix(k, []byte(prefix)) && k != nil; k, rest = c.Next() {
			e, err := s.entry(string(k), rest)
			if err != nil {
				return err
			}
			all = append(all, e)
		}
		return nil
	})
	return all, revision, err
}

// entry reads what lies under key. rest is the file's memory.
func (s *Bolt) entry(key string, rest []byte) (Entry, error) {
	if len(rest) < revisionBytes {
		return Entry{}, fmt.Errorf("the entry %s is damaged: it has %d bytes", key, len(rest))
	}
	value, err := s.vault.open(key, rest[revisionBytes:])
	return Entry{Key: key, Value: value, Revision: binary.BigEndian.Uint64(rest)}, err
}

// Commit implements Store.
func (s *Bolt) Commit(_ context.Context, t Txn) (uint64, error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	sealed := make([][]byte, len(t.Put))
	for i, p := range t.Put {
		var err error
		if sealed[i], err = s.vault.seal(p.Value, p.Secret); err != nil {
			return 0, err
		}
	}
	var revision uint64
	err := s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(bucketEntries))
		for _, c := range t.If {
			if have := revisionIn(b, c.Key); have != c.Revision {
				return &ConflictError{Key: c.Key, Want: c.Revision, Have: have}
			}
		}
		revision = revisionOf(tx) + 1
		head := binary.BigEndian.AppendUint64(nil, revision)
		if err := tx.Bucket([]byte(bucketMeta)).Put([]byte(keyRevision), head); err != nil {
			return err
		}
		for i, p := range t.Put {
			if err := b.Put([]byte(p.Key), append(bytes.Clone(head), sealed[i]...)); err != nil {
				return fmt.Errorf("writing %s: %w", p.Key, err)
			}
		}
		for _, k := range t.Delete {
			if err := b.Delete([]byte(k)); err != nil {
				return fmt.Errorf("deleting %s: %w", k, err)
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, p := range t.Put {
		s.bell.ring(p.Key)
	}
	s.bell.ring(t.Delete...)
	return revision, nil
}

// Watch implements Store.
func (s *Bolt) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	return s.bell.watch(ctx, prefix), nil
}

func revisionOf(tx *bolt.Tx) uint64 {
	if v := tx.Bucket([]byte(bucketMeta)).Get([]byte(keyRevision)); len(v) == revisionBytes {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func revisionIn(b *bolt.Bucket, key string) uint64 {
	if v := b.Get([]byte(key)); len(v) >= revisionBytes {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}
