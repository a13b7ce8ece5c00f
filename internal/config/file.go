package config

// The types below are the configuration file. Their comments are the
// reference that people read: docs/configuration.md is made of them by
// `go test ./internal/config -run TestReference -update`. A comment says what
// the setting is for, its unit, its default and what it excludes; "Default: x."
// and "Required." have that form because tests read them.
//
// Tags: yaml names the setting; choices lists the words it may be; "one" lets a
// list of one stand without brackets; "later" is a setting of a later version,
// which is refused by name.

// A File is a whole configuration file: what to listen on, and the servers
// behind it.
type File struct {
	// The version of this format. Required. The only version is 1.
	Version int `yaml:"version"`
	// Where the balancer tells how it is. Without it there is no such address.
	Admin *Admin `yaml:"admin"`
	// The control plane, which then has the pools. Without it this file is all
	// there is.
	Control *FileControl `yaml:"control"`
	// How long connections may go on after SIGTERM before they are closed.
	// 0s closes them at once.
	// Default: 30s.
	ShutdownGrace Duration `yaml:"shutdown_grace"`
	// The addresses that clients connect to. At least one is required, but in
	// a control plane.
	Listeners []FileListener `yaml:"listeners"`
	// The servers, in pools. At least one is required, and none with `control`:
	// `mintmark import` takes them into its store.
	Pools []FilePool `yaml:"pools"`
}

// Admin is where the balancer serves /metrics, /healthz and /readyz over plain
// HTTP, without login: keep it on loopback or a management network.
type Admin struct {
	// The address to listen on: `127.0.0.1:7071`, `[::1]:7071` or
	// `unix:/run/mintmark/admin.sock`. Required.
	Listen string `yaml:"listen"`
}

// A FileListener is a socket, or several, and what becomes of the connections
// that it accepts.
type FileListener struct {
	// The name in metrics, logs and commands: letters, digits, `.`, `-` and
	// `_`, at most 64. Required, and unique among the listeners.
	Name string `yaml:"name"`
	// The address to listen on, or a list of them: `192.0.2.1:443`,
	// `[2001:db8::1]:443`, `:443` for all addresses of the machine, or
	// `unix:/run/mintmark/web.sock`. Port 0 lets the kernel choose. Required.
	Listen []string `yaml:"listen,one"`
	// What clients speak. `tls` reads the hello of a TLS connection, routes by
	// the IDs in it and passes everything through; `tcp` reads nothing and
	// connects at once. `http` is HTTP/1.1 and HTTP/2, of which each request is
	// routed by the IDs in it. `quic`, `dtls` and `udp` listen for datagrams:
	// each is routed by the connection ID in it, or with `udp` by the octets
	// that `ids` says. Required.
	Protocol string `yaml:"protocol" choices:"tls,tcp,http,quic,dtls,udp"`
	// The PROXY protocol from the load balancer in front of this one. Without
	// it no header is expected.
	ProxyProtocol *FileProxyIn `yaml:"proxy_protocol"`
	// How long things may take.
	Timeouts FileTimeouts `yaml:"timeouts"`
	// The most connections at a time; what comes beyond is refused at once. 0
	// sets no limit. For datagrams it is the most flows at a time on each
	// address (a flow is a client's address and a server), of which clients
	// without IDs of a server may fill half, and 0 means 16384.
	// Default: 0.
	MaxConnections int `yaml:"max_connections"`
	// The file that a line is appended to for each connection, or HTTP
	// request, relative to the directory of this file. Without it there is no
	// access log.
	AccessLog string `yaml:"access_log"`
	// The form of those lines. With protocol `http`, `text` is the common
	// combined form, with more at its end.
	// Default: text.
	AccessLogFormat string `yaml:"access_log_format" choices:"text,json"`
	// How connections are moved: `portable` uses the Go runtime's poller,
	// `auto` takes the best that the system has.
	// Default: auto.
	Engine string `yaml:"engine" choices:"auto,portable"`
	// Which pool a connection goes to, by the name the client asked for (SNI),
	// or a request, by its host and path. The first route that matches wins.
	// Only with the protocols `tls` and `http`.
	Routes []FileRoute `yaml:"routes"`
	// The pool for what no route takes. Without it such connections are
	// refused. Required when there are no routes.
	Pool string `yaml:"pool"`
	// Ends TLS here, so that requests can be read. Without it clients speak
	// cleartext. Only with protocol `http`.
	TLS *FileTLS `yaml:"tls"`
	// Where the ID stands, in order: the first value that lies in somebody's
	// space decides. Only with the protocols `http`, at most 16, and `udp`, at
	// most 8.
	IDs []FileID `yaml:"ids"`
	// What servers are told of the client. Only with protocol `http`.
	Forwarded *FileForwarded `yaml:"forwarded"`
	// The largest body of a request; a larger one is refused with 413. 0B sets
	// no limit. Only with protocol `http`.
	// Default: 0B.
	MaxBody Size `yaml:"max_body"`
	// What a refused client reads. Only with protocol `http`.
	ErrorBody *FileErrorBody `yaml:"error_body"`
}

// A FileBytes is octets at a fixed place of a datagram.
type FileBytes struct {
	// How many octets come before them, at most 1200.
	// Default: 0.
	Offset int `yaml:"offset"`
	// How many they are, 1 to 255. Required.
	Length int `yaml:"length"`
	// What the datagram must be like. Without it, any that is long enough has
	// an ID.
	When *FileWhen `yaml:"when"`
}

// A FileWhen is a condition: certain octets stand at a certain place.
type FileWhen struct {
	// How many octets come before them, at most 1200.
	// Default: 0.
	Offset int `yaml:"offset"`
	// The octets, in hexadecimal. Required.
	Equals *Hex `yaml:"equals"`
}

// FileProxyIn is which clients send a PROXY header, in version 1 or 2.
type FileProxyIn struct {
	// The networks whose connections must begin with a PROXY header, which is
	// believed; connections from elsewhere must have none. Each is a prefix
	// such as `10.0.0.0/8` or `2001:db8::/32`. Required.
	AcceptFrom []string `yaml:"accept_from,one"`
}

// FileTimeouts is how long things may take for a connection of a listener.
type FileTimeouts struct {
	// From accepting a connection until its TLS hello is complete. With protocol
	// `http`, also from the first byte of a request until its header is.
	// Default: 5s.
	Hello Duration `yaml:"hello"`
	// From deciding on a server until it has accepted the connection.
	// Default: 5s.
	Connect Duration `yaml:"connect"`
	// Without a byte in either direction. 0s never ends an idle connection.
	// Default: 10m, and for flows of datagrams 2m.
	Idle *Duration `yaml:"idle"`
	// From sending an HTTP request until the header of the response. 0s sets no
	// end but `idle`. Only with protocol `http`.
	// Default: 0s.
	Response Duration `yaml:"response"`
}

// A FileRoute is where the connections or requests go that ask for some names.
type FileRoute struct {
	// The name that the client asks for, `www.shop.example`, or `*.shop.example`
	// for every name that ends so. Upper and lower case are the same. Required
	// with protocol `tls`, and only with it.
	SNI string `yaml:"sni"`
	// The host of a request, written like `sni`; its port does not count. Only
	// with protocol `http`, where a route has `host`, `path` or both.
	Host string `yaml:"host"`
	// The path of a request: `/api` takes `/api` and everything under `/api/`.
	Path string `yaml:"path"`
	// The pool. Required.
	Pool string `yaml:"pool"`
}

// A FilePool is the servers that a listener balances over, and what becomes of
// the IDs that they mint.
type FilePool struct {
	// The name in metrics, logs and commands: letters, digits, `.`, `-` and
	// `_`, at most 64. Required, and unique among the pools.
	Name string `yaml:"name"`
	// How a server is chosen for new traffic: in turn, the one with the fewest
	// connections (as this replica counts them), the better of two drawn at
	// random, or by a hash of the client's address that every replica computes
	// alike. Weights count in each of them.
	// Default: round-robin. For datagrams it is always hash.
	Policy string `yaml:"policy" choices:"round-robin,least-connections,random-two,hash"`
	// What becomes of an ID whose owner is down or at the end of its drain:
	// `group` sends it to a server of the owner's group and, when none is
	// there, to any server; `balance` sends it to any server; `refuse` refuses
	// it. An owner that is at its connection limit always refuses.
	// Default: group.
	WhenOwnerDown string `yaml:"when_owner_down" choices:"group,balance,refuse"`
	// What becomes of a message with no ID, or with an ID of nobody: `balance`
	// sends it to any server, `refuse` refuses it, a new client's first visit
	// included.
	// Default: balance.
	UnknownIDs string `yaml:"unknown_ids" choices:"balance,refuse"`
	// Whether a TLS session_id is looked up, which may be a number that the
	// client invented: `route` always, `skip` never, `auto` while the share of
	// all IDs that is assigned is at most 1/65536, or when the hello cannot be
	// TLS 1.3 and carries no ticket.
	// Default: auto.
	RandomIDs string `yaml:"random_ids" choices:"auto,route,skip"`
	// Where a hello with early data (0-RTT) may go when its owner is away:
	// `owner_only` sends it to a server that cannot accept the data, `allow`
	// treats it like any other, which lets it be replayed to a partner.
	// Default: owner_only.
	EarlyData string `yaml:"early_data" choices:"owner_only,allow"`
	// How long after its last use an ID may come back. A space is not given to
	// another owner before that.
	// Default: 24h.
	SessionLifetime Duration `yaml:"session_lifetime"`
	// How long a draining server still gets the IDs of its space. 0s sets no
	// end. Default: the pool's session_lifetime.
	DrainTimeout *Duration `yaml:"drain_timeout"`
	// The PROXY protocol header that the servers expect at the start of each
	// connection. `v2` also carries the name that the client asked for (SNI),
	// the ALPN protocol when it offered a single one, and an ID of the
	// connection that the access log has too.
	// Default: none.
	ProxyProtocol string `yaml:"proxy_protocol" choices:"none,v1,v2"`
	// How the servers are checked.
	Health FileHealth `yaml:"health"`
	// How HTTP is spoken with the servers, by listeners of protocol `http`.
	Upstream FileUpstream `yaml:"upstream"`
	// The servers. At least one is required.
	Servers []FileServer `yaml:"servers"`
	// Servers that share session state with each other, in groups.
	Groups []FileGroup `yaml:"groups"`
	// Where spaces come from when nobody writes them by hand. Without it they
	// are the `ids` of the servers and groups, and a pool without any only
	// balances.
	Scheme *FileScheme `yaml:"scheme"`
	// The plan that `mintmark plan` writes, relative to the directory of this
	// file. Required with the schemes `ranges`, `bits` and `sealed`, and only
	// with them.
	PlanFile string `yaml:"plan_file"`
	// Reading the marks off servers, by probing. In a pool without `ids` and
	// `scheme` it finds the spaces; in others it checks that the servers mint
	// in theirs.
	Discover *FileDiscover `yaml:"discover"`
	// Remembering the IDs that servers are seen to assign, for IDs in no
	// space. Without it nothing is remembered.
	Learn *FileLearn `yaml:"learn"`
}

// FileDiscover is how servers are asked for their marks: as a TLS client,
// whose tickets show what the server mints.
type FileDiscover struct {
	// Whether to probe. Required, and true.
	Probe bool `yaml:"probe"`
	// The server name to send, the one that clients use. Without it none is
	// sent.
	SNI string `yaml:"sni"`
	// How often each server is probed, give or take a tenth. A probe is out of
	// turn when a server's health changes or it declines sessions of its own.
	// Default: 30s.
	Interval Duration `yaml:"interval"`
	// The certificate, a PEM file, for servers that demand one of clients,
	// relative to the directory of this file.
	Cert string `yaml:"cert"`
	// The private key of `cert`.
	Key string `yaml:"key"`
	// The file that keeps the names over a restart, relative to the directory
	// of this file; `none` keeps nothing. Default: the pool's name with
	// `.names` behind it.
	Cache string `yaml:"cache"`
}

// FileLearn is how many IDs a pool remembers, and for how long. Each entry
// takes 17 bytes of memory, from the start.
type FileLearn struct {
	// The most IDs at a time; the oldest make room.
	// Default: 100000.
	MaxEntries int `yaml:"max_entries"`
	// How long an ID is remembered after it was assigned.
	// Default: 1h.
	Lifetime Duration `yaml:"lifetime"`
}

// FileHealth is how the servers of a pool are checked. A server that fails to
// accept connections from clients is noticed without any check.
type FileHealth struct {
	// What a check does: `tcp` connects, `tls` connects and shakes hands,
	// `http` sends a GET request, as `upstream` says, and expects a status from
	// 200 to 399, `quic` asks for Version Negotiation with a packet of a
	// reserved version, `dtls` sends a ClientHello, `none` does nothing, and a
	// server that went down is tried again every 30 s.
	// Default: tcp. Servers for datagrams alone are asked in their protocol, and
	// with `udp` not at all.
	Type string `yaml:"type" choices:"none,tcp,tls,quic,dtls,http"`
	// The time from one check of a server to the next, give or take a tenth.
	// Default: 5s.
	Interval Duration `yaml:"interval"`
	// How long a check may take; no longer than the interval. Default: 3s, or
	// the interval when that is shorter.
	Timeout *Duration `yaml:"timeout"`
	// How many checks in a row must succeed until a server is up.
	// Default: 2.
	Rise int `yaml:"rise"`
	// How many checks in a row must fail until a server is down.
	// Default: 3.
	Fall int `yaml:"fall"`
	// The name to ask for in the hello of a check. Only with type `tls`.
	SNI string `yaml:"sni"`
	// The path to ask for. Only with type `http`.
	// Default: /.
	Path string `yaml:"path"`
	// The host to ask for. Only with type `http`. Default: the server's
	// address.
	Host string `yaml:"host"`
}

// A FileGroup is some servers of a pool that share session state, so that each
// can go on with the sessions of the others. Servers say which group they are
// in.
type FileGroup struct {
	// The name; no server of the pool may have the same. Required.
	Name string `yaml:"name"`
	// How a member is chosen for an ID that the group owns, or whose owner is
	// down. Default: the pool's policy.
	Policy string `yaml:"policy" choices:"round-robin,least-connections,random-two,hash"`
	// Spaces that the group as a whole owns: any member mints in them, and any
	// member gets what was minted.
	IDs []FileRule `yaml:"ids"`
	// With a planned scheme: how large the group's own space is, in proportion
	// to the other shares. 0 gives it none.
	// Default: 0.
	Share int `yaml:"share"`
	// With the scheme `function`: the number by which the function names the
	// group.
	Number *uint32 `yaml:"number"`
}

// A FileServer is one server.
type FileServer struct {
	// The name in metrics, logs and commands; unique among the servers and
	// groups of the pool. It owns the spaces, so renaming a server gives them
	// up. Required.
	Name string `yaml:"name"`
	// Where the server listens: `192.0.2.1:443`, `[2001:db8::1]:443`, a DNS
	// name with a port, which is resolved again every 30 s, or `unix:/path`. A
	// new address is no new owner. Required.
	Address string `yaml:"address"`
	// The group that it shares session state with. Without it the server is
	// alone.
	Group string `yaml:"group"`
	// How much new traffic it gets, in proportion to the other weights. 0
	// gives it none; the IDs that it minted still come.
	// Default: 1.
	Weight int `yaml:"weight"`
	// The most connections at a time from this replica, new or not; what comes
	// beyond is refused. 0 sets no limit.
	// Default: 0.
	MaxConnections int `yaml:"max_connections"`
	// Ends new traffic, and after `drain_timeout` the rest.
	// Default: false.
	Draining bool `yaml:"draining"`
	// The spaces in which the server mints its IDs, written by hand.
	IDs []FileRule `yaml:"ids"`
	// With a planned scheme: how large its space is, in proportion to the
	// other shares. It says nothing about traffic; `weight` does. 0 gives it
	// none.
	// Default: 1.
	Share int `yaml:"share"`
	// With the scheme `function`: the number by which the function names the
	// server. Required with it.
	Number *uint32 `yaml:"number"`
	// With one configuration of the scheme `quic-lb`: the server ID, in
	// hexadecimal.
	ServerID *Hex `yaml:"server_id"`
	// With several configurations: the server ID in each, as in {0: "c4605e",
	// 1: "31441a"}. One that is left out has no IDs of this server.
	ServerIDs *FileServerIDs `yaml:"server_ids"`
}

// FileServerIDs is the server IDs of a server, in hexadecimal, by the `id` of the
// configuration. What stands in the clear and what is encrypted must differ.
type FileServerIDs struct {
	// In configuration 0.
	In0 *Hex `yaml:"0"`
	// In configuration 1.
	In1 *Hex `yaml:"1"`
	// In configuration 2.
	In2 *Hex `yaml:"2"`
	// In configuration 3.
	In3 *Hex `yaml:"3"`
	// In configuration 4.
	In4 *Hex `yaml:"4"`
	// In configuration 5.
	In5 *Hex `yaml:"5"`
	// In configuration 6.
	In6 *Hex `yaml:"6"`
}

// A FileRule is one space of IDs, written down: exactly one of `range`, `bits`,
// `prefix` and `suffix`. Spaces must not overlap.
type FileRule struct {
	// IDs whose first bytes lie between two values.
	Range *FileRange `yaml:"range"`
	// IDs of which some bits have one of some values.
	Bits *FileBits `yaml:"bits"`
	// IDs that begin with this text, 1 to 32 bytes.
	Prefix *string `yaml:"prefix"`
	// IDs that end with this text, 1 to 32 bytes.
	Suffix *string `yaml:"suffix"`
	// Where in a message the ID stands. A TLS hello has the first three.
	// Without it the space holds in every field.
	Field []string `yaml:"field,one" choices:"psk,ticket,session_id,cid_short,cid_long,dtls_cid,cookie,header,query,path,json,bytes"`
}

// A FileRange is the IDs that begin with a number between two others. Both
// are written in hexadecimal with the same number of digits; as many bytes of
// an ID are compared. An ID that is shorter does not match.
type FileRange struct {
	// The first value, 1 to 32 bytes. Required.
	From *Hex `yaml:"from"`
	// The last value, which is included. Required.
	To *Hex `yaml:"to"`
}

// A FileBits is the IDs of which the bits under a mask have one of some values.
type FileBits struct {
	// How many bytes of the ID come before the mask or, with `from_end`, after
	// it; at most 4095.
	// Default: 0.
	Offset int `yaml:"offset"`
	// Counts the offset from the end of the ID.
	// Default: false.
	FromEnd bool `yaml:"from_end"`
	// The length in bytes of the IDs meant; others do not match. 0 means any
	// length that holds the mask.
	// Default: 0.
	IDLength int `yaml:"id_length"`
	// Which bits are compared: the one bits of this hexadecimal value, of any
	// shape, 1 to 32 bytes. Required.
	Mask *Hex `yaml:"mask"`
	// The values, each as long as the mask and without a bit that the mask does
	// not have. Required.
	Values []Hex `yaml:"values,one"`
}

// A FileScheme is where the spaces of a pool come from when nobody writes them
// by hand.
type FileScheme struct {
	// `ranges`, `bits` and `sealed` are planned: `mintmark plan` gives each
	// server a space and writes the `plan_file`. `function` asks a function of
	// the program that runs the balancer (Go programs that embed it). `quic-lb`
	// reads connection IDs as the QUIC-LB draft writes them; `configs` and the
	// servers' IDs are written by hand. Required.
	Kind string `yaml:"kind" choices:"ranges,bits,sealed,function,quic-lb"`
	// The name of the function. Required with kind `function`.
	Name string `yaml:"name"`
	// The configurations that are in use at the moment, 1 to 7. Required with
	// kind `quic-lb`.
	Configs []FileQUICLB `yaml:"configs"`
	// The length in octets of the connection IDs that the servers mint, which
	// DTLS does not write down. Required for DTLS with connection IDs, at most
	// 255; QUIC does without. Default: with `quic-lb`, what all configurations
	// add up to.
	CIDLength int `yaml:"cid_length"`
}

// A FileQUICLB is a configuration of QUIC-LB: how servers write a server ID into a
// connection ID. Without a key it stands in the clear; with a key it is encrypted,
// as one block when both lengths add up to 16.
type FileQUICLB struct {
	// The number in the first three bits of the connection IDs, 0 to 6. Required.
	ID *int `yaml:"id"`
	// The length of server IDs in octets, 1 to 15. Required.
	ServerIDLength int `yaml:"server_id_length"`
	// The length of nonces in octets, 4 to 18; with a server ID at most 19.
	// Required.
	NonceLength int `yaml:"nonce_length"`
	// The key, 16 octets in hexadecimal. Keep the file from others then.
	Key *Hex `yaml:"key"`
}
