package store

import "errors"

var (
	// ErrUnknown: the commit failed or was not waited for. The write may or may not have happened; never say "failed".
	ErrUnknown = errors.New("outcome unknown: the write may or may not have happened")
	// ErrNoSpace: refused beforehand, since too little disk space is free. Reads go on.
	ErrNoSpace = errors.New("refused: too little free disk space for the hub's store")
	// ErrClosed: refused beforehand, since the store is shutting down.
	ErrClosed = errors.New("refused: the hub's store is shutting down")
	// ErrTooLarge: refused, since the orders of one write for one cluster would not fit one frame of the stream.
	ErrTooLarge = errors.New("refused: the orders of one write are too large for one cluster")
	// ErrLocked: another process has the directory.
	ErrLocked = errors.New("another hub runs on this directory")
	// ErrEpochAhead: an epoch number more than a day ahead of the clock is not believed.
	ErrEpochAhead = errors.New("epoch number is too far ahead of this hub's clock")
	// ErrDamaged: Open found a file that is missing, empty, unreadable or does not fit the others.
	ErrDamaged = errors.New("cannot use the hub's store")
	// ErrTrimmed: Follow was asked for revisions that went to the rows already.
	ErrTrimmed = errors.New("these revisions are no longer in the log")
)
