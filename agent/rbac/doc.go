// Package rbac is what an agent in Kubernetes may do, where, and why: one table, of which everything else is a form. The
// chart's Roles are written from it, `waterwheel-agent rbac` says it in words, and tests hold all three together.
//
// It promises that the table is the whole of it: nothing cluster-wide, no rule with a wildcard, no verb without a reason.
// It is pure and imports the standard library alone, so that a reviewer has little to read.
package rbac
