package process

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// processTime returns the processor time that a process has used, all its
// threads together. It is what utime and stime in /proc/PID/stat add up to,
// but in nanoseconds: a hundredth of a second would be a percent of a
// measurement.
func processTime(pid int) (time.Duration, error) {
	// The clock of another process (clock_getcpuclockid(3)): the complement of
	// its ID, and 2 for the scheduler's count.
	const scheduler = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|scheduler, &t); err != nil {
		return 0, fmt.Errorf("reading the processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// Descriptors returns how many files a process may open.
func Descriptors() (uint64, error) {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 0, fmt.Errorf("reading the limit of descriptors: %w", err)
	}
	return l.Max, nil
}

// ownGroup puts a process into a group of its own, and has the kernel end it
// when this program is killed.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// killGroup ends a process and those it started.
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
