package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/store"
	"github.com/mintmark/mintmark/internal/store/storetest"
)

// freeAddr returns an address that nobody listens on. etcd binds it later, so
// it is on a loopback address of its own, of whose ports nobody else is handed
// any meanwhile.
func freeAddr(t *testing.T) string {
	t.Helper()
	ip := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	ln, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// startEtcd runs an etcd of one member, which ends with the test, and waits
// until it has a leader: it accepts connections long before it answers.
func startEtcd(t *testing.T) string {
	t.Helper()
	client, peer := freeAddr(t), freeAddr(t)
	cmd := exec.CommandContext(t.Context(), "etcd", "--name", "m", "--data-dir", t.TempDir(),
		"--listen-client-urls", "http://"+client, "--advertise-client-urls", "http://"+client,
		"--listen-peer-urls", "http://"+peer, "--initial-advertise-peer-urls", "http://"+peer,
		"--initial-cluster", "m=http://"+peer, "--log-level", "error")
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting etcd (make test installs it): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	const startLimit = time.Minute
	for deadline := time.Now().Add(startLimit); ; {
		err := healthy(t.Context(), "http://"+client)
		if err == nil {
			return client
		}
		if time.Now().After(deadline) {
			t.Fatalf("etcd does not answer: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// healthy asks an etcd whether it can answer.
func healthy(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

func TestEtcd(t *testing.T) {
	t.Parallel()
	storetest.Suite(t, func(t *testing.T) store.Store {
		// List gives the revision of the whole cluster, so each has its own.
		s, err := store.Open(t.Context(), store.EtcdScheme+startEtcd(t)+"/test", store.Options{KeyFile: filepath.Join(t.TempDir(), "key")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}

// Two control planes with one key file see each other's changes and secrets.
func TestEtcdShared(t *testing.T) {
	t.Parallel()
	address := fmt.Sprintf("%s%s/shared", store.EtcdScheme, startEtcd(t))
	o := store.Options{KeyFile: filepath.Join(t.TempDir(), "key")}
	open := func() store.Store {
		s, err := store.Open(t.Context(), address, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	one := open()
	if _, err := one.Commit(t.Context(), store.Txn{Put: []store.Put{{Key: "a", Value: []byte("1"), Secret: true}}}); err != nil {
		t.Fatal(err)
	}
	two := open()
	seen, err := two.Watch(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	<-seen
	if e, err := two.Get(t.Context(), "a"); err != nil || string(e.Value) != "1" {
		t.Fatalf("the other reads %s, %v", e.Value, err)
	}
	if _, err := one.Commit(t.Context(), store.Txn{Put: []store.Put{{Key: "a", Value: []byte("2")}}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case <-seen:
	case <-ctx.Done():
		t.Fatal("the other is not told of a change")
	}
	if e, err := two.Get(t.Context(), "a"); err != nil || string(e.Value) != "2" {
		t.Fatalf("the other reads %s, %v", e.Value, err)
	}
	// Another key file opens nothing.
	if _, err := store.Open(t.Context(), address, store.Options{KeyFile: filepath.Join(t.TempDir(), "key")}); err == nil {
		t.Error("a store with secrets was opened with a new key file")
	}
}
