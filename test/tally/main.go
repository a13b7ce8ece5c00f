// Command tally reads what `go test -json` writes, shows a line per package
// and all output of what failed, and closes with the number of tests that
// passed and failed. A test that skipped itself counts as a failure: this
// tree installs what its tests need instead of passing over them.
//
// It is run by `make test`; go test's own text output has no such count and
// hides skipped tests.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	ok, err := run(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally: error:", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

// An event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string
	Output     string
	Elapsed    float64
}

// A test is known by its package and name.
type test struct{ pkg, name string }

type tally struct {
	out     io.Writer
	output  map[test][]string // of what has not ended yet; name "" is the package's own
	parents map[test]bool     // tests that have subtests: these are not counted
	results map[test]string
	broken  int // packages that failed without a failed test: build errors, panics, time-outs
}

// run reports whether everything passed.
func run(in io.Reader, out io.Writer) (bool, error) {
	t := &tally{
		out:     out,
		output:  map[test][]string{},
		parents: map[test]bool{},
		results: map[test]string{},
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20) // a dump of all goroutines can be one long line
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			// go test prints what is not about a test as plain text.
			fmt.Fprintln(out, lines.Text())
			continue
		}
		t.add(&e)
	}
	if err := lines.Err(); err != nil {
		return false, fmt.Errorf("reading test output: %w", err)
	}
	return t.close(), nil
}

func (t *tally) add(e *event) {
	k := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(t.out, e.Output)
	case "run":
		if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
			t.parents[test{e.Package, e.Test[:i]}] = true
		}
	case "output":
		t.output[k] = append(t.output[k], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.closePackage(e)
			return
		}
		t.results[k] = e.Action
		if e.Action != "pass" {
			t.show(k)
		}
		delete(t.output, k)
	}
}

func (t *tally) show(k test) {
	for _, s := range t.output[k] {
		fmt.Fprint(t.out, s)
	}
}

func (t *tally) closePackage(e *event) {
	k := test{e.Package, ""}
	if e.Action == "fail" {
		blamed := false
		for r, result := range t.results {
			blamed = blamed || r.pkg == e.Package && result == "fail"
		}
		if !blamed {
			t.broken++
		}
		// Tests that never ended: a panic or a time-out cut them off.
		unfinished := []string{}
		for o := range t.output {
			if o.pkg == e.Package && o.name != "" {
				unfinished = append(unfinished, o.name)
			}
		}
		slices.Sort(unfinished)
		for _, name := range unfinished {
			t.show(test{e.Package, name})
			delete(t.output, test{e.Package, name})
		}
		t.show(k)
	}
	delete(t.output, k)
	word := map[string]string{"pass": "ok", "fail": "FAIL", "skip": "none"}[e.Action]
	fmt.Fprintf(t.out, "%-5s %-60s %7.2fs\n", word, e.Package, e.Elapsed)
}

// close prints the count and reports whether everything passed.
func (t *tally) close() bool {
	count := map[string]int{}
	skipped := []string{}
	for k, result := range t.results {
		if t.parents[k] && result != "fail" {
			continue
		}
		count[result]++
		if result == "skip" {
			skipped = append(skipped, k.pkg+"."+k.name)
		}
	}
	slices.Sort(skipped)
	for _, s := range skipped {
		fmt.Fprintf(t.out, "skipped, which counts as a failure: %s\n", s)
	}
	failed := count["fail"] + count["skip"] + t.broken
	fmt.Fprintf(t.out, "%d passed, %d failed\n", count["pass"], failed)
	return failed == 0 && count["pass"] > 0
}
