package webui

import (
	"math"
	"strconv"
)

// A chart is a stacked area over time: SVG paths in a box of chartWidth by
// chartHeight, which the page stretches to its width.
type chart struct {
	Areas []area
	Top   string // the value at the upper edge
	Half  string
	Empty bool
	Span  string // how much time it shows
}

// An area is one layer.
type area struct {
	Class string
	Path  string
}

// The box of charts. All of the time that is kept fits in.
const (
	chartWidth  = keepSamples / 2
	chartHeight = 100
)

// drawFlow draws the rates of a flow, stacked by how messages were routed. The
// right edge is now.
func drawFlow(points [][numRoutedBy]float32) chart {
	c := chart{Span: "5 min"}
	most := 0.0
	for i := range points {
		sum := 0.0
		for _, v := range points[i] {
			sum += float64(v)
		}
		most = max(most, sum)
	}
	c.Empty = most == 0
	top := niceTop(most)
	c.Top, c.Half = number(top), number(top/2)
	if c.Empty {
		return c
	}
	below := make([]float64, len(points))
	for by := range numRoutedBy {
		layer := make([]float64, len(points))
		some := false
		for i := range points {
			some = some || points[i][by] > 0
			layer[i] = below[i] + float64(points[i][by])
		}
		if some {
			c.Areas = append(c.Areas, area{by.String(), areaPath(below, layer, top)})
		}
		below = layer
	}
	return c
}

// areaPath is the path between two lines.
func areaPath(low, high []float64, top float64) string {
	n := len(high)
	b := make([]byte, 0, 24*n)
	at := func(i int, v float64) {
		b = strconv.AppendInt(b, int64(chartWidth-n+i), 10)
		b = append(b, ' ')
		b = strconv.AppendFloat(b, chartHeight*(1-v/top), 'f', 1, 64)
	}
	for i := range n {
		b = append(b, "ML"[min(i, 1)])
		at(i, high[i])
	}
	for i := n - 1; i >= 0; i-- {
		b = append(b, 'L')
		at(i, low[i])
	}
	return string(append(b, 'Z'))
}

// linePath is the path of a line of values from 0 to 1; gaps are below 0.
func linePath(values []float64) string {
	b := make([]byte, 0, 12*len(values))
	pen := byte('M')
	for i, v := range values {
		if v < 0 {
			pen = 'M'
			continue
		}
		b = append(b, pen)
		b = strconv.AppendInt(b, int64(chartWidth-len(values)+i), 10)
		b = append(b, ' ')
		b = strconv.AppendFloat(b, 2+(chartHeight-4)*(1-min(v, 1)), 'f', 1, 64)
		pen = 'L'
	}
	return string(b)
}

// A rateChart shows the resumption rate beside that of round robin.
type rateChart struct {
	Home, Chance string // paths
	Now          rate
	Known        bool
}

func drawRates(all []rate, now rate) rateChart {
	home, chance := make([]float64, len(all)), make([]float64, len(all))
	for i, r := range all {
		home[i], chance[i] = r.Home, r.Chance
	}
	return rateChart{Home: linePath(home), Chance: linePath(chance), Now: now, Known: now.Home >= 0}
}

// niceTop is the least of 1, 2, 5, 10, 20, ... that is not below v.
func niceTop(v float64) float64 {
	if v <= 1 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*unit >= v {
			return m * unit
		}
	}
	return 10 * unit
}

// A strip is the health of a server over the last minutes, as parts of a bar.
type strip struct{ Parts []stripPart }

type stripPart struct {
	Class    string
	X, Width string // percent
}
