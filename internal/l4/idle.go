package l4

import "time"

// An idleWatch ends a connection when nothing moves for the idle timeout. It
// looks four times in that period whether anything has, so that moving bytes
// costs nothing but the addition that counts them: no clock is read and no
// deadline is set.
type idleWatch struct {
	conn  *conn
	timer *time.Timer // nil: no timeout

	// Owned by the timer's function, which never runs twice at once.
	seen  progress
	since time.Time // when seen was new
}

// progress is what changes when a byte moves: what the flows have handed to
// the kernel, and what the kernel has not yet brought to the peers. A reader
// that is slow enough takes only from the latter for a long time.
type progress struct {
	moved              int64
	toClient, toServer int
}

func (c *conn) progress() progress {
	return progress{
		moved:    c.up.moved.Load() + c.down.moved.Load(),
		toClient: c.from.queued(),
		toServer: c.to.queued(),
	}
}

// never is a time to wait that does not end.
const never = time.Duration(1<<63 - 1)

// watch begins to watch c.
func (w *idleWatch) watch(c *conn) {
	if c.settings.IdleTimeout <= 0 {
		return
	}
	w.conn, w.since = c, time.Now()
	w.timer = time.AfterFunc(never, w.look)
	w.timer.Reset(w.step()) // only now, when look can see w.timer
}

func (w *idleWatch) step() time.Duration {
	return max(w.conn.settings.IdleTimeout/4, time.Millisecond)
}

func (w *idleWatch) look() {
	c, now := w.conn, time.Now()
	if p := c.progress(); p != w.seen {
		w.seen, w.since = p, now
	} else if now.Sub(w.since) >= c.settings.IdleTimeout {
		c.abort(endIdle)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.cut {
		w.timer.Reset(w.step())
	}
}

// stop ends the watch. A look that is under way finds the connection closed.
func (w *idleWatch) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}
