// Package adapter puts ticket keys and marks into the configuration of server
// products, in the form that each already reads.
//
// An adapter writes files, has the product take them, and says when no process
// is left that has older ones. If the product refuses them, it gets the last
// good files back. Whether the server then mints what it should is for the
// wire to say, not for the adapter: see package agent.
//
// The formats and their traps were measured against the products of Debian 12;
// each adapter's comment says what is particular about its product.
package adapter

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Sizes of a ticket key.
const (
	// NameSize is that of its name, with which tickets begin (RFC 5077, 4).
	NameSize = 16
	// SecretSize is that of the longest secrets that a product takes: 32 bytes
	// for the MAC, 32 for AES-256.
	SecretSize = 64
)

// A Key is a ticket key, and what else marks an ID of the same space.
type Key struct {
	// Owner and Generation are the space's.
	Owner      string
	Generation uint64
	// Name is the key's name, NameSize bytes, and Secret its SecretSize bytes.
	Name, Secret []byte
	// Prefix is what IDs begin with that have a constant in front; empty if
	// the space holds none. Text is the mark as the head of a text ID.
	Prefix []byte
	Text   string
	// Number is the server's, of the scheme sealed.
	Number uint32
	// Own: the server's own, and not a partner's.
	Own bool
}

// String names the key without its secret.
func (k Key) String() string { return fmt.Sprintf("%s, generation %d", k.Owner, k.Generation) }

// Format keeps the secret out of logs, whatever the verb.
func (k Key) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, k.String()) }

// Keys are what a server shall have.
type Keys struct {
	// Encrypt is the key to mint with.
	Encrypt Key
	// Decrypt are the others, the most wanted first. A product that keeps
	// fewer has the first of them.
	Decrypt []Key
	// Again has the server take them once more although the files are as they
	// should be: the wire shows that it did not. A reload can be lost, as when
	// the agent dies before it, or the server is just starting.
	Again bool
}

// Constraints are what a product can carry.
type Constraints struct {
	// KeysKept is how many keys it decrypts with, in all; 0: as many as given.
	KeysKept int
	// MarkBytes is the longest mark; 0: any.
	MarkBytes int
}

// A Wire says what of a key can be seen on the wire.
type Wire int

// What can be seen.
const (
	// WireName: tickets begin with the key's name.
	WireName Wire = iota
	// WirePrefix: session IDs begin with its prefix.
	WirePrefix
	// WireNothing: nothing that a TLS client could see.
	WireNothing
)

// An Adapter configures one server. Its methods are not called concurrently.
type Adapter interface {
	// Name is the product's, for people.
	Name() string
	// Constraints of the product.
	Constraints() Constraints
	// Wire says how to check that the keys are in effect.
	Wire() Wire
	// Apply has the server use keys, and returns those that it decrypts with.
	// It changes nothing and touches no process when the files are as they
	// should be already. On an error the server has what it had before.
	Apply(ctx context.Context, keys Keys) (held []Key, err error)
	// OldGone reports whether no process is left with keys of before the last
	// Apply.
	OldGone(ctx context.Context) (bool, error)
}

// Config says how to configure a server. Which fields a kind uses, Check says.
type Config struct {
	Kind string
	// Dir is the directory of the files that the adapter writes, File the one
	// file where there is only one.
	Dir, File string
	// PIDFile is that of the server's first process, whose children are its
	// workers.
	PIDFile string
	// Test and Reload are commands. Test says whether the server takes the
	// files, Reload has it take them.
	Test, Reload []string
	// Socket is HAProxy's stats socket, and Keys the ID of its ticket keys.
	Socket, Keys string
	// Lifetime is how long a key is written to be good for, where the format
	// asks for it.
	Lifetime time.Duration
}

// Kinds are the kinds of Config, as people write them.
func Kinds() []string {
	return []string{"nginx", "haproxy", "apache", "lighttpd", "node", "envoy", "id-prefix", "tomcat", "env", "exec"}
}

// New returns the adapter that c describes.
func New(c Config) (Adapter, error) {
	var problems []error
	need := func(name, value string) {
		if value == "" {
			problems = append(problems, fmt.Errorf("adapter: %s is missing: kind %s needs it", name, c.Kind))
		}
	}
	var a Adapter
	switch c.Kind {
	case "nginx":
		need("dir", c.Dir)
		need("pid_file", c.PIDFile)
		a = &nginx{c.with([]string{"nginx", "-t"}, []string{"nginx", "-s", "reload"}), workers{pidFile: c.PIDFile}}
	case "haproxy":
		need("file", c.File)
		if c.Socket == "" {
			need("pid_file (or socket)", c.PIDFile)
		}
		a = &haproxy{Config: c.with(nil, []string{"systemctl", "reload", "haproxy"}), workers: workers{pidFile: c.PIDFile}}
	case "apache":
		need("file", c.File)
		need("pid_file", c.PIDFile)
		a = &apache{c.with([]string{"apachectl", "-t"}, []string{"apachectl", "graceful"}), workers{pidFile: c.PIDFile}}
	case "lighttpd":
		need("file", c.File)
		a = &lighttpd{Config: c, now: time.Now}
	case "node":
		need("file", c.File)
		a = &node{c}
	case "envoy":
		need("dir", c.Dir)
		a = &envoy{c}
	case "id-prefix":
		need("file", c.File)
		need("reload", firstOf(c.Reload))
		a = &text{Config: c, wire: WirePrefix, content: prefixFile}
	case "tomcat":
		need("file", c.File)
		need("reload", firstOf(c.Reload))
		a = &text{Config: c, wire: WireNothing, content: tomcatFile}
	case "env":
		need("file", c.File)
		a = &text{Config: c, wire: WireNothing, content: envFile}
	case "exec":
		need("reload", firstOf(c.Reload))
		a = &command{c}
	default:
		return nil, fmt.Errorf("adapter: there is no kind %q; write one of %v", c.Kind, Kinds())
	}
	return a, errors.Join(problems...)
}

func firstOf(argv []string) string {
	if len(argv) == 0 {
		return ""
	}
	return argv[0]
}

// with fills in the commands that were not written.
func (c Config) with(test, reload []string) Config {
	if c.Test == nil {
		c.Test = test
	}
	if c.Reload == nil {
		c.Reload = reload
	}
	return c
}
