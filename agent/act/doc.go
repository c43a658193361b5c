// Package act carries out one plan.Action through the runtime and the Flink
// port. Each action may be carried out twice: what is there already is left.
// What it answers goes back into memory; the truth comes from the next look.
package act
