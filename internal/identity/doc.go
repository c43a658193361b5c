// Package identity says who is at the other end of a connection.
//
// Every party of Waterwheel holds an X.509 SVID, a certificate with exactly one SPIFFE ID of one of three forms:
//
//	spiffe://<trust domain>/hub
//	spiffe://<trust domain>/cluster/<uid>
//	spiffe://<trust domain>/admin/<name>
//
// The package parses these IDs segment by segment (an ID is never matched by prefix), builds the TLS configurations of
// both ends, keeps the certificates behind them fresh, and has the small helpers for keys, requests and pins.
//
// It promises: TLS 1.3 only; no session tickets, so that every connection is a full handshake; the peer's chain, time,
// SPIFFE ID and the caller's own check are evaluated in VerifyConnection with the roots and the clock of that moment;
// an empty set of roots trusts nobody. It issues no certificate (that is hub/ca) and makes no decision on what a peer
// may do.
//
// It imports the standard library and go-spiffe's spiffeid only.
package identity
