package webui

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

type poolsData struct{ Pools []poolSummary }

// poolSummary is a pool in the list.
type poolSummary struct {
	Name, Link, Scheme string
	Servers            int
	Generation         uint32
	Steps              []step
	Waits              int
	Planned            bool
}

func (u *UI) poolsIndex(w http.ResponseWriter, r *http.Request, v *visit) error {
	st, err := u.status.get(r.Context())
	if err != nil {
		return err
	}
	d := &poolsData{}
	for _, p := range st.GetPools() {
		ro := rolloutOf(st, p.GetName())
		s := poolSummary{
			Name: p.GetName(), Link: poolLink(p.GetName()), Scheme: p.GetScheme().GetKind(), Servers: len(p.GetServers()),
			Generation: ro.GetMintingGeneration(), Waits: len(ro.GetWaits()), Planned: ro != nil,
		}
		s.Steps = steps(ro, s.Generation)
		d.Pools = append(d.Pools, s)
	}
	u.write(w, r, v, http.StatusOK, "pools", "Change", d)
	return nil
}

// A schemeChoice explains a scheme to somebody who has read nothing.
type schemeChoice struct {
	Kind, Title, Text, For string
}

func schemes() []schemeChoice {
	return []schemeChoice{
		{
			"ranges", "Ranges", "Each server gets one stretch of numbers, and every ID that it makes begins with a number in it. An ID that begins with 4d lies between 4c and 4e: you can tell whose it is by reading it.",
			"The simple choice. Anybody who sees an ID can tell which sessions share a server.",
		},
		{
			"bits", "Bits", "Some bits of an ID spell a server's value, and the rest are random. Like ranges, but each server has one value, such as 4d4d0001, that is easy to search for.",
			"For logs, and for products that can only put a constant in front of their IDs.",
		},
		{
			"sealed", "Sealed", "The mark is encrypted with a key that only balancers have. To everybody else it is random, and nobody can make one up. It takes 16 bytes, which is what a TLS ticket's key name has.",
			"Where clients must not learn how many servers there are, or aim at one.",
		},
	}
}

// A poolForm is the form of a new pool, as it was filled in.
type poolForm struct {
	Name, Kind, Servers, Lifetime, WhenDown, Policy string
	Problem                                         string
	Schemes                                         []schemeChoice
}

func formOf(r *http.Request) poolForm {
	f := poolForm{
		Name: strings.TrimSpace(r.FormValue("name")), Kind: r.FormValue("kind"), Servers: r.FormValue("servers"),
		Lifetime: strings.TrimSpace(r.FormValue("lifetime")), WhenDown: r.FormValue("when_down"), Policy: r.FormValue("policy"), Schemes: schemes(),
	}
	if f.Kind == "" {
		f.Kind = "ranges"
	}
	if f.Lifetime == "" {
		f.Lifetime = "24h"
	}
	return f
}

func (u *UI) newPool(w http.ResponseWriter, r *http.Request, v *visit) error {
	u.write(w, r, v, http.StatusOK, "newpool", "Create a pool", formOf(r))
	return nil
}

// pool reads the form.
func (f *poolForm) pool() (*mintmarkv1.Pool, error) {
	p := &mintmarkv1.Pool{Name: f.Name, Scheme: &mintmarkv1.Scheme{Kind: f.Kind}}
	in := map[string]string{"session_lifetime": f.Lifetime}
	if f.WhenDown != "" {
		in["when_owner_down"] = f.WhenDown
	}
	if f.Policy != "" {
		in["policy"] = f.Policy
	}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	p.SettingsJson = string(text)
	groups := make(map[string]bool)
	for n, line := range strings.Split(f.Servers, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		s, err := parseServer(line)
		if err != nil {
			return nil, fmt.Errorf("line %d of the servers: %w", n+1, err)
		}
		if g := s.GetGroup(); g != "" && !groups[g] {
			groups[g] = true
			p.Groups = append(p.Groups, &mintmarkv1.Group{Name: g})
		}
		p.Servers = append(p.Servers, s)
	}
	return p, nil
}

// parseServer reads "NAME ADDRESS [group=G] [share=N] [weight=N]".
func parseServer(line string) (*mintmarkv1.Server, error) {
	words := strings.Fields(line)
	if len(words) < 2 {
		return nil, fmt.Errorf("%q has no address; write a name and an address, such as: a 10.0.0.1:443", strings.TrimSpace(line))
	}
	s := &mintmarkv1.Server{Name: words[0], Address: words[1]}
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		if key == "group" && value != "" {
			s.Group = value
			continue
		}
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil || key != "share" && key != "weight" {
			return nil, fmt.Errorf("%q is none of group=NAME, share=NUMBER and weight=NUMBER", word)
		}
		if key == "share" {
			s.Share = new(uint32(n))
		} else {
			s.Weight = new(uint32(n))
		}
	}
	return s, nil
}

// previewData shows a plan before it is applied.
type previewData struct {
	Title  string
	Intro  string
	Diff   *diffData
	Action string      // where Apply goes
	Hidden [][2]string // what it sends
	Button string
	Back   string
	Next   []string // what will happen
	Costs  []string // to be accepted
}

func (u *UI) createPool(w http.ResponseWriter, r *http.Request, v *visit) error {
	f := formOf(r)
	p, err := f.pool()
	if err == nil && f.Name == "" {
		err = fmt.Errorf("the pool has no name; write one, such as web")
	}
	apply := r.PostFormValue("apply") != ""
	var out *connect.Response[mintmarkv1.PutPoolResponse]
	if err == nil {
		if st, stErr := u.status.get(r.Context()); stErr == nil && poolOf(st, f.Name) != nil {
			err = fmt.Errorf("there is a pool %s already; take another name, or add servers to that one", f.Name)
		}
	}
	if err == nil {
		out, err = v.api.PutPool(r.Context(), connect.NewRequest(&mintmarkv1.PutPoolRequest{Pool: p, DryRun: !apply}))
	}
	if err != nil {
		if code := connect.CodeOf(err); code != connect.CodeInvalidArgument && code != connect.CodeUnknown {
			return err
		}
		f.Problem = sentence(asRefusal(err).text)
		u.write(w, r, v, http.StatusUnprocessableEntity, "newpool", "Create a pool", f)
		return nil
	}
	if apply {
		u.status.drop()
		http.Redirect(w, r, poolLink(f.Name), http.StatusSeeOther)
		return nil
	}
	u.write(w, r, v, http.StatusOK, "preview", "The plan of "+f.Name, &previewData{
		Title: "The plan of " + f.Name, Intro: "Nothing has been changed yet. This is what each server would own.",
		Diff: drawDiff(out.Msg.GetDiff()), Action: "/pools/new", Button: "Create the pool", Back: "/pools/new?" + query(f),
		Hidden: [][2]string{{"name", f.Name}, {"kind", f.Kind}, {"servers", f.Servers}, {"lifetime", f.Lifetime}, {"when_down", f.WhenDown}, {"policy", f.Policy}},
		Next: []string{
			"Every balancer is told, and says that it can route these IDs.",
			"Then each server is given its space by its agent, and mints in it.",
			"What belongs to nobody is the reserve, for servers to come.",
		},
	})
	return nil
}

// A poolData is the page of a pool: its rollout, step by step.
type poolData struct {
	Name        string
	Scheme      string
	Planned     bool
	Revision    uint64
	Servers     []serverRow
	MoreServers int
	Steps       []step
	Generations []generationSteps
	Waits       []waitRow
	Done        bool
	Balancers   []balancerRow
	Join        *joinCommand // of a server that has no agent
	URL         string
}

// A step of a rollout with how far it is.
type step struct {
	Name  string
	Text  string
	State string // "done", "now" or "later"
	Count string
}

type generationSteps struct {
	Number uint32
	Steps  []step
	Note   string
}

type waitRow struct {
	Title, Reason string
	Since, Until  string
	Cost          string
	Link          string
}

type balancerRow struct {
	Name         string
	State        state
	Acknowledged uint64
	Seen         string
}

// steps says how far a generation is.
func steps(ro *mintmarkv1.Rollout, generation uint32) []step {
	total, routed, minting := 0, 0, 0
	for _, sp := range ro.GetSpaces() {
		if sp.GetGeneration() != generation || sp.GetOwner() == "" {
			continue
		}
		switch sp.GetPhase() {
		case mintmarkv1.Phase_PHASE_RETIRING, mintmarkv1.Phase_PHASE_DEAD:
			continue
		case mintmarkv1.Phase_PHASE_MINTING:
			minting++
			routed++
		case mintmarkv1.Phase_PHASE_ACKNOWLEDGED:
			routed++
		default: // not yet
		}
		total++
	}
	count := func(n int) string { return fmt.Sprintf("%d of %d", n, total) }
	all := []step{
		{"Planned", "The plan has it.", "done", count(total)},
		{"Routed", "Every balancer has it on disk and routes by it.", "now", count(routed)},
		{"Minting", "The servers mint it, seen on the wire.", "later", count(minting)},
	}
	if total == 0 {
		all[0].State, all[1].State = "now", "later"
		return all
	}
	if routed == total {
		all[1].State, all[2].State = "done", "now"
	}
	if minting == total {
		all[2].State = "done"
	}
	return all
}

// retiring says how far an old generation is.
func retiring(ro *mintmarkv1.Rollout, generation uint32) []step {
	total, stopped := 0, 0
	for _, sp := range ro.GetSpaces() {
		if sp.GetGeneration() == generation && sp.GetOwner() != "" {
			total++
			if sp.GetPhase() == mintmarkv1.Phase_PHASE_DEAD {
				stopped++
			}
		}
	}
	return []step{
		{"Replaced", "Servers were told to mint the next one.", "done", ""},
		{"Retiring", "No new IDs; those that are left are still routed.", "now", fmt.Sprintf("%d of %d dead", stopped, total)},
		{"Gone", "No ID of it is left. Its values can be given out again.", "later", ""},
	}
}

func (u *UI) pool(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := u.poolNow(r, r.PathValue("pool"))
	if err != nil {
		return err
	}
	u.write(w, r, v, http.StatusOK, "pool", "Pool "+d.Name, d)
	return nil
}

// poolRows bounds the servers on the page of a pool.
const poolRows = 50

func (u *UI) poolNow(r *http.Request, name string) (*poolData, error) {
	st, err := u.status.get(r.Context())
	if err != nil {
		return nil, err
	}
	p := poolOf(st, name)
	if p == nil {
		return nil, noPool(name)
	}
	ro := rolloutOf(st, name)
	d := &poolData{Name: name, Scheme: p.GetScheme().GetKind(), Planned: ro != nil, Revision: p.GetRevision(), URL: u.cfg.URL}
	live, agents, spaces := u.traffic.sample().serversOf(name), agentsOf(st, name), spacesByOwner(ro)
	for i, s := range p.GetServers() {
		if a := agents[s.GetName()]; ro != nil && d.Join == nil && (a == nil || a.GetLastSeen() == nil) {
			d.Join = &joinCommand{name, s.GetName(), s.GetAddress(), u.cfg.URL}
		}
		if i >= poolRows {
			d.MoreServers++
			continue
		}
		d.Servers = append(d.Servers, u.row(p, s, live[s.GetName()], agents[s.GetName()], spaces[s.GetName()]))
	}
	if ro != nil {
		d.addRollout(ro, u)
	}
	for _, b := range st.GetBalancers() {
		row := balancerRow{Name: b.GetName(), State: state{"connected", "good"}, Acknowledged: b.GetAcknowledgedRevision(), Seen: "–"}
		if !b.GetConnected() {
			row.State = state{"away", "bad"}
		}
		if b.GetLastSeen() != nil {
			row.Seen = ago(u.cfg.Now().Sub(b.GetLastSeen().AsTime())) + " ago"
		}
		d.Balancers = append(d.Balancers, row)
	}
	return d, nil
}

func (d *poolData) addRollout(ro *mintmarkv1.Rollout, u *UI) {
	seen := make(map[uint32]bool)
	for i := len(ro.GetSpaces()) - 1; i >= 0; i-- {
		g := ro.GetSpaces()[i].GetGeneration()
		if seen[g] {
			continue
		}
		seen[g] = true
		gs := generationSteps{Number: g, Steps: steps(ro, g)}
		if g < ro.GetMintingGeneration() {
			gs.Steps = retiring(ro, g)
		}
		d.Generations = append(d.Generations, gs)
	}
	for _, w := range ro.GetWaits() {
		row := waitRow{Title: waitKind(w.GetKind()) + " " + w.GetName(), Reason: w.GetReason(), Cost: w.GetCost()}
		if w.GetKind() == "sessions" {
			row.Title, row.Reason = "Sessions of generation "+w.GetName(), strings.TrimPrefix(w.GetReason(), "sessions ")
		}
		if w.GetSince() != nil {
			row.Since = ago(u.cfg.Now().Sub(w.GetSince().AsTime()))
		}
		if w.GetUntil() != nil {
			row.Until = w.GetUntil().AsTime().UTC().Format("2 January 15:04:05 UTC")
		}
		if w.GetCost() != "" {
			row.Link = poolLink(d.Name) + "/advance?" + waitQuery(w.GetKind(), w.GetName())
		}
		d.Waits = append(d.Waits, row)
	}
	d.Done = len(d.Waits) == 0 && len(d.Generations) > 0
}
