package mint

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// fileInterval is how often the file of an assignment is read.
const fileInterval = time.Second

// maxAssignmentFile bounds the file of an assignment: it holds maxKeys short
// keys.
const maxAssignmentFile = 64 << 10

type fileSource string

// File returns a Source for servers without a control plane: the assignment
// is in a JSON file, which is read again every second, so that a configuration
// is rotated by writing the file anew. Replace the file in one step (write
// another, rename it). For QUIC it looks like this, newest generation first:
//
//	{"pool": "h3", "server": "a", "keys": [
//	  {"generation": 2, "mint": true,
//	   "quic_lb": {"config_id": 1, "server_id": "31441a", "nonce_length": 5, "key": "fdf726a9893ec05c0632d3956680baf0"}},
//	  {"generation": 1,
//	   "quic_lb": {"config_id": 0, "server_id": "c4605e", "nonce_length": 4}}]}
//
// The key is a secret: mode 0600. A file that is wrong changes nothing, and
// the log says what is wrong.
func File(path string) Source { return fileSource(path) }

// Watch implements Source.
func (f fileSource) Watch(ctx context.Context, take func(Assignment) error) error {
	tick := time.NewTicker(fileInterval)
	defer tick.Stop()
	var last []byte
	for {
		text, err := f.read()
		if err != nil {
			return err
		}
		if last == nil || !bytes.Equal(text, last) {
			a, err := parseAssignment(text)
			if err == nil {
				err = take(a)
			}
			if err != nil {
				return fmt.Errorf("the assignment in %s: %w", string(f), err)
			}
			last = text
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (f fileSource) read() ([]byte, error) {
	text, err := os.ReadFile(string(f))
	if err != nil {
		return nil, fmt.Errorf("reading the assignment: %w", err)
	}
	if len(text) > maxAssignmentFile {
		return nil, fmt.Errorf("the assignment in %s has %d bytes; it has at most %d", string(f), len(text), maxAssignmentFile)
	}
	return text, nil
}

// parseAssignment reads an assignment. Its version is made of the text: people
// forget to count.
func parseAssignment(text []byte) (Assignment, error) {
	var a Assignment
	if err := unmarshalStrictly(text, &a); err != nil {
		return Assignment{}, err
	}
	a.Version = versionOf(text)
	return a, nil
}

func versionOf(text []byte) uint64 {
	sum := sha256.Sum256(text)
	return binary.BigEndian.Uint64(sum[:])
}

// Report implements Source: nobody is there to hear it.
func (f fileSource) Report(context.Context, Report) error { return nil }

type fixedSource struct{ assignment Assignment }

// Fixed returns a Source of one assignment, for servers that get theirs from
// elsewhere: an environment variable, a configuration of their own.
func Fixed(a Assignment) Source { return fixedSource{a} }

// Watch implements Source.
func (f fixedSource) Watch(ctx context.Context, take func(Assignment) error) error {
	a := f.assignment
	if a.Version == 0 {
		text, err := json.Marshal(a)
		if err != nil {
			return err
		}
		a.Version = versionOf(text)
	}
	if err := take(a); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// Report implements Source: nobody is there to hear it.
func (f fixedSource) Report(context.Context, Report) error { return nil }
