package daemon

import (
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// notify tells systemd about a change of state (sd_notify(3)). Without
// NOTIFY_SOCKET it does nothing; a lost notification is not worth a failure.
func notify(state string) { _, _ = sd.SdNotify(false, state) }

// notifyReloading announces a reload. systemd wants the time on its own clock
// so that it can tell this reload's READY=1 from an earlier one.
func notifyReloading() {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return
	}
	notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", ts.Nano()/1000))
}

// inheritSockets takes the sockets that systemd passed. The environment
// variables are removed, so that no child takes them for its own.
func inheritSockets() (inherited, error) {
	var in inherited
	byName, err := activation.ListenersWithNames()
	if err != nil {
		return in, fmt.Errorf("taking the sockets that systemd passed: %w", err)
	}
	for name, listeners := range byName {
		for _, ln := range listeners {
			if ln != nil { // a datagram socket: not ours to accept from
				in.listeners = append(in.listeners, inheritedListener{name: name, ln: ln})
			}
		}
	}
	return in, nil
}

// startWatchdog answers systemd's watchdog at half its interval, if the unit
// asks for one. The returned function stops it and waits for its end.
func startWatchdog() (stop func()) {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return func() {}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(interval / 2)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				notify("WATCHDOG=1")
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}
