package main

// What the program says to people, and where:
//
//   - Standard output is the result of the command. Everything else goes to
//     standard error.
//   - An error is one line, "mintmark: error: ...". What to do about it
//     follows on a line of its own, "mintmark: hint: ...".
//   - The exit status is 0 when the command did what it was asked, 1 when it
//     failed, 2 when it was asked wrongly: unknown command or flag, missing
//     operand, or a configuration file with problems.

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"syscall"
)

// The exit statuses.
const (
	statusOK    = 0
	statusError = 1
	statusUsage = 2
)

// A usageError is a command line that cannot be run.
type usageError struct {
	command string // whose help the hint names; dispatch fills it in
	reason  string
}

func (e *usageError) Error() string { return e.reason }

func usagef(format string, args ...any) error {
	return &usageError{reason: fmt.Sprintf(format, args...)}
}

// A hintError is a failure with advice.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

// withHint adds to err what a person can do about it.
func withHint(err error, format string, args ...any) error {
	return &hintError{err: err, hint: fmt.Sprintf(format, args...)}
}

// An exitError ends the program with a status and says nothing more: whoever
// returns it has already told the person why.
type exitError int

func (e exitError) Error() string { return "exit status " + strconv.Itoa(int(e)) }

// exitStatus tells the person about err and returns the status for it.
func exitStatus(e *env, err error) int {
	if err == nil {
		return statusOK
	}
	if x, ok := errors.AsType[exitError](err); ok {
		return int(x)
	}
	fmt.Fprintf(e.stderr, "mintmark: error: %v\n", err)
	if u, ok := errors.AsType[*usageError](err); ok {
		if u.command == "" {
			fmt.Fprintln(e.stderr, "mintmark: hint: run `mintmark help` for the list of commands")
		} else {
			fmt.Fprintf(e.stderr, "mintmark: hint: run `mintmark help %s`\n", u.command)
		}
		return statusUsage
	}
	if h, ok := errors.AsType[*hintError](err); ok {
		fmt.Fprintf(e.stderr, "mintmark: hint: %s\n", h.hint)
	} else if hint := systemHint(err); hint != "" {
		fmt.Fprintf(e.stderr, "mintmark: hint: %s\n", hint)
	}
	return statusError
}

// systemHint says what to do about an error of the operating system.
func systemHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another process has this address: `ss -ltnp` shows which; end it, or write another address"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "no interface of this machine has this address: `ip addr` shows those there are"
	case errors.Is(err, fs.ErrNotExist):
		return "is the path right? Make what is missing, or write another path"
	case errors.Is(err, fs.ErrPermission):
		return "this user may not do that: give it the right, or be another user; for ports below 1024 see docs/guides/systemd.md"
	}
	return ""
}
