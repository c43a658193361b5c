// Coredns is CoreDNS with the plugins that kubeadm's Corefile names and no
// other: it links in a fraction of the time of the complete one.
package main
