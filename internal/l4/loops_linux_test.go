package l4_test

import (
	"context"
	"net"
	"testing"

	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/l4/l4test"
	"github.com/mintmark/mintmark/internal/reactor"
)

// startLoops runs event loops until the test and its parallel parts have
// ended.
func startLoops(t testing.TB) *reactor.Group {
	t.Helper()
	g, err := reactor.New(2)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("running the loops: %v", err)
		}
		g.Close()
	})
	return g
}

// onLoops is a Proxy that accepts on its loops.
type onLoops struct{ *l4.Proxy }

func (e onLoops) Serve(ctx context.Context, ln net.Listener) error {
	l, err := reactor.Detach(ln)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }() // whatever it says
	return e.Proxy.Serve(ctx, l)
}

// TestLoopSuite runs the behaviour that every engine must show on event loops,
// which accept and connect by themselves.
func TestLoopSuite(t *testing.T) {
	t.Parallel()
	g := startLoops(t)
	l4test.Suite(t, func(cfg l4.Config, s *l4.Settings) l4test.Engine {
		cfg.Loops = g
		return onLoops{l4.New(cfg, s)}
	})
}

// onlyDials is a Dialer and nothing more.
type onlyDials struct{ l4.Dialer }

// TestLoopHandedOver runs it with connections that are accepted elsewhere, and
// with servers that only a goroutine can connect to.
func TestLoopHandedOver(t *testing.T) {
	t.Parallel()
	g := startLoops(t)
	l4test.Suite(t, func(cfg l4.Config, s *l4.Settings) l4test.Engine {
		cfg.Loops = g
		cfg.Dialer = onlyDials{cfg.Dialer}
		return l4.New(cfg, s)
	})
}

// TestLoopAllocations holds that forwarding on event loops allocates nothing.
func TestLoopAllocations(t *testing.T) { forwardAllocations(t, startLoops(t)) }

// TestLoopConnSize bounds what an idle connection costs: there is one of these
// for each, and a slot and a timer of its loop.
func TestLoopConnSize(t *testing.T) {
	t.Parallel()
	if l4.LoopConnSize > 512 {
		t.Errorf("a connection takes %d bytes; want at most 512", l4.LoopConnSize)
	}
}
