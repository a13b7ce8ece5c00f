package lab

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Server is a TLS server of somebody else's making. It answers HTTP/1.1
// requests and closes the connection.
type Server struct {
	*Process
	Name string
	Addr string
	// Dir holds its files: nginx.pid, apache.pid.
	Dir string
	// Socket is HAProxy's stats socket.
	Socket string
}

// Restart ends the server and runs it again as it was.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.Process = start(s.tb, s.Process.name, exec.Command(s.cmd.Path, s.cmd.Args[1:]...)) //nolint:gosec // what ran before
	s.waitReady()
}

// waitReady waits for the port, and for the stats socket, which HAProxy binds
// after its ports.
func (s *Server) waitReady() {
	s.tb.Helper()
	s.waitListening(s.Addr)
	if s.Socket != "" {
		Eventually(s.tb, startLimit, s.Name+" answers on "+s.Socket, func() bool { return accepts("unix", s.Socket) })
	}
}

// Stock is the mark of a server that is given no key file: it makes a key of
// its own, with a random name, as it does for people who configured nothing.
const Stock = ""

// Sizes of the key files that stock servers read: a name of 16 bytes, and
// the secrets.
const (
	keyNameSize = 16
	shortSecret = 32 // with AES-128
	longSecret  = 64 // with AES-256
)

// ticketKey returns a key whose name begins with mark (hex) and is otherwise
// random.
func ticketKey(tb testing.TB, mark string, secret int) []byte {
	tb.Helper()
	m, err := hex.DecodeString(mark)
	if err != nil || len(m) > keyNameSize {
		tb.Fatalf("lab: bad mark %q", mark)
	}
	key := make([]byte, keyNameSize+secret)
	if _, err := rand.Read(key); err != nil {
		tb.Fatalf("lab: making a ticket key: %v", err)
	}
	copy(key, m)
	return key
}

// StartNginx runs an nginx as Debian ships it, with two workers, whose tickets
// begin with mark (hex). Its answer to any request is its name, "r" or "."
// for a resumed or a full handshake, and the version of TLS.
func StartNginx(tb testing.TB, cert *Cert, name, mark string) *Server {
	tb.Helper()
	return StartNginxWith(tb, cert, name, mark)
}

// StartNginxWith is StartNginx with more directives in its server.
func StartNginxWith(tb testing.TB, cert *Cert, name, mark string, lines ...string) *Server {
	tb.Helper()
	dir := tb.TempDir()
	addr := FreeAddr(tb)
	key := strings.Join(lines, "\n")
	if mark != Stock {
		key += fmt.Sprintf("ssl_session_ticket_key %s;", WriteFile(tb, dir, "ticket.key", ticketKey(tb, mark, longSecret)))
	}
	conf := WriteFile(tb, dir, "nginx.conf", fmt.Appendf(nil, `
daemon off;
worker_processes 2;
pid %[1]s/nginx.pid;
error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path       %[1]s/proxy;
	fastcgi_temp_path     %[1]s/fastcgi;
	uwsgi_temp_path       %[1]s/uwsgi;
	scgi_temp_path        %[1]s/scgi;
	server {
		listen %[2]s ssl;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_certificate     %[3]s;
		ssl_certificate_key %[4]s;
		%[5]s
		keepalive_timeout 0;
		location / { return 200 "%[6]s $ssl_session_reused $ssl_protocol\n"; }
	}
}
`, dir, addr, cert.CertFile, cert.KeyFile, key, name))
	s := &Server{Name: name, Addr: addr, Dir: dir}
	s.Process = start(tb, "nginx-"+name, exec.Command(program(tb, "nginx"), "-e", "stderr", "-p", dir, "-c", conf))
	s.waitListening(addr)
	return s
}

// StartOpenSSL runs `openssl s_server` without tickets, whose session IDs
// begin with prefix (text): TLS 1.2 session IDs, and with TLS 1.3 the
// identities too. More arguments are appended.
func StartOpenSSL(tb testing.TB, cert *Cert, name, prefix string, args ...string) *Server {
	tb.Helper()
	addr := FreeAddr(tb)
	args = append([]string{
		"s_server", "-accept", addr, "-cert", cert.CertFile, "-key", cert.KeyFile,
		"-no_ticket", "-id_prefix", prefix, "-www",
	}, args...)
	s := &Server{Name: name, Addr: addr}
	s.Process = start(tb, "openssl-"+name, exec.Command(program(tb, "openssl"), args...))
	s.waitListening(addr)
	return s
}

// StartOpenSSLFrom is StartOpenSSL with the prefix that is in a file, in
// hexadecimal, as whatever starts such a server would have it. Restart runs a
// new one.
func StartOpenSSLFrom(tb testing.TB, cert *Cert, name, prefixFile string) (s *Server, restart []string) {
	tb.Helper()
	addr, pid := FreeAddr(tb), filepath.Join(tb.TempDir(), "pid")
	script := fmt.Sprintf(`
trap 'kill $!; exit' TERM
while :; do
	openssl s_server -accept %s -cert %s -key %s -no_ticket -www -id_prefix "$(perl -ne 'chomp; print pack("H*", $_)' %s)" &
	echo $! > %s
	wait $!
done`, addr, cert.CertFile, cert.KeyFile, prefixFile, pid)
	s = &Server{Name: name, Addr: addr}
	s.Process = start(tb, "openssl-"+name, exec.Command(program(tb, "sh"), "-c", script))
	s.waitListening(addr)
	return s, []string{"sh", "-c", fmt.Sprintf(`old=$(cat %[1]s); kill $old; while [ "$(cat %[1]s)" = "$old" ]; do sleep 0.02; done`, pid)}
}

// StartStockOpenSSL runs `openssl s_server` with nothing but a certificate:
// it mints tickets. More arguments are appended.
func StartStockOpenSSL(tb testing.TB, cert *Cert, name string, args ...string) *Server {
	tb.Helper()
	addr := FreeAddr(tb)
	args = append([]string{"s_server", "-accept", addr, "-cert", cert.CertFile, "-key", cert.KeyFile, "-www"}, args...)
	s := &Server{Name: name, Addr: addr}
	s.Process = start(tb, "openssl-"+name, exec.Command(program(tb, "openssl"), args...))
	s.waitListening(addr)
	return s
}

// StartOpenSSLDTLS runs `openssl s_server` for DTLS, which answers hellos and
// logs what clients send. More arguments say which versions.
func StartOpenSSLDTLS(tb testing.TB, cert *Cert, args ...string) *Server {
	tb.Helper()
	addr := FreeAddr(tb)
	args = append([]string{"s_server", "-accept", addr, "-cert", cert.CertFile, "-key", cert.KeyFile}, args...)
	s := &Server{Name: "openssl", Addr: addr}
	cmd := exec.Command(program(tb, "openssl"), args...)
	// It would end with its input.
	if _, err := cmd.StdinPipe(); err != nil {
		tb.Fatalf("lab: %v", err)
	}
	s.Process = start(tb, "openssl-dtls", cmd)
	Eventually(tb, startLimit, "openssl listens on "+addr, func() bool { return strings.Contains(s.Log(), "ACCEPT") })
	return s
}

// StartNode runs an HTTPS server of Node.js with nothing but a certificate. It
// answers with its name.
func StartNode(tb testing.TB, cert *Cert, name string) *Server {
	tb.Helper()
	return StartNodeWith(tb, cert, name, "")
}

// StartNodeWith is StartNode with more of a script: server is the HTTPS server
// in it.
func StartNodeWith(tb testing.TB, cert *Cert, name, more string) *Server {
	tb.Helper()
	host, port := splitAddr(tb, FreeAddr(tb))
	script := fmt.Sprintf(`
const fs = require("fs");
const server = require("https").createServer({cert: fs.readFileSync(%q), key: fs.readFileSync(%q)}, (req, res) => {
  res.setHeader("Connection", "close");
  res.end(%q);
});
%s
server.listen(%s, %q);`, cert.CertFile, cert.KeyFile, name+"\n", more, port, host)
	s := &Server{Name: name, Addr: host + ":" + port}
	s.Process = start(tb, "node-"+name, exec.Command(program(tb, "node"), "-e", script))
	s.waitListening(s.Addr)
	return s
}

// StartHAProxy runs a HAProxy as Debian ships it, that terminates TLS with
// tickets that begin with mark (hex), and answers with its name and "r" or
// ".".
func StartHAProxy(tb testing.TB, cert *Cert, name, mark string) *Server {
	tb.Helper()
	return StartHAProxyWith(tb, cert, name, mark)
}

// StartHAProxyWith is StartHAProxy with more words on the bind line.
func StartHAProxyWith(tb testing.TB, cert *Cert, name, mark string, bind ...string) *Server {
	tb.Helper()
	return startHAProxy(tb, cert, name, mark, nil, bind)
}

// StartHAProxyMaster is StartHAProxyWith with a master process, which starts
// other workers at SIGUSR2, as Debian's unit has it. Its ID is in haproxy.pid.
func StartHAProxyMaster(tb testing.TB, cert *Cert, name string, bind ...string) *Server {
	tb.Helper()
	pid := filepath.Join(tb.TempDir(), "haproxy.pid")
	s := startHAProxy(tb, cert, name, Stock, []string{"-W", "-p", pid}, bind)
	s.Dir = filepath.Dir(pid)
	// Until then, the master loses them.
	Eventually(tb, startLimit, name+" takes SIGUSR2", func() bool { return s.takes(syscall.SIGUSR2) })
	return s
}

func startHAProxy(tb testing.TB, cert *Cert, name, mark string, flags, bind []string) *Server {
	tb.Helper()
	dir := tb.TempDir()
	addr := FreeAddr(tb)
	socket := filepath.Join(socketDir(tb), "stats")
	options := ""
	if mark != Stock {
		// The last but one of three encrypts, and all of them decrypt.
		var lines strings.Builder
		for range 3 {
			lines.WriteString(base64.StdEncoding.EncodeToString(ticketKey(tb, mark, longSecret)) + "\n")
		}
		options = "tls-ticket-keys " + WriteFile(tb, dir, "tickets", []byte(lines.String()))
	}
	options = strings.Join(append([]string{options}, bind...), " ")
	conf := WriteFile(tb, dir, "haproxy.cfg", fmt.Appendf(nil, `
global
	stats socket %s level admin
defaults
	mode http
	timeout client 10s
	timeout connect 10s
	timeout server 10s
frontend lab
	bind %s ssl crt %s %s
	http-request return status 200 content-type text/plain lf-string "%s %%[ssl_fc_is_resumed,iif(r,.)] %%[ssl_fc_protocol]\n"
`, socket, addr, cert.BothFile, options, name))
	s := &Server{Name: name, Addr: addr, Dir: dir, Socket: socket}
	s.Process = start(tb, "haproxy-"+name, exec.Command(program(tb, "haproxy"), append(flags, "-db", "-f", conf)...))
	s.waitReady()
	return s
}

// socketDir returns a directory for Unix sockets. Its name is short, because
// their addresses are, and has none of a test's name in it, because HAProxy
// takes a comma for the end of an address.
func socketDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "lab") //nolint:usetesting // TempDir has the test's name in it
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// StartApache runs an Apache httpd as Debian ships it, whose tickets begin
// with mark (hex). It answers with its name.
//
// All its processes start at once: one that Debian's Apache 2.4.71 starts
// later, under load, declines tickets of those before it and the other way
// round, in about half of all runs, although all have the key of one file.
func StartApache(tb testing.TB, cert *Cert, name, mark string) *Server {
	tb.Helper()
	return StartApacheWith(tb, cert, name, mark)
}

// StartApacheWith is StartApache with more lines in its configuration.
func StartApacheWith(tb testing.TB, cert *Cert, name, mark string, lines ...string) *Server {
	tb.Helper()
	dir := tb.TempDir()
	addr := FreeAddr(tb)
	key := strings.Join(lines, "\n")
	if mark != Stock {
		key = fmt.Sprintf("SSLSessionTickets on\nSSLSessionTicketKeyFile %s\n",
			WriteFile(tb, dir, "ticket48", ticketKey(tb, mark, shortSecret))) + key
	}
	WriteFile(tb, dir, "index.html", []byte(name+"\n"))
	conf := WriteFile(tb, dir, "apache.conf", fmt.Appendf(nil, `
ServerRoot %[1]s
ServerName %[2]s
PidFile %[1]s/apache.pid
ErrorLog /dev/stderr
DefaultRuntimeDir %[1]s
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
Listen %[3]s
KeepAlive Off
StartServers 2
ServerLimit 2
MaxRequestWorkers 50
DocumentRoot %[1]s
DirectoryIndex index.html
SSLEngine on
SSLCertificateFile %[4]s
SSLCertificateKeyFile %[5]s
%[6]s
`, dir, ServerName, addr, cert.CertFile, cert.KeyFile, key))
	// The workers change their user; they must reach the document.
	chmod(tb, 0o755, dir, filepath.Dir(dir))
	chmod(tb, 0o644, filepath.Join(dir, "index.html"))
	s := &Server{Name: name, Addr: addr, Dir: dir}
	s.Process = start(tb, "apache-"+name, exec.Command(program(tb, "apache2"), "-DFOREGROUND", "-f", conf))
	s.waitListening(addr)
	return s
}

// StartLighttpd runs a lighttpd as Debian ships it, whose tickets begin with
// mark (hex). It answers with its name.
func StartLighttpd(tb testing.TB, cert *Cert, name, mark string) *Server {
	tb.Helper()
	return StartLighttpdWith(tb, cert, name, mark, "")
}

// StartLighttpdWith is StartLighttpd with another line in its configuration.
func StartLighttpdWith(tb testing.TB, cert *Cert, name, mark, option string) *Server {
	tb.Helper()
	dir := tb.TempDir()
	host, port := splitAddr(tb, FreeAddr(tb))
	if mark != Stock {
		now := time.Now()
		stek := binary.NativeEndian.AppendUint32(nil, 0) // version
		stek = binary.NativeEndian.AppendUint32(stek, uint32(now.Add(-time.Minute).Unix()))
		stek = binary.NativeEndian.AppendUint32(stek, uint32(now.Add(24*time.Hour).Unix()))
		stek = append(stek, ticketKey(tb, mark, longSecret)...)
		option = fmt.Sprintf("ssl.stek-file = %q", WriteFile(tb, dir, "stek", stek))
	}
	WriteFile(tb, dir, "index.html", []byte(name+"\n"))
	conf := WriteFile(tb, dir, "lighttpd.conf", fmt.Appendf(nil, `
server.document-root = "%[1]s"
server.bind = "%[2]s"
server.port = %[3]s
server.modules = ( "mod_openssl" )
server.max-keep-alive-requests = 0
index-file.names = ( "index.html" )
ssl.engine = "enable"
ssl.pemfile = "%[4]s"
%[5]s
`, dir, host, port, cert.BothFile, option))
	s := &Server{Name: name, Addr: host + ":" + port}
	s.Process = start(tb, "lighttpd-"+name, exec.Command(program(tb, "lighttpd"), "-D", "-f", conf))
	s.waitListening(s.Addr)
	return s
}
