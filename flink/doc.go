// Package flink is the domain: what a job should be (Spec, Order), one start of
// it (Run), what was seen of it (Observed), and what is said about it (Status).
//
// Everything here and below is pure: values in, values out. No clock, no I/O,
// no goroutine; `now` is always an argument. Types that cross rooms live here,
// so that hub, agent and tools speak of the same things in the same words.
//
// It may import the standard library without os, net (net/url is fine), io/fs,
// context, sync, time.Now, math/rand and log; internal/archtest holds it to that.
package flink
