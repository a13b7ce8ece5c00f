package backend

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestUpdateKeepsSchedule(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.set(accept, a)
		began := time.Now()
		s := snapshotOf(t, nil, health(), "a="+a)
		f.Update(s)
		for range 30 {
			time.Sleep(time.Second)
			s = snapshotOf(t, s, health(), "a="+a)
			f.Update(s)
		}
		at := f.net.took(a, began)
		if len(at) < 3 || len(at) > 4 {
			t.Fatalf("30 reloads in 30 seconds: got checks at %v; want one every 10s", at)
		}
		for i := 1; i < len(at); i++ {
			if !about(at[i]-at[i-1], 10*time.Second) {
				t.Errorf("got checks at %v; want one every 10s", at)
			}
		}

		// A shorter interval counts from the last check.
		last := began.Add(at[len(at)-1])
		faster := health()
		faster.Interval = 5 * time.Second
		s = snapshotOf(t, s, faster, "a="+a)
		f.Update(s)
		time.Sleep(9 * time.Second)
		next := f.net.took(a, last)
		if len(next) == 0 || next[0] > max(5500*time.Millisecond, time.Since(last)-9*time.Second) {
			t.Errorf("interval of 5s: got checks %v after the last; want the first at 5s or at once", next)
		}

		// State and history stay, and OnChange names the newest server.
		f.net.set(refuse, a)
		time.Sleep(20 * time.Second)
		s = snapshotOf(t, s, faster, "a="+a)
		f.Update(s)
		f.net.set(accept, a)
		time.Sleep(20 * time.Second)
		f.mu.Lock()
		if f.last != serverOf(s, "a") {
			t.Error("OnChange got the server of an old snapshot")
		}
		f.mu.Unlock()
		f.net.set(refuse, a)
		time.Sleep(20 * time.Second)
		if status, ok := f.Status(serverOf(s, "a")); isUp(serverOf(s, "a")) || !ok || status.Up || len(status.History) != 3 {
			t.Errorf("after a reload: got %+v, %v; want down and its history", status, ok)
		}
	})
}

func TestUpdateOfAddressChecksAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.net.set(accept, a)
		s := snapshotOf(t, nil, health(), "a="+a)
		f.Update(s)
		synctest.Wait()
		s = snapshotOf(t, s, health(), "a="+b)
		f.Update(s)
		synctest.Wait()
		if isUp(serverOf(s, "a")) {
			t.Error("the new address refuses; its first check must decide")
		}
		s = snapshotOf(t, s, health(), "a="+a)
		f.Update(s)
		synctest.Wait()
		if !isUp(serverOf(s, "a")) {
			t.Error("the old address accepts; its first check must decide")
		}
	})
}

func TestUpdateForgetsChecksOnTheirWay(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		release := make(chan struct{})
		f.net.set(func(context.Context) (net.Conn, error) {
			<-release
			return nil, syscall.ECONNREFUSED
		}, a)
		f.net.set(accept, b)
		s := snapshotOf(t, nil, health(), "a="+a)
		f.Update(s)
		synctest.Wait()
		s = snapshotOf(t, s, health(), "a="+b)
		f.Update(s)
		synctest.Wait()
		close(release)
		synctest.Wait()
		if !isUp(serverOf(s, "a")) {
			t.Error("a check of the old address brought the server down")
		}
	})
}

func TestUpdateStopsServersThatGo(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		var cancelled atomic.Bool
		f.net.set(func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			cancelled.Store(true)
			return nil, ctx.Err()
		}, a)
		f.net.set(accept, b)
		h := health()
		h.Timeout = time.Hour
		s := snapshotOf(t, nil, h, "a="+a, "b="+b)
		gone := serverOf(s, "a")
		f.Update(s)
		synctest.Wait()
		waited := make(chan error)
		go func() { waited <- f.WaitFirstRound(t.Context()) }()
		synctest.Wait()
		s = snapshotOf(t, s, h, "b="+b)
		f.Update(s)
		if err := <-waited; err != nil {
			t.Errorf("WaitFirstRound, while a server goes: %v", err)
		}
		synctest.Wait()
		if !cancelled.Load() {
			t.Error("the check of a server that has gone goes on")
		}
		if err := f.WaitFirstRound(t.Context()); err != nil {
			t.Errorf("WaitFirstRound waits for a server that has gone: %v", err)
		}
		if _, ok := f.Status(gone); ok {
			t.Error("a server that has gone has a status")
		}
		began := time.Now()
		f.net.took(a, began)
		time.Sleep(time.Minute)
		if at := f.net.took(a, began); len(at) != 0 {
			t.Errorf("a server that has gone is checked at %v", at)
		}
		if err := f.dial(t, gone); err == nil {
			t.Error("the server accepts?")
		}
		f.Update(nil)
		if _, ok := f.Status(serverOf(s, "b")); ok {
			t.Error("after Update(nil) there is a server")
		}
	})
}

func TestWaitFirstRound(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		if err := f.WaitFirstRound(t.Context()); err != nil {
			t.Errorf("without servers: got %v", err)
		}
		f.net.set(hang, a)
		s := snapshotOf(t, nil, health(), "a="+a)
		f.Update(s)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if err := f.WaitFirstRound(ctx); err == nil {
			t.Error("the check is not over, and WaitFirstRound returned nil")
		}
		if err := f.WaitFirstRound(t.Context()); err != nil {
			t.Errorf("got %v", err)
		}
		cancel()
		if err := f.WaitFirstRound(ctx); err != nil {
			t.Errorf("the round is over: got %v; want nil whatever ctx says", err)
		}
	})
}

func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture()
		f.net.set(hang, a)
		f.net.name("b.example", "10.0.0.2")
		f.net.set(hang, b)
		h := health()
		h.Timeout = time.Hour
		s := snapshotOf(t, nil, h, "a="+a, "b=b.example:1")
		f.Update(s) // before Run
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		synctest.Wait()
		if n := len(f.net.took(a, time.Now())); n != 1 {
			t.Errorf("a server from before Run was checked %d times; want once", n)
		}
		if err := f.Run(ctx); err == nil {
			t.Error("a second Run returned no error")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: got %v; want nil", err)
		}
		f.net.took(a, time.Now())
		for range 50 {
			f.Update(snapshotOf(t, nil, h, "a="+a, "c=c.example:1"))
			synctest.Wait()
		}
		if n := len(f.net.took(a, time.Now())); n != 0 {
			t.Errorf("after Run servers were checked %d times", n)
		}
	})
}
