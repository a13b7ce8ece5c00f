// Package idspace gives owners disjoint parts of a space of session IDs and
// finds the owner of an ID.
package idspace

import "errors"

// An Owner is the name of a server or group that a space belongs to.
type Owner string

// A Rule writes down one space: exactly one of Range and Bits is set.
type Rule struct {
	// Owner is whom the space belongs to.
	Owner Owner
	// Fields binds the space to some fields; the zero set means any field.
	Fields FieldSet
	// Generation is the generation that the space belongs to.
	Generation uint8
	// Source says where the rule is written, for messages to people
	// ("pools[0].servers[1].ids[0]"). It has no meaning for lookups.
	Source string

	Range *Range
	Bits  *Bits
}

// A Range is the IDs whose first len(From) bytes lie between From and To,
// both included, compared as unsigned big-endian numbers. From and To have
// the same length, 1 to MaxRangeBytes.
type Range struct{ From, To []byte }

// MaxRangeBytes is the longest prefix that a Range compares.
const MaxRangeBytes = 32

// Bits is the IDs of which the bits selected by Mask equal those of one of
// Values. The window starts at Offset from the start of the ID. When FromEnd
// is set it applies to IDs of exactly IDLength bytes (0: of any length), and
// Offset counts from the end of the ID to the end of the window.
type Bits struct {
	Offset   int
	FromEnd  bool
	IDLength int // 0: any length that holds the window
	Mask     []byte
	Values   [][]byte
}

// A Match is what a table knows of an ID.
type Match struct {
	// Owner indexes Table.Owners.
	Owner int32
	// Rule indexes Table.Rules, -1 when a function decided.
	Rule int32
	// Generation is the generation under which the ID was minted.
	Generation uint8
}

// A Function finds the server number of an ID by computation. It must be
// safe for concurrent use and must not keep or change id. It should not
// allocate: it runs once for every ID that a balancer sees.
type Function interface {
	// Lookup returns the number of the server that minted id and the
	// generation it was minted under, and false if nobody minted it.
	Lookup(field Field, id []byte) (server uint32, generation uint8, ok bool)
}

// A Table is an immutable set of rules, or one function. It is safe for
// concurrent use.
type Table struct{}

// Compile builds the table of rules. Owners() lists every owner in the order of
// its first rule.
func Compile(rules []Rule) (*Table, error) { return nil, errors.ErrUnsupported }

// CompileFunction builds the table of a function. owners maps each server
// number to its owner.
func CompileFunction(fn Function, owners map[uint32]Owner) (*Table, error) {
	return nil, errors.ErrUnsupported
}

// Lookup finds the owner of an ID that stood in field. It does not allocate.
func (t *Table) Lookup(field Field, id []byte) (Match, bool) { return Match{}, false }

// Owners lists the owners; Match.Owner indexes it. The caller must not change it.
func (t *Table) Owners() []Owner { return nil }

// Rules lists the rules; Match.Rule indexes it. It is empty for a function.
// The caller must not change it.
func (t *Table) Rules() []Rule { return nil }
