// Package source says where the sources of this module and of its neighbours
// lie. It asks the Go tool, so the working directory must be inside the module,
// as it is under go run and go test.
package source
