// Package chart draws the two sorts of picture that bench needs, as SVG: bars
// with their spread, and lines over several powers of ten.
//
// The pictures stand by themselves on any background, need no font and no
// script, and are the same bytes for the same numbers.
package chart

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The look of all charts, in pixels.
const (
	width      = 760
	margin     = 16
	titleSize  = 16
	textSize   = 12
	lineHeight = 18
	headHeight = 68
)

// palette returns the colour of the i-th series: ones that also people who do
// not see red and green tell apart (Okabe and Ito's).
func palette(i int) string {
	colours := []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}
	return colours[i%len(colours)]
}

// A canvas collects the elements of a picture.
type canvas struct {
	strings.Builder
}

// begin writes the head of a picture: what it shows, for those who see it and
// for those who have it read to them.
func (c *canvas) begin(height int, title, subtitle string) {
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" font-family="system-ui, sans-serif" font-size="%d">`+"\n",
		width, height, width, height, textSize)
	fmt.Fprintf(c, "<title>%s</title>\n", html.EscapeString(title))
	fmt.Fprintf(c, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	fmt.Fprintf(c, `<text x="%d" y="%d" font-size="%d" font-weight="600" fill="#1f2328">%s</text>`+"\n", margin, margin+titleSize, titleSize, html.EscapeString(title))
	c.text(margin, margin+titleSize+lineHeight, "start", "#59636e", subtitle)
}

func (c *canvas) end() string {
	c.WriteString("</svg>\n")
	return c.String()
}

func (c *canvas) text(x, y float64, anchor, colour, s string) {
	fmt.Fprintf(c, `<text x="%s" y="%s" text-anchor="%s" fill="%s">%s</text>`+"\n", px(x), px(y), anchor, colour, html.EscapeString(s))
}

func (c *canvas) line(x1, y1, x2, y2 float64, colour, more string) {
	fmt.Fprintf(c, `<line x1="%s" y1="%s" x2="%s" y2="%s" stroke="%s"%s/>`+"\n", px(x1), px(y1), px(x2), px(y2), colour, more)
}

// px writes a coordinate, to a tenth of a pixel. What cannot be drawn is drawn
// at 0: a picture with a wrong bar is better than none.
func px(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
}
