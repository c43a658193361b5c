// Package flinkrest asks the JobManager of one run over Flink's REST interface:
// what it sees (Observe), and to check, start, stop or cancel a program.
//
// It promises that no call hangs (each has a deadline of its own), that no
// answer can fill the memory (each is bounded), that it follows no redirect,
// and that what could not be had is part of the observation, never an error. A
// definite "no" of an act is a *flink.Refusal, anything else may be tried again.
// The answer to a Submit proves nothing: the job id in the next observation does.
//
// It may import flink, flink/failure and the standard library.
package flinkrest
