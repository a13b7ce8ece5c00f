package config

// FileTLS is how TLS is ended at a listener.
type FileTLS struct {
	// The certificates; the client's server name (SNI) chooses among them, and
	// the first is for clients that send none. At least one is required. The
	// files are read again at a reload.
	Certificates []FileCertificate `yaml:"certificates"`
}

// A FileCertificate is a certificate with its key.
type FileCertificate struct {
	// The PEM file of the certificate and those that it is signed with,
	// relative to the directory of this file. Required.
	Cert string `yaml:"cert"`
	// The PEM file of its private key. Required.
	Key string `yaml:"key"`
}

// A FileID is a place where the ID may stand: in HTTP requests exactly one of
// `cookie`, `header`, `query`, `path` and `json`, in datagrams `bytes`.
type FileID struct {
	// Octets of a datagram. Only with protocol `udp`, and required with it.
	Bytes *FileBytes `yaml:"bytes"`
	// The name of a cookie.
	Cookie string `yaml:"cookie"`
	// The name of a header. Of an `Mcp-Param-` header the form
	// `=?base64?...?=` is decoded.
	Header string `yaml:"header"`
	// The name of a parameter of the query.
	Query string `yaml:"query"`
	// A pattern for the path, of which one segment is `{id}` and others may be
	// `*`: `/whip/{id}` takes `/whip/7` and `/whip/7/ice`.
	Path string `yaml:"path"`
	// The key of a string at the top level of a JSON body. These five, and what
	// follows, are for protocol `http`.
	JSON string `yaml:"json"`
	// Cuts the value: the ID is what comes after the first of these characters,
	// and a value without them has no ID. `after: "."` finds the jvmRoute of a
	// JSESSIONID.
	After string `yaml:"after"`
	// How the value writes the ID. Rules see the decoded bytes.
	// Default: text.
	Encoding string `yaml:"encoding" choices:"text,hex,base64url,uuid"`
	// The longest body that is read for the ID. Only with `json`.
	// Default: 64KiB.
	Limit Size `yaml:"limit"`
	// What becomes of a longer body, or one with a Content-Encoding: `refuse`
	// answers 413, `balance` treats it as one without an ID. Only with `json`.
	// Default: refuse.
	OverLimit string `yaml:"over_limit" choices:"refuse,balance"`
	// The key of a JSON response that the server assigns the ID in, for `learn`
	// and for checking that servers mint in their spaces. Only with `json`.
	// Default: the key of requests.
	Response string `yaml:"response"`
}

// FileForwarded is what servers are told of the client whose request it is.
type FileForwarded struct {
	// What becomes of such headers that the client sends: `replace` removes
	// them, `append` adds to them, which is for clients that are proxies to be
	// trusted, `keep` lets them through and adds nothing, `remove` removes them
	// and adds nothing.
	// Default: replace.
	Policy string `yaml:"policy" choices:"replace,append,keep,remove"`
	// Which are added: X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Proto,
	// or Forwarded (RFC 7239), or both.
	// Default: x-forwarded.
	Headers string `yaml:"headers" choices:"x-forwarded,forwarded,both"`
}

// FileErrorBody is the body of the responses that the balancer makes itself.
type FileErrorBody struct {
	// Its media type.
	// Default: text/plain; charset=utf-8.
	ContentType string `yaml:"content_type"`
	// The text, at most 16 KiB, in which `{status}` and `{cause}` stand for the
	// number and for the word that the access log has. Required.
	Text string `yaml:"text"`
}

// FileUpstream is how HTTP is spoken with the servers of a pool.
type FileUpstream struct {
	// `h1` is HTTP/1.1. `h2` is HTTP/2: without `tls` at once (h2c with prior
	// knowledge), with it where the server agrees.
	// Default: h1.
	Protocol string `yaml:"protocol" choices:"h1,h2"`
	// Encrypts. Without it requests are sent in cleartext.
	TLS *FileUpstreamTLS `yaml:"tls"`
}

// FileUpstreamTLS is TLS towards the servers.
type FileUpstreamTLS struct {
	// The name to ask for, and to find in the certificate. Default: the host of
	// the server's address.
	SNI string `yaml:"sni"`
	// The certificate authorities to believe, a PEM file, relative to the
	// directory of this file. Default: the system's.
	CA string `yaml:"ca"`
	// Whether the server's certificate is checked.
	// Default: true.
	Verify bool `yaml:"verify"`
	// The certificate, a PEM file, for servers that demand one.
	Cert string `yaml:"cert"`
	// The private key of `cert`.
	Key string `yaml:"key"`
}
