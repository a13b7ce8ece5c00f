package webui

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

// confirmData asks before something is done to a server.
type confirmData struct {
	Row     serverRow
	Action  string
	Title   string
	Effects []string // what happens to which sessions
	Button  string
	Danger  bool
	Ask     string // the name of a number to fill in; "": none
	Value   string
	Hint    string
	From    uint64 // the revision that was looked at
	Diff    *diffData
}

// errNoAction is for a path that nobody links to.
func errNoAction(action string) error {
	return &refusal{http.StatusNotFound, "There is no such action", "Servers know drain, undrain, weight and remove, not " + action + ".", "Go back to the server."}
}

func (u *UI) confirmServer(w http.ResponseWriter, r *http.Request, v *visit) error {
	pool, name, action := r.PathValue("pool"), r.PathValue("server"), r.PathValue("action")
	s, err := u.serverNow(r, pool, name)
	if err != nil {
		return err
	}
	st, err := u.status.get(r.Context())
	if err != nil {
		return err
	}
	d := &confirmData{Row: s.Row, Action: action, From: poolOf(st, pool).GetRevision()}
	if err := d.describe(poolOf(st, pool)); err != nil {
		return err
	}
	if action == "remove" {
		out, err := v.api.RemoveServer(r.Context(), connect.NewRequest(&mintmarkv1.RemoveServerRequest{Pool: pool, Server: name, DryRun: true}))
		if err != nil {
			return err
		}
		if rolloutOf(st, pool) != nil {
			d.Diff = drawDiff(out.Msg.GetDiff())
		}
	}
	u.write(w, r, v, http.StatusOK, "confirm", d.Title, d)
	return nil
}

// describe says what the action does to which sessions.
func (d *confirmData) describe(p *mintmarkv1.Pool) error {
	name := d.Row.Name
	settings := settingsOf(p)
	open := "The connections that are open now"
	if d.Row.Known {
		open = plural(atoi(d.Row.Connections), "open connection", "open connections")
	}
	switch d.Action {
	case "drain":
		d.Title, d.Button = "Drain "+name, "Drain "+name
		d.Effects = []string{
			"New sessions go to the other servers of " + p.GetName() + " from now on.",
			"Sessions that " + name + " minted still come home to it, until drain_timeout (" + settings.drain + ") is over. " + afterDrain(d.Row.Group, settings.whenDown),
			open + " of it go on until they end by themselves.",
			"Its space stays its own: nothing is given to anybody else. You can end the drain at any time.",
		}
	case "undrain":
		d.Title, d.Button = "End the drain of "+name, "End the drain"
		d.Effects = []string{
			name + " gets new sessions again, by its weight of " + d.Row.Weight + ".",
			"Sessions that it minted come home to it, as they did before.",
		}
	case "weight":
		d.Title, d.Button = "Change the weight of "+name, "Change the weight"
		d.Ask, d.Value = "weight", d.Row.Weight
		d.Hint = "0 to 1000. Twice the weight is twice the new traffic. 0 is none."
		d.Effects = []string{
			"Only new sessions follow the weight. Sessions that " + name + " minted come home to it whatever the weight is, also at 0.",
			open + " of it stay.",
		}
	case "remove":
		d.Title, d.Button, d.Danger = "Remove "+name, "Remove "+name, true
		d.Effects = []string{
			"Balancers forget the server at once: sessions that it minted do not come home any more. " + afterDrain(d.Row.Group, settings.whenDown),
			open + " of it go on until they end.",
			"Its space retires, and is given to nobody before its last ID is dead: after session_lifetime (" + settings.lifetime + ") without an ID of it.",
			"Its agent's certificate is revoked.",
		}
		if !d.Row.Draining {
			d.Effects = append(d.Effects, "It is not draining. If sessions matter, drain it first, and remove it when its connections have ended.")
		}
	default:
		return errNoAction(d.Action)
	}
	return nil
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s) // a dash is 0
	return n
}

// afterDrain says where sessions go whose owner takes no traffic.
func afterDrain(group, whenDown string) string {
	switch {
	case whenDown == "refuse":
		return "After that they are refused (when_owner_down: refuse)."
	case whenDown == "balance" || group == "":
		return "After that they are balanced: their clients make a full handshake with another server."
	}
	return "After that a partner in group " + group + " takes them, and resumes what it can decrypt."
}

func (u *UI) changeServer(w http.ResponseWriter, r *http.Request, v *visit) error {
	pool, name, action := r.PathValue("pool"), r.PathValue("server"), r.PathValue("action")
	from, err := revision(r)
	if err != nil {
		return err
	}
	m := &mintmarkv1.UpdateServerRequest{Pool: pool, Server: name, FromRevision: from}
	switch action {
	case "drain", "undrain":
		m.Draining = new(action == "drain")
	case "weight":
		n, err := strconv.ParseUint(r.PostFormValue("weight"), 10, 32)
		if err != nil || n > 1000 {
			return &refusal{http.StatusUnprocessableEntity, "That is no weight", fmt.Sprintf("%q is no number from 0 to 1000.", r.PostFormValue("weight")), "Go back and write one."}
		}
		m.Weight = new(uint32(n))
	case "remove":
		_, err := v.api.RemoveServer(r.Context(), connect.NewRequest(&mintmarkv1.RemoveServerRequest{Pool: pool, Server: name, FromRevision: from}))
		if err != nil {
			return err
		}
		http.Redirect(w, r, "/servers", http.StatusSeeOther)
		return nil
	default:
		return errNoAction(action)
	}
	if _, err := v.api.UpdateServer(r.Context(), connect.NewRequest(m)); err != nil {
		return err
	}
	u.status.drop()
	http.Redirect(w, r, serverLink(pool, name), http.StatusSeeOther)
	return nil
}

// revision is what the person had looked at.
func revision(r *http.Request) (uint64, error) {
	text := r.PostFormValue("from")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, &refusal{http.StatusUnprocessableEntity, "The form is damaged", "It names no revision.", "Load the page again."}
	}
	return n, nil
}

func poolLink(pool string) string { return "/pools/" + url.PathEscape(pool) }
