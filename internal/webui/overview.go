package webui

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

// overviewData is what the overview shows.
type overviewData struct {
	Balancer   string
	Live       bool // there is a balancer in this process
	NotReady   string
	Pools      int
	Servers    int
	Up         int
	Rate       float64 // decisions per second
	Active     int64
	Home       rate // of all pools
	HomeAll    bool // the rate is of all time, none was offered just now
	Flows      []flowData
	Waiting    []WaitingListener
	Alarms     []alarm
	Others     []string // balancers elsewhere
	FirstSteps bool
	URL        string
}

// flowData is one listener and pool.
type flowData struct {
	ID             string // of the element
	Listener, Pool string
	Address        string
	Now            [numRoutedBy]float64
	Total          float64
	Chart          chart
	Rates          rateChart
	AllTime        rate
	Offered        uint64
}

// Legend lists the ways of routing with their rates.
func (f flowData) Legend() []legendItem {
	var all []legendItem
	for by := range numRoutedBy {
		all = append(all, legendItem{by.String(), f.Now[by]})
	}
	return all
}

type legendItem struct {
	Name string
	Rate float64
}

// An alarm is what somebody should look at.
type alarm struct {
	Level string // "bad" or "warn"
	Title string
	Text  string
	Link  string // where something can be done about it
	Do    string // what
}

func (u *UI) overview(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := u.overviewNow(r)
	if err != nil {
		return err
	}
	u.write(w, r, v, http.StatusOK, "overview", "Overview", d)
	return nil
}

// overviewNow is the overview at this moment.
func (u *UI) overviewNow(r *http.Request) (*overviewData, error) {
	st, err := u.status.get(r.Context())
	if err != nil {
		return nil, err
	}
	s := u.traffic.sample()
	d := &overviewData{Live: u.cfg.Source != nil, Pools: len(st.GetPools()), URL: u.cfg.URL, FirstSteps: len(st.GetPools()) == 0}
	for _, p := range st.GetPools() {
		d.Servers += len(p.GetServers())
	}
	if s != nil {
		u.addTraffic(d, s)
	}
	d.Alarms = alarms(st, s, u.cfg.Now())
	for _, b := range st.GetBalancers() {
		if s == nil || b.GetName() != s.Balancer {
			d.Others = append(d.Others, b.GetName())
		}
	}
	return d, nil
}

// addTraffic adds what the balancer in this process tells.
func (u *UI) addTraffic(d *overviewData, s *Sample) {
	d.Balancer, d.Waiting = s.Balancer, s.Waiting
	if !s.Ready {
		d.NotReady = s.Reason
	}
	addresses := make(map[string]string)
	for _, l := range s.Listeners {
		d.Active += l.Active
		addresses[l.Name] = l.Address
	}
	pools := make(map[string]*PoolSample)
	offered, accepted, chance := 0.0, 0.0, 0.0
	for i := range s.Pools {
		p := &s.Pools[i]
		pools[p.Name] = p
		for j := range p.Servers {
			if p.Servers[j].Up {
				d.Up++
			}
		}
		offered += float64(p.Offered)
		accepted += float64(p.Accepted)
		chance += p.ByChance
	}
	d.Home = rate{-1, -1}
	if offered > 0 {
		d.Home = rate{accepted / offered, chance / offered}
	}
	for i := range s.Flows {
		d.Flows = append(d.Flows, u.flow(i, &s.Flows[i], pools[s.Flows[i].Pool], addresses[s.Flows[i].Listener]))
		d.Rate += d.Flows[i].Total
	}
}

func (u *UI) flow(i int, f *Flow, p *PoolSample, address string) flowData {
	points := u.traffic.flow(flowKey{f.Listener, f.Pool})
	out := flowData{
		ID: fmt.Sprintf("flow-%d", i), Listener: f.Listener, Pool: f.Pool, Address: address,
		Chart: drawFlow(points), AllTime: rate{-1, -1},
	}
	// What is written is the mean of two seconds, as people read it.
	const mean = 2
	for _, pt := range points[max(0, len(points)-mean):] {
		for by := range pt {
			out.Now[by] += float64(pt[by]) / mean
			out.Total += float64(pt[by]) / mean
		}
	}
	all, now := u.traffic.rates(f.Pool)
	out.Rates = drawRates(all, now)
	if p != nil && p.Offered > 0 {
		out.Offered = p.Offered
		out.AllTime = rate{float64(p.Accepted) / float64(p.Offered), p.ByChance / float64(p.Offered)}
	}
	return out
}

// When a wait of a rollout, and a reserve, are worth an alarm.
const (
	waitAlarm    = 30 * time.Second
	reserveAlarm = 0.1 // of a generation
)

// alarms lists what somebody should look at, the worst first.
func alarms(st *mintmarkv1.GetStatusResponse, s *Sample, now time.Time) []alarm {
	var all []alarm
	for _, text := range st.GetAlarms() {
		all = append(all, alarm{Level: "bad", Title: "A server needs help", Text: sentence(text), Link: "/servers", Do: "Look at the servers"})
	}
	for _, ro := range st.GetRollouts() {
		all = append(all, rolloutAlarms(ro, now)...)
	}
	for _, p := range st.GetPools() {
		all = append(all, markAlarms(p, agentsOf(st, p.GetName()), s.serversOf(p.GetName()))...)
	}
	if s != nil {
		for i := range s.Pools {
			for _, text := range s.Pools[i].Alarms {
				all = append(all, alarm{Level: "bad", Title: "A name that cannot be trusted in pool " + s.Pools[i].Name, Text: sentence(text)})
			}
		}
		for _, w := range s.Waiting {
			all = append(all, alarm{
				Level: "warn", Title: "Listener " + w.Listener + " waits for pool " + w.Pool,
				Text: "The address is not open: the control plane has no pool of that name.", Link: "/pools/new?name=" + url.QueryEscape(w.Pool), Do: "Create the pool",
			})
		}
	}
	slices.SortStableFunc(all, func(a, b alarm) int { return cmp.Compare(a.Level, b.Level) }) // "bad" < "warn"
	return all
}

// rolloutAlarms says who holds a rollout up, and where values run out.
func rolloutAlarms(ro *mintmarkv1.Rollout, now time.Time) []alarm {
	var all []alarm
	link := "/pools/" + url.PathEscape(ro.GetPool())
	for _, w := range ro.GetWaits() {
		if w.GetKind() == "sessions" || now.Sub(w.GetSince().AsTime()) < waitAlarm {
			continue // life, not trouble
		}
		level := "warn"
		if w.GetKind() == "plan" {
			level = "bad"
		}
		all = append(all, alarm{
			Level: level, Title: fmt.Sprintf("The rollout of %s is held up by %s %s", ro.GetPool(), waitKind(w.GetKind()), w.GetName()),
			Text: sentence(w.GetReason()) + " For " + ago(now.Sub(w.GetSince().AsTime())) + ".", Link: link, Do: "Watch the rollout",
		})
	}
	total, reserve := 0.0, 0.0
	for _, sp := range ro.GetSpaces() {
		if sp.GetGeneration() != ro.GetMintingGeneration() {
			continue
		}
		total += sp.GetShareApproximate()
		if sp.GetOwner() == "" {
			reserve += sp.GetShareApproximate()
		}
	}
	if total > 0 && reserve/total < reserveAlarm {
		all = append(all, alarm{
			Level: "warn", Title: "The reserve of " + ro.GetPool() + " runs out",
			Text: fmt.Sprintf("%s of generation %d belongs to nobody. A server that does not fit opens a new generation.", percent(reserve/total), ro.GetMintingGeneration()),
			Link: "/spaces/" + url.PathEscape(ro.GetPool()), Do: "See the space",
		})
	}
	return all
}

// waitKind is a kind of wait in a sentence.
func waitKind(kind string) string {
	switch kind {
	case "report":
		return "balancer"
	case "plan":
		return "the"
	}
	return kind
}

// markAlarms lists servers whose sessions cannot come home, and those that
// assign others' IDs.
func markAlarms(p *mintmarkv1.Pool, agents map[string]*mintmarkv1.Agent, live map[string]*ServerSample) []alarm {
	var all []alarm
	var mute []string
	for _, s := range p.GetServers() {
		l, a := live[s.GetName()], agents[s.GetName()]
		if l != nil && l.ForeignMints > 0 {
			all = append(all, alarm{
				Level: "bad", Title: "Server " + p.GetName() + "/" + s.GetName() + " mints foreign IDs",
				Text: fmt.Sprintf("%s outside its space%s. A stale configuration or a wrong key file does that.", plural(int(l.ForeignMints), "ID", "IDs"), lastForeign(l)),
				Link: serverLink(p.GetName(), s.GetName()), Do: "Look at the server",
			})
		}
		if p.GetScheme().GetKind() != "" && (a == nil || !a.GetConnected()) {
			mute = append(mute, s.GetName())
		}
	}
	if len(mute) > 0 {
		names := strings.Join(mute[:min(len(mute), 5)], ", ")
		if len(mute) > 5 {
			names += fmt.Sprintf(" and %d more", len(mute)-5)
		}
		all = append(all, alarm{
			Level: "warn", Title: plural(len(mute), "server", "servers") + " of " + p.GetName() + " without a routable mark",
			Text: "No agent is connected for " + names + ": nobody gives them their space, and their sessions are balanced.",
			Link: serverLink(p.GetName(), mute[0]), Do: "Join an agent",
		})
	}
	return all
}

func lastForeign(l *ServerSample) string {
	if l.LastForeign == "" {
		return ""
	}
	return ", the last with the mark " + l.LastForeign
}

func serverLink(pool, server string) string {
	return "/servers/" + url.PathEscape(pool) + "/" + url.PathEscape(server)
}

// overviewParts draws what changes on the overview: the same for everybody who
// looks, so it is drawn once in each interval.
func (u *UI) overviewParts(r *http.Request) ([]part, error) {
	u.drawn.mu.Lock()
	defer u.drawn.mu.Unlock()
	if u.drawn.parts != nil && time.Since(u.drawn.at) < drawAge {
		return u.drawn.parts, nil
	}
	d, err := u.overviewNow(r)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := u.pages.fragments.ExecuteTemplate(&b, "overview-live", frame{Data: d}); err != nil {
		return nil, err
	}
	u.drawn.parts, u.drawn.at = []part{{"overview", b.String()}}, time.Now()
	return u.drawn.parts, nil
}

// drawAge is how old a drawn overview may be: less than an interval.
const drawAge = 400 * time.Millisecond

// drawn is an overview that was drawn a moment ago.
type drawn struct {
	mu    sync.Mutex
	at    time.Time
	parts []part
}
