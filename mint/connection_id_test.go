package mint_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mintmark/mintmark/idspace/quiclb"
	"github.com/mintmark/mintmark/idspace/sealed"
	"github.com/mintmark/mintmark/mint"
)

const cidKey = "fdf726a9893ec05c0632d3956680baf0"

// quicLB is a configuration, and the part of a server in it.
func quicLB(t testing.TB, id quiclb.ConfigID, server string, nonceLength int, key string) *mint.QUICLB {
	t.Helper()
	sid, err := quiclb.ParseServerID(server)
	if err != nil {
		t.Fatal(err)
	}
	q := &mint.QUICLB{ServerID: sid, Config: quiclb.Config{ID: id, ServerIDLength: sid.Len(), NonceLength: nonceLength}}
	if key != "" {
		if q.Config.Key, err = quiclb.ParseKey(key); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

// openFile opens a client whose state file holds an assignment, and nothing
// else, as a person would write it.
func openFile(t testing.TB, log *slog.Logger, keys ...mint.Key) (*mint.Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mint.json")
	text, err := json.Marshal(map[string]any{"assignment": mint.Assignment{Version: 1, Pool: "h3", Server: "a", Keys: keys}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return reopen(t, log, path), path
}

func reopen(t testing.TB, log *slog.Logger, path string) *mint.Client {
	t.Helper()
	c, err := mint.Open(mint.Config{State: path, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func connectionIDs(t testing.TB, c *mint.Client, cfg mint.ConnectionIDConfig) *mint.ConnectionIDs {
	t.Helper()
	ids, err := c.ConnectionIDs(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// In each algorithm, with and without the length in the first octet, what a
// server mints decodes to the server.
func TestConnectionIDsDecode(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]*mint.QUICLB{
		"plaintext":   quicLB(t, 0, "c4605e", 4, ""),
		"single pass": quicLB(t, 1, "31441a", 13, cidKey),
		"four pass":   quicLB(t, 2, "31441a", 5, cidKey),
		"AWS":         quicLB(t, 0, "0123456789abcdef", 7, ""),
	} {
		set, err := quiclb.NewSet(q.Config)
		if err != nil {
			t.Fatal(err)
		}
		shortest := 1 + q.Config.ServerIDLength + q.Config.NonceLength
		for _, length := range []int{shortest, quiclb.MaxLength, 0} {
			for _, encode := range []bool{false, true} {
				c, _ := openFile(t, nil, mint.Key{Generation: 1, Mint: true, QUICLB: q})
				ids := connectionIDs(t, c, mint.ConnectionIDConfig{Length: length, EncodeLength: encode})
				if length == 0 {
					length = quiclb.MaxLength
				}
				seen := map[string]bool{}
				for range 1000 {
					id := ids.Append(nil)
					got, cause := set.Decode(id)
					if cause != quiclb.Decodable || got.ServerID != q.ServerID || got.Config != q.Config.ID || len(id) != length {
						t.Fatalf("%s, length %d: %x decodes to %v, %v", name, length, id, got, cause)
					}
					if low := int(id[0] & 0x1f); encode && low != length-1 {
						t.Fatalf("%s: %x says that %d octets follow", name, id, low)
					}
					seen[string(id)] = true
				}
				if len(seen) != 1000 || ids.Unroutable() != 0 || ids.Length() != length {
					t.Errorf("%s: %d of 1000 IDs differ, %d unroutable, length %d", name, len(seen), ids.Unroutable(), ids.Length())
				}
			}
		}
	}
}

// Other schemes have a mark that is put where it belongs.
func TestConnectionIDsOfOtherSchemes(t *testing.T) {
	t.Parallel()
	mark := sealed.NewKey()
	sealedSet, err := sealed.NewSet(sealed.Generation{Key: mark, Servers: 8})
	if err != nil {
		t.Fatal(err)
	}
	bits := func(offset int, mask, value string) *mint.Bits {
		var b mint.Bits
		if err := json.Unmarshal(fmt.Appendf(nil, `{"offset":%d,"mask":%q,"value":%q}`, offset, mask, value), &b); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	for name, tc := range map[string]struct {
		key  mint.Key
		want func(id []byte) bool
	}{
		"text of a plan": {key(4, true), func(id []byte) bool { return bytes.HasPrefix(id, []byte{0x4d, 0, 0, 4}) }},
		"one octet":      {mint.Key{Mint: true, Bits: bits(0, "", "01")}, func(id []byte) bool { return id[0] == 1 }},
		"msquic":         {mint.Key{Mint: true, Bits: bits(1, "", "c000020a")}, func(id []byte) bool { return hex.EncodeToString(id[1:5]) == "c000020a" }},
		"Katran 1":       {mint.Key{Mint: true, Bits: bits(0, "ffffc0", "448d00")}, func(id []byte) bool { return id[0] == 0x44 && id[1] == 0x8d && id[2]>>6 == 0 }},
		"sealed": {sealedKey(1, true, mark), func(id []byte) bool {
			n, _, ok := sealedSet.Lookup(id[:sealed.Size])
			return ok && n == 7
		}},
	} {
		s := newSource()
		c := open(t, filepath.Join(t.TempDir(), "mint.json"), s)
		s.assign(mint.Assignment{Version: 1, Pool: "p", Server: "a", Keys: []mint.Key{tc.key}})
		ids := connectionIDs(t, c, mint.ConnectionIDConfig{Length: 16})
		var all [16]byte // bits that were ever set: the free ones are random
		for range 64 {
			id := ids.Append(nil)
			if !tc.want(id) || len(id) != 16 {
				t.Errorf("%s: minted %x", name, id)
			}
			for i := range id {
				all[i] |= id[i]
			}
		}
		if !bytes.Equal(all[8:], bytes.Repeat([]byte{0xff}, 8)) {
			t.Errorf("%s: some bits are never set: %x", name, all)
		}
		if ids.Unroutable() != 0 {
			t.Errorf("%s: %d unroutable", name, ids.Unroutable())
		}
	}
}

// A server without an assignment mints IDs that are nobody's, and a rotation
// takes effect with the next ID.
func TestConnectionIDsRotate(t *testing.T) {
	t.Parallel()
	s := newSource()
	path := filepath.Join(t.TempDir(), "mint.json")
	c := open(t, path, s)
	ids := connectionIDs(t, c, mint.ConnectionIDConfig{EncodeLength: true})
	if id := ids.Append(nil); id[0] != 0xe0|19 || len(id) != 20 {
		t.Errorf("without an assignment: minted %x; want 0b111 and the length", id)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := c.Wait(ended); err == nil || c.Ready() {
		t.Errorf("before there was an assignment: Wait returned %v, ready %v", err, c.Ready())
	}
	first := mint.Key{Generation: 1, QUICLB: quicLB(t, 0, "c4605e", 4, "")}
	second := mint.Key{Generation: 2, QUICLB: quicLB(t, 1, "31441a", 5, cidKey)}
	set, err := quiclb.NewSet(first.QUICLB.Config, second.QUICLB.Config)
	if err != nil {
		t.Fatal(err)
	}
	want := func(k mint.Key) {
		t.Helper()
		id := ids.Append(nil)
		if got, cause := set.Decode(id); cause != quiclb.Decodable || got.Config != k.QUICLB.Config.ID || got.ServerID != k.QUICLB.ServerID {
			t.Errorf("minted %x, which decodes to %v, %v; want %v of configuration %d", id, got, cause, k.QUICLB.ServerID, k.QUICLB.Config.ID)
		}
	}
	first.Mint = true
	s.assign(mint.Assignment{Version: 1, Pool: "h3", Server: "a", Keys: []mint.Key{first}})
	want(first)
	wait(t, c)
	s.assign(mint.Assignment{Version: 2, Pool: "h3", Server: "a", Keys: []mint.Key{second, first}}) // prepared
	want(first)
	first.Mint, second.Mint = false, true
	s.assign(mint.Assignment{Version: 3, Pool: "h3", Server: "a", Keys: []mint.Key{second, first}})
	want(second)
	s.assign(mint.Assignment{Version: 4, Pool: "h3", Server: "a", Keys: []mint.Key{second}})
	want(second)
	if got := ids.Unroutable(); got != 1 {
		t.Errorf("%d unroutable; want 1", got)
	}
}

// patience is how long a test waits for what must come to pass.
const patience = time.Minute

// wait returns when the client has an assignment.
func wait(t *testing.T, c *mint.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

// When its nonces are used up, a server falls to 0b111, says so once, and
// reports that its space runs out.
func TestNoncesRunOut(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	q := quicLB(t, 3, "31441a", 4, cidKey)
	_, path := openFile(t, nil, mint.Key{Generation: 1, Mint: true, QUICLB: q})
	edit(t, path, func(doc map[string]any) {
		doc["nonces"] = map[string]any{"1": map[string]any{"first": []byte{0xff, 0xff, 0xff, 0x00}, "count": 300}}
	})
	c := reopen(t, slog.New(slog.NewTextHandler(&log, nil)), path)
	ids := connectionIDs(t, c, mint.ConnectionIDConfig{})
	set, err := quiclb.NewSet(q.Config)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 300 {
		id := ids.Append(nil)
		if _, cause := set.Decode(id); cause != quiclb.Decodable {
			t.Fatalf("%x: %v after %d of 300 nonces", id, cause, len(seen))
		}
		seen[string(set.Explain(id).Nonce)] = true
	}
	for range 10 {
		if id := ids.Append(nil); id[0]>>5 != 7 || len(id) != ids.Length() {
			t.Errorf("minted %x without a nonce", id)
		}
	}
	if len(seen) != 300 || ids.Unroutable() != 10 {
		t.Errorf("%d different nonces of 300, %d unroutable IDs of 10", len(seen), ids.Unroutable())
	}
	if n := strings.Count(log.String(), "cannot be routed"); n != 1 {
		t.Errorf("the log says %d times that IDs cannot be routed; want 1:\n%s", n, log.String())
	}
	if strings.Contains(log.String(), cidKey) {
		t.Error("the log shows the key")
	}
	// Neither does a restart bring any back.
	if id := connectionIDs(t, reopen(t, nil, path), mint.ConnectionIDConfig{}).Append(nil); id[0]>>5 != 7 {
		t.Errorf("minted %x after a restart, without a nonce", id)
	}
}

// A restart, a second source and many goroutines never use a nonce again.
func TestNoncesNeverRepeat(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", cidKey} {
		q := quicLB(t, 3, "31441a", 4, key)
		set, err := quiclb.NewSet(q.Config)
		if err != nil {
			t.Fatal(err)
		}
		_, path := openFile(t, nil, mint.Key{Generation: 1, Mint: true, QUICLB: q})
		edit(t, path, func(doc map[string]any) { // so few that they would meet
			scatter := bytes.Repeat([]byte{7}, 16)
			if key != "" {
				scatter = nil
			}
			doc["nonces"] = map[string]any{"1": map[string]any{"first": []byte{0xff, 0xff, 0xfc, 0}, "count": 20_000, "scatter": scatter}}
		})
		var mu sync.Mutex
		seen := map[string]bool{}
		minted := 0
		for range 5 {
			c := reopen(t, nil, path)
			var wg sync.WaitGroup
			for range 4 {
				ids := connectionIDs(t, c, mint.ConnectionIDConfig{})
				wg.Go(func() {
					for range 500 {
						id := ids.Append(nil)
						mu.Lock()
						seen[string(set.Explain(id).Nonce)] = true
						minted++
						mu.Unlock()
					}
				})
			}
			wg.Wait()
		}
		if len(seen) != minted {
			t.Errorf("%v: %d different nonces in %d IDs", q.Config.Algorithm(), len(seen), minted)
		}
	}
}

// A file that is written anew rotates a server without a control plane.
func TestFileRotates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "assignment.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"pool": "h3", "server": "a", "keys": [
		{"generation": 1, "mint": true, "quic_lb": {"config_id": 0, "server_id": "c4605e", "nonce_length": 4}}]}`)
	c := open(t, filepath.Join(dir, "mint.json"), mint.File(path))
	ids := connectionIDs(t, c, mint.ConnectionIDConfig{})
	wait(t, c)
	if id := ids.Append(nil); id[0]>>5 != 0 || hex.EncodeToString(id[1:4]) != "c4605e" {
		t.Errorf("minted %x; want configuration 0", id)
	}
	write(`{"pool": "h3", "server": "a", "keys": [
		{"generation": 2, "mint": true, "quic_lb": {"config_id": 5, "server_id": "c46060", "nonce_length": 6}}]}`)
	deadline := time.After(patience)
	for tick := time.NewTicker(20 * time.Millisecond); ids.Append(nil)[0]>>5 != 5; {
		select {
		case <-deadline:
			t.Fatal("the file was written anew, and nothing changed")
		case <-tick.C:
		}
	}
}

// What is wrong with an assignment is said, without the key.
func TestConnectionIDErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"quic_lb": {"config_id": 7, "server_id": "01", "nonce_length": 4}}`:                            "configuration ID is 7",
		`{"quic_lb": {"config_id": 0, "server_id": "01", "nonce_length": 3}}`:                            "nonce length is 3",
		`{"quic_lb": {"config_id": 0, "server_id": "01", "nonce_length": 4, "key": "` + cidKey + `00"}}`: "key has 17 octets",
		`{"quic_lb": {"config_id": 0, "server_id": "0g", "nonce_length": 4}}`:                            "not hexadecimal",
		`{"quic_lb": {"config": 0, "server_id": "01", "nonce_length": 4}}`:                               "unknown field",
		`{"bits": {"value": ""}}`:                   "no value",
		`{"bits": {"value": "01", "mask": "ffff"}}`: "equally long",
		`{"bits": {"value": "03", "mask": "01"}}`:   "outside the mask",
		`{"bits": {"value": "03", "offset": 20}}`:   "at most 20",
		`{"bits": {"value": "03"}, "quic_lb": {"config_id": 0, "server_id": "01", "nonce_length": 4}}`: "both",
		`{"bits": {"value": "xx"}}`:              "not hexadecimal",
		`{"text": "01"}`:                         "a name of 0 bytes",
		`{"bits": {"value": "03", "mask": "0"}}`: "mask",
		`{"quic_lb": {"config_id": 0, "server_id": "", "nonce_length": 4}}`:                                       "server ID has 0 octets",
		`{"quic_lb": {"config_id": 0, "server_id": "000102030405060708090a0b0c0d", "nonce_length": 18}}`:          "together",
		`{"quic_lb": {"config_id": 0, "server_id": "01", "nonce_length": 4, "key": "zz` + cidKey[2:] + `"}}`:      "key is not hexadecimal",
		`{"quic_lb": {"config_id": 300, "server_id": "01", "nonce_length": 4}}`:                                   "config_id",
		`{"quic_lb": {"config_id": 1, "server_id": "01", "nonce_length": 4, "key": "` + cidKey + `"}, "bits": 1}`: "bits",
	} {
		path := filepath.Join(t.TempDir(), "mint.json")
		if err := os.WriteFile(path, []byte(`{"assignment": {"keys": [`+text+`]}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := mint.Open(mint.Config{State: path})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want an error with %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), cidKey[2:]) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	c, _ := openFile(t, nil, mint.Key{Mint: true, QUICLB: quicLB(t, 0, "c4605e", 16, "")})
	for _, length := range []int{21, -1} {
		if _, err := c.ConnectionIDs(mint.ConnectionIDConfig{Length: length}); err == nil {
			t.Errorf("IDs of %d octets were accepted", length)
		}
	}
	// A configuration that does not fit is not minted under.
	if id := connectionIDs(t, c, mint.ConnectionIDConfig{Length: 19}).Append(nil); id[0]>>5 != 7 {
		t.Errorf("minted %x under a configuration of 20 octets", id)
	}
	if _, err := c.NewID(); err == nil {
		t.Error("a text ID was minted without a text")
	}
}

// A key survives the state file, and is shown by nothing else.
func TestQUICLBDocument(t *testing.T) {
	t.Parallel()
	q := quicLB(t, 1, "31441a", 5, cidKey)
	text, err := json.Marshal(q)
	if err != nil || string(text) != `{"config_id":1,"server_id":"31441a","nonce_length":5,"key":"`+cidKey+`"}` {
		t.Errorf("got %s, %v", text, err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x"} {
		if s := fmt.Sprintf(verb, mint.Key{QUICLB: q}); strings.Contains(s, cidKey) {
			t.Errorf("%s shows the key: %s", verb, s)
		}
	}
}

func BenchmarkConnectionIDs(b *testing.B) {
	c, _ := openFile(b, nil, mint.Key{Mint: true, QUICLB: quicLB(b, 1, "31441a", 5, cidKey)})
	ids := connectionIDs(b, c, mint.ConnectionIDConfig{Length: 9, EncodeLength: true})
	b.ReportAllocs()
	var buf [quiclb.MaxLength]byte
	for b.Loop() {
		ids.Append(buf[:0])
	}
}

func edit(t *testing.T, path string, change func(doc map[string]any)) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	change(doc)
	if text, err = json.Marshal(doc); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A syncBuffer is a log that goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
