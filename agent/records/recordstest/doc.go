// Package recordstest is what every backend of agent/records must do, as tests:
// the rules hold whatever the records stand on, also across restarts.
//
// For tests only.
package recordstest
