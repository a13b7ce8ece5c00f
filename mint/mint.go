// Package mint gives a Go server its part of the space of session IDs, so that
// Mintmark's balancers send each client back to the server that minted its ID.
//
// A Client holds the server's assignment: which marks it may mint now, and
// which it minted before. It follows the control plane through a Source
// (package mint/control), or works from its state file alone:
//
//	client, err := mint.Open(mint.Config{State: "mint.json", Source: source})
//	...
//	go client.Run(ctx)
//	server := &http.Server{TLSConfig: client.TLSConfig(base)}
//	id, err := client.NewID() // for cookies and headers of the application
//
// TLS tickets: Go's own have nothing in front by which anybody could route
// them. TLSConfig wires WrapSession and UnwrapSession, so that tickets begin
// with the server's mark and are encrypted with keys that are made here, never
// leave the machine, and survive a restart. A ticket is good only for the name
// and the client authentication it was issued under.
//
// Connection IDs: ConnectionIDs mints those of a QUIC or DTLS server, of the
// scheme quic-lb or any other. Packages mint/quicgo and mint/pion, modules of
// their own, hand them to quic-go and pion.
//
// Application IDs: NewID returns a mark followed by at least 128 random bits,
// and ID is the same for hooks that take a func() string, as most session
// libraries have. For those that make their tokens themselves, AddMark and
// CutMark put a mark before a token and take it off again, and CookieHandler
// does so to a cookie. A mark says where an ID belongs and not that it is
// genuine: look IDs up in the application's own store, as always.
//
// The package imports nothing but the standard library, idspace/sealed and
// idspace/quiclb.
package mint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// NameSize is the size of the mark that a TLS ticket begins with.
const NameSize = 16

// An Assignment is what the server may mint, as the control plane says.
type Assignment struct {
	// Version grows with each change.
	Version uint64 `json:"version"`
	// Pool and Server say whose it is.
	Pool   string `json:"pool"`
	Server string `json:"server"`
	// Keys are the server's spaces, newest generation first.
	Keys []Key `json:"keys"`
}

// A Key is the server's space of one generation.
type Key struct {
	Generation uint32 `json:"generation"`
	// Mint: the server mints in it now. Otherwise it accepts what it minted.
	Mint bool `json:"mint,omitempty"`
	// Name is the mark that tickets begin with, NameSize bytes, where marks
	// are not made by the server itself. It is empty where QUICLB or Bits is
	// all there is: tickets are Go's own then.
	Name []byte `json:"name,omitempty"`
	// Text is the mark as the head of a text ID, in hexadecimal.
	Text string `json:"text,omitempty"`
	// ServerNumber and MarkKey are for marks of the scheme sealed that the
	// server makes itself, a new one for each ID; MarkKey is nil otherwise.
	ServerNumber uint32 `json:"server_number,omitempty"`
	MarkKey      []byte `json:"mark_key,omitempty"`
	// QUICLB is for connection IDs of the scheme quic-lb; nil otherwise.
	QUICLB *QUICLB `json:"quic_lb,omitempty"`
	// Bits is for connection IDs of another layout, if their mark is not Text;
	// nil otherwise.
	Bits *Bits `json:"bits,omitempty"`
}

// String names the key without its secret.
func (k Key) String() string { return fmt.Sprintf("generation %d", k.Generation) }

// Format keeps the mark key out of logs, whatever the verb.
func (k Key) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, k.String()) }

// A Report is what the server does, for the control plane.
type Report struct {
	// Version of the assignment that is in effect, and Server whose it is.
	Version uint64
	Server  string
	// Held are the generations whose tickets and IDs it accepts, Minting those
	// that it mints, NoSessions those of which no session is left.
	Held, Minting, NoSessions []uint32
	// RunsOut says that the space is small against the rate of minting.
	RunsOut bool
}

// A Source is the control plane, as one server talks to it. Package
// mint/control has one; tests and other control planes may bring their own.
type Source interface {
	// Watch sends the assignment in force and each later one. It returns when
	// ctx ends, take fails, or the source is lost.
	Watch(ctx context.Context, take func(Assignment) error) error
	// Report says what the server does.
	Report(ctx context.Context, r Report) error
}

// Config is what a Client is made of.
type Config struct {
	// State is the path of the file that keeps the assignment and the ticket
	// keys, with mode 0600. Required.
	State string
	// Source is the control plane; nil: the state file is all there is.
	Source Source
	// NoSessions, when set, says whether no session of a generation is left,
	// for sessions that live without bound. It is asked before each report.
	NoSessions func(generation uint32) bool
	// Logger receives what happens; nil discards it.
	Logger *slog.Logger
}

// A Client mints for one server. It is safe for concurrent use; Run may be
// called once.
type Client struct {
	cfg   Config
	log   *slog.Logger
	state atomic.Pointer[state]
	ready chan struct{} // closed when there is something to mint

	mu sync.Mutex // makes changes of state and of its file one after the other
}

// ErrNothingToMint is the error of minting before there was an assignment.
var ErrNothingToMint = errors.New("mint: this server has no assignment yet")

// Open returns a Client with what its state file holds. A file that is not
// there is an empty one, if there is a Source to fill it.
func Open(c Config) (*Client, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	doc, err := readState(c.State, c.Source != nil)
	if err != nil {
		return nil, err
	}
	client := &Client{cfg: c, log: c.Logger, ready: make(chan struct{})}
	carryNonces(doc, doc)
	s, err := newState(doc)
	if err != nil {
		return nil, fmt.Errorf("mint: the state file %s: %w", c.State, err)
	}
	client.swap(s)
	return client, nil
}

// swap puts s into effect. It is called by Open, or with mu.
func (c *Client) swap(s *state) {
	if before := c.state.Swap(s); s.mint != nil && (before == nil || before.mint == nil) {
		select {
		case <-c.ready:
		default:
			close(c.ready)
		}
	}
}

// Wait waits until there is something to mint, or ctx ends, and returns the
// error of ctx then. A server that waits before it listens mints no ID that
// cannot be routed.
func (c *Client) Wait(ctx context.Context) error {
	select {
	case <-c.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Ready reports whether there is something to mint.
func (c *Client) Ready() bool { return c.state.Load().mint != nil }

// Bounds of the pause after the control plane was lost.
const (
	shortPause = 200 * time.Millisecond
	longPause  = 10 * time.Second
)

// reportInterval is how often a report is sent that says nothing new.
const reportInterval = time.Minute

// Run follows the control plane until ctx ends, and returns nil. While the
// control plane is away, the server mints as before.
func (c *Client) Run(ctx context.Context) error {
	if c.cfg.Source == nil {
		<-ctx.Done()
		return nil
	}
	applied := make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.report(ctx, applied)
	}()
	defer func() { <-done }()
	pause := shortPause
	for ctx.Err() == nil {
		err := c.cfg.Source.Watch(ctx, func(a Assignment) error {
			pause = shortPause
			if err := c.apply(a); err != nil {
				return err
			}
			select {
			case applied <- struct{}{}:
			default:
			}
			return nil
		})
		if ctx.Err() != nil {
			break
		}
		c.log.Warn("the control plane is away, minting goes on", "error", err, "retry_in", pause)
		sleep(ctx, pause/2+mathrand.N(pause))
		pause = min(2*pause, longPause)
	}
	return nil
}

// apply puts an assignment on disk and into effect. Its ticket keys are made
// here, once.
func (c *Client) apply(a Assignment) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	doc := c.state.Load().doc
	if a.Version == doc.Assignment.Version && len(doc.Assignment.Keys) > 0 {
		return nil
	}
	next := stateDocument{Assignment: a, Secrets: make(map[uint32][]byte)}
	for _, k := range a.Keys {
		secret := doc.Secrets[k.Generation]
		if secret == nil {
			secret = make([]byte, secretSize)
			_, _ = rand.Read(secret) // never fails, by its documentation
		}
		next.Secrets[k.Generation] = secret
	}
	carryNonces(&next, doc)
	s, err := newState(&next)
	if err != nil {
		return fmt.Errorf("mint: the assignment: %w", err)
	}
	s.carryBlocks(c.state.Load())
	if err := writeState(c.cfg.State, &next); err != nil {
		return err
	}
	c.swap(s)
	c.log.Info("assignment in effect", "version", a.Version, "generations", len(a.Keys))
	return nil
}

// report tells the control plane what the server does, whenever that changes
// and now and then.
func (c *Client) report(ctx context.Context, applied <-chan struct{}) {
	timer := time.NewTimer(reportInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-applied:
		case <-timer.C:
		}
		next := reportInterval
		if err := c.cfg.Source.Report(ctx, c.status()); err != nil && ctx.Err() == nil {
			c.log.Warn("the control plane did not take the report", "error", err)
			next = shortPause + mathrand.N(longPause)
		}
		timer.Reset(next)
	}
}

// status is the report of this moment.
func (c *Client) status() Report {
	s := c.state.Load()
	r := Report{Version: s.doc.Assignment.Version, Server: s.doc.Assignment.Server, RunsOut: s.runsOut(s.mint)}
	for _, k := range s.keys {
		r.Held = append(r.Held, k.Generation)
		if k == s.mint {
			r.Minting = append(r.Minting, k.Generation)
		} else if c.cfg.NoSessions != nil && c.cfg.NoSessions(k.Generation) {
			r.NoSessions = append(r.NoSessions, k.Generation)
		}
	}
	slices.Sort(r.Held)
	return r
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
