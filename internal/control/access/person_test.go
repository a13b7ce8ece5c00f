package access_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/internal/store"
)

func TestBrowserSessions(t *testing.T) {
	t.Parallel()
	s, err := store.OpenBolt(filepath.Join(t.TempDir(), "db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	at := time.Now()
	k, err := access.New(t.Context(), s, access.Options{Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	token := func(spec access.Spec) string {
		t.Helper()
		text, _, err := k.CreateToken(ctx, spec)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	first := token(access.Spec{Role: access.RoleViewer, Name: "eve/../x"})
	secret, id, err := k.LogIn(ctx, first)
	if err != nil || id.Role != access.RoleViewer || id.Name != "eve/../x" {
		t.Fatalf("logging in: %v, %v", id, err)
	}
	if _, _, err := k.LogIn(ctx, first); !errors.Is(err, access.ErrToken) {
		t.Errorf("the token worked twice: %v", err)
	}
	for _, wrong := range []string{
		token(access.Spec{Role: access.RoleBalancer, Name: "b"}),
		token(access.Spec{Role: access.RoleAdmin, Name: "x", Reusable: true}), "", "mm1.admin.x.y",
	} {
		if _, _, err := k.LogIn(ctx, wrong); err == nil {
			t.Errorf("the token %.12s.. logged somebody in", wrong)
		}
	}
	if got, password, err := k.Session(ctx, secret); err != nil || got != id || password {
		t.Errorf("the session is of %v, password %v, %v", got, password, err)
	}
	const good = "correct horse"
	if err := k.SetPassword(ctx, id.Name, "short", secret); err == nil {
		t.Error("a short password was taken")
	}
	other, _, err := k.LogIn(ctx, token(access.Spec{Role: access.RoleViewer, Name: id.Name}))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.SetPassword(ctx, id.Name, good, secret); err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Session(ctx, other); !errors.Is(err, access.ErrNoSession) {
		t.Errorf("another session outlived the new password: %v", err)
	}
	for name, password := range map[string]string{id.Name: "wrong password", "nobody": good} {
		if _, _, err := k.LogInWithPassword(ctx, name, password); !errors.Is(err, access.ErrPassword) {
			t.Errorf("%s with %s: %v", name, password, err)
		}
	}
	again, _, err := k.LogInWithPassword(ctx, id.Name, good)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.LogOut(ctx, again); err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Session(ctx, again); !errors.Is(err, access.ErrNoSession) {
		t.Errorf("the session outlived the logout: %v", err)
	}
	at = at.Add(access.SessionLifetime)
	if _, _, err := k.Session(ctx, secret); !errors.Is(err, access.ErrNoSession) {
		t.Errorf("the session outlived its end: %v", err)
	}
	if again, _, err = k.LogInWithPassword(ctx, id.Name, good); err != nil {
		t.Fatal(err)
	}
	if _, err := k.RemovePerson(ctx, id.Name); err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Session(ctx, again); !errors.Is(err, access.ErrNoSession) {
		t.Errorf("the session outlived the person: %v", err)
	}
	if people, err := k.People(ctx); err != nil || len(people) != 0 {
		t.Errorf("people are left: %v, %v", people, err)
	}
}
