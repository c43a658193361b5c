// Package doctor looks, once and before anything is joined, at all that an agent needs of its place: the way to the hub,
// the clock, its own identity, and in Kubernetes what it may do there and what room it has. One line for each thing, with the remedy.
//
// It promises to change nothing, to look at everything even if some of it is wrong or does not answer (each look has a
// deadline of its own), and to say of what it could not see that it does not know, never that it is well.
//
// It may import internal/identity and the standard library; what asks Kubernetes is handed to it as funcs.
package doctor
