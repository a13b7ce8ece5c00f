package idspace

import (
	"fmt"
	"time"
)

// A ReserveError says that the reserve of a generation does not hold what the
// members need. The remedy for ranges and bits is to open a generation, which
// is divided anew; server numbers are the same in all generations of sealed.
type ReserveError struct {
	Kind SchemeKind
	// Generation is the number of the generation.
	Generation uint64
	// Owners are the members that lack values, sorted by name.
	Owners []Owner
	// Need is how many values they lack, and Free how many the reserve has.
	Need, Free uint64
}

// Error names the generation, one of the owners, and the remedy.
func (e *ReserveError) Error() string {
	who := fmt.Sprintf("member %q needs", e.Owners[0])
	if n := len(e.Owners); n > 1 {
		who = fmt.Sprintf("%d members (%q is one) need", n, e.Owners[0])
	}
	return fmt.Sprintf("the reserve of generation %d is used up: %s %d more values and %d are left; %s",
		e.Generation, who, e.Need, e.Free, e.remedy())
}

func (e *ReserveError) remedy() string {
	if e.Kind == SchemeSealed {
		return "use smaller shares"
	}
	return "open a new generation"
}

// A SlotError says that all slots are taken, so that no generation can open.
type SlotError struct {
	// Generation is the number of the generation that is to be freed first:
	// of those that retire, the oldest.
	Generation uint64
	// RetiredAt is when it was retired; zero if nobody said when.
	RetiredAt time.Time
	// FreeAt is when its last session ends; zero if that is not known.
	FreeAt time.Time
}

// Error says which slot can be freed, and when.
func (e *SlotError) Error() string {
	s := fmt.Sprintf("all %d generation slots are taken; the first to be free is that of generation %d", PlanSlots, e.Generation)
	if !e.RetiredAt.IsZero() {
		s += ", retired " + e.RetiredAt.Format(time.RFC3339)
	}
	if !e.FreeAt.IsZero() {
		s += ", whose last session ends " + e.FreeAt.Format(time.RFC3339)
	}
	return s + "; declare it dead when none of its IDs is left"
}

// A MarkError says that marks are too short to give each share a value.
type MarkError struct {
	Kind SchemeKind
	// MarkBits is the longest mark that was tried.
	MarkBits int
	// Shares is the sum of all shares, and Values what there is to divide.
	Shares, Values uint64
}

// Error says what there is too much of.
func (e *MarkError) Error() string {
	return fmt.Sprintf("the shares add up to %d, and the longest mark of scheme %s (%d bits) has %d values to divide; use smaller shares%s",
		e.Shares, e.Kind, e.MarkBits, e.Values, e.alternative())
}

func (e *MarkError) alternative() string {
	if e.Kind == SchemeBits {
		return " or scheme ranges"
	}
	return " or a smaller reserve"
}
