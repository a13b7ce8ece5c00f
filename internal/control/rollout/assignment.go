package rollout

import (
	"maps"
	"slices"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/idspace/sealed"
)

// A Use is what a server may do with the key of a space.
type Use struct {
	Space SpaceID `json:"space"`
	// Encrypt: it mints the space. Otherwise it accepts what was minted.
	Encrypt bool `json:"encrypt,omitempty"`
}

// An Assignment is what a server must do now.
type Assignment struct {
	// Version grows with each change of this server's assignment.
	Version uint64
	Server  ServerName
	Group   string
	Kind    idspace.SchemeKind
	// Keys are the server's own and its partners', newest generation first.
	Keys []AssignedKey
}

// An AssignedKey is one key of an assignment.
type AssignedKey struct {
	Use
	Grant
	// MarkBits is the length of the mark in bits.
	MarkBits int
	// MarkKey is the mark key of the generation, of sealed, in the server's
	// own keys only. It goes to servers that mint marks by themselves, and to
	// no agent of a stock server.
	MarkKey sealed.Key
}

// partners returns the other servers of the group of name, in order, those
// included that left and whose keys are still good.
func (p *Pool) partners(name ServerName) []ServerName {
	group := p.s.Servers[name].Group
	if group == "" {
		return nil
	}
	var all []ServerName
	for other, s := range p.s.Servers {
		if other != name && s.Group == group && s.RemovedAt == 0 {
			all = append(all, other)
		}
	}
	slices.SortFunc(all, compareNames)
	return all
}

// held reports whether all partners of the owner hold the key of a space, as
// far as somebody reports for them.
func (p *Pool) held(id SpaceID) bool {
	for _, name := range p.partners(id.Owner) {
		s := p.s.Servers[name]
		if !s.Agent || s.Ignored {
			continue
		}
		if _, ok := slices.BinarySearchFunc(s.Report.Held, id, SpaceID.compare); !ok {
			return false
		}
	}
	return true
}

// mintingGeneration returns the number of the generation that is minted.
func (p *Pool) mintingGeneration() uint64 {
	for _, g := range p.plan.Generations() {
		if g.State == idspace.StateMinting {
			return g.Number
		}
	}
	return 0 // never: every plan has one
}

// encrypts returns the space that the server mints by its present uses.
func (s *server) encrypts() (SpaceID, bool) {
	for _, u := range s.Uses {
		if u.Encrypt {
			return u.Space, true
		}
	}
	return SpaceID{}, false
}

// assign works out what each server may do, and notes what changed.
func (p *Pool) assign(at time.Time) {
	minted := p.mintingGeneration()
	for _, name := range p.sortedServers() {
		s := p.s.Servers[name]
		uses := p.uses(name, minted)
		if slices.Equal(uses, s.Uses) {
			continue
		}
		before, had := s.encrypts()
		p.s.Assigned++
		s.Version = p.s.Assigned
		s.Uses = uses
		now, has := s.encrypts()
		if had && (!has || now != before) {
			if sp, ok := p.s.Spaces[before]; ok {
				sp.Moved, sp.Since = s.Version, at
				if p.order.stopUnproven {
					sp.StoppedAt = at
				}
				p.s.Spaces[before] = sp
			}
		}
		if has && (!had || now != before) {
			sp := p.s.Spaces[now]
			sp.Offered, sp.Moved, sp.StoppedAt, sp.Since = true, 0, time.Time{}, at
			p.s.Spaces[now] = sp
		}
		p.s.Servers[name] = s
	}
	// What no server was ever told to mint has stopped by itself.
	for id, sp := range p.s.Spaces {
		if !sp.Offered && sp.StoppedAt.IsZero() && id.Generation < minted {
			sp.StoppedAt = at
			p.s.Spaces[id] = sp
		}
	}
}

// uses returns what a server may do, newest first.
func (p *Pool) uses(name ServerName, minted uint64) []Use {
	s := p.s.Servers[name]
	if s.RemovedAt != 0 {
		return nil
	}
	group := append(p.partners(name), name)
	var uses []Use
	for _, id := range p.sortedSpaces() {
		if p.s.Spaces[id].Grant != nil && (slices.Contains(group, id.Owner) || p.sharedBy(id, s.Group)) {
			uses = append(uses, Use{Space: id})
		}
	}
	slices.Reverse(uses)
	// It mints the newest that it may, and never one older than before.
	before, had := s.encrypts()
	for i := range uses {
		id := uses[i].Space
		if id.Owner != name || id.Generation > minted || had && id.Generation < before.Generation {
			continue
		}
		if id.Generation < minted && (!had || id != before) {
			continue // it was never minted and never will be
		}
		if id == before && had || p.held(id) || p.order.encryptBeforeHold {
			uses[i].Encrypt = true
			break
		}
	}
	return uses
}

// sharedBy reports whether a space of a server that left is of that group.
func (p *Pool) sharedBy(id SpaceID, group string) bool {
	s, ok := p.s.Servers[id.Owner]
	return ok && group != "" && s.Group == group && s.RemovedAt != 0
}

// Assignment returns what a server must do now, and false when it is not in
// the pool.
func (p *Pool) Assignment(name ServerName) (Assignment, bool) {
	s, ok := p.s.Servers[name]
	if !ok || s.RemovedAt != 0 || p.plan == nil {
		return Assignment{}, false
	}
	a := Assignment{Version: s.Version, Server: name, Group: s.Group, Kind: p.plan.Kind()}
	bits := make(map[uint64]int)
	for _, g := range p.plan.Generations() {
		bits[g.Number] = g.MarkBits
	}
	for _, u := range s.Uses {
		k := AssignedKey{Use: u, Grant: *p.s.Spaces[u.Space].Grant, MarkBits: bits[u.Space.Generation]}
		if u.Space.Owner == name && a.Kind == idspace.SchemeSealed {
			k.MarkKey = p.markKey(u.Space.Generation)
		}
		a.Keys = append(a.Keys, k)
	}
	return a, true
}

// markKey returns the mark key of a generation that is minted, or zero.
func (p *Pool) markKey(generation uint64) sealed.Key {
	for _, m := range p.plan.Members() {
		if a, err := p.plan.Mint(m.Owner); err == nil && a.Generation == generation {
			return a.Key
		}
	}
	return sealed.Key{}
}

// Servers returns the names of the servers that are in the pool, in order.
func (p *Pool) Servers() []ServerName {
	var all []ServerName
	for _, name := range slices.SortedFunc(maps.Keys(p.s.Servers), compareNames) {
		if p.s.Servers[name].RemovedAt == 0 {
			all = append(all, name)
		}
	}
	return all
}
