package proxy

import (
	"fmt"
	"path/filepath"
	"strings"
)

const (
	// maxConnections is what each product is told to expect; twice as many
	// descriptors have to fit under the usual limit of 20,000.
	maxConnections = 9000
	// maxPipes is what HAProxy may splice with; its default, a quarter of the
	// connections, would not fit.
	maxPipes = 200
	// streamModule is where Debian has nginx's proxy for TCP and UDP.
	streamModule = "/usr/lib/nginx/modules/ngx_stream_module.so"
)

// mintmarkConfig returns the file for Mintmark.
func mintmarkConfig(p Peer, s *Site, admin string) string {
	var b strings.Builder
	engine := ""
	if p == MintmarkPortable {
		engine = ", engine: portable"
	}
	fmt.Fprintf(&b, `version: 1
admin: {listen: %q}
shutdown_grace: 0s
listeners:
  - {name: bench, listen: %q, protocol: %s, pool: web%s, timeouts: {hello: 5s, connect: 5s, idle: 10m}}
pools:
  - name: web
    health: {type: none}
    servers:
`, admin, s.Listen, s.Protocol, engine)
	for _, srv := range s.Servers {
		ids := ""
		if srv.Mark != "" {
			ids = fmt.Sprintf(", ids: [{range: {from: %q, to: %q}}]", srv.Mark, srv.Mark)
		}
		fmt.Fprintf(&b, "      - {name: %s, address: %q%s}\n", srv.Name, srv.Addr, ids)
	}
	return b.String()
}

// haproxyConfig returns the file for HAProxy. It reads the hello, as Mintmark
// does, and needs a table to bring a session back to its server.
func haproxyConfig(p Peer, s *Site, socket string) string {
	var b strings.Builder
	bind, options := "", ""
	switch p {
	case HAProxyTuned:
		bind = " shards by-thread defer-accept"
	case HAProxySplice:
		options = "\toption splice-request\n\toption splice-response\n"
	default:
	}
	control := ""
	if s.Table > 0 {
		control = "\tstats socket " + socket + " level admin\n"
	}
	fmt.Fprintf(&b, `global
	nbthread %d
	maxconn %d
	maxpipes %d
%sdefaults
	mode tcp
	timeout connect 5s
	timeout client 10m
	timeout server 10m
%sfrontend bench
	bind %s%s
	tcp-request inspect-delay 5s
	tcp-request content accept if { req.ssl_hello_type 1 }
	tcp-request content reject
	use_backend web if { req.ssl_sni -m found }
	default_backend web
backend web
`, Threads, maxConnections, maxPipes, control, options, s.Listen, bind)
	if s.Table > 0 {
		// 16 bytes of the session ID as text: tables of text are the ones that
		// can be filled from outside, and an entry has as many bytes as one of
		// the manual's, `type binary len 32`.
		fmt.Fprintf(&b, "\tstick-table type string len 32 size %d expire 24h\n", s.Table)
		fmt.Fprintf(&b, "\tstick on req.payload_lv(43,1),hex,bytes(0,32)\n")
	}
	for _, srv := range s.Servers {
		fmt.Fprintf(&b, "\tserver %s %s\n", srv.Name, srv.Addr)
	}
	return b.String()
}

// nginxConfig returns the file for nginx.
func nginxConfig(p Peer, s *Site, dir string, descriptors uint64) string {
	var b strings.Builder
	fmt.Fprintf(&b, `daemon off;
load_module %s;
worker_processes %d;
worker_rlimit_nofile %d;
pid %s;
error_log stderr error;
events { worker_connections %d; }
stream {
	access_log off;
	upstream web {
`, streamModule, Threads, descriptors, filepath.Join(dir, "nginx.pid"), 2*maxConnections)
	for _, srv := range s.Servers {
		fmt.Fprintf(&b, "\t\tserver %s;\n", srv.Addr)
	}
	if s.Protocol == UDP {
		// By its manual, the datagrams of a flow stay with one worker only with
		// reuseport.
		fmt.Fprintf(&b, `	}
	server {
		listen %s udp reuseport;
		proxy_pass web;
		proxy_timeout 10m;
	}
}
`, s.Listen)
		return b.String()
	}
	listen := s.Listen
	if p == NGINXTuned {
		listen += " reuseport"
	}
	fmt.Fprintf(&b, `	}
	map $ssl_preread_server_name $pool { default web; }
	server {
		listen %s;
		ssl_preread on;
		preread_timeout 5s;
		proxy_pass $pool;
		proxy_connect_timeout 5s;
		proxy_timeout 10m;
	}
}
`, listen)
	return b.String()
}
