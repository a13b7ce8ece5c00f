package config

import (
	"strconv"
	"strings"
)

// A node is a value of the file. Aliases share the node of their anchor.
type node struct {
	kind kind
	line int

	text  string // scalar: what the file shows, without quotes and escapes
	plain bool   // scalar: written without quotes
	null  bool   // scalar: plain null, ~, or nothing at all
	bad   bool   // not what the file says, because of a problem that is reported

	entries []entry // mapping
	items   []*node // list
}

type kind uint8

const (
	kindScalar kind = iota
	kindMapping
	kindList
)

// article returns the kind for messages.
func (k kind) article() string {
	switch k {
	case kindMapping:
		return "a mapping"
	case kindList:
		return "a list"
	default:
		return "a single value"
	}
}

// An entry is a key of a mapping with its value.
type entry struct {
	key   string
	line  int // of the key
	value *node
}

func (n *node) lookup(key string) *node {
	if n == nil || n.kind != kindMapping {
		return nil
	}
	for i := range n.entries {
		if n.entries[i].key == key {
			return n.entries[i].value
		}
	}
	return nil
}

// A path leads from the root of a file to a value. It is immutable: field and
// item return longer ones. The nil path is the root.
type path struct {
	parent *path
	key    string // of a mapping, when index is negative
	index  int
}

func (p *path) field(key string) *path { return &path{parent: p, key: key, index: -1} }
func (p *path) item(i int) *path       { return &path{parent: p, index: i} }

// String writes the path as people read it: pools[2].servers[0].address.
func (p *path) String() string {
	var b strings.Builder
	p.write(&b)
	return b.String()
}

func (p *path) write(b *strings.Builder) {
	switch {
	case p == nil:
	case p.index >= 0:
		p.parent.write(b)
		b.WriteByte('[')
		b.WriteString(strconv.Itoa(p.index))
		b.WriteByte(']')
	default:
		p.parent.write(b)
		if p.parent != nil {
			b.WriteByte('.')
		}
		b.WriteString(spellKey(p.key))
	}
}

// spellKey writes a key or name: as it is when it is a word, else in quotes,
// because a mistyped file can have anything there.
func spellKey(key string) string {
	for _, c := range key {
		if !(c == '_' || c == '-' || c == '.' || c == '<' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') {
			return quote(key)
		}
	}
	if key == "" || len(key) > MaxNameLength {
		return quote(key)
	}
	return key
}

// resolve returns the value that p leads to, and nil if there is none.
func (p *path) resolve(root *node) *node {
	if p == nil {
		return root
	}
	n := p.parent.resolve(root)
	if p.index < 0 {
		return n.lookup(p.key)
	}
	if n == nil || n.kind != kindList || p.index >= len(n.items) {
		return nil
	}
	return n.items[p.index]
}

// line returns the line of the value that p leads to or, if there is none, of
// the innermost value around it.
func (p *path) line(root *node) int {
	for ; p != nil; p = p.parent {
		if n := p.resolve(root); n != nil {
			return n.line
		}
	}
	if root != nil {
		return root.line
	}
	return 1
}
