package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/l4"
)

// A socketKey names a listening socket by what it is bound to.
type socketKey struct{ network, address string }

func keyOf(a config.Address) socketKey { return socketKey{a.Network, a.Address} }

func (k socketKey) String() string {
	if k.network == "unix" {
		return "unix:" + k.address
	}
	return k.address
}

// inherited holds the sockets that systemd passed (LISTEN_FDS), until a
// listener of the configuration asks for them.
type inherited struct {
	listeners []inheritedListener
}

type inheritedListener struct {
	name string // LISTEN_FDNAMES, "" when unset
	ln   net.Listener
}

// take returns the inherited socket bound to k, or the one whose descriptor
// name (FileDescriptorName= in the .socket unit) is the listener's. Each is
// given out once.
func (in *inherited) take(k socketKey, name string) net.Listener {
	match := func(ok func(inheritedListener) bool) net.Listener {
		for i, l := range in.listeners {
			if ok(l) {
				in.listeners = append(in.listeners[:i:i], in.listeners[i+1:]...)
				return l.ln
			}
		}
		return nil
	}
	if ln := match(func(l inheritedListener) bool { return sameAddress(l.ln.Addr(), k) }); ln != nil {
		return ln
	}
	return match(func(l inheritedListener) bool { return l.name == name })
}

// close ends the sockets that nobody asked for and returns what they were
// bound to, so that the operator learns of the mismatch.
func (in *inherited) close() (unused []string) {
	for _, l := range in.listeners {
		unused = append(unused, l.ln.Addr().String())
		_ = l.ln.Close() // nothing was accepted from it
	}
	in.listeners = nil
	return unused
}

func sameAddress(a net.Addr, k socketKey) bool {
	if a.Network() != k.network {
		return false
	}
	if k.network == "unix" {
		return a.String() == k.address
	}
	want, err := net.ResolveTCPAddr("tcp", k.address)
	if err != nil {
		return false
	}
	got, ok := a.(*net.TCPAddr)
	if !ok || got.Port != want.Port {
		return false
	}
	return got.IP.Equal(want.IP) || (got.IP.IsUnspecified() && want.IP == nil)
}

// listen binds k. A unix socket file that nobody listens on, left by a
// process that was killed, is replaced; one that answers is not.
func listen(ctx context.Context, k socketKey) (net.Listener, error) {
	lc := l4.ListenConfig()
	ln, err := lc.Listen(ctx, k.network, k.address)
	if err == nil || k.network != "unix" || !removeStale(ctx, k.address) {
		return ln, err
	}
	return lc.Listen(ctx, k.network, k.address)
}

func removeStale(ctx context.Context, path string) bool {
	if strings.HasPrefix(path, "@") {
		return false // abstract sockets leave no file
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close() // somebody serves it: it is theirs
		return false
	}
	return os.Remove(path) == nil
}

// duplicate returns a second handle to the socket under ln. The first can be
// closed without a connection that waits in the socket's queue being lost.
func duplicate(ln net.Listener) (net.Listener, error) {
	type filer interface{ File() (*os.File, error) }
	f, ok := ln.(filer)
	if !ok {
		return nil, fmt.Errorf("duplicating socket %v: %w", ln.Addr(), errors.ErrUnsupported)
	}
	file, err := f.File()
	if err != nil {
		return nil, fmt.Errorf("duplicating socket %v: %w", ln.Addr(), err)
	}
	defer file.Close()
	dup, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("duplicating socket %v: %w", ln.Addr(), err)
	}
	// The path of a unix socket goes with the last handle, not with the first.
	if now, ok := dup.(*net.UnixListener); ok {
		if old, ok := ln.(interface{ SetUnlinkOnClose(bool) }); ok {
			old.SetUnlinkOnClose(false)
		}
		now.SetUnlinkOnClose(true)
	}
	return dup, nil
}
