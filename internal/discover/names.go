package discover

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/probe"
	"github.com/mintmark/mintmark/internal/route"
)

// maxNames bounds the names kept for one server, against one that shows a new
// name at each probe (stunnel with keys of its own shows parts of its memory).
// It is the number of keys that a server rotating every five minutes leaves
// behind in an hour and a half, twice what the busiest measured ones accept.
const maxNames = 16

// A Source says how a name came to be known.
type Source string

// The sources.
const (
	FromProbe    Source = "probe"    // the server's own tickets began with it
	FromAccepted Source = "accepted" // the server accepted tickets that began with it
)

// A Name is the first bytes of the tickets that one server mints or minted.
type Name struct {
	Prefix []byte
	Source Source
	// First and Last are when the name was first and last seen. A name is
	// forgotten a session lifetime after Last.
	First, Last time.Time
}

// Names is what is known of the servers of one pool. It is not safe for
// concurrent use.
type Names struct {
	lifetime time.Duration
	servers  map[route.ServerName][]Name
	// shared remembers the result of cross-resumption: whether two servers
	// that show one name accept each other's tickets of it.
	shared map[sharing]bool
}

// sharing is a name and two servers that show it, a < b.
type sharing struct {
	prefix string
	a, b   route.ServerName
}

// NewNames returns an empty Names. lifetime is how long a name is kept after
// it was last seen: the pool's session lifetime.
func NewNames(lifetime time.Duration) *Names {
	return &Names{
		lifetime: lifetime,
		servers:  make(map[route.ServerName][]Name),
		shared:   make(map[sharing]bool),
	}
}

// Saw records that server has the name prefix at the time now, and reports
// whether that is news: only news changes the table.
func (n *Names) Saw(server route.ServerName, prefix []byte, source Source, now time.Time) (news bool) {
	if source == FromProbe {
		news = n.yield(server, prefix)
	}
	names := n.servers[server]
	for i := range names {
		if bytes.Equal(names[i].Prefix, prefix) {
			names[i].Last = now
			if source == FromProbe {
				names[i].Source = FromProbe
			}
			return news
		}
	}
	// One name may begin with another when a short one was refined: a prefix
	// of 9 bytes that later probes show to be 8 long. The shorter is right.
	names = slices.DeleteFunc(names, func(old Name) bool { return bytes.HasPrefix(old.Prefix, prefix) })
	if slices.ContainsFunc(names, func(old Name) bool { return bytes.HasPrefix(prefix, old.Prefix) }) {
		return false
	}
	names = append(names, Name{Prefix: bytes.Clone(prefix), Source: source, First: now, Last: now})
	if len(names) > maxNames {
		oldest := slices.MinFunc(names, func(a, b Name) int { return a.Last.Compare(b.Last) })
		names = slices.DeleteFunc(names, func(x Name) bool { return bytes.Equal(x.Prefix, oldest.Prefix) })
	}
	n.servers[server] = names
	return true
}

// yield takes the name away from servers that only accepted tickets of it: a
// probe saw who mints them. It reports whether there was one.
func (n *Names) yield(to route.ServerName, prefix []byte) (changed bool) {
	for server, names := range n.servers {
		if server == to {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(names), func(x Name) bool {
			return x.Source == FromAccepted && bytes.Equal(x.Prefix, prefix)
		})
		if len(left) != len(names) {
			n.servers[server], changed = left, true
		}
	}
	return changed
}

// Expire forgets what is older than the session lifetime, and servers that
// keep does not have. It reports whether anything was forgotten.
func (n *Names) Expire(now time.Time, keep func(route.ServerName) bool) (changed bool) {
	for server, names := range n.servers {
		left := slices.DeleteFunc(slices.Clone(names), func(x Name) bool { return now.Sub(x.Last) > n.lifetime })
		if !keep(server) {
			left = nil
		}
		changed = changed || len(left) != len(names)
		if len(left) == 0 {
			delete(n.servers, server)
		} else {
			n.servers[server] = left
		}
	}
	maps.DeleteFunc(n.shared, func(k sharing, _ bool) bool { return !n.has(k.a, k.prefix) || !n.has(k.b, k.prefix) })
	return changed
}

func (n *Names) has(server route.ServerName, prefix string) bool {
	return slices.ContainsFunc(n.servers[server], func(x Name) bool { return string(x.Prefix) == prefix })
}

// Of returns the names of a server, the newest first.
func (n *Names) Of(server route.ServerName) []Name {
	names := slices.Clone(n.servers[server])
	slices.SortFunc(names, func(a, b Name) int { return b.First.Compare(a.First) })
	return names
}

// A Claim is a name that several servers show.
type Claim struct {
	Prefix  []byte
	Servers []route.ServerName // sorted
}

// Claims returns the names that more than one server shows, sorted.
func (n *Names) Claims() []Claim {
	by := make(map[string][]route.ServerName)
	for server, names := range n.servers {
		for _, x := range names {
			by[string(x.Prefix)] = append(by[string(x.Prefix)], server)
		}
	}
	var claims []Claim
	for _, prefix := range slices.Sorted(maps.Keys(by)) {
		if servers := by[prefix]; len(servers) > 1 {
			slices.Sort(servers)
			claims = append(claims, Claim{Prefix: []byte(prefix), Servers: servers})
		}
	}
	return claims
}

// Tested records whether a ticket with the name prefix, minted by one of the
// two servers, was accepted by the other.
func (n *Names) Tested(prefix []byte, a, b route.ServerName, accepted bool) {
	n.shared[sharingOf(prefix, a, b)] = accepted
}

// Untested returns the pairs of servers of c of which nobody knows yet whether
// they share the key.
func (n *Names) Untested(c Claim) [][2]route.ServerName {
	return slices.DeleteFunc(pairs(c), func(pair [2]route.ServerName) bool {
		_, known := n.tested(c.Prefix, pair)
		return known
	})
}

// tested returns what Tested recorded.
func (n *Names) tested(prefix []byte, pair [2]route.ServerName) (accepted, known bool) {
	accepted, known = n.shared[sharingOf(prefix, pair[0], pair[1])]
	return accepted, known
}

// pairs returns neighbours in c.Servers, which is enough to join all.
func pairs(c Claim) (out [][2]route.ServerName) {
	for i := 1; i < len(c.Servers); i++ {
		out = append(out, [2]route.ServerName{c.Servers[i-1], c.Servers[i]})
	}
	return out
}

func sharingOf(prefix []byte, a, b route.ServerName) sharing {
	if b < a {
		a, b = b, a
	}
	return sharing{string(prefix), a, b}
}

// proven reports whether all servers of c accept each other's tickets.
func (n *Names) proven(c Claim) bool {
	return !slices.ContainsFunc(pairs(c), func(pair [2]route.ServerName) bool {
		accepted, _ := n.tested(c.Prefix, pair)
		return !accepted
	})
}

// establishedFor is by how much a name has to be older at one server than at
// all others for that server to keep it: longer than the probes of one round
// are apart, so that two servers that show up together are on a par.
const establishedFor = time.Minute

// established returns the server that had the name of c long before the
// others: a server that copies a live name takes nothing away.
func (n *Names) established(c Claim) (route.ServerName, bool) {
	first := func(s route.ServerName) time.Time {
		i := slices.IndexFunc(n.servers[s], func(x Name) bool { return bytes.Equal(x.Prefix, c.Prefix) })
		return n.servers[s][i].First
	}
	servers := slices.Clone(c.Servers)
	slices.SortFunc(servers, func(a, b route.ServerName) int { return first(a).Compare(first(b)) })
	return servers[0], first(servers[1]).Sub(first(servers[0])) >= establishedFor
}

// An Alarm is a name that does not bind every server that shows it, and why.
type Alarm struct {
	Prefix  []byte
	Servers []route.ServerName
	Reason  string
}

// A Layout is what names come to: rules, and the groups that own some of them.
type Layout struct {
	Rules  []idspace.Rule
	Groups [][]route.ServerName // servers that share a key; each sorted
	Alarms []Alarm
}

// GroupName is the name of a group that was found, not configured.
func GroupName(servers []route.ServerName) route.GroupName {
	parts := make([]string, len(servers))
	for i, s := range servers {
		parts[i] = string(s)
	}
	return route.GroupName(strings.Join(parts, "+"))
}

// Layout turns the names into rules that do not overlap.
func (n *Names) Layout() Layout {
	var out Layout
	alarmed := make(map[string]bool)
	owners := make(map[string]idspace.Owner) // of names that more than one server shows
	for _, c := range n.Claims() {
		if !n.proven(c) {
			if first, ok := n.established(c); ok {
				owners[string(c.Prefix)] = idspace.Owner(first)
			} else {
				alarmed[string(c.Prefix)] = true
			}
			out.Alarms = append(out.Alarms, Alarm{c.Prefix, c.Servers, "these servers show the same name, but do not accept each other's tickets"})
			continue
		}
		owners[string(c.Prefix)] = idspace.Owner(GroupName(c.Servers))
		if !slices.ContainsFunc(out.Groups, func(g []route.ServerName) bool { return slices.Equal(g, c.Servers) }) {
			out.Groups = append(out.Groups, c.Servers)
		}
	}
	type bound struct {
		prefix []byte
		owner  idspace.Owner
	}
	var all []bound
	done := make(map[string]bool)
	for _, server := range slices.Sorted(maps.Keys(n.servers)) {
		for _, x := range n.servers[server] {
			key := string(x.Prefix)
			if alarmed[key] || done[key] {
				continue
			}
			done[key] = true
			owner, shared := owners[key]
			if !shared {
				owner = idspace.Owner(server)
			}
			all = append(all, bound{x.Prefix, owner})
		}
	}
	// A name that begins with another server's shorter one contradicts it:
	// neither can be believed.
	slices.SortFunc(all, func(a, b bound) int {
		return cmp.Or(cmp.Compare(len(a.prefix), len(b.prefix)), bytes.Compare(a.prefix, b.prefix))
	})
	dropped := make(map[int]bool)
	for i, a := range all {
		for j := i + 1; j < len(all); j++ {
			if bytes.HasPrefix(all[j].prefix, a.prefix) {
				dropped[i], dropped[j] = true, true
				out.Alarms = append(out.Alarms, Alarm{
					a.prefix,
					[]route.ServerName{route.ServerName(a.owner), route.ServerName(all[j].owner)},
					"the name of one begins with the name of the other",
				})
			}
		}
	}
	for i, b := range all {
		if !dropped[i] {
			out.Rules = append(out.Rules, ruleOf(b.owner, b.prefix))
		}
	}
	return out
}

// ruleOf binds a name to tickets: a TLS session_id never begins with one.
func ruleOf(owner idspace.Owner, prefix []byte) idspace.Rule {
	return idspace.Rule{
		Owner:  owner,
		Fields: idspace.Fields(idspace.FieldPSK, idspace.FieldTicket),
		Source: fmt.Sprintf("discovered name %s of %s", hex.EncodeToString(prefix), owner),
		Bits: &idspace.Bits{
			Mask:   bytes.Repeat([]byte{0xff}, len(prefix)),
			Values: [][]byte{prefix},
		},
	}
}

// Usable reports whether a probe's result has a name for n.
func Usable(r *probe.Result) bool { return len(r.Name) >= probe.MinName }
