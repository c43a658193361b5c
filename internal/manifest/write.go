package manifest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// JSON writes a message, indented, with a newline at its end.
func JSON(m proto.Message) []byte { return jsonText(mapping(m.ProtoReflect())) }

// YAML writes a message as block YAML.
func YAML(m proto.Message) []byte { return yamlText(mapping(m.ProtoReflect())) }

// ListJSON writes messages as {"items": [...]}.
func ListJSON[M proto.Message](items []M) []byte { return jsonText(list(items)) }

// ListYAML writes messages as {items: [...]}.
func ListYAML[M proto.Message](items []M) []byte { return yamlText(list(items)) }

// The forms of a value on its way out: object, array, string, or bare.
type (
	object []entry
	array  []any
	bare   string // a number or truth value, as written
	entry  struct {
		name  string
		value any
	}
)

func list[M proto.Message](items []M) object {
	out := make(array, len(items))
	for i, m := range items {
		out[i] = mapping(m.ProtoReflect())
	}
	return object{{"items", out}}
}

// mapping holds the fields that are set, in the order of the schema, as protobuf's JSON has them.
func mapping(m protoreflect.Message) object {
	out := object{}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if m.Has(fd) {
			out = append(out, entry{fd.JSONName(), valueOf(fd, m.Get(fd))})
		}
	}
	return out
}

func valueOf(fd protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch {
	case fd.IsMap():
		out := object{}
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			out = append(out, entry{k.String(), single(fd.MapValue(), v)})
			return true
		})
		slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.name, b.name) })
		return out
	case fd.IsList():
		out := make(array, v.List().Len())
		for i := range out {
			out[i] = single(fd, v.List().Get(i))
		}
		return out
	}
	return single(fd, v)
}

func single(fd protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if fd.Message().FullName() == timestampName {
			return timestampText(v.Message())
		}
		return mapping(v.Message())
	case protoreflect.BoolKind, protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind,
		protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return bare(v.String())
	case protoreflect.BytesKind:
		return base64.StdEncoding.EncodeToString(v.Bytes())
	case protoreflect.EnumKind:
		if d := fd.Enum().Values().ByNumber(v.Enum()); d != nil {
			return string(d.Name())
		}
		return bare(strconv.Itoa(int(v.Enum())))
	default:
		return v.String() // texts; and numbers of 64 bits, which JSON cannot hold
	}
}

// timestampText is the time as protobuf's JSON has it; a time that it cannot write is shown as seconds.
func timestampText(m protoreflect.Message) string {
	quoted, err := protojson.Marshal(m.Interface())
	if err != nil {
		return fmt.Sprint(m.Interface())
	}
	return strings.Trim(string(quoted), `"`)
}

func jsonText(v any) []byte {
	var b bytes.Buffer
	writeJSON(&b, v, "\n")
	b.WriteByte('\n')
	return b.Bytes()
}

func writeJSON(b *bytes.Buffer, v any, newline string) {
	below := newline + "  "
	switch v := v.(type) {
	case object:
		b.WriteByte('{')
		for i, e := range v {
			separate(b, i, below)
			b.WriteString(quote(e.name) + ": ")
			writeJSON(b, e.value, below)
		}
		closeWith(b, len(v), newline, '}')
	case array:
		b.WriteByte('[')
		for i, e := range v {
			separate(b, i, below)
			writeJSON(b, e, below)
		}
		closeWith(b, len(v), newline, ']')
	case bare:
		b.WriteString(string(v))
	case string:
		b.WriteString(quote(v))
	}
}

func separate(b *bytes.Buffer, i int, newline string) {
	if i > 0 {
		b.WriteByte(',')
	}
	b.WriteString(newline)
}

func closeWith(b *bytes.Buffer, n int, newline string, c byte) {
	if n > 0 {
		b.WriteString(newline)
	}
	b.WriteByte(c)
}

func yamlText(v object) []byte {
	if len(v) == 0 {
		return []byte("{}\n")
	}
	var b bytes.Buffer
	writeBlock(&b, v, "")
	return b.Bytes()
}

// writeBlock writes entries at an indent; the first line's indent is already there.
func writeBlock(b *bytes.Buffer, v object, indent string) {
	for i, e := range v {
		if i > 0 {
			b.WriteString(indent)
		}
		b.WriteString(plainOrQuoted(e.name) + ":")
		switch value := e.value.(type) {
		case object:
			if len(value) == 0 {
				b.WriteString(" {}\n")
				continue
			}
			b.WriteString("\n" + indent + "  ")
			writeBlock(b, value, indent+"  ")
		case array:
			writeSequence(b, value, indent)
		default:
			b.WriteString(" " + scalarText(value) + "\n")
		}
	}
}

func writeSequence(b *bytes.Buffer, v array, indent string) {
	if len(v) == 0 {
		b.WriteString(" []\n")
		return
	}
	b.WriteByte('\n')
	for _, item := range v {
		b.WriteString(indent + "- ")
		if o, ok := item.(object); ok && len(o) > 0 {
			writeBlock(b, o, indent+"  ")
			continue
		}
		b.WriteString(scalarText(item) + "\n")
	}
}

func scalarText(v any) string {
	switch v := v.(type) {
	case bare:
		return string(v)
	case string:
		return plainOrQuoted(v)
	}
	return "{}"
}

var (
	plainForm = regexp.MustCompile(`^[A-Za-z/_][A-Za-z0-9_./@+=:-]*$`)
	wordForm  = regexp.MustCompile(`^(?i:true|false|null|yes|no|on|off|y|n)$`)
)

// plainOrQuoted leaves the quotes away only where no reader of any YAML version
// could take the text for something else.
func plainOrQuoted(s string) string {
	if plainForm.MatchString(s) && !strings.HasSuffix(s, ":") && !wordForm.MatchString(s) {
		return s
	}
	return quote(s)
}

// quote writes a text in double quotes, alike in JSON and YAML.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r >= 0x7f && r <= 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
