package charts_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables of values in the charts' READMEs anew")

const (
	tableBegin = "<!-- from values.yaml: go test ./e2e/charts -run README -update -->\n"
	tableEnd   = "<!-- end -->\n"
)

// valuesTable is a table of a values.yaml: each value with its default and the comment above it. What a list holds is not
// looked into.
func valuesTable(text string) string {
	var b strings.Builder
	b.WriteString("| value | default | |\n|---|---|---|\n")
	var path, comment []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		body := strings.TrimLeft(line, " ")
		depth := (len(line) - len(body)) / 2
		switch {
		case body == "":
			comment = nil
		case strings.HasPrefix(body, "# "):
			comment = append(comment, body[2:])
		case strings.HasPrefix(body, "- "), depth > len(path):
			comment = nil
		default:
			key, value, _ := strings.Cut(body, ":")
			path = append(path[:depth], key)
			if value = strings.TrimSpace(value); value != "" || len(comment) > 0 {
				if value != "" {
					value = "`" + value + "`"
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", strings.Join(path, "."), value, strings.ReplaceAll(strings.Join(comment, " "), "|", `\|`))
			}
			comment = nil
		}
	}

	return b.String()
}

func TestREADMEsListTheValues(t *testing.T) {
	for _, name := range []string{"hub", "agent"} {
		dir := filepath.Join("../..", chart{name: name}.dir())
		values, err := os.ReadFile(filepath.Join(dir, "values.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "README.md")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head, rest, begins := strings.Cut(string(text), tableBegin)
		got, tail, ends := strings.Cut(rest, tableEnd)
		if !begins || !ends {
			t.Fatalf("%s has no place for the table", file)
		}
		want := valuesTable(string(values))
		if *update {
			if err := os.WriteFile(file, []byte(head+tableBegin+want+tableEnd+tail), 0o644); err != nil {
				t.Fatal(err)
			}

			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-values.yaml +README):\n%s", file, diff)
		}
	}
}
