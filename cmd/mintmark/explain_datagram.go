package main

import (
	"fmt"
	"io"

	"github.com/mintmark/mintmark/idspace"
	"github.com/mintmark/mintmark/internal/config"
	"github.com/mintmark/mintmark/internal/daemon"
	"github.com/mintmark/mintmark/internal/explain"
)

// readDatagram reads the operand for a listener for datagrams: a whole datagram, or
// an ID.
func readDatagram(stdin io.Reader, operand string, field idspace.Field, lc *config.Listener) (*explain.Message, error) {
	data, raw, err := readOperand(stdin, operand)
	if err != nil {
		return nil, err
	}
	if !raw {
		if data, err = explain.Decode(string(data)); err != nil {
			return nil, inputError(err)
		}
	}
	if len(data) == 0 {
		return nil, usagef("the value is empty")
	}
	return daemon.ReadDatagram(data, field, lc)
}

// writeCID writes the ID's parts for people.
func writeCID(w io.Writer, c *explain.ExplainedCID) {
	fmt.Fprintf(w, "quic-lb\tconfiguration %d", c.Config)
	if c.Algorithm != "" {
		fmt.Fprintf(w, ", %s", c.Algorithm)
	}
	if c.ServerID != "" {
		fmt.Fprintf(w, ", server ID %s, nonce %s", c.ServerID, c.Nonce)
	}
	if c.Cause != "" {
		fmt.Fprintf(w, "; unroutable: %s", c.Cause)
	}
	fmt.Fprintln(w)
}
