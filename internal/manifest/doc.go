// Package manifest reads and writes what people keep in files: strict YAML, or
// JSON, in exactly the form that the admin API speaks as JSON.
//
// The schema is the protobuf message itself, so that a field can never be known
// to the API and unknown here. Reading promises that nothing is passed over:
// an unknown field, a value of the wrong type, a key written twice, an anchor
// or a tag is an error with file, line and column, and all errors of a file
// are told at once. Writing promises one stable form: fields in the order of
// the schema, keys of maps sorted, nothing that is not set; protobuf's own JSON
// reader takes it, and reading it again gives the same message.
//
// It knows no message by name. It imports flink (for near misses), the
// protobuf runtime, go-yaml's parser and the standard library.
package manifest
