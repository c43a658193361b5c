// Package checks asks an API server what an agent may do and has there, for people: its version and clock, rights,
// kinds of objects, accounts, quotas.
//
// It promises to change nothing (a review of rights is no object that is kept), and that each question ends with its
// context. It may import client-go, the API's types and flink.
package checks
