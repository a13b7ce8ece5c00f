package mint_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/idspace/sealed"
	"github.com/mintmark/mintmark/mint"
)

// A server of Node.js mints from the state file of a Go client: each takes the
// other's IDs. What else the module for Node.js promises, its own tests say.
func TestNodeMintsTheSameIDs(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][]mint.Key{
		"constant": {key(1, true), key(0, false)},
		"sealed":   {sealedKey(1, true, sealed.NewKey()), sealedKey(0, false, sealed.NewKey())},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := newSource()
			state := filepath.Join(t.TempDir(), "mint.json")
			c := open(t, state, src)
			src.assign(assignment(1, keys...))
			var ids []string
			for range 100 {
				id, err := c.AddMark("own")
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, c.ID(), id)
			}
			file := filepath.Join(t.TempDir(), "made")
			cmd := exec.CommandContext(t.Context(), "node", "--test", "../contrib/node/mint.test.mjs")
			cmd.Env = append(os.Environ(), "MINT_STATE="+state, "MINT_IDS="+strings.Join(ids, "\n"), "MINT_MADE="+file)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("node --test: %v\n%s", err, out)
			}
			made, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(string(made), "\n")
			if len(lines) != 200 {
				t.Errorf("Node.js made %d IDs; want 200", len(lines))
			}
			for _, id := range lines {
				if !c.Owns(id) {
					t.Errorf("Go does not know Node's %q", id)
				}
			}
		})
	}
}
