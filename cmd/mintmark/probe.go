package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mintmark/mintmark/internal/probe"
)

func probeCommand() *command {
	return &command{
		name:     "probe",
		synopsis: "HOST:PORT [--sni NAME] [--cert FILE --key FILE] [--connections N] [--timeout TIME] [--json]",
		short:    "find out whether a TLS server's sessions can be routed",
		long: `
Connect to a TLS server as a client, a few times with TLS 1.3 and with TLS
1.2, and look at the tickets that it hands out: how they are laid out, which
bytes stay the same, whether its sessions can therefore be routed, and what to
change on the server if not. No configuration is needed, and nothing on the
server changes.

The exit status is 0 when the sessions can be routed, 1 when not.

With --json, one object is printed. Its keys: address; layout (key-name,
prefix, stateful, opaque or none); routable; name, the hex bytes that all
tickets begin with; stable, how many bytes all of them have in common; product,
a guess at what minted them; samples, one a TLS version with version,
connections, tickets, lengths, on_request and error; advice, in words.`,
		examples: []example{
			{"ask a server on this machine", "mintmark probe 127.0.0.1:443"},
			{"send the name that clients use", "mintmark probe 10.0.0.7:443 --sni www.example.com"},
		},
		setup: func(fs *flag.FlagSet) runFunc {
			var f probeFlags
			fs.StringVar(&f.sni, "sni", "", "server `NAME` to send; without it, HOST when that is a name")
			fs.StringVar(&f.cert, "cert", "", "client certificate, a PEM `FILE`, for a server that demands one")
			fs.StringVar(&f.key, "key", "", "private key of --cert, a PEM `FILE`")
			fs.IntVar(&f.connections, "connections", probe.DefaultConnections, "connections for each TLS version")
			fs.DurationVar(&f.timeout, "timeout", probe.DefaultTimeout, "`TIME` that each connection may take")
			fs.BoolVar(&f.asJSON, "json", false, "print one JSON object")
			return func(ctx context.Context, e *env, operands []string) error {
				if len(operands) != 1 {
					return usagef("probe needs one operand, the server's address: HOST:PORT")
				}
				return runProbe(ctx, e, operands[0], f)
			}
		},
	}
}

type probeFlags struct {
	sni, cert, key string
	connections    int
	timeout        time.Duration
	asJSON         bool
}

// config checks the flags.
func (f probeFlags) config(address string) (probe.Config, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return probe.Config{}, usagef("%s is not an address: write HOST:PORT, for example 127.0.0.1:443", quote(address))
	}
	if f.connections < 2 || f.connections > maxProbeConnections {
		return probe.Config{}, usagef("--connections must be 2 to %d: one alone tells nothing, got %d", maxProbeConnections, f.connections)
	}
	if f.timeout <= 0 {
		return probe.Config{}, usagef("--timeout must be longer than 0s, got %v", f.timeout)
	}
	cfg := probe.Config{SNI: f.sni, Connections: f.connections, Timeout: f.timeout}
	if cfg.SNI == "" && net.ParseIP(host) == nil {
		cfg.SNI = host
	}
	if (f.cert == "") != (f.key == "") {
		return probe.Config{}, usagef("--cert and --key go together")
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return probe.Config{}, fmt.Errorf("reading the client certificate: %w", err)
		}
		cfg.Certificate = &pair
	}
	cfg.Dial = func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
	return cfg, nil
}

// maxProbeConnections keeps a typing error from becoming a load test.
const maxProbeConnections = 100

func runProbe(ctx context.Context, e *env, address string, f probeFlags) error {
	cfg, err := f.config(address)
	if err != nil {
		return err
	}
	r, err := probe.Run(ctx, cfg)
	if errors.Is(err, probe.ErrUnreachable) {
		return withHint(err, "does a server listen on %s, and may this machine connect to it?", address)
	}
	if err != nil {
		return withHint(err, "is %s a TLS server, and does it want another name (--sni) or a client certificate (--cert)?", address)
	}
	out := newProbeReport(address, r)
	if f.asJSON {
		err = writeJSON(e.stdout, out)
	} else {
		err = out.print(e)
	}
	if err == nil && !out.Routable {
		return exitError(statusError)
	}
	return err
}

// probeReport is the JSON contract of `mintmark probe --json`.
type probeReport struct {
	Address  string        `json:"address"`
	Layout   probe.Layout  `json:"layout"`
	Routable bool          `json:"routable"`
	Name     string        `json:"name"` // hex; "" when there is none
	Stable   int           `json:"stable"`
	Product  string        `json:"product"`
	Samples  []probeSample `json:"samples"`
	Advice   []string      `json:"advice"`
}

type probeSample struct {
	Version     string `json:"version"`
	Connections int    `json:"connections"`
	Tickets     int    `json:"tickets"`
	Lengths     []int  `json:"lengths"` // of the tickets, bytes
	OnRequest   bool   `json:"on_request"`
	Error       string `json:"error,omitempty"`
}

func newProbeReport(address string, r *probe.Result) probeReport {
	out := probeReport{
		Address: address, Layout: r.Layout, Routable: r.Layout.Routable(), Name: hex.EncodeToString(r.Name),
		Stable: r.Stable, Product: r.Product(), Advice: r.Advice(),
	}
	for _, s := range r.Samples {
		ps := probeSample{
			Version: tls.VersionName(s.Version), Connections: s.Connections,
			Tickets: len(s.Tickets), Lengths: []int{}, OnRequest: s.OnRequest,
		}
		for _, t := range s.Tickets {
			ps.Lengths = append(ps.Lengths, len(t.ID))
		}
		if s.Err != nil {
			ps.Error = s.Err.Error()
		}
		out.Samples = append(out.Samples, ps)
	}
	return out
}

func (r probeReport) print(e *env) error {
	var b strings.Builder
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("server", "%s", r.Address)
	for _, s := range r.Samples {
		switch {
		case s.Error != "":
			row(s.Version, "refused: %s", s.Error)
		case s.OnRequest:
			row(s.Version, "%d connections, %d tickets of %v bytes, after a request", s.Connections, s.Tickets, s.Lengths)
		default:
			row(s.Version, "%d connections, %d tickets of %v bytes", s.Connections, s.Tickets, s.Lengths)
		}
	}
	row("layout", "%s", r.Layout)
	if r.Name != "" {
		row("name", "%s", r.Name)
	}
	row("stable", "%d bytes", r.Stable)
	if r.Product != "" {
		row("probably", "%s", r.Product)
	}
	_ = tw.Flush() // into memory
	b.WriteByte('\n')
	for _, line := range r.Advice {
		b.WriteString(line + "\n")
	}
	_, err := e.stdout.Write([]byte(b.String()))
	return err
}
