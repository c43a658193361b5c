// Clusters makes, lists and removes clusters by hand, with the library that the
// tests use:
//
//	clusters up NAME…             make them, side by side
//	clusters down NAME…           remove them
//	clusters list
//	clusters load NAME ARCHIVE…   give images to a node
//	clusters kubectl NAME ARG…    kubectl against one
//	clusters dump NAME DIR        keep logs, events and objects
//	clusters check NAME NAME      do to two all that tests do
//
// The engine stays; the command clean ends it.
package main
