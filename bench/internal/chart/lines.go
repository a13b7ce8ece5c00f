package chart

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Lines is a chart of lines with logarithmic axes.
type Lines struct {
	Title, Subtitle string
	// X names the horizontal axis. Show writes a value of the vertical one.
	X      string
	Show   func(float64) string
	Series []Line
}

// A Line is one series of a chart. Values that are not positive cannot be
// drawn, and are not.
type Line struct {
	Title  string
	Points []Point
}

// A Point is one of a line. The line to a point that was not measured is
// dashed.
type Point struct {
	X, Y     float64
	Measured bool
}

const (
	plotLeft   = 90
	plotRight  = 200 // for the names of lines
	plotHeight = 260
	plotFoot   = 48
)

// SVG draws the chart.
func (l *Lines) SVG() string {
	var c canvas
	c.begin(headHeight+plotHeight+plotFoot, l.Title, l.Subtitle)
	x0, x1, y0, y1 := l.decades()
	x := func(v float64) float64 {
		return plotLeft + (math.Log10(v)-x0)/(x1-x0)*(width-plotLeft-plotRight)
	}
	y := func(v float64) float64 {
		return headHeight + plotHeight - (math.Log10(v)-y0)/(y1-y0)*plotHeight
	}
	const grid, words = "#eaeef2", "#59636e"
	for d := x0; d <= x1; d++ {
		v := math.Pow(10, d)
		c.line(x(v), headHeight, x(v), headHeight+plotHeight, grid, "")
		c.text(x(v), headHeight+plotHeight+lineHeight, "middle", words, thousands(v))
	}
	for d := y0; d <= y1; d++ {
		v := math.Pow(10, d)
		c.line(plotLeft, y(v), width-plotRight, y(v), grid, "")
		c.text(plotLeft-8, y(v)+4, "end", words, l.Show(v))
	}
	c.text(float64(plotLeft+width-plotRight)/2, headHeight+plotHeight+2*lineHeight, "middle", words, l.X)
	lowest := math.Inf(-1) // names do not write over each other
	for _, i := range l.byHeight() {
		c.series(&l.Series[i], x, y, palette(i))
		if n := len(l.Series[i].Points); n > 0 {
			last := l.Series[i].Points[n-1]
			at := max(y(last.Y)+4, lowest+lineHeight)
			lowest = at
			c.text(width-plotRight+10, at, "start", palette(i), l.Series[i].Title+", "+l.Show(last.Y))
		}
	}
	return c.end()
}

func (c *canvas) series(s *Line, x, y func(float64) float64, colour string) {
	for i, p := range s.Points {
		if p.X <= 0 || p.Y <= 0 {
			continue
		}
		dash, fill := "", colour
		if !p.Measured {
			dash, fill = ` stroke-dasharray="5 4"`, "#ffffff"
		}
		if i > 0 && s.Points[i-1].Y > 0 {
			c.line(x(s.Points[i-1].X), y(s.Points[i-1].Y), x(p.X), y(p.Y), colour, ` stroke-width="2"`+dash)
		}
		fmt.Fprintf(c, `<circle cx="%s" cy="%s" r="3.5" fill="%s" stroke="%s"/>`+"\n", px(x(p.X)), px(y(p.Y)), fill, colour)
	}
}

// decades returns the powers of ten between which all points lie.
func (l *Lines) decades() (x0, x1, y0, y1 float64) {
	x0, y0 = math.Inf(1), math.Inf(1)
	x1, y1 = math.Inf(-1), math.Inf(-1)
	for _, s := range l.Series {
		for _, p := range s.Points {
			if p.X <= 0 || p.Y <= 0 {
				continue
			}
			x0, x1 = min(x0, math.Floor(math.Log10(p.X))), max(x1, math.Ceil(math.Log10(p.X)))
			y0, y1 = min(y0, math.Floor(math.Log10(p.Y))), max(y1, math.Ceil(math.Log10(p.Y)))
		}
	}
	if x0 > x1 { // nothing to draw
		return 0, 1, 0, 1
	}
	return x0, max(x1, x0+1), y0, max(y1, y0+1)
}

// byHeight returns the series, the one that ends highest first.
func (l *Lines) byHeight() []int {
	end := func(i int) float64 {
		if n := len(l.Series[i].Points); n > 0 {
			return l.Series[i].Points[n-1].Y
		}
		return 0
	}
	order := make([]int, len(l.Series))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(end(b), end(a)) })
	return order
}

// thousands writes a power of ten as people do.
func thousands(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	if v < 1 {
		return fmt.Sprint(v)
	}
	var parts []string
	const group = 3
	for len(digits) > group {
		parts = append([]string{digits[len(digits)-group:]}, parts...)
		digits = digits[:len(digits)-group]
	}
	return strings.Join(append([]string{digits}, parts...), ",")
}
