package config

import (
	"slices"
	"strings"
)

// nearest returns the candidate that a person who wrote word probably meant,
// and "" when none is near.
func nearest(word string, candidates []string) string {
	const longest = 64 // bytes: what is longer is no slip of the pen
	if len(word) > longest {
		return ""
	}
	best, bestDistance := "", len(word)/3+2
	for _, c := range candidates {
		if len(word) >= 4 && strings.HasPrefix(letters(c), letters(word)) {
			return c // maxconn, leastconn, polic
		}
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

func letters(s string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s))
}

// distance is the number of letters to insert, remove, replace or swap with
// their neighbour to get from a to b.
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	var last []int // the row before the row before
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last, before = before, row
		row = make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(before[j]+cost, before[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], last[j-1]+1)
			}
		}
	}
	return row[len(b)]
}

// oneOf writes the choices as a person would: "a, b or c".
func oneOf(choices []string) string {
	if len(choices) == 1 {
		return choices[0]
	}
	last := len(choices) - 1
	return strings.Join(choices[:last], ", ") + " or " + choices[last]
}

// chooseFrom is the remedy for a word that is none of the choices.
func chooseFrom(word string, choices []string) string {
	if c := nearest(word, choices); c != "" {
		return "write " + c
	}
	const most = 12
	if len(choices) > most {
		choices = append(slices.Clone(choices[:most]), "another of them")
	}
	return "write " + oneOf(choices)
}
