package test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mintmark/mintmark/test/lab"
)

// As systemd does it: the sockets are open before the balancer runs, and it
// tells when it is ready, reloads and stops.
func TestSystemdSocketsAndNotifications(t *testing.T) {
	t.Parallel()
	server := lab.StartEcho(t, "a")
	web, admin := listenFile(t), listenFile(t)
	notices := listenNotices(t)
	dir := t.TempDir()
	conf := lab.WriteFile(t, dir, "mintmark.yaml", fmt.Appendf(nil, `
version: 1
admin: {listen: "127.0.0.1:1"}
listeners:
  - {name: web, listen: %q, protocol: tcp, pool: web}
pools:
  - {name: web, servers: [{name: a, address: %q}]}
`, web.addr, server.Addr))
	// LISTEN_PID is the process's own number, so the shell that becomes the
	// balancer sets it. The admin socket is found by its name, web by address.
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" serve -c "$1"`, mintmark, conf)
	cmd.ExtraFiles = []*os.File{web.file, admin.file}
	cmd.Env = append(os.Environ(), "LISTEN_FDS=2", "LISTEN_FDNAMES=x:admin", "NOTIFY_SOCKET="+notices.path)
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if t.Failed() {
			t.Log(log.String())
		}
	})

	notices.want(t, "READY=1")
	conn, err := lab.DialEcho(web.addr)
	if err != nil {
		t.Fatalf("through the socket that was passed: %v", err)
	}
	if err := conn.Say("hello"); err != nil {
		t.Error(err)
	}
	resp, err := http.Get("http://" + admin.addr + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("/readyz on the socket named admin: %s", resp.Status)
	}

	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if got := notices.want(t, "RELOADING=1"); !strings.Contains(got, "MONOTONIC_USEC=") {
		t.Errorf("the reload was announced as %q; want MONOTONIC_USEC in it", got)
	}
	notices.want(t, "READY=1")

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	notices.want(t, "STOPPING=1")
	if err := conn.Say("still here"); err != nil {
		t.Errorf("while draining: %v", err)
	}
	conn.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the balancer ended with %v; want status 0", err)
		}
	case <-time.After(settleLimit):
		t.Error("the balancer did not end when its last connection had")
	}
}

// A second signal does not wait for connections.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	server, addr, admin := lab.StartEcho(t, "a"), lab.FreeAddr(t), lab.FreeAddr(t)
	b := lab.StartBalancer(t, mintmark, admin, fmt.Sprintf(`
version: 1
admin: {listen: %q}
shutdown_grace: 1h
listeners:
  - {name: web, listen: %q, protocol: tcp, pool: web}
pools:
  - {name: web, servers: [{name: a, address: %q}]}
`, admin, addr, server.Addr))
	conn, err := lab.DialEcho(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b.Signal(syscall.SIGTERM)
	lab.Eventually(t, settleLimit, "nobody accepts any more", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	b.Signal(syscall.SIGTERM)
	if status := b.Wait(settleLimit); status != 0 {
		t.Errorf("exit status %d; want 0", status)
	}
}

type socketFile struct {
	addr string
	file *os.File
}

// listenFile opens a listening socket to be passed on.
func listenFile(t *testing.T) socketFile {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	t.Cleanup(func() { f.Close() })
	return socketFile{ln.Addr().String(), f}
}

// notices is systemd's end of sd_notify(3).
type notices struct {
	path string
	conn *net.UnixConn
}

func listenNotices(t *testing.T) *notices {
	t.Helper()
	n := &notices{path: filepath.Join(t.TempDir(), "notify")}
	var err error
	n.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: n.path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.conn.Close() })
	return n
}

// want reads the next notice, which must have the line given.
func (n *notices) want(t *testing.T, line string) string {
	t.Helper()
	_ = n.conn.SetReadDeadline(time.Now().Add(settleLimit))
	buf := make([]byte, 4096)
	k, err := n.conn.Read(buf)
	if err != nil {
		t.Fatalf("waiting for %s: %v", line, err)
	}
	got := string(buf[:k])
	for l := range strings.Lines(got) {
		if strings.TrimSpace(l) == line {
			return got
		}
	}
	t.Fatalf("got the notice %q; want %s", got, line)
	return ""
}
