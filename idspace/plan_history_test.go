package idspace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/idspace/sealed"
)

// TestPlanHistories makes random changes and checks after each of them all
// that a plan promises, with a model that knows nothing of how plans are made:
// it remembers every value that somebody could mint, and some IDs.
func TestPlanHistories(t *testing.T) {
	for _, kind := range schemeKinds() {
		t.Run(string(kind), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				h := newHistory(t, kind)
				for range rapid.IntRange(1, 30).Draw(t, "changes") {
					h.change()
				}
			})
		})
	}
}

// cell is one value of one generation.
type cell struct{ generation, value uint64 }

// history is a plan and what the model remembers.
type history struct {
	t    *rapid.T
	kind SchemeKind
	plan *Plan
	now  time.Time
	// mintable is who could mint a value since it was last reserve: nobody
	// else may get it.
	mintable map[cell]Owner
	ids      []minted
	opened   map[uint64]bool // numbers of generations that there ever were
	keys     map[uint64]sealed.Key
}

// minted is an ID and its value.
type minted struct {
	cell
	owner Owner
	id    []byte
}

func newHistory(t *rapid.T, kind SchemeKind) *history {
	h := &history{
		t: t, kind: kind, now: time.Unix(1_800_000_000, 0),
		mintable: make(map[cell]Owner), opened: make(map[uint64]bool), keys: make(map[uint64]sealed.Key),
	}
	scheme := Scheme{Kind: kind}
	if kind != SchemeSealed {
		// Few values, so that they are used up.
		scheme.MarkBits = rapid.IntRange(minMarkBits, 11).Draw(t, "mark bits")
		scheme.Reserve = rapid.SampledFrom([]Fraction{{}, {0, 1}, {1, 5}, {3, 4}}).Draw(t, "reserve")
	}
	h.step(Change{Scheme: &scheme, Members: h.drawMembers(), Open: h.drawOpen()})
	for h.plan == nil {
		h.step(Change{Scheme: &scheme, Members: []Member{{"a", 1}}, Open: h.drawOpen()})
	}
	return h
}

func (h *history) drawMembers() []Member {
	owners := rapid.SliceOfNDistinct(rapid.SampledFrom([]Owner{"a", "b", "c", "d", "e", "f", "g", "h"}), 1, 8, rapid.ID).Draw(h.t, "owners")
	var members []Member
	for _, o := range owners {
		members = append(members, Member{o, rapid.Uint32Range(0, 5).Draw(h.t, "share of "+string(o))})
	}
	return members
}

func (h *history) drawOpen() *OpenGeneration {
	o := &OpenGeneration{Prepared: h.plan != nil && rapid.Bool().Draw(h.t, "prepared")}
	if h.kind == SchemeSealed {
		key, err := sealed.KeyFrom(binary.BigEndian.AppendUint64(make([]byte, 8), uint64(len(h.keys))+1))
		if err != nil {
			h.t.Fatal(err)
		}
		h.keys[uint64(len(h.keys))] = key
		o.Key = key
	}
	return o
}

// change makes one random change, of one or several parts.
func (h *history) change() {
	var c Change
	odds := func(name string, of int) bool { return rapid.IntRange(0, of-1).Draw(h.t, name) == 0 }
	h.now = h.now.Add(time.Duration(rapid.IntRange(0, 1e6).Draw(h.t, "seconds")) * time.Second)
	if !odds("time not known", 5) {
		c.At = h.now
	}
	if odds("members", 2) {
		c.Members = h.drawMembers()
	}
	if odds("open", 4) {
		c.Open = h.drawOpen()
	}
	if h.plan.inState(StatePrepared) != nil {
		c.StartMinting = odds("start minting", 3)
	}
	if odds("dead owner", 4) {
		c.DeadOwners = []Owner{rapid.SampledFrom([]Owner{"a", "b", "c", "d", "e", "f", "g", "h"}).Draw(h.t, "who")}
	}
	if odds("dead generation", 5) {
		g := rapid.SampledFrom(h.plan.Generations()).Draw(h.t, "which")
		c.DeadGenerations = []uint64{g.Number}
	}
	h.step(c)
}

// step makes c and checks the outcome.
func (h *history) step(c Change) {
	prev := h.plan
	var before []byte
	if prev != nil {
		before = prev.Encode()
	}
	next, err := NextPlan(prev, c)
	again, errAgain := NextPlan(prev, c)
	if prev != nil && !bytes.Equal(before, prev.Encode()) {
		h.t.Fatalf("the plan before was changed by %+v, from\n%s\nto\n%s", c, before, prev.Encode())
	}
	if err != nil {
		if errAgain == nil || err.Error() != errAgain.Error() {
			h.t.Fatalf("the same change gave %v and %v", err, errAgain)
		}
		h.checkRefusal(err)
		return
	}
	if errAgain != nil || !bytes.Equal(next.Encode(), again.Encode()) {
		h.t.Fatalf("the same change gave different plans:\n%s\n%s", next.Encode(), again.Encode())
	}
	if prev != nil {
		h.bury(prev, c)
	}
	h.plan = next
	h.checkDocument()
	h.checkGenerations(prev)
	h.checkOwners()
	h.checkShares()
	h.mint()
	h.checkIDs()
}

// checkRefusal checks that a change was refused for a reason.
func (h *history) checkRefusal(err error) {
	var full *ReserveError
	if errors.As(err, &full) && (full.Need <= full.Free || len(full.Owners) == 0) {
		h.t.Fatalf("refused without need: %v", err)
	}
	var slots *SlotError
	if errors.As(err, &slots) && len(h.plan.Generations()) < PlanSlots {
		h.t.Fatalf("refused with %d generations: %v", len(h.plan.Generations()), err)
	}
}

// bury forgets what the change declares dead: that alone may be given anew.
func (h *history) bury(prev *Plan, c Change) {
	dead := func(s Space) bool {
		if slices.Contains(c.DeadGenerations, s.Generation) {
			return true
		}
		if !slices.Contains(c.DeadOwners, s.Owner) || s.State != SpaceRetiring {
			return false
		}
		// In a generation that retires, members have what is retired with it.
		retiring := prev.generations[slices.IndexFunc(prev.generations, func(g generation) bool { return g.number == s.Generation })].state == StateRetiring
		return !retiring || !slices.ContainsFunc(prev.Members(), func(m Member) bool { return m.Owner == s.Owner })
	}
	gone := make(map[cell]bool)
	for _, s := range prev.Spaces() {
		if s.State != SpaceReserve && dead(s) {
			for v := s.First; v < s.First+s.Values; v++ {
				delete(h.mintable, cell{s.Generation, v})
				gone[cell{s.Generation, v}] = true
			}
		}
	}
	h.ids = slices.DeleteFunc(h.ids, func(m minted) bool { return gone[m.cell] })
}

// checkDocument checks that the plan is the same when it is read back.
func (h *history) checkDocument() {
	doc := h.plan.Encode()
	read, err := ParsePlan(doc)
	if err != nil {
		h.t.Fatalf("%v\n%s", err, doc)
	}
	if !bytes.Equal(read.Encode(), doc) {
		h.t.Fatalf("wrote\n%s\nand read\n%s", doc, read.Encode())
	}
	same, err := NextPlan(read, Change{})
	if err != nil || !bytes.Equal(same.Encode(), doc) {
		h.t.Fatalf("changing nothing gave %v, from\n%s", err, doc)
	}
	h.plan = read // histories go through documents
}

// checkGenerations checks slots and numbers.
func (h *history) checkGenerations(prev *Plan) {
	var slots [PlanSlots]bool
	before := make(map[uint64]bool)
	if prev != nil {
		for _, g := range prev.Generations() {
			before[g.Number] = true
		}
	}
	states := make(map[GenerationState]int)
	for _, g := range h.plan.Generations() {
		if slots[g.Slot] {
			h.t.Fatalf("slot %d is that of two generations", g.Slot)
		}
		slots[g.Slot] = true
		states[g.State]++
		if !before[g.Number] && h.opened[g.Number] {
			h.t.Fatalf("generation %d came back", g.Number)
		}
		h.opened[g.Number] = true
	}
	if states[StateMinting] != 1 {
		h.t.Fatalf("%d generations are minted", states[StateMinting])
	}
}

// checkOwners checks that nobody has what somebody else could mint.
func (h *history) checkOwners() {
	seen := make(map[cell]bool)
	number := make(map[uint64]Owner)
	for _, s := range h.plan.Spaces() {
		if s.State == SpaceReserve {
			continue
		}
		for v := s.First; v < s.First+s.Values; v++ {
			at := cell{s.Generation, v}
			if seen[at] {
				h.t.Fatalf("%v is in two spaces", at)
			}
			seen[at] = true
			if was, ok := h.mintable[at]; ok && was != s.Owner {
				h.t.Fatalf("%v was of %q and is of %q", at, was, s.Owner)
			}
			if was, ok := number[v]; h.kind == SchemeSealed && ok && was != s.Owner {
				h.t.Fatalf("server number %d is of %q and of %q", v, was, s.Owner)
			}
			number[v] = s.Owner
			h.mintable[at] = s.Owner
		}
	}
	for at, owner := range h.mintable {
		if !seen[at] {
			h.t.Fatalf("%v of %q is forgotten", at, owner)
		}
	}
}

// checkShares checks that sizes are in the ratio of shares, exactly.
func (h *history) checkShares() {
	for _, g := range h.plan.Generations() {
		if g.State == StateRetiring {
			continue
		}
		has := make(map[Owner]uint64)
		for _, s := range h.plan.Spaces() {
			if s.Generation == g.Number && (s.State == SpaceMinting || s.State == SpacePrepared) {
				has[s.Owner] += s.Values
			}
		}
		waiting := h.plan.inState(StatePrepared) != nil && g.State == StateMinting
		var unit *big.Rat // values a share
		for _, m := range h.plan.Members() {
			got := has[m.Owner]
			delete(has, m.Owner)
			if waiting {
				continue
			}
			u := new(big.Rat).SetFrac(new(big.Int).SetUint64(got), big.NewInt(int64(m.Share)))
			if unit == nil {
				unit = u
			}
			if u.Sign() <= 0 || u.Cmp(unit) != 0 {
				h.t.Fatalf("generation %d: %q has %d values for a share of %d, and others %s a share", g.Number, m.Owner, got, m.Share, unit)
			}
		}
		for _, owner := range slices.Sorted(maps.Keys(has)) {
			h.t.Fatalf("generation %d: %q may mint and is no member", g.Number, owner)
		}
	}
}

// mint lets every member mint a few IDs, without help of the plan's own code.
func (h *history) mint() {
	for _, m := range h.plan.Members() {
		a, err := h.plan.Mint(m.Owner)
		if errors.Is(err, ErrNothingToMint) {
			continue
		}
		if err != nil {
			h.t.Fatal(err)
		}
		s := rapid.SampledFrom(a.Spaces).Draw(h.t, "space")
		v := s.First + rapid.Uint64Range(0, s.Values-1).Draw(h.t, "value")
		var id []byte
		if h.kind == SchemeSealed {
			e, err := sealed.NewEncoder(a.Key, uint32(v))
			if err != nil {
				h.t.Fatal(err)
			}
			id = e.AppendRaw(nil)
		} else {
			// As text of ones and zeros, which is hard to get wrong.
			text := fmt.Sprintf("%03b%0*b", s.Slot, a.MarkBits-3, v)
			for len(text)%8 != 0 {
				text += "1"
			}
			for chunk := range slices.Chunk([]byte(text), 8) {
				var b byte
				if _, err := fmt.Sscanf(string(chunk), "%b", &b); err != nil {
					h.t.Fatal(err)
				}
				id = append(id, b)
			}
		}
		h.ids = append(h.ids, minted{cell{a.Generation, v}, m.Owner, id})
	}
}

// checkIDs checks that all IDs of which some may be left come home.
func (h *history) checkIDs() {
	table, err := h.plan.Table()
	if err != nil {
		h.t.Fatalf("%v\n%s", err, h.plan.Encode())
	}
	for _, m := range h.ids {
		match, ok := table.Lookup(FieldTicket, m.id)
		if !ok {
			h.t.Fatalf("%x (%v), minted by %q, belongs to nobody in\n%s", m.id, m.cell, m.owner, h.plan.Encode())
		}
		if got := table.Owners()[match.Owner]; got != m.owner || uint64(match.Generation) != m.generation%PlanSlots {
			h.t.Fatalf("%x (%v), minted by %q, belongs to %q in slot %d in\n%s", m.id, m.cell, m.owner, got, match.Generation, h.plan.Encode())
		}
	}
}
