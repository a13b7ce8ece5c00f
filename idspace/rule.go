package idspace

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

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
// Values. The window that is compared is as long as Mask and starts Offset
// bytes from the start of the ID or, when FromEnd is set, ends Offset bytes
// before the end of the ID.
type Bits struct {
	// Offset is 0 to MaxOffset bytes.
	Offset int
	// FromEnd counts Offset from the end of the ID to the end of the window.
	FromEnd bool
	// IDLength, if not 0, restricts the rule to IDs of exactly that many
	// bytes, at most MaxIDLength. 0 means any length that holds the window.
	IDLength int
	// Mask selects bits: 1 to MaxMaskBytes bytes, of which at least one bit
	// is set. Zero bytes at either end are part of the window: the ID must be
	// long enough to have them.
	Mask []byte
	// Values are as long as Mask, all different, and have no bit set that
	// Mask does not select.
	Values [][]byte
	// Text says that the values are text, for messages to people. It has no
	// meaning for lookups. Prefix and Suffix set it.
	Text bool
}

const (
	// MaxMaskBytes is the longest window that Bits compares. It keeps the
	// cost of a lookup small whatever the configuration says.
	MaxMaskBytes = 32
	// MaxOffset is the farthest that a window may stand from its end of the
	// ID. Browsers keep cookies of up to 4096 bytes, and no other ID is that
	// long except a TLS ticket, whose mark is at its head.
	MaxOffset = 4095
	// MaxIDLength is the longest ID that a rule can state: what the two-byte
	// length of a TLS ticket allows.
	MaxIDLength = 65535
)

// Prefix returns the Bits of the IDs that start with text, which has 1 to
// MaxMaskBytes bytes.
func Prefix(text string) *Bits { return wholeBytes(text, false) }

// Suffix returns the Bits of the IDs that end with text, which has 1 to
// MaxMaskBytes bytes.
func Suffix(text string) *Bits { return wholeBytes(text, true) }

func wholeBytes(text string, fromEnd bool) *Bits {
	return &Bits{
		FromEnd: fromEnd,
		Mask:    bytes.Repeat([]byte{0xff}, len(text)),
		Values:  [][]byte{[]byte(text)},
		Text:    true,
	}
}

// Matches reports whether an ID that stood in field lies in the space that r
// writes down. It is what a [Table] answers for all rules at once; it is meant
// for explanations and tests, and compares value by value. No ID that stood in
// FieldNone lies in any space.
func (r Rule) Matches(field Field, id []byte) bool {
	if field == FieldNone || field >= fieldCount || !r.Fields.Has(field) {
		return false
	}
	switch {
	case r.Range != nil:
		return r.Range.matches(id)
	case r.Bits != nil:
		return r.Bits.matches(id)
	default:
		return false
	}
}

func (r *Range) matches(id []byte) bool {
	n := len(r.From)
	return len(id) >= n && bytes.Compare(r.From, id[:n]) <= 0 && bytes.Compare(id[:n], r.To) <= 0
}

func (b *Bits) matches(id []byte) bool {
	if len(id) < b.Offset+len(b.Mask) || b.IDLength != 0 && len(id) != b.IDLength {
		return false
	}
	window := id[b.Offset:]
	if b.FromEnd {
		window = id[len(id)-b.Offset-len(b.Mask):]
	}
	for _, value := range b.Values {
		if equalMasked(window, value, b.Mask) {
			return true
		}
	}
	return false
}

func equalMasked(window, value, mask []byte) bool {
	for i, m := range mask {
		if window[i]&m != value[i] {
			return false
		}
	}
	return true
}

// String spells r for people, as a configuration file would say it:
//
//	range 4d000000-4d0000ff
//	bits offset 0 mask ffffffff value 4d4d0001
//	bits offset 2 from end mask ff id length 20 values 01, 02
//	prefix "b-" (field cookie)
//
// A long list of values is cut.
func (r Rule) String() string {
	var s string
	switch {
	case r.Range != nil && r.Bits != nil:
		s = r.Range.String() + " and " + r.Bits.String()
	case r.Range != nil:
		s = r.Range.String()
	case r.Bits != nil:
		s = r.Bits.String()
	default:
		s = "empty rule"
	}
	if r.Fields != 0 {
		s += " (field " + r.Fields.String() + ")"
	}
	return s
}

// String spells r as in "range 4d000000-4d0000ff".
func (r *Range) String() string { return fmt.Sprintf("range %x-%x", r.From, r.To) }

// maxSpelledValues is how many values of a Bits String spells out.
const maxSpelledValues = 4

// String spells b as in "bits offset 0 mask ffffffff value 4d4d0001", or, for
// text, as in `prefix "b-"`.
func (b *Bits) String() string {
	var s strings.Builder
	spell := hex.EncodeToString
	if b.isText() {
		spell = func(value []byte) string { return strconv.Quote(string(value)) }
		if b.FromEnd {
			s.WriteString("suffix")
		} else {
			s.WriteString("prefix")
		}
	} else {
		fmt.Fprintf(&s, "bits offset %d", b.Offset)
		if b.FromEnd {
			s.WriteString(" from end")
		}
		fmt.Fprintf(&s, " mask %x", b.Mask)
	}
	if b.IDLength != 0 {
		fmt.Fprintf(&s, " id length %d", b.IDLength)
	}
	if !b.isText() {
		s.WriteString(" value")
		if len(b.Values) != 1 {
			s.WriteString("s")
		}
	}
	for i, value := range b.Values {
		if i == maxSpelledValues {
			fmt.Fprintf(&s, " and %d more", len(b.Values)-i)
			break
		}
		if i > 0 {
			s.WriteString(",")
		}
		s.WriteString(" " + spell(value))
	}
	return s.String()
}

// isText reports whether b can be spelled as a prefix or suffix.
func (b *Bits) isText() bool {
	return b.Text && b.Offset == 0 && !slices.ContainsFunc(b.Mask, func(m byte) bool { return m != 0xff })
}

// copyRules returns copies of rules that share nothing with them. It makes few
// large allocations, because there may be a million rules.
func copyRules(rules []Rule) []Rule {
	var ranges, groups, values, size int
	for i := range rules {
		if r := rules[i].Range; r != nil {
			ranges++
			size += len(r.From) + len(r.To)
		}
		if b := rules[i].Bits; b != nil {
			groups++
			values += len(b.Values)
			size += len(b.Mask)
			for _, v := range b.Values {
				size += len(v)
			}
		}
	}
	copies := slices.Clone(rules)
	c := ruleCopier{
		ranges: make([]Range, 0, ranges),
		bits:   make([]Bits, 0, groups),
		values: make([][]byte, 0, values),
		bytes:  make([]byte, 0, size),
	}
	for i := range copies {
		c.replace(&copies[i])
	}
	return copies
}

// A ruleCopier is where copyRules puts the parts of rules. Its slices have
// room for all of them and never move.
type ruleCopier struct {
	ranges []Range
	bits   []Bits
	values [][]byte
	bytes  []byte
}

func (c *ruleCopier) replace(r *Rule) {
	if r.Range != nil {
		c.ranges = append(c.ranges, Range{From: c.copy(r.Range.From), To: c.copy(r.Range.To)})
		r.Range = &c.ranges[len(c.ranges)-1]
	}
	if r.Bits != nil {
		b := *r.Bits
		b.Mask = c.copy(b.Mask)
		first := len(c.values)
		for _, v := range b.Values {
			c.values = append(c.values, c.copy(v))
		}
		b.Values = c.values[first:len(c.values):len(c.values)]
		c.bits = append(c.bits, b)
		r.Bits = &c.bits[len(c.bits)-1]
	}
}

func (c *ruleCopier) copy(b []byte) []byte {
	first := len(c.bytes)
	c.bytes = append(c.bytes, b...)
	return c.bytes[first:len(c.bytes):len(c.bytes)]
}
