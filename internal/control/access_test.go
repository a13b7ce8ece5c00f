package control_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/api/mintmark/v1/mintmarkv1connect"
	"github.com/mintmark/mintmark/internal/control/access/join"
)

// procedures are all that the schema has, so that a call which is added later
// is walked too.
func procedures() map[string]bool {
	all := make(map[string]bool) // and whether it streams
	for _, f := range []protoreflect.FileDescriptor{mintmarkv1.File_mintmark_v1_control_proto, mintmarkv1.File_mintmark_v1_member_proto} {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				all["/"+string(s.FullName())+"/"+string(m.Name())] = m.IsStreamingServer()
			}
		}
	}
	return all
}

// status calls a procedure with an empty request and returns the HTTP status.
func status(t *testing.T, client *http.Client, url, procedure string, streams bool, token string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	contentType, body := "application/json", []byte("{}")
	if streams {
		contentType, body = "application/connect+json", []byte("\x00\x00\x00\x00\x02{}")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+procedure, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return -1 // the handshake was refused
	}
	defer resp.Body.Close()
	if !streams {
		return resp.StatusCode
	}
	// A stream's error comes in its last message.
	end := make([]byte, 4096)
	n, _ := resp.Body.Read(end)
	switch text := string(end[:n]); {
	case strings.Contains(text, `"unauthenticated"`):
		return http.StatusUnauthorized
	case strings.Contains(text, `"permission_denied"`):
		return http.StatusForbidden
	default:
		return resp.StatusCode
	}
}

// No call is answered without credentials, or with wrong, used, expired or
// revoked ones, but for the one that takes a token; and each role is kept to
// its own calls.
func TestEveryCallNeedsCredentials(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	p.putPool(web("a", "b"))
	other := newPlane(t)
	anybody := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}} //nolint:gosec // any client
	t.Cleanup(anybody.CloseIdleConnections)

	revoked := p.join(p.token("agent", "web", "a"))
	if _, err := p.admin.RemoveMember(t.Context(), connect.NewRequest(&mintmarkv1.RemoveMemberRequest{Pool: "web", Server: "a"})); err != nil {
		t.Fatal(err)
	}
	replaced := p.join(p.token("balancer", "", "x"))
	p.join(p.token("balancer", "", "x"))
	unused := p.token("balancer", "", "y")
	used := p.token("balancer", "", "z")
	p.join(used)
	expired := reusable(t, p, time.Minute)
	p.pass(2 * time.Minute)
	foreign := reusable(t, other, time.Hour)
	viewerToken := reusable(t, p, time.Hour)

	const refused = http.StatusUnauthorized
	for procedure, streams := range procedures() {
		if procedure == mintmarkv1connect.EnrollServiceJoinProcedure {
			continue
		}
		for name, c := range map[string]struct {
			client *http.Client
			token  string
		}{
			"nothing":                             {anybody, ""},
			"a word":                              {anybody, "letmein"},
			"a damaged token":                     {anybody, viewerToken[:len(viewerToken)-50]},
			"a join token, as a bearer":           {anybody, unused},
			"a used token":                        {anybody, used},
			"an expired token":                    {anybody, expired},
			"a token of another plane":            {anybody, foreign},
			"a revoked certificate":               {revoked, ""},
			"a certificate that another replaced": {replaced, ""},
		} {
			if got := status(t, c.client, p.url, procedure, streams, c.token); got != refused {
				t.Errorf("%s with %s: status %d; want %d", procedure, name, got, refused)
			}
		}
	}

	roles := map[string]*http.Client{
		"balancer": p.join(p.token("balancer", "", "b1")), "agent": p.join(p.token("agent", "web", "b")),
		"viewer": p.join(p.token("viewer", "", "v")),
	}
	for procedure, streams := range procedures() {
		service, method, _ := strings.Cut(strings.TrimPrefix(procedure, "/mintmark.v1."), "/")
		for role, client := range roles {
			reads := strings.HasPrefix(method, "Get") || strings.HasPrefix(method, "List") || method == "Explain" || method == "Export"
			mayCall := map[string]bool{
				"ControlService": role == "viewer" && reads, "EnrollService": true,
				"BalancerService": role == "balancer", "AgentService": role == "agent",
			}[service]
			if mayCall {
				continue
			}
			if got := status(t, client, p.url, procedure, streams, ""); got != http.StatusForbidden {
				t.Errorf("%s by a %s: status %d; want %d", procedure, role, got, http.StatusForbidden)
			}
		}
	}
	if got := status(t, anybody, p.url, mintmarkv1connect.ControlServiceGetStatusProcedure, false, viewerToken); got != http.StatusOK {
		t.Errorf("a good token: status %d", got)
	}
}

func reusable(t *testing.T, p *plane, lifetime time.Duration) string {
	t.Helper()
	r, err := p.admin.CreateToken(t.Context(), connect.NewRequest(&mintmarkv1.CreateTokenRequest{
		Role: "viewer", Name: "script", Reusable: true, Lifetime: durationpb.New(lifetime),
	}))
	if err != nil {
		t.Fatal(err)
	}
	return r.Msg.GetToken()
}

// A token joins once. Whoever comes second, or to another control plane with
// it, gets nothing, and nothing is left on disk.
func TestTokensJoinOnce(t *testing.T) {
	t.Parallel()
	p, other := newPlane(t), newPlane(t)
	token, err := join.ParseToken(p.token("balancer", "", "x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := join.Join(t.Context(), other.url, t.TempDir(), token); err == nil || !strings.Contains(err.Error(), "not the control plane that made the token") {
		t.Errorf("at another control plane: %v", err)
	}
	if _, err := join.Join(t.Context(), p.url, t.TempDir(), token); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := join.Join(t.Context(), p.url, dir, token); err == nil || !strings.Contains(err.Error(), "was used") {
		t.Errorf("a second time: %v", err)
	}
	if _, err := join.Load(dir); err != join.ErrNotJoined { //nolint:errorlint // as it is documented
		t.Errorf("after a refusal there are credentials: %v", err)
	}
	if first, err := p.keeper.AdminToken(t.Context()); err != nil || first != "" {
		t.Errorf("a second first token: %q, %v", first, err)
	}
}

// What a server's agent may see ends at its server: with the certificate of
// one, neither the other's keys nor any plan can be had or changed.
func TestStolenCertificate(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	m := web("a", "b")
	m.Scheme.Kind = "sealed"
	p.putPool(m)
	thief := p.agent("web", "a", &mintmarkv1.WatchAssignmentsRequest{})
	got := thief.until("generation 0", encrypts(0))
	for _, k := range got.GetKeys() {
		if k.GetOwner() != "a" || len(k.GetMarkKey()) != 0 {
			t.Errorf("the agent of a was sent %v", k)
		}
	}
	// A mark key is for servers that an admin said make marks themselves.
	stream, err := thief.api.WatchAssignments(t.Context(), connect.NewRequest(&mintmarkv1.WatchAssignmentsRequest{MintsMarks: true}))
	if err == nil {
		for stream.Receive() {
			t.Errorf("the agent of a stock server was sent %v", stream.Msg())
		}
		err = stream.Err()
	}
	if connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("asking for the mark key: %v", err)
	}
	// What it reports is about its own server, and keys go to partners only.
	_, err = thief.api.Report(t.Context(), connect.NewRequest(&mintmarkv1.ReportRequest{
		KeysForPartners: []*mintmarkv1.KeyForPartner{{Partner: "b", Generation: 0, Sealed: []byte("x")}},
	}))
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("sending a key to a server that is no partner: %v", err)
	}
}

// Nothing secret is in the store's file as it is: tokens are hashed, and keys
// are encrypted.
func TestSecretsAtRest(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	m := web("a")
	m.Scheme.Kind = "sealed"
	m.Servers[0].MintsMarks = true
	p.putPool(m)
	token := p.token("balancer", "", "x")
	a := p.agent("web", "a", &mintmarkv1.WatchAssignmentsRequest{MintsMarks: true})
	k := a.until("generation 0", encrypts(0)).GetKeys()[0]
	if len(k.GetMarkKey()) != 16 {
		t.Fatalf("got the key %v", k)
	}
	file, err := os.ReadFile(filepath.Join(p.dir, "mintmark.db"))
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(token, ".")[2]
	for name, s := range map[string][]byte{"a token": []byte(secret), "a mark key": k.GetMarkKey(), "a private key": []byte("PRIVATE KEY")} {
		if bytes.Contains(file, s) {
			t.Errorf("%s is in the store's file", name)
		}
	}
	info, err := os.Stat(filepath.Join(p.dir, "mintmark.db.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file: %v, %v", info, err)
	}
}

// A certificate is renewed with itself, and the new one is another.
func TestRenewal(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	token, err := join.ParseToken(p.token("viewer", "", "v"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c, err := join.Join(t.Context(), p.url, dir, token)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, "credentials.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if renewed, err := c.RenewIfDue(t.Context(), p.url); renewed || err != nil {
		t.Errorf("a new certificate was renewed: %v, %v", renewed, err)
	}
	if err := c.Renew(t.Context(), p.url); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(filepath.Join(dir, "credentials.pem"))
	if err != nil || bytes.Equal(before, after) {
		t.Errorf("the certificate is the same: %v", err)
	}
	client := c.HTTPClient()
	defer client.CloseIdleConnections()
	if got := status(t, client, p.url, mintmarkv1connect.ControlServiceListPoolsProcedure, false, ""); got != http.StatusOK {
		t.Errorf("with the new one: status %d", got)
	}
}
