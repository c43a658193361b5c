package archtest

import (
	"fmt"
	"go/ast"
	"path"
	"slices"
	"strings"
)

// Limits of the layout, in lines.
const (
	maxMain   = 60
	maxTarget = 5
)

// root is what may stand at the top level, besides dotfiles.
var root = []string{
	"hub", "agent", "proto", "charts", "e2e", "flink", "cmd", "internal", "docs",
	"buf.yaml", "buf.gen.yaml", "Makefile", "go.mod", "go.sum", "README.md", "LICENSE",
}

// vague are names that say nothing of what is inside.
var vague = []string{"pkg", "util", "utils", "common", "types", "helpers", "base", "manager", "mocks", "hack"}

func topLevel(t *Tree) []string {
	var out []string
	for _, f := range t.Files {
		top, _, _ := strings.Cut(f.Path, "/")
		if !strings.HasPrefix(top, ".") && !slices.Contains(root, top) {
			out = append(out, fmt.Sprintf("%s: %q may not stand at the top level", f.Path, top))
		}
	}

	return out
}

func directoryNames(t *Tree) []string {
	var out []string
	for _, f := range t.Files {
		for part := range strings.SplitSeq(f.Dir(), "/") {
			if slices.Contains(vague, part) {
				out = append(out, fmt.Sprintf("%s: a directory may not be called %q", f.Path, part))
			}
		}
	}

	return out
}

func packageDoc(t *Tree) []string {
	docs, names := map[string][]string{}, map[string]string{}
	for f := range t.eachGo {
		if f.IsTest() {
			continue
		}
		names[f.Dir()] = f.AST.Name.Name
		if f.AST.Doc != nil {
			docs[f.Dir()] = append(docs[f.Dir()], f.Path)
		}
	}
	var out []string
	for dir, name := range names {
		switch where := docs[dir]; {
		case len(where) == 0:
			out = append(out, fmt.Sprintf("%s: package %s has no package doc", dir, name))
		case len(where) > 1:
			out = append(out, fmt.Sprintf("%s: package %s has package docs in %s", dir, name, strings.Join(where, ", ")))
		case path.Base(where[0]) != "doc.go" && (name != "main" || path.Base(where[0]) != "main.go"):
			out = append(out, fmt.Sprintf("%s: the package doc stands in doc.go, or in main.go of a command", where[0]))
		}
	}
	slices.Sort(out)

	return out
}

func generatedCode(t *Tree) []string {
	var out []string
	for _, f := range t.Files {
		if f.AST == nil {
			continue
		}
		if inGen := under(f.Path, "proto/gen"); f.IsGenerated() != inGen {
			out = append(out, fmt.Sprintf("%s: generated: %t, under proto/gen: %t", f.Path, f.IsGenerated(), inGen))
		}
	}

	return out
}

func mains(t *Tree) []string {
	var out []string
	for f := range t.eachGo {
		if under(f.Path, "cmd") && path.Base(f.Path) == "main.go" && f.Lines() > maxMain {
			out = append(out, fmt.Sprintf("%s: %d lines, a main.go has at most %d", f.Path, f.Lines(), maxMain))
		}
	}

	return out
}

func makefile(t *Tree) []string {
	var out []string
	for _, f := range t.Files {
		if f.Path != "Makefile" {
			continue
		}
		target, body := "", 0
		for line := range strings.Lines(f.Text) {
			switch {
			case strings.HasPrefix(line, "\t"):
				if body++; body == maxTarget+1 {
					out = append(out, fmt.Sprintf("Makefile: target %s has more than %d lines", target, maxTarget))
				}
			case strings.Contains(line, ":"):
				target, _, _ = strings.Cut(line, ":")
				body = 0
			}
		}
	}

	return out
}

func noInit(t *Tree) []string {
	var out []string
	for f := range t.eachGo {
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, f.At(fn.Pos(), "func init"))
			}
		}
	}

	return out
}
