package archtest

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// allowedUnimplemented is how often each directory may say that something is not implemented: what the protocol reserves
// for later (COMPARE, leases, verdicts, requests, the mass-delete guard), and nothing else anywhere.
var allowedUnimplemented = map[string]int{"hub/session": 5}

func honestTests(t *Tree) []string {
	var out []string
	for f := range t.eachGo {
		if f.IsTest() {
			out = append(out, sleeps(f)...)
			out = append(out, skips(f)...)
		}
	}

	return out
}

// sleeps finds time.Sleep; in a file of synctest bubbles it is false time and costs nothing.
func sleeps(f *File) []string {
	var out []string
	timePkg := f.nameOf("time")
	if timePkg == "" || f.nameOf("testing/synctest") != "" {
		return nil
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && isSelector(sel, timePkg, "Sleep") {
			out = append(out, f.At(sel.Pos(), "a test waits for what it wants to see, not for time to pass"))
		}

		return true
	})

	return out
}

// skips finds ways out of a test. Skip of a property's own T discards one draw and not the test.
func skips(f *File) []string {
	var out []string
	var visit func(n ast.Node, draws []string)
	visit = func(n ast.Node, draws []string) {
		ast.Inspect(n, func(m ast.Node) bool {
			switch m := m.(type) {
			case *ast.FuncLit:
				if m != n {
					visit(m, append(slices.Clone(draws), parameters(m.Type, "rapid")...))
					return false
				}
			case *ast.FuncDecl:
				draws = append(draws, parameters(m.Type, "rapid")...)
			case *ast.IfStmt:
				if mentions(m.Cond, "testing", "Short") && returns(m.Body) {
					out = append(out, f.At(m.Pos(), "a test may not be left because it is long: do fewer rounds"))
				}
			case *ast.SelectorExpr:
				x, ok := m.X.(*ast.Ident)
				skip := ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, m.Sel.Name) && !slices.Contains(draws, x.Name)
				if skip {
					out = append(out, f.At(m.Pos(), "a test may not be skipped: the harness brings what it needs"))
				}
			}

			return true
		})
	}
	for _, d := range f.AST.Decls {
		visit(d, nil)
	}

	return out
}

// mentions tells that an expression has pkg.name somewhere.
func mentions(e ast.Expr, pkg, name string) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && isSelector(sel, pkg, name) {
			found = true
		}

		return !found
	})

	return found
}

// returns tells that a block leaves its function.
func returns(body *ast.BlockStmt) bool {
	return slices.ContainsFunc(body.List, func(s ast.Stmt) bool {
		_, ok := s.(*ast.ReturnStmt)

		return ok
	})
}

// parameters is the names of a function's parameters of type *pkg.T.
func parameters(fn *ast.FuncType, pkg string) []string {
	var out []string
	for _, field := range fn.Params.List {
		star, ok := field.Type.(*ast.StarExpr)
		if !ok {
			continue
		}
		if sel, ok := star.X.(*ast.SelectorExpr); ok && isSelector(sel, pkg, "T") {
			for _, name := range field.Names {
				out = append(out, name.Name)
			}
		}
	}

	return out
}

func isSelector(sel *ast.SelectorExpr, pkg, name string) bool {
	x, ok := sel.X.(*ast.Ident)

	return ok && x.Name == pkg && sel.Sel.Name == name
}

func unimplemented(t *Tree) []string {
	found := map[string][]string{}
	for f := range t.eachGo {
		if !f.IsTest() {
			found[f.Dir()] = append(found[f.Dir()], answers(f)...)
		}
	}
	var out []string
	for dir, places := range found {
		if allowed := allowedUnimplemented[dir]; len(places) > allowed {
			out = append(out, fmt.Sprintf("%s: %d times, allowed %d: %s", dir, len(places), allowed, strings.Join(places, "; ")))
		}
	}
	slices.Sort(out)

	return out
}

// answers finds where a file says that something is not implemented. To compare a code that somebody else said is no
// answer. To embed Unimplemented…Server is one, for every method that nobody wrote; Unsafe…Server is not.
func answers(f *File) []string {
	var out []string
	read := map[ast.Expr]bool{}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CaseClause:
			for _, e := range n.List {
				read[e] = true
			}
		case *ast.BinaryExpr:
			read[n.X], read[n.Y] = true, true
		case *ast.SelectorExpr:
			if strings.HasPrefix(strings.TrimPrefix(n.Sel.Name, "Code"), "Unimplemented") && !read[n] {
				out = append(out, f.At(n.Pos(), "%s", n.Sel.Name))
			}
		}

		return true
	})

	return out
}
