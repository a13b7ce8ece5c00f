package config

import (
	"fmt"
	"reflect"
	"strconv"
)

// PoolSettings returns the pools of a file as their settings are written, as
// values that encoding/json writes: mappings, lists, text, numbers, true and
// false. Aliases are resolved. The file must be one that Parse takes; for
// another the result means nothing.
func PoolSettings(data []byte) ([]map[string]any, error) {
	root, _ := parseYAML(data)
	pools := root.lookup("pools")
	if pools == nil || pools.kind != kindList {
		return nil, fmt.Errorf("the file has no pools")
	}
	out := make([]map[string]any, 0, len(pools.items))
	for _, item := range pools.items {
		m, ok := item.settings(reflect.TypeFor[FilePool]()).(map[string]any)
		if !ok {
			return nil, fmt.Errorf("line %d: a pool is a mapping", item.line)
		}
		out = append(out, m)
	}
	return out, nil
}

// settings returns n as the value of a field of type t, which says what is a
// number: in YAML alone, 0012 is one and in a mask it is not.
func (n *node) settings(t reflect.Type) any {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch n.kind {
	case kindMapping:
		m := make(map[string]any, len(n.entries))
		for _, e := range n.entries {
			m[e.key] = e.value.settings(settingType(t, e.key))
		}
		return m
	case kindList:
		items := make([]any, 0, len(n.items))
		for _, item := range n.items {
			items = append(items, item.settings(elem(t)))
		}
		return items
	default:
		return n.scalar(elem(t))
	}
}

func (n *node) scalar(t reflect.Type) any {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[scalarDecoder]()) {
		return n.text
	}
	switch t.Kind() {
	case reflect.Bool:
		return n.text == "true"
	case reflect.Int, reflect.Uint32:
		if i, err := strconv.ParseInt(n.text, 10, 64); err == nil {
			return i
		}
	default:
	}
	return n.text
}

// elem is the type of the items where one may stand for a list.
func elem(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// settingType is the type of a setting in a structure of the file.
func settingType(t reflect.Type, key string) reflect.Type {
	if t.Kind() == reflect.Struct {
		for field := range t.Fields() {
			if settingName(field) == key {
				return field.Type
			}
		}
	}
	return reflect.TypeFor[string]()
}
