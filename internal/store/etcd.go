package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	// dialTimeout bounds how long OpenEtcd waits for one of the members.
	dialTimeout = 5 * time.Second
	// keepAlive is how often an idle connection is tried, so that a member
	// that vanished is noticed.
	keepAlive = 10 * time.Second
	// maxRequestBytes is the largest message to and from etcd. A member's own
	// limit of requests (--max-request-bytes, 1.5 MiB) stands before it.
	maxRequestBytes = 2*MaxValueBytes + 1<<20
)

// An Etcd is a Store in an etcd cluster, under a prefix of its own.
type Etcd struct {
	client *clientv3.Client
	prefix string
	vault  *vault
	bell   bell

	// ctx ends with Close. It is the store's own life, not a caller's.
	ctx   context.Context
	stop  context.CancelFunc
	watch sync.WaitGroup
}

// OpenEtcd opens the store at address, which is written
// etcd://HOST:PORT,HOST:PORT/PREFIX. o.KeyFile is required, and must be the
// same on all machines that share the store.
func OpenEtcd(ctx context.Context, address string, o Options) (*Etcd, error) {
	hosts, prefix, _ := strings.Cut(strings.TrimPrefix(address, EtcdScheme), "/")
	if hosts == "" {
		return nil, fmt.Errorf("opening the store %s: no host; write etcd://HOST:PORT,HOST:PORT/PREFIX", address)
	}
	if o.KeyFile == "" {
		return nil, fmt.Errorf("opening the store %s: it needs a key file, the same on all machines", address)
	}
	if prefix == "" {
		prefix = "mintmark"
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: strings.Split(hosts, ","), DialTimeout: dialTimeout,
		DialKeepAliveTime: keepAlive, DialKeepAliveTimeout: dialTimeout,
		MaxCallSendMsgSize: maxRequestBytes, MaxCallRecvMsgSize: maxRequestBytes * MaxOperations,
		Logger: zap.NewNop(), // what it would log comes back as errors
	})
	if err != nil {
		return nil, fmt.Errorf("opening the store %s: %w", address, err)
	}
	s := &Etcd{client: client, prefix: strings.TrimSuffix(prefix, "/") + "/"}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.prepare(ctx, o.KeyFile); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the store %s: %w", address, err), s.Close())
	}
	events := client.Watch(clientv3.WithRequireLeader(s.ctx), s.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	s.watch.Go(func() { s.follow(events) })
	return s, nil
}

func (s *Etcd) prepare(ctx context.Context, keyFile string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	r, err := s.client.Get(ctx, s.prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	s.vault, err = openVault(keyFile, r.Count == 0)
	return err
}

// follow rings for what others and this process change. A watch that breaks
// is taken up again, and everybody is told that something may have changed.
func (s *Etcd) follow(events clientv3.WatchChan) {
	const pause = time.Second
	for {
		for r := range events {
			for _, e := range r.Events {
				s.bell.ring(strings.TrimPrefix(string(e.Kv.Key), s.prefix))
			}
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(pause):
		}
		events = s.client.Watch(clientv3.WithRequireLeader(s.ctx), s.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		s.bell.ringAll()
	}
}

// Close implements Store.
func (s *Etcd) Close() error {
	s.stop()
	s.bell.close()
	err := s.client.Close()
	s.watch.Wait()
	return err
}

// Get implements Store.
func (s *Etcd) Get(ctx context.Context, key string) (Entry, error) {
	r, err := s.client.Get(ctx, s.prefix+key)
	if err != nil {
		return Entry{}, fmt.Errorf("reading %s: %w", key, err)
	}
	if len(r.Kvs) == 0 {
		return Entry{}, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	value, err := s.vault.open(key, r.Kvs[0].Value)
	return Entry{Key: key, Value: value, Revision: uint64(r.Kvs[0].ModRevision)}, err //nolint:gosec // revisions are positive
}

// List implements Store.
func (s *Etcd) List(ctx context.Context, prefix string) ([]Entry, uint64, error) {
	r, err := s.client.Get(ctx, s.prefix+prefix, clientv3.WithPrefix(),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", prefix, err)
	}
	var all []Entry
	for _, kv := range r.Kvs {
		key := strings.TrimPrefix(string(kv.Key), s.prefix)
		value, err := s.vault.open(key, kv.Value)
		if err != nil {
			return nil, 0, err
		}
		all = append(all, Entry{Key: key, Value: value, Revision: uint64(kv.ModRevision)}) //nolint:gosec // positive
	}
	return all, uint64(r.Header.Revision), nil //nolint:gosec // positive
}

// Commit implements Store.
func (s *Etcd) Commit(ctx context.Context, t Txn) (uint64, error) {
	if err := t.check(); err != nil {
		return 0, err
	}
	var (
		conditions []clientv3.Cmp
		changes    []clientv3.Op
		reads      []clientv3.Op
	)
	for _, c := range t.If {
		conditions = append(conditions, clientv3.Compare(clientv3.ModRevision(s.prefix+c.Key), "=", int64(c.Revision))) //nolint:gosec // revisions are small
		reads = append(reads, clientv3.OpGet(s.prefix+c.Key, clientv3.WithKeysOnly()))
	}
	for _, p := range t.Put {
		rest, err := s.vault.seal(p.Value, p.Secret)
		if err != nil {
			return 0, err
		}
		changes = append(changes, clientv3.OpPut(s.prefix+p.Key, string(rest)))
	}
	for _, k := range t.Delete {
		changes = append(changes, clientv3.OpDelete(s.prefix+k))
	}
	r, err := s.client.Txn(ctx).If(conditions...).Then(changes...).Else(reads...).Commit()
	if err != nil {
		return 0, fmt.Errorf("committing: %w", err)
	}
	if r.Succeeded {
		return uint64(r.Header.Revision), nil //nolint:gosec // positive
	}
	for i, c := range t.If {
		have := uint64(0)
		if kvs := r.Responses[i].GetResponseRange().Kvs; len(kvs) > 0 {
			have = uint64(kvs[0].ModRevision) //nolint:gosec // positive
		}
		if have != c.Revision {
			return 0, &ConflictError{Key: c.Key, Want: c.Revision, Have: have}
		}
	}
	return 0, errors.New("committing: etcd refused the conditions and reads that they hold")
}

// Watch implements Store.
func (s *Etcd) Watch(ctx context.Context, prefix string) (<-chan struct{}, error) {
	return s.bell.watch(ctx, prefix), nil
}
