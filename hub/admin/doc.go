// Package admin is the API for people and machines, over Connect: gRPC, gRPC-Web and JSON with curl.
//
// Its handlers only translate: reads come from a view of the store and from what the sessions know, writes are the
// funcs of Config. It also holds the one table of who may call which method of the hub, on either port; what is not in
// it is refused.
//
// It promises that the caller is the one of the client certificate and nobody else; that each status it shows tells its
// age, and that one which is not live is never ready; that an error says what to do, and that a write whose outcome is
// unknown is called so, never failed. Errors by code:
//
//	InvalidArgument     the manifest or the request is wrong; detail BadFields names every fault
//	NotFound            no such tenant, cluster or job, with the name that was probably meant
//	Aborted             somebody else changed it meanwhile: read it again, then decide
//	FailedPrecondition  it is in a state that does not allow this
//	ResourceExhausted   too little disk space at the hub, or the message is too large
//	Unavailable         the hub is going down: ask again
//	Unknown             the write may or may not have happened: look again
//	PermissionDenied    this identity may not call this method
//	Internal            a fault of the hub; its log says more
//
// It imports hub/store, the admin part of proto/gen, internal/{wire,identity,telemetry}, flink and Connect.
package admin
