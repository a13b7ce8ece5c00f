// Package proxy starts Mintmark, HAProxy and nginx with configurations that ask
// the same of each, and tells what their processes cost: processor time and
// memory of all of a product's processes together, as the kernel counts them.
//
// It is Linux alone that tells these things; elsewhere the package builds, and
// its functions return errors.ErrUnsupported. Everything listens on loopback, and
// a process that was started ends with the context, with Stop, or with the
// program that started it.
package proxy
