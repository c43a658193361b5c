package archtest

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// impure are packages of the standard library, with all below them, that reach outside the values a function is given.
var impure = []string{
	"context", "crypto/rand", "database", "debug", "expvar", "io/fs", "io/ioutil", "log", "math/rand", "net", "os",
	"path/filepath", "plugin", "runtime", "sync", "syscall", "testing", "unsafe",
}

// clock are the functions of package time that look at the clock or wait for it.
var clock = []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer", "Sleep"}

// purePlaces says which directories are pure and what they may see besides the standard library and flink.
var purePlaces = map[string][]string{
	"flink":        nil,
	"agent/render": {"k8s.io/api", "k8s.io/apimachinery"},
}

func purity(t *Tree) []string {
	var out []string
	for f := range t.eachGo {
		for dir, more := range purePlaces {
			if f.IsTest() || !under(f.Dir(), dir) {
				continue
			}
			out = append(out, impureImports(f, more)...)
			out = append(out, impureCode(f)...)
		}
	}

	return out
}

func impureImports(f *File, more []string) []string {
	var out []string
	for _, spec := range f.AST.Imports {
		pkg := importPath(spec)
		first, _, _ := strings.Cut(pkg, "/")
		switch {
		case strings.Contains(first, "."): // not of the standard library
			if !under(pkg, module+"/flink") && !underAny(pkg, more) {
				out = append(out, f.At(spec.Pos(), "pure code may not import %s", pkg))
			}
		case pkg != "net/url" && underAny(pkg, impure):
			out = append(out, f.At(spec.Pos(), "pure code may not import %s", pkg))
		}
	}

	return out
}

func impureCode(f *File) []string {
	var out []string
	timePkg := f.nameOf("time")
	ast.Inspect(f.AST, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			out = append(out, f.At(n.Pos(), "pure code may not start a goroutine"))
		case *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
			out = append(out, f.At(n.Pos(), "pure code may not use channels"))
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				out = append(out, f.At(n.Pos(), "pure code may not use channels"))
			}
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && timePkg != "" && x.Name == timePkg && slices.Contains(clock, n.Sel.Name) {
				out = append(out, f.At(n.Pos(), "pure code may not use time.%s: now is an argument", n.Sel.Name))
			}
		}

		return true
	})

	return out
}
