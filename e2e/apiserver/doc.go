// Package apiserver runs a real Kubernetes API server for tests that need the
// true API and no pods: etcd and kube-apiserver as processes on loopback, ready
// within seconds, gone with everything they wrote when the test ends.
//
// The binaries are built by the module e2e/node, once, and cached by content;
// WATERWHEEL_KUBE_BIN names a directory that has them already. Nothing is
// skipped where they are missing: they are made, which takes minutes.
//
// It promises: only loopback is listened on; every process started is ended by
// Stop, and by the kernel if the test process dies; a server that does not come
// up says so with the last words of both processes.
package apiserver
