package daemon

import (
	"github.com/mintmark/mintmark/internal/backend"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/httpid"
	"github.com/mintmark/mintmark/internal/l4"
	"github.com/mintmark/mintmark/internal/l7"
	"github.com/mintmark/mintmark/internal/route"
)

// A shape is what a running proxy cannot change. A listener whose shape
// changes gets another proxy, and the connections of the one before end by
// themselves.
type shape struct {
	engine    string // of other protocols than HTTP
	http, tls bool
}

func shapeOf(lc *config.Listener) shape {
	if lc.HTTP == nil {
		return shape{engine: lc.Engine}
	}
	return shape{http: true, tls: lc.HTTP.Certificates != nil}
}

// Otherwise each connect would take a goroutine.
var _ l4.Connector = (*backend.Monitor)(nil)

// newProxy makes the proxy of a listener.
func (d *Daemon) newProxy(l *listener, to *route.Listener) proxy {
	if lc := l.config; lc.HTTP != nil {
		return l7.New(l7.Config{
			Logger: d.log, Dialer: d.monitor, Metrics: d.metrics,
			TLS: lc.HTTP.Certificates != nil,
		}, d.httpSettings(l, to))
	}
	return l4.New(l4.Config{
		Logger: d.log, Dialer: d.monitor, Metrics: d.metrics, Loops: d.loopsFor(l.config),
	}, d.settingsOf(l, to))
}

// update gives the proxy of a listener its settings of now.
func (d *Daemon) update(l *listener, to *route.Listener) {
	switch p := l.proxy.(type) {
	case *l7.Proxy:
		p.Update(d.httpSettings(l, to))
	case *l4.Proxy:
		p.Update(d.settingsOf(l, to))
	}
}

func (d *Daemon) httpSettings(l *listener, to *route.Listener) *l7.Settings {
	lc := l.config
	s := &l7.Settings{
		Listener:        to,
		Certificates:    lc.HTTP.Certificates,
		Forwarded:       forwarded(&lc.HTTP.Forwarded),
		AcceptFrom:      lc.AcceptFrom,
		HelloTimeout:    lc.HelloTimeout,
		IdleTimeout:     lc.IdleTimeout,
		ConnectTimeout:  lc.ConnectTimeout,
		ResponseTimeout: lc.HTTP.ResponseTimeout,
		MaxBody:         lc.HTTP.MaxBody,
		MaxConnections:  lc.MaxConnections,
		ErrorType:       lc.HTTP.ErrorType,
		ErrorText:       lc.HTTP.ErrorText,
		Witness:         d.watch,
	}
	for _, id := range lc.HTTP.IDs {
		source, err := httpid.New(id.Source)
		if err != nil {
			continue // package config has made one of it already
		}
		s.IDs = append(s.IDs, l7.ID{Source: source, Limit: id.Limit, BalanceOverflow: id.BalanceOverflow})
	}
	if l.accessLog != nil {
		s.AccessLog = l.accessLog
	}
	return s
}

func forwarded(f *config.FileForwarded) l7.Forwarded {
	policies := map[string]l7.ForwardedPolicy{
		"append": l7.ForwardedAppend, "keep": l7.ForwardedKeep, "remove": l7.ForwardedRemove,
	}
	return l7.Forwarded{
		Policy:     policies[f.Policy],
		XForwarded: f.Headers != "forwarded",
		Standard:   f.Headers != "x-forwarded",
	}
}
