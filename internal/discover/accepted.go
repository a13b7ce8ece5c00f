package discover

import (
	"bytes"
	"hash/maphash"
	"time"

	"github.com/mintmark/mintmark/internal/probe"
	"github.com/mintmark/mintmark/internal/route"
)

// maxSuspicions bounds the prefixes that are watched for one server, against
// clients that offer tickets of ever new names.
const maxSuspicions = 8

// A witness is what is kept of an accepted ticket: enough to tell its name and
// whether another ticket is a different one.
type witness struct {
	head [probe.MaxName]byte
	n    int    // bytes of head
	hash uint64 // of the whole ticket
}

func witnessOf(seed maphash.Seed, ticket []byte) *witness {
	w := &witness{hash: maphash.Bytes(seed, ticket)}
	w.n = copy(w.head[:], ticket)
	return w
}

// A suspicion is the unknown names of which a server accepted one ticket.
type suspicion struct {
	seen []witness // head cut to the server's name length, by n
}

// learn takes note of a ticket that a server accepted. Two different tickets
// with one prefix make a name: a single one could be chance, or a client's
// trick. It reports whether there is a new name.
//
// What may become a name is narrow. The server's probe must have found how
// long its names are; a prefix that another server has stays that server's.
func (l *loop) learn(server route.ServerName, w *witness) (news bool) {
	r := l.results[server]
	if r == nil || !Usable(r) || w.n < len(r.Name) {
		return false
	}
	prefix := w.head[:len(r.Name)]
	if l.names.taken(prefix) {
		return false
	}
	s := l.watch[server]
	if s == nil {
		s = &suspicion{}
		l.watch[server] = s
	}
	for i, old := range s.seen {
		if !bytes.Equal(old.head[:len(prefix)], prefix) {
			continue
		}
		if old.hash == w.hash {
			return false // the same ticket again
		}
		s.seen = append(s.seen[:i], s.seen[i+1:]...)
		return l.names.Saw(server, prefix, FromAccepted, time.Now())
	}
	if len(s.seen) == maxSuspicions {
		s.seen = s.seen[1:]
	}
	s.seen = append(s.seen, *w)
	return false
}

// taken reports whether any server has a name that prefix begins with, or
// that begins with prefix.
func (n *Names) taken(prefix []byte) bool {
	for _, names := range n.servers {
		for _, x := range names {
			if hasPrefix(prefix, x.Prefix) || hasPrefix(x.Prefix, prefix) {
				return true
			}
		}
	}
	return false
}

func hasPrefix(id, prefix []byte) bool { return bytes.HasPrefix(id, prefix) }
