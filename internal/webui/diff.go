package webui

import (
	"encoding/json"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
)

// diffData is what a change does to the spaces of a pool.
type diffData struct {
	Added, Retired, Kept []diffRow
	MoreAdded, MoreKept  int
	Reserve              string
	Bar                  []cell // added and kept side by side, by share
	Problem              string
}

type diffRow struct {
	Owner, Rule, Share string
	Generation         uint32
}

// diffListed bounds the rows of one kind.
const diffListed = 50

// drawDiff lists and draws a diff.
func drawDiff(d *mintmarkv1.PlanDiff) *diffData {
	out := &diffData{Reserve: d.GetReserve(), Problem: d.GetProblem()}
	total := 0.0
	for _, all := range [][]*mintmarkv1.Space{d.GetUnchanged(), d.GetRetired(), d.GetAdded()} {
		for _, sp := range all {
			total += sp.GetShareApproximate()
		}
	}
	at := 0.0
	add := func(rows []diffRow, more *int, all []*mintmarkv1.Space, class string) []diffRow {
		for _, sp := range all {
			if total > 0 {
				width := sp.GetShareApproximate() / total
				c := cell{X: percentOf(at), Width: percentOf(width), Height: lineHeight, Class: class, Owner: sp.GetOwner(), Rule: sp.GetRule(), Share: percent(sp.GetShareApproximate())}
				const readable = 0.06
				if width > readable {
					c.Label = sp.GetOwner()
				}
				out.Bar = append(out.Bar, c)
				at += width
			}
			if len(rows) == diffListed {
				*more++
				continue
			}
			rows = append(rows, diffRow{sp.GetOwner(), sp.GetRule(), percent(sp.GetShareApproximate()), sp.GetGeneration()})
		}
		return rows
	}
	unlisted := 0
	out.Kept = add(nil, &out.MoreKept, d.GetUnchanged(), "kept")
	out.Retired = add(nil, &unlisted, d.GetRetired(), "retired")
	out.Added = add(nil, &out.MoreAdded, d.GetAdded(), "added")
	return out
}

// settings are those of a pool that pages speak of.
type settings struct{ lifetime, drain, whenDown string }

// settingsOf reads them, with the defaults of the configuration file.
func settingsOf(p *mintmarkv1.Pool) settings {
	var in struct {
		SessionLifetime string `json:"session_lifetime"`
		DrainTimeout    string `json:"drain_timeout"`
		WhenOwnerDown   string `json:"when_owner_down"`
	}
	_ = json.Unmarshal([]byte(p.GetSettingsJson()), &in) // the control plane has checked it; nothing is: the defaults
	out := settings{in.SessionLifetime, in.DrainTimeout, in.WhenOwnerDown}
	if out.lifetime == "" {
		out.lifetime = "24h"
	}
	if out.drain == "" {
		out.drain = out.lifetime
	}
	if out.whenDown == "" {
		out.whenDown = "group"
	}
	return out
}
