// Clean removes everything that tests in real clusters leave on this machine:
// clusters, other containers of theirs, cut links, the engine of its own. What
// is kept by content stays, for the next run takes minutes with it and not half
// an hour; with -all that goes too.
package main
