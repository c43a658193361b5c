package ledger

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Report is what the job's output shows.
type Report struct {
	Rows       int64  // lines, also those that count as violations
	HighMark   int64  // greatest number written; -1: none
	Gaps       int64  // numbers from 0 to HighMark that were never written
	Repeats    int64  // lines whose number had been written before
	Violations int64  // lines that are torn, or whose count does not fit their number
	First      string // first violation or repeat met: file:line: what; empty: none
	Files      int    // committed files read
}

// String is the line that programs print of a report.
func (r Report) String() string {
	return fmt.Sprintf("rows=%d high=%d gaps=%d repeats=%d violations=%d", r.Rows, r.HighMark, r.Gaps, r.Repeats, r.Violations)
}

// Err is nil if every number up to the high mark is there exactly once and fits
// its count. An empty ledger proves nothing and is an error too.
func (r Report) Err() error {
	switch {
	case r.Rows == 0:
		return errors.New("the ledger is empty")
	case r.First != "":
		return fmt.Errorf("the ledger is broken: %s: first at %s", r, r.First)
	case r.Gaps+r.Repeats+r.Violations > 0:
		return fmt.Errorf("the ledger is broken: %s", r)
	}
	return nil
}

// Check reads the committed files below dir, written by a job with that many
// keys. Files and directories whose name begins with a dot are not committed and
// do not count. An error means that dir could not be read; what is wrong with the
// content is in the report.
//
// Files of one checkpoint become visible one by one, so gaps mean something only
// after the job was stopped with a savepoint or has finished. Memory is one bit
// per number.
func Check(dir string, keys int64) (Report, error) {
	if keys <= 0 {
		return Report{}, fmt.Errorf("check the ledger: %d keys", keys)
	}
	c := checker{keys: keys, report: Report{HighMark: -1}, seen: bitmap{}}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != dir && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !e.Type().IsRegular():
			return nil
		}
		return c.file(path)
	})
	if err != nil {
		return Report{}, fmt.Errorf("check the ledger: %w", err)
	}
	c.report.Gaps = c.report.HighMark + 1 - c.seen.count()
	return c.report, nil
}

type checker struct {
	keys   int64
	report Report
	seen   bitmap
}

func (c *checker) file(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	c.report.Files++
	r := bufio.NewReaderSize(file, 64<<10)
	for number := 1; ; number++ {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			c.line(line, func(fault string) string {
				return fmt.Sprintf("%s:%d: %s: %.80q", path, number, fault, line)
			})
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull): // a line that long is a violation, piece by piece
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
}

// line takes one line, with its end if it has one, into the report.
func (c *checker) line(line []byte, describe func(fault string) string) {
	c.report.Rows++
	fault := ""
	key, count, n, whole := parse(line)
	switch {
	case !whole:
		// A torn number is no number: it would hide a gap, or raise the high mark.
		c.report.Violations++
		fault = "torn"
	case n != count*c.keys+key || key >= c.keys:
		c.report.Violations++
		fault = "the count does not fit"
	}
	if whole {
		if !c.seen.add(n) {
			c.report.Repeats++
			fault = strings.TrimPrefix(fault+", repeated", ", ")
		}
		c.report.HighMark = max(c.report.HighMark, n)
	}
	if fault != "" && c.report.First == "" {
		c.report.First = describe(fault)
	}
}

// parse reads "key,count,n\n"; whole is false for anything else.
func parse(line []byte) (key, count, n int64, whole bool) {
	line, whole = bytes.CutSuffix(line, []byte{'\n'})
	fields := bytes.Split(line, []byte{','})
	if !whole || len(fields) != 3 {
		return 0, 0, 0, false
	}
	var v [3]int64
	for i, f := range fields {
		u, err := strconv.ParseUint(string(f), 10, 63)
		if err != nil {
			return 0, 0, 0, false
		}
		v[i] = int64(u)
	}
	return v[0], v[1], v[2], true
}

// bitmap is a set of numbers, in pages: one wild number costs one page, not all
// the pages below it.
type bitmap map[int64]*[pageWords]uint64

const pageWords = 1024

// add reports whether n was new.
func (b bitmap) add(n int64) bool {
	page := b[n/(pageWords*64)]
	if page == nil {
		page = new([pageWords]uint64)
		b[n/(pageWords*64)] = page
	}
	word, bit := &page[n/64%pageWords], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

func (b bitmap) count() (n int64) {
	for _, page := range b {
		for _, word := range page {
			n += int64(bits.OnesCount64(word))
		}
	}
	return n
}
