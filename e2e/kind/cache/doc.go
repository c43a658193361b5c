// Package cache is the place where the parts of the clusters' world that are
// dear to make are kept between runs.
//
// It promises that a file that stands in it is whole, and that one of any number
// of processes that want it makes it.
//
// It may import the standard library and internal/flinkdist, whose cache it shares.
package cache
