package dev

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// progress tells people what takes time. On a terminal the line of the step
// under way changes; elsewhere each step is one line when it is done.
type progress struct {
	out   io.Writer
	tty   bool
	start time.Time
	mu    sync.Mutex
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out, start: time.Now()}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.tty = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return p
}

const stepWidth = 18

// step does one step; what do says last stands beside its name.
func (p *progress) step(name string, do func(say func(string)) error) error {
	began := time.Now()
	said := ""
	say := func(text string) {
		p.mu.Lock()
		defer p.mu.Unlock()
		said = text
		if p.tty {
			fmt.Fprintf(p.out, "\r\033[K… %-*s %s", stepWidth, name, clip(text))
		}
	}
	say("")
	err := do(say)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tty {
		fmt.Fprint(p.out, "\r\033[K")
	}
	took := time.Since(began).Seconds()
	if err != nil {
		fmt.Fprintf(p.out, "✗ %-*s %6.1f s\n", stepWidth, name, took)
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintln(p.out, strings.TrimRight(fmt.Sprintf("✓ %-*s %6.1f s  %s", stepWidth, name, took, said), " "))
	return nil
}

// note tells of something that took no time.
func (p *progress) note(name, text string) {
	p.line("✓ %-*s %8s  %s", stepWidth, name, "", text)
}

// lack tells of something that is missing, and that the world goes without.
func (p *progress) lack(name, text string) {
	p.line("- %-*s %8s  %s", stepWidth, name, "", text)
}

func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.out, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

// clip keeps a changing line within a narrow terminal.
func clip(s string) string {
	const most = 56
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
