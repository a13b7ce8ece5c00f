package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/internal/config"
)

// documents returns the text of every Markdown file, by its path from the
// root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "node_modules") {
			return filepath.SkipDir // what tools and tests bring along
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		all[name] = string(text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found %d documents; the list cannot be right", len(all))
	}
	return all
}

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(version: .*?)^```")

// What people copy out of a document must be accepted as it is.
func TestConfigurationsInDocumentsAreGood(t *testing.T) {
	t.Parallel()
	found := 0
	for name, text := range documents(t) {
		for _, m := range yamlBlock.FindAllStringSubmatch(text, -1) {
			found++
			path := filepath.Join(t.TempDir(), "mintmark.yaml")
			if err := os.WriteFile(path, []byte(m[1]), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := config.Load(path, config.Options{WithoutPlans: true})
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, m[1])
				continue
			}
			for _, w := range c.Warnings {
				t.Errorf("%s: warning: %v\n%s", name, w, m[1])
			}
		}
	}
	if found < 4 {
		t.Errorf("found %d configurations in all documents; the pattern cannot be right", found)
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)|src="([^"]+)"`)

func TestLinksInDocumentsLeadSomewhere(t *testing.T) {
	t.Parallel()
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, _, _ := strings.Cut(m[1]+m[2], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			path := filepath.Join(root, filepath.Dir(name), target)
			if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s links to %s, which does not exist", name, target)
			}
		}
	}
}

var metric = regexp.MustCompile(`\bmintmark_([a-z_]+)`)

// A metric that a document tells operators to watch is one that package
// metrics makes.
func TestMetricsInDocumentsExist(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, "internal", "metrics", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("reading package metrics: %d files, %v", len(files), err)
	}
	var source strings.Builder
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	for name, text := range documents(t) {
		for _, m := range metric.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(source.String(), `"`+m[1]+`"`) {
				t.Errorf("%s speaks of the metric %s, which does not exist", name, m[0])
			}
		}
	}
}
