package discover

import (
	"fmt"
	"hash/maphash"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/probe"
	"github.com/mintmark/mintmark/internal/route"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// spell writes a layout as lines, for comparison.
func spell(l Layout) string {
	var b strings.Builder
	for _, r := range l.Rules {
		fmt.Fprintf(&b, "%s: %s\n", r.Owner, r.Bits.Values[0])
	}
	for _, g := range l.Groups {
		fmt.Fprintf(&b, "group %s\n", GroupName(g))
	}
	for _, a := range l.Alarms {
		fmt.Fprintf(&b, "alarm %s %v\n", a.Prefix, a.Servers)
	}
	return b.String()
}

func TestLayout(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(n *Names)
		want string
	}{
		{"each its own", func(n *Names) {
			n.Saw("a", []byte("aaaa"), FromProbe, epoch)
			n.Saw("b", []byte("bbbb"), FromProbe, epoch)
			n.Saw("b", []byte("cccc"), FromProbe, epoch.Add(time.Hour)) // rotated
		}, "a: aaaa\nb: bbbb\nb: cccc\n"},
		{"a shared name that was not tested", func(n *Names) {
			n.Saw("a", []byte("aaaa"), FromProbe, epoch)
			n.Saw("b", []byte("aaaa"), FromProbe, epoch)
		}, "alarm aaaa [a b]\n"},
		{"a shared key", func(n *Names) {
			n.Saw("b", []byte("aaaa"), FromProbe, epoch)
			n.Saw("a", []byte("aaaa"), FromProbe, epoch)
			n.Tested([]byte("aaaa"), "b", "a", true)
		}, "a+b: aaaa\ngroup a+b\n"},
		{"two servers that only look alike", func(n *Names) {
			n.Saw("a", []byte("aaaa"), FromProbe, epoch)
			n.Saw("b", []byte("aaaa"), FromProbe, epoch)
			n.Saw("b", []byte("bbbb"), FromProbe, epoch)
			n.Tested([]byte("aaaa"), "a", "b", false)
		}, "b: bbbb\nalarm aaaa [a b]\n"},
		{"a server that copies a live name takes nothing away", func(n *Names) {
			n.Saw("victim", []byte("aaaa"), FromProbe, epoch)
			n.Saw("copy", []byte("aaaa"), FromProbe, epoch.Add(time.Hour))
			n.Tested([]byte("aaaa"), "victim", "copy", false)
		}, "victim: aaaa\nalarm aaaa [copy victim]\n"},
		{"one name begins with another", func(n *Names) {
			n.Saw("a", []byte("aaaa"), FromProbe, epoch)
			n.Saw("b", []byte("aaaabbbb"), FromProbe, epoch)
		}, "alarm aaaa [a b]\n"},
		{"a probe outdoes what was only accepted", func(n *Names) {
			n.Saw("b", []byte("aaaa"), FromAccepted, epoch)
			n.Saw("a", []byte("aaaa"), FromProbe, epoch.Add(time.Second))
		}, "a: aaaa\n"},
		{"more samples show a shorter name", func(n *Names) {
			n.Saw("a", []byte("aaaaXYZ"), FromProbe, epoch)
			n.Saw("a", []byte("aaaa"), FromProbe, epoch)
			n.Saw("a", []byte("aaaaQRS"), FromProbe, epoch)
		}, "a: aaaa\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := NewNames(24 * time.Hour)
			tt.do(n)
			if diff := cmp.Diff(tt.want, spell(n.Layout())); diff != "" {
				t.Errorf("layout (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	n := NewNames(time.Hour)
	n.Saw("a", []byte("old."), FromProbe, epoch)
	n.Saw("a", []byte("new."), FromProbe, epoch.Add(50*time.Minute))
	n.Saw("gone", []byte("gone"), FromProbe, epoch.Add(50*time.Minute))
	known := func(s route.ServerName) bool { return s != "gone" }
	if !n.Expire(epoch.Add(61*time.Minute), known) {
		t.Error("nothing was forgotten")
	}
	if got := spell(n.Layout()); got != "a: new.\n" {
		t.Errorf("got %q; want the new name of a alone", got)
	}
	if n.Expire(epoch.Add(61*time.Minute), known) {
		t.Error("forgot twice")
	}
	// What tests of a name have shown goes with the name.
	n.Saw("b", []byte("new."), FromProbe, epoch.Add(50*time.Minute))
	n.Tested([]byte("new."), "a", "b", true)
	n.Expire(epoch.Add(3*time.Hour), known)
	if len(n.shared) != 0 {
		t.Errorf("%d tests of names that are gone are kept", len(n.shared))
	}
}

// A server that shows a new name at each probe keeps a bounded number, the
// newest.
func TestNamesAreBounded(t *testing.T) {
	t.Parallel()
	n := NewNames(24 * time.Hour)
	for i := range 10 * maxNames {
		n.Saw("a", fmt.Appendf(nil, "%04d", i), FromProbe, epoch.Add(time.Duration(i)*time.Second))
	}
	got := n.Of("a")
	if len(got) != maxNames {
		t.Fatalf("%d names; want %d", len(got), maxNames)
	}
	if want := fmt.Sprintf("%04d", 10*maxNames-1); string(got[0].Prefix) != want {
		t.Errorf("the newest is %s; want %s", got[0].Prefix, want)
	}
}

// Whatever servers show, the rules compile: no ID has two owners.
func TestLayoutAlwaysCompiles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := NewNames(time.Hour)
		servers := []route.ServerName{"a", "b", "c", "d"}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			s := rapid.SampledFrom(servers).Draw(t, "server")
			prefix := []byte(rapid.StringMatching(`[xy]{4,6}`).Draw(t, "prefix"))
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				n.Saw(s, prefix, FromProbe, epoch.Add(time.Duration(rapid.IntRange(0, 1000).Draw(t, "at"))*time.Second))
			case 2:
				n.Saw(s, prefix, FromAccepted, epoch)
			case 3:
				n.Tested(prefix, s, rapid.SampledFrom(servers).Draw(t, "other"), rapid.Bool().Draw(t, "accepted"))
			}
		}
		if _, err := idspace.Compile(n.Layout().Rules); err != nil {
			t.Fatalf("compiling %s: %v", spell(n.Layout()), err)
		}
	})
}

func TestLearnFromAcceptedTickets(t *testing.T) {
	t.Parallel()
	seed := maphash.MakeSeed()
	newLoop := func() *loop {
		l := newLoop(&Config{}, Pool{Lifetime: time.Hour})
		l.names.Saw("a", []byte("aaaa"), FromProbe, epoch)
		l.names.Saw("b", []byte("bbbb"), FromProbe, epoch)
		l.results["a"] = &probe.Result{Name: []byte("aaaa")}
		l.results["b"] = &probe.Result{Name: []byte("bbbb")}
		return l
	}
	t.Run("two different tickets make a name", func(t *testing.T) {
		t.Parallel()
		l := newLoop()
		if l.learn("a", witnessOf(seed, []byte("newX-first"))) {
			t.Error("one ticket was enough")
		}
		if l.learn("a", witnessOf(seed, []byte("newX-first"))) {
			t.Error("the same ticket twice was enough")
		}
		if !l.learn("a", witnessOf(seed, []byte("newX-second"))) {
			t.Error("two tickets were not enough")
		}
		if got, want := spell(l.names.Layout()), "a: aaaa\nb: bbbb\na: newX\n"; got != want {
			t.Errorf("got %q; want %q", got, want)
		}
	})
	t.Run("a live name of another server is never taken", func(t *testing.T) {
		t.Parallel()
		l := newLoop()
		if l.learn("b", witnessOf(seed, []byte("aaaa-1"))) || l.learn("b", witnessOf(seed, []byte("aaaa-2"))) {
			t.Error("the name of a was bound to b")
		}
	})
	t.Run("a server of which nothing is known learns nothing", func(t *testing.T) {
		t.Parallel()
		l := newLoop()
		if l.learn("c", witnessOf(seed, []byte("cccc-1"))) || l.learn("c", witnessOf(seed, []byte("cccc-2"))) {
			t.Error("a name of unknown length was bound")
		}
	})
	t.Run("suspicions are bounded", func(t *testing.T) {
		t.Parallel()
		l := newLoop()
		for i := range 1000 {
			l.learn("a", witnessOf(seed, fmt.Appendf(nil, "%04d-x", i)))
		}
		if n := len(l.watch["a"].seen); n != maxSuspicions {
			t.Errorf("%d suspicions; want %d", n, maxSuspicions)
		}
	})
}

func TestCacheRoundTrip(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "names")
	log := slog.New(slog.DiscardHandler)
	n := NewNames(time.Hour)
	n.Saw("a", []byte("aaaa"), FromProbe, epoch)
	n.Saw("a", []byte("aaab"), FromAccepted, epoch.Add(time.Minute))
	n.Saw("b", []byte{0, 1, 2, 255}, FromProbe, epoch)
	n.save(path, log)
	got := NewNames(time.Hour)
	if err := got.read(path); err != nil {
		t.Fatal(err)
	}
	for _, s := range []route.ServerName{"a", "b"} {
		if diff := cmp.Diff(n.Of(s), got.Of(s)); diff != "" {
			t.Errorf("names of %s (-want +got):\n%s", s, diff)
		}
	}
}
