package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"google.golang.org/protobuf/proto"
)

// Form is a kind of manifest: a message with the fields apiVersion and kind.
type Form[M proto.Message] struct {
	APIVersion string
	Kind       string
	New        func() M // an empty message
	Ignored    []string // top-level fields that are read over, such as status
}

// Document is one manifest and where it stands.
type Document[M proto.Message] struct {
	Value M
	File  string
	Line  int // of its first field, from 1
	at    map[string]position
}

// Where is the place of a field, such as spec.parallelism, as FILE:LINE:COL. For
// one that is not there it is that of what it belongs into, or FILE alone.
func (d Document[M]) Where(field string) string {
	for path := field; path != ""; path = path[:max(0, strings.LastIndexAny(path, ".["))] {
		if p, ok := d.at[path]; ok {
			return fmt.Sprintf("%s:%d:%d", d.File, p.line, p.col)
		}
	}
	return d.File
}

type position struct{ line, col int }

// Fault is one thing wrong with a file. It is an error.
type Fault struct {
	File      string
	Line, Col int // from 1; 0: the file as a whole
	Text      string
}

// Error is FILE:LINE:COL: TEXT.
func (f *Fault) Error() string {
	if f.Line == 0 {
		return f.File + ": " + f.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Col, f.Text)
}

// Faults are all things wrong with what was read, in their order there.
type Faults []*Fault

// Error has one line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.Error()
	}
	return strings.Join(lines, "\n")
}

// Read reads the documents of one file, whose name is used in messages only. A
// document may also be a list, {items: [...]}. An empty document is passed
// over. The error, if any, is Faults.
func (f Form[M]) Read(file string, data []byte) ([]Document[M], error) {
	if json.Valid(data) { // where a tab can only be white space, which YAML does not take
		data = bytes.ReplaceAll(data, []byte("\t"), []byte(" "))
	}
	r := &reader[M]{form: f, file: file}
	if at := invalid(data); at >= 0 { // which a parser would take for U+FFFD, and so change what was written
		return nil, Faults{{
			File: file, Line: 1 + bytes.Count(data[:at], []byte("\n")), Col: at - bytes.LastIndexByte(data[:at], '\n'),
			Text: fmt.Sprintf("not UTF-8: the byte 0x%02x", data[at]),
		}}
	}
	for _, part := range split(data) {
		r.line = part.line
		r.document(part.text)
	}
	if len(r.faults) > 0 {
		return nil, r.faults
	}
	return r.docs, nil
}

// invalid is where data stops being UTF-8, -1 if nowhere.
func invalid(data []byte) int {
	for at := 0; at < len(data); {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size == 1 {
			return at
		}
		at += size
	}
	return -1
}

// part is the text of one document, and how many lines are before it.
type part struct {
	line int
	text []byte
}

// split cuts at the lines that begin with "---", which YAML allows nowhere but
// between documents. (go-yaml's parser loses what follows an empty document.)
func split(data []byte) []part {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	parts := []part{{}}
	n := 0
	for line := range bytes.Lines(data) {
		rest, marker := bytes.CutPrefix(line, []byte("---"))
		if marker && (len(rest) == 0 || bytes.ContainsAny(rest[:1], " \t\r\n")) {
			parts = append(parts, part{line: n})
			line = append([]byte("   "), rest...)
		}
		last := &parts[len(parts)-1]
		last.text = append(last.text, line...)
		n++
	}
	return parts
}

type reader[M proto.Message] struct {
	form   Form[M]
	file   string
	line   int // lines before the document
	docs   []Document[M]
	faults Faults
}

func (r *reader[M]) fault(n ast.Node, format string, args ...any) {
	p := r.position(n)
	r.faults = append(r.faults, &Fault{File: r.file, Line: p.line, Col: p.col, Text: fmt.Sprintf(format, args...)})
}

func (r *reader[M]) position(n ast.Node) position {
	t := n.GetToken()
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		t = m.Values[0].Key.GetToken() // its own token is the first colon
	}
	return position{r.line + t.Position.Line, t.Position.Column}
}

func (r *reader[M]) document(text []byte) {
	tokens := lexer.Tokenize(string(text))
	if t := tooDeep(tokens); t != nil {
		r.faults = append(r.faults, &Fault{
			File: r.file, Line: r.line + t.Position.Line, Col: t.Position.Column,
			Text: fmt.Sprintf("nested deeper than %d levels", maxDepth),
		})
		return
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		r.faults = append(r.faults, r.syntax(err))
		return
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if _, ok := doc.Body.(*ast.NullNode); ok {
			continue
		}
		body, ok := doc.Body.(*ast.MappingNode)
		if !ok {
			r.fault(doc.Body, "want a %s, got %s", r.form.Kind, describe(doc.Body))
			continue
		}
		if items, ok := listed(body); ok {
			r.items(items)
			continue
		}
		r.manifest(body)
	}
}

// maxDepth is how deep lists and mappings may be nested that need no deeper indentation. No manifest comes near, and
// the parser takes time with the square of it.
const maxDepth = 64

// tooDeep is the token that goes deeper than maxDepth, nil if none does.
func tooDeep(tokens token.Tokens) *token.Token {
	flow, dashes, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			dashes, line = 0, t.Position.Line
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow = max(0, flow-1)
		case token.SequenceEntryType:
			dashes++
		default: // it opens nothing
		}
		if max(flow, dashes) > maxDepth {
			return t
		}
	}
	return nil
}

// syntax turns the parser's error into a fault of one line.
func (r *reader[M]) syntax(err error) *Fault {
	f := &Fault{File: r.file, Text: "not YAML"}
	if e, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		f.Text = e.Message
		if e.Token != nil {
			f.Line, f.Col = r.line+e.Token.Position.Line, e.Token.Position.Column
		}
	}
	return f
}

// listed reports whether a document is the list that `get -o yaml` writes.
func listed(m *ast.MappingNode) (ast.Node, bool) {
	if len(m.Values) != 1 || keyOf(m.Values[0]) != "items" {
		return nil, false
	}
	return m.Values[0].Value, true
}

func (r *reader[M]) items(n ast.Node) {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fault(n, "items: want a list, got %s", describe(n))
		return
	}
	for _, item := range list.Values {
		if body, ok := item.(*ast.MappingNode); ok {
			r.manifest(body)
		} else {
			r.fault(item, "want a %s, got %s", r.form.Kind, describe(item))
		}
	}
}

func (r *reader[M]) manifest(body *ast.MappingNode) {
	if !r.header(body, "apiVersion", r.form.APIVersion) || !r.header(body, "kind", r.form.Kind) {
		return // another schema: its fields would only be noise
	}
	m := r.form.New()
	w := walker[M]{reader: r, at: map[string]position{}}
	w.message(m.ProtoReflect(), body, "", r.form.Ignored)
	r.docs = append(r.docs, Document[M]{Value: m, File: r.file, Line: r.position(body).line, at: w.at})
}

// header checks one of the two fields that say which schema this is.
func (r *reader[M]) header(body *ast.MappingNode, field, want string) bool {
	for _, kv := range body.Values {
		if keyOf(kv) != field {
			continue
		}
		if s, ok := kv.Value.(*ast.StringNode); !ok || s.Value != want {
			r.fault(kv.Value, "%s: want %s, got %s", field, want, describe(kv.Value))
			return false
		}
		return true
	}
	r.fault(body, "%s is missing: want %s", field, want)
	return false
}

func keyOf(kv *ast.MappingValueNode) string {
	if s, ok := kv.Key.(*ast.StringNode); ok {
		return s.Value
	}
	return kv.Key.GetToken().Value
}

// describe is a node as an error may show it.
func describe(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.StringNode:
		return fmt.Sprintf("the text %.40q", n.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return "the truth value " + n.GetToken().Value
	case *ast.LiteralNode:
		return "a text of lines"
	}
	return "something else"
}
