package route

import (
	"encoding"
	"strings"
	"testing"
)

// textual is what all enumerations are.
type textual interface {
	encoding.TextMarshaler
	String() string
}

func checkEnum[T interface {
	~uint8
	textual
}](t *testing.T, names string, parse func(string) (T, error), unmarshal func(*T, []byte) error,
) {
	t.Helper()
	want := strings.Fields(names)
	for i, name := range want {
		v := T(i)
		if got := v.String(); got != name {
			t.Errorf("%T(%d).String() = %q; want %q", v, i, got, name)
		}
		if got, err := parse(name); err != nil || got != v {
			t.Errorf("parsing %q: got %d, %v; want %d", name, got, err, i)
		}
		b, err := v.MarshalText()
		if err != nil || string(b) != name {
			t.Errorf("%T(%d).MarshalText() = %q, %v; want %q", v, i, b, err, name)
		}
		var back T
		if err := unmarshal(&back, b); err != nil || back != v {
			t.Errorf("unmarshalling %q: got %d, %v; want %d", name, back, err, i)
		}
	}
	beyond := T(len(want))
	if got := beyond.String(); !strings.HasSuffix(got, ")") {
		t.Errorf("%T(%d).String() = %q; want its number in parentheses", beyond, beyond, got)
	}
	if _, err := parse(beyond.String()); err == nil {
		t.Errorf("parsing %q: got no error", beyond.String())
	}
	_, err := parse("nonsense")
	if err == nil {
		t.Fatalf("%T: parsing nonsense: got no error", beyond)
	}
	for _, name := range want {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%T: error %q does not offer %q", beyond, err, name)
		}
	}
	if err := unmarshal(new(T), []byte("nonsense")); err == nil {
		t.Errorf("%T: unmarshalling nonsense: got no error", beyond)
	}
}

// The names are a contract with the file, the metrics and the logs.
func TestEnumsRoundTrip(t *testing.T) {
	t.Parallel()
	checkEnum(t, "round-robin least-connections random-two hash", ParsePolicy, (*Policy).UnmarshalText)
	checkEnum(t, "group balance refuse", ParseWhenOwnerDown, (*WhenOwnerDown).UnmarshalText)
	checkEnum(t, "balance refuse", ParseUnknownIDs, (*UnknownIDs).UnmarshalText)
	checkEnum(t, "auto route skip", ParseRandomIDs, (*RandomIDs).UnmarshalText)
	checkEnum(t, "owner_only allow", ParseEarlyData, (*EarlyData).UnmarshalText)
	checkEnum(t, "none tcp tls quic dtls http", ParseHealthType, (*HealthType).UnmarshalText)
	checkEnum(t, "none v1 v2", ParseProxyVersion, (*ProxyVersion).UnmarshalText)
	checkEnum(t, "mint group learned balance refused", ParseRoutedBy, (*RoutedBy).UnmarshalText)
}
