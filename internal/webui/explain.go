package webui

import (
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/explain"
)

// explainData is the page that explains an ID.
type explainData struct {
	Value, Field, Where string
	Places              []place
	Fields              []string
	Problem, Hint       string
	Kind                string // what it is
	Length              int
	Head                string // its first bytes, in hex
	Answer              *explain.Explanation
	Space               *mintmarkv1.ExplainResponse
	Mark                string // the part of Head that is the mark
	Rest                string
	Asked               bool
}

// A place is a listener of this balancer, or a pool.
type place struct {
	Value, Text string
}

// The prefixes of places.
const (
	atListener = "listener:"
	inPool     = "pool:"
)

func (u *UI) explain(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := u.explainForm(r)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if r.Method == http.MethodPost {
		d.Asked = true
		if err := u.answer(r, v, d); err != nil {
			return err
		}
		if d.Problem != "" {
			status = http.StatusUnprocessableEntity
		}
	}
	u.write(w, r, v, status, "explain", "Explain", d)
	return nil
}

func (u *UI) explainForm(r *http.Request) (*explainData, error) {
	st, err := u.status.get(r.Context())
	if err != nil {
		return nil, err
	}
	d := &explainData{Value: r.PostFormValue("value"), Field: r.FormValue("field"), Where: r.FormValue("where")}
	if s := u.traffic.sample(); s != nil {
		for _, l := range s.Listeners {
			d.Places = append(d.Places, place{atListener + l.Name, "listener " + l.Name + " of this balancer"})
		}
	}
	for _, p := range st.GetPools() {
		d.Places = append(d.Places, place{inPool + p.GetName(), "pool " + p.GetName() + ", its spaces only"})
	}
	if d.Where == "" && len(d.Places) > 0 {
		d.Where = d.Places[0].Value
	}
	for f := idspace.FieldNone + 1; int(f) < idspace.NumFields; f++ {
		d.Fields = append(d.Fields, f.String())
	}
	return d, nil
}

// answer explains the value.
func (u *UI) answer(r *http.Request, v *visit, d *explainData) error {
	field := idspace.FieldNone
	if d.Field != "" {
		f, ok := idspace.ParseField(d.Field)
		if !ok {
			d.Problem = "There is no such field. Choose one of the list."
			return nil
		}
		field = f
	}
	value := strings.TrimSpace(d.Value)
	if len(value) > explain.MaxValue {
		d.Problem = "The value is longer than any ID or hello."
		return nil
	}
	name, local := strings.CutPrefix(d.Where, atListener)
	local = local && u.cfg.Source != nil
	read := func() (*explain.Message, error) { return explain.Read([]byte(value), false, field) }
	if local {
		read = func() (*explain.Message, error) { return u.cfg.Source.Read(name, value, field) }
	}
	m, err := read()
	if err != nil {
		d.Problem = sentence(err.Error())
		if input, ok := errors.AsType[*explain.InputError](err); ok && input.Hint != "" {
			d.Hint = "If it is an ID, say below in which field it stood."
		}
		return nil
	}
	d.describe(m, field)
	if local {
		d.Answer = u.cfg.Source.Explain(name, m)
		if d.Answer != nil && d.Answer.Pool != nil {
			return u.addSpace(r, v, d, *d.Answer.Pool, m)
		}
		if d.Answer == nil {
			d.Problem = "This balancer has no listener of that name. Choose one of the list."
		}
		return nil
	}
	pool, ok := strings.CutPrefix(d.Where, inPool)
	if !ok {
		d.Problem = "Choose where the message comes to. There is nothing to choose before the first pool is made."
		return nil
	}
	return u.addSpace(r, v, d, pool, m)
}

// addSpace asks the API whose the IDs of a message are: the first that is
// somebody's, or else the first.
func (u *UI) addSpace(r *http.Request, v *visit, d *explainData, pool string, m *explain.Message) error {
	for i, c := range m.Candidates {
		out, err := v.api.Explain(r.Context(), connect.NewRequest(&mintmarkv1.ExplainRequest{Pool: pool, Field: c.Field.String(), Id: c.ID}))
		if d.Answer != nil && connect.CodeOf(err) == connect.CodeNotFound {
			return nil // removed meanwhile; what the balancer does is said
		}
		if err != nil {
			return err
		}
		if d.Space == nil || out.Msg.GetOwner() != "" && d.Space.GetOwner() == "" {
			d.Space = out.Msg
			d.show(m.Candidates[i].ID, out.Msg.GetRule())
		}
	}
	return nil
}

// headBytes is how much of an ID is shown.
const headBytes = 32

// describe says what the value is.
func (d *explainData) describe(m *explain.Message, field idspace.Field) {
	switch {
	case m.Datagram != nil && m.Datagram.Whole:
		d.Kind = "A datagram with " + plural(len(m.Candidates), "ID", "IDs")
	case m.Datagram != nil:
		d.Kind = "The ID of a datagram"
	case m.Hello != nil:
		d.Kind = "A TLS ClientHello with " + plural(len(m.Candidates), "ID", "IDs")
		if m.SNI != "" {
			d.Kind += ", for " + m.SNI
		}
	case field == idspace.FieldCIDShort || field == idspace.FieldCIDLong || field == idspace.FieldDTLSCID:
		d.Kind = "A connection ID"
	case field != idspace.FieldNone:
		d.Kind = "An ID from the field " + field.String()
	default:
		d.Kind = "An ID; taken as a ticket, a PSK identity and a session ID"
	}
	if len(m.Candidates) > 0 {
		d.show(m.Candidates[0].ID, "")
	}
}

// show cuts the ID where its mark ends, as far as the rule tells.
func (d *explainData) show(id []byte, rule string) {
	d.Length = len(id)
	head := id[:min(len(id), headBytes)]
	n := markBytes(rule, len(head))
	d.Mark, d.Rest, d.Head = hex.EncodeToString(head[:n]), hex.EncodeToString(head[n:]), hex.EncodeToString(head)
	if len(id) > len(head) {
		d.Rest += "…"
	}
}

// markBytes is how long the mark of a rule is, as people read the rule.
func markBytes(rule string, most int) int {
	const sealedBytes = 16
	if strings.HasPrefix(rule, "sealed") {
		return min(sealedBytes, most)
	}
	_, rest, ok := strings.Cut(rule, "range ")
	if !ok {
		return 0
	}
	from, _, _ := strings.Cut(rest, "-")
	return min(len(strings.TrimSpace(from))/2, most)
}
