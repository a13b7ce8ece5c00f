package idspace

import (
	"bytes"
	"fmt"
)

// ruleChecker looks for mistakes in rules by themselves.
type ruleChecker struct {
	problems *problems
	shapes   map[bitsShape]struct{}
	entries  int
	// tooMany says that the rules exceed a limit of tables. There is no point
	// in checking more of them, and no bound for what it would take.
	tooMany bool
}

// check reports whether r, the rule at index, can be compiled, and adds to the
// problems why not.
func (c *ruleChecker) check(index int, r *Rule) bool {
	ok := true
	complain := func(remedy, reason string, args ...any) {
		ok = false
		c.problems.add(&RuleError{Rule: index, Source: r.Source, Reason: fmt.Sprintf(reason, args...), Remedy: remedy})
	}
	if r.Owner == "" {
		complain("name the server or group that the space belongs to", "the rule has no owner")
	}
	if extra := r.Fields &^ everyField; extra != 0 {
		complain("bind the rule to fields that IDs stand in, or to none for all",
			"no ID ever stands in the field %s", extra)
	}
	switch {
	case r.Range != nil && r.Bits != nil:
		complain("make two rules of them", "the rule has both a range and bits")
	case r.Range != nil:
		checkRange(r.Range, complain)
		c.entries++
	case r.Bits != nil:
		checkBits(r.Bits, complain)
		c.entries += len(r.Bits.Values)
	default:
		complain("write a range or bits", "the rule has neither a range nor bits")
	}
	if c.entries > MaxEntries {
		c.tooMany = true
		complain("split the pool, or write neighbouring values as one range",
			"with this rule the table has more than %d ranges and values", MaxEntries)
	}
	if ok && r.Bits != nil {
		shape, _ := r.Bits.shape()
		c.shapes[shape] = struct{}{}
		if len(c.shapes) > MaxShapes {
			c.tooMany = true
			complain("give bits rules the same offset, mask and ID length, and tell owners apart by their values",
				"with this rule the table has more than %d shapes of bits (offset, direction, ID length, mask)", MaxShapes)
		}
	}
	return ok
}

func checkRange(r *Range, complain func(remedy, reason string, args ...any)) {
	from, to := len(r.From), len(r.To)
	switch {
	case from != to:
		complain("write both with the same number of bytes", "%s: from has %d bytes and to has %d", r, from, to)
	case from == 0:
		complain(fmt.Sprintf("write bounds of 1 to %d bytes", MaxRangeBytes), "the range has empty bounds")
	case from > MaxRangeBytes:
		complain(fmt.Sprintf("write the first %d bytes or fewer", MaxRangeBytes),
			"the bounds of the range have %d bytes, and %d are allowed", from, MaxRangeBytes)
	case bytes.Compare(r.From, r.To) > 0:
		complain("swap them", "%s: from is greater than to", r)
	}
}

func checkBits(b *Bits, complain func(remedy, reason string, args ...any)) {
	what := "mask"
	if b.isText() {
		what = "text"
	}
	switch {
	case len(b.Mask) == 0:
		complain(fmt.Sprintf("write a %s of 1 to %d bytes", what, MaxMaskBytes), "the %s is empty", what)
	case len(b.Mask) > MaxMaskBytes:
		complain("compare fewer bytes", "the %s has %d bytes, and %d are allowed", what, len(b.Mask), MaxMaskBytes)
	case len(bytes.Trim(b.Mask, "\x00")) == 0:
		complain("set the bits that tell owners apart", "the mask %x selects no bit", b.Mask)
	}
	if b.Offset < 0 || b.Offset > MaxOffset {
		complain(fmt.Sprintf("write 0 to %d", MaxOffset), "the offset is %d", b.Offset)
	}
	switch {
	case b.IDLength < 0 || b.IDLength > MaxIDLength:
		complain(fmt.Sprintf("write 1 to %d, or 0 for any length", MaxIDLength), "the ID length is %d", b.IDLength)
	case b.IDLength != 0 && b.Offset >= 0 && b.Offset+len(b.Mask) > b.IDLength:
		complain("state the length that the IDs really have, or move the window",
			"IDs of %d bytes do not hold %d bytes at offset %d", b.IDLength, len(b.Mask), b.Offset)
	}
	if len(b.Values) == 0 {
		complain("list at least one", "the bits have no values")
	}
	for _, value := range b.Values {
		if len(value) != len(b.Mask) {
			complain("write values as long as the mask",
				"the value %x has %d bytes and the mask %x has %d", value, len(value), b.Mask, len(b.Mask))
			continue
		}
		if inside := maskBytes(value, b.Mask); !bytes.Equal(inside, value) {
			complain(fmt.Sprintf("write %x, or select more bits", inside),
				"the value %x has bits that the mask %x does not select", value, b.Mask)
		}
	}
}

func maskBytes(value, mask []byte) []byte {
	masked := make([]byte, len(mask))
	for i := range masked {
		masked[i] = value[i] & mask[i]
	}
	return masked
}
