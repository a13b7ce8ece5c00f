package webui

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

// How a picture of a space is laid out: as text is, from left to right and then
// in the next line, so that a part of a long space is still wide enough to see
// and to point at.
const (
	cellsPerLine = 48
	maxLines     = 64
	lineHeight   = 34 // few owners
	denseHeight  = 13 // many
	lineGap      = 3
	ownersListed = 60 // rows of the table below the picture
	colours      = 8
)

type spacesData struct {
	Pool        string
	Pools       []string
	Scheme      string
	Generations []generationData
	Query       string
	From, To    float64 // what is shown of each generation
	Zoomed      bool
	In, Out     string // links
	Left, Right string
	Owners      []ownerRow
	MoreOwners  int
	Selected    string
	Written     []writtenRule // of a pool whose spaces are not planned
	Reason      string        // why there is nothing to draw
}

// A generationData is the picture of a generation.
type generationData struct {
	Number   uint32
	State    string
	Height   int
	Lines    []int // their tops
	Cells    []cell
	Assigned string
	Reserve  string
	Retiring string
	Share    string // of all IDs
	Owners   int
	Window   [2]string // of the part that is shown, percent
}

// A cell is a part of a space in one line. A space that spans lines has several.
type cell struct {
	X, Width string // percent
	Y        int
	Height   int
	Class    string
	Label    string // "" if it would not fit
	Owner    string
	Rule     string
	Share    string
	Phase    string
	Counts   string
	First    bool // the widest of its space: it takes the focus
	Selected bool
}

// Title is what a pointer that rests on the cell is told.
func (c cell) Title() string {
	t := c.Owner + ": " + c.Rule + ", " + c.Share + " of all IDs, " + c.Phase
	if c.Counts != "" {
		t += ", " + c.Counts
	}
	return t
}

type ownerRow struct {
	Name, Rule, Share, Phase, Counts, Link, Class string
	Generation                                    uint32
}

type writtenRule struct{ Server, Settings string }

func (u *UI) spacesIndex(w http.ResponseWriter, r *http.Request, v *visit) error {
	st, err := u.status.get(r.Context())
	if err != nil {
		return err
	}
	for _, p := range st.GetPools() {
		if p.GetScheme().GetKind() != "" || len(st.GetPools()) == 1 {
			http.Redirect(w, r, "/spaces/"+url.PathEscape(p.GetName()), http.StatusSeeOther)
			return nil
		}
	}
	if len(st.GetPools()) > 0 {
		http.Redirect(w, r, "/spaces/"+url.PathEscape(st.GetPools()[0].GetName()), http.StatusSeeOther)
		return nil
	}
	u.write(w, r, v, http.StatusOK, "spaces", "ID space", &spacesData{})
	return nil
}

func (u *UI) spaces(w http.ResponseWriter, r *http.Request, v *visit) error {
	st, err := u.status.get(r.Context())
	if err != nil {
		return err
	}
	p := poolOf(st, r.PathValue("pool"))
	if p == nil {
		return noPool(r.PathValue("pool"))
	}
	d := &spacesData{
		Pool: p.GetName(), Scheme: p.GetScheme().GetKind(), Query: strings.TrimSpace(r.FormValue("q")), Selected: r.FormValue("owner"),
		From: fraction(r.FormValue("from"), 0), To: fraction(r.FormValue("to"), 1),
	}
	for _, other := range st.GetPools() {
		d.Pools = append(d.Pools, other.GetName())
	}
	ro := rolloutOf(st, p.GetName())
	if ro == nil || len(ro.GetSpaces()) == 0 {
		d.unplanned(p, ro)
	} else {
		d.draw(ro, u.traffic.sample().serversOf(p.GetName()), r)
	}
	u.write(w, r, v, http.StatusOK, "spaces", "ID space of "+p.GetName(), d)
	return nil
}

func fraction(s string, otherwise float64) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > 1 {
		return otherwise
	}
	return f
}

// unplanned says what is known of a pool without a plan.
func (d *spacesData) unplanned(p *mintmarkv1.Pool, ro *mintmarkv1.Rollout) {
	if ro != nil {
		d.Reason = "The pool has no servers yet, so nobody owns a part of its space. Add the first server."
		return
	}
	d.Reason = "The spaces of this pool are not planned: they are written by hand, or read off its servers."
	for _, s := range p.GetServers() {
		if s.GetSettingsJson() != "" {
			d.Written = append(d.Written, writtenRule{s.GetName(), s.GetSettingsJson()})
		}
	}
}

// draw draws each generation, the newest first.
func (d *spacesData) draw(ro *mintmarkv1.Rollout, live map[string]*ServerSample, r *http.Request) {
	byGeneration := make(map[uint32][]*mintmarkv1.Space)
	var numbers []uint32
	for _, sp := range ro.GetSpaces() {
		g := sp.GetGeneration()
		if byGeneration[g] == nil {
			numbers = append(numbers, g)
		}
		byGeneration[g] = append(byGeneration[g], sp)
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	if r.FormValue("from") == "" && d.Selected != "" && len(numbers) > 0 {
		d.From, d.To = around(byGeneration[numbers[0]], d.Selected)
	}
	if d.To-d.From < 1e-9 {
		d.From, d.To = 0, 1
	}
	d.Zoomed = d.From > 0 || d.To < 1
	d.links()
	counts := make(map[string]string)
	for name, l := range live {
		counts[name] = countsOf(l)
	}
	colour := make(map[string]int)
	for _, g := range numbers {
		d.Generations = append(d.Generations, d.generation(g, byGeneration[g], ro.GetMintingGeneration(), counts, colour))
	}
	d.list(numbers, byGeneration, counts, colour)
}

func countsOf(l *ServerSample) string {
	c := plural(int(l.Connections), "connection", "connections")
	if l.Offered > 0 {
		c += fmt.Sprintf(", %d of %d sessions came home", l.Accepted, l.Offered)
	}
	return c
}

// neighbours is how many owners are shown on each side of one that was asked for.
const neighbours = 12

// around is the part of a generation around an owner.
func around(spaces []*mintmarkv1.Space, owner string) (from, to float64) {
	total := 0.0
	for _, sp := range spaces {
		total += sp.GetShareApproximate()
	}
	at := 0.0
	starts := make([]float64, 0, len(spaces)+1)
	found := -1
	for i := range spaces {
		starts = append(starts, at/total)
		if spaces[i].GetOwner() == owner && found < 0 {
			found = i
		}
		at += spaces[i].GetShareApproximate()
	}
	starts = append(starts, 1)
	if found < 0 || len(spaces) <= 2*neighbours {
		return 0, 1
	}
	// Not beyond the reserve, which would be most of the picture.
	first, last := max(0, found-neighbours), min(len(spaces), found+neighbours+1)
	for last > found+1 && spaces[last-1].GetOwner() == "" {
		last--
	}
	return starts[first], starts[last]
}

// links are those that zoom and move.
func (d *spacesData) links() {
	width := d.To - d.From
	to := func(from, to float64) string {
		from, to = max(0, from), min(1, to)
		q := url.Values{"from": {strconv.FormatFloat(from, 'g', 8, 64)}, "to": {strconv.FormatFloat(to, 'g', 8, 64)}}
		if d.Selected != "" {
			q.Set("owner", d.Selected)
		}
		return "?" + q.Encode()
	}
	d.In = to(d.From+width/4, d.To-width/4)
	if d.Zoomed {
		d.Out = to(d.From-width/2, d.To+width/2)
		d.Left = to(d.From-width/2, d.To-width/2)
		d.Right = to(d.From+width/2, d.To+width/2)
		if d.From == 0 {
			d.Left = ""
		}
		if d.To == 1 {
			d.Right = ""
		}
	}
}

// generation draws the spaces of one generation.
func (d *spacesData) generation(n uint32, spaces []*mintmarkv1.Space, minting uint32, counts map[string]string, colour map[string]int) generationData {
	g := generationData{Number: n, Window: [2]string{percentOf(d.From), percentOf(d.To - d.From)}}
	total := 0.0
	for _, sp := range spaces {
		total += sp.GetShareApproximate()
	}
	g.State = "being prepared"
	switch {
	case n == minting:
		g.State = "minting"
	case n < minting:
		g.State = "retiring"
	}
	g.totals(spaces, total)
	at, visible := 0.0, 0
	type piece struct {
		sp         *mintmarkv1.Space
		start, end float64
	}
	var pieces []piece
	for _, sp := range spaces {
		start := at / total
		at += sp.GetShareApproximate()
		end := at / total
		if end <= d.From || start >= d.To {
			continue
		}
		scale := d.To - d.From
		pieces = append(pieces, piece{sp, max(0, (start-d.From)/scale), min(1, (end-d.From)/scale)})
		if sp.GetOwner() != "" {
			visible++
		}
	}
	lines := min(maxLines, 1+visible/cellsPerLine)
	height := lineHeight
	if lines > 1 {
		height = denseHeight
	}
	g.Height = lines*(height+lineGap) - lineGap
	for i := range lines {
		g.Lines = append(g.Lines, i*(height+lineGap))
	}
	for _, p := range pieces {
		if _, ok := colour[p.sp.GetOwner()]; !ok && p.sp.GetOwner() != "" {
			colour[p.sp.GetOwner()] = len(colour) % colours
		}
		c := d.cellOf(p.sp, counts, colour)
		g.place(c, p.start*float64(lines), p.end*float64(lines), height)
	}
	return g
}

func (g *generationData) totals(spaces []*mintmarkv1.Space, total float64) {
	assigned, reserve, retiring := 0.0, 0.0, 0.0
	for _, sp := range spaces {
		switch share := sp.GetShareApproximate(); {
		case sp.GetOwner() == "":
			reserve += share
		case sp.GetPhase() == mintmarkv1.Phase_PHASE_RETIRING || sp.GetPhase() == mintmarkv1.Phase_PHASE_DEAD:
			retiring += share
			g.Owners++
		default:
			assigned += share
			g.Owners++
		}
	}
	g.Assigned, g.Reserve, g.Retiring, g.Share = percent(assigned/total), percent(reserve/total), percent(retiring/total), percent(total)
}

func (d *spacesData) cellOf(sp *mintmarkv1.Space, counts map[string]string, colour map[string]int) cell {
	c := cell{
		Owner: sp.GetOwner(), Rule: sp.GetRule(), Share: percent(sp.GetShareApproximate()), Phase: phase(sp.GetPhase()),
		Counts: counts[sp.GetOwner()], Class: classOf(sp, colour), Label: sp.GetOwner(),
		Selected: sp.GetOwner() != "" && sp.GetOwner() == d.Selected,
	}
	if c.Owner == "" {
		c.Owner, c.Phase, c.Label = "reserve", "nobody's", "reserve"
	}
	return c
}

func classOf(sp *mintmarkv1.Space, colour map[string]int) string {
	class := "reserve"
	if sp.GetOwner() != "" {
		class = fmt.Sprintf("owner c%d", colour[sp.GetOwner()])
	}
	switch sp.GetPhase() {
	case mintmarkv1.Phase_PHASE_RETIRING, mintmarkv1.Phase_PHASE_DEAD:
		class += " retiring"
	case mintmarkv1.Phase_PHASE_PREPARED:
		class += " prepared"
	default: // as it is
	}
	return class
}

// place cuts a space into the lines that it spans. start and end are in lines.
func (g *generationData) place(c cell, start, end float64, height int) {
	first, widest := len(g.Cells), 0.0
	for line := int(start); line < len(g.Lines) && float64(line) < end; line++ {
		from, to := max(start, float64(line))-float64(line), min(end, float64(line+1))-float64(line)
		if to-from < 1e-6 {
			continue
		}
		part := c
		part.X, part.Width, part.Y, part.Height = percentOf(from), percentOf(to-from), g.Lines[line], height
		const readable = 0.04 // of the width, for a short name
		if to-from < readable || height < lineHeight {
			part.Label = ""
		}
		if to-from > widest {
			first, widest = len(g.Cells), to-from
		}
		g.Cells = append(g.Cells, part)
	}
	if widest > 0 {
		g.Cells[first].First = true
	}
}

func percentOf(f float64) string { return strconv.FormatFloat(100*f, 'f', 4, 64) + "%" }

func phase(p mintmarkv1.Phase) string {
	return strings.ToLower(strings.TrimPrefix(p.String(), "PHASE_"))
}

// list fills the table below the picture.
func (d *spacesData) list(numbers []uint32, spaces map[uint32][]*mintmarkv1.Space, counts map[string]string, colour map[string]int) {
	for _, g := range numbers {
		for _, sp := range spaces[g] {
			if sp.GetOwner() == "" || !strings.Contains(sp.GetOwner(), d.Query) {
				continue
			}
			if len(d.Owners) == ownersListed {
				d.MoreOwners++
				continue
			}
			d.Owners = append(d.Owners, ownerRow{
				Name: sp.GetOwner(), Rule: sp.GetRule(), Share: percent(sp.GetShareApproximate()), Phase: phase(sp.GetPhase()),
				Counts: dash(counts[sp.GetOwner()]), Generation: g, Link: "?" + url.Values{"owner": {sp.GetOwner()}}.Encode(), Class: classOf(sp, colour),
			})
		}
	}
}
