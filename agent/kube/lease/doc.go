// Package lease has one of several replicas of an agent act: the holder of a
// Lease of their namespace. The others wait, ready to take over.
//
// It promises: what it was given to run begins only while the Lease is held and
// is told to stop before the Lease can be anybody else's; on a clean stop the
// Lease is given up only after that has returned. A process that lost the Lease
// is to end: Run returns ErrLost, and does not wait for it again.
//
// Whoever ends an agent takes the Lease without asking (Seize): it acts after the
// holder must have stopped, and no replica begins before it has been left alone.
//
// It may import client-go.
package lease
