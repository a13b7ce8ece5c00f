package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/mintmark/mintmark/internal/config"
)

var update = flag.Bool("update", false, "rewrite the golden files and docs/configuration.md")

// TestGolden reads the archives of testdata/golden. The text before the first
// file of an archive is a configuration in which @@ stands for a piece of
// YAML; each case is such a piece, "NAME.yaml", followed by "NAME.want": what
// is said of the configuration with that piece in it. A case that needs other
// files is a directory: see TestPlanFile.
func TestGolden(t *testing.T) {
	t.Parallel()
	archives, err := filepath.Glob("testdata/golden/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("found no archives: %v", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			goldenArchive(t, name)
		})
	}
}

func goldenArchive(t *testing.T, name string) {
	t.Helper()
	a, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var rewritten []txtar.File
	for i := 0; i < len(a.Files); i++ {
		f := a.Files[i]
		title, isCase := strings.CutSuffix(f.Name, ".yaml")
		if !isCase || seen[title] {
			t.Fatalf("%s: file %q is out of place", name, f.Name)
		}
		seen[title] = true
		var want []byte
		if i+1 < len(a.Files) && a.Files[i+1].Name == title+".want" {
			want = a.Files[i+1].Data
			i++
		}
		got := said(expand(string(a.Comment), string(f.Data)))
		rewritten = append(rewritten, f, txtar.File{Name: title + ".want", Data: []byte(got)})
		if *update {
			continue
		}
		t.Run(title, func(t *testing.T) {
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("problems of\n%s\n(-want +got)\n%s", f.Data, diff)
			}
		})
	}
	if *update {
		a.Files = rewritten
		if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// expand puts piece in the place of @@, indented as that is.
func expand(template, piece string) string {
	at := strings.Index(template, "@@")
	if at < 0 {
		return piece
	}
	lineStart := strings.LastIndexByte(template[:at], '\n') + 1
	indent := strings.Repeat(" ", at-lineStart)
	piece = strings.TrimSuffix(piece, "\n")
	return template[:at] + strings.ReplaceAll(piece, "\n", "\n"+indent) + template[at+2:]
}

// said returns what a person would be told about a file, without its name.
func said(data string) string {
	var out strings.Builder
	cfg, err := config.Parse("x.yaml", []byte(data), config.Options{})
	problems, ok := errors.AsType[config.Problems](err)
	switch {
	case err == nil:
		for _, w := range cfg.Warnings {
			out.WriteString("warning: " + strings.TrimPrefix(w.String(), "x.yaml:") + "\n")
		}
		if len(cfg.Warnings) == 0 {
			out.WriteString("ok\n")
		}
	case !ok:
		out.WriteString("not Problems: " + err.Error() + "\n")
	default:
		for _, p := range problems {
			out.WriteString(strings.TrimPrefix(p.String(), "x.yaml:") + "\n")
		}
	}
	return out.String()
}
