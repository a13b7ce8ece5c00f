package config_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mintmark/mintmark/internal/config"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0s": 0, "1ms": time.Millisecond, "1.5s": 1500 * time.Millisecond, "5s": 5 * time.Second, "10m": 10 * time.Minute,
		"24h": day, "1d": day, "7d": 7 * day, "1d12h": 36 * time.Hour, "0d": 0, "1h30m": 90 * time.Minute, "100us": 100 * time.Microsecond,
	} {
		got, err := config.ParseDuration(text)
		if err != nil || time.Duration(got) != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "0", "5", "-5s", "+5s", "s", "d", "1.5d", "-1d", "1d-5s", "1d5", "5 s", " 5s", "5S", "5D", "1w", "1y", "d5s", "1dd",
		"99999d", "18446744073709551616d", "9999999999999h", "65535d9999999999h", "0x5s", "1_000s",
	} {
		if got, err := config.ParseDuration(text); err == nil {
			t.Errorf("%q: got %v; want an error", text, got)
		}
	}
}

// TestDurationRoundTrip: what String writes is read back.
func TestDurationRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]time.Duration{time.Nanosecond, time.Millisecond, time.Second, time.Minute, time.Hour, 24 * time.Hour}).Draw(t, "unit")
		d := config.Duration(time.Duration(rapid.IntRange(0, 10_000).Draw(t, "n")) * unit)
		got, err := config.ParseDuration(d.String())
		if err != nil || got != d {
			t.Fatalf("%v is written %q and read %v, %v", time.Duration(d), d, got, err)
		}
	})
}

func TestNearest(t *testing.T) {
	t.Parallel()
	settings := []string{"name", "address", "group", "weight", "max_connections", "draining", "ids", "share", "number"}
	for word, want := range map[string]string{
		"addrss": "address", "addresss": "address", "Name": "name", "naem": "name", "wieght": "weight", "maxconn": "max_connections",
		"max-connections": "max_connections", "drain": "draining", "id": "ids", "groups": "group",
		"backend": "", "certificate": "", "": "",
	} {
		if got := config.Nearest(word, settings); got != want {
			t.Errorf("%q: got %q; want %q", word, got, want)
		}
	}
}
