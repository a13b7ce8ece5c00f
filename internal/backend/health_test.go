package backend

import (
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

const a, b = "10.0.0.1:1", "10.0.0.2:1"

func isUp(s *route.Server) bool { return s.State.Up.Load() }

func TestFirstCheckDecides(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.set(accept, a)
		s := snapshotOf(t, nil, health(), "good="+a, "bad="+b)
		if !isUp(serverOf(s, "bad")) {
			t.Error("a server is down before anything is known of it")
		}
		f.Update(s)
		if err := f.WaitFirstRound(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !isUp(serverOf(s, "good")) || isUp(serverOf(s, "bad")) {
			t.Errorf("after the first round: got good up %v, bad up %v; want true, false", isUp(serverOf(s, "good")), isUp(serverOf(s, "bad")))
		}
	})
}

func TestFallAndRise(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		began := time.Now()
		f.net.set(accept, a)
		s := snapshotOf(t, nil, health(), "a="+a)
		server := serverOf(s, "a")
		f.Update(s)
		synctest.Wait()
		f.net.set(refuse, a)
		time.Sleep(23 * time.Second) // two checks more
		if !isUp(server) {
			t.Fatal("down after two failures; fall is 3")
		}
		time.Sleep(11 * time.Second)
		if isUp(server) {
			t.Fatal("up after three failures; fall is 3")
		}
		time.Sleep(time.Minute)
		at := f.net.took(a, began)
		for i := range len(at) - 1 {
			want := 10 * time.Second
			if i >= 3 { // it is down: soon, then at growing distances up to the interval
				want = min(firstRetry<<(i-3), want)
			}
			if gap := at[i+1] - at[i]; !about(gap, want) {
				t.Errorf("check %d came %v after the one before; want about %v", i+2, gap, want)
			}
		}
		if len(at) < 10 {
			t.Fatalf("got checks at %v; want 10 and more", at)
		}
		down := began.Add(at[3])
		f.net.set(accept, a)
		recovered := time.Now()
		time.Sleep(11*time.Second + firstRetry)
		if !isUp(server) {
			t.Fatal("down after two successes; rise is 2")
		}
		at = f.net.took(a, recovered)
		if len(at) < 2 || at[1]-at[0] != firstRetry {
			t.Errorf("successes of a server that is down came at %v; want the second %v after the first", at, firstRetry)
		}

		status, ok := f.Status(server)
		if !ok || !status.Up || status.LastError != "" || len(status.History) != 2 {
			t.Fatalf("got status %+v, %v; want up, two transitions", status, ok)
		}
		if h := status.History[0]; h.Up || !h.At.Equal(down) || !strings.Contains(h.Reason, "connection refused") {
			t.Errorf("got first transition %+v; want down at %v, connection refused", h, down)
		}
		if h := status.History[1]; !h.Up || !h.At.Equal(status.Since) {
			t.Errorf("got second transition %+v; want up at %v", h, status.Since)
		}
		if got := f.changed(); len(got) != 2 || !strings.HasPrefix(got[0], "a false: health check failed") || got[1] != "a true: health check succeeded" {
			t.Errorf("OnChange got %q; want down, then up", got)
		}
		if down, up := f.logged("server is down"), f.logged("server is up"); down != 1 || up != 1 {
			t.Errorf("logged down %d times and up %d times; want once each", down, up)
		}
	})
}

func TestCheckTimesOut(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.set(hang, a)
		s := snapshotOf(t, nil, health(), "a="+a)
		f.Update(s)
		time.Sleep(999 * time.Millisecond)
		if !isUp(serverOf(s, "a")) {
			t.Fatal("down before the timeout")
		}
		time.Sleep(2 * time.Millisecond)
		if isUp(serverOf(s, "a")) {
			t.Fatal("up after the timeout")
		}
	})
}

// What is wrong with this machine is not held against servers.
func TestLocalErrorsDoNotCount(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.set(accept, a)
		s := snapshotOf(t, nil, health(), "a="+a)
		f.Update(s)
		synctest.Wait()
		f.net.set(failWith(syscall.EMFILE), a)
		time.Sleep(time.Minute)
		for range 10 {
			if err := f.dial(t, serverOf(s, "a")); err == nil {
				t.Fatal("Dial succeeded without a descriptor")
			}
		}
		if !isUp(serverOf(s, "a")) {
			t.Error("the balancer has no descriptors, and the server is down")
		}
		if n := f.logged("health check could not be made"); n != 1 {
			t.Errorf("logged %d times that checks cannot be made; want once", n)
		}
		if status, _ := f.Status(serverOf(s, "a")); !strings.Contains(status.LastError, "too many open files") {
			t.Errorf("got last error %q; want too many open files", status.LastError)
		}
	})
}

func TestFailedConnectsBringDown(t *testing.T) {
	for _, kind := range []route.HealthType{route.HealthNone, route.HealthTCP} {
		t.Run(kind.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fixture) {
				f.net.set(accept, a)
				h := health()
				h.Type, h.Interval = kind, time.Hour
				s := snapshotOf(t, nil, h, "a="+a)
				server := serverOf(s, "a")
				f.Update(s)
				if err := f.WaitFirstRound(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.net.set(refuse, a)
				for _, ok := range []bool{false, false, true, false, false} {
					f.net.set(map[bool]func(context.Context) (net.Conn, error){true: accept, false: refuse}[ok], a)
					if err := f.dial(t, server); (err == nil) != ok {
						t.Fatalf("Dial: got %v; want success %v", err, ok)
					}
				}
				if !isUp(server) {
					t.Fatalf("down without three failed connects in a row: %q", f.changed())
				}
				if err := f.dial(t, server); err == nil {
					t.Fatal("Dial: got no error")
				}
				if isUp(server) {
					t.Fatal("up after three failed connects in a row")
				}
				if n := f.dials; n != 6 {
					t.Errorf("OnDial was called %d times; want 6", n)
				}
				// More of the same changes nothing.
				_ = f.dial(t, server)
				if got := f.changed(); len(got) != 1 || !strings.Contains(got[0], "3 connects in a row failed") || !strings.Contains(got[0], "refused") {
					t.Errorf("OnChange got %q; want one change, with the reason", got)
				}

				began := time.Now()
				f.net.took(a, began)
				f.net.set(accept, a)
				time.Sleep(firstRetry - time.Nanosecond)
				synctest.Wait()
				if at := f.net.took(a, began); len(at) != 0 {
					t.Errorf("the server was asked %v after it went down; want %v", at, firstRetry)
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				wants := map[route.HealthType]bool{route.HealthNone: true, route.HealthTCP: false}
				if isUp(server) != wants[kind] {
					t.Errorf("one success: got up %v; want %v", isUp(server), wants[kind])
				}
				time.Sleep(firstRetry)
				synctest.Wait()
				if !isUp(server) {
					t.Error("down after two successes")
				}
				time.Sleep(10 * time.Minute)
				if n := len(f.net.took(a, began)); kind == route.HealthNone && n != 1 {
					t.Errorf("a server without checks that is up was asked %d times; want once, to come up", n)
				}

				// And again: the count has begun anew.
				f.net.set(refuse, a)
				for i := range 3 {
					if !isUp(server) {
						t.Errorf("down after %d failed connects since it came up", i)
					}
					_ = f.dial(t, server)
				}
				f.net.set(accept, a)
				time.Sleep(firstRetry)
				synctest.Wait()
				if isUp(server) != wants[kind] {
					t.Errorf("one success, the second time: got up %v; want %v", isUp(server), wants[kind])
				}
			})
		})
	}
}

// A server that stays dead is asked for ever, and not too often.
func TestRetryWithoutChecks(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		h := health()
		h.Type = route.HealthNone
		s := snapshotOf(t, nil, h, "a="+a)
		f.Update(s)
		for range 3 {
			_ = f.dial(t, serverOf(s, "a"))
		}
		began := time.Now()
		f.net.took(a, began)
		time.Sleep(10 * time.Minute)
		if n := len(f.net.took(a, began)); n < 20 || n > 40 {
			t.Errorf("in 10 minutes a dead server was asked %d times; want about 8 and then twice a minute", n)
		}
	})
}

// A connect to the address before says nothing about the one after.
func TestConnectsOnTheirWayDoNotCountForNewAddress(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		release := make(chan struct{})
		f.net.set(func(context.Context) (net.Conn, error) {
			<-release
			return nil, syscall.ECONNREFUSED
		}, a)
		h := health()
		h.Type = route.HealthNone
		s := snapshotOf(t, nil, h, "a="+a)
		f.Update(s)
		ended := make(chan error)
		for range 5 {
			go func() { ended <- f.dial(t, serverOf(s, "a")) }()
		}
		synctest.Wait()
		after := snapshotOf(t, s, h, "a="+b)
		f.Update(after)
		close(release)
		for range 5 {
			if err := <-ended; err == nil {
				t.Error("Dial: got no error")
			}
		}
		if status, _ := f.Status(serverOf(after, "a")); !status.Up || status.FailedConnects != 0 {
			t.Errorf("got up %v, %d failed connects; want up, none", status.Up, status.FailedConnects)
		}
	})
}

// A client that goes away is no evidence, and nothing is done for it any more.
func TestCancelledConnectsDoNotCount(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.set(hang, a)
		h := health()
		h.Type = route.HealthNone
		s := snapshotOf(t, nil, h, "a="+a)
		f.Update(s)
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := f.Dial(ctx, serverOf(s, "a"), time.Minute); err == nil {
				t.Fatal("Dial: got no error")
			}
			cancel()
		}
		if !isUp(serverOf(s, "a")) {
			t.Error("clients went away, and the server is down")
		}
		f.net.name("web.example", "10.0.0.1", "10.0.0.2")
		f.net.took(b, time.Now())
		named := serverOf(snapshotOf(t, nil, h, "a="+named), "a")
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := f.Dial(ctx, named, time.Minute); err == nil {
			t.Fatal("Dial: got no error")
		}
		if n := len(f.net.took(b, time.Now())); n != 0 {
			t.Error("a client went away, and its second address was tried")
		}
		for range 3 {
			_, _ = f.Dial(t.Context(), serverOf(s, "a"), time.Second)
		}
		if isUp(serverOf(s, "a")) {
			t.Error("connects timed out, and the server is up")
		}
	})
}

// The result of a check that began before an Update is not taken after it.
// Checks of many servers do not run all at once. The bound is lowered here:
// hundreds of timers that fire at the same moment of a bubble crash the race
// detector of Go 1.26 (golang/go#78156).
func TestChecksAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		const bound = 5
		f.slots = make(chan struct{}, bound)
		var now, most atomic.Int64
		do := func(ctx context.Context) (net.Conn, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			return hang(ctx)
		}
		var servers []string
		for i := range 4 * bound {
			address := "10.1.0." + strconv.Itoa(i) + ":1"
			f.net.set(do, address)
			servers = append(servers, "s"+strconv.Itoa(i)+"="+address)
		}
		s := snapshotOf(t, nil, health(), servers...)
		f.Update(s)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.Run(ctx) }()
		synctest.Wait()
		if n := now.Load(); n != bound {
			t.Errorf("%d checks run at once; want %d", n, bound)
		}
		if err := f.WaitFirstRound(ctx); err != nil {
			t.Error(err)
		}
		if n := most.Load(); n != bound {
			t.Errorf("at most %d checks ran at once; want %d", n, bound)
		}
		if slices.ContainsFunc(s.Pools["web"].Servers, isUp) {
			t.Error("a server that hangs is up")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if n := cap(newFixture().slots); n != maxChecks {
		t.Errorf("the bound is %d; want %d", n, maxChecks)
	}
}

// The history keeps the last transitions only.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	var h []Transition
	for i := range 3 * historySize {
		h = remember(h, Transition{Reason: strconv.Itoa(i)})
	}
	if len(h) != historySize || h[0].Reason != strconv.Itoa(2*historySize) || h[historySize-1].Reason != strconv.Itoa(3*historySize-1) {
		t.Errorf("got %d transitions from %s to %s; want the last %d", len(h), h[0].Reason, h[len(h)-1].Reason, historySize)
	}
}
