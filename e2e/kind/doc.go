// Package kind is the root of the module of everything that runs Waterwheel in
// real Kubernetes clusters on this machine. It holds nothing itself.
package kind
