package webui

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

// serversPerPage bounds a table: nobody reads more rows, and 3,000 would make
// each update long.
const serversPerPage = 100

type serversData struct {
	Pools []poolServers
	Query string
	Live  bool
}

// poolServers is the servers of a pool.
type poolServers struct {
	Name    string
	Planned bool
	Rows    []serverRow
	Total   int
	More    int // that are not shown
}

// A serverRow is a server.
type serverRow struct {
	ID            string // of the element
	Pool, Name    string
	Link          string
	Address       string
	Group         string
	State         state
	Health        strip
	Weight        string
	Share         string
	Limit         uint32
	Draining      bool
	Connections   string
	Mark          string
	MarkNote      string
	Minted        string // generations
	Acknowledged  string
	Agent         state
	Adapter       string
	Offered       uint64
	Home          rate
	ForeignMints  uint64
	Known         bool // the balancer in this process has it
	ProbeError    string
	Problem       string
	Version       string
	MintsMarks    bool
	Planned       bool
	Changes       []healthChange
	LastForeign   string
	Applied, Told uint64
}

// A state is a word with its colour.
type state struct {
	Word  string
	Level string // "good", "warn", "bad" or "off"
}

func (u *UI) servers(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := u.serversNow(r)
	if err != nil {
		return err
	}
	u.write(w, r, v, http.StatusOK, "servers", "Servers", d)
	return nil
}

func (u *UI) serversNow(r *http.Request) (*serversData, error) {
	st, err := u.status.get(r.Context())
	if err != nil {
		return nil, err
	}
	s := u.traffic.sample()
	d := &serversData{Query: strings.TrimSpace(r.FormValue("q")), Live: u.cfg.Source != nil}
	for i, p := range st.GetPools() {
		live, agents, ro := s.serversOf(p.GetName()), agentsOf(st, p.GetName()), rolloutOf(st, p.GetName())
		ps := poolServers{Name: p.GetName(), Planned: ro != nil, Total: len(p.GetServers())}
		spaces := spacesByOwner(ro)
		for j, srv := range p.GetServers() {
			if d.Query != "" && !strings.Contains(srv.GetName()+" "+srv.GetAddress()+" "+srv.GetGroup(), d.Query) {
				continue
			}
			if len(ps.Rows) == serversPerPage {
				ps.More++
				continue
			}
			row := u.row(p, srv, live[srv.GetName()], agents[srv.GetName()], spaces[srv.GetName()])
			row.ID = fmt.Sprintf("server-%d-%d", i, j)
			ps.Rows = append(ps.Rows, row)
		}
		d.Pools = append(d.Pools, ps)
	}
	return d, nil
}

func spacesByOwner(ro *mintmarkv1.Rollout) map[string][]*mintmarkv1.Space {
	all := make(map[string][]*mintmarkv1.Space)
	for _, sp := range ro.GetSpaces() {
		all[sp.GetOwner()] = append(all[sp.GetOwner()], sp)
	}
	return all
}

// row is what is known of a server; l and a may be nil.
func (u *UI) row(p *mintmarkv1.Pool, srv *mintmarkv1.Server, l *ServerSample, a *mintmarkv1.Agent, spaces []*mintmarkv1.Space) serverRow {
	row := serverRow{
		Pool: p.GetName(), Name: srv.GetName(), Link: serverLink(p.GetName(), srv.GetName()), Address: srv.GetAddress(), Group: srv.GetGroup(),
		Weight: "1", Share: "1", Limit: srv.GetMaxConnections(), Draining: srv.GetDraining(), Connections: "–", Home: rate{-1, -1},
		MintsMarks: srv.GetMintsMarks(), Planned: p.GetScheme().GetKind() != "",
	}
	if srv.Weight != nil {
		row.Weight = strconv.FormatUint(uint64(srv.GetWeight()), 10)
	}
	if srv.Share != nil {
		row.Share = strconv.FormatUint(uint64(srv.GetShare()), 10)
	}
	row.State = state{"unknown", "off"}
	if l != nil {
		row.addLive(l)
		row.Changes = u.traffic.changes(row.Pool, row.Name)
		row.Health = healthStrip(row.Changes, u.cfg.Now())
	}
	if row.Draining {
		row.State = state{"draining", "warn"}
	}
	var acknowledged []string
	for _, sp := range spaces {
		if ph := sp.GetPhase(); ph == mintmarkv1.Phase_PHASE_ACKNOWLEDGED || ph == mintmarkv1.Phase_PHASE_MINTING {
			acknowledged = append(acknowledged, strconv.FormatUint(uint64(sp.GetGeneration()), 10))
		}
	}
	row.Acknowledged = dash(strings.Join(acknowledged, ", "))
	row.addAgent(a)
	return row
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func (row *serverRow) addLive(l *ServerSample) {
	row.Known = true
	row.State = state{"up", "good"}
	if !l.Up {
		row.State = state{"down", "bad"}
	}
	row.Connections = strconv.FormatInt(l.Connections, 10)
	row.Mark, row.MarkNote, row.ProbeError = l.Mints, l.Layout, l.ProbeError
	row.Offered, row.ForeignMints, row.LastForeign = l.Offered, l.ForeignMints, l.LastForeign
	if l.Offered > 0 {
		row.Home.Home = float64(l.Accepted) / float64(l.Offered)
	}
}

func (row *serverRow) addAgent(a *mintmarkv1.Agent) {
	row.Minted = "–"
	switch {
	case a == nil && !row.Planned:
		row.Agent = state{"not needed", "off"}
		return
	case a == nil:
		row.Agent = state{"none", "warn"}
		return
	case !a.GetConnected():
		row.Agent = state{"away", "bad"}
	case a.GetProblem() != "":
		row.Agent = state{"problem", "bad"}
	case a.GetAppliedVersion() < a.GetAssignedVersion():
		row.Agent = state{"applying", "warn"}
	default:
		row.Agent = state{"connected", "good"}
	}
	row.Adapter, row.Problem, row.Applied, row.Told = a.GetAdapter(), a.GetProblem(), a.GetAppliedVersion(), a.GetAssignedVersion()
	var minted []string
	for _, g := range a.GetMintingGenerations() {
		minted = append(minted, strconv.FormatUint(uint64(g), 10))
	}
	row.Minted = dash(strings.Join(minted, ", "))
	if len(minted) > 0 && !a.GetVerified() {
		row.Minted += " (not seen on the wire)"
	}
	if a.GetStale() {
		row.Minted += ", which is gone"
	}
}

// healthSpan is how much time a strip shows.
const healthSpan = 10 * time.Minute

// healthStrip draws what is known of a server's health.
func healthStrip(changes []healthChange, now time.Time) strip {
	var s strip
	from := now.Add(-healthSpan)
	place := func(at time.Time) float64 {
		return 100 * max(0, float64(at.Sub(from))/float64(healthSpan))
	}
	for i, c := range changes {
		end := now
		if i+1 < len(changes) {
			end = changes[i+1].At
		}
		if !end.After(from) {
			continue
		}
		class := "down"
		if c.Up {
			class = "up"
		}
		x := place(c.At)
		s.Parts = append(s.Parts, stripPart{class, fmt.Sprintf("%.2f%%", x), fmt.Sprintf("%.2f%%", max(0.4, place(end)-x))})
	}
	return s
}

type serverData struct {
	Row    serverRow
	Spaces []*mintmarkv1.Space
	Agent  *mintmarkv1.Agent
	Join   joinCommand
}

// A joinCommand is how an agent is joined to a server.
type joinCommand struct{ Pool, Server, Address, URL string }

func (u *UI) server(w http.ResponseWriter, r *http.Request, v *visit) error {
	pool, name := r.PathValue("pool"), r.PathValue("server")
	d, err := u.serverNow(r, pool, name)
	if err != nil {
		return err
	}
	u.write(w, r, v, http.StatusOK, "server", pool+"/"+name, d)
	return nil
}

func (u *UI) serverNow(r *http.Request, pool, name string) (*serverData, error) {
	st, err := u.status.get(r.Context())
	if err != nil {
		return nil, err
	}
	p := poolOf(st, pool)
	if p == nil {
		return nil, noPool(pool)
	}
	for _, srv := range p.GetServers() {
		if srv.GetName() != name {
			continue
		}
		a := agentsOf(st, pool)[name]
		spaces := spacesByOwner(rolloutOf(st, pool))[name]
		return &serverData{
			Row:    u.row(p, srv, u.traffic.sample().serversOf(pool)[name], a, spaces),
			Spaces: spaces, Agent: a, Join: joinCommand{pool, name, srv.GetAddress(), u.cfg.URL},
		}, nil
	}
	return nil, &refusal{http.StatusNotFound, "There is no such server", "Pool " + pool + " has no server " + name + ".", "It may have been removed meanwhile: the log says by whom."}
}
