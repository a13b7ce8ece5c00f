package webui

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

type peopleData struct {
	People    []*mintmarkv1.Person
	Agents    []*mintmarkv1.Agent
	Balancers []*mintmarkv1.Balancer
	Me        string
}

func (u *UI) people(w http.ResponseWriter, r *http.Request, v *visit) error {
	out, err := v.api.ListMembers(r.Context(), connect.NewRequest(&mintmarkv1.ListMembersRequest{}))
	if err != nil {
		return err
	}
	u.write(w, r, v, http.StatusOK, "people", "People and machines", &peopleData{
		People: out.Msg.GetPeople(), Agents: out.Msg.GetAgents(), Balancers: out.Msg.GetBalancers(), Me: v.id.Name,
	})
	return nil
}

// tokenData shows a token, once.
type tokenData struct {
	Token, Role, Name, Pool string
	Expires                 time.Time
	URL                     string
	Address                 string // of an agent's server
	Host                    string // of the server, for its own file
}

func (u *UI) createToken(w http.ResponseWriter, r *http.Request, v *visit) error {
	m := &mintmarkv1.CreateTokenRequest{
		Role: r.PostFormValue("role"), Name: strings.TrimSpace(r.PostFormValue("name")), Pool: r.PostFormValue("pool"),
		Lifetime: durationpb.New(time.Hour),
	}
	out, err := v.api.CreateToken(r.Context(), connect.NewRequest(m))
	if err != nil {
		return err
	}
	d := &tokenData{
		Token: out.Msg.GetToken(), Role: m.GetRole(), Name: m.GetName(), Pool: m.GetPool(), Expires: out.Msg.GetExpires().AsTime(), URL: u.cfg.URL,
	}
	if d.Role == "agent" {
		s, err := u.serverNow(r, d.Pool, d.Name)
		if err != nil {
			return err
		}
		d.Address = s.Row.Address
	}
	u.write(w, r, v, http.StatusOK, "token", "A token for "+d.Name, d)
	return nil
}

func (u *UI) removeMember(w http.ResponseWriter, r *http.Request, v *visit) error {
	_, err := v.api.RemoveMember(r.Context(), connect.NewRequest(&mintmarkv1.RemoveMemberRequest{
		Person: r.PostFormValue("person"), Balancer: r.PostFormValue("balancer"), Pool: r.PostFormValue("pool"), Server: r.PostFormValue("server"),
	}))
	if err != nil {
		return err
	}
	u.status.drop()
	http.Redirect(w, r, "/people", http.StatusSeeOther)
	return nil
}

type logData struct {
	Entries []logRow
	Older   string // a link; "": there is nothing older
}

type logRow struct {
	Time     time.Time
	Actor    string
	Action   string
	Subject  string
	Revision uint64
	Restore  string // a link
}

// logPage is how many entries are shown at once.
const logPage = 50

func (u *UI) auditLog(w http.ResponseWriter, r *http.Request, v *visit) error {
	before, _ := strconv.ParseUint(r.FormValue("before"), 10, 64) // anything else is the newest page
	out, err := v.api.ListAudit(r.Context(), connect.NewRequest(&mintmarkv1.ListAuditRequest{BeforeRevision: before, Limit: logPage + 1}))
	if err != nil {
		return err
	}
	d := &logData{}
	newest := make(map[string]bool)
	for i, e := range out.Msg.GetEntries() {
		if i == logPage {
			d.Older = "/log?before=" + strconv.FormatUint(d.Entries[i-1].Revision, 10)
			break
		}
		row := logRow{Time: e.GetTime().AsTime(), Actor: e.GetActor(), Action: e.GetAction(), Subject: e.GetSubject(), Revision: e.GetRevision()}
		if p := e.GetRestorablePool(); p != "" {
			if newest[p] || before != 0 {
				row.Restore = poolLink(p) + "/restore/" + strconv.FormatUint(e.GetRevision(), 10)
			}
			newest[p] = true // what is there now is no earlier state
		}
		d.Entries = append(d.Entries, row)
	}
	u.write(w, r, v, http.StatusOK, "log", "Log", d)
	return nil
}
