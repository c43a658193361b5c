package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Level is how bad a finding is.
type Level string

// The levels. A warning is no reason not to start.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "FAIL"
)

// Finding is one thing that was looked at.
type Finding struct {
	Level   Level  `json:"level"`
	What    string `json:"what"`
	Finding string `json:"finding"`
	Remedy  string `json:"remedy,omitempty"`
}

// Check looks at one thing, or at several that follow from each other.
type Check struct {
	What  string
	Limit time.Duration // for all of it; 0: defaultLimit
	Look  func(context.Context) []Finding
}

const defaultLimit = 10 * time.Second

// late is how long a look that does not heed its deadline is waited for beyond it.
const late = time.Second

// Run does all checks, side by side, and returns what they found in the checks' order.
func Run(ctx context.Context, checks []Check) []Finding {
	found := make([][]Finding, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() { found[i] = c.run(ctx) })
	}
	all.Wait()

	return slices.Concat(found...)
}

// run keeps the deadline also of a look that does not.
func (c Check) run(ctx context.Context) []Finding {
	limit := c.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	found := make(chan []Finding, 1)
	go func() { found <- c.Look(ctx) }()
	given := time.NewTimer(limit + late)
	defer given.Stop()
	select {
	case f := <-found:
		return f
	case <-given.C:
		return []Finding{{Fail, c.What, fmt.Sprintf("no answer within %s", limit), "find out what hangs there, and ask again"}}
	}
}

// Failed tells that something has to be mended first.
func Failed(found []Finding) bool {
	return slices.ContainsFunc(found, func(f Finding) bool { return f.Level == Fail })
}

// Write writes one line for each finding, in columns.
func Write(w io.Writer, found []Finding) error {
	wide := func(of func(Finding) string) int {
		n := 0
		for _, f := range found {
			n = max(n, utf8.RuneCountInString(of(f)))
		}

		return n
	}
	what := wide(func(f Finding) string { return f.What })
	var b strings.Builder
	for _, f := range found {
		line := fmt.Sprintf("%-4s  %-*s  %s", f.Level, what, f.What, oneLine(f.Finding))
		if f.Remedy != "" {
			line += "  -> " + oneLine(f.Remedy)
		}
		b.WriteString(line + "\n")
	}
	_, err := io.WriteString(w, b.String())

	return err
}

// WriteJSON writes {"items": [...]}.
func WriteJSON(w io.Writer, found []Finding) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")

	return enc.Encode(struct {
		Items []Finding `json:"items"`
	}{found})
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
