package manifest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/waterwheel-io/waterwheel/flink"
)

const timestampName = "google.protobuf.Timestamp"

// walker fills a message from a document, side by side with its descriptor.
type walker[M proto.Message] struct {
	*reader[M]
	at map[string]position // where each field stands
}

func (w walker[M]) message(m protoreflect.Message, n ast.Node, path string, ignored []string) {
	body, ok := n.(*ast.MappingNode)
	if !ok {
		w.mismatch(n, path, "a mapping")
		return
	}
	fields := m.Descriptor().Fields()
	for _, kv := range body.Values {
		name, ok := w.key(kv)
		if !ok || slices.Contains(ignored, name) {
			continue
		}
		fd := fields.ByJSONName(name)
		if fd == nil {
			w.fault(kv.Key, "unknown field %q%s", name, w.near(name, fields))
			continue
		}
		at := join(path, name)
		w.at[at] = w.position(kv.Key)
		if _, null := kv.Value.(*ast.NullNode); !null {
			w.field(m, fd, kv.Value, at)
		}
	}
}

// key is the name of an entry; false after a fault.
func (w walker[M]) key(kv *ast.MappingValueNode) (string, bool) {
	switch k := kv.Key.(type) {
	case *ast.StringNode:
		return k.Value, true
	case *ast.MergeKeyNode:
		w.fault(k, "merge keys are not taken: write the fields out")
	default:
		w.fault(kv.Key, "a key must be a text: write %q", kv.Key.GetToken().Value)
	}
	return "", false
}

func (w walker[M]) near(name string, fields protoreflect.FieldDescriptors) string {
	names := make([]string, fields.Len())
	for i := range names {
		names[i] = fields.Get(i).JSONName()
		if strings.EqualFold(strings.ReplaceAll(name, "_", ""), names[i]) {
			return fmt.Sprintf(" (did you mean %q?)", names[i])
		}
	}
	if near := flink.Near(name, names); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

func (w walker[M]) field(m protoreflect.Message, fd protoreflect.FieldDescriptor, n ast.Node, path string) {
	switch {
	case fd.IsMap():
		w.table(m.Mutable(fd).Map(), fd, n, path)
	case fd.IsList():
		w.list(m.Mutable(fd).List(), fd, n, path)
	case fd.Message() != nil && fd.Message().FullName() == timestampName:
		if t, ok := w.timestamp(n, path); ok {
			m.Set(fd, protoreflect.ValueOfMessage(timestamppb.New(t).ProtoReflect()))
		}
	case fd.Message() != nil:
		w.message(m.Mutable(fd).Message(), n, path, nil)
	default:
		if v, ok := w.scalar(fd, n, path); ok {
			m.Set(fd, v)
		}
	}
}

func (w walker[M]) table(into protoreflect.Map, fd protoreflect.FieldDescriptor, n ast.Node, path string) {
	body, ok := n.(*ast.MappingNode)
	if !ok {
		w.mismatch(n, path, "a mapping")
		return
	}
	for _, kv := range body.Values {
		name, ok := w.key(kv)
		if !ok {
			continue
		}
		at := fmt.Sprintf("%s[%q]", path, name)
		w.at[at] = w.position(kv.Key)
		if v, ok := w.scalar(fd.MapValue(), kv.Value, at); ok {
			into.Set(protoreflect.ValueOfString(name).MapKey(), v)
		}
	}
}

func (w walker[M]) list(into protoreflect.List, fd protoreflect.FieldDescriptor, n ast.Node, path string) {
	body, ok := n.(*ast.SequenceNode)
	if !ok {
		w.mismatch(n, path, "a list")
		return
	}
	for i, item := range body.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		w.at[at] = w.position(item)
		if fd.Message() != nil {
			element := into.NewElement()
			w.message(element.Message(), item, at, nil)
			into.Append(element)
		} else if v, ok := w.scalar(fd, item, at); ok {
			into.Append(v)
		}
	}
}

func (w walker[M]) scalar(fd protoreflect.FieldDescriptor, n ast.Node, path string) (protoreflect.Value, bool) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		if s, ok := text(n); ok {
			return protoreflect.ValueOfString(s), true
		}
		w.mismatch(n, path, "a text")
	case protoreflect.BoolKind:
		if b, ok := n.(*ast.BoolNode); ok {
			return protoreflect.ValueOfBool(b.Value), true
		}
		w.mismatch(n, path, "true or false")
	case protoreflect.Int32Kind:
		if i, ok := integer(n, math.MinInt32, math.MaxInt32); ok {
			if i == 0 && !fd.HasPresence() {
				w.fault(n, "%s: \"0\": cannot be asked for: leave the field out for its default", path)
				return protoreflect.Value{}, false
			}
			return protoreflect.ValueOfInt32(int32(i)), true
		}
		w.mismatch(n, path, "a whole number of 32 bits")
	default:
		w.fault(n, "%s: cannot be given in a file", path)
	}
	return protoreflect.Value{}, false
}

func (w walker[M]) timestamp(n ast.Node, path string) (time.Time, bool) {
	if s, ok := text(n); ok {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			return t, true
		}
	}
	w.mismatch(n, path, `a time such as "2026-01-02T03:04:05Z"`)
	return time.Time{}, false
}

// mismatch says what was wanted, and where a number or truth value only lacks quotes, that.
func (w walker[M]) mismatch(n ast.Node, path, want string) {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode:
		w.fault(n, "%s: anchors and aliases are not taken: write the value out", path)
		return
	case *ast.TagNode:
		w.fault(n, "%s: tags are not taken: write the plain value", path)
		return
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		if want == "a text" {
			w.fault(n, "%s: want a text, got %s: put it in quotes, \"%s\"", path, describe(n), n.GetToken().Value)
			return
		}
	case *ast.StringNode:
		if strings.HasPrefix(want, "a whole") {
			w.fault(n, "%s: want %s, got %s: no quotes around it", path, want, describe(n))
			return
		}
	}
	w.fault(n, "%s: want %s, got %s", path, want, describe(n))
}

func text(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

func integer(n ast.Node, low, high int64) (int64, bool) {
	if _, ok := n.(*ast.IntegerNode); !ok {
		return 0, false
	}
	i, err := strconv.ParseInt(n.GetToken().Value, 10, 64)
	return i, err == nil && low <= i && i <= high
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
