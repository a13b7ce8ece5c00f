// Command openapi writes the OpenAPI document of an API that is served by
// Connect's protocol: each unary call is a POST of a JSON object to
// /PACKAGE.SERVICE/METHOD (https://connectrpc.com/docs/protocol). Streams have
// no form in OpenAPI and are left out, by name.
//
// It reads the schema and not the generated code, because only the schema has
// the comments that say what a field means.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func main() {
	dir := flag.String("dir", ".", "`DIR` that imports are relative to")
	out := flag.String("out", "openapi.json", "`FILE` to write")
	title := flag.String("title", "API", "title of the document")
	flag.Parse()
	if err := run(*dir, *out, *title, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "openapi: error:", err)
		os.Exit(1)
	}
}

func run(dir, out, title string, files []string) error {
	c := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	all, err := c.Compile(context.Background(), files...)
	if err != nil {
		return err
	}
	d := &document{paths: object{}, schemas: object{}}
	for _, f := range all {
		for i := range f.Services().Len() {
			d.service(f.Services().Get(i))
		}
	}
	d.schemas["connect.error"] = errorSchema()
	doc := object{
		"openapi": "3.1.0",
		"info": object{
			"title": title, "version": "v1",
			"description": "Every call is a POST of a JSON object (Connect's protocol); gRPC and gRPC-Web have the same paths. " +
				"Calls that stream are not described here: " + strings.Join(d.streams, ", ") + ".",
		},
		"paths":      d.paths,
		"components": object{"schemas": d.schemas},
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	if err := e.Encode(doc); err != nil {
		return err
	}
	return os.WriteFile(out, b.Bytes(), 0o644)
}

// An object of JSON; encoding/json sorts its keys, so that the file is the
// same each time.
type object = map[string]any

type document struct {
	paths, schemas object
	streams        []string
}

func (d *document) service(s protoreflect.ServiceDescriptor) {
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		path := "/" + string(s.FullName()) + "/" + string(m.Name())
		if m.IsStreamingClient() || m.IsStreamingServer() {
			d.streams = append(d.streams, path)
			continue
		}
		d.paths[path] = object{"post": object{
			"operationId": string(s.Name()) + "." + string(m.Name()),
			"tags":        []string{string(s.Name())},
			"description": comment(m),
			"requestBody": object{"required": true, "content": jsonOf(d.message(m.Input()))},
			"responses": object{
				"200":     object{"description": "What the call returns.", "content": jsonOf(d.message(m.Output()))},
				"default": object{"description": "Why the call was refused.", "content": jsonOf(ref("connect.error"))},
			},
		}}
	}
}

func jsonOf(schema object) object { return object{"application/json": object{"schema": schema}} }

func ref(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// message returns a reference to a message, and describes it once.
func (d *document) message(m protoreflect.MessageDescriptor) object {
	name := string(m.FullName())
	switch name {
	case "google.protobuf.Timestamp":
		return object{"type": "string", "format": "date-time"}
	case "google.protobuf.Duration":
		return object{"type": "string", "examples": []string{"3.5s"}}
	}
	if _, known := d.schemas[name]; known {
		return ref(name)
	}
	properties := object{}
	d.schemas[name] = object{"type": "object", "description": comment(m), "properties": properties}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		schema := d.field(f)
		if text := comment(f); text != "" {
			schema["description"] = text
		}
		properties[f.JSONName()] = schema
	}
	return ref(name)
}

func (d *document) field(f protoreflect.FieldDescriptor) object {
	switch {
	case f.IsMap():
		return object{"type": "object", "additionalProperties": d.single(f.MapValue())}
	case f.IsList():
		return object{"type": "array", "items": d.single(f)}
	default:
		return d.single(f)
	}
}

// single is the JSON form of a value (https://protobuf.dev/programming-guides/json).
func (d *document) single(f protoreflect.FieldDescriptor) object {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.StringKind:
		return object{"type": "string"}
	case protoreflect.BytesKind:
		return object{"type": "string", "contentEncoding": "base64"}
	case protoreflect.EnumKind:
		var names []string
		for i := range f.Enum().Values().Len() {
			names = append(names, string(f.Enum().Values().Get(i).Name()))
		}
		return object{"type": "string", "enum": names}
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return d.message(f.Message())
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return object{"type": "number"}
	case protoreflect.Int64Kind, protoreflect.Uint64Kind, protoreflect.Sint64Kind, protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind:
		return object{"type": "string", "format": "int64"} // as JSON has no such numbers
	default:
		return object{"type": "integer"}
	}
}

// comment returns what the schema says of something.
func comment(d protoreflect.Descriptor) string {
	text := d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments
	return strings.Join(strings.Fields(text), " ")
}

func errorSchema() object {
	return object{
		"type": "object",
		"properties": object{
			"code":    object{"type": "string", "examples": []string{"aborted", "invalid_argument", "permission_denied"}},
			"message": object{"type": "string"},
		},
	}
}
