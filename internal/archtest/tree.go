package archtest

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// module is the import path of the tree's root.
const module = "github.com/waterwheel-io/waterwheel"

// Tree is the repository as its rules see it: slash-separated paths relative to the root, in order.
type Tree struct {
	Files []*File
}

// File is one file of the tree. AST is nil unless it is a Go file outside testdata.
type File struct {
	Path string
	Text string
	AST  *ast.File
	fset *token.FileSet
}

// NewTree parses files given by path and text.
func NewTree(files map[string]string) (*Tree, error) {
	tree := new(Tree)
	for name, text := range files {
		f := &File{Path: name, Text: text, fset: token.NewFileSet()}
		if f.isGo() {
			var err error
			f.AST, err = parser.ParseFile(f.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return nil, fmt.Errorf("parsing the tree: %w", err)
			}
		}
		tree.Files = append(tree.Files, f)
	}
	slices.SortFunc(tree.Files, func(a, b *File) int { return strings.Compare(a.Path, b.Path) })

	return tree, nil
}

// Load reads the tree that git would commit at root.
func Load(ctx context.Context, root string) (*Tree, error) {
	cmd := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	list, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the tree: %w", err)
	}
	files := make(map[string]string)
	for name := range strings.SplitSeq(strings.TrimRight(string(list), "\x00"), "\x00") {
		text, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // removed, not yet committed
		}
		if err != nil {
			return nil, fmt.Errorf("reading the tree: %w", err)
		}
		files[name] = string(text)
		// Looking at the directory tells the test cache that new files matter.
		if _, err := os.Stat(filepath.Join(root, filepath.Dir(name))); err != nil {
			return nil, fmt.Errorf("reading the tree: %w", err)
		}
	}

	return NewTree(files)
}

func (f *File) isGo() bool {
	return strings.HasSuffix(f.Path, ".go") && !slices.Contains(strings.Split(f.Path, "/"), "testdata")
}

// Dir is the directory of the file, "." for the root.
func (f *File) Dir() string { return path.Dir(f.Path) }

// IsTest tells that it is compiled into tests only.
func (f *File) IsTest() bool { return strings.HasSuffix(f.Path, "_test.go") }

// IsGenerated tells that a generator wrote it, by the mark the Go tools agree on.
func (f *File) IsGenerated() bool { return f.AST != nil && ast.IsGenerated(f.AST) }

// At says that something is wrong at a place of the file.
func (f *File) At(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.Path, f.fset.Position(pos).Line, fmt.Sprintf(format, args...))
}

// Lines is how many lines the file has.
func (f *File) Lines() int { return strings.Count(f.Text, "\n") }

// eachGo yields the hand-written Go files.
func (t *Tree) eachGo(yield func(*File) bool) {
	for _, f := range t.Files {
		if f.AST != nil && !f.IsGenerated() && !yield(f) {
			return
		}
	}
}

// importPath is the path of an import spec, without quotes.
func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}

	return p
}

// nameOf is the name under which the file sees an import, "" if it does not.
func (f *File) nameOf(pkg string) string {
	for _, spec := range f.AST.Imports {
		if importPath(spec) != pkg {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}

		return path.Base(pkg)
	}

	return ""
}

// under tells that a slash-separated path is dir or inside it.
func under(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// underAny is under for several directories.
func underAny(p string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return under(p, d) })
}
