// Package world sets up what every program on real clusters needs: a container
// engine, the images, object storage, and clusters with the images loaded. What
// does not depend on each other is made side by side, and everything that is
// made once per content is cached, so that a second time takes minutes.
//
// It promises that what it says goes to one place, a line each, with seconds;
// and that what failed leaves logs, events and objects in the artifacts'
// directory.
//
// It may import all of e2e/kind and what those may.
package world
