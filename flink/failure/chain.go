package failure

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Limits of what is kept of a failure.
const (
	MaxMessage = 1024 // bytes of one message
	MaxLinks   = 32   // links of one chain; the outermost and the innermost are kept
	maxText    = 1 << 20
)

// Link is one throwable of a cause chain.
type Link struct {
	Class   string // full class name; empty when the text names none
	Message string // one line, at most MaxMessage bytes
}

// wrappers are classes that only carry another throwable over a thread or a wire.
var wrappers = []string{
	"java.util.concurrent.CompletionException",
	"java.util.concurrent.ExecutionException",
	"org.apache.flink.util.SerializedThrowable",
	"org.apache.flink.runtime.rest.handler.RestHandlerException",
}

// generic are classes that say nothing about what went wrong.
var generic = append(slices.Clone(wrappers),
	"java.lang.Exception", "java.lang.RuntimeException", "org.apache.flink.util.FlinkException",
	"org.apache.flink.util.FlinkRuntimeException", "org.apache.flink.runtime.JobException",
)

// className matches a dotted Java class name; classOnly a text that is nothing else.
var (
	className = regexp.MustCompile(`^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)+(: |:?$)`)
	frame     = regexp.MustCompile(`^\s*(at [\w.$/<>@-]+[.(/]|\.\.\. \d+ (more|common frames))`)
)

// Parse reads a Java stack text, outermost throwable first. Carriers such as a
// doubled CompletionException are left out, what they carry is kept. A text
// without any class is one link with a message alone; an empty text is no link.
func Parse(text string) []Link {
	if len(text) > maxText {
		text = text[:maxText]
	}
	var chain []Link
	for _, block := range blocks(text) {
		if l, ok := unwrap(parseLink(block)); ok {
			chain = append(chain, l)
		}
	}
	chain = compact(chain)
	if len(chain) > MaxLinks {
		chain = slices.Concat(chain[:1], chain[len(chain)-MaxLinks+1:])
	}
	return chain
}

// blocks cuts a stack text into the head (class and message) of each throwable.
func blocks(text string) []string {
	var heads []string
	var head []string
	inHead := true
	flush := func() {
		if s := strings.TrimSpace(strings.Join(head, "\n")); s != "" {
			heads = append(heads, s)
		}
		head = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch rest, caused := strings.CutPrefix(line, "Caused by: "); {
		case strings.HasPrefix(line, "<Exception on server side:"), strings.HasPrefix(line, "End of exception on server side"):
			flush()
			inHead = strings.HasPrefix(line, "<")
		case caused:
			flush()
			inHead, head = true, append(head, rest)
		case frame.MatchString(line), strings.HasPrefix(line, "\tSuppressed: "), strings.HasPrefix(line, "\t["),
			strings.HasPrefix(line, "Classpath: ["): // behind it stands what main() printed, which is nobody's business
			inHead = false
		case inHead:
			head = append(head, line)
		}
	}
	flush()
	return heads
}

func parseLink(head string) Link {
	m := className.FindString(head)
	if m == "" {
		return Link{Message: OneLine(head)}
	}
	return Link{Class: strings.TrimRight(m, ": "), Message: OneLine(head[len(m):])}
}

// unwrap replaces a carrier by what its message says it carries. ok is false
// for a carrier that says nothing more than the link after it.
func unwrap(l Link) (Link, bool) {
	for range MaxLinks {
		if !slices.Contains(wrappers, l.Class) {
			return l, l != Link{}
		}
		inner := parseLink(l.Message)
		if inner.Class == "" {
			return l, true
		}
		l = inner
	}
	return l, true
}

// compact drops a link that its cause repeats, which is what an unwrapped
// carrier leaves, and wrappers that have a cause.
func compact(chain []Link) []Link {
	out := chain[:0:0]
	for i, l := range chain {
		last := i == len(chain)-1
		if !last && (l == chain[i+1] || slices.Contains(wrappers, l.Class)) {
			continue
		}
		out = append(out, l)
	}
	return out
}

// Innermost is the cause at the end of a chain. Top is the outermost class that
// says more than "it failed", when there is one besides the innermost.
func Innermost(chain []Link) flink.Cause {
	if len(chain) == 0 {
		return flink.Cause{}
	}
	last := chain[len(chain)-1]
	c := flink.Cause{Class: last.Class, Message: last.Message}
	for _, l := range chain[:len(chain)-1] {
		if l.Class != "" && l.Class != last.Class && !slices.Contains(generic, l.Class) {
			c.Top = l.Class
			break
		}
	}
	return c
}

// OneLine brings a message to one line of at most MaxMessage bytes.
func OneLine(s string) string {
	if len(s) > 8*MaxMessage {
		s = s[:8*MaxMessage]
	}
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) <= MaxMessage {
		return s
	}
	const more = "…"
	cut := MaxMessage - len(more)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}
