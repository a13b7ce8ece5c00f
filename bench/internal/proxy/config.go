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
	more := ", timeouts: {hello: 5s, connect: 5s, idle: 10m}"
	rule := func(mark string) string { return fmt.Sprintf("range: {from: %[1]q, to: %[1]q}", mark) }
	switch s.Protocol {
	case UDP:
		more = ", ids: [{bytes: {offset: 1, length: 4}}]"
	case HTTP:
		more = `, ids: [{cookie: JSESSIONID, after: "."}]`
		rule = func(mark string) string { return fmt.Sprintf("prefix: %q, field: cookie", mark) }
	case TLS:
	}
	listen := s.Listen
	switch p {
	case MintmarkPortable:
		more += ", engine: portable"
	case MintmarkPaced:
		listen = listen[strings.LastIndexByte(listen, ':'):]
	default:
	}
	fmt.Fprintf(&b, `version: 1
admin: {listen: %q}
shutdown_grace: 0s
listeners:
  - {name: bench, listen: %q, protocol: %s, pool: web%s}
pools:
  - name: web
    health: {type: none}
    servers:
`, admin, listen, s.Protocol, more)
	for _, srv := range s.Servers {
		fmt.Fprintf(&b, "      - {name: %s, address: %q, ids: [{%s}]}\n", srv.Name, srv.Addr, rule(srv.Mark))
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
	mode, frontend := "tcp", `	tcp-request inspect-delay 5s
	tcp-request content accept if { req.ssl_hello_type 1 }
	tcp-request content reject
	use_backend web if { req.ssl_sni -m found }
`
	if s.Protocol == HTTP {
		mode, frontend = "http", `	option forwardfor
	http-request set-header X-Forwarded-Proto http
	http-request set-header X-Forwarded-Host %[req.hdr(host)]
`
	}
	fmt.Fprintf(&b, `global
	nbthread %d
	maxconn %d
	maxpipes %d
%sdefaults
	mode %s
	timeout connect 5s
	timeout client 10m
	timeout server 10m
%sfrontend bench
	bind %s%s
%s	default_backend web
backend web
`, Threads, maxConnections, maxPipes, control, mode, options, s.Listen, bind, frontend)
	if s.Table > 0 {
		// 16 bytes of the session ID as text: tables of text are the ones that
		// can be filled from outside, and an entry has as many bytes as one of
		// the manual's, `type binary len 32`.
		fmt.Fprintf(&b, "\tstick-table type string len 32 size %d expire 24h\n", s.Table)
		fmt.Fprintf(&b, "\tstick on req.payload_lv(43,1),hex,bytes(0,32)\n")
	}
	for _, srv := range s.Servers {
		if s.Protocol == HTTP {
			fmt.Fprintf(&b, "\tuse-server %s if { req.cook(JSESSIONID) -m end .%s }\n", srv.Name, srv.Mark)
		}
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
`, streamModule, Threads, descriptors, filepath.Join(dir, "nginx.pid"), 2*maxConnections)
	listen, half := s.Listen, ""
	switch p {
	case NGINXTuned:
		listen += " reuseport"
	case NGINXHalfClose:
		half = "\t\tproxy_half_close on;\n"
	default:
	}
	switch s.Protocol {
	case TLS:
		b.WriteString("stream {\n\taccess_log off;\n")
		nginxUpstream(&b, "web", s.Servers, "")
		fmt.Fprintf(&b, `	map $ssl_preread_server_name $pool { default web; }
	server {
		listen %s;
		ssl_preread on;
		preread_timeout 5s;
		proxy_pass $pool;
		proxy_connect_timeout 5s;
		proxy_timeout 10m;
%s	}
}
`, listen, half)
	case UDP:
		b.WriteString("stream {\n\taccess_log off;\n")
		nginxUpstream(&b, "web", s.Servers, "")
		// By its manual, the datagrams of a flow stay with one worker only with
		// reuseport.
		fmt.Fprintf(&b, `	server {
		listen %s udp reuseport;
		proxy_pass web;
		proxy_timeout 10m;
	}
}
`, s.Listen)
	case HTTP:
		nginxHTTP(&b, s, listen, dir)
	}
	return b.String()
}

func nginxUpstream(b *strings.Builder, name string, servers []Server, more string) {
	fmt.Fprintf(b, "\tupstream %s {\n", name)
	for _, srv := range servers {
		fmt.Fprintf(b, "\t\tserver %s;\n", srv.Addr)
	}
	b.WriteString(more + "\t}\n")
}

func nginxHTTP(b *strings.Builder, s *Site, listen, dir string) {
	const keep = "\t\tkeepalive 128;\n\t\tkeepalive_requests 1000000000;\n"
	b.WriteString("http {\n")
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(b, "\t%s_temp_path %s;\n", what, filepath.Join(dir, what))
	}
	nginxUpstream(b, "web", s.Servers, keep)
	var owners strings.Builder
	for i, srv := range s.Servers {
		nginxUpstream(b, srv.Name, s.Servers[i:i+1], keep)
		fmt.Fprintf(&owners, ` "~\.%s$" %s;`, srv.Mark, srv.Name)
	}
	fmt.Fprintf(b, `	access_log off;
	keepalive_timeout 10m;
	keepalive_requests 1000000000;
	map $cookie_JSESSIONID $pool { default web;%s }
	server {
		listen %s;
		location / {
			proxy_pass http://$pool;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_set_header Host $http_host;
			proxy_set_header X-Forwarded-For $remote_addr;
			proxy_set_header X-Forwarded-Proto $scheme;
			proxy_set_header X-Forwarded-Host $http_host;
		}
	}
}
`, owners.String(), listen)
}
