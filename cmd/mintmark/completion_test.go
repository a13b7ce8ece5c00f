package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCandidates(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"ser":                       "serve server",
		"server ":                   "add address drain group remove share undrain weight",
		"server d":                  "drain",
		"rollout rotate web --end":  "--end-sessions",
		"rollout rotate --from":     "--from-revision",
		"check -":                   "-c --json",
		"check -c ":                 "",
		"help server a":             "add address",
		"nothing --":                "",
		"completion candidates -- ": "",
	} {
		got := candidates(strings.Split(line, " "))
		wanted := strings.Fields(want)
		if diff := cmp.Diff(len(wanted), len(got)); diff != "" || !containsAll(got, wanted) {
			t.Errorf("%q: got %v; want %v", line, got, wanted)
		}
	}
	if all := candidates(nil); len(all) < 10 {
		t.Errorf("nothing typed: %v", all)
	}
}

func containsAll(got, want []string) bool {
	for _, w := range want {
		if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+w+" ") {
			return false
		}
	}
	return true
}

// The script works in a real shell.
func TestBashCompletion(t *testing.T) {
	t.Parallel()
	script := bashCompletion + `
mintmark() { printf '%s\n' "$@" | tr '\n' ' ' >&2; echo rotate; echo status; }
COMP_WORDS=(mintmark rollout st); COMP_CWORD=2
_mintmark 2>/dev/null
echo "${COMPREPLY[@]}"
`
	out, err := exec.CommandContext(t.Context(), "bash", "-c", script).Output()
	if err != nil || strings.TrimSpace(string(out)) != "status" {
		t.Errorf("got %q, %v; want status", out, err)
	}
}
