package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/agent/adapter"
	"github.com/mintmark/mintmark/internal/probe"
	"github.com/mintmark/mintmark/test/lab"
)

// wireLimit bounds how long a server may take to mint with new keys: lighttpd
// looks at its file about once a minute.
const wireLimit = 90 * time.Second

func newKey(generation uint64) adapter.Key {
	k := adapter.Key{
		Owner: "a", Generation: generation, Name: make([]byte, adapter.NameSize), Secret: make([]byte, adapter.SecretSize),
		Prefix: make([]byte, 6), Text: "mark", Own: true,
	}
	for _, b := range [][]byte{k.Name, k.Secret, k.Prefix} {
		_, _ = rand.Read(b)
	}
	for i := range k.Prefix { // openssl takes text
		k.Prefix[i] = 'a' + k.Prefix[i]%26
	}
	return k
}

// An adapter counts as working when the name is read back off the wire after a
// reload, a restart and a rotation, and tickets of before are accepted as far
// as the product keeps keys.
func TestAdapters(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]struct {
		start func(t *testing.T, cert *lab.Cert, dir string) (*lab.Server, adapter.Config)
		keeps bool // tickets of the key before are accepted after a rotation
		// resumes: tickets are accepted after a restart
		resumes bool
	}{
		"nginx": {func(t *testing.T, cert *lab.Cert, dir string) (*lab.Server, adapter.Config) {
			s := lab.StartNginxWith(t, cert, "a", lab.Stock, fmt.Sprintf("include %s/*.conf;", dir))
			return s, adapter.Config{
				Kind: "nginx", Dir: dir, PIDFile: s.Dir + "/nginx.pid",
				Test:   []string{"nginx", "-t", "-q", "-e", "stderr", "-p", s.Dir, "-c", s.Dir + "/nginx.conf"},
				Reload: []string{"sh", "-c", "kill -HUP $(cat " + s.Dir + "/nginx.pid)"},
			}
		}, true, true},
		"haproxy": {func(t *testing.T, cert *lab.Cert, dir string) (*lab.Server, adapter.Config) {
			file := filepath.Join(dir, "tickets")
			s := startHAProxyOn(t, cert, file)
			return s, adapter.Config{Kind: "haproxy", File: file, Socket: s.Socket}
		}, true, true},
		"haproxy, by reload": {func(t *testing.T, cert *lab.Cert, dir string) (*lab.Server, adapter.Config) {
			file := filepath.Join(dir, "tickets")
			writeKeys(t, adapter.Config{Kind: "haproxy", File: file, PIDFile: "x", Reload: []string{"true"}})
			s := lab.StartHAProxyMaster(t, cert, "a", "tls-ticket-keys "+file)
			pid := filepath.Join(s.Dir, "haproxy.pid")
			return s, adapter.Config{Kind: "haproxy", File: file, PIDFile: pid, Reload: []string{"sh", "-c", "kill -USR2 $(cat " + pid + ")"}}
		}, true, true},
		"id-prefix": {func(t *testing.T, cert *lab.Cert, dir string) (*lab.Server, adapter.Config) {
			file := filepath.Join(dir, "prefix")
			writeKeys(t, adapter.Config{Kind: "id-prefix", File: file, Reload: []string{"true"}})
			s, restart := lab.StartOpenSSLFrom(t, cert, "a", file)
			return s, adapter.Config{Kind: "id-prefix", File: file, Reload: restart}
		}, false, false},
		"apache": {func(t *testing.T, cert *lab.Cert, dir string) (*lab.Server, adapter.Config) {
			file := filepath.Join(dir, "ticket48")
			writeKeys(t, adapter.Config{Kind: "apache", File: file, PIDFile: "x", Test: []string{"true"}, Reload: []string{"true"}})
			s := lab.StartApacheWith(t, cert, "a", lab.Stock, "SSLSessionTickets on", "SSLSessionTicketKeyFile "+file)
			return s, adapter.Config{
				Kind: "apache", File: file, PIDFile: s.Dir + "/apache.pid",
				Test:   []string{"apache2", "-t", "-f", s.Dir + "/apache.conf"},
				Reload: []string{"sh", "-c", "kill -USR1 $(cat " + s.Dir + "/apache.pid)"},
			}
		}, false, false},
		"lighttpd": {func(t *testing.T, cert *lab.Cert, dir string) (*lab.Server, adapter.Config) {
			file := filepath.Join(dir, "stek")
			writeKeys(t, adapter.Config{Kind: "lighttpd", File: file})
			s := lab.StartLighttpdWith(t, cert, "a", lab.Stock, fmt.Sprintf("ssl.stek-file = %q", file))
			return s, adapter.Config{Kind: "lighttpd", File: file}
		}, true, true},
		"node": {func(t *testing.T, cert *lab.Cert, dir string) (*lab.Server, adapter.Config) {
			file := filepath.Join(dir, "ticket.keys")
			module, err := filepath.Abs("../contrib/node/ticket-keys.mjs")
			if err != nil {
				t.Fatal(err)
			}
			s := lab.StartNodeWith(t, cert, "a", fmt.Sprintf("import(%q).then(m => m.useTicketKeys(server, %q));", module, file))
			return s, adapter.Config{Kind: "node", File: file}
		}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cert := lab.NewCert(t)
			s, c := kind.start(t, cert, t.TempDir())
			ad, err := adapter.New(c)
			if err != nil {
				t.Fatal(err)
			}
			first, second := newKey(0), newKey(1)
			apply(t, ad, adapter.Keys{Encrypt: first})
			mark := func(k adapter.Key) []byte { // as it is seen on the wire
				if ad.Wire() == adapter.WirePrefix {
					return k.Prefix
				}
				return k.Name
			}
			mints(t, s, mark(first))
			alone(t, ad)
			old := lab.NewGoClient(cert, tls.VersionTLS13)
			visit(t, old, s.Addr)
			if !visit(t, old, s.Addr) {
				t.Error("a ticket of the first key was declined")
			}
			apply(t, ad, adapter.Keys{Encrypt: second, Decrypt: []adapter.Key{first}})
			mints(t, s, mark(second))
			alone(t, ad)
			if got := visit(t, old, s.Addr); got != kind.keeps {
				t.Errorf("after the rotation, a ticket of the key before: resumed %v; want %v", got, kind.keeps)
			}
			s.Restart()
			mints(t, s, mark(second))
			if got := visit(t, old, s.Addr); got != kind.resumes && kind.resumes {
				t.Error("after the restart, a ticket was declined")
			}
			// An agent that comes back changes nothing.
			again, err := adapter.New(c)
			if err != nil {
				t.Fatal(err)
			}
			before := modTimes(t, c)
			apply(t, again, adapter.Keys{Encrypt: second, Decrypt: []adapter.Key{first}})
			if after := modTimes(t, c); after != before {
				t.Errorf("the same keys were written anew: %s, before %s", after, before)
			}
			mints(t, s, mark(second))
		})
	}
}

// Tomcat's route is no secret and not in TLS: it stands behind its session IDs.
func TestTomcatAdapter(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "mintmark.env")
	writeKeys(t, adapter.Config{Kind: "tomcat", File: file, Reload: []string{"true"}})
	s, restart := lab.StartTomcatFrom(t, "a", file)
	ad, err := adapter.New(adapter.Config{Kind: "tomcat", File: file, Reload: restart})
	if err != nil {
		t.Fatal(err)
	}
	minted := func(what string, k adapter.Key) {
		t.Helper()
		lab.Eventually(t, wireLimit, what+", session IDs end with "+k.Text, func() bool {
			r, err := http.Get("http://" + s.Addr + "/count.jsp")
			if err != nil {
				return false
			}
			defer r.Body.Close()
			return slices.ContainsFunc(r.Cookies(), func(c *http.Cookie) bool {
				return c.Name == "JSESSIONID" && strings.HasSuffix(c.Value, "."+k.Text)
			})
		})
	}
	first, second := newKey(0), newKey(1)
	first.Text, second.Text = "marka", "markb"
	apply(t, ad, adapter.Keys{Encrypt: first})
	minted("after the restart that takes the route", first)
	apply(t, ad, adapter.Keys{Encrypt: second, Decrypt: []adapter.Key{first}})
	minted("after a rotation", second)
}

func startHAProxyOn(t *testing.T, cert *lab.Cert, file string) *lab.Server {
	t.Helper()
	writeKeys(t, adapter.Config{Kind: "haproxy", File: file, PIDFile: "x", Reload: []string{"true"}})
	return lab.StartHAProxyWith(t, cert, "a", lab.Stock, "tls-ticket-keys "+file)
}

// writeKeys writes a first file, for servers that do not start without.
func writeKeys(t *testing.T, c adapter.Config) {
	t.Helper()
	ad, err := adapter.New(c)
	if err != nil {
		t.Fatal(err)
	}
	apply(t, ad, adapter.Keys{Encrypt: newKey(99)})
}

func apply(t *testing.T, ad adapter.Adapter, keys adapter.Keys) {
	t.Helper()
	held, err := ad.Apply(t.Context(), keys)
	if err != nil {
		t.Fatal(err)
	}
	if len(held) == 0 || held[0].Generation != keys.Encrypt.Generation {
		t.Errorf("the adapter holds %v; want the key that encrypts first", held)
	}
}

// mints waits until the server's IDs begin with name.
func mints(t *testing.T, s *lab.Server, name []byte) {
	t.Helper()
	var got *probe.Result
	lab.Eventually(t, wireLimit, fmt.Sprintf("%s mints %x", s.Name, name), func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var err error
		got, err = probe.Run(ctx, probe.Config{SNI: lab.ServerName, Dial: func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", s.Addr)
		}})
		return err == nil && len(got.Names) == 1 && bytes.HasPrefix(got.Name, name)
	})
}

// alone waits until the processes from before the last change are gone: until
// then, one of them may take a connection, with its own keys.
func alone(t *testing.T, ad adapter.Adapter) {
	t.Helper()
	lab.Eventually(t, wireLimit, "the old processes are gone", func() bool {
		gone, err := ad.OldGone(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return gone
	})
}

// visit connects and reports whether the session was resumed.
func visit(t *testing.T, c lab.Client, addr string) bool {
	t.Helper()
	got, err := c.Connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	return got.Resumed
}

// modTimes are those of the files that hold keys.
func modTimes(t *testing.T, c adapter.Config) string {
	t.Helper()
	names := []string{c.File}
	if c.Dir != "" {
		var err error
		if names, err = filepath.Glob(filepath.Join(c.Dir, "*")); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(name) != ".conf" && c.Kind != "id-prefix" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v; want 0600", name, info.Mode())
		}
		out.WriteString(fmt.Sprintln(filepath.Base(name), info.ModTime().UnixNano()))
	}
	return out.String()
}
