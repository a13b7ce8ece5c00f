package main

import (
	"context"
	"errors"
	"flag"
	"net/netip"
	"strings"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/explain"
	"github.com/mintmark/mintmark/internal/route"
)

func explainCommand() *command {
	return &command{
		name:     "explain",
		synopsis: "-c FILE --listener NAME | --pool POOL  [--field FIELD] VALUE|@FILE|- [--json]",
		short:    "say where an ID or a captured hello would go, and why",
		long: `
Say where the balancer would send a message with a certain ID, and why: which
rule matched, whose it is, and what was decided. No running balancer is asked:
every server is taken to be up, unless --down names it, and to have no
connections yet.

VALUE is an ID or a whole TLS ClientHello, in hexadecimal or base64 (also
base64url), or, with a --field of text such as cookie, the text itself. @FILE
reads it from a file and - from standard input; those may also hold the bytes
themselves, as cut out of a capture. A ClientHello is known by its form, with
or without its record header; --field says that the value is an ID even so.
With --pool instead of a file, the control plane is asked whose the ID is: it
knows the spaces of its pools and where each is in its life, and decides nothing.
--json then prints the answer of ControlService.Explain.

After -- everything is a value, which helps with base64url that begins with a
hyphen.

For a listener of protocol http, VALUE is text as it stands in a cookie, header
and so on, which is cut and decoded as the listener says; a file may also hold a
whole HTTP/1.1 request.

For a listener for datagrams, VALUE is a whole datagram, or an ID: with protocol
quic what has at most 20 bytes, with dtls and udp what is as long as the IDs and
no datagram. What the QUIC-LB draft reads in a connection ID is shown apart.

With --json, one object is printed. Its keys: field (psk, ticket, session_id or
none); rule, owner and generation, null when the ID is nobody's; routed_by
(mint, group, learned, balance or refused); server, null when refused; reason,
in words; cause, the word that metrics and logs have for it; listener; pool;
sni; candidates, all IDs of the message in the order in which they are looked
up, with field, id, rule, owner, generation and skipped; steps, the decision
in words, line by line; notes; with the scheme quic-lb also quic_lb, with config,
algorithm, server_id, nonce, extra, and cause, which says why an ID cannot be
routed: codepoint_111, no_config, too_short or unknown_server_id.`,
		examples: []example{
			{"the beginning of a ticket, as probe prints it", "mintmark explain -c mintmark.yaml --listener web 4d4d0002c1f0aa317be2205d7f3b0041"},
			{"the same when its owner is down", "mintmark explain -c mintmark.yaml --listener web --down b 4d4d0002c1f0aa317be2205d7f3b0041"},
			{"by the control plane's spaces", "mintmark explain --pool web 4d4d0002c1f0aa317be2205d7f3b0041"},
			{"a QUIC connection ID", "mintmark explain -c mintmark.yaml --listener h3 0767947d29be054a"},
			{"a hello out of a capture", "mintmark explain -c mintmark.yaml --listener web @hello.bin"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			var f explainFlags
			fs.StringVar(&f.file, "c", "", "configuration `FILE`")
			fs.StringVar(&f.listener, "listener", "", "`NAME` of the listener that the message comes to")
			fs.StringVar(&f.field, "field", "", "`FIELD` that the ID stands in; without it, every field that the listener reads")
			fs.StringVar(&f.sni, "sni", "", "`NAME` that the client asks for, for routes; a hello brings its own")
			fs.StringVar(&f.host, "host", "", "`HOST` of the HTTP request, for routes; a whole request brings its own")
			fs.StringVar(&f.path, "path", "/", "`PATH` of the HTTP request, likewise")
			fs.StringVar(&f.client, "client", "", "IP `ADDRESS` of the client, for the policy hash; for datagrams with its port")
			fs.StringVar(&f.down, "down", "", "`SERVERS` that are down, separated by commas")
			pool := fs.String("pool", "", "`POOL` of the control plane to ask, instead of a file")
			cf := newControlFlags(fs)
			return func(ctx context.Context, e *env, operands []string) error {
				if (f.file == "") == (*pool == "") {
					return usagef("explain needs a configuration file, -c FILE, or a pool of the control plane, --pool POOL")
				}
				if len(operands) != 1 {
					return usagef("explain needs one operand: VALUE, @FILE or -")
				}
				if *pool != "" {
					return explainPool(ctx, e, cf, *pool, operands[0], f.field)
				}
				f.asJSON = *cf.json
				return runExplain(e, operands[0], f)
			}
		},
	}
}

type explainFlags struct {
	file, listener, field, sni, host, path, client, down string
	asJSON                                               bool
}

// message reads the operand as the listener would.
func (f *explainFlags) message(e *env, operand string, field idspace.Field, lc *config.Listener) (*explain.Message, error) {
	if lc.Protocol == config.ProtocolHTTP {
		m, err := readHTTP(e.stdin, operand, field, lc)
		if err == nil && m.Host == "" {
			m.Host, m.Path = f.host, f.path
		}
		return m, err
	}
	if lc.Protocol.Datagrams() {
		return readDatagram(e.stdin, operand, field, lc)
	}
	m, err := readMessage(e.stdin, operand, field)
	if err != nil {
		return nil, err
	}
	if lc.Protocol != config.ProtocolTLS {
		m = &explain.Message{}
	}
	if m.SNI == "" {
		m.SNI = f.sni
	}
	return m, nil
}

// runExplain answers for one value. The decision is the balancer's own: a pool
// is built from the file and asked.
func runExplain(e *env, operand string, f explainFlags) error {
	facts, err := explainFacts(f)
	if err != nil {
		return err
	}
	field, err := explainField(f.field)
	if err != nil {
		return err
	}
	cfg, err := config.Load(f.file, config.Options{})
	if problems, ok := errors.AsType[config.Problems](err); ok {
		return refuse(e, f.file, problems)
	}
	if err != nil {
		return err
	}
	lc, err := findListener(cfg, f.listener)
	if err != nil {
		return err
	}
	m, err := f.message(e, operand, field, lc)
	if err != nil {
		return err
	}
	m.AddTo(facts)
	listener, err := buildListener(cfg, lc)
	if err != nil {
		return err
	}
	x := &explain.Explanation{Field: idspace.FieldNone.String(), Listener: string(lc.Name), SNI: m.SNI}
	if m.Datagram != nil && m.Datagram.Refusal != nil {
		x.Unreadable(m.Datagram)
		return printExplanation(x, e.stdout, f.asJSON)
	}
	if lc.Protocol == config.ProtocolTCP {
		x.Notes = append(x.Notes, "a listener of protocol "+string(lc.Protocol)+" reads no ID")
	}
	pool := listener.PoolFor([]byte(m.SNI))
	if m.HTTP {
		pool = listener.PoolForHTTP(m.Host, m.Path)
	}
	if pool == nil {
		x.NoRoute()
		return printExplanation(x, e.stdout, f.asJSON)
	}
	if err := markDown(pool, f.down); err != nil {
		return err
	}
	if cfg.Discover[pool.Config.Name] != nil && pool.Config.Table == nil {
		x.Notes = append(x.Notes, "the spaces of this pool are what probes find, and only a running balancer has asked the servers")
	}
	scheme := cfg.Schemes[pool.Config.Name]
	x.Decide(pool, explain.Scheme{Kind: scheme.Kind, QUICLB: scheme.QUICLB}, m, facts)
	return printExplanation(x, e.stdout, f.asJSON)
}

func explainFacts(f explainFlags) (*route.Facts, error) {
	facts := &route.Facts{Now: time.Now()}
	if f.client == "" {
		return facts, nil
	}
	if both, err := netip.ParseAddrPort(f.client); err == nil {
		facts.Client = both
		return facts, nil
	}
	ip, err := netip.ParseAddr(f.client)
	if err != nil {
		return nil, usagef("--client needs an IP address, got %s", quote(f.client))
	}
	facts.Client = netip.AddrPortFrom(ip, 0)
	return facts, nil
}

func explainField(name string) (idspace.Field, error) {
	if name == "" {
		return idspace.FieldNone, nil
	}
	if field, ok := idspace.ParseField(name); ok {
		return field, nil
	}
	var names []string
	for field := idspace.FieldPSK; int(field) < idspace.NumFields; field++ {
		names = append(names, field.String())
	}
	return 0, usagef("there is no field %s: write one of %s", quote(name), strings.Join(names, ", "))
}

// findListener returns the listener of that name; the name may be left out
// when there is only one.
func findListener(cfg *config.Config, name string) (*config.Listener, error) {
	var names []string
	for i := range cfg.Listeners {
		l := &cfg.Listeners[i]
		if string(l.Name) == name || name == "" && len(cfg.Listeners) == 1 {
			return l, nil
		}
		names = append(names, string(l.Name))
	}
	if name == "" {
		return nil, usagef("explain needs a listener: --listener with one of %s", strings.Join(names, ", "))
	}
	return nil, usagef("there is no listener %s in %s: write one of %s", quote(name), cfg.Path, strings.Join(names, ", "))
}

// buildListener builds the listener and the pools that it routes to, as the
// balancer does when it starts.
func buildListener(cfg *config.Config, lc *config.Listener) (*route.Listener, error) {
	pools := make(map[route.PoolName]*route.Pool)
	for i := range cfg.Pools {
		p, err := route.NewPool(cfg.Pools[i], nil)
		if err != nil {
			return nil, err
		}
		pools[p.Config.Name] = p
	}
	return lc.Route(pools)
}

func markDown(p *route.Pool, names string) error {
	for name := range strings.SplitSeq(names, ",") {
		if name == "" {
			continue
		}
		s := p.Server(route.ServerName(name))
		if s == nil {
			return usagef("--down: there is no server %s in pool %s", quote(name), p.Config.Name)
		}
		s.State.Up.Store(false)
	}
	return nil
}
