package backend

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTally(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		start      bool
		settled    bool
		rise, fall int
		results    string // + success, - failure
		want       string // state after each: U up, D down
	}{
		{"the first result decides: down", true, false, 2, 3, "-", "D"},
		{"the first result decides: up", false, false, 2, 3, "+", "U"},
		{"the second does not", true, false, 2, 3, "+---", "UUUD"},
		{"fall in a row", true, true, 2, 3, "--+---", "UUUUUD"},
		{"rise in a row", false, true, 2, 3, "+-++", "DDDU"},
		{"after a fall it takes a whole rise", true, true, 3, 1, "-+++-", "DDDUD"},
		{"rise and fall of less than one are one", true, true, 0, -1, "-+-+", "DUDU"},
	} {
		tally := tally{up: c.start, settled: c.settled}
		var got strings.Builder
		for _, r := range c.results {
			before := tally.up
			if changed := tally.count(r == '+', c.rise, c.fall); changed != (tally.up != before) {
				t.Errorf("%s: count said changed %v, and up went from %v to %v", c.name, changed, before, tally.up)
			}
			got.WriteString(map[bool]string{true: "U", false: "D"}[tally.up])
		}
		if got.String() != c.want {
			t.Errorf("%s: results %s: got states %s; want %s", c.name, c.results, got.String(), c.want)
		}
	}
}

// The state is a function of the results so far: the last run that was long
// enough decides, and before there is one the first result.
func TestTallyIsItsTwin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		results := rapid.SliceOfN(rapid.Bool(), 1, 40).Draw(t, "results")
		rise, fall := rapid.IntRange(1, 4).Draw(t, "rise"), rapid.IntRange(1, 4).Draw(t, "fall")
		tally := tally{up: rapid.Bool().Draw(t, "up")}
		for n := range results {
			tally.count(results[n], rise, fall)
			want := results[0]
			for end := 1; end <= n; end++ {
				run := 1
				for end-run >= 1 && results[end-run] == results[end] {
					run++
				}
				if need := map[bool]int{true: rise, false: fall}[results[end]]; run >= need {
					want = results[end]
				}
			}
			if tally.up != want {
				t.Fatalf("after %v with rise %d, fall %d: got up %v; want %v", results[:n+1], rise, fall, tally.up, want)
			}
		}
	})
}

// Other evidence than checks is evidence: after it no single check decides.
func TestTallySet(t *testing.T) {
	t.Parallel()
	tally := tally{up: true}
	tally.set(false)
	if tally.up || tally.count(true, 2, 3) || !tally.count(true, 2, 3) {
		t.Error("set to down: want two successes to bring it up, with rise 2")
	}
}
