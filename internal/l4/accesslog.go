package l4

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// maxPendingLog is how many bytes of lines wait for the disk, some ten
// thousand connections' worth. What comes beyond is dropped and counted: a
// disk that hangs must not hang traffic, nor fill the memory.
const maxPendingLog = 4 << 20

// ErrLogFull is what Write returns for a line that was dropped because the
// disk does not keep up.
var ErrLogFull = errors.New("access log: the disk does not keep up")

// An AccessLog appends lines to a file without ever making their writers wait
// for the disk: they are gathered in memory, and a goroutine of its own writes
// them. It is safe for concurrent use.
type AccessLog struct {
	path, format string
	done         chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	wake    sync.Cond // there is something for the goroutine to do
	pending []byte    // lines that nobody is writing yet
	next    *os.File  // to be used from the next write on; nil: no change
	closed  bool
	err     error // the last error of writing

	// Owned by the goroutine.
	file *os.File
}

// Formats of lines.
const (
	FormatText = "text"
	FormatJSON = "json"
)

// OpenAccessLog opens the file at path for appending, and makes it if needed.
// format is FormatText or FormatJSON, and "" means text. It starts a
// goroutine, which Close ends.
func OpenAccessLog(path, format string) (*AccessLog, error) {
	switch format {
	case "":
		format = FormatText
	case FormatText, FormatJSON:
	default:
		return nil, fmt.Errorf("opening access log %s: format %q is unknown; write %q or %q", path, format, FormatText, FormatJSON)
	}
	f, err := openLog(path)
	if err != nil {
		return nil, err // it names the path
	}
	return newAccessLog(path, format, f), nil
}

func newAccessLog(path, format string, f *os.File) *AccessLog {
	l := &AccessLog{path: path, format: format, file: f, done: make(chan struct{})}
	l.wake.L = &l.mu
	go l.writeLines()
	return l
}

func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
}

// Is reports whether l is what OpenAccessLog(path, format) would open.
func (l *AccessLog) Is(path, format string) bool {
	if format == "" {
		format = FormatText
	}
	return l.path == path && l.format == format
}

// JSON reports whether lines are to be JSON objects.
func (l *AccessLog) JSON() bool { return l.format == FormatJSON }

// Write takes one line or several, whole. It does not wait: it returns
// ErrLogFull when too much is waiting to be written, and os.ErrClosed after
// Close. When lines taken earlier could not be written, one Write is refused
// with the reason.
func (l *AccessLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return 0, os.ErrClosed
	case len(l.pending)+len(p) > maxPendingLog:
		return 0, ErrLogFull
	case l.err != nil:
		err := l.err
		l.err = nil
		return 0, err
	}
	if len(l.pending) == 0 {
		l.wake.Signal()
	}
	l.pending = append(l.pending, p...)
	return len(p), nil
}

// Reopen opens the file anew, for logrotate has moved the old one. Lines that
// were taken before go into the old file. On an error the old one stays.
func (l *AccessLog) Reopen() error {
	f, err := openLog(l.path)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		_ = f.Close() // nothing was written
		return os.ErrClosed
	}
	if l.next != nil {
		_ = l.next.Close() // it was never used
	}
	l.next = f
	l.wake.Signal()
	return nil
}

// Close writes what was taken and closes the file. It returns an error of
// writing that no Write has returned.
func (l *AccessLog) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		<-l.done
		return os.ErrClosed
	}
	l.closed = true
	l.wake.Signal()
	l.mu.Unlock()
	<-l.done
	return l.err
}

// writeLines is the goroutine. While it writes one buffer, writers fill
// another.
func (l *AccessLog) writeLines() {
	defer close(l.done)
	var spare []byte
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(l.pending) == 0 && l.next == nil && !l.closed {
			l.wake.Wait()
		}
		lines, next, closed := l.pending, l.next, l.closed
		l.pending, l.next = spare[:0], nil
		l.mu.Unlock()
		err := l.writeOut(lines, next, closed)
		spare = lines
		l.mu.Lock()
		if err != nil {
			l.err = err
		}
		if closed {
			return
		}
	}
}

// writeOut writes lines, and then changes to the next file, if there is one.
func (l *AccessLog) writeOut(lines []byte, next *os.File, last bool) error {
	var err error
	if len(lines) > 0 {
		_, err = l.file.Write(lines)
	}
	if next != nil {
		err = errors.Join(err, l.file.Close())
		l.file = next
	}
	if last {
		err = errors.Join(err, l.file.Close())
	}
	return err
}
