package test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// The demo shows what it claims, in its JSON and to people: every session
// comes home although a replica is killed and a server drained meanwhile, and
// by round robin one in four does.
func TestDemo(t *testing.T) {
	t.Parallel()
	t.Run("json", func(t *testing.T) {
		t.Parallel()
		cmd := exec.Command(mintmark, "demo", "--once", "--json", "--duration", "6s")
		var talk strings.Builder
		cmd.Stderr = &talk
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, &talk)
		}
		if talk.Len() > 0 {
			t.Errorf("with --once it said %q", &talk)
		}
		got := map[string]float64{}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		for key, want := range map[string]struct{ least, most float64 }{
			"servers":             {4, 4},
			"connections":         {200, 1e6},
			"resumed_with":        {0.99, 1},
			"resumed_round_robin": {0.05, 0.45},
			"offered_with":        {100, 1e6},
			"offered_round_robin": {100, 1e6},
			"failed":              {0, 0},
			"replicas_restarted":  {1, 1},
			"servers_drained":     {1, 1},
			"new_on_drained":      {0, 0},
		} {
			if n, ok := got[key]; !ok || n < want.least || n > want.most {
				t.Errorf("%s is %v, there: %t; want %v to %v", key, n, ok, want.least, want.most)
			}
		}
		if t.Failed() {
			t.Logf("%s", out)
		}
	})
	t.Run("table", func(t *testing.T) {
		t.Parallel()
		out, err := exec.Command(mintmark, "demo", "--duration", "3s").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, want := range []string{
			"routed by ID", "plain round robin", "routed by:  balance", " mint ", "draining, 0 new",
			"replica 1 was killed and started again", "connections to 4 servers through 2 balancers",
		} {
			if !strings.Contains(string(out), want) {
				t.Errorf("the table lacks %q:\n%s", want, out)
			}
		}
	})
}
