package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/config"
)

const minimal = `version: 1
listeners: [{name: web, listen: "127.0.0.1:8443", protocol: tls, pool: web}]
pools: [{name: web, servers: [{name: a, address: "127.0.0.1:9001"}]}]
`

// TestHostileShapes reads files that are made to cost more than they weigh. A
// quadratic step anywhere would take minutes for each of them.
func TestHostileShapes(t *testing.T) {
	t.Parallel()
	const size = 128 << 10
	const patience = time.Minute // of a slow machine with the race detector; a second is usual
	repeat := func(s string) string { return strings.Repeat(s, size/len(s)) }
	numbered := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, data := range map[string]string{
		"open brackets":       repeat("["),
		"pairs of brackets":   repeat("[") + repeat("]"),
		"open braces":         repeat("{a: "),
		"dashes":              repeat("- "),
		"deep indentation":    deepBlocks(1000),
		"complex keys":        repeat("? "),
		"colons":              repeat("a: "),
		"anchors":             repeat("&a "),
		"aliases":             "a: [&x 1" + repeat(",*x") + "]",
		"tags":                repeat("!!a "),
		"documents":           repeat("---\na\n"),
		"document ends":       repeat("...\n"),
		"directives":          repeat("%a\n"),
		"keys":                numbered("k%d: v\n"),
		"keys in braces":      "{" + numbered("k%d: v, ") + "}",
		"keys without value":  "{" + numbered("k%d, ") + "}",
		"the same key":        repeat("version: 1\n"),
		"a long list":         "a: [" + repeat("1, ") + "]",
		"a long word":         repeat("a"),
		"a long key":          repeat("a") + ": 1",
		"many words":          "a: " + repeat("b\n  "),
		"a long quote":        `a: "` + repeat("b\n  ") + `"`,
		"an open quote":       "a: '" + repeat("b"),
		"a long block":        "a: |\n" + repeat("  b\n"),
		"comments":            repeat("# c\n"),
		"blank lines":         "a:" + repeat("\n") + "b",
		"carriage returns":    repeat("a: 1\r"),
		"spaces":              repeat(" "),
		"tabs":                repeat("\t"),
		"listeners":           "listeners: [" + repeat("{}, ") + "]",
		"lists of nothing":    "listeners:\n" + repeat("-\n"),
		"dashes and comments": "listeners:\n" + repeat("- # c\n"),
		"keys of nothing":     "listeners:\n" + repeat("- a:\n"),
		"braces of nothing":   "listeners: [" + repeat("{a}, ") + "]",
		"colons of nothing":   "listeners: [" + repeat("{a: }, ") + "]",
		"pairs of nothing":    "listeners: [" + repeat("a: , ") + "]",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, err := config.Parse("x.yaml", []byte(data), config.Options{})
			checkProblems(t, data, err)
			if d := time.Since(start); d > patience {
				t.Errorf("took %v", d)
			}
		})
	}
}

func deepBlocks(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// TestAliasBombs: a small file that stands for a large one is refused before
// it is expanded.
func TestAliasBombs(t *testing.T) {
	t.Parallel()
	list := func(item string, n int) string { return "[" + strings.Repeat(item+", ", n) + "]" }
	for name, data := range map[string]string{
		"lists of lists": "version: 1\n" +
			"pools:\n" +
			"  - name: web\n" +
			"    servers:\n" +
			"      - &s\n" +
			"        name: a\n" +
			"        address: 127.0.0.1:1\n" +
			"        ids:\n" +
			"          - &r {bits: {mask: ff, values: " + list(`"01"`, 500) + "}}\n" +
			strings.Repeat("          - *r\n", 300) +
			strings.Repeat("      - *s\n", 300) +
			"listeners: []\n",
		"merge keys": "version: 1\n" +
			"pools:\n" +
			"  - servers:\n" +
			"      - &s {" + numberedKeys(200) + "}\n" +
			strings.Repeat("      - {<<: *s}\n", 600) +
			"listeners: []\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Parse("x.yaml", []byte(data), config.Options{})
			checkProblems(t, data, err)
			if got, want := err.Error(), "aliases (*) and merge keys (<<) add more than 100000 values"; !strings.Contains(got, want) {
				t.Errorf("got %.500s; want %s", got, want)
			}
		})
	}
}

func numberedKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d: v, ", i)
	}
	return b.String()
}

// TestBudget: what is written out is never held to the bound of aliases.
func TestBudget(t *testing.T) {
	t.Parallel()
	for _, data := range seeds(t) {
		if spent := config.Aliased(data); spent > 0 && !strings.Contains(data, "*") {
			t.Errorf("decoding counts %d values more than there are in\n%s", spent, data)
		}
	}
	const data = "version: 1\npools: [{name: &n web, servers: [{name: *n}]}]\n"
	if spent := config.Aliased(data); spent != 1 {
		t.Errorf("got %d aliased values; want 1 in\n%s", spent, data)
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	data := minimal + strings.Repeat("#\n", config.MaxFileSize/2)
	_, err := config.Parse("x.yaml", []byte(data), config.Options{})
	checkProblems(t, data, err)
	name := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = config.Load(name, config.Options{})
	if _, ok := errors.AsType[config.Problems](err); !ok || !strings.Contains(err.Error(), "is larger than 8 MiB") {
		t.Errorf("got %v", err)
	}
	// An endless file is not read to its end.
	_, err = config.Load("/dev/zero", config.Options{})
	if !strings.Contains(fmt.Sprint(err), "is larger than 8 MiB") {
		t.Errorf("/dev/zero: got %v", err)
	}
}

func TestManyProblems(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("version: 1\nlisteners:\n")
	for range 5 * config.MaxProblems {
		b.WriteString("  - {}\n")
	}
	_, err := config.Parse("x.yaml", []byte(b.String()), config.Options{})
	problems, _ := errors.AsType[config.Problems](err)
	if len(problems) != config.MaxProblems+1 {
		t.Fatalf("got %d problems; want %d and one that says that there are more", len(problems), config.MaxProblems)
	}
	if got, want := problems[config.MaxProblems].Reason, "has more than 200 problems"; got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{filepath.Join(dir, "nowhere.yaml"), dir} {
		_, err := config.Load(name, config.Options{})
		if _, ok := errors.AsType[config.Problems](err); err == nil || ok {
			t.Errorf("%s: got %v; want an error that is no Problems", name, err)
		}
	}
}

// TestNotText: what is no text is refused in the line where it stands.
func TestNotText(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ data, want string }{
		{"version: 1\n\x00", "x.yaml:2: has a control character U+0000; remove it; is this the right file?"},
		{"version: 1 # \x1b[31m", "x.yaml:1: has a control character U+001B; remove it; is this the right file?"},
		{"\n\nversion: \xff1\n", "x.yaml:3: has a byte 0xff that is not UTF-8; save the file as UTF-8"},
	} {
		_, err := config.Parse("x.yaml", []byte(tc.data), config.Options{})
		if got := fmt.Sprint(err); got != tc.want {
			t.Errorf("%q: got %s; want %s", tc.data, got, tc.want)
		}
	}
	for name, data := range map[string]string{
		"byte order mark": "\uFEFF" + minimal,
		"CRLF":            strings.ReplaceAll(minimal, "\n", "\r\n"),
		"no end of line":  strings.TrimSuffix(minimal, "\n"),
	} {
		if _, err := config.Parse("x.yaml", []byte(data), config.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLines: problems are found in the right line whatever stands above them.
func TestLines(t *testing.T) {
	t.Parallel()
	for name, above := range map[string]string{
		"nothing":          "",
		"comments":         "# one\n\n# two\n   # three\n",
		"CRLF":             "# one\r\n\r\n",
		"folded value":     "shutdown_grace: >-\n  30s\n",
		"multi-line quote": "shutdown_grace: \"30s\\\n  \"\n",
		"flow":             "admin: {\n  listen:\n    \"127.0.0.1:7071\" # here\n  ,\n}\n",
		"marker":           "---\n",
	} {
		data := above + minimal + "here: 1\n"
		want := strings.Count(above+minimal, "\n") + 1
		_, err := config.Parse("x.yaml", []byte(data), config.Options{})
		problems, _ := errors.AsType[config.Problems](err)
		if len(problems) != 1 || problems[0].Line != want || problems[0].Path != "here" {
			t.Errorf("%s: got %v; want one problem in line %d", name, err, want)
		}
	}
}

// TestProblemsBeyondTheLimit: a value whose problem is not shown any more is
// still not used.
func TestProblemsBeyondTheLimit(t *testing.T) {
	t.Parallel()
	const rules = "{range: {from: ~, to: [1]}}, {bits: {mask: ~, values: ~}}, {prefix: ~}, {suffix: ~}, {bits: ~}, {range: x}, "
	data := "version: 1\nlisteners: []\npools:\n  - name: web\n    drain_timeout: ~\n    health: {timeout: ~}\n" +
		"    scheme: {kind: function, name: f}\n    groups: [{number: ~}]\n    servers: [" +
		strings.Repeat("{name: a, number: ~, ids: ["+strings.Repeat(rules, 20)+"]}, ", 20) + "]\n"
	_, err := config.Parse("x.yaml", []byte(data), config.Options{})
	checkProblems(t, data, err)
}

// TestSharedMistakes: a mistake behind an anchor does not go unnoticed where
// the anchor is used.
func TestSharedMistakes(t *testing.T) {
	t.Parallel()
	const data = `version: 1
pools:
  - name: web
    scheme: {kind: function, name: f}
    servers:
      - &s {name: a, address: "127.0.0.1:9001", number: *nobody, ids: [{range: {from: *nobody, to: *nobody}}, {prefix: *nobody}]}
      - *s
      - {<<: *s, name: b}
listeners: [{name: web, listen: *nobody, protocol: tls, pool: web}]
`
	_, err := config.Parse("x.yaml", []byte(data), config.Options{})
	checkProblems(t, data, err)
}

// TestMissingValues: a thousand settings without a value are as many problems;
// more are one.
func TestMissingValues(t *testing.T) {
	t.Parallel()
	for name, item := range map[string]string{
		"items":  "  -\n",
		"keys":   "  - a:\n",
		"commas": "  - {a: , b, c}\n",
	} {
		want := "has more than 1000 settings and list items without a value"
		for n, more := range map[int]bool{config.MaxMissing/3 - 1: false, config.MaxMissing + 1: true} {
			_, err := config.Parse("x.yaml", []byte("listeners:\n"+strings.Repeat(item, n)), config.Options{})
			if got := strings.Contains(fmt.Sprint(err), want); got != more {
				t.Errorf("%d %s: got %.300v; want %q in it: %v", n, name, err, want, more)
			}
		}
	}
}
