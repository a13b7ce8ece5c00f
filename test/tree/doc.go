// Package tree holds tests of the source tree itself: that every package says
// what it is, that the diagram in ARCHITECTURE.md is what the packages really
// import, and that what the documents show (configurations, links, metrics)
// exists.
package tree
