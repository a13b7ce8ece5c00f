package idspace

import "fmt"

// MaxEntries is how many ranges and values the rules of a table may have in
// all. It leaves 24 bits for positions in indexes.
const MaxEntries = 1<<24 - 1

// A Match is what a table knows of an ID.
type Match struct {
	// Owner indexes Table.Owners.
	Owner int32
	// Rule indexes Table.Rules, -1 when a function decided.
	Rule int32
	// Generation is the generation under which the ID was minted.
	Generation uint8
}

// A Table is an immutable set of rules, or one function. It is safe for
// concurrent use. The zero Table has no rules.
type Table struct {
	byField  [NumFields]*fieldClass // nil where no rule is visible
	function *functionIndex         // nil: there are rules

	owners     []Owner
	rules      []Rule
	ruleOwners []int32 // rule to position in owners
	classes    []*fieldClass
	assigned   [NumFields]float64 // see AssignedShare
}

// A fieldClass is the index of the rules that are visible in some fields.
type fieldClass struct {
	ranges rangeIndex
	bits   []bitsIndex
	fields []Field
}

// Compile builds the table of rules. Owners() lists every owner in the order of
// its first rule. The table keeps copies of the rules.
//
// If there are mistakes in rules or if rules overlap, Compile returns all
// problems, joined as by errors.Join: see RuleError and OverlapError. Rules
// with mistakes are left out of the search for overlaps.
func Compile(rules []Rule) (*Table, error) {
	var found problems
	checker := ruleChecker{problems: &found, shapes: make(map[bitsShape]struct{})}
	listed := make([]int32, 0, len(rules))
	for i := range rules {
		if checker.check(i, &rules[i]) {
			listed = append(listed, int32(i)) // at most MaxEntries
		}
		if checker.tooMany || found.full() {
			return nil, fmt.Errorf("compiling rules: %w", found.join())
		}
	}
	t := &Table{rules: copyRules(rules), ruleOwners: make([]int32, len(rules))}
	index := make(map[Owner]int32)
	for i := range t.rules {
		t.ruleOwners[i] = t.intern(index, t.rules[i].Owner)
	}
	if err := t.compile(listed, &found); err != nil {
		return nil, fmt.Errorf("compiling rules: %w", err)
	}
	return t, nil
}

// intern returns the position of owner in t.owners, where index remembers it.
func (t *Table) intern(index map[Owner]int32, owner Owner) int32 {
	i, ok := index[owner]
	if !ok {
		i = int32(len(t.owners)) // no more than entries
		index[owner] = i
		t.owners = append(t.owners, owner)
	}
	return i
}

// compile looks for overlaps between the rules that are listed, adding to the
// problems found, and builds the indexes if there are none.
func (t *Table) compile(listed []int32, found *problems) error {
	ranges := sortRanges(t.rules, listed)
	groups := groupBits(t.rules, listed)
	overlaps := overlapFinder{rules: t.rules, problems: found, reported: make(map[[2]int32]struct{})}
	for _, fields := range fieldClasses(t.rules) {
		r, g := visibleRanges(t.rules, ranges, fields[0]), visibleBits(t.rules, groups, fields[0])
		overlaps.find(r, g)
		if len(found.errs) > 0 {
			continue
		}
		class := &fieldClass{fields: fields, ranges: newRangeIndex(r, t.meta)}
		hash := newWordHash()
		for i := range g {
			class.bits = append(class.bits, newBitsIndex(&g[i], hash, t.meta))
		}
		t.classes = append(t.classes, class)
		for _, f := range fields {
			t.byField[f] = class
		}
	}
	if err := found.join(); err != nil {
		return err
	}
	for _, class := range t.classes {
		var total shareSum
		for _, length := range t.lengths(class.fields[0]) {
			total = maxShare(total, t.shareSums(class.fields[0], length).total)
		}
		for _, f := range class.fields {
			t.assigned[f] = floatUp(total.rat())
		}
	}
	return nil
}

// fieldClasses groups the fields in which the same rules are visible, and
// leaves out those in which none is.
func fieldClasses(rules []Rule) [][]Field {
	seen := make(map[FieldSet]struct{})
	var sets []FieldSet
	for i := range rules {
		if _, ok := seen[rules[i].Fields]; !ok {
			seen[rules[i].Fields] = struct{}{}
			sets = append(sets, rules[i].Fields)
		}
	}
	var classes [][]Field
	index := make(map[string]int)
	for f := FieldPSK; f < fieldCount; f++ {
		visible := make([]byte, len(sets))
		none := true
		for i, s := range sets {
			if s.Has(f) {
				visible[i], none = 1, false
			}
		}
		if none {
			continue
		}
		c, ok := index[string(visible)]
		if !ok {
			c = len(classes)
			index[string(visible)] = c
			classes = append(classes, nil)
		}
		classes[c] = append(classes[c], f)
	}
	return classes
}

// What indexes store with an entry: the rule, its owner and generation, and
// the length of the range. Having it all in one word, beside the bounds that
// were just compared, saves a lookup from reading the rule itself.
const (
	metaRuleShift       = 40
	metaOwnerShift      = 16
	metaOwner           = 1<<24 - 1
	metaGenerationShift = 8
	metaSize            = 1<<8 - 1
)

func (t *Table) meta(rule int32) uint64 {
	return uint64(rule)<<metaRuleShift | // never negative
		uint64(t.ruleOwners[rule])<<metaOwnerShift | // never negative
		uint64(t.rules[rule].Generation)<<metaGenerationShift
}

func matchOf(meta uint64) Match {
	return Match{
		Owner:      int32(meta >> metaOwnerShift & metaOwner), // 24 bits
		Rule:       int32(meta >> metaRuleShift),              // 24 bits
		Generation: uint8(meta >> metaGenerationShift),        // cut on purpose
	}
}

// Lookup finds the owner of an ID that stood in field. It does not allocate,
// and neither keeps nor changes id. No rule matches in FieldNone.
func (t *Table) Lookup(field Field, id []byte) (Match, bool) {
	if t.function != nil {
		return t.function.find(field, id)
	}
	if field >= fieldCount || t.byField[field] == nil {
		return Match{}, false
	}
	class := t.byField[field]
	if meta, ok := class.ranges.find(id); ok {
		return matchOf(meta), true
	}
	if meta, ok := findBits(class.bits, id); ok {
		return matchOf(meta), true
	}
	return Match{}, false
}

// Owners lists the owners; Match.Owner indexes it. The caller must not change it.
func (t *Table) Owners() []Owner { return t.owners }

// Rules lists the rules; Match.Rule indexes it. It is empty for a function.
// The caller must not change it.
func (t *Table) Rules() []Rule { return t.rules }

// indexSize returns the bytes that the indexes take, without the rules.
func (t *Table) indexSize() int {
	n := 0
	for _, c := range t.classes {
		n += c.ranges.size()
		for i := range c.bits {
			n += c.bits[i].size()
		}
	}
	return n
}
