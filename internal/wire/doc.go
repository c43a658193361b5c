// Package wire is the only place where protobuf messages become values of the
// domain and back: jobs, specs, statuses, and the orders that agents store.
//
// It promises that a value of the domain survives the way there and back, that
// the same order always has the same bytes, and that an order which says
// anything unknown here is refused by the name of what is unknown, never
// half understood. It decides nothing else: package flink says what is valid.
//
// It imports flink, proto/gen and the protobuf runtime only.
package wire
