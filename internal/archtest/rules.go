package archtest

// Rule is one law of the house. Check returns what breaks it, one line each, with the place.
type Rule struct {
	Name  string
	Why   string
	Check func(*Tree) []string
}

// Rules are all rules, in the order of the pages that ask for them.
func Rules() []Rule {
	return []Rule{
		{"top level", "a newcomer reads the root first, so it stays short", topLevel},
		{"directory names", "a directory is named by what it does, not by how it is used", directoryNames},
		{"direction", "cmd, then hub and agent, then their parts, then internal, then flink; never upwards or sideways", direction},
		{"importers", "a format or a library has one room that knows it", importers},
		{"test helpers", "packages for tests are no part of the product", testHelpers},
		{"purity", "decisions are functions of values: no clock, no I/O, no goroutine, no channel", purity},
		{"package doc", "each package says once, in doc.go, what it is for and what it promises", packageDoc},
		{"generated", "generated code stands in proto/gen alone", generatedCode},
		{"main", "main wires and nothing else", mains},
		{"makefile", "a target longer than five lines is a program", makefile},
		{"honest tests", "a test that sleeps is slow or flaky, a test that is skipped proves nothing", honestTests},
		{"no init", "nothing happens before main", noInit},
		{"unimplemented", "only what the protocol reserves for later may answer so, and it is counted", unimplemented},
	}
}
