package web

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/alexedwards/scs/v2"

	"github.com/mintmark/mintmark/mint"
)

// scs makes its tokens itself, and mint.Client.CookieHandler marks them.
func TestSCS(t *testing.T) {
	t.Parallel()
	const (
		clients = 30
		visits  = 9
	)
	scheme, assignments := planned(t)
	var nodes []node
	for _, name := range names {
		client := minting(t, mint.File(assignments[name]))
		sessions := scs.New()
		mux := http.NewServeMux()
		mux.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
			n := sessions.GetInt(r.Context(), "n") + 1
			sessions.Put(r.Context(), "n", n)
			_, _ = fmt.Fprintf(w, "%s %d", name, n)
		})
		sessions.Cookie.Secure = false
		nodes = append(nodes, node{name, serve(t, client.CookieHandler("session", sessions.LoadAndSave(mux))), ""})
	}
	f := startFleet(t, "[{cookie: session}]", scheme, nodes)
	shoppers := make([]*shopper, clients)
	for i := range shoppers {
		shoppers[i] = f.newShopper(t, f.routed, i)
	}
	f.rounds(t, visits, func(round int) {
		each(clients, func(i int) {
			if _, err := shoppers[i].visit("/count"); err != nil {
				t.Errorf("client %d, visit %d: %v", i, round, err)
			}
		})
	})
	var lost atomic.Int64
	each(clients, func(i int) {
		s := f.newShopper(t, f.control, i)
		for range visits {
			if _, err := s.visit("/count"); err != nil {
				lost.Add(1)
				return
			}
		}
	})
	t.Logf("routed by mint: %d visits, no session lost; round robin: %d of %d sessions lost", clients*visits, lost.Load(), clients)
	if lost.Load() < clients*9/10 {
		t.Errorf("round robin lost %d of %d sessions; want nearly all", lost.Load(), clients)
	}
}
