// Package config reads the configuration file: strictly, and with every
// problem at once.
//
// It takes three steps. The file is parsed into a [File], whose comments are
// the reference that people read (docs/configuration.md is made of them); a
// File is checked; and what is left is compiled into a [Config], which holds
// the pools ready for package route. Nothing is ever clamped or guessed: what
// is not understood is a [Problem] that names the file, the line, the place
// and what to write instead, and a Config exists only without problems.
//
// The file is YAML, of which this package accepts what a configuration needs:
// one document of mappings, lists and scalars, with anchors, aliases and merge
// keys within bounds. Tags, directives, complex keys and further documents are
// refused. A scalar is the text that the file shows: YAML's own idea that 0e12
// is a number, 0x10 is sixteen and null is nothing never reaches an ID.
//
// Reading a file opens no socket and starts no goroutine; the only other files
// that are read are the plans it names. All functions are safe for concurrent
// use, and a Config is not changed after it was made.
package config
