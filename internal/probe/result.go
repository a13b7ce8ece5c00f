package probe

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// A Layout says how a server's tickets are built, as far as routing goes.
type Layout string

// The layouts. They are what `mintmark probe --json` prints.
const (
	// LayoutKeyName is a 16-byte name of the ticket key in front: OpenSSL,
	// BoringSSL, GnuTLS and most servers built on them.
	LayoutKeyName Layout = "key-name"
	// LayoutPrefix is a shorter stable prefix: the 4-byte key id of Java's
	// JSSE, or one that somebody chose.
	LayoutPrefix Layout = "prefix"
	// LayoutStateful is 32 random bytes: a session ID in the place of a
	// ticket, of a server whose tickets are turned off.
	LayoutStateful Layout = "stateful"
	// LayoutOpaque is a ticket without a stable byte: Go's crypto/tls.
	LayoutOpaque Layout = "opaque"
	// LayoutNone is no ticket at all.
	LayoutNone Layout = "none"
)

// Routable reports whether IDs of this layout name their server.
func (l Layout) Routable() bool { return l == LayoutKeyName || l == LayoutPrefix }

// A Result is what a probe found.
type Result struct {
	// Samples are what was seen with TLS 1.3 and with TLS 1.2, in this order.
	Samples []Sample
	// Layout is that of the tickets of both versions.
	Layout Layout
	// Name is the bytes, MinName to MaxName, that the last tickets begin with,
	// nil unless the layout is routable: what the server mints now.
	Name []byte
	// Names is all names that were seen, Name last. There are several when a
	// server changed its key during the probe, or balances over processes
	// with keys of their own.
	Names [][]byte
	// Stable is how many bytes all tickets have in common, not capped.
	Stable int
}

// Tickets returns the tickets of all versions.
func (r *Result) Tickets() []Ticket {
	var all []Ticket
	for _, s := range r.Samples {
		all = append(all, s.Tickets...)
	}
	return all
}

// statefulLength is the length of an OpenSSL session ID, which OpenSSL also
// uses as the TLS 1.3 "ticket" when tickets are turned off.
const statefulLength = 32

// minTickets is how many tickets must agree before their common bytes are a
// name; see DefaultConnections.
const minTickets = 3

// judge fills in the conclusions.
func (r *Result) judge() {
	var ids [][]byte
	for _, t := range r.Tickets() {
		ids = append(ids, t.ID)
	}
	ids = distinct(ids)
	if len(ids) == 0 {
		r.Layout = LayoutNone
		return
	}
	r.Stable = commonPrefix(ids)
	switch {
	case len(ids) >= minTickets && r.Stable >= MaxName:
		r.Layout, r.Names = LayoutKeyName, [][]byte{bytes.Clone(ids[0][:MaxName])}
	case len(ids) >= minTickets && r.Stable >= MinName:
		r.Layout, r.Names = LayoutPrefix, [][]byte{bytes.Clone(ids[0][:r.Stable])}
	case keyNames(ids) != nil:
		r.Layout, r.Names = LayoutKeyName, keyNames(ids)
	case allOfLength(ids, statefulLength):
		r.Layout = LayoutStateful
	default:
		r.Layout = LayoutOpaque
	}
	if n := len(r.Names); n > 0 {
		r.Name = r.Names[n-1]
	}
}

// maxKeyNames is how many names one probe may find. A server with a new name
// for each ticket has none that is worth keeping.
const maxKeyNames = 4

// keyNames returns the names of tickets that have different ones, in the order
// in which they were last seen; nil when any of them stands alone. That two
// tickets begin with the same 16 bytes by chance does not happen.
func keyNames(ids [][]byte) [][]byte {
	count := make(map[[MaxName]byte]int)
	var names [][]byte
	for _, id := range ids {
		if len(id) < MaxName {
			return nil
		}
		k := [MaxName]byte(id)
		count[k]++
		names = slices.DeleteFunc(names, func(n []byte) bool { return bytes.Equal(n, k[:]) })
		names = append(names, k[:])
	}
	if len(names) > maxKeyNames {
		return nil
	}
	for _, n := range count {
		if n < 2 {
			return nil
		}
	}
	return names
}

// distinct drops repeated tickets: a server that gives the same one twice
// must not make all of it look like a name.
func distinct(ids [][]byte) [][]byte {
	seen := make(map[string]bool, len(ids))
	var out [][]byte
	for _, id := range ids {
		if !seen[string(id)] {
			seen[string(id)] = true
			out = append(out, id)
		}
	}
	return out
}

func commonPrefix(ids [][]byte) int {
	n := len(ids[0])
	for _, id := range ids[1:] {
		n = min(n, len(id))
		for i := range n {
			if id[i] != ids[0][i] {
				n = i
				break
			}
		}
	}
	return n
}

func allOfLength(ids [][]byte, n int) bool {
	for _, id := range ids {
		if len(id) != n {
			return false
		}
	}
	return true
}

// Product guesses what minted the tickets, from their shape, for a hint to
// people; "" when nothing fits. Nothing is decided by it.
func (r *Result) Product() string {
	tickets := r.Tickets()
	if len(tickets) == 0 {
		return ""
	}
	id := tickets[0].ID
	switch {
	case r.Layout == LayoutKeyName && isGnuTLS(id):
		return "GnuTLS"
	case r.Layout == LayoutKeyName && r.Samples[0].OnRequest:
		return "BoringSSL"
	case r.Layout == LayoutKeyName:
		return "the OpenSSL family (nginx, HAProxy, Apache, lighttpd, Node.js, stunnel ...)"
	case r.Layout == LayoutPrefix && r.Stable == 4 && len(id) > 400:
		return "Java (JSSE)"
	case r.Layout == LayoutOpaque && len(id) < 140:
		return "Go (crypto/tls)"
	}
	return ""
}

// isGnuTLS looks for the length that GnuTLS writes after name and IV: that of
// the ciphertext, with which the ticket and its 20-byte MAC come out even.
func isGnuTLS(id []byte) bool {
	const at, mac = 32, 20
	if len(id) < at+2+mac {
		return false
	}
	return int(binary.BigEndian.Uint16(id[at:])) == len(id)-at-2-mac
}
