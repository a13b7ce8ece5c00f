// Package storetest holds the behaviour that every implementation of package
// store must show.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/store"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// Suite tests the stores that open returns: each call a new and empty one,
// which ends with the test.
func Suite(t *testing.T, open func(t *testing.T) store.Store) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"Empty", testEmpty},
		{"PutGetDelete", testPutGetDelete},
		{"List", testList},
		{"Conditions", testConditions},
		{"AllOrNothing", testAllOrNothing},
		{"Limits", testLimits},
		{"Watch", testWatch},
		{"Counter", testCounter},
		{"Large", testLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, open(t))
		})
	}
}

func commit(t *testing.T, s store.Store, txn store.Txn) uint64 {
	t.Helper()
	r, err := s.Commit(t.Context(), txn)
	if err != nil {
		t.Fatalf("committing %+v: %v", txn, err)
	}
	return r
}

func put(key, value string) store.Put { return store.Put{Key: key, Value: []byte(value)} }

func testEmpty(t *testing.T, s store.Store) {
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of a key that is not there: %v; want ErrNotFound", err)
	}
	all, _, err := s.List(t.Context(), "")
	if err != nil || len(all) != 0 {
		t.Errorf("List of an empty store: %v, %v; want nothing", all, err)
	}
	// Deleting what is not there is no error, with the condition that it is not.
	commit(t, s, store.Txn{If: []store.Condition{{Key: "a"}}, Delete: []string{"a"}})
}

func testPutGetDelete(t *testing.T, s store.Store) {
	first := commit(t, s, store.Txn{Put: []store.Put{
		put("plain", "one"), {Key: "secret", Value: []byte("two"), Secret: true}, {Key: "empty"},
	}})
	second := commit(t, s, store.Txn{Put: []store.Put{put("plain", "three")}})
	if second <= first {
		t.Errorf("revisions %d and %d; want them to grow", first, second)
	}
	for _, want := range []store.Entry{
		{Key: "plain", Value: []byte("three"), Revision: second},
		{Key: "secret", Value: []byte("two"), Revision: first},
		{Key: "empty", Value: []byte{}, Revision: first},
	} {
		got, err := s.Get(t.Context(), want.Key)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.Key+string(want.Value), got.Key+string(got.Value)); d != "" || got.Revision != want.Revision {
			t.Errorf("Get(%q) = %+v; want %+v", want.Key, got, want)
		}
	}
	commit(t, s, store.Txn{Delete: []string{"plain"}})
	if _, err := s.Get(t.Context(), "plain"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of a deleted key: %v; want ErrNotFound", err)
	}
}

func testList(t *testing.T, s store.Store) {
	r := commit(t, s, store.Txn{Put: []store.Put{put("b/2", "x"), put("b/1", "y"), put("a/1", "z"), put("b", "v"), put("b0", "w")}})
	all, at, err := s.List(t.Context(), "b/")
	if err != nil {
		t.Fatal(err)
	}
	want := []store.Entry{{Key: "b/1", Value: []byte("y"), Revision: r}, {Key: "b/2", Value: []byte("x"), Revision: r}}
	if d := cmp.Diff(want, all); d != "" {
		t.Errorf("List(b/), want - got +:\n%s", d)
	}
	if at != r {
		t.Errorf("List was at revision %d; want %d", at, r)
	}
}

func testConditions(t *testing.T, s store.Store) {
	made := commit(t, s, store.Txn{If: []store.Condition{{Key: "a"}}, Put: []store.Put{put("a", "1")}})
	wantConflict := func(c store.Condition, have uint64) {
		t.Helper()
		_, err := s.Commit(t.Context(), store.Txn{If: []store.Condition{c}, Put: []store.Put{put("a", "no")}})
		conflict, ok := errors.AsType[*store.ConflictError](err)
		if !ok || *conflict != (store.ConflictError{Key: c.Key, Want: c.Revision, Have: have}) {
			t.Errorf("Commit on the condition %+v: %v; want a conflict with revision %d", c, err, have)
		}
	}
	wantConflict(store.Condition{Key: "a"}, made)
	wantConflict(store.Condition{Key: "a", Revision: made + 1}, made)
	wantConflict(store.Condition{Key: "b", Revision: made}, 0)
	changed := commit(t, s, store.Txn{If: []store.Condition{{Key: "a", Revision: made}}, Put: []store.Put{put("a", "2")}})
	wantConflict(store.Condition{Key: "a", Revision: made}, changed)
	if e, err := s.Get(t.Context(), "a"); err != nil || string(e.Value) != "2" {
		t.Errorf("after conflicts: %s, %v; want 2", e.Value, err)
	}
}

func testAllOrNothing(t *testing.T, s store.Store) {
	r := commit(t, s, store.Txn{Put: []store.Put{put("a", "1"), put("b", "1")}})
	_, err := s.Commit(t.Context(), store.Txn{
		If:  []store.Condition{{Key: "a", Revision: r}, {Key: "b", Revision: r + 7}},
		Put: []store.Put{put("a", "2"), put("c", "2")}, Delete: []string{"b"},
	})
	if conflict, ok := errors.AsType[*store.ConflictError](err); !ok || conflict.Key != "b" {
		t.Fatalf("Commit: %v; want a conflict over b", err)
	}
	all, at, err := s.List(t.Context(), "")
	want := []store.Entry{{Key: "a", Value: []byte("1"), Revision: r}, {Key: "b", Value: []byte("1"), Revision: r}}
	if d := cmp.Diff(want, all); d != "" || err != nil || at != r {
		t.Errorf("after a refused transaction: revision %d, %v, want - got +:\n%s", at, err, d)
	}
}

func testLimits(t *testing.T, s store.Store) {
	for name, txn := range map[string]store.Txn{
		"an empty key":   {Put: []store.Put{put("", "x")}},
		"a long key":     {Put: []store.Put{put(strings.Repeat("k", store.MaxKeyBytes+1), "x")}},
		"a long value":   {Put: []store.Put{{Key: "a", Value: make([]byte, store.MaxValueBytes+1)}}},
		"a key twice":    {Put: []store.Put{put("a", "x"), put("a", "y")}},
		"put and delete": {Put: []store.Put{put("a", "x")}, Delete: []string{"a"}},
		"too much":       {If: make([]store.Condition, store.MaxOperations+1)},
	} {
		if _, err := s.Commit(t.Context(), txn); err == nil {
			t.Errorf("%s was committed; want an error", name)
		}
	}
}

func testWatch(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w, err := s.Watch(ctx, "a/")
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, w, "at the start")
	commit(t, s, store.Txn{Put: []store.Put{put("a/1", "x")}})
	wantToken(t, w, "after a change")
	commit(t, s, store.Txn{Delete: []string{"a/1"}})
	wantToken(t, w, "after a deletion")
	// Many changes are one token, or a few; none is forgotten.
	for i := range 20 {
		commit(t, s, store.Txn{Put: []store.Put{put("a/1", fmt.Sprint(i)), put("b/1", "x")}})
	}
	wantToken(t, w, "after many changes")
	cancel()
	deadline := time.After(patience)
	for {
		select {
		case _, open := <-w:
			if !open {
				return
			}
		case <-deadline:
			t.Fatal("the channel is open after its context ended")
		}
	}
}

func wantToken(t *testing.T, w <-chan struct{}, when string) {
	t.Helper()
	select {
	case _, open := <-w:
		if !open {
			t.Fatalf("the channel was closed %s", when)
		}
	case <-time.After(patience):
		t.Fatalf("no token %s", when)
	}
}

// testCounter has several count at once: no addition is lost.
func testCounter(t *testing.T, s store.Store) {
	const counters, each = 8, 20
	commit(t, s, store.Txn{Put: []store.Put{put("n", "")}})
	var wg sync.WaitGroup
	for range counters {
		wg.Go(func() {
			for range each {
				for {
					e, err := s.Get(t.Context(), "n")
					if err != nil {
						t.Error(err)
						return
					}
					_, err = s.Commit(t.Context(), store.Txn{
						If:  []store.Condition{{Key: "n", Revision: e.Revision}},
						Put: []store.Put{{Key: "n", Value: append(e.Value, 'x')}},
					})
					if err == nil {
						break
					}
					if _, conflict := errors.AsType[*store.ConflictError](err); !conflict {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if e, err := s.Get(t.Context(), "n"); err != nil || len(e.Value) != counters*each {
		t.Errorf("counted to %d, %v; want %d", len(e.Value), err, counters*each)
	}
}

// largeBytes is what etcd takes without being told to.
const largeBytes = 1 << 20

func testLarge(t *testing.T, s store.Store) {
	value := bytes.Repeat([]byte("mintmark"), largeBytes/8)
	commit(t, s, store.Txn{Put: []store.Put{{Key: "large", Value: value, Secret: true}}})
	e, err := s.Get(t.Context(), "large")
	if err != nil || !bytes.Equal(e.Value, value) {
		t.Errorf("a value of %d bytes came back as %d bytes, %v", len(value), len(e.Value), err)
	}
}
