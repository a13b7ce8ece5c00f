package webui

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

func query(f poolForm) string {
	return url.Values{"name": {f.Name}, "kind": {f.Kind}, "servers": {f.Servers}, "lifetime": {f.Lifetime}, "when_down": {f.WhenDown}, "policy": {f.Policy}}.Encode()
}

func waitQuery(kind, name string) string {
	return url.Values{"kind": {kind}, "name": {name}}.Encode()
}

// addForm is the form of a new server.
type addForm struct {
	Pool, Server, Problem string
}

func (u *UI) addServerForm(w http.ResponseWriter, r *http.Request, v *visit) error {
	u.write(w, r, v, http.StatusOK, "addserver", "Add a server", addForm{Pool: r.PathValue("pool"), Server: r.FormValue("server")})
	return nil
}

func (u *UI) addServer(w http.ResponseWriter, r *http.Request, v *visit) error {
	f := addForm{Pool: r.PathValue("pool"), Server: r.PostFormValue("server")}
	from, err := revision(r)
	if err != nil {
		return err
	}
	apply := r.PostFormValue("apply") != ""
	s, err := parseServer(f.Server)
	var out *connect.Response[mintmarkv1.AddServerResponse]
	if err == nil {
		out, err = v.api.AddServer(r.Context(), connect.NewRequest(&mintmarkv1.AddServerRequest{Pool: f.Pool, Server: s, FromRevision: from, DryRun: !apply}))
	}
	if err != nil {
		switch connect.CodeOf(err) {
		case connect.CodeInvalidArgument, connect.CodeUnknown, connect.CodeAlreadyExists:
			f.Problem = asRefusal(err).text
			u.write(w, r, v, http.StatusUnprocessableEntity, "addserver", "Add a server", f)
			return nil
		default:
			return err
		}
	}
	if apply {
		u.status.drop()
		http.Redirect(w, r, poolLink(f.Pool), http.StatusSeeOther)
		return nil
	}
	u.write(w, r, v, http.StatusOK, "preview", "The plan of "+f.Pool, &previewData{
		Title: "The plan of " + f.Pool + " with server " + s.GetName(), Intro: "Nothing has been changed yet. No ID that was minted changes its owner.",
		Diff: drawDiff(out.Msg.GetDiff()), Action: poolLink(f.Pool) + "/add", Button: "Add " + s.GetName(),
		Back:   poolLink(f.Pool) + "/add?" + url.Values{"server": {f.Server}}.Encode(),
		Hidden: [][2]string{{"server", f.Server}, {"from", strconv.FormatUint(out.Msg.GetRevision(), 10)}},
		Next:   []string{"Every balancer is told first.", "Then join the agent of " + s.GetName() + ": its page has the command."},
	})
	return nil
}

// rotateForm says what a rotation does before it is started.
func (u *UI) rotateForm(w http.ResponseWriter, r *http.Request, v *visit) error {
	pool := r.PathValue("pool")
	st, err := u.status.get(r.Context())
	if err != nil {
		return err
	}
	p, ro := poolOf(st, pool), rolloutOf(st, pool)
	if p == nil {
		return noPool(pool)
	}
	if ro == nil {
		return &refusal{http.StatusConflict, "There is nothing to rotate", "The spaces of " + pool + " are not planned.", "Make a pool with a scheme: ranges, bits or sealed."}
	}
	u.write(w, r, v, http.StatusOK, "preview", "Rotate "+pool, &previewData{
		Title: "Rotate " + pool, Intro: fmt.Sprintf("Every server is given a new space and makes new ticket keys: generation %d follows %d.", ro.GetMintingGeneration()+1, ro.GetMintingGeneration()),
		Action: poolLink(pool) + "/rotate", Button: "Rotate " + pool, Back: poolLink(pool), Costs: ro.GetRotationCosts(),
		Hidden: [][2]string{{"from", strconv.FormatUint(p.GetRevision(), 10)}},
		Next: []string{
			"Balancers learn the new spaces first, then servers mint in them.",
			"Sessions of the old generation still come home until session_lifetime (" + settingsOf(p).lifetime + ") is over.",
			"Then the old generation is gone.",
		},
	})
	return nil
}

func (u *UI) rotate(w http.ResponseWriter, r *http.Request, v *visit) error {
	from, err := revision(r)
	if err != nil {
		return err
	}
	_, err = v.api.Rotate(r.Context(), connect.NewRequest(&mintmarkv1.RotateRequest{
		Pool: r.PathValue("pool"), FromRevision: from, EndSessions: r.PostFormValue("accept") != "",
	}))
	if err != nil {
		return err
	}
	u.status.drop()
	http.Redirect(w, r, poolLink(r.PathValue("pool")), http.StatusSeeOther)
	return nil
}

func (u *UI) deleteForm(w http.ResponseWriter, r *http.Request, v *visit) error {
	st, err := u.status.get(r.Context())
	if err != nil {
		return err
	}
	pool := r.PathValue("pool")
	p := poolOf(st, pool)
	if p == nil {
		return noPool(pool)
	}
	u.write(w, r, v, http.StatusOK, "preview", "Delete "+pool, &previewData{
		Title: "Delete " + pool, Intro: "Balancers forget the pool with its " + plural(len(p.GetServers()), "server", "servers") + " at once. Listeners that send to it close.",
		Action: poolLink(pool) + "/delete", Button: "Delete " + pool, Back: poolLink(pool),
		Hidden: [][2]string{{"from", strconv.FormatUint(p.GetRevision(), 10)}},
		Costs:  []string{"No session of its servers comes home any more, and its history is forgotten. This cannot be taken back."},
	})
	return nil
}

func (u *UI) deletePool(w http.ResponseWriter, r *http.Request, v *visit) error {
	from, err := revision(r)
	if err != nil {
		return err
	}
	if err := accepted(r); err != nil {
		return err
	}
	_, err = v.api.DeletePool(r.Context(), connect.NewRequest(&mintmarkv1.DeletePoolRequest{Name: r.PathValue("pool"), FromRevision: from}))
	if err != nil {
		return err
	}
	u.status.drop()
	http.Redirect(w, r, "/pools", http.StatusSeeOther)
	return nil
}

// accepted refuses what loses something and was not accepted.
func accepted(r *http.Request) error {
	if r.PostFormValue("accept") != "" {
		return nil
	}
	return &refusal{http.StatusConflict, "That would lose something", "Nothing was changed: what is lost was not accepted.", "Go back, read what it costs, and tick the box if you want it all the same."}
}

// advanceForm says what is lost when a wait is overridden.
func (u *UI) advanceForm(w http.ResponseWriter, r *http.Request, v *visit) error {
	pool, kind, name := r.PathValue("pool"), r.FormValue("kind"), r.FormValue("name")
	costs, err := u.costs(r, v, pool, kind, name)
	if err != nil {
		return err
	}
	u.write(w, r, v, http.StatusOK, "preview", "Go on without "+name, &previewData{
		Title: "Go on without " + kind + " " + name, Intro: "The rollout of " + pool + " waits for it. It need not, if you accept what is lost.",
		Action: poolLink(pool) + "/advance", Button: "Go on without it", Back: poolLink(pool), Costs: costs,
		Hidden: [][2]string{{"kind", kind}, {"name", name}},
	})
	return nil
}

func (u *UI) costs(r *http.Request, v *visit, pool, kind, name string) ([]string, error) {
	out, err := v.api.GetRollout(r.Context(), connect.NewRequest(&mintmarkv1.GetRolloutRequest{Pool: pool}))
	if err != nil {
		return nil, err
	}
	var costs []string
	for _, w := range out.Msg.GetRollout().GetWaits() {
		if w.GetKind() == kind && w.GetName() == name && w.GetCost() != "" {
			costs = append(costs, w.GetCost())
		}
	}
	if costs == nil {
		return nil, &refusal{http.StatusConflict, "Nothing waits for that", "The rollout of " + pool + " does not wait for " + kind + " " + name + " any more, or cannot go on without it.", "Look at the rollout again."}
	}
	return costs, nil
}

func (u *UI) advance(w http.ResponseWriter, r *http.Request, v *visit) error {
	pool, kind, name := r.PathValue("pool"), r.PostFormValue("kind"), r.PostFormValue("name")
	if err := accepted(r); err != nil {
		return err
	}
	_, err := v.api.AdvanceRollout(r.Context(), connect.NewRequest(&mintmarkv1.AdvanceRolloutRequest{
		Pool: pool, Waits: []*mintmarkv1.Wait{{Kind: kind, Name: name}}, AcceptedCosts: r.PostForm["cost"],
	}))
	if err != nil {
		return err
	}
	u.status.drop()
	http.Redirect(w, r, poolLink(pool), http.StatusSeeOther)
	return nil
}

// restoreForm shows what going back to an earlier state would do.
func (u *UI) restoreForm(w http.ResponseWriter, r *http.Request, v *visit) error {
	pool := r.PathValue("pool")
	m, err := restoreRequest(r)
	if err != nil {
		return err
	}
	m.DryRun, m.EndSessions = true, true
	out, err := v.api.RestorePool(r.Context(), connect.NewRequest(m))
	if err != nil {
		return err
	}
	st, err := u.status.get(r.Context())
	if err != nil {
		return err
	}
	var names []string
	for _, s := range out.Msg.GetPool().GetServers() {
		names = append(names, s.GetName())
	}
	u.write(w, r, v, http.StatusOK, "preview", "Go back to an earlier state", &previewData{
		Title: fmt.Sprintf("Go back to %s as it was after revision %d", pool, m.GetRevision()),
		Intro: "Its servers would be " + strings.Join(names, ", ") + ". It is a new generation: no space comes back to who had it, so nothing that was minted meanwhile is lost.",
		Diff:  drawDiff(out.Msg.GetDiff()), Action: r.URL.Path, Button: "Go back", Back: "/log",
		Hidden: [][2]string{{"from", strconv.FormatUint(poolOf(st, pool).GetRevision(), 10)}}, Costs: rolloutOf(st, pool).GetRotationCosts(),
	})
	return nil
}

func restoreRequest(r *http.Request) (*mintmarkv1.RestorePoolRequest, error) {
	n, err := strconv.ParseUint(r.PathValue("revision"), 10, 64)
	if err != nil {
		return nil, &refusal{http.StatusNotFound, "There is no such state", "A revision is a number.", "Take one from the log."}
	}
	return &mintmarkv1.RestorePoolRequest{Pool: r.PathValue("pool"), Revision: n}, nil
}

func (u *UI) restore(w http.ResponseWriter, r *http.Request, v *visit) error {
	m, err := restoreRequest(r)
	if err != nil {
		return err
	}
	if m.FromRevision, err = revision(r); err != nil {
		return err
	}
	m.EndSessions = r.PostFormValue("accept") != ""
	if _, err := v.api.RestorePool(r.Context(), connect.NewRequest(m)); err != nil {
		return err
	}
	u.status.drop()
	http.Redirect(w, r, poolLink(m.GetPool()), http.StatusSeeOther)
	return nil
}
