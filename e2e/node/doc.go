// Node makes what a Kubernetes node on this machine is made of, from Go modules
// and Debian packages, without any container registry:
//
//	node bin [-out DIR|-] NAME…   programs, built and kept by content
//	node image [-load]            the node image for kind, as an archive
//
// The last line on standard output is the result: a directory, or the name of
// the image. Everything else goes to standard error.
package main
