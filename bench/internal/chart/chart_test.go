package chart_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/mintmark/mintmark/bench/internal/chart"
)

// An element of a picture, with its attributes and its text.
type element struct {
	name, text string
	attr       map[string]string
}

// elements parses a picture; what a browser would refuse fails the test.
func elements(t *testing.T, svg string) []element {
	t.Helper()
	var all []element
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("reading the picture: %v\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attr: map[string]string{}}
			for _, a := range token.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			all = append(all, e)
		case xml.CharData:
			if len(all) > 0 {
				all[len(all)-1].text += strings.TrimSpace(string(token))
			}
		}
	}
}

func number(t *testing.T, e element, attr string) float64 {
	t.Helper()
	var v float64
	if _, err := fmt.Sscan(e.attr[attr], &v); err != nil {
		t.Fatalf("%s of %+v: %v", attr, e, err)
	}
	return v
}

func TestBarsAreAsLongAsTheirValues(t *testing.T) {
	t.Parallel()
	b := chart.Bars{Title: "a < b & c", Groups: []chart.Group{{Title: "short", Bars: []chart.Bar{
		{Label: "HAProxy", Value: 0.5, Min: 0.4, Max: 0.6, Limit: 0.95},
		{Label: "nginx", Value: 1, Min: 1, Max: 1},
		{Label: "something that went wrong", Value: 40, Min: 1, Max: 90},
	}}}}
	var lengths []float64
	texts := map[string]bool{}
	for _, e := range elements(t, b.SVG()) {
		texts[e.text] = true
		if e.name == "rect" && e.attr["fill-opacity"] != "" {
			lengths = append(lengths, number(t, e, "width"))
		}
	}
	if len(lengths) != 3 || lengths[1] < 1.99*lengths[0] || lengths[1] > 2.01*lengths[0] {
		t.Errorf("got bars of lengths %v; want the second twice as long as the first", lengths)
	}
	if len(lengths) == 3 && lengths[2] > 700 {
		t.Errorf("a bar is %v long; want it cut off at the edge", lengths[2])
	}
	for _, want := range []string{"a < b & c", "short", "HAProxy", "0.50  (at most 0.95)", "1.00"} {
		if !texts[want] {
			t.Errorf("the picture does not say %q", want)
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	l := chart.Lines{
		Title: "memory", X: "sessions", Show: func(v float64) string { return fmt.Sprintf("%.0f B", v) },
		Series: []chart.Line{
			{Title: "flat", Points: []chart.Point{{1e3, 20, true}, {1e7, 20, true}}},
			{Title: "grows", Points: []chart.Point{{1e3, 20, true}, {1e6, 2e4, true}, {1e7, 2e5, false}}},
		},
	}
	var circles, dashed, hollow int
	texts := map[string]bool{}
	for _, e := range elements(t, l.SVG()) {
		texts[e.text] = true
		if e.attr["stroke-dasharray"] != "" {
			dashed++
		}
		if e.name == "circle" {
			circles++
			if e.attr["fill"] == "#ffffff" {
				hollow++
			}
			if x, y := number(t, e, "cx"), number(t, e, "cy"); x < 90 || x > 560 || y < 68 || y > 328 {
				t.Errorf("a point at %v, %v; want it inside of the axes", x, y)
			}
		}
	}
	if circles != 5 || dashed != 1 || hollow != 1 {
		t.Errorf("got %d points, %d of them hollow, %d dashed lines; want 5, 1 and 1", circles, hollow, dashed)
	}
	for _, want := range []string{"10,000,000", "grows, 200000 B", "flat, 20 B", "sessions"} {
		if !texts[want] {
			t.Errorf("the picture does not say %q", want)
		}
	}
}

// A result in which something is missing still makes a picture.
func TestNothingToDraw(t *testing.T) {
	t.Parallel()
	show := func(v float64) string { return fmt.Sprint(v) }
	elements(t, (&chart.Bars{}).SVG())
	elements(t, (&chart.Lines{Show: show}).SVG())
	elements(t, (&chart.Lines{Show: show, Series: []chart.Line{{Title: "none"}, {Points: []chart.Point{{0, 0, true}, {5, 5, true}}}}}).SVG())
}
