package archtest

import (
	"testing"
)

func TestTheTreeKeepsTheRules(t *testing.T) {
	tree, err := Load(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Files) < 50 {
		t.Fatalf("only %d files: this is not the whole tree", len(tree.Files))
	}
	for _, rule := range Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			for _, line := range rule.Check(tree) {
				t.Errorf("%s (%s)", line, rule.Why)
			}
		})
	}
	for _, line := range Sizes(tree) {
		t.Logf("large: %s", line)
	}
}
