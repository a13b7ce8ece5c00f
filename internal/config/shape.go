package config

import "github.com/goccy/go-yaml/token"

// A shape follows the nesting of a document from its tokens alone, so that the
// YAML parser, which recurses and takes quadratic time in places, never sees
// what is too deep, too wide or too full of nothing.
type shape struct {
	content bool      // something came that is no comment
	flow    []bracket // open brackets and braces
	blocks  []block
	missed  int // values that are missing
}

// A bracket is an open bracket or brace.
type bracket struct {
	mapping bool
	keys    int
	key     bool // something came since the last comma
	value   bool // a colon did
}

// A block is a mapping or list in indented style that may still go on.
type block struct {
	column int
	list   bool
	keys   int
}

// add takes the first of the tokens that are left, which is no comment.
func (s *shape) add(tokens token.Tokens) *fault {
	t := tokens[0]
	missing := false
	if n := len(s.flow); n > 0 {
		missing = s.flow[n-1].add(t)
	}
	switch t.Type {
	case token.MappingStartType, token.SequenceStartType:
		s.flow = append(s.flow, bracket{mapping: t.Type == token.MappingStartType})
	case token.MappingEndType, token.SequenceEndType:
		s.flow = s.flow[:max(0, len(s.flow)-1)]
	case token.SequenceEntryType:
		if len(s.flow) == 0 {
			s.entry(t.Position.Column, true)
			missing = nothingFollows(tokens, t.Position.Column, true)
		}
	case token.MappingValueType:
		if len(s.flow) == 0 && t.Prev != nil {
			column := t.Prev.Position.Column
			s.entry(column, false)
			missing = nothingFollows(tokens, column, false)
		}
	default:
	}
	if missing {
		s.missed++
	}
	return s.fault()
}

func (s *shape) fault() *fault {
	blocks, flows := len(s.blocks), len(s.flow)
	switch {
	case flows+blocks > MaxDepth:
		return faultf("write the values with less nesting; no setting is nested like this",
			"is nested more than %d levels deep", MaxDepth)
	case blocks > 0 && s.blocks[blocks-1].keys > MaxKeys, flows > 0 && s.flow[flows-1].keys > MaxKeys:
		return tooManyKeys()
	case s.missed > MaxMissing:
		return faultf("write their values, or remove the lines",
			"has more than %d settings and list items without a value", MaxMissing)
	}
	return nil
}

func tooManyKeys() *fault {
	return faultf("remove those that are no settings", "is a mapping with more than %d keys", MaxKeys)
}

// add takes a token inside of b and reports whether it shows that a value is
// missing: {a, b: }.
func (b *bracket) add(t *token.Token) (missing bool) {
	switch t.Type {
	case token.CollectEntryType, token.MappingEndType, token.SequenceEndType:
		missing = b.mapping && b.key && (!b.value || t.Prev != nil && t.Prev.Type == token.MappingValueType)
		b.key, b.value = false, false
		if b.mapping {
			b.keys++
		}
	case token.MappingValueType:
		b.key, b.value = true, true
	default:
		b.key = true
	}
	return missing
}

// nothingFollows reports whether the first of the tokens, a dash or a colon in
// indented style, has no value: the next token is one that begins no deeper
// than column, where the dash or the key stands.
func nothingFollows(tokens token.Tokens, column int, list bool) bool {
	for _, next := range tokens[1:] {
		if next.Type == token.CommentType {
			continue
		}
		switch at := next.Position; {
		case at.Line == tokens[0].Position.Line || at.Column > column:
			return false
		case at.Column == column && !list && next.Type == token.SequenceEntryType:
			return false // a list may stand at the column of its key
		}
		return true
	}
	return true
}

// entry closes the blocks that a key or dash at column ends, and counts it.
func (s *shape) entry(column int, list bool) {
	for n := len(s.blocks); n > 0; n-- {
		// A list may stand at the column of the key that it belongs to.
		top := &s.blocks[n-1]
		if top.column < column || top.column == column && (top.list == list || list) {
			break
		}
		s.blocks = s.blocks[:n-1]
	}
	if n := len(s.blocks); n == 0 || s.blocks[n-1].column != column || s.blocks[n-1].list != list {
		s.blocks = append(s.blocks, block{column: column, list: list})
	}
	if !list { // lists may be as long as the file
		s.blocks[len(s.blocks)-1].keys++
	}
}
