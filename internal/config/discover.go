package config

import (
	"crypto/tls"
	"time"

	"github.com/mintmark/mintmark/internal/route"
)

// Discover is how the servers of a pool are probed. A pool without spaces of
// its own is routed by what the probes find; in one with spaces they show
// whether the servers mint what they should.
type Discover struct {
	SNI         string
	Certificate *tls.Certificate // nil: none is shown
	Interval    time.Duration
	Cache       string // path; "" keeps nothing over a restart
}

// Learn is how a pool remembers the IDs that its servers assign.
type Learn struct {
	MaxEntries int
	Lifetime   time.Duration
}

const (
	// minProbeInterval keeps a typing error from making probes a load.
	minProbeInterval = time.Second
	// maxPEMSize is the largest file of certificates or a key that is read. It
	// stops a wrong path from filling the memory.
	maxPEMSize = 1 << 20
	// MaxLearned is the most entries that a learned list may have: 1.7 GB.
	MaxLearned = 100_000_000
)

func (c *checker) discover(f *FilePool, p *path) {
	d := f.Discover
	if d == nil {
		return
	}
	at := p.field("discover")
	out := &Discover{
		SNI:      d.SNI,
		Interval: c.lasts(at.field("interval"), d.Interval, minProbeInterval, maxLifetime),
		Cache:    d.Cache,
	}
	if c.require(at.field("probe"), "write probe: true") && !d.Probe {
		c.problem(at, "does not ask for probes, so it has no effect", "write probe: true, or remove it")
	}
	if sni := at.field("sni"); d.SNI != "" && c.sound(sni) {
		if fault := sniFault(d.SNI); fault != nil {
			c.fault(sni, fault)
		} else if d.SNI[0] == '*' {
			c.problem(sni, "is a pattern, and a probe asks for one name", `write a name such as "www.shop.example"`)
		}
	}
	out.Certificate = c.clientCertificate(d, at)
	switch {
	case d.Cache == "none":
		out.Cache = ""
	case d.Cache != "":
		out.Cache = c.relative(d.Cache)
	default:
		out.Cache = c.relative(f.Name + ".names")
	}
	c.result.Discover[route.PoolName(f.Name)] = out
}

func (c *checker) clientCertificate(d *FileDiscover, at *path) *tls.Certificate {
	if d.Cert == "" && d.Key == "" {
		return nil
	}
	if d.Cert == "" || d.Key == "" {
		c.problem(at, "has one of cert and key, and they go together", "write both, or remove both")
		return nil
	}
	return c.keyPair(d.Cert, d.Key, at)
}

// keyPair reads a certificate and its key, whose settings stand at at.
func (c *checker) keyPair(certFile, keyFile string, at *path) *tls.Certificate {
	cert, err := readBounded(c.relative(certFile), maxPEMSize)
	if err != nil {
		c.problemf(at.field("cert"), "make the file readable, or write another path", "cannot be read: %v", err)
	}
	key, keyErr := readBounded(c.relative(keyFile), maxPEMSize)
	if keyErr != nil {
		c.problemf(at.field("key"), "make the file readable, or write another path", "cannot be read: %v", keyErr)
	}
	if err != nil || keyErr != nil {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		c.problemf(at.field("cert"), "write the PEM files of a certificate and its private key", "cannot be used: %v", err)
		return nil
	}
	return &pair
}

func (c *checker) learn(f *FilePool, p *path) {
	if f.Learn == nil {
		return
	}
	at := p.field("learn")
	c.between(at.field("max_entries"), f.Learn.MaxEntries, 1, MaxLearned)
	c.result.Learn[route.PoolName(f.Name)] = Learn{
		MaxEntries: f.Learn.MaxEntries,
		Lifetime:   c.lasts(at.field("lifetime"), f.Learn.Lifetime, time.Second, maxLifetime),
	}
}
