package lab

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// browserLimit bounds what a test does with one browser. It is generous: the
// machine runs other tests as well.
const browserLimit = 4 * time.Minute

// A Browser is a Chromium with one page, that shows it to nobody.
type Browser struct {
	tb  testing.TB
	ctx context.Context //nolint:containedctx // it is the page, by chromedp's design
	URL string
}

// StartBrowser runs a Chromium as Debian ships it, with a profile of its own,
// until the test ends. It takes certificates of any authority. Paths that its
// methods are given are of the site at url.
func StartBrowser(tb testing.TB, url string) *Browser {
	tb.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(program(tb, "chromium")), chromedp.UserDataDir(tb.TempDir()),
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless, chromedp.DisableGPU, chromedp.NoSandbox,
		chromedp.WSURLReadTimeout(startLimit),
	}
	for _, flag := range []string{
		"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "ignore-certificate-errors",
		"disable-dev-shm-usage", "disable-extensions", "hide-scrollbars", "mute-audio", "no-proxy-server",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, cancel := context.WithTimeout(context.Background(), browserLimit)
	tb.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	tb.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(tb.Logf))
	tb.Cleanup(func() {
		cancel()
		chromedp.FromContext(ctx).Allocator.Wait() // the profile is a directory of the test
	})
	b := &Browser{tb: tb, ctx: ctx, URL: url}
	b.Do(chromedp.EmulateViewport(1280, 900), func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		// As if somebody sat before it: else nothing takes the focus.
		_, err := cdp.Call(ctx, t, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return chromedp.Void{}, err
	})
	return b
}

// Do runs actions of chromedp.
func (b *Browser) Do(actions ...chromedp.Action[chromedp.Void]) {
	b.tb.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.tb.Fatalf("lab: the browser: %v", err)
	}
}

// Open loads a page of the site.
func (b *Browser) Open(path string) {
	b.tb.Helper()
	b.Do(chromedp.Navigate(b.URL + path))
}

// Look sets the size of the window and whether dark colours are preferred.
func (b *Browser) Look(width, height int64, dark bool) {
	b.tb.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.Do(
		chromedp.EmulateViewport(width, height),
		func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
			_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
				{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
			}})
			return chromedp.Void{}, err
		},
	)
}

// Fill writes into the field that a CSS selector finds.
func (b *Browser) Fill(selector, text string) {
	b.tb.Helper()
	b.Do(chromedp.SetValue(chromedp.CSS(selector), text))
}

// Press presses the button or link with that text, and waits for the page that
// it leads to.
func (b *Browser) Press(text string) {
	b.tb.Helper()
	before := Eval[float64](b, "performance.timeOrigin")
	found := Eval[bool](b, fmt.Sprintf(`(() => {
		const all = [...document.querySelectorAll('main button, main a'), ...document.querySelectorAll('nav a')];
		const hit = all.find((e) => e.textContent.trim() === %q);
		if (hit) setTimeout(() => hit.click(), 0);
		return Boolean(hit);
	})()`, text))
	if !found {
		b.tb.Fatalf("lab: no button or link says %q; the page says\n%s", text, b.Text())
	}
	Eventually(b.tb, startLimit, "a new page after pressing "+text, func() bool {
		now, err := chromedp.Run(b.ctx, chromedp.Evaluate[float64](`document.readyState === 'complete' ? performance.timeOrigin : 0`))
		return err == nil && now != 0 && now != before
	})
}

// Eval returns what JavaScript evaluates to on the page.
func Eval[T any](b *Browser, script string) T {
	b.tb.Helper()
	result, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		b.tb.Fatalf("lab: the browser: evaluating %.200s: %v", script, err)
	}
	return result
}

// Text returns what the page says.
func (b *Browser) Text() string {
	b.tb.Helper()
	return Eval[string](b, "document.body.innerText")
}

// TextOf returns what the element that a CSS selector finds says, "" if there
// is none.
func (b *Browser) TextOf(selector string) string {
	b.tb.Helper()
	return Eval[string](b, fmt.Sprintf("(e => e?.innerText ?? e?.textContent ?? '')(document.querySelector(%q))", selector))
}

// Says waits until the page says all of texts, whatever space is between their
// words, without loading it again.
func (b *Browser) Says(limit time.Duration, texts ...string) {
	b.tb.Helper()
	var text string
	defer func() {
		if b.tb.Failed() {
			b.tb.Logf("the page says\n%s", text)
		}
	}()
	for _, want := range texts {
		Eventually(b.tb, limit, fmt.Sprintf("the page says %q", want), func() bool {
			text = b.Text()
			return strings.Contains(words(text), words(want))
		})
	}
}

func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// Screenshot returns the whole page as a PNG.
func (b *Browser) Screenshot() []byte {
	b.tb.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.tb.Fatalf("lab: the browser: %v", err)
	}
	return png
}
