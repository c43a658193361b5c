// Package programs builds the programs of a Kubernetes node from Go modules and
// keeps them by content.
//
// One module graph gives all of Kubernetes, etcd, crictl, CoreDNS and pause, so
// that one build compiles what they share once; containerd's programs come from
// a graph of their own. A program in the cache is whole: it is built beside and
// renamed into place. Several processes may ask at once; one builds, the others
// wait for it.
package programs
