// Pause holds the namespaces of a pod: it reaps what is left to it and ends when
// it is told to.
package main
