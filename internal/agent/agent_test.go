package agent

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/internal/agent/adapter"
)

// A source is a control plane that may be away.
type source struct {
	mu      sync.Mutex
	sent    *mintmarkv1.Assignment // nil: it is away
	reports []*mintmarkv1.ReportRequest
}

var errAway = errors.New("away")

func (s *source) Watch(ctx context.Context, _ *mintmarkv1.WatchAssignmentsRequest, send func(*mintmarkv1.Assignment) error) error {
	s.mu.Lock()
	m := s.sent
	s.mu.Unlock()
	if m == nil {
		return errAway
	}
	if err := send(m); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *source) Report(_ context.Context, r *mintmarkv1.ReportRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent == nil {
		return errAway
	}
	s.reports = append(s.reports, r)
	return nil
}

func (s *source) last() *mintmarkv1.ReportRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.reports) == 0 {
		return nil
	}
	return s.reports[len(s.reports)-1]
}

// A server takes keys as a product does that is reloaded, and shows on the
// wire which it has.
type server struct {
	cert tls.Certificate
	mu   sync.Mutex
	file adapter.Keys
	runs adapter.Keys
	// deaf reloads are lost.
	deaf    int
	reloads int
}

func (s *server) Name() string                          { return "test" }
func (s *server) Constraints() adapter.Constraints      { return adapter.Constraints{} }
func (s *server) Wire() adapter.Wire                    { return adapter.WireName }
func (s *server) OldGone(context.Context) (bool, error) { return true, nil }

func (s *server) Apply(_ context.Context, k adapter.Keys) ([]adapter.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if changed := !bytes.Equal(k.Encrypt.Secret, s.file.Encrypt.Secret); changed || k.Again {
		s.file = k
		if s.reloads++; s.reloads > s.deaf {
			s.runs = k
		}
	}
	return append([]adapter.Key{k.Encrypt}, k.Decrypt...), nil
}

// dial connects with a server whose tickets begin with the key's name.
func (s *server) dial(context.Context) (net.Conn, error) {
	s.mu.Lock()
	name := slices.Clone(s.runs.Encrypt.Name)
	s.mu.Unlock()
	c := &tls.Config{Certificates: []tls.Certificate{s.cert}}
	c.WrapSession = func(cs tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		t, err := c.EncryptTicket(cs, ss)
		return append(slices.Clone(name), t...), err
	}
	a, b := net.Pipe()
	go func() {
		conn := tls.Server(b, c)
		defer conn.Close()
		if conn.HandshakeContext(context.Background()) == nil {
			_, _ = conn.Read(make([]byte, 1))
		}
	}()
	return a, nil
}

func assignment(version uint64, names ...string) *mintmarkv1.Assignment {
	m := &mintmarkv1.Assignment{Version: version, Pool: "web", Server: "a"}
	for i, name := range names { // the newest first
		use := mintmarkv1.KeyUse_KEY_USE_DECRYPT
		if i == 0 {
			use = mintmarkv1.KeyUse_KEY_USE_ENCRYPT
		}
		m.Keys = append(m.Keys, &mintmarkv1.AssignedKey{
			Owner: "a", Generation: uint32(len(names) - 1 - i), Use: use, KeyName: []byte(name), //nolint:gosec // small
		})
	}
	return m
}

const (
	nameOne = "name of key one."
	nameTwo = "name of key two."
)

func newServer(t *testing.T) *server {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)} // nobody checks it
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &server{cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}

// run runs an agent until it is stopped.
func run(t *testing.T, src *source, s *server, state string) (stop func()) {
	t.Helper()
	a, err := New(Config{Source: src, Adapter: s, State: state, Dial: s.dial})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// The server is given its keys, is seen to mint with them, and keeps them over
// a restart of the agent and while the control plane is away: nothing is made
// anew and nothing reloaded.
func TestRestartAndLossChangeNothing(t *testing.T) {
	t.Parallel()
	s, state := newServer(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		src := &source{sent: assignment(7, nameTwo, nameOne)}
		stop := run(t, src, s, state)
		time.Sleep(settleTime)
		r := src.last()
		if r.GetVersion() != 7 || !r.GetVerified() || !r.GetOldWorkersGone() || r.GetProblem() != "" ||
			!slices.Equal(r.GetMintingGenerations(), []uint32{1}) || len(r.GetHeld()) != 2 {
			t.Fatalf("the report is %v", r)
		}
		stop()
		secret := slices.Clone(s.runs.Encrypt.Secret)

		src.sent = nil
		stop = run(t, src, s, state)
		time.Sleep(10 * time.Minute)
		stop()
		if s.reloads != 1 || !bytes.Equal(s.runs.Encrypt.Secret, secret) || string(s.runs.Encrypt.Name) != nameTwo {
			t.Errorf("after a restart without a control plane, the server was reloaded %d times and has the key %q", s.reloads-1, s.runs.Encrypt.Name)
		}
		if len(s.runs.Decrypt) != 1 || bytes.Equal(s.runs.Decrypt[0].Secret, secret) {
			t.Errorf("it decrypts with %v besides", s.runs.Decrypt)
		}
	})
}

// A reload that was lost shows on the wire, is reported, and is repeated until
// the server mints what it should.
func TestLostReloadIsRepeated(t *testing.T) {
	t.Parallel()
	s, state := newServer(t), t.TempDir()
	s.runs.Encrypt.Name = []byte("the name before.")
	s.deaf = 2
	synctest.Test(t, func(t *testing.T) {
		src := &source{sent: assignment(1, nameOne)}
		stop := run(t, src, s, state)
		defer stop()
		for src.last() == nil {
			time.Sleep(settlePause)
		}
		if r := src.last(); r.GetVerified() || !strings.Contains(r.GetProblem(), "is the file that the agent writes the one that it reads?") {
			t.Errorf("while the server mints something else, the report is %v", r)
		}
		if !slices.Equal(src.last().GetMintingGenerations(), []uint32{0}) {
			t.Errorf("it may mint generations %v; want 0, which it was given", src.last().GetMintingGenerations())
		}
		time.Sleep(10 * (settleTime + againInterval))
		if r := src.last(); !r.GetVerified() || r.GetProblem() != "" {
			t.Errorf("in the end, the report is %v", r)
		}
		if s.reloads != s.deaf+1 {
			t.Errorf("the server was told %d times; want %d", s.reloads, s.deaf+1)
		}
	})
}

// A server that may not mint yet is left alone, with the keys that it has.
func TestNothingToMintLeavesTheServerAlone(t *testing.T) {
	t.Parallel()
	s, state := newServer(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		src := &source{sent: &mintmarkv1.Assignment{Version: 1, Pool: "web", Server: "a"}}
		stop := run(t, src, s, state)
		defer stop()
		time.Sleep(settleTime)
		if s.reloads != 0 || len(src.last().GetMintingGenerations()) != 0 || src.last().GetVersion() != 1 {
			t.Errorf("it was reloaded %d times, and the report is %v", s.reloads, src.last())
		}
	})
}

// What a file gets wrong is said all at once.
func TestFileProblems(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"everything missing": {"state: x\n", "control.connect is missing|control.token_file is missing|adapter.kind is missing"},
		"an unknown setting": {"contrl: {}\n", `unknown field "contrl"`},
		"a setting twice":    {"state: a\nstate: b\n", "already defined"},
		"a bad kind":         {"control: {connect: [\"https://h:1\"], token_file: t}\nadapter: {kind: iis}\n", `there is no kind "iis"; write one of [nginx`},
		"what a kind needs":  {"control: {connect: [\"https://h:1\"], token_file: t}\nadapter: {kind: nginx}\n", "dir is missing: kind nginx needs it|pid_file is missing"},
		"plain HTTP":         {"control: {connect: [\"http://h:1\"], token_file: t}\nadapter: {kind: env, file: f}\n", "write one such as https://"},
	} {
		path := filepath.Join(dir, "agent.yaml")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path)
		for want := range strings.SplitSeq(c.want, "|") {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v; want %q", name, err, want)
			}
		}
	}
}
