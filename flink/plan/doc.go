// Package plan decides what to do next for one job: Next(order, observed,
// memory, now) names the situation, gives at most one Action, the conditions,
// the memory to save before the act, and when to look again.
//
// Next is total and pure: every input has an answer, and the same input has the
// same answer. Losing the hub is no input to it. It imports flink and the
// standard library only.
package plan
