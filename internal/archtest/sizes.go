package archtest

import (
	"fmt"
	"go/ast"
	"slices"
)

// Sizes above which the report names something, in lines (methods for interfaces, fields for structs).
const (
	largeFile      = 500
	largeFunc      = 60
	largePackage   = 1500
	largeInterface = 5
	largeStruct    = 12
)

// Sizes tells what has grown large. It is a smell and not a law.
func Sizes(t *Tree) []string {
	var out []string
	packages := map[string]int{}
	for f := range t.eachGo {
		if f.IsTest() {
			continue
		}
		packages[f.Dir()] += f.Lines()
		if f.Lines() > largeFile {
			out = append(out, fmt.Sprintf("%s: %d lines", f.Path, f.Lines()))
		}
		out = append(out, largeParts(f)...)
	}
	for dir, lines := range packages {
		if lines > largePackage {
			out = append(out, fmt.Sprintf("%s: package of %d lines", dir, lines))
		}
	}
	slices.Sort(out)

	return out
}

func largeParts(f *File) []string {
	var out []string
	ast.Inspect(f.AST, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			lines := f.fset.Position(n.End()).Line - f.fset.Position(n.Pos()).Line + 1
			if lines > largeFunc {
				out = append(out, f.At(n.Pos(), "func %s: %d lines", n.Name.Name, lines))
			}
		case *ast.TypeSpec:
			switch typ := n.Type.(type) {
			case *ast.InterfaceType:
				if typ.Methods.NumFields() > largeInterface {
					out = append(out, f.At(n.Pos(), "interface %s: %d methods", n.Name.Name, typ.Methods.NumFields()))
				}
			case *ast.StructType:
				if typ.Fields.NumFields() > largeStruct {
					out = append(out, f.At(n.Pos(), "struct %s: %d fields", n.Name.Name, typ.Fields.NumFields()))
				}
			}
		}

		return true
	})

	return out
}
