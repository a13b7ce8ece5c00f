package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
)

// Later is a setting that a later version has. It is known by name so that
// the message can say so.
type Later struct{}

// A decoder fills the types of the file from a tree.
type decoder struct {
	report *report
	// left is how many values may still be decoded. It runs out only when
	// aliases make the file stand for much more than it holds.
	left int
	// meant holds the paths of settings that were written under a wrong name,
	// so that they are not reported as missing as well.
	meant map[string]bool
}

// decodeFile fills a File from the tree of one.
// It returns nil when the file stands for too much, which is reported.
func decodeFile(root *node, r *report) (*File, *decoder) {
	d := &decoder{report: r, left: countNodes(root) + MaxAliased, meant: map[string]bool{}}
	f := new(File)
	d.value(root, reflect.ValueOf(f).Elem(), "", nil)
	if d.left < 0 {
		return nil, d
	}
	return f, d
}

// countNodes counts the values that are written out: shared ones once.
func countNodes(root *node) int {
	seen := map[*node]bool{}
	var count func(n *node)
	count = func(n *node) {
		if n == nil || seen[n] {
			return
		}
		seen[n] = true
		for i := range n.entries {
			count(n.entries[i].value)
		}
		for _, v := range n.items {
			count(v)
		}
	}
	count(root)
	return len(seen)
}

// value decodes n into v. tag is that of the field that v is, or is in.
func (d *decoder) value(n *node, v reflect.Value, tag reflect.StructTag, p *path) {
	if n.bad {
		d.report.mark(p)
		return
	}
	if v.Type() == reflect.TypeFor[Later]() {
		d.report.add(n.line, p, "is not supported by this version", "remove it")
		return
	}
	// Hex: null is not hexadecimal, and says so better than "no value".
	own := v.Type().Implements(reflect.TypeFor[scalarDecoder]()) || reflect.PointerTo(v.Type()).Implements(reflect.TypeFor[scalarDecoder]())
	if n.null && v.Kind() != reflect.Struct && !(own && n.text != "") {
		d.report.fault(n.line, p, nullFault(n))
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), tag, p)
		return
	}
	d.left--
	if d.left < 0 {
		if d.left == -1 {
			d.report.fault(n.line, nil, tooManyAliases())
		}
		return
	}
	if s, ok := v.Addr().Interface().(scalarDecoder); ok {
		if !d.is(n, kindScalar, p) {
			return
		}
		d.note(n, p, s.decodeScalar(n.text))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, v, p)
	case reflect.Slice:
		d.list(n, v, tag, p)
	default:
		d.scalar(n, v, tag, p)
	}
}

func nullFault(n *node) *fault {
	if n.text == "" {
		return faultf("write a value, or remove the line", "has no value")
	}
	return faultf(fmt.Sprintf("write a value, or remove the line; in quotes, %q, it would be text", n.text),
		"%s is no value in YAML", n.text)
}

func (d *decoder) note(n *node, p *path, f *fault) {
	if f != nil {
		d.report.fault(n.line, p, f)
	}
}

// is reports whether n is of the kind wanted, and notes a problem if not.
func (d *decoder) is(n *node, want kind, p *path) bool {
	switch {
	case n.kind == want:
		return true
	case n.null:
		d.note(n, p, nullFault(n))
	default:
		remedy := map[kind]string{
			kindScalar:  "write one value, without brackets, braces or dashes",
			kindMapping: `write "name: value" lines below it, or {name: value}`,
			kindList:    "put a dash before each item, or write [item, item]",
		}[want]
		d.report.add(n.line, p, "is "+n.kind.article()+" where "+want.article()+" is expected", remedy)
	}
	return false
}

func (d *decoder) scalar(n *node, v reflect.Value, tag reflect.StructTag, p *path) {
	if !d.is(n, kindScalar, p) {
		return
	}
	switch v.Kind() {
	case reflect.String:
		if tag.Get("choices") != "" {
			d.note(n, p, checkChoice(n.text, tag))
		}
		v.SetString(n.text)
	case reflect.Bool:
		b, f := decodeBool(n)
		d.note(n, p, f)
		v.SetBool(b)
	case reflect.Int:
		// Whoever uses the number checks its bounds, which are narrower.
		i, f := decodeInt(n, math.MinInt32, math.MaxInt32)
		d.note(n, p, f)
		v.SetInt(i)
	case reflect.Uint32:
		i, f := decodeInt(n, 0, math.MaxUint32)
		d.note(n, p, f)
		v.SetUint(uint64(i))
	default:
		panic("config: internal error: a field of the file has the type " + v.Type().String())
	}
}

func checkChoice(text string, tag reflect.StructTag) *fault {
	choices := strings.Split(tag.Get("choices"), ",")
	if slices.Contains(choices, text) {
		return nil
	}
	if text != "" && slices.Contains(strings.Split(tag.Get("later"), ","), text) {
		return faultf("write "+oneOf(choices), "%s is not supported by this version", quote(text))
	}
	return faultf(chooseFrom(text, choices), "%s is not one of %s", quote(text), strings.Join(choices, ", "))
}

func (d *decoder) list(n *node, v reflect.Value, tag reflect.StructTag, p *path) {
	items := n.items
	if n.kind != kindList && strings.HasSuffix(tag.Get("yaml"), ",one") {
		items = []*node{n}
	} else if !d.is(n, kindList, p) {
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		at := p.item(i)
		if n.kind != kindList {
			at = p
			d.left++ // the same value again
		}
		e := v.Index(i)
		Defaults(e.Addr().Interface())
		d.value(item, e, tag, at)
	}
}

func (d *decoder) structure(n *node, v reflect.Value, p *path) {
	Defaults(v.Addr().Interface())
	if !d.is(n, kindMapping, p) {
		return
	}
	t := v.Type()
	known := make([]string, t.NumField())
	var offered []string
	for i := range known {
		known[i] = settingName(t.Field(i))
		if !isLater(t.Field(i)) {
			offered = append(offered, known[i])
		}
	}
	for i := range n.entries {
		e := &n.entries[i]
		at := p.field(e.key)
		k := slices.Index(known, e.key)
		if k >= 0 {
			d.value(e.value, v.Field(k), t.Field(k).Tag, at)
			continue
		}
		if d.report.full() {
			d.report.add(e.line, at, "", "") // looking for what was meant takes time, and is not shown
			continue
		}
		remedy := "remove it"
		if near := nearest(e.key, known); near != "" {
			remedy = "write " + near
			d.meant[p.field(near).String()] = true
		} else if len(offered) <= 12 {
			remedy = "remove it, or write " + oneOf(offered)
		}
		d.report.add(e.line, at, "is not a setting that is known here", remedy)
	}
}

func isLater(f reflect.StructField) bool { return f.Type == reflect.TypeFor[*Later]() }

// settingName is the name of a field in the file.
func settingName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}
