package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A Memory is what the processes of a product occupy, in bytes.
type Memory struct {
	// Peak is the sum of the processes' highest resident set sizes (VmHWM).
	// Pages that they share count in each.
	Peak int64
	// Share is what is theirs now, with a page that n processes share counted
	// as 1/n to each (PSS).
	Share int64
}

// tree returns pid and its descendants.
func tree(pid int) ([]int, error) {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, name := range names {
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			continue
		}
		fields, err := stat(id)
		if err != nil {
			continue // it has just ended
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			continue
		}
		children[parent] = append(children[parent], id)
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}

// stat returns the fields of /proc/PID/stat from the state on: the name before
// it may have spaces. The parent is the second, user and system time are the
// twelfth and the thirteenth (proc_pid_stat(5)).
func stat(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	const want = 13
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < want {
		return nil, fmt.Errorf("reading the state of process %d: it has %d fields", pid, len(fields))
	}
	return fields, nil
}

// memory reads what a process occupies.
func memory(pid int) (Memory, error) {
	peak, err := kilobytes(fmt.Sprintf("/proc/%d/status", pid), "VmHWM:")
	if err != nil {
		return Memory{}, err
	}
	share, err := kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
	return Memory{Peak: peak, Share: share}, err
}

// kilobytes returns, in bytes, the value of a line `key   123 kB`.
func kilobytes(file, key string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == key {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("reading %s: it has no %s", file, key)
}
