package config

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/mintmark/mintmark/idspace"
)

// rules reads the spaces that are written by hand in a pool. paths says where
// each rule stands; rules that are no good are left out of rules, not of paths.
func (c *checker) rules(f *FilePool, p *path) (rules []idspace.Rule, paths []*path) {
	add := func(list []FileRule, owner string, at *path) {
		for i := range list {
			rp := at.field("ids").item(i)
			if r, ok := c.rule(&list[i], rp); ok {
				r.Owner = idspace.Owner(owner)
				r.Source = rp.String()
				rules = append(rules, r)
			}
			paths = append(paths, rp)
		}
	}
	for i := range f.Servers {
		add(f.Servers[i].IDs, f.Servers[i].Name, p.field("servers").item(i))
	}
	for i := range f.Groups {
		add(f.Groups[i].IDs, f.Groups[i].Name, p.field("groups").item(i))
	}
	return rules, paths
}

// rule reads one rule. What is wrong with its numbers is left to package
// idspace, which knows.
func (c *checker) rule(f *FileRule, p *path) (idspace.Rule, bool) {
	if c.report.has(p) {
		return idspace.Rule{}, false
	}
	var forms []string
	for _, form := range []string{"range", "bits", "prefix", "suffix"} {
		if c.written(p.field(form)) || c.meant[p.field(form).String()] {
			forms = append(forms, form)
		}
	}
	switch {
	case len(forms) == 0:
		c.problem(p, "has no rule", "write one of range, bits, prefix and suffix")
		return idspace.Rule{}, false
	case len(forms) > 1:
		c.problem(p, "has "+strings.Join(forms, " and ")+" in one rule", "write each as a rule of its own, with a dash before it")
		return idspace.Rule{}, false
	}
	at := p.field(forms[0])
	if !c.sound(at) {
		return idspace.Rule{}, false
	}
	r := idspace.Rule{}
	ok := c.ruleFields(f, p, &r)
	switch forms[0] {
	case "range":
		r.Range = c.ruleRange(f.Range, at)
		ok = ok && r.Range != nil
	case "bits":
		r.Bits = c.ruleBits(f.Bits, at)
		ok = ok && r.Bits != nil
	case "prefix":
		r.Bits = c.ruleText(*f.Prefix, at, idspace.Prefix)
		ok = ok && r.Bits != nil
	case "suffix":
		r.Bits = c.ruleText(*f.Suffix, at, idspace.Suffix)
		ok = ok && r.Bits != nil
	}
	return r, ok
}

func (c *checker) ruleFields(f *FileRule, p *path, r *idspace.Rule) bool {
	at := p.field("field")
	if !c.written(at) {
		return true
	}
	if c.report.has(at) {
		return false
	}
	if len(f.Field) == 0 {
		c.problem(at, "is empty", "write a field such as ticket, or remove the line for all of them")
		return false
	}
	var fields []idspace.Field
	for i, name := range f.Field {
		field, ok := idspace.ParseField(name)
		if !ok || c.report.has(c.item(at, i)) {
			return false // reported when the file was decoded
		}
		fields = append(fields, field)
	}
	r.Fields = idspace.Fields(fields...)
	return true
}

func (c *checker) ruleRange(f *FileRange, p *path) *idspace.Range {
	from, to := p.field("from"), p.field("to")
	okFrom := c.require(from, `write the first value in hexadecimal, as in from: "4d000000"`)
	okTo := c.require(to, `write the last value in hexadecimal, as in to: "4d0000ff"`)
	if !okFrom || !okTo {
		return nil
	}
	return &idspace.Range{From: *f.From, To: *f.To}
}

func (c *checker) ruleBits(f *FileBits, p *path) *idspace.Bits {
	okMask := c.require(p.field("mask"), `write which bits are compared, as in mask: "ffffffff"`)
	values := p.field("values")
	okValues := c.require(values, `write the values in hexadecimal, as in values: ["4d4d0001"]`)
	b := &idspace.Bits{Offset: f.Offset, FromEnd: f.FromEnd, IDLength: f.IDLength}
	for _, name := range []string{"offset", "from_end", "id_length"} {
		okMask = okMask && !c.report.has(p.field(name))
	}
	for i, v := range f.Values {
		if c.report.has(c.item(values, i)) {
			okValues = false
		}
		b.Values = append(b.Values, v)
	}
	if !okMask || !okValues {
		return nil
	}
	b.Mask = *f.Mask
	return b
}

func (c *checker) ruleText(text string, p *path, form func(string) *idspace.Bits) *idspace.Bits {
	if text == "" {
		c.problem(p, "is empty, and every ID would match", "write the text that tells this server's IDs from the others'")
		return nil
	}
	return form(text)
}

// compileRules builds the table of the rules, or reports what is wrong with
// them. paths says where each rule stands that has its path for a Source.
func (c *checker) compileRules(rules []idspace.Rule, paths []*path) *idspace.Table {
	t, err := idspace.Compile(rules)
	if err == nil {
		return t
	}
	bySource := make(map[string]*path, len(paths))
	for _, p := range paths {
		bySource[p.String()] = p
	}
	for _, e := range leaves(err) {
		switch e := e.(type) { //nolint:errorlint // leaves has unwrapped them
		case *idspace.RuleError:
			c.problem(bySource[e.Source], e.Reason, e.Remedy)
		case *idspace.OverlapError:
			c.overlap(e, bySource)
		default:
			p := (*path)(nil).field("pools")
			if len(paths) > 0 {
				p = paths[0]
			}
			c.problem(p, e.Error(), "remove the problems above first")
		}
	}
	return nil
}

// overlap reports two rules that claim the same ID, at the one further down.
func (c *checker) overlap(e *idspace.OverlapError, bySource map[string]*path) {
	first, second := e.FirstRule, e.SecondRule
	a, b := bySource[first.Source], bySource[second.Source]
	if a.line(c.root) > b.line(c.root) {
		first, second, a, b = second, first, b, a
	}
	where := ""
	if e.Fields != 0 {
		where = " in " + e.Fields.String()
	}
	remedy := "give each ID to one owner: change or remove one of the two rules"
	if first.Owner == second.Owner {
		remedy = "remove what the two rules have in common from one of them"
	}
	c.problemf(b, remedy, "%s of %s overlaps %s of %s (%s in line %d): both claim the ID %s%s",
		second, spellKey(string(second.Owner)), first, spellKey(string(first.Owner)), a, a.line(c.root), spellID(e.Witness), where)
}

// spellID writes an ID in hexadecimal, without the middle of a long one.
func spellID(id []byte) string {
	const most, ends = 64, 8 // bytes
	if len(id) <= most {
		return hex.EncodeToString(id)
	}
	return fmt.Sprintf("%x…%x (%d bytes)", id[:ends], id[len(id)-ends:], len(id))
}

// leaves returns the errors that err joins.
func leaves(err error) []error {
	switch e := err.(type) { //nolint:errorlint // this is unwrapping
	case interface{ Unwrap() []error }:
		var out []error
		for _, inner := range e.Unwrap() {
			out = append(out, leaves(inner)...)
		}
		return out
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return leaves(inner)
		}
	}
	return []error{err}
}

// ruleWarnings notes rules that cannot mean what they say. kinds are the
// protocols of the listeners that use the pool.
func (c *checker) ruleWarnings(pool *poolFacts, rules []idspace.Rule, paths map[string]*path) {
	onlyTLS := len(pool.protocols) == 1 && pool.protocols[ProtocolTLS]
	for i := range rules {
		r := &rules[i]
		p := paths[r.Source]
		if p == nil {
			continue
		}
		fields := r.Fields
		if pool.onlyHTTP() && pool.read != 0 && fields != 0 && !fields.Intersects(pool.read) {
			c.warnf(p.field("field"), "write a field that ids of the listener has, or remove the rule",
				"no listener of the pool reads an ID in %s", fields)
			continue
		}
		if onlyTLS {
			if fields != 0 && !fields.Intersects(tlsFields()) {
				c.warnf(p.field("field"), "write psk, ticket or session_id, or remove the rule",
					"a listener of protocol tls reads no ID in %s", fields)
				continue
			}
			if fields == 0 {
				fields = tlsFields()
			}
		}
		if r.Bits != nil && r.Bits.Text && fields != 0 && fields&^tlsFields() == 0 {
			c.textWarnings(r.Bits, fields, p)
		}
	}
}

func tlsFields() idspace.FieldSet {
	return idspace.Fields(idspace.FieldPSK, idspace.FieldTicket, idspace.FieldSessionID)
}

// textWarnings notes text rules about binary values that probably compare
// something else than was meant.
func (c *checker) textWarnings(b *idspace.Bits, fields idspace.FieldSet, p *path) {
	text := string(b.Values[0])
	sessionID := idspace.Fields(idspace.FieldSessionID)
	switch clean := cleanHex(text); {
	case b.FromEnd && fields&^sessionID != 0:
		c.warnf(p.field("suffix"), "write a prefix, or bits at the start of the ID",
			"the end of a TLS ticket is a checksum, which nobody chooses")
	case clean != "" && len(text) >= 4 && !b.FromEnd:
		c.warnf(p.field("prefix"),
			fmt.Sprintf(`if bytes are meant, write bits: {mask: "%s", values: ["%s"]}`, strings.Repeat("ff", len(clean)/2), clean),
			"compares the %d characters %s, not the %d bytes that they may stand for", len(text), quote(text), len(clean)/2)
	}
}
