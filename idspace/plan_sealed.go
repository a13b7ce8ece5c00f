package idspace

import (
	"math/big"

	"github.com/mintmark/mintmark/idspace/sealed"
)

// Sealed returns the function that reads sealed marks: in their text form
// where the ID is text (cookie, header, query, path and json), and raw
// elsewhere. It does not allocate.
func Sealed(set *sealed.Set) Sharer { return sealedFunction{set: set} }

type sealedFunction struct{ set *sealed.Set }

// Lookup implements Function.
func (f sealedFunction) Lookup(field Field, id []byte) (server uint32, generation uint8, ok bool) {
	switch {
	case field == FieldNone:
		return 0, 0, false
	case isText(field):
		return f.set.LookupText(id)
	default:
		return f.set.Lookup(id)
	}
}

// isText reports whether IDs in field are text.
func isText(field Field) bool {
	switch field {
	case FieldCookie, FieldHeader, FieldQuery, FieldPath, FieldJSON:
		return true
	default:
		return false
	}
}

// Share implements Sharer. In each generation, 2^64 blocks are marks of a
// server, and each has one text. That a block is a mark in two generations is
// counted twice: it is one block in 2^32 of them.
func (f sealedFunction) Share(field Field, server uint32) *big.Rat {
	bits := uint(8 * sealed.Size)
	if isText(field) {
		bits = 8 * sealed.TextSize
	}
	const nonceBits = 64
	return new(big.Rat).SetFrac(
		big.NewInt(int64(f.set.Generations(server))),
		new(big.Int).Lsh(big.NewInt(1), bits-nonceBits))
}
