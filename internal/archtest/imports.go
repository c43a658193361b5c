package archtest

import (
	"go/ast"
	"path"
	"strings"
)

// shared are the parts that other parts of the same parent may see.
var shared = []string{"hub/store", "agent/records", "agent/render"}

// harnesses bring what tests of a part need and no fake can stand for: a real API server.
var harnesses = []string{"e2e/apiserver"}

// messages is the code generated from proto/. A test may hold a message in its hand anywhere; the product may not.
const messages = module + "/proto/gen"

// knowers says, by import path, who may import it. The end-to-end programs may import anything.
var knowers = map[string][]string{
	messages: {
		"proto/gen", "internal/wire", "internal/cli", "hub/session", "hub/admin", "hub/ca", "agent/session", "agent/enrol",
	},
	"go.etcd.io/bbolt":              {"hub/store", "agent/disk"},
	"github.com/hashicorp/go-memdb": {"hub/store"},
	"k8s.io/client-go":              {"agent/kube"},
}

// eachImport yields the imports of hand-written Go files.
func (t *Tree) eachImport(yield func(*File, *ast.ImportSpec) bool) {
	for f := range t.eachGo {
		for _, spec := range f.AST.Imports {
			if !yield(f, spec) {
				return
			}
		}
	}
}

func direction(t *Tree) []string {
	var out []string
	for f, spec := range t.eachImport {
		to, ours := strings.CutPrefix(importPath(spec), module+"/")
		if !ours || under(to, "proto/gen") || to == f.Dir() || f.IsTest() && underAny(to, harnesses) {
			continue
		}
		if why := forbids(f.Dir(), to); why != "" {
			out = append(out, f.At(spec.Pos(), "%s may not import %s: %s", f.Dir(), to, why))
		}
	}

	return out
}

// forbids is why a package of one directory may not import that of another, "" if it may.
func forbids(from, to string) string {
	top, _, _ := strings.Cut(from, "/")
	switch top {
	case "e2e":
		return ""
	case "cmd":
		if under(to, "e2e") && !under(to, "e2e/jobs") || under(to, "cmd") { // jobs are content: examples
			return "the product does not lean on its tests, nor a command on another"
		}
	case "flink":
		if !under(to, "flink") {
			return "the domain knows nobody"
		}
	case "internal":
		if !underAny(to, []string{"internal", "flink"}) {
			return "internal is below hub and agent"
		}
	case "hub", "agent":
		return forbidsPart(top, from, to)
	default:
		return "no rule knows this directory"
	}

	return ""
}

// forbidsPart is forbids for the parent (hub or agent) and its parts.
func forbidsPart(parent, from, to string) string {
	switch {
	case underAny(to, []string{"internal", "flink"}), underAny(to, shared) && under(to, parent):
		return ""
	case !under(to, parent):
		return "hub and agent know only what is below them, never each other"
	case from == parent:
		return ""
	case to == parent:
		return "a part does not know its wiring"
	case part(from) != part(to):
		return "parts of one parent meet in its wiring"
	}

	return ""
}

// part is the first two elements of a directory: hub/session of hub/session/x.
func part(dir string) string {
	parts := strings.SplitN(dir, "/", 3)

	return strings.Join(parts[:min(2, len(parts))], "/")
}

func importers(t *Tree) []string {
	var out []string
	for f, spec := range t.eachImport {
		pkg := importPath(spec)
		for known, allowed := range knowers {
			if known == messages && f.IsTest() {
				continue
			}
			if under(pkg, known) && !underAny(f.Dir(), allowed) && !under(f.Dir(), "e2e") {
				out = append(out, f.At(spec.Pos(), "%s is for %s only", known, strings.Join(allowed, ", ")))
			}
		}
	}

	return out
}

func testHelpers(t *Tree) []string {
	var out []string
	for f, spec := range t.eachImport {
		pkg := importPath(spec)
		helper := strings.HasPrefix(pkg, module) && strings.HasSuffix(path.Base(pkg), "test")
		if helper && !f.IsTest() && !strings.HasSuffix(f.Dir(), "test") && !under(f.Dir(), "e2e") {
			out = append(out, f.At(spec.Pos(), "%s is for tests only", strings.TrimPrefix(pkg, module+"/")))
		}
	}

	return out
}
