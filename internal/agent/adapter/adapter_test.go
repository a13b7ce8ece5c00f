package adapter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func key(generation uint64) Key {
	return Key{
		Owner: "a", Generation: generation, Own: true, Text: fmt.Sprintf("0%d4d", generation), Number: 7,
		Name: bytes.Repeat([]byte{byte(generation)}, NameSize), Secret: bytes.Repeat([]byte{0x55}, SecretSize),
		Prefix: []byte{0x4d, 0x4d, 0, 0, 0, 0, 0, byte(generation)},
	}
}

// A server that refuses its files gets the last good ones back, byte for byte,
// and none that it did not have.
func TestRefusedFilesAreTakenBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	refuse := filepath.Join(t.TempDir(), "refuse")
	calls := filepath.Join(t.TempDir(), "calls")
	for name, c := range map[string]Config{
		"at the test":   {Test: []string{"sh", "-c", "test ! -e " + refuse}, Reload: []string{"sh", "-c", "echo reload >> " + calls}},
		"at the reload": {Test: []string{"true"}, Reload: []string{"sh", "-c", "echo reload >> " + calls + "; test ! -e " + refuse}},
	} {
		c.Kind, c.Dir, c.PIDFile = "nginx", dir, filepath.Join(dir, "pid")
		ad, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ad.Apply(t.Context(), Keys{Encrypt: key(1)}); err != nil {
			t.Fatal(err)
		}
		before := contents(t, dir)
		if err := os.WriteFile(refuse, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = ad.Apply(t.Context(), Keys{Encrypt: key(2), Decrypt: []Key{key(1)}})
		if err == nil || !strings.Contains(err.Error(), "the ones before are back") {
			t.Errorf("%s: got %v", name, err)
		}
		if diff := cmp.Diff(before, contents(t, dir)); diff != "" {
			t.Errorf("%s: the files are not what they were (-before +after)\n%s", name, diff)
		}
		if err := os.Remove(refuse); err != nil {
			t.Fatal(err)
		}
		if _, err := ad.Apply(t.Context(), Keys{Encrypt: key(2), Decrypt: []Key{key(1)}}); err != nil {
			t.Errorf("%s: once the server takes them: %v", name, err)
		}
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Files of generations that are gone go too, and what is as it should be is
// left alone: nothing is reloaded.
func TestNginxFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	calls := filepath.Join(t.TempDir(), "calls")
	ad, err := New(Config{
		Kind: "nginx", Dir: dir, PIDFile: filepath.Join(dir, "pid"), Test: []string{"true"}, Reload: []string{"sh", "-c", "echo >> " + calls},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range []Keys{
		{Encrypt: key(1)},
		{Encrypt: key(2), Decrypt: []Key{key(1)}},
		{Encrypt: key(2), Decrypt: []Key{key(1)}},
		{Encrypt: key(2)},
	} {
		if _, err := ad.Apply(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{
		filepath.Join(dir, "a-2.key"): string(slices.Concat(key(2).Name, key(2).Secret)),
		filepath.Join(dir, nginxConf): "# Written by mintmark agent. The first key encrypts.\nssl_session_ticket_key " + filepath.Join(dir, "a-2.key") + ";\n",
	}
	if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if b, err := os.ReadFile(calls); err != nil || len(b) != 3 {
		t.Errorf("%d reloads, %v; want 3", len(b), err)
	}
}

// The mode and the owner of what was there are kept, but no secret is ever for
// others to read.
func TestModes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "keys")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil { //nolint:gosec // that is the point
		t.Fatal(err)
	}
	owned := os.Geteuid() == 0
	if owned {
		if err := os.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := replace([]file{{path: path, content: []byte("new")}}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of a secret has mode %v, %v", info.Mode(), err)
	}
	if uid, gid := ownerOf(info); owned && (uid != 12345 || gid != 12345) {
		t.Errorf("it belongs to %d:%d now", uid, gid)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("there are %v in the directory, %v", left, err)
	}
}

// The command of the adapter exec reads the keys as JSON.
func TestExec(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	ad, err := New(Config{Kind: "exec", Reload: []string{"sh", "-c", "cat > " + out}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ad.Apply(t.Context(), Keys{Encrypt: key(2), Decrypt: []Key{key(1)}}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Encrypt, Decrypt any }
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	e := got.Encrypt.(map[string]any)
	if e["owner"] != "a" || e["generation"] != 2.0 || e["name"] == "" || e["text"] != "024d" || len(got.Decrypt.([]any)) != 1 {
		t.Errorf("the command read %s", b)
	}
	ad, err = New(Config{Kind: "exec", Reload: []string{"sh", "-c", "cat >/dev/null; echo it is broken; exit 3"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ad.Apply(t.Context(), Keys{Encrypt: key(2)}); err == nil || !strings.Contains(err.Error(), "it is broken") {
		t.Errorf("got %v; want what the command said", err)
	}
}

// The files of marks, which hold no secret.
func TestTextFiles(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{
		"id-prefix": "4d4d000000000003\n",
		"tomcat":    "jvmRoute=034d\n",
		"env": `# Written by mintmark agent.
MINTMARK_GENERATION=3
MINTMARK_KEY_NAME=03030303030303030303030303030303
MINTMARK_TEXT=034d
MINTMARK_SERVER_NUMBER=7
MINTMARK_PREFIX=4d4d000000000003
AWS_LBC_QUIC_SERVER_ID=TU0AAAAAAAM=
`,
	} {
		path := filepath.Join(t.TempDir(), "file")
		ad, err := New(Config{Kind: kind, File: path, Reload: []string{"true"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ad.Apply(t.Context(), Keys{Encrypt: key(3)}); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s wrote %q, %v; want %q", kind, got, err, want)
		}
	}
	ad, err := New(Config{Kind: "id-prefix", File: filepath.Join(t.TempDir(), "f"), Reload: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	k := key(3)
	k.Prefix = nil
	if _, err := ad.Apply(t.Context(), Keys{Encrypt: k}); err == nil {
		t.Error("a space without a prefix was written as one")
	}
}

// What HAProxy's three places hold.
func TestHAProxyOrder(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		keys Keys
		want []uint64
		held int
	}{
		{"one key", Keys{Encrypt: key(1)}, []uint64{1, 1, 1}, 1},
		{"an older one", Keys{Encrypt: key(2), Decrypt: []Key{key(1)}}, []uint64{1, 2, 2}, 2},
		{"a newer one comes next", Keys{Encrypt: key(1), Decrypt: []Key{key(2)}}, []uint64{1, 1, 2}, 2},
		{"both", Keys{Encrypt: key(2), Decrypt: []Key{key(3), key(1)}}, []uint64{1, 2, 3}, 3},
		{"more than it holds", Keys{Encrypt: key(3), Decrypt: []Key{key(2), key(1), key(0)}}, []uint64{2, 3, 1}, 3},
	} {
		order, held := haproxyOrder(tc.keys)
		var got []uint64
		for _, k := range order {
			got = append(got, k.Generation)
		}
		if !slices.Equal(got, tc.want) || len(held) != tc.held {
			t.Errorf("%s: got %v, %d held; want %v, %d", tc.name, got, len(held), tc.want, tc.held)
		}
	}
}

// No secret gets out by printing a key.
func TestKeysDoNotShowThemselves(t *testing.T) {
	t.Parallel()
	k := key(1)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		if s := fmt.Sprintf(verb, k); strings.Contains(s, "55") || strings.Contains(s, "UU") {
			t.Errorf("%s shows %s", verb, s)
		}
	}
}

// Every kind says all that it lacks at once.
func TestConfigProblems(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds() {
		if _, err := New(Config{Kind: kind}); err == nil {
			t.Errorf("%s takes an empty configuration", kind)
		}
	}
	_, err := New(Config{Kind: "nginx"})
	if err == nil || !strings.Contains(err.Error(), "dir") || !strings.Contains(err.Error(), "pid_file") {
		t.Errorf("got %v; want both that is missing", err)
	}
	if _, err := New(Config{Kind: "iis"}); err == nil || !strings.Contains(err.Error(), "nginx") {
		t.Errorf("got %v; want the kinds that there are", err)
	}
}
