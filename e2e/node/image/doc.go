// Package image builds the node image for kind on a machine that has no
// container registry: a Debian base, kind's own node files as its module holds
// them, programs built from Go modules, and Kubernetes' images preloaded into
// the node's containerd.
//
// The result is an archive kept by content. It is made in a directory that is
// thrown away when anything fails and renamed into place when all is there, so
// an archive that exists is whole. The Debian base is kept the same way. What
// needs the machine (root, Debian's packages) is checked before work begins.
//
// Building changes nothing outside the cache but the packages it installs where
// it may; loading the archive into Docker is a step of its own.
package image
