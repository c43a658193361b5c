// Package cli is the waterwheel command: the verbs, the tables, the contexts.
//
// It promises kubectl's habits: what a machine reads (-o json, -o yaml) is the
// form of the API and of manifests; tables are for people only. Errors are one
// line on stderr that says what to do, or one line for each fault of a manifest;
// exit codes are those of docs/cli.md. Nothing that is not known to be well is
// shown as well: a status that is not live is never green. A hub that does not
// answer is named within seconds. Colour is for terminals only.
//
// Verbs of other rooms are handed to New as commands.
//
// It may import cobra, Connect, go-yaml, flink, proto/gen, and of internal
// identity, manifest and wire.
package cli
