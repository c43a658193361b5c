package config

import (
	"slices"
	"strings"
)

// Entry is one setting.
type Entry struct{ Key, Value string }

// settings is an ordered list of entries without two of one key.
type settings struct{ entries []Entry }

// set adds an entry or replaces the value of its key in place.
func (s *settings) set(key, value string) {
	if i := slices.IndexFunc(s.entries, func(e Entry) bool { return e.Key == key }); i >= 0 {
		s.entries[i].Value = value
		return
	}
	s.entries = append(s.entries, Entry{Key: key, Value: value})
}

// yaml writes the entries as flat top-level keys, which every Flink version since 1.19 takes.
func (s *settings) yaml() string {
	var b strings.Builder
	for _, e := range s.entries {
		b.WriteString(scalar(e.Key))
		b.WriteString(": ")
		b.WriteString(scalar(e.Value))
		b.WriteByte('\n')
	}
	return b.String()
}

// scalar writes s so that every YAML reader takes it for this very string, or
// for the whole number or truth value that it is: Flink reads both from either.
func scalar(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff:
			b.WriteString(hexEscape(r))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// plain reports whether s can stand without quotes: a word or a URI that
// begins with a letter, or a whole number.
func plain(s string) bool {
	if s == "" || strings.EqualFold(s, "null") {
		return false
	}
	if !strings.ContainsFunc(s, func(r rune) bool { return !digit(r) }) {
		return len(s) <= 15 && (s == "0" || s[0] != '0')
	}
	scheme, rest, uri := strings.Cut(s, "://")
	if uri {
		s = scheme + rest
	}
	return letter(rune(s[0])) && scheme != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !letter(r) && !digit(r) && !strings.ContainsRune("._-/", r)
	})
}

func letter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
func digit(r rune) bool  { return r >= '0' && r <= '9' }

func hexEscape(r rune) string {
	const digits = "0123456789abcdef"
	return string([]byte{'\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15]})
}
