package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/waterwheel-io/waterwheel/flink"
)

// colour is how a cell is written on a terminal.
type colour string

const (
	noColour colour = ""
	green    colour = "\x1b[32m"
	red      colour = "\x1b[31m"
	yellow   colour = "\x1b[33m"
	reset           = "\x1b[0m"
)

// cell is one field of a table.
type cell struct {
	text   string
	colour colour
	ages   bool // changes by itself as time goes by
}

func plain(s string) cell { return cell{text: s} }

func number(n int32) cell { return cell{text: fmt.Sprint(n)} }

// table is aligned columns. Columns only grow, so that rows may be written later.
type table struct {
	header []string
	widths []int
	rows   [][]cell
}

func newTable(header ...string) *table {
	t := &table{header: header, widths: make([]int, len(header))}
	for i, h := range header {
		t.widths[i] = len(h)
	}
	return t
}

func (t *table) add(row ...cell) {
	for i := range row {
		if row[i].text = oneLine(row[i].text); row[i].text == "" {
			row[i].text = "-"
		}
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(row[i].text))
	}
	t.rows = append(t.rows, row)
}

// write writes the header and all rows.
func (t *table) write(w io.Writer, colours bool) error {
	header := make([]cell, len(t.header))
	for i, h := range t.header {
		header[i] = plain(h)
	}
	var b bytes.Buffer
	t.line(&b, header, false)
	for _, row := range t.rows {
		t.line(&b, row, colours)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func (t *table) line(b *bytes.Buffer, row []cell, colours bool) {
	for i, c := range row {
		text := c.text
		if colours && c.colour != noColour {
			text = string(c.colour) + text + reset
		}
		b.WriteString(text)
		if i < len(row)-1 {
			b.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(c.text)+3))
		}
	}
	b.WriteByte('\n')
}

// age is how long ago something was, such as 45s, 5m, 2h or 3d.
func age(now time.Time, at *timestamppb.Timestamp) string {
	if at == nil {
		return ""
	}
	return short(now.Sub(at.AsTime()))
}

// until is how far something is ahead, such as "in 23h", or "ended 5m ago".
func until(now time.Time, at *timestamppb.Timestamp) string {
	if at == nil {
		return ""
	}
	if d := at.AsTime().Sub(now); d > 0 {
		return "in " + short(d)
	}
	return "ended " + age(now, at) + " ago"
}

func short(d time.Duration) string {
	switch {
	case d < 0:
		return "0s" // the clocks differ
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	for _, u := range []struct {
		size   int64
		suffix string
	}{{1 << 30, "Gi"}, {1 << 20, "Mi"}, {1 << 10, "Ki"}} {
		if n >= u.size {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(u.size)), ".0") + u.suffix
		}
	}
	return fmt.Sprint(n)
}

func orDefault(tenant string) string {
	if tenant == "" {
		return flink.DefaultTenant
	}
	return tenant
}
