// Package relay is a wire that can be cut: it copies bytes between those who
// connect to it and one far end, and can turn into a black hole and back.
//
// It promises that no byte is lost or reordered by a cut that ends, that nothing
// passes while it lasts, and that everything it holds is bounded.
//
// It imports the standard library only.
package relay
