package adapter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// workers follows the processes of a server whose first process starts others:
// at a reload new ones come, and those before end when their connections have.
type workers struct {
	pidFile string
	before  []int // that have older keys
}

// remember notes the workers that are there now: after a reload they are old.
func (w *workers) remember() error {
	now, err := w.now()
	if err != nil {
		return err
	}
	w.before = append(w.before, now...)
	return nil
}

// gone reports whether all that were remembered have ended.
func (w *workers) gone() (bool, error) {
	var left []int
	for _, pid := range w.before {
		// A process that is waited for by nobody is a zombie: it holds no keys.
		if state := stateOf(pid); state != 0 && state != 'Z' && state != 'X' {
			left = append(left, pid)
		}
	}
	w.before = left
	return len(left) == 0, nil
}

// now returns the children of the first process; none if it does not run.
func (w *workers) now() ([]int, error) {
	text, err := os.ReadFile(w.pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // not started yet
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the server's processes: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(string(text), "\n", 2)[0]))
	if err != nil {
		return nil, fmt.Errorf("looking for the server's processes: %s holds no process ID", w.pidFile)
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	var all []int
	for _, t := range tasks {
		text, err := os.ReadFile(t)
		if err != nil {
			continue // the thread has ended
		}
		for word := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(all, child)
			}
		}
	}
	return all, nil
}

// stateOf returns the state of a process as proc(5) has it; 0: there is none.
func stateOf(pid int) byte {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name of the program, in parentheses, may hold anything.
	_, rest, ok := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	if !ok || rest == "" {
		return 0
	}
	return rest[0]
}
