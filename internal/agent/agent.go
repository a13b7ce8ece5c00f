// Package agent is the small process beside a server that gives it its part of
// the space of session IDs: it receives the server's assignment from the
// control plane, makes ticket keys, has an adapter put them into the server's
// own configuration, looks on the wire whether the server mints what it should,
// and reports.
//
// Ticket keys are made here and stay here, but for those of a group, which
// travel sealed to its members. The server never depends on the agent or on
// the control plane: what it has, it keeps. A restart of the agent changes
// nothing, because keys and the last assignment are on disk.
package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	mintmarkv1 "github.com/mintmark/mintmark/api/mintmark/v1"
	"github.com/mintmark/mintmark/internal/agent/adapter"
	"github.com/mintmark/mintmark/internal/probe"
)

// A Source is the control plane, as one agent talks to it.
type Source interface {
	// Watch sends the assignment that is in force and each later one. It
	// returns when ctx ends, send fails, or the source is lost.
	Watch(ctx context.Context, r *mintmarkv1.WatchAssignmentsRequest, send func(*mintmarkv1.Assignment) error) error
	// Report says what the server does.
	Report(ctx context.Context, r *mintmarkv1.ReportRequest) error
}

// Config is what an Agent is made of.
type Config struct {
	// Source is the control plane. Required.
	Source Source
	// Adapter configures the server. Required.
	Adapter adapter.Adapter
	// State is the directory that keeps the keys and the last assignment. It
	// is made with mode 0700.
	State string
	// Dial opens a connection to the server as its clients do, to see what it
	// mints; nil: nobody looks, and what the adapter did is believed.
	Dial func(ctx context.Context) (net.Conn, error)
	// SNI is the name to ask for then.
	SNI string
	// Capacity is how much new traffic the server can take; nil: not said.
	Capacity *uint32
	// Logger receives what happens; nil discards it.
	Logger *slog.Logger
}

// An Agent is one. Run may be called once.
type Agent struct {
	cfg  Config
	log  *slog.Logger
	keys *keyring

	mu     sync.Mutex
	latest *mintmarkv1.Assignment
	fresh  chan struct{} // capacity 1: latest has changed

	// What follows belongs to Run's goroutine.
	applied *work // nil: nothing yet
	held    []adapter.Key
	problem string // as it was reported last
	// installedAt is when the server was last given other keys, or the same
	// ones again because the wire showed that it had not taken them.
	installedAt time.Time
	again       bool // it is to be given them again
	minted      []uint32
	sent        *mintmarkv1.ReportRequest
	sentAt      time.Time
}

// The files in the state directory.
const (
	fileKeyring    = "keyring.json"
	fileAssignment = "assignment"
)

// New returns an Agent, with what it had before its restart.
func New(c Config) (*Agent, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return nil, fmt.Errorf("making the state directory: %w", err)
	}
	keys, err := openKeyring(filepath.Join(c.State, fileKeyring))
	if err != nil {
		return nil, err
	}
	a := &Agent{cfg: c, log: c.Logger, keys: keys, fresh: make(chan struct{}, 1)}
	doc, err := os.ReadFile(filepath.Join(c.State, fileAssignment))
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	last := new(mintmarkv1.Assignment)
	if err == nil {
		err = proto.Unmarshal(doc, last)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the last assignment: %w", err)
	}
	a.assign(last)
	return a, nil
}

// assign makes m the assignment to work on.
func (a *Agent) assign(m *mintmarkv1.Assignment) {
	a.mu.Lock()
	a.latest = m
	a.mu.Unlock()
	select {
	case a.fresh <- struct{}{}:
	default:
	}
}

// How often things are looked at.
const (
	// retryInterval is after something failed, or is not done yet.
	retryInterval = 2 * time.Second
	// verifyInterval is how often the wire is looked at when all is well.
	verifyInterval = time.Minute
	// reportInterval is how often a report is sent that says nothing new.
	reportInterval = 2 * time.Minute
	// callTimeout bounds a report.
	callTimeout = 15 * time.Second
	// verifyTimeout bounds a look at the wire.
	verifyTimeout = 10 * time.Second
	// settleTime is how long a server may take to mint with new keys, until
	// that counts as a problem; it is looked at every settlePause.
	settleTime  = 5 * time.Second
	settlePause = 100 * time.Millisecond
	// againInterval is how often a server that mints something else is told to
	// take its keys: each time, it starts other processes.
	againInterval = 10 * time.Second
)

// Run works until ctx ends. It returns nil then.
func (a *Agent) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { a.watch(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.fresh:
		case <-timer.C:
		}
		timer.Reset(a.step(ctx))
	}
}

// watch takes assignments until ctx ends.
func (a *Agent) watch(ctx context.Context) {
	pause := shortPause
	for ctx.Err() == nil {
		got := false
		err := a.cfg.Source.Watch(ctx, &mintmarkv1.WatchAssignmentsRequest{Recipient: a.keys.identity.Recipient().String()},
			func(m *mintmarkv1.Assignment) error {
				got = true
				return a.receive(m)
			})
		if ctx.Err() != nil {
			return
		}
		if got {
			pause = shortPause
		}
		a.log.Warn("the control plane is away, the server keeps what it has", "error", err, "retry_in", pause)
		if !wait(ctx, jittered(pause)) {
			return
		}
		pause = min(2*pause, longPause)
	}
}

// receive takes an assignment. It is on disk before anything is done about it.
func (a *Agent) receive(m *mintmarkv1.Assignment) error {
	doc, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(a.cfg.State, fileAssignment), doc); err != nil {
		return fmt.Errorf("keeping the assignment: %w", err)
	}
	a.assign(m)
	return nil
}

// step brings the server to the latest assignment, looks what it mints, and
// reports. It returns when to look again.
func (a *Agent) step(ctx context.Context) time.Duration {
	a.mu.Lock()
	m := a.latest
	a.mu.Unlock()
	if m == nil {
		return verifyInterval // for the first assignment
	}
	r := &mintmarkv1.ReportRequest{
		Adapter: a.cfg.Adapter.Name(), Capacity: a.cfg.Capacity,
		Constraints: constraints(a.cfg.Adapter.Constraints()),
	}
	next := verifyInterval
	err := a.apply(ctx, m)
	if err == nil {
		if r.KeysForPartners, err = a.keysForPartners(m); err == nil {
			err = a.look(ctx, r)
		}
	}
	if err != nil {
		r.Problem = err.Error()
		next = retryInterval
	}
	if r.GetProblem() != a.problem { // once per change, not per try
		if a.problem = r.GetProblem(); a.problem != "" {
			a.log.Error("the server is not as it should be", "version", m.GetVersion(), "error", a.problem)
		} else {
			a.log.Info("the server is as it should be", "version", m.GetVersion())
		}
	}
	if a.applied != nil {
		r.Version = a.applied.version
	}
	r.Held = holds(a.held)
	r.MintingGenerations = a.minted
	if !r.GetOldWorkersGone() || !r.GetVerified() {
		next = retryInterval
	}
	if err := a.report(ctx, r); err != nil {
		a.log.Warn("the control plane did not take the report", "error", err)
		next = retryInterval
	}
	return next
}

// apply has the server use the keys of an assignment.
func (a *Agent) apply(ctx context.Context, m *mintmarkv1.Assignment) error {
	w, err := a.keys.ready(m)
	if err != nil {
		return err
	}
	if !a.needed(w) {
		a.applied = w
		return nil
	}
	keys := w.keys
	keys.Again = a.again && time.Since(a.installedAt) >= againInterval
	held, err := a.cfg.Adapter.Apply(ctx, keys)
	if err != nil {
		return fmt.Errorf("configuring %s: %w", a.cfg.Adapter.Name(), err)
	}
	if keys.Again {
		a.log.Warn("the server was told once more to take its keys", "adapter", a.cfg.Adapter.Name())
		a.again, a.installedAt = false, time.Now()
	}
	if a.applied == nil || a.applied.version != w.version {
		a.log.Info("the server was given its keys", "adapter", a.cfg.Adapter.Name(), "version", w.version,
			"encrypts", w.keys.Encrypt.String(), "decrypts", len(w.keys.Decrypt))
		a.installedAt = time.Now()
	}
	w.installed = true
	a.applied, a.held = w, held
	// Until its old processes are gone, it may mint what it did before.
	if w.minting && !slices.Contains(a.minted, w.mints) {
		a.minted = append(a.minted, w.mints)
	}
	return nil
}

// needed reports whether the server has to be touched. While it may not mint
// yet, it goes on with whatever it has, unless a group's keys wait to be held,
// and its product holds more than the one key that it mints with.
func (a *Agent) needed(w *work) bool {
	c := a.cfg.Adapter
	return w.minting || len(w.keys.Decrypt) > 0 && c.Constraints().KeysKept != 1 && c.Wire() == adapter.WireName
}

// keysForPartners seals this server's keys, when the group or its keys are
// others than those of the last report that arrived.
func (a *Agent) keysForPartners(m *mintmarkv1.Assignment) ([]*mintmarkv1.KeyForPartner, error) {
	if len(m.GetPartnerRecipients()) == 0 {
		return nil, nil
	}
	return a.keys.sealedFor(m)
}

// look says whether the old processes are gone and what the wire shows.
func (a *Agent) look(ctx context.Context, r *mintmarkv1.ReportRequest) error {
	if !a.applied.installed {
		r.Verified, r.OldWorkersGone = true, true // it was left alone
		return nil
	}
	gone, err := a.cfg.Adapter.OldGone(ctx)
	if err != nil {
		return fmt.Errorf("looking for old processes: %w", err)
	}
	for deadline := a.installedAt.Add(settleTime); ; {
		if r.Verified, err = a.verify(ctx); err == nil {
			break
		}
		if time.Now().After(deadline) || !wait(ctx, settlePause) {
			a.again = errors.Is(err, errOthers)
			return err
		}
	}
	r.OldWorkersGone = gone
	if gone && r.GetVerified() {
		a.minted = nil
		if a.applied.minting {
			a.minted = []uint32{a.applied.mints}
		}
	}
	return nil
}

// verify reads off the wire what the server mints.
func (a *Agent) verify(ctx context.Context) (bool, error) {
	want := a.applied.keys.Encrypt.Name
	switch {
	case !a.applied.installed, a.cfg.Dial == nil, a.cfg.Adapter.Wire() == adapter.WireNothing:
		return true, nil // there is nothing to look at
	case a.cfg.Adapter.Wire() == adapter.WirePrefix:
		if want = a.applied.keys.Encrypt.Prefix; len(want) == 0 {
			return true, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	got, err := probe.Run(ctx, probe.Config{Dial: a.cfg.Dial, SNI: a.cfg.SNI})
	if err != nil {
		return false, fmt.Errorf("looking what the server mints: %w", err)
	}
	if len(got.Name) == 0 {
		return false, fmt.Errorf("the server mints nothing to route by (%s): %s", got.Layout, firstOf(got.Advice()))
	}
	for _, name := range got.Names {
		if n := min(len(name), len(want)); !bytes.Equal(name[:n], want[:n]) {
			return false, fmt.Errorf("the server mints %x and should mint %x: %w", name, want, errOthers)
		}
	}
	return true, nil
}

// errOthers is what a server is told that mints with other keys.
var errOthers = errors.New("is the file that the agent writes the one that it reads?")

func firstOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}

// report sends r, unless the last one said the same a short while ago.
func (a *Agent) report(ctx context.Context, r *mintmarkv1.ReportRequest) error {
	if a.sent != nil && time.Since(a.sentAt) < reportInterval && sameReport(a.sent, r) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := a.cfg.Source.Report(ctx, r); err != nil {
		return err
	}
	a.sent, a.sentAt = r, time.Now()
	return nil
}

// sameReport compares reports, but for the ciphertexts, which differ each time.
func sameReport(a, b *mintmarkv1.ReportRequest) bool {
	if len(a.GetKeysForPartners()) != len(b.GetKeysForPartners()) {
		return false
	}
	for i, k := range a.GetKeysForPartners() {
		o := b.GetKeysForPartners()[i]
		if k.GetPartner() != o.GetPartner() || k.GetGeneration() != o.GetGeneration() || k.GetRecipient() != o.GetRecipient() {
			return false
		}
	}
	x, y := proto.CloneOf(a), proto.CloneOf(b)
	x.KeysForPartners, y.KeysForPartners = nil, nil
	return proto.Equal(x, y)
}

func constraints(c adapter.Constraints) *mintmarkv1.Constraints {
	m := &mintmarkv1.Constraints{MarkBytes: uint32(c.MarkBytes)} //nolint:gosec // small
	if c.KeysKept > 0 {
		n := uint32(c.KeysKept) //nolint:gosec // small
		m.KeysKept = &n
	}
	return m
}
