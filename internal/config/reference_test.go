package config_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/route"
)

const referenceFile = "../../docs/configuration.md"

// TestReference makes docs/configuration.md out of the comments of the file's
// types; -update writes it.
func TestReference(t *testing.T) {
	t.Parallel()
	r := &reference{comments: readComments(t), places: map[reflect.Type][]string{}}
	r.find(reflect.TypeFor[config.File](), "")
	r.out.WriteString(referenceHead)
	for _, typ := range r.order {
		r.section(typ)
	}
	got := r.out.String()
	if *update {
		if err := os.WriteFile(referenceFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what the comments say; run this test with -update (-file +comments)\n%s", referenceFile, diff)
	}
}

// A reference is written type by type, in the order in which a reader of the
// file meets them.
type reference struct {
	comments map[string]string // of types, and of fields as "Type.Field"
	order    []reflect.Type
	places   map[reflect.Type][]string // where in a file a type stands
	out      strings.Builder
}

func (r *reference) find(t reflect.Type, place string) {
	if len(r.places[t]) == 0 {
		r.order = append(r.order, t)
	}
	r.places[t] = append(r.places[t], place)
	if len(r.places[t]) > 1 {
		return
	}
	for f := range t.Fields() {
		at := setting(f)
		if place != "" {
			at = place + "." + at
		}
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			at += "[]"
		}
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[config.Later]() {
			r.find(inner, at)
		}
	}
}

func setting(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}

func (r *reference) section(t reflect.Type) {
	title := "The file"
	switch place := r.places[t][0]; {
	case strings.Contains(place, "[].ids[]") && strings.HasPrefix(place, "pools"):
		_, rest, _ := strings.Cut(place, "[].ids[]")
		title = "`ids[]" + rest + "` of servers and groups"
	case place != "":
		title = "`" + place + "`"
	}
	fmt.Fprintf(&r.out, "\n## %s\n\n%s\n\n", title, sentence(r.comments[t.Name()]))
	var later []string
	for f := range t.Fields() {
		if f.Type == reflect.TypeFor[*config.Later]() {
			later = append(later, "`"+setting(f)+"`")
			continue
		}
		fmt.Fprintf(&r.out, "- **`%s`** (%s): %s\n", setting(f), kindOf(f), inOneLine(r.comments[t.Name()+"."+f.Name]))
	}
	if len(later) > 0 {
		fmt.Fprintf(&r.out, "\nNames that later versions know and this one refuses: %s.\n", strings.Join(later, ", "))
	}
}

// sentence turns the comment of a type, "A FileRoute is where ...", into one
// for people who see no Go: "Where ...".
func sentence(comment string) string {
	_, said, _ := strings.Cut(inOneLine(comment), " is ")
	return strings.ToUpper(said[:1]) + said[1:]
}

func inOneLine(comment string) string { return strings.Join(strings.Fields(comment), " ") }

func kindOf(f reflect.StructField) string {
	t := f.Type
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	list := ""
	if t.Kind() == reflect.Slice && t != reflect.TypeFor[config.Hex]() {
		list = ", list"
		if strings.HasSuffix(f.Tag.Get("yaml"), ",one") {
			list = ", one or a list"
		}
		t = t.Elem()
	}
	var kind string
	switch {
	case t == reflect.TypeFor[config.Hex]():
		kind = "hexadecimal"
	case t == reflect.TypeFor[config.Duration]():
		kind = "duration"
	case t == reflect.TypeFor[config.Size]():
		kind = "size"
	case f.Tag.Get("choices") != "":
		kind = "`" + strings.ReplaceAll(f.Tag.Get("choices"), ",", "`, `") + "`"
	case t.Kind() == reflect.Struct:
		kind = "mapping"
	case t.Kind() == reflect.String:
		kind = "text"
	case t.Kind() == reflect.Bool:
		kind = "`true` or `false`"
	default:
		kind = "number"
	}
	return kind + list
}

// readComments returns the comments of the types in file*.go and their fields.
func readComments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("file*.go")
	if err != nil || len(files) < 2 {
		t.Fatalf("looking for the types of the file: %v, %v", files, err)
	}
	comments := map[string]string{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.TYPE {
				continue
			}
			spec := g.Specs[0].(*ast.TypeSpec)
			comments[spec.Name.Name] = strings.TrimSpace(g.Doc.Text())
			for _, field := range spec.Type.(*ast.StructType).Fields.List {
				name := spec.Name.Name + "." + field.Names[0].Name
				comments[name] = strings.TrimSpace(field.Doc.Text())
				if comments[name] == "" {
					t.Errorf("%s has no comment", name)
				}
			}
		}
	}
	return comments
}

// TestDefaultsAreDocumented compares the defaults that the comments state with
// those that hold.
func TestDefaultsAreDocumented(t *testing.T) {
	t.Parallel()
	comments := readComments(t)
	stated := regexp.MustCompile(`Default: (\S+)\.(\s|$)`)
	checked := 0
	for _, v := range []any{
		new(config.File), new(config.FileListener), new(config.FileTimeouts), new(config.FilePool), new(config.FileHealth),
		new(config.FileGroup), new(config.FileServer), new(config.FileBits), new(config.FileDiscover), new(config.FileLearn),
		new(config.FileControl),
	} {
		config.Defaults(v)
		s := reflect.ValueOf(v).Elem()
		for i := range s.NumField() {
			name := s.Type().Name() + "." + s.Type().Field(i).Name
			got := fmt.Sprint(s.Field(i).Interface())
			m := stated.FindStringSubmatch(comments[name])
			if m != nil {
				checked++
				if m[1] != got {
					t.Errorf("%s: the comment says %s; the default is %s", name, m[1], got)
				}
			} else if !s.Field(i).IsZero() && s.Field(i).Kind() != reflect.Struct {
				t.Errorf("%s: the default %s is not in the comment", name, got)
			}
		}
	}
	if checked < 20 {
		t.Errorf("found only %d defaults: has their form changed?", checked)
	}
}

// TestChoices: the words of the file are those of package route, all of them.
func TestChoices(t *testing.T) {
	t.Parallel()
	words := func(typ reflect.Type, field string) []string {
		f, ok := typ.FieldByName(field)
		if !ok {
			t.Fatalf("there is no %s.%s", typ, field)
		}
		return strings.Split(f.Tag.Get("choices"), ",")
	}
	pool, health := reflect.TypeFor[config.FilePool](), reflect.TypeFor[config.FileHealth]()
	for _, tc := range []struct {
		name  string
		words []string
		spell func(i int) string
	}{
		{"policy", words(pool, "Policy"), func(i int) string { return route.Policy(i).String() }},
		{"policy of groups", words(reflect.TypeFor[config.FileGroup](), "Policy"), func(i int) string { return route.Policy(i).String() }},
		{"when_owner_down", words(pool, "WhenOwnerDown"), func(i int) string { return route.WhenOwnerDown(i).String() }},
		{"unknown_ids", words(pool, "UnknownIDs"), func(i int) string { return route.UnknownIDs(i).String() }},
		{"random_ids", words(pool, "RandomIDs"), func(i int) string { return route.RandomIDs(i).String() }},
		{"early_data", words(pool, "EarlyData"), func(i int) string { return route.EarlyData(i).String() }},
		{"proxy_protocol", words(pool, "ProxyProtocol"), func(i int) string { return route.ProxyVersion(i).String() }},
		{"health", words(health, "Type"), func(i int) string { return route.HealthType(i).String() }},
	} {
		var want []string
		for i := 0; !strings.Contains(tc.spell(i), "("); i++ {
			want = append(want, tc.spell(i))
		}
		if diff := cmp.Diff(want, tc.words); diff != "" {
			t.Errorf("%s (-route +file)\n%s", tc.name, diff)
		}
	}
}

const referenceHead = `# Configuration file

<!-- Made from internal/config/file*.go by "go test ./internal/config -run TestReference -update". -->

The file is YAML. It is read strictly: a name that is not known, a value of the
wrong kind, two spaces that overlap are problems, and with a problem nothing of
the file takes effect. ` + "`mintmark check -c FILE`" + ` shows all of them at once, each
with its line and what to write instead. [examples](../examples) has whole files.

` + "```yaml" + `
version: 1
admin: {listen: 127.0.0.1:7071}
listeners:
  - name: web
    listen: 127.0.0.1:8443
    protocol: tls
    pool: web
pools:
  - name: web
    servers:
      - {name: a, address: 127.0.0.1:9001, ids: [{range: {from: "4d4d0001", to: "4d4d0001"}}]}
      - {name: b, address: 127.0.0.1:9002, ids: [{range: {from: "4d4d0002", to: "4d4d0002"}}]}
` + "```" + `

How values are written:

- **Text, names and hexadecimal values are what the file shows**, whatever YAML
  would make of them: ` + "`0e12`" + ` is two bytes and not zero, ` + "`123456`" + ` three bytes and
  not a number, ` + "`0012`" + ` keeps its zeros. Quotes are only needed where YAML needs
  them, and around ` + "`null`" + ` and ` + "`~`" + `, which are refused without. Hexadecimal is
  written without ` + "`0x`" + `, two digits a byte, in upper or lower case.
- **Durations** have a unit: ` + "`500ms`, `5s`, `10m`, `24h`, `7d`, `1h30m`" + `. A day is 24
  hours.
- **Numbers** are whole and decimal; **` + "`true` and `false`" + `** are written so.
- **Anchors, aliases and merge keys** (` + "`&name`, `*name`, `<<: *name`" + `) save repetition.
  Tags and several documents in one file are refused.

A file has at most 8 MiB, which is enough for 100,000 rules.
`
