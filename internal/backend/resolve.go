package backend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

const (
	// ResolveInterval is the time between two lookups of a name, give or take
	// a tenth.
	ResolveInterval = 30 * time.Second
	// resolveRetry is the time to the next lookup after a failed one. It
	// doubles at each failure, up to ResolveInterval.
	resolveRetry = time.Second
	// lookupTimeout is how long one lookup may take.
	lookupTimeout = 5 * time.Second
	// maxAddresses is how many addresses of a name are used. It bounds what a
	// forged answer can make each connect try.
	maxAddresses = 16
)

// isName says whether the address has to be resolved.
func isName(a route.Address) bool {
	if a.Network == "unix" {
		return false
	}
	_, err := netip.ParseAddr(a.Host)
	return err != nil
}

// startResolve starts the loop that resolves the server's name, if it has one.
// The caller holds w.mu and m.mu.
func (w *watch) startResolve(ctx context.Context) {
	if !isName(w.target.address) {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	w.stopResolve = cancel
	first := make(chan struct{})
	w.resolved = first
	t := w.target
	w.m.wg.Go(func() { w.resolveLoop(ctx, t, first) })
}

// endResolve ends it. The caller holds w.mu.
func (w *watch) endResolve() {
	if w.stopResolve != nil {
		w.stopResolve()
		w.stopResolve, w.resolved = nil, nil
	}
	w.resolveError = nil
}

// resolveLoop looks the name up again and again, and closes first after the
// first time.
func (w *watch) resolveLoop(ctx context.Context, t target, first chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := resolveRetry
	for {
		select {
		case <-ctx.Done():
			if first != nil {
				close(first)
			}
			return
		case <-timer.C:
		}
		addrs, err := w.m.lookup(ctx, t.address.Host)
		w.resolvedTo(ctx, t, addrs, err)
		if first != nil {
			close(first)
			first = nil
		}
		wait := ResolveInterval
		if err != nil {
			wait, retry = retry, min(2*retry, ResolveInterval)
		} else {
			retry = resolveRetry
		}
		timer.Reset(time.Duration(float64(wait) * (1 + jitter*(2*rand.Float64()-1))))
	}
}

// resolvedTo takes the result of a lookup.
func (w *watch) resolvedTo(ctx context.Context, t target, addrs []netip.Addr, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		if w.resolveError == nil {
			w.m.log.Warn("name does not resolve, its last addresses stay in use", w.about(t, slog.String(keyReason, err.Error()))...)
		}
		w.resolveError = err
		return
	}
	if w.resolveError != nil {
		w.m.log.Info("name resolves again", w.about(t)...)
		w.resolveError = nil
	}
	before := w.state.Addrs.Load()
	if before != nil && sameAddrs(*before, addrs) {
		return // servers of names often take turns in the order of addresses
	}
	after := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		after[i] = netip.AddrPortFrom(a, t.address.Port)
	}
	w.state.Addrs.Store(&after)
	if before != nil {
		w.m.log.Info("name has new addresses", w.about(t, slog.Any(keyAddresses, addrs))...)
	}
	if !w.tally.up {
		// They may be of a server that works.
		w.checkedAt = time.Time{}
		w.nudge()
	}
}

// sameAddrs says whether both have the same addresses, in any order.
func sameAddrs(have []netip.AddrPort, addrs []netip.Addr) bool {
	return len(have) == len(addrs) && !slices.ContainsFunc(have, func(a netip.AddrPort) bool {
		return !slices.Contains(addrs, a.Addr())
	})
}

// lookup resolves a name to at least one and at most maxAddresses different
// addresses.
func (m *Monitor) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := m.cfg.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", host, err)
	}
	var addrs []netip.Addr
	for _, a := range found {
		// Resolvers return IPv4 addresses in IPv6 form too.
		if a = a.Unmap(); !slices.Contains(addrs, a) && len(addrs) < maxAddresses {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("resolving %s: %w", host, errNoAddress)
	}
	return addrs, nil
}

// errNoAddress is why a name that exists has no addresses.
var errNoAddress = errors.New("the name has no address")

// addresses returns the addresses of a server of network tcp. w is nil for a
// server without a watch.
func (m *Monitor) addresses(ctx context.Context, a route.Address, state *route.State, w *watch) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(a.Host); err == nil {
		return []netip.Addr{ip}, nil
	}
	if addrs := known(state); addrs != nil {
		return addrs, nil
	}
	if w != nil {
		if first := w.firstLookup(); first != nil {
			// Not a lookup of our own: a resolver in trouble must not be asked
			// once for every client.
			select {
			case <-first:
			case <-ctx.Done():
				return nil, fmt.Errorf("resolving %s: %w", a.Host, ctx.Err())
			}
			if addrs := known(state); addrs != nil {
				return addrs, nil
			}
			return nil, w.resolveFailure(a.Host)
		}
	}
	return m.lookup(ctx, a.Host)
}

// known returns the addresses that a name resolved to, nil before it did.
func known(state *route.State) []netip.Addr {
	ports := state.Addrs.Load()
	if ports == nil {
		return nil
	}
	addrs := make([]netip.Addr, len(*ports))
	for i, p := range *ports {
		addrs[i] = p.Addr()
	}
	return addrs
}

// firstLookup returns the channel that is closed after the first lookup, nil
// when no loop resolves.
func (w *watch) firstLookup() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.resolved
}

// resolveFailure returns why host has no known addresses.
func (w *watch) resolveFailure(host string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resolveError != nil {
		return w.resolveError
	}
	return fmt.Errorf("resolving %s: %w", host, context.Canceled) // the name is no longer the server's
}
