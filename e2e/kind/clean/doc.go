// Clean removes everything that tests in real clusters leave on this machine:
// clusters, other containers of theirs, object storages, cut links, the engine. What
// is kept by content stays, for the next run takes minutes with it and not half
// an hour; with -all that goes too.
package main
