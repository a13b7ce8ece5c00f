package tree

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Two package comments are concatenated by godoc in the order of file names,
// which is never what somebody meant; none leaves a reader guessing.
func TestEveryPackageHasOneComment(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		var files []string
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc == nil {
				continue
			}
			files = append(files, name)
			wantOpening(t, p, name, f)
		}
		if len(files) != 1 {
			t.Errorf("%s: got package comments in %v; want exactly one", p.ImportPath, files)
		}
	}
}

func wantOpening(t *testing.T, p goPackage, name string, f *ast.File) {
	t.Helper()
	want := "Package " + p.Name + " "
	if p.Name == "main" {
		want = "Command " + filepath.Base(p.Dir) + " "
	}
	if text := f.Doc.Text(); !strings.HasPrefix(text, want) {
		t.Errorf("%s: the comment in %s begins %q; want %q", p.ImportPath, name, firstLine(text), want)
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

var (
	mermaid = regexp.MustCompile("(?s)```mermaid\n(.*?)```")
	arrow   = regexp.MustCompile(`^\s*(\S+)\s+-->\s+(.+?)\s*$`)
)

// The diagram in ARCHITECTURE.md has one arrow for each import between our
// own packages, and no other. Tests, benchmarks, examples, generated code and
// the tree's own tools are left out of it.
func TestDiagramShowsTheImports(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	diagram := mermaid.FindSubmatch(text)
	if diagram == nil {
		t.Fatal("ARCHITECTURE.md has no mermaid diagram")
	}
	drawn := map[string]bool{}
	for line := range strings.Lines(string(diagram[1])) {
		if m := arrow.FindStringSubmatch(strings.TrimRight(line, "\n")); m != nil {
			for to := range strings.SplitSeq(m[2], " & ") {
				drawn[m[1]+" --> "+to] = true
			}
		}
	}
	imported := map[string]bool{}
	for _, p := range packages(t) {
		if from, ok := short(p.ImportPath); ok {
			for _, i := range p.Imports {
				if to, ok := short(i); ok {
					imported[from+" --> "+to] = true
				}
			}
		}
	}
	for _, e := range sorted(imported) {
		if !drawn[e] {
			t.Errorf("the diagram lacks %s", e)
		}
	}
	for _, e := range sorted(drawn) {
		if !imported[e] {
			t.Errorf("the diagram has %s, which no package imports", e)
		}
	}
}

// short returns the name of a package in the diagram.
func short(path string) (string, bool) {
	rest, ours := strings.CutPrefix(path, module)
	rest = strings.TrimPrefix(rest, "/")
	for _, out := range []string{"test/", "examples/", "api/", "bench/"} {
		if strings.HasPrefix(rest+"/", out) {
			return "", false
		}
	}
	if strings.HasSuffix(rest, "test") { // suites and builders, for tests alone
		return "", false
	}
	if rest == "" {
		rest = "mintmark"
	}
	return strings.TrimPrefix(rest, "internal/"), ours
}

func sorted(set map[string]bool) []string {
	var all []string
	for s := range set {
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}
