package backend

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

const named = "web.example:1"

func addresses(s *route.Server) []string {
	var out []string
	for _, a := range known(s.State) {
		out = append(out, a.String())
	}
	return out
}

func TestNameIsResolvedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.name("web.example", "10.0.0.1", "2001:db8::1")
		f.net.set(accept, a, b, "[2001:db8::1]:1")
		s := snapshotOf(t, nil, health(), "a="+named)
		server := serverOf(s, "a")
		f.Update(s)
		synctest.Wait()
		if got, want := addresses(server), []string{"10.0.0.1", "2001:db8::1"}; !slices.Equal(got, want) {
			t.Fatalf("got addresses %v; want %v", got, want)
		}
		if got := (*server.State.Addrs.Load())[0]; got != netip.MustParseAddrPort(a) {
			t.Errorf("got address and port %v; want %s", got, a)
		}

		// The other order is no news.
		f.net.name("web.example", "2001:db8::1", "10.0.0.1")
		time.Sleep(34 * time.Second)
		if got := addresses(server); got[0] != "10.0.0.1" || f.logged("new addresses") != 0 {
			t.Errorf("another order: got addresses %v, logged %d times; want none of it", got, f.logged("new addresses"))
		}
		if n := f.net.lookedUp(); n != 2 {
			t.Errorf("in 34s the name was looked up %d times; want 2", n)
		}

		f.net.name("web.example", "10.0.0.2")
		time.Sleep(33 * time.Second)
		if got := addresses(server); !slices.Equal(got, []string{"10.0.0.2"}) {
			t.Errorf("after a change: got addresses %v; want 10.0.0.2", got)
		}
		if f.logged("new addresses") != 1 || !isUp(server) || len(f.changed()) != 0 {
			t.Error("new addresses must be logged once and change nothing else")
		}
		f.net.took(b, time.Now())
		if err := f.dial(t, server); err != nil {
			t.Error(err)
		}
		if n := len(f.net.took(b, time.Now())); n != 1 {
			t.Errorf("Dial connected to the new address %d times; want once", n)
		}
	})
}

func TestLastAddressesStayWhenResolverFails(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.name("web.example", "10.0.0.1")
		f.net.set(accept, a)
		s := snapshotOf(t, nil, health(), "a="+named)
		server := serverOf(s, "a")
		f.Update(s)
		synctest.Wait()
		f.net.failLookups(func(string) error { return errors.New("server misbehaving") })
		time.Sleep(5 * time.Minute)
		if got := addresses(server); !slices.Equal(got, []string{"10.0.0.1"}) || !isUp(server) {
			t.Errorf("without a resolver: got addresses %v, up %v; want the last ones, up", got, isUp(server))
		}
		if err := f.dial(t, server); err != nil {
			t.Errorf("without a resolver: %v", err)
		}
		status, _ := f.Status(server)
		if !strings.Contains(status.ResolveError, "resolving web.example: server misbehaving") || len(status.Addresses) != 1 {
			t.Errorf("got status %+v; want the error and the addresses", status)
		}
		// An empty answer is a failure too.
		f.net.failLookups(nil)
		f.net.name("web.example")
		time.Sleep(2 * time.Minute)
		if got := addresses(server); !slices.Equal(got, []string{"10.0.0.1"}) {
			t.Errorf("after an empty answer: got addresses %v; want the last ones", got)
		}
		if n := f.logged("does not resolve"); n != 1 {
			t.Errorf("logged %d times that the name does not resolve; want once", n)
		}
		f.net.name("web.example", "10.0.0.1")
		time.Sleep(time.Minute)
		if status, _ := f.Status(server); status.ResolveError != "" || f.logged("resolves again") != 1 {
			t.Errorf("the resolver is back: got error %q, logged %d times", status.ResolveError, f.logged("resolves again"))
		}
	})
}

// A name that does not resolve is asked again soon, then less often.
func TestResolveRetries(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		s := snapshotOf(t, nil, health(), "a="+named)
		server := serverOf(s, "a")
		f.Update(s)
		if err := f.WaitFirstRound(t.Context()); err != nil {
			t.Fatal(err)
		}
		if isUp(server) {
			t.Error("a server whose name does not resolve is up after its first check")
		}
		if err := f.dial(t, server); !errors.Is(err, errNoAddress) {
			t.Errorf("Dial: got %v; want %v", err, errNoAddress)
		}
		time.Sleep(5 * time.Minute)
		f.net.mu.Lock()
		lookups := f.net.lookups
		f.net.mu.Unlock()
		for i := range len(lookups) - 1 {
			want := min(time.Second<<i, ResolveInterval)
			if gap := lookups[i+1].Sub(lookups[i]); !about(gap, want) {
				t.Errorf("lookup %d came %v after the one before; want about %v", i+1, gap, want)
			}
		}
		if len(lookups) < 10 {
			t.Errorf("got %d lookups in 5 minutes; want about 14", len(lookups))
		}
		// When it resolves at last, the server is checked at once.
		f.net.name("web.example", "10.0.0.1")
		f.net.set(accept, a)
		time.Sleep(33*time.Second + 2*firstRetry)
		if !isUp(server) {
			t.Error("the name resolves and the server accepts, and it is down")
		}
	})
}

// After a success the next failure is followed by a lookup soon, again.
func TestResolveRetriesSoonAgain(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		h := health()
		h.Type = route.HealthNone
		f.Update(snapshotOf(t, nil, h, "a="+named))
		time.Sleep(5 * time.Minute)
		f.net.name("web.example", "10.0.0.1")
		time.Sleep(time.Minute)
		f.net.name("web.example")
		synctest.Wait()
		n := f.net.lookedUp()
		time.Sleep(34 * time.Second)
		if got := f.net.lookedUp() - n; got < 2 {
			t.Errorf("in 34s after the name stopped resolving it was looked up %d times; want a first and a second time", got)
		}
	})
}

// The addresses of the name before, when they come late, are not those of the
// name after.
func TestUpdateForgetsLookupsOnTheirWay(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		release := make(chan struct{})
		f.net.name("web.example", "10.0.0.1")
		f.net.failLookups(func(string) error {
			f.net.mu.Unlock()
			<-release
			f.net.mu.Lock()
			return nil
		})
		s := snapshotOf(t, nil, health(), "a="+named)
		f.Update(s)
		synctest.Wait()
		s = snapshotOf(t, s, health(), "a="+b)
		f.Update(s)
		close(release)
		synctest.Wait()
		if got := addresses(serverOf(s, "a")); got != nil {
			t.Errorf("got addresses %v of the name before", got)
		}
	})
}

// New addresses of a server that is down are tried at once.
func TestNewAddressOfDeadServer(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.name("web.example", "10.0.0.1")
		f.net.set(accept, b)
		h := health()
		h.Interval = time.Hour
		s := snapshotOf(t, nil, h, "a="+named)
		f.Update(s)
		time.Sleep(30 * time.Minute)
		f.net.name("web.example", "10.0.0.2")
		time.Sleep(34 * time.Second)
		if !isUp(serverOf(s, "a")) {
			t.Error("the server has moved to an address that accepts, and is down")
		}
	})
}

// Dial does not make a lookup of its own while the first one is on its way,
// and makes one when nobody else does.
func TestDialOfUnresolvedName(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		release := make(chan struct{})
		f.net.name("web.example", "10.0.0.1")
		f.net.set(accept, a)
		f.net.failLookups(func(string) error {
			f.net.mu.Unlock() // others may look up meanwhile
			<-release
			f.net.mu.Lock()
			return nil
		})
		h := health()
		h.Type = route.HealthNone
		s := snapshotOf(t, nil, h, "a="+named)
		f.Update(s)
		synctest.Wait()
		results := make(chan error, 50)
		for range cap(results) {
			go func() { results <- f.dial(t, serverOf(s, "a")) }()
		}
		synctest.Wait()
		close(release)
		for range cap(results) {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := f.net.lookedUp(); n != 1 {
			t.Errorf("50 clients made %d lookups; want 1", n)
		}

		stranger := serverOf(snapshotOf(t, nil, h, "a="+named), "a")
		f.net.failLookups(nil)
		if err := f.dial(t, stranger); err != nil {
			t.Errorf("a server that the Monitor does not know: %v", err)
		}
	})
}

func TestDialGivesUpWaitingForName(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.failLookups(func(string) error {
			f.net.mu.Unlock()
			time.Sleep(time.Minute)
			f.net.mu.Lock()
			return nil
		})
		s := snapshotOf(t, nil, health(), "a="+named)
		f.Update(s)
		began := time.Now()
		if err := f.dial(t, serverOf(s, "a")); err == nil || time.Since(began) != 5*time.Second {
			t.Errorf("got %v after %v; want an error after the timeout, 5s", err, time.Since(began))
		}
		f.Update(snapshotOf(t, s, health(), "a="+a))
	})
}

func TestUpdateOfNames(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.name("web.example", "10.0.0.1")
		f.net.name("new.example", "10.0.0.2")
		f.net.set(accept, a, b, "10.0.0.1:2")
		s := snapshotOf(t, nil, health(), "a="+named)
		f.Update(s)
		synctest.Wait()

		s = snapshotOf(t, s, health(), "a=web.example:2")
		f.Update(s)
		synctest.Wait()
		if n := f.net.lookedUp(); n != 1 {
			t.Errorf("another port: got %d lookups; want the first only", n)
		}
		f.net.took("10.0.0.1:2", time.Now())
		if err := f.dial(t, serverOf(s, "a")); err != nil || len(f.net.took("10.0.0.1:2", time.Now())) != 1 {
			t.Errorf("another port: got %v; want a connection to it", err)
		}

		s = snapshotOf(t, s, health(), "a=new.example:1")
		f.Update(s)
		synctest.Wait()
		if got := addresses(serverOf(s, "a")); !slices.Equal(got, []string{"10.0.0.2"}) {
			t.Errorf("another name: got addresses %v; want 10.0.0.2", got)
		}

		s = snapshotOf(t, s, health(), "a="+a)
		f.Update(s)
		synctest.Wait()
		if got := addresses(serverOf(s, "a")); got != nil {
			t.Errorf("an IP address: got addresses %v of the name before", got)
		}
		n := f.net.lookedUp()
		time.Sleep(5 * time.Minute)
		if got := f.net.lookedUp(); got != n {
			t.Errorf("an IP address: the old name was looked up %d times more", got-n)
		}

		s = snapshotOf(t, s, health(), "a="+named)
		f.Update(s)
		synctest.Wait()
		if got := addresses(serverOf(s, "a")); !slices.Equal(got, []string{"10.0.0.1"}) {
			t.Errorf("a name again: got addresses %v; want 10.0.0.1", got)
		}
	})
}

func TestLookupCleansAddresses(t *testing.T) {
	t.Parallel()
	n := &network{}
	many := []string{"::ffff:10.0.0.1", "10.0.0.1", "2001:db8::1"}
	for i := range 3 * maxAddresses {
		many = append(many, fmt.Sprintf("10.0.1.%d", i))
	}
	n.name("web.example", many...)
	got, err := NewMonitor(Config{Resolver: n}).lookup(t.Context(), "web.example")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != maxAddresses || got[0].String() != "10.0.0.1" || got[1].String() != "2001:db8::1" {
		t.Errorf("got %v; want %d addresses, 10.0.0.1 once and first", got, maxAddresses)
	}
}

func TestIsName(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"10.0.0.1:1": false, "[::1]:1": false, "[fe80::1%eth0]:1": false, "unix:/x": false,
		"localhost:1": true, "a.example:1": true,
	} {
		a, err := parseAddress(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := isName(a); got != want {
			t.Errorf("isName(%s) = %v; want %v", address, got, want)
		}
	}
}
