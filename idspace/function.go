package idspace

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
)

// A Function finds the server number of an ID by computation. It must be
// safe for concurrent use and must not keep or change id. It should not
// allocate: it runs once for every ID that a balancer sees.
type Function interface {
	// Lookup returns the number of the server that minted id and the
	// generation it was minted under, and false if nobody minted it.
	Lookup(field Field, id []byte) (server uint32, generation uint8, ok bool)
}

// A Sharer is a Function that can say how much of the space it gives to a
// server: the chance that it takes random bytes, of the length that it likes
// best, for an ID of that server. Without it a table has to assume that
// everything is assigned, and random IDs are not looked up.
type Sharer interface {
	Function
	// Share returns the share of server in field, 0 to 1. It may keep what it
	// returns and must not change it; nil means 0.
	Share(field Field, server uint32) *big.Rat
}

// CompileFunction builds the table of a function. owners maps each server
// number to its owner; a server may have several numbers. A number that is not
// among them belongs to nobody. Owners() lists the owners by their smallest
// server numbers.
func CompileFunction(fn Function, owners map[uint32]Owner) (*Table, error) {
	if fn == nil {
		return nil, errors.New("compiling a function: there is none")
	}
	if len(owners) > MaxEntries {
		return nil, fmt.Errorf("compiling a function: %d server numbers, and %d are allowed", len(owners), MaxEntries)
	}
	t := &Table{}
	f := &functionIndex{fn: fn, owners: make(map[uint32]int32, len(owners))}
	index := make(map[Owner]int32)
	for _, server := range slices.Sorted(maps.Keys(owners)) {
		owner := owners[server]
		if owner == "" {
			return nil, fmt.Errorf("compiling a function: server number %d has no owner; name one or leave it out", server)
		}
		f.owners[server] = t.intern(index, owner)
	}
	f.names = len(t.owners)
	t.function = f
	for field := FieldPSK; field < fieldCount; field++ {
		t.assigned[field] = floatUp(f.share(field).Total)
	}
	return t, nil
}

// A functionIndex is a function and what its server numbers mean.
type functionIndex struct {
	fn     Function
	owners map[uint32]int32 // server number to position in Table.owners
	names  int              // len(Table.owners)
}

func (f *functionIndex) find(field Field, id []byte) (Match, bool) {
	server, generation, ok := f.fn.Lookup(field, id)
	if !ok {
		return Match{}, false
	}
	owner, ok := f.owners[server]
	if !ok {
		return Match{}, false
	}
	return Match{Owner: owner, Rule: -1, Generation: generation}, true
}

func (f *functionIndex) share(field Field) Share {
	if field == FieldNone || field >= fieldCount {
		return f.noShare()
	}
	sharer, ok := f.fn.(Sharer)
	if !ok {
		return Share{Total: big.NewRat(1, 1)}
	}
	share := f.noShare()
	for server, owner := range f.owners {
		if s := sharer.Share(field, server); s != nil {
			share.Total.Add(share.Total, s)
			share.Owners[owner].Add(share.Owners[owner], s)
		}
	}
	return share
}

func (f *functionIndex) largestShare() Share {
	largest := f.noShare()
	for field := FieldPSK; field < fieldCount; field++ {
		share := f.share(field)
		if share.Owners == nil {
			return share
		}
		largest.Total = maxRat(largest.Total, share.Total)
		for i := range largest.Owners {
			largest.Owners[i] = maxRat(largest.Owners[i], share.Owners[i])
		}
	}
	return largest
}

func (f *functionIndex) noShare() Share {
	share := Share{Total: new(big.Rat), Owners: make([]*big.Rat, f.names)}
	for i := range share.Owners {
		share.Owners[i] = new(big.Rat)
	}
	return share
}

func maxRat(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) < 0 {
		return b
	}
	return a
}
