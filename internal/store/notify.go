package store

import (
	"context"
	"strings"
	"sync"
)

// A bell tells watchers that something changed.
type bell struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
	closed   bool
}

type watcher struct {
	prefix string
	c      chan struct{}
}

// watch returns a channel as Store.Watch describes it.
func (b *bell) watch(ctx context.Context, prefix string) <-chan struct{} {
	w := &watcher{prefix: prefix, c: make(chan struct{}, 1)}
	w.c <- struct{}{}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		close(w.c)
		return w.c
	}
	if b.watchers == nil {
		b.watchers = make(map[*watcher]struct{})
	}
	b.watchers[w] = struct{}{}
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.end(w)
	})
	return w.c
}

// end closes the channel of w, once. b.mu is held.
func (b *bell) end(w *watcher) {
	if _, ok := b.watchers[w]; ok {
		delete(b.watchers, w)
		close(w.c)
	}
}

// ring leaves a token with everybody who watches one of keys.
func (b *bell) ring(keys ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.watchers {
		for _, k := range keys {
			if strings.HasPrefix(k, w.prefix) {
				select {
				case w.c <- struct{}{}:
				default: // a token waits already
				}
				break
			}
		}
	}
}

// ringAll leaves a token with everybody.
func (b *bell) ringAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.watchers {
		select {
		case w.c <- struct{}{}:
		default:
		}
	}
}

func (b *bell) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for w := range b.watchers {
		b.end(w)
	}
}
