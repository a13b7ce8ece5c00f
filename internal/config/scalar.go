package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Hex is bytes that the file writes in hexadecimal, in upper or lower case.
type Hex []byte

// String returns h in hexadecimal, lower case.
func (h Hex) String() string { return hex.EncodeToString(h) }

// Duration is a time with its unit, as in 500ms, 5s, 10m, 24h, 7d and 1h30m.
// A day is 24 hours.
type Duration time.Duration

// String returns d as the file writes it.
func (d Duration) String() string {
	const day = Duration(24 * time.Hour)
	if d > day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := time.Duration(d).String()
	if short, ok := strings.CutSuffix(s, "m0s"); ok {
		s = short + "m"
	}
	if short, ok := strings.CutSuffix(s, "h0m"); ok {
		s = short + "h"
	}
	return s
}

// Size is a number of bytes with its unit, as in 512B, 64KiB, 10MiB and 2GiB.
type Size int64

const sizeUnits = "B,KiB,MiB,GiB"

// String returns s as the file writes it.
func (s Size) String() string {
	units := strings.Split(sizeUnits, ",")
	n := int64(s)
	for len(units) > 1 && n != 0 && n%1024 == 0 {
		n, units = n/1024, units[1:]
	}
	return strconv.FormatInt(n, 10) + units[0]
}

func (s *Size) decodeScalar(text string) *fault {
	digits := strings.TrimRight(text, "BKMGi")
	n, err := strconv.ParseInt(digits, 10, 32)
	for i, unit := range strings.Split(sizeUnits, ",") {
		if err == nil && n >= 0 && text[len(digits):] == unit && strconv.FormatInt(n, 10) == digits {
			*s = Size(n << (10 * i))
			return nil
		}
	}
	remedy := "write a number with its unit, as in 512B, 64KiB or 10MiB"
	if err == nil && n >= 0 && digits == text {
		return faultf(fmt.Sprintf("write %sB for bytes, or %sKiB", text, text), "%s has no unit", quote(text))
	}
	return faultf(remedy, "%s is not a size", quote(text))
}

// A scalarDecoder is a value that reads the text of a scalar itself.
type scalarDecoder interface {
	decodeScalar(text string) *fault
}

func (h *Hex) decodeScalar(text string) *fault {
	b, err := hex.DecodeString(text)
	if err == nil && text != "" {
		*h = b
		return nil
	}
	remedy := `write hexadecimal digits in quotes, two for each byte, as in "4d4d0001"`
	switch {
	case text == "":
		return faultf(remedy, "is empty")
	case errors.Is(err, hex.ErrLength):
		return faultf(fmt.Sprintf("write two digits for each byte, as in %q", "0"+text),
			"%s has an odd number of hexadecimal digits", quote(text))
	}
	if clean := cleanHex(text); clean != "" {
		remedy = fmt.Sprintf("write %q", clean)
	}
	return faultf(remedy, "%s is not hexadecimal", quote(text))
}

// cleanHex returns what the person who wrote text in one of the usual other
// forms (0x4d4d, 4d:4d, 4d4d_0001) meant, and "" when that is not clear.
func cleanHex(text string) string {
	clean := text
	for _, prefix := range []string{"0x", "0X"} {
		clean = strings.TrimPrefix(clean, prefix)
	}
	clean = strings.NewReplacer("_", "", ":", "", " ", "", "-", "").Replace(clean)
	if len(clean)%2 != 0 {
		return ""
	}
	if _, err := hex.DecodeString(clean); err != nil {
		return ""
	}
	return clean
}

func (d *Duration) decodeScalar(text string) *fault {
	v, err := parseDuration(text)
	if err == nil {
		*d = v
		return nil
	}
	remedy := `write a number with its unit, as in 500ms, 5s, 10m, 24h or 7d`
	if _, numErr := strconv.ParseUint(text, 10, 32); numErr == nil {
		return faultf(fmt.Sprintf("write %ss for seconds, or %sms for milliseconds", text, text), "%s has no unit", quote(text))
	}
	return faultf(remedy, "%s is not a duration", quote(text))
}

var errDuration = errors.New("not a duration")

// parseDuration reads the form of time.ParseDuration, without a sign, with
// whole days before it.
func parseDuration(text string) (Duration, error) {
	if text == "" || text[0] == '-' || text[0] == '+' {
		return 0, errDuration
	}
	if text == "0" {
		return 0, errDuration // time.ParseDuration takes it; one form is enough
	}
	var total time.Duration
	if days, rest, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, errDuration
		}
		total = time.Duration(n) * 24 * time.Hour
		if text = rest; text == "" {
			return Duration(total), nil
		}
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 || v > math.MaxInt64-total {
		return 0, errDuration
	}
	return Duration(total + v), nil
}

// decodeInt reads a whole decimal number between least and most.
func decodeInt(n *node, least, most int64) (int64, *fault) {
	text := n.text
	v, err := strconv.ParseInt(text, 10, 64)
	canonical := strconv.FormatInt(v, 10) == text
	switch {
	case err == nil && canonical && !n.plain:
		return 0, faultf("write "+text+" without quotes", "is text in quotes, not a number")
	case errors.Is(err, strconv.ErrRange), err == nil && canonical && v > most:
		return 0, faultf("write a smaller number", "%s is out of range", quote(text))
	case err == nil && canonical && v < least:
		return 0, faultf("write a larger number", "%s is out of range", quote(text))
	case err == nil && canonical:
		return v, nil
	}
	remedy := "write a whole number in decimal digits"
	if v, err := strconv.ParseInt(text, 0, 64); err == nil && v >= least && v <= most && text[0] != '0' {
		remedy = "write " + strconv.FormatInt(v, 10) // 1_000, +5
	} else if err == nil && len(text) > 2 && text[0] == '0' && strings.ContainsRune("xXoObB", rune(text[1])) {
		remedy = "write " + strconv.FormatInt(v, 10)
	}
	return 0, faultf(remedy, "%s is not a whole number", quote(text))
}

func decodeBool(n *node) (bool, *fault) {
	switch {
	case n.text == "true" && n.plain:
		return true, nil
	case n.text == "false" && n.plain:
		return false, nil
	}
	remedy := "write true or false, without quotes"
	switch strings.ToLower(n.text) {
	case "true", "yes", "on", "y", "1":
		remedy = "write true"
	case "false", "no", "off", "n", "0":
		remedy = "write false"
	}
	return false, faultf(remedy, "%s is not true or false", quote(n.text))
}
