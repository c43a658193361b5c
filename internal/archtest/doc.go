// Package archtest makes the rules of the house tests: who may import whom, what the pure half may not touch, where
// things stand in the tree, and some habits that no linter knows.
//
// A Rule is a function over the text of the tree, so that each is proven able to fail by a bad example of a few lines.
// The tree is what git would commit: tracked files and new ones that are not ignored. Sizes are told, not enforced.
//
// It imports the standard library only and is imported by nobody.
package archtest
