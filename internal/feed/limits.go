package feed

import "time"

// The one table of limits that both ends of the stream hold to.
const (
	// ProtocolVersion is major * 1000 + minor. The major must be the same at both ends.
	ProtocolVersion int32 = 1000

	FrameTarget = 64 << 10  // bytes of rows that a Delta is filled up to
	MaxMessage  = 512 << 10 // bytes of any message; a longer one ends the stream
	MaxUnacked  = 1 << 20   // bytes of Deltas that may wait for their ack
	MaxSpec     = 256 << 10 // bytes of one spec

	TickEvery = 30 * time.Second
	DeadAfter = 3 // Ticks without a sign of the other end

	PingEvery       = 30 * time.Second // the agent's HTTP/2 pings
	PingTimeout     = 10 * time.Second
	PingMinInterval = 15 * time.Second // what the hub tolerates

	StreamWindow = 128 << 10 // static flow control windows, at both ends
	ConnWindow   = 256 << 10
)
