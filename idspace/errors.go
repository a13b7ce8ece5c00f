package idspace

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
)

// MaxProblems is how many problems Compile lists. A file of a million rules
// that was written by a script with a mistake in it has a million problems,
// and nobody reads on after the first hundred.
const MaxProblems = 100

// A RuleError is a mistake in one rule by itself.
type RuleError struct {
	// Rule is the index of the rule in what Compile was given.
	Rule int
	// Source is the rule's Source; it may be empty.
	Source string
	// Reason says what is wrong.
	Reason string
	// Remedy says what to write instead.
	Remedy string
}

// Error names the rule, the reason and the remedy.
func (e *RuleError) Error() string {
	return fmt.Sprintf("%s: %s; %s", ruleName(e.Rule, e.Source), e.Reason, e.Remedy)
}

// An OverlapError is two rules that both claim an ID.
type OverlapError struct {
	// First and Second are the indexes of the rules in what Compile was
	// given; First is the smaller one.
	First, Second int
	// FirstRule and SecondRule are the rules themselves.
	FirstRule, SecondRule Rule
	// Fields is the fields in which both rules apply; the zero set means any.
	Fields FieldSet
	// Witness is an ID that both rules claim.
	Witness []byte
}

// Error names both rules, their owners and the witness.
func (e *OverlapError) Error() string {
	where := ""
	if e.Fields != 0 {
		where = " in " + e.Fields.String()
	}
	return fmt.Sprintf("%s and %s both claim the ID %s%s; change or remove one of them",
		describeRule(e.First, e.FirstRule), describeRule(e.Second, e.SecondRule), spellID(e.Witness), where)
}

// ruleName returns what a person calls the rule: where it is written, or else
// its position.
func ruleName(index int, source string) string {
	if source != "" {
		return source
	}
	return fmt.Sprintf("rule %d", index)
}

func describeRule(index int, r Rule) string {
	return fmt.Sprintf("%s (owner %q, %s)", ruleName(index, r.Source), r.Owner, r)
}

// maxSpelledID is how many bytes of an ID a message shows in full. Witnesses
// are as long as the IDs that rules speak of, up to 64 KiB.
const maxSpelledID = 64

// spellID spells id for people: in hexadecimal, and also as text if it is text.
func spellID(id []byte) string {
	s := hex.EncodeToString(id)
	if len(id) > maxSpelledID {
		head, tail := id[:maxSpelledID/2], id[len(id)-maxSpelledID/2:]
		return fmt.Sprintf("%x...%x (%d bytes)", head, tail, len(id))
	}
	if !bytes.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) {
		s += fmt.Sprintf(" (%q)", id)
	}
	return s
}

// problems collects errors up to MaxProblems.
type problems struct {
	errs []error
	more bool
}

// full reports whether no more problems will be listed, so that searching for
// them is in vain.
func (p *problems) full() bool { return p.more }

func (p *problems) add(err error) {
	if len(p.errs) == MaxProblems {
		p.more = true
		return
	}
	p.errs = append(p.errs, err)
}

// join returns all problems as one error, nil if there is none.
func (p *problems) join() error {
	if p.more {
		return errors.Join(append(p.errs[:len(p.errs):len(p.errs)],
			fmt.Errorf("there are more than %d problems: the rest is not listed", MaxProblems))...)
	}
	return errors.Join(p.errs...)
}
