package chart

import (
	"fmt"
	"slices"
)

// Bars is a chart of ratios, in groups: bars that end left of 1 are good.
type Bars struct {
	Title, Subtitle string
	Groups          []Group
}

// A Group is bars that belong together.
type Group struct {
	Title string
	Bars  []Bar
}

// A Bar is one ratio, with its spread.
type Bar struct {
	Label           string
	Value, Min, Max float64
	// Limit is what the value must not exceed; 0 is none.
	Limit float64
}

const (
	labelWidth = 190 // for the names of bars
	valueWidth = 150 // for their numbers
	barHeight  = 12
	// longest is where a bar is cut off, so that a single bad one does not make
	// all others too small to see.
	longest = 2.5
)

// SVG draws the chart.
func (b *Bars) SVG() string {
	most, rows := 1.2, 0
	var names []string
	for _, g := range b.Groups {
		rows += len(g.Bars) + 2
		for _, bar := range g.Bars {
			most = max(most, min(bar.Max, longest))
			if !slices.Contains(names, bar.Label) {
				names = append(names, bar.Label)
			}
		}
	}
	var c canvas
	height := headHeight + (rows+1)*lineHeight + margin
	c.begin(height, b.Title, b.Subtitle)
	x := func(ratio float64) float64 {
		return labelWidth + min(ratio, most)/most*(width-labelWidth-valueWidth)
	}
	top, bottom := float64(headHeight), float64(height-margin-lineHeight)
	for tick := 0.0; tick <= most; tick += 0.25 {
		c.line(x(tick), top, x(tick), bottom, "#eaeef2", "")
		if int(tick*4)%2 == 0 {
			c.text(x(tick), bottom+lineHeight, "middle", "#59636e", fmt.Sprintf("%.1f", tick))
		}
	}
	y := top
	for _, g := range b.Groups {
		y += lineHeight
		c.text(margin, y, "start", "#1f2328", g.Title)
		for _, bar := range g.Bars {
			y += lineHeight
			c.bar(&bar, y, x, palette(slices.Index(names, bar.Label)))
		}
		y += lineHeight
	}
	c.line(x(1), top, x(1), bottom, "#1f2328", ` stroke-width="1.5"`)
	return c.end()
}

// bar draws one bar whose text stands on the line y.
func (c *canvas) bar(b *Bar, y float64, x func(float64) float64, colour string) {
	const lift = 10 // from the foot of the text to the top of the bar
	middle := y - lift + barHeight/2.0
	c.text(labelWidth-8, y, "end", "#1f2328", b.Label)
	fmt.Fprintf(c, `<rect x="%s" y="%s" width="%s" height="%d" fill="%s" fill-opacity="0.8"/>`+"\n",
		px(x(0)), px(y-lift), px(x(b.Value)-x(0)), barHeight, colour)
	c.line(x(b.Min), middle, x(b.Max), middle, "#1f2328", "")
	for _, end := range []float64{b.Min, b.Max} {
		c.line(x(end), middle-3, x(end), middle+3, "#1f2328", "")
	}
	note := fmt.Sprintf("%.2f", b.Value)
	if b.Limit > 0 {
		c.line(x(b.Limit), y-lift-2, x(b.Limit), y-lift+barHeight+2, "#cf222e", ` stroke-width="2"`)
		note += fmt.Sprintf("  (at most %.2f)", b.Limit)
	}
	c.text(width-valueWidth+margin, y, "start", "#1f2328", note)
}
