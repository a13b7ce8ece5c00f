package config

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A builder makes the tree out of what the YAML parser read, resolving
// anchors, aliases and merge keys. The depth of its recursion is bounded by
// checkTokens.
type builder struct {
	report  *report
	anchors map[string]*node
	merged  int // keys that merge keys have added
}

// node never returns nil: what cannot be read becomes an empty scalar, with a
// problem.
func (b *builder) node(n ast.Node, p *path) *node {
	switch n := n.(type) {
	case *ast.MappingNode:
		return b.mapping(n.Values, nodeLine(n), p)
	case *ast.MappingValueNode:
		return b.mapping([]*ast.MappingValueNode{n}, nodeLine(n), p)
	case *ast.SequenceNode:
		l := &node{kind: kindList, line: nodeLine(n)}
		for i, v := range n.Values {
			l.items = append(l.items, b.node(v, p.item(i)))
		}
		return l
	case *ast.AnchorNode:
		v := b.node(n.Value, p)
		// Registered only now, so that a value cannot contain itself.
		b.anchors[n.Name.GetToken().Value] = v
		return v
	case *ast.AliasNode:
		return b.alias(n, p)
	case *ast.LiteralNode:
		return &node{line: nodeLine(n), text: n.Value.Value}
	case *ast.StringNode:
		return &node{line: nodeLine(n), text: n.Value, plain: n.Token.Type == token.StringType}
	case *ast.NullNode:
		s := &node{line: nodeLine(n), plain: true, null: true}
		if n.Token.Type == token.NullType {
			s.text = n.Token.Value
		}
		return s
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return &node{line: nodeLine(n), text: n.GetToken().Value, plain: true}
	}
	line := 1
	if n != nil {
		line = nodeLine(n)
	}
	b.report.add(line, p, "is a kind of YAML that is not read here", "write a plain value, a list or a mapping")
	return &node{line: line, bad: true}
}

func (b *builder) alias(n *ast.AliasNode, p *path) *node {
	name := n.Value.GetToken().Value
	if v, ok := b.anchors[name]; ok {
		return v
	}
	b.report.add(nodeLine(n), p, fmt.Sprintf("refers to the anchor %s, and none stands before it", quote(name)),
		"define the anchor above, or write the value out")
	return &node{line: nodeLine(n), bad: true}
}

func (b *builder) mapping(values []*ast.MappingValueNode, line int, p *path) *node {
	m := &node{kind: kindMapping, line: line}
	var merges []*node
	for _, v := range values {
		if len(m.entries) >= MaxKeys {
			b.report.fault(nodeLine(v.Key), p, tooManyKeys())
			return m
		}
		if v.Key.IsMergeKey() {
			merges = append(merges, b.node(v.Value, p.field("<<")))
			continue
		}
		key, ok := b.key(v.Key, p)
		if !ok {
			continue
		}
		keyLine := nodeLine(v.Key)
		value := b.node(v.Value, p.field(key))
		if first := m.entryLine(key); first > 0 {
			b.report.add(keyLine, p.field(key), fmt.Sprintf("is written a second time; the first is in line %d", first),
				"remove one of the two")
			continue
		}
		m.entries = append(m.entries, entry{key: key, line: keyLine, value: value})
	}
	if len(m.entries) > 0 {
		m.line = m.entries[0].line // the parser's line is that of the first colon
	}
	for _, from := range merges {
		b.merge(m, from, p)
	}
	return m
}

func (b *builder) key(n ast.MapKeyNode, p *path) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode, *ast.NullNode:
		return n.GetToken().Value, true
	}
	b.report.add(nodeLine(n), p, "has a key that is not a plain word", `write "name: value"`)
	return "", false
}

// merge adds to m the keys of from that m does not have (YAML 1.1, merge key).
func (b *builder) merge(m, from *node, p *path) {
	sources := []*node{from}
	if from.kind == kindList {
		sources = from.items
	}
	for _, s := range sources {
		if s.bad {
			continue
		}
		if s.kind != kindMapping {
			b.report.add(s.line, p, "merges (<<) "+s.kind.article()+" into a mapping", "write <<: *name of a mapping's anchor")
			continue
		}
		for _, e := range s.entries {
			if m.entryLine(e.key) > 0 {
				continue
			}
			if b.merged++; b.merged > MaxAliased {
				b.report.fault(m.line, p, tooManyAliases())
				return
			}
			if len(m.entries) >= MaxKeys {
				b.report.fault(m.line, p, tooManyKeys())
				return
			}
			m.entries = append(m.entries, e)
		}
	}
}

func tooManyAliases() *fault {
	return faultf("write the values out, or generate the file",
		"aliases (*) and merge keys (<<) add more than %d values", MaxAliased)
}

func (n *node) entryLine(key string) int {
	for i := range n.entries {
		if n.entries[i].key == key {
			return n.entries[i].line
		}
	}
	return 0
}

func nodeLine(n ast.Node) int { return tokenLine(n.GetToken()) }
