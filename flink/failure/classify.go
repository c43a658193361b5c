package failure

import (
	"slices"
	"strings"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Where is the place in a run's life in which a failure was read.
type Where string

// The places.
const (
	AtStart   Where = "start"   // preflight or hand-in of the program
	AtRestore Where = "restore" // the job ended before all its tasks ran once
	AtRunning Where = "running" // after that
	AtTrigger Where = "trigger" // a savepoint or a stop
	InLog     Where = "log"     // the log of a process that ended
)

// Kind is what a failure means for the next try.
type Kind string

// The kinds.
const (
	Unknown   Kind = ""          // not in the table
	Transient Kind = "Transient" // the same again may work
	Permanent Kind = "Permanent" // only another spec, jar, snapshot or place helps
)

// Verdict is what the table says about a failure.
type Verdict struct {
	ID       string // row, stable; empty when unknown
	Kind     Kind
	Sentence string // what it means and what helps, for people; empty when unknown
}

// Or is v, or kind when the table did not know.
func (v Verdict) Or(kind Kind) Kind {
	if v.Kind == Unknown {
		return kind
	}
	return v.Kind
}

// Row is one known failure. It matches a chain of which any link has one of
// the Classes (none: any class) and one of the Texts in its message (none: any text).
type Row struct {
	ID       string
	Where    []Where // none: anywhere
	Classes  []string
	Texts    []string
	Kind     Kind
	Sentence string
	Tells    bool // its link says more to people than the innermost one
}

// Telling is the link of a chain that says most to people: the innermost one, unless the row that the chain matches says
// of itself that its own link does.
func Telling(chain []Link, where Where) flink.Cause {
	for _, r := range rows {
		i := r.find(chain, where)
		if i < 0 {
			continue
		}
		if r.Tells {
			return flink.Cause{Class: chain[i].Class, Message: chain[i].Message}
		}
		break
	}
	return Innermost(chain)
}

// Classify finds the first row that matches a chain read at a place.
func Classify(chain []Link, where Where) Verdict {
	for _, r := range rows {
		if r.find(chain, where) >= 0 {
			return Verdict{ID: r.ID, Kind: r.Kind, Sentence: r.Sentence}
		}
	}
	return Verdict{}
}

// ClassifyCause is Classify for what an observation keeps of a chain.
func ClassifyCause(c *flink.Cause, where Where) Verdict {
	if c == nil {
		return Verdict{}
	}
	chain := []Link{{Class: c.Class, Message: c.Message}}
	if c.Top != "" {
		chain = slices.Insert(chain, 0, Link{Class: c.Top})
	}
	return Classify(chain, where)
}

// Rows returns a copy of the table, in the order in which it is searched.
func Rows() []Row { return slices.Clone(rows) }

// find is the first link of a chain that the row matches, -1 when there is none.
func (r Row) find(chain []Link, where Where) int {
	if len(r.Where) > 0 && !slices.Contains(r.Where, where) {
		return -1
	}
	return slices.IndexFunc(chain, func(l Link) bool {
		return matchesClass(r.Classes, l.Class) && matchesText(r.Texts, l.Message)
	})
}

// matchesClass compares whole class names, or their last parts for names without a package.
func matchesClass(names []string, class string) bool {
	if len(names) == 0 {
		return true
	}
	simple := class[strings.LastIndexAny(class, ".$")+1:]
	return slices.ContainsFunc(names, func(n string) bool {
		return n == class || n == simple && !strings.Contains(n, ".")
	})
}

func matchesText(texts []string, message string) bool {
	return len(texts) == 0 || slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(message, t) })
}
