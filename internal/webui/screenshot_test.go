package webui

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintmark/mintmark/internal/control/access"
	"github.com/mintmark/mintmark/test/lab"
)

// shots is the directory that `make screenshots` writes to: without it nothing
// is written, and the pages are looked at all the same.
const shots = "MINTMARK_SCREENSHOTS"

// flaws looks at the page as a person with normal and with poor eyes would: it
// lists what is wider than the window, text that is cut off or covers other
// text, and text whose contrast is below WCAG's AA.
const flaws = `(() => {
	const found = [];
	const width = document.documentElement.clientWidth;
	const name = (e) => e.tagName.toLowerCase() + (e.id ? '#' + e.id : '') + (e.className.baseVal ?? e.className ? '.' + (e.className.baseVal ?? e.className) : '') +
		' "' + (e.textContent || '').trim().slice(0, 40) + '"';
	if (document.documentElement.scrollWidth > width) found.push('the page is ' + document.documentElement.scrollWidth + ' wide, the window ' + width);
	const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
	const rgba = (css) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1); const d = canvas.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255]; };
	const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3])).concat(1);
	const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((m, n) => n - m); return (x + 0.05) / (y + 0.05); };
	const ground = (e) => {
		const layers = [];
		const box = e instanceof SVGElement && e.parentElement.querySelector(':scope > rect');
		if (box) { const c = rgba(getComputedStyle(box).fill); c[3] *= Number(getComputedStyle(box).fillOpacity); layers.push(c); }
		for (let p = e; p; p = p.parentElement) { const c = rgba(getComputedStyle(p).backgroundColor); layers.push(c); if (c[3] === 1) break; }
		return layers.reverse().reduce((under, top) => over(top, under), rgba('white'));
	};
	const boxes = [];
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	for (let n = walker.nextNode(); n; n = walker.nextNode()) {
		const e = n.parentElement;
		if (!n.textContent.trim() || ['TITLE', 'SCRIPT', 'STYLE', 'OPTION', 'TEXTAREA'].includes(e.tagName.toUpperCase())) continue;
		const style = getComputedStyle(e);
		const range = document.createRange(); range.selectNodeContents(n);
		const rects = [...range.getClientRects()].filter((r) => r.width > 1 && r.height > 1);
		if (!rects.length || style.visibility === 'hidden' || e.closest('.hidden, .skip') || e.closest('thead')?.getBoundingClientRect().width <= 1) continue;
		const large = parseFloat(style.fontSize) >= 24 || parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700;
		const back = ground(e);
		const paint = rgba(e instanceof SVGElement ? style.fill : style.color);
		if (e instanceof SVGElement) paint[3] *= Number(style.fillOpacity);
		const ink = over(paint, back);
		const c = contrast(ink, back);
		if (c < (large ? 3 : 4.5)) found.push('contrast ' + c.toFixed(2) + ' of ' + name(e));
		const scroller = e.closest('.scroll');
		const cut = scroller && getComputedStyle(scroller).overflowX === 'auto' && scroller.scrollWidth > scroller.clientWidth;
		for (const r of rects) {
			if (!cut && !(e instanceof SVGElement) && (r.right > width + 1 || r.left < -1)) found.push('off the page: ' + name(e));
			if (!(e instanceof SVGElement)) boxes.push([r, e]);
		}
	}
	for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
		const [a, e] = boxes[i], [b, f] = boxes[j];
		if (e === f) continue;
		const x = Math.min(a.right, b.right) - Math.max(a.left, b.left), y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
		if (x > 3 && y > 5) found.push(name(e) + ' covers ' + name(f));
	}
	for (const e of document.querySelectorAll('.card, .tile, .empty, .note, .command, td, th, dd, dt, li, h1, h2, label')) {
		if (e.scrollWidth > e.clientWidth + 2 && e.clientWidth > 0 && getComputedStyle(e).display !== 'inline' && !e.closest('.hidden') && !(e.closest('thead')?.getBoundingClientRect().width <= 1))
			found.push('spills over: ' + name(e) + ' ' + e.scrollWidth + ' in ' + e.clientWidth);
	}
	for (const e of document.querySelectorAll('input:not([type=hidden]), select, textarea')) if (!e.labels.length) found.push('no label: ' + e.name);
	for (const e of document.querySelectorAll('a, button')) if (!(e.textContent.trim() || e.getAttribute('aria-label'))) found.push('no name: ' + e.outerHTML.slice(0, 80));
	if (document.querySelectorAll('h1').length !== 1) found.push('it has ' + document.querySelectorAll('h1').length + ' main headings');
	return [...new Set(found)].slice(0, 20);
})()`

// A scene is a page to look at.
type scene struct {
	name, path string
	act        func(*lab.Browser) // after it was loaded
}

func scenes() []scene {
	value := "2100c0dec1f0aa317be2205d7f3b0041" + strings.Repeat("5a", 160)
	return []scene{
		{"overview", "/", func(b *lab.Browser) { b.Says(20*time.Second, "Live") }},
		{"spaces", "/spaces/web", nil},
		{"servers", "/servers", nil},
		{"server", "/servers/web/a", nil},
		{"join", "/servers/api/api-3", nil},
		{"drain", "/servers/web/b/drain", nil},
		{"remove", "/servers/web/e/remove", nil},
		{"weight", "/servers/web/e/weight", nil},
		{"pools", "/pools", nil},
		{"new-pool", "/pools/new", nil},
		{"plan", "/pools/new?name=shop&servers=" + "a%2010.0.2.1:443%0Ab%2010.0.2.2:443%20share=2%0Ac%2010.0.2.3:443", func(b *lab.Browser) { b.Press("Show the plan") }},
		{"rollout", "/pools/web", nil},
		{"add-server", "/pools/web/add?server=g%2010.0.0.17:443", func(b *lab.Browser) { b.Press("Show the plan") }},
		{"rotate", "/pools/web/rotate", nil},
		{"explain", "/explain", func(b *lab.Browser) { b.Fill("#value", value); b.Press("Explain") }},
		{"log", "/log", nil},
		{"people", "/people", nil},
		{"account", "/account", nil},
		{"error", "/pools/nothing", nil},
	}
}

// TestPagesLookRight looks at every page, light and dark, wide and narrow, full
// and empty. With MINTMARK_SCREENSHOTS it also writes what it saw.
func TestPagesLookRight(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	b := lab.StartBrowser(t, p.url)
	dir := os.Getenv(shots)
	check := func(name string) {
		t.Helper()
		for _, dark := range []bool{false, true} {
			for _, width := range []int64{1280, 400} {
				b.Look(width, 900, dark)
				for _, flaw := range lab.Eval[[]string](b, flaws) {
					t.Errorf("%s, %d wide, dark %v: %s", name, width, dark, flaw)
				}
				if dir != "" {
					look := map[bool]string{false: "light", true: "dark"}[dark]
					save(t, filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, look, width)), b.Screenshot())
				}
			}
		}
		b.Look(1280, 900, false)
	}
	b.Open("/")
	check("login")
	b.Fill("#token", p.token(access.RoleAdmin, "", "ada"))
	b.Press("Log in")
	b.Fill("#password", "a good long password")
	b.Fill("#again", "a good long password")
	check("first-password")
	b.Press("Set the password")
	for name, path := range map[string]string{"overview": "/", "spaces": "/spaces", "servers": "/servers", "pools": "/pools", "log": "/log"} {
		b.Open(path)
		check("empty-" + name)
	}
	p.furnish()
	b.Open("/")
	spoil(t, b)
	for _, s := range scenes() {
		b.Open(s.path)
		if s.act != nil {
			s.act(b)
		}
		check(s.name)
	}
}

// spoil makes the page bad in several ways, each of which must be found: else
// that nothing is found says nothing.
func spoil(t *testing.T, b *lab.Browser) {
	t.Helper()
	for want, how := range map[string]string{
		"contrast":     "document.querySelector('h1').style.color = 'color-mix(in srgb, currentColor 40%, transparent)'",
		"wide":         "document.querySelector('h1').style.cssText = 'white-space: nowrap; letter-spacing: 300px'",
		"covers":       "document.querySelector('h1').style.cssText = 'position: absolute; top: 105px; left: 270px'",
		"no label":     "document.querySelector('h1').append(document.createElement('input'))",
		"no name":      "document.querySelector('h1').append(document.createElement('button'))",
		"headings":     "document.querySelector('main').append(document.createElement('h1'))",
		"spills over:": "document.querySelector('.cards .card').style.width = '40px'",
	} {
		b.Open("/pools") // which is not live, so that nothing mends it
		lab.Eval[bool](b, how+"; true")
		if found := strings.Join(lab.Eval[[]string](b, flaws), "\n"); !strings.Contains(found, want) {
			t.Errorf("%s: what was found is %q; want %q in it", how, found, want)
		}
	}
}

// save writes a screenshot with at most 256 colours, which is a third of its
// size and looks the same: pages are flat.
func save(t *testing.T, path string, shot []byte) {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[color.RGBA]int)
	bounds := img.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[color.RGBAModel.Convert(img.At(x, y)).(color.RGBA)]++
		}
	}
	var palette color.Palette
	var all []color.RGBA
	for c := range count {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b color.RGBA) int { return count[b] - count[a] })
	for _, c := range all[:min(256, len(all))] {
		palette = append(palette, c)
	}
	flat := image.NewPaletted(bounds, palette)
	draw.Draw(flat, bounds, img, bounds.Min, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, flat); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil { //nolint:gosec // a picture for everybody
		t.Fatal(err)
	}
}
