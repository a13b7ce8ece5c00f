package backend

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// Dial connects to a server within timeout (0: only ctx bounds it), and counts
// the result as evidence about the server, unless ctx ends first. All
// addresses of a name are tried in turn, each for its part of the time left.
//
// The connection is what Config.Dial returned, unwrapped: with the default a
// *net.TCPConn or *net.UnixConn, between which the kernel can splice.
func (m *Monitor) Dial(ctx context.Context, s *route.Server, timeout time.Duration) (net.Conn, error) {
	began := time.Now()
	limited := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	w := m.find(s)
	var conn net.Conn
	err := m.eachAddress(limited, s.Config.Address, s.State, w, func(ctx context.Context, network, address string) error {
		var err error
		conn, err = m.cfg.Dial(ctx, network, address)
		return err
	})
	if w != nil && ctx.Err() == nil && !isLocal(err) {
		w.connected(s.Config.Address, err)
	}
	if m.cfg.OnDial != nil {
		m.cfg.OnDial(s, 0, time.Since(began), err)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to server %s: %w", s.Config.Name, err)
	}
	return conn, nil
}

// Target returns the address of a server for which connecting takes one
// connect(), so that whoever can do it without waiting need not call Dial. ok
// is false for unix sockets, for names with several addresses or none yet, and
// when Config.Dial is set. Connected has to be told how it went.
func (m *Monitor) Target(s *route.Server) (to netip.AddrPort, ok bool) {
	if m.ownDial {
		return netip.AddrPort{}, false
	}
	if to, ok := s.Literal(); ok {
		return to, to.Addr().Zone() == ""
	}
	if known := s.State.Addrs.Load(); known != nil && len(*known) == 1 {
		return netip.AddrPortFrom((*known)[0].Addr(), s.Config.Address.Port), true
	}
	return netip.AddrPort{}, false
}

// Connected counts a connect to what Target returned, as Dial counts its own.
// loop is the number of the event loop that connected.
func (m *Monitor) Connected(s *route.Server, loop int, took time.Duration, err error) {
	if w := m.find(s); w != nil && !isLocal(err) {
		w.connected(s.Config.Address, err)
	}
	if m.cfg.OnDial != nil {
		m.cfg.OnDial(s, loop, took, err)
	}
}

// eachAddress calls try with the addresses of a server until it returns nil,
// and returns nil then. The error joins those of all addresses. w is nil for a
// server without a watch.
func (m *Monitor) eachAddress(ctx context.Context, a route.Address, state *route.State, w *watch,
	try func(ctx context.Context, network, address string) error,
) error {
	if a.Network == "unix" {
		return try(ctx, a.Network, a.Host)
	}
	addrs, err := m.addresses(ctx, a, state, w)
	if err != nil {
		return err
	}
	// The one that last worked comes first: an address that times out must not
	// cost each connect its part of the time.
	first := 0
	if w != nil {
		if p := w.preferred.Load(); p != nil {
			first = max(0, slices.Index(addrs, *p))
		}
	}
	var errs []error
	for i := range addrs {
		at := (first + i) % len(addrs)
		err := tryWithin(ctx, len(addrs)-i, netip.AddrPortFrom(addrs[at], a.Port).String(), try)
		if err == nil {
			if w != nil && at != first {
				w.preferred.Store(&addrs[at])
			}
			return nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// tryWithin calls try with an equal part, one of parts, of the time left.
func tryWithin(ctx context.Context, parts int, address string, try func(ctx context.Context, network, address string) error) error {
	if end, ok := ctx.Deadline(); ok && parts > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(parts))
		defer cancel()
	}
	return try(ctx, "tcp", address)
}

// isLocal says whether the cause of err is this machine, so that it says
// nothing about a server. Of errors that are joined, as those of a server's
// addresses are, all must be.
func isLocal(err error) bool {
	if err == nil {
		return false
	}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return !slices.ContainsFunc(joined.Unwrap(), func(e error) bool { return !isLocal(e) })
	}
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, // descriptors
		syscall.ENOMEM, syscall.ENOBUFS, // memory
		syscall.EADDRNOTAVAIL, // ephemeral ports
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
