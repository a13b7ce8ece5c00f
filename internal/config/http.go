package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"time"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/httpid"
	"github.com/mintmark/mintmark/internal/route"
)

// HTTP is what a listener of protocol http has besides.
type HTTP struct {
	Certificates    []tls.Certificate // nil: cleartext
	IDs             []ID              // in order
	Forwarded       FileForwarded
	MaxBody         int64         // 0: no limit
	ResponseTimeout time.Duration // 0: none
	ErrorType       string        // "": the balancer's own text
	ErrorText       string
}

// An ID is a place in requests where the ID may stand.
type ID struct {
	Source httpid.Config
	// Limit is the longest body that is read for an ID in JSON, and OverLimit
	// says that a longer one is balanced, not refused.
	Limit           int64
	BalanceOverflow bool
}

// HTTP reports whether the listener speaks HTTP.
func (f *FileListener) HTTP() bool { return f.Protocol == string(ProtocolHTTP) }

// fields are those in which a listener of protocol http reads IDs.
func (f *FileListener) fields() idspace.FieldSet {
	var set idspace.FieldSet
	for i := range f.IDs {
		id := &f.IDs[i]
		for field, name := range map[idspace.Field]string{
			idspace.FieldCookie: id.Cookie, idspace.FieldHeader: id.Header, idspace.FieldQuery: id.Query,
			idspace.FieldPath: id.Path, idspace.FieldJSON: id.JSON,
		} {
			if name != "" {
				set |= idspace.Fields(field)
			}
		}
	}
	return set
}

// onlyHTTP reports whether nothing but HTTP comes to the pool.
func (p *poolFacts) onlyHTTP() bool { return len(p.protocols) == 1 && p.protocols[ProtocolHTTP] }

// http checks what only listeners of protocol http have.
func (c *checker) http(f *FileListener, p *path) *HTTP {
	if !f.HTTP() {
		for _, name := range []string{"tls", "forwarded", "max_body", "error_body"} {
			if at := p.field(name); c.sound(at) && c.sound(p.field("protocol")) {
				c.problem(at, "is for listeners of protocol http", "write protocol: http, or remove it")
			}
		}
		if at := p.field("timeouts").field("response"); c.sound(at) {
			c.warnf(at, "remove it", "has no effect with protocol %s", f.Protocol)
		}
		return nil
	}
	h := &HTTP{MaxBody: int64(f.MaxBody)}
	Defaults(&h.Forwarded)
	if f.Forwarded != nil {
		h.Forwarded = *f.Forwarded
	}
	if v := f.Timeouts.Response; v != 0 {
		h.ResponseTimeout = c.lasts(p.field("timeouts").field("response"), v, time.Second, maxLifetime)
	}
	h.Certificates = c.certificates(f.TLS, p.field("tls"))
	h.IDs = c.ids(f.IDs, p.field("ids"))
	if e, at := f.ErrorBody, p.field("error_body"); e != nil && c.require(at.field("text"), "write what a refused client reads") {
		if len(e.Text) > maxErrorBody {
			c.problemf(at.field("text"), fmt.Sprintf("write at most %d bytes", maxErrorBody), "is %d bytes long", len(e.Text))
		}
		if _, _, err := mime.ParseMediaType(e.ContentType); err != nil {
			c.problemf(at.field("content_type"), "write a media type such as application/json", "%s is not a media type", quote(e.ContentType))
		}
		h.ErrorType, h.ErrorText = e.ContentType, e.Text
	}
	return h
}

func (c *checker) certificates(f *FileTLS, p *path) []tls.Certificate {
	if f == nil || c.report.has(p) {
		return nil
	}
	at := p.field("certificates")
	const remedy = "write certificates: [{cert: FILE, key: FILE}]"
	if !c.require(at, remedy) {
		return nil
	}
	if len(f.Certificates) == 0 {
		c.problem(at, "is empty", remedy)
	}
	var out []tls.Certificate
	for i := range f.Certificates {
		fc, cp := &f.Certificates[i], at.item(i)
		okCert := c.require(cp.field("cert"), "write the PEM file of a certificate")
		if !c.require(cp.field("key"), "write the PEM file of the certificate's key") || !okCert {
			continue
		}
		if pair := c.keyPair(fc.Cert, fc.Key, cp); pair != nil {
			out = append(out, *pair)
		}
	}
	return out
}

func (c *checker) ids(list []FileID, p *path) []ID {
	if len(list) > MaxIDs {
		c.problemf(p, fmt.Sprintf("write at most %d", MaxIDs), "has %d places for IDs", len(list))
		return nil
	}
	var out []ID
	seen := map[httpid.Config]*path{}
	for i := range list {
		at := p.item(i)
		problems := len(c.report.problems)
		id, ok := c.id(&list[i], at)
		if !ok || len(c.report.problems) > problems {
			continue
		}
		if first, twice := seen[id.Source]; twice {
			c.problemf(at, "remove one of the two", "is the same as %s in line %d", first, first.line(c.root))
			continue
		}
		seen[id.Source] = at
		out = append(out, id)
	}
	return out
}

// onlyBytes notes what an ID of a datagram has and only one of a request may.
func (c *checker) onlyBytes(p *path) {
	for _, name := range []string{"cookie", "header", "query", "path", "json", "after", "encoding", "limit", "over_limit", "response"} {
		if at := p.field(name); c.sound(at) {
			c.problem(at, "is for listeners of protocol http", "write bytes, as in bytes: {offset: 4, length: 4}")
		}
	}
}

func (c *checker) id(f *FileID, p *path) (ID, bool) {
	if at := p.field("bytes"); c.sound(at) {
		c.problem(at, "is for listeners of protocol udp", "write one of cookie, header, query, path and json")
		return ID{}, false
	}
	if c.report.has(p) {
		return ID{}, false
	}
	names := map[string]string{"cookie": f.Cookie, "header": f.Header, "query": f.Query, "path": f.Path, "json": f.JSON}
	var kinds []string
	kind := httpid.Cookie
	for k := httpid.Cookie; k <= httpid.JSON; k++ {
		if at := p.field(k.String()); c.written(at) || c.meant[at.String()] {
			kinds = append(kinds, k.String())
			kind = k
		}
	}
	switch {
	case len(kinds) == 0:
		c.problem(p, "has no place", "write one of cookie, header, query, path and json")
		return ID{}, false
	case len(kinds) > 1:
		c.problem(p, "has "+strings.Join(kinds, " and ")+" in one place", "write each as one of its own, with a dash before it")
		return ID{}, false
	}
	at := p.field(kinds[0])
	if !c.sound(at) {
		return ID{}, false
	}
	if kind != httpid.JSON {
		for _, name := range []string{"limit", "over_limit", "response"} {
			if other := p.field(name); c.sound(other) {
				c.problem(other, "is for IDs in a JSON body", "remove it")
			}
		}
	} else if limit := p.field("limit"); !c.report.has(limit) && (f.Limit < 1 || f.Limit > MaxJSONLimit) {
		c.problemf(limit, fmt.Sprintf("write a size up to %s", Size(MaxJSONLimit)), "%s is out of range", f.Limit)
	}
	if after := p.field("after"); c.sound(after) && f.After == "" {
		c.problem(after, "is empty", "write the characters before the ID, or remove the line")
	}
	id := ID{
		Source: httpid.Config{
			Kind: kind, Name: names[kinds[0]], After: f.After, Response: f.Response,
			Encoding: map[string]httpid.Encoding{"hex": httpid.Hex, "base64url": httpid.Base64URL, "uuid": httpid.UUID}[f.Encoding],
		},
		Limit:           int64(f.Limit),
		BalanceOverflow: f.OverLimit == "balance",
	}
	if _, err := httpid.New(id.Source); err != nil {
		reason, remedy, ok := strings.Cut(err.Error(), "; ")
		if !ok {
			remedy = "write the name of a " + kinds[0]
		}
		c.problem(at, reason, remedy)
		return ID{}, false
	}
	return id, true
}

// httpRoute reads a route of a listener of protocol http.
func (c *checker) httpRoute(f *FileRoute, p *path) (Route, bool) {
	if sni := p.field("sni"); c.sound(sni) {
		c.problem(sni, "is for listeners of protocol tls", "write host: "+quote(f.SNI))
		return Route{}, false
	}
	host, under := p.field("host"), p.field("path")
	if !c.written(host) && !c.written(under) {
		if !c.meant[host.String()] && !c.meant[under.String()] {
			c.problem(p, "takes every request", `write host: or path:, or make it the listener's pool`)
		}
		return Route{}, false
	}
	ok := true
	if c.written(host) {
		fault := (*fault)(nil)
		if ok = c.sound(host); ok {
			fault = hostFault(f.Host)
			c.fault(host, fault)
		}
		ok = ok && fault == nil
	}
	if c.written(under) && c.sound(under) {
		if err := route.CheckHTTPPath(f.Path); err != nil {
			reason, remedy, _ := strings.Cut(err.Error(), "; ")
			c.problem(under, reason, remedy)
			ok = false
		}
	}
	return Route{Host: strings.ToLower(strings.TrimSuffix(f.Host, ".")), Path: f.Path, Pool: route.PoolName(f.Pool)}, ok
}

// hostFault says what is wrong with the host of a route.
func hostFault(pattern string) *fault {
	if isIP(pattern) {
		return nil // unlike SNI, Host may be one
	}
	return sniFault(pattern)
}

// upstream reads how HTTP is spoken with the servers of a pool.
func (c *checker) upstream(f *FileUpstream, p *path) route.UpstreamConfig {
	u := route.UpstreamConfig{HTTP2: f.Protocol == "h2"}
	t, at := f.TLS, p.field("tls")
	if t == nil || c.report.has(at) {
		return u
	}
	u.TLS = &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.SNI,
		InsecureSkipVerify: !t.Verify, //nolint:gosec // what the file says
	}
	if sni := at.field("sni"); c.sound(sni) {
		if fault := hostFault(t.SNI); fault != nil {
			c.fault(sni, fault)
		} else if strings.HasPrefix(t.SNI, "*") {
			c.problem(sni, "is a pattern, and a server is asked for one name", `write a name such as "www.shop.example"`)
		}
	}
	if ca := at.field("ca"); c.sound(ca) {
		pem, err := readBounded(c.relative(t.CA), maxPEMSize)
		u.TLS.RootCAs = x509.NewCertPool()
		switch {
		case err != nil:
			c.problemf(ca, "make the file readable, or write another path", "cannot be read: %v", err)
		case !u.TLS.RootCAs.AppendCertsFromPEM(pem):
			c.problem(ca, "has no certificate", "write a PEM file with the certificates of authorities")
		case !t.Verify:
			c.warnf(ca, "remove verify: false", "has no effect, because certificates are not checked")
		}
	}
	if c.written(at.field("cert")) || c.written(at.field("key")) {
		okCert := c.require(at.field("cert"), "write the PEM file of the certificate")
		if c.require(at.field("key"), "write the PEM file of its key") && okCert {
			if pair := c.keyPair(t.Cert, t.Key, at); pair != nil {
				u.TLS.Certificates = []tls.Certificate{*pair}
			}
		}
	}
	return u
}

// healthHTTP checks what only health checks of type http have.
func (c *checker) healthHTTP(f *FileHealth, h *route.HealthConfig, at *path) {
	asked, host := at.field("path"), at.field("host")
	if h.Type != route.HealthHTTP {
		for _, p := range []*path{asked, host} {
			if c.sound(p) && c.sound(at.field("type")) {
				c.problem(p, "has no effect with checks that are not HTTP", "write type: http as well, or remove it")
			}
		}
		return
	}
	if c.sound(asked) && (!strings.HasPrefix(f.Path, "/") || strings.ContainsAny(f.Path, " \t\r\n#")) {
		c.problem(asked, quote(f.Path)+" is not a path", "write a path such as /healthz")
	}
	if c.sound(host) && strings.ContainsAny(f.Host, " \t\r\n/@") {
		c.problem(host, quote(f.Host)+" is not a host", "write a host such as "+strconv.Quote("www.shop.example"))
	}
	h.Path, h.Host = f.Path, f.Host
}

// Route builds the part of a snapshot that sends what the listener accepts to
// pools.
func (l *Listener) Route(pools map[route.PoolName]*route.Pool) (*route.Listener, error) {
	if l.HTTP != nil {
		out := &route.Listener{Name: l.Name, Pool: pools[l.Pool]}
		for _, r := range l.Routes {
			out.HTTPRoutes = append(out.HTTPRoutes, route.HTTPRoute{Host: r.Host, Path: r.Path, Pool: pools[r.Pool]})
		}
		return out, nil
	}
	routes := make([]route.SNIRoute, 0, len(l.Routes))
	for _, r := range l.Routes {
		routes = append(routes, route.SNIRoute{Pattern: r.SNI, Pool: pools[r.Pool]})
	}
	return route.NewListener(l.Name, routes, pools[l.Pool])
}
