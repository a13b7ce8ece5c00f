package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mintmark/mintmark/mint"
)

// A responder is a server of chained responses: each turn names the response
// before it, and gets an ID of its own. The server alone knows what was said.
type responder struct {
	register
	client *mint.Client
	turns  sync.Map // response ID to what was said up to it
}

type responseRequest struct {
	Model    string `json:"model"`
	Previous string `json:"previous_response_id,omitempty"`
	Input    string `json:"input"`
}

type response struct {
	ID     string `json:"id"`
	Output string `json:"output"`
}

func (s *responder) create(w http.ResponseWriter, r *http.Request) {
	var in responseRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	said := in.Input
	if in.Previous != "" {
		if !s.see(in.Previous) {
			http.Error(w, "previous response not found", http.StatusNotFound)
			return
		}
		before, _ := s.turns.Load(in.Previous)
		said = before.(string) + " " + said
	}
	out := response{"resp_" + s.client.ID(), said}
	s.add(out.ID)
	s.turns.Store(out.ID, said)
	_ = json.NewEncoder(w).Encode(out)
}

func (s *responder) get(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !s.see(id) {
		http.NotFound(w, r)
		return
	}
	said, _ := s.turns.Load(id)
	_ = json.NewEncoder(w).Encode(response{id, said.(string)})
}

// A conversation goes on from its last response.
type conversation struct {
	client *http.Client
	last   string
	said   []string
}

// turn says something, and checks that the server knows all that was said.
func (c *conversation) turn(word string, padding int) error {
	text, err := json.Marshal(responseRequest{"m", c.last, word})
	if err != nil {
		return err
	}
	if padding > 0 { // a long member in front of the one that decides
		text = append(fmt.Appendf(nil, `{"instructions": %q, `, strings.Repeat("x", padding)), text[1:]...)
	}
	req, err := http.NewRequest(http.MethodPost, "http://responses.example/v1/responses", bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	c.said = append(c.said, word)
	out, err := c.do(req)
	c.last = out.ID
	return err
}

// again fetches the last response.
func (c *conversation) again() error {
	req, err := http.NewRequest(http.MethodGet, "http://responses.example/v1/responses/"+c.last, nil)
	if err != nil {
		return err
	}
	_, err = c.do(req)
	return err
}

func (c *conversation) do(req *http.Request) (response, error) {
	var out response
	resp, err := c.client.Do(req)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return out, err
	}
	if resp.StatusCode != http.StatusOK {
		return out, fmt.Errorf("%s: %s", resp.Status, body)
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, err
	}
	if want := strings.Join(c.said, " "); out.Output != want {
		return out, fmt.Errorf("the server knows %q; want %q", out.Output, want)
	}
	return out, nil
}

// The ID changes with every turn, so no cookie and no table helps: it says
// whose it is, or the conversation is lost.
func TestChainedResponses(t *testing.T) {
	t.Parallel()
	const (
		conversations = 100
		turns         = 20
	)
	scheme, assignments := planned(t)
	var servers []*responder
	var nodes []node
	for _, name := range names {
		s := &responder{client: minting(t, mint.File(assignments[name]))}
		mux := http.NewServeMux()
		mux.HandleFunc("POST /v1/responses", s.create)
		mux.HandleFunc("GET /v1/responses/{id}", s.get)
		servers = append(servers, s)
		nodes = append(nodes, node{name, serve(t, mux), ""})
	}
	f := startFleet(t, `[{json: previous_response_id, after: "resp_"}, {path: "/v1/responses/{id}", after: "resp_"}]`, scheme, nodes)
	total := func() (requests, strays int64) {
		for _, s := range servers {
			requests += s.requests.Load()
			strays += s.strays.Load()
		}
		return requests, strays
	}
	start := func(addrs []string) []*conversation {
		all := make([]*conversation, conversations)
		for i := range all {
			all[i] = &conversation{client: &http.Client{Transport: f.front(t, addrs, i)}}
		}
		return all
	}

	routed := start(f.routed)
	f.rounds(t, turns, func(round int) {
		each(conversations, func(i int) {
			padding := 0
			if (i+round)%10 == 0 {
				padding = 20_000 + rand.IntN(20_000)
			}
			if err := routed[i].turn(fmt.Sprint("word", round), padding); err != nil {
				t.Errorf("conversation %d, turn %d: %v", i, round, err)
			}
			if round%5 == 4 {
				if err := routed[i].again(); err != nil {
					t.Errorf("conversation %d, asking again after turn %d: %v", i, round, err)
				}
			}
		})
	})
	requests, strays := total()
	if want := int64(conversations * (turns - 1 + turns/5)); requests != want || strays != 0 {
		t.Errorf("%d requests with an ID, %d of them to a server that did not know it; want %d and none", requests, strays, want)
	}
	if n := f.refused(); n != 0 {
		t.Errorf("the balancers refused %v requests; want none", n)
	}

	var lost atomic.Int64
	control := start(f.control)
	each(conversations, func(i int) {
		for round := range turns {
			if err := control[i].turn(fmt.Sprint("word", round), 0); err != nil {
				lost.Add(1)
				return
			}
		}
	})
	t.Logf("routed by mint: %d requests, no stray; round robin: %d of %d conversations lost", requests, lost.Load(), conversations)
	if lost.Load() < conversations*9/10 {
		t.Errorf("round robin lost %d of %d conversations; want nearly all", lost.Load(), conversations)
	}
}
