package process

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// listening is what a JobManager logs when its REST is up.
const listening = "Rest endpoint listening at"

// cameUp reports whether a JobManager start ever got so far that it could be
// handed a job. A log that was rolled over has seen days of work.
func (d runDir) cameUp(jm role) bool {
	if rolled, err := filepath.Glob(d.log(jm) + ".*"); err != nil || len(rolled) > 0 {
		return true
	}
	log, err := os.ReadFile(d.log(jm))
	return err == nil && bytes.Contains(log, []byte(listening))
}

// Bounds of reading logs.
const (
	tailBytes  = 64 << 10
	reasonRune = 300
)

// lastWords is the cause of a process's end as its log tells it; empty for ends
// by a signal or without a fault. Of an ended process it does not change.
func (r *Runtime) lastWords(d runDir, ro role, exit int) string {
	if exit <= 0 || exit == 128+9 || exit == 128+15 {
		return ""
	}
	log := d.log(ro)
	r.mu.Lock()
	reason, ok := r.reasons[log]
	r.mu.Unlock()
	if ok {
		return reason
	}
	if reason = cause(tail(log)); reason == "" {
		reason = lastLine(tail(d.out(ro)))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reasons) >= 1000 { // it fills up with runs that are long gone
		clear(r.reasons)
	}
	r.reasons[log] = reason
	return reason
}

// cause finds what went wrong in the end of a Flink log: memory before all else,
// then the innermost cause of the last chain, then the last exception.
func cause(log string) string {
	var memory, inner, outer string
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if i := strings.Index(line, "java.lang.OutOfMemoryError"); i >= 0 {
			memory = line[i:]
		}
		if rest, ok := strings.CutPrefix(line, "Caused by: "); ok {
			inner = rest
		} else if class, _, _ := strings.Cut(line, ":"); !strings.ContainsAny(class, " \t") &&
			(strings.HasSuffix(class, "Exception") || strings.HasSuffix(class, "Error")) {
			inner, outer = "", line
		}
	}
	for _, s := range []string{memory, inner, outer} {
		if s != "" {
			return shortened(s)
		}
	}
	return ""
}

func lastLine(out string) string {
	out = strings.TrimSpace(out)
	return shortened(strings.TrimSpace(out[strings.LastIndexByte(out, '\n')+1:]))
}

func shortened(s string) string {
	if runes := []rune(s); len(runes) > reasonRune {
		return string(runes[:reasonRune]) + "…"
	}
	return s
}

// tail is the end of a file, empty when it cannot be read.
func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > tailBytes {
		if _, err := f.Seek(-tailBytes, io.SeekEnd); err != nil {
			return ""
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, tailBytes))
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(string(data), "�")
}
