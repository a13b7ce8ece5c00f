package httpid

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func mustNew(tb testing.TB, c Config) *Source {
	tb.Helper()
	s, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// find returns the values of m for s, with spaces between.
func find(tb testing.TB, s *Source, m *Message) (string, error) {
	tb.Helper()
	var v Values
	v.Reset()
	err := s.Find(m, 7, &v)
	var ids []string
	for _, x := range v.All() {
		if x.Source != 7 {
			tb.Errorf("a value of source %d; want 7", x.Source)
		}
		ids = append(ids, string(x.ID))
	}
	return strings.Join(ids, " "), err
}

func TestFind(t *testing.T) {
	t.Parallel()
	cookie := Config{Kind: Cookie, Name: "sid"}
	jvm := Config{Kind: Cookie, Name: "JSESSIONID", After: "."}
	header := Config{Kind: Header, Name: "mcp-session-id"}
	param := Config{Kind: Header, Name: "mcp-param-session"}
	query := Config{Kind: Query, Name: "sid"}
	whip := Config{Kind: Path, Name: "/whip/{id}"}
	deep := Config{Kind: Path, Name: "/v1/*/s/{id}/x"}
	for name, c := range map[string]struct {
		config Config
		m      Message
		want   string
		err    error
	}{
		"cookie":                   {cookie, cookies("a=b; sid=one; c=d"), "one", nil},
		"cookie, no space":         {cookie, cookies("a=b;sid=one;c=d"), "one", nil},
		"cookie, spaces, quotes":   {cookie, cookies("  sid \t=  \"one\"  ;"), "one", nil},
		"cookie, name in a value":  {cookie, cookies("a=sid=one"), "", nil},
		"cookie, other case":       {cookie, cookies("SID=one"), "", nil},
		"cookie, empty":            {cookie, cookies("sid="), "", nil},
		"cookie, twice":            {cookie, cookies("sid=one; sid=two"), "one two", nil},
		"cookie, two headers":      {cookie, cookies("sid=one", "x; sid=two"), "one two", nil},
		"cookie, equals in value":  {cookie, cookies("sid=one=="), "one==", nil},
		"jvmRoute":                 {jvm, cookies("JSESSIONID=0A1B.jvm1; JSESSIONID=77"), "jvm1", nil},
		"jvmRoute with a dot":      {jvm, cookies("JSESSIONID=0A1B.jvm.1"), "jvm.1", nil},
		"jvmRoute, empty":          {jvm, cookies("JSESSIONID=0A1B."), "", nil},
		"header":                   {header, headers("Mcp-Session-Id", "one"), "one", nil},
		"header, same twice":       {header, headers("Mcp-Session-Id", "one", "one"), "one", nil},
		"header, two values":       {header, headers("Mcp-Session-Id", "one", "two"), "", ErrConflict},
		"header, not MCP's form":   {header, headers("Mcp-Session-Id", "=?base64?b25l?="), "=?base64?b25l?=", nil},
		"MCP parameter":            {param, headers("Mcp-Param-Session", "one"), "one", nil},
		"MCP parameter, base64":    {param, headers("Mcp-Param-Session", "=?base64?b25lIMOk?="), "one ä", nil},
		"MCP parameter, BASE64":    {param, headers("Mcp-Param-Session", "=?BASE64?b25l?="), "one", nil},
		"MCP parameter, no base64": {param, headers("Mcp-Param-Session", "=?base64?b25!?="), "", nil},
		"MCP parameter, cut":       {param, headers("Mcp-Param-Session", "=?base64?="), "=?base64?=", nil},
		"query":                    {query, Message{Query: "a=b&sid=one&c"}, "one", nil},
		"query, escapes":           {query, Message{Query: "%73id=o%6Ee%2B+x"}, "one+ x", nil},
		"query, bad escape":        {query, Message{Query: "sid=o%6&sid=%zz&sid=two"}, "two", nil},
		"query, twice":             {query, Message{Query: "sid=one&sid=two"}, "one two", nil},
		"query, without value":     {query, Message{Query: "sid&sid="}, "", nil},
		"query, longer name":       {query, Message{Query: "sid2=one&xsid=two"}, "", nil},
		"path":                     {whip, Message{Path: "/whip/one"}, "one", nil},
		"path, below":              {whip, Message{Path: "/whip/one/ice"}, "one", nil},
		"path, escapes":            {whip, Message{Path: "/wh%69p/o%6E%2Fe"}, "on/e", nil},
		"path, too short":          {whip, Message{Path: "/whip"}, "", nil},
		"path, empty segment":      {whip, Message{Path: "/whip/"}, "", nil},
		"path, another":            {whip, Message{Path: "/whep/one"}, "", nil},
		"path, none":               {whip, Message{Path: "*"}, "", nil},
		"path, any segment":        {deep, Message{Path: "/v1/q/s/one/x/y"}, "one", nil},
		"path, end missing":        {deep, Message{Path: "/v1/q/s/one"}, "", nil},
	} {
		got, err := find(t, mustNew(t, c.config), &c.m)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: got %q, %v; want %q, %v", name, got, err, c.want, c.err)
		}
	}
}

func cookies(lines ...string) Message { return Message{Header: http.Header{"Cookie": lines}} }

func headers(name string, values ...string) Message {
	return Message{Header: http.Header{name: values}}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		encoding    Encoding
		value, want string
	}{
		"hex":                        {Hex, "4d4D00", "MM\x00"},
		"hex, odd":                   {Hex, "4d4", ""},
		"hex, no digit":              {Hex, "4g", ""},
		"base64url":                  {Base64URL, "_-8", "\xff\xef"},
		"base64url, padded":          {Base64URL, "_-8=", "\xff\xef"},
		"base64url, other spelling":  {Base64URL, "_-9", ""},
		"base64url, other alphabet":  {Base64URL, "/+8", ""},
		"base64url, with a new line": {Base64URL, "_-\n8", ""},
		"uuid":                       {UUID, "00112233-4455-6677-8899-aAbBcCdDeEfF", "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"},
		"uuid, no hyphen":            {UUID, "00112233-4455-6677-8899aaaBbBcCdDeEfF", ""},
		"uuid, bare":                 {UUID, "00112233445566778899aabbccddeeff", ""},
	} {
		s := mustNew(t, Config{Kind: Header, Name: "X", Encoding: c.encoding})
		m := headers("X", c.value)
		if got, err := find(t, s, &m); got != c.want || err != nil {
			t.Errorf("%s: got %x, %v; want %x", name, got, err, c.want)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	s := mustNew(t, Config{Kind: Cookie, Name: "s"})
	m := cookies(strings.Repeat("s=x;", MaxValues))
	if _, err := find(t, s, &m); err != nil {
		t.Errorf("%d values: %v", MaxValues, err)
	}
	m = cookies(strings.Repeat("s=x;", MaxValues+1))
	if _, err := find(t, s, &m); !errors.Is(err, ErrTooMany) {
		t.Errorf("%d values: got %v; want ErrTooMany", MaxValues+1, err)
	}
	m = cookies("s=" + strings.Repeat("x", MaxValue))
	if got, _ := find(t, s, &m); len(got) != MaxValue {
		t.Errorf("a value of %d bytes: got %d", MaxValue, len(got))
	}
	m = cookies("s=" + strings.Repeat("x", MaxValue+1))
	if got, _ := find(t, s, &m); got != "" {
		t.Errorf("a value of %d bytes: got %d bytes; want none", MaxValue+1, len(got))
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{
		{Kind: Cookie},
		{Kind: Cookie, Name: "a=b"},
		{Kind: Header, Name: "a b"},
		{Kind: Header, Name: "ä"},
		{Kind: Path, Name: "whip/{id}"},
		{Kind: Path, Name: "/whip"},
		{Kind: Path, Name: "/{id}/{id}"},
		{Kind: Path, Name: "/whip//{id}"},
		{Kind: Path, Name: "/a/../{id}"},
		{Kind: Path, Name: "/x{id}"},
		{Kind: Path, Name: "/a%20/{id}"},
		{Kind: JSON},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("New(%+v): got no error", c)
		}
	}
}

func TestMask(t *testing.T) {
	t.Parallel()
	path, query := mustNew(t, Config{Kind: Path, Name: "/whip/{id}"}).Mask("/whip/one/ice", "sid=x")
	if path != "/whip/***/ice" || query != "sid=x" {
		t.Errorf("path: got %q, %q", path, query)
	}
	path, query = mustNew(t, Config{Kind: Query, Name: "sid"}).Mask("/whip/one", "a=b&s%69d=x&sid=y&sid")
	if path != "/whip/one" || query != "a=b&s%69d=***&sid=***&sid" {
		t.Errorf("query: got %q, %q", path, query)
	}
}

var request = Message{
	Header: http.Header{
		"Cookie":            {"_ga=GA1.2.1; theme=dark; JSESSIONID=0A1B2C3D4E5F60718293A4B5C6D7E8F9.jvm1; x=y"},
		"Mcp-Session-Id":    {"b-4d4d0002c1f0aa317be2205d7f3b0041"},
		"Mcp-Param-Session": {"b-77"},
	},
	Query: "EIO=4&transport=polling&t=abc&sid=b-4d4d0002c1f0aa317be2205d7f3b0041",
	Path:  "/whip/b-4d4d0002c1f0aa317be2205d7f3b0041/ice",
}

func allSources(tb testing.TB) []*Source {
	tb.Helper()
	return []*Source{
		mustNew(tb, Config{Kind: Cookie, Name: "JSESSIONID", After: "."}),
		mustNew(tb, Config{Kind: Header, Name: "Mcp-Session-Id"}),
		mustNew(tb, Config{Kind: Header, Name: "Mcp-Param-Session"}),
		mustNew(tb, Config{Kind: Query, Name: "sid"}),
		mustNew(tb, Config{Kind: Path, Name: "/whip/{id}"}),
	}
}

// TestAllocations holds the budget of the hot files.
func TestAllocations(t *testing.T) {
	sources := allSources(t)
	var v Values
	allocs := testing.AllocsPerRun(1000, func() {
		v.Reset()
		for i, s := range sources {
			if err := s.Find(&request, i, &v); err != nil {
				t.Fatal(err)
			}
		}
		if len(v.All()) != len(sources) {
			t.Fatalf("found %d values; want %d", len(v.All()), len(sources))
		}
	})
	if allocs != 0 {
		t.Errorf("finding the IDs of a request allocates %v times; want 0", allocs)
	}
}

func BenchmarkFind(b *testing.B) {
	sources := allSources(b)
	var v Values
	b.ReportAllocs()
	for b.Loop() {
		v.Reset()
		for i, s := range sources {
			if err := s.Find(&request, i, &v); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// FuzzFind compares cookies and queries with what the standard library finds,
// where that takes the message at all, and holds the bounds.
func FuzzFind(f *testing.F) {
	f.Add("a=b; s=one; s=\"two\"", "a=b&s=one&s=%41+b", "/whip/o%6Ee/ice")
	f.Add("s=;;=s;s", "s&s=%&&=s", "//whip//")
	f.Fuzz(func(t *testing.T, cookie, query, path string) {
		m := Message{Header: http.Header{"Cookie": {cookie}}, Query: query, Path: path}
		for _, s := range []*Source{
			mustNew(t, Config{Kind: Cookie, Name: "s"}),
			mustNew(t, Config{Kind: Query, Name: "s"}),
			mustNew(t, Config{Kind: Path, Name: "/whip/{id}"}),
		} {
			var v Values
			v.Reset()
			if err := s.Find(&m, 0, &v); err != nil && !errors.Is(err, ErrTooMany) {
				t.Errorf("%v: %v", s, err)
			}
			for _, x := range v.All() {
				if len(x.ID) == 0 || len(x.ID) > MaxValue {
					t.Errorf("%v: a value of %d bytes", s, len(x.ID))
				}
			}
			s.Mask(path, query)
		}
		if parsed, err := url.ParseQuery(query); err == nil && len(parsed["s"]) <= MaxValues && !strings.Contains(query, ";") {
			var want []string
			for _, w := range parsed["s"] {
				if w != "" && len(query) <= MaxValue {
					want = append(want, w)
				}
			}
			if got, _ := find(t, mustNew(t, Config{Kind: Query, Name: "s"}), &Message{Query: query}); len(query) <= MaxValue && got != strings.Join(want, " ") {
				t.Errorf("query %q: got %q; want %q", query, got, want)
			}
		}
		if strings.ContainsFunc(cookie, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return // net/http takes no such header
		}
		r := http.Request{Header: m.Header}
		for _, c := range r.CookiesNamed("s") {
			// It keeps spaces behind the "="; RFC 6265, 5.2, step 4 takes them away.
			want := strings.Trim(c.Value, " \t")
			if want == "" || len(cookie) > MaxValue {
				continue
			}
			var v Values
			v.Reset()
			if mustNew(t, Config{Kind: Cookie, Name: "s"}).Find(&m, 0, &v) != nil {
				continue
			}
			found := false
			for _, x := range v.All() {
				found = found || strings.Trim(string(x.ID), " \t") == want
			}
			if !found {
				t.Errorf("cookie %q: the standard library finds %q, which is missing", cookie, want)
			}
		}
	})
}
