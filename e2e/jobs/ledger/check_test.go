package ledger

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lines writes the lines from number on, below to, of a ledger with 3 keys.
func lines(from, to int) string {
	var b strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintf(&b, "%d,%d,%d\n", n%3, n/3, n)
	}
	return b.String()
}

func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCheckFindsEachFault(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
		first string // part of Err; empty: the ledger is whole
	}{
		"whole, in any order and place": {
			files: map[string]string{"part-b-0": lines(0, 4), "part-a-0": lines(7, 10), "2026-01-01--00/part-c-1": lines(4, 7), "empty": ""},
			want:  "rows=10 high=9 gaps=0 repeats=0 violations=0",
		},
		"uncommitted files do not count": {
			files: map[string]string{"part-0": lines(0, 4), ".part-1.inprogress.x": lines(4, 6) + "1,", ".staging/part-2": lines(0, 9)},
			want:  "rows=4 high=3 gaps=0 repeats=0 violations=0",
		},
		"nothing written": {
			files: map[string]string{".part-0": lines(0, 4)},
			want:  "rows=0 high=-1 gaps=0 repeats=0 violations=0", first: "empty",
		},
		"missing in the middle": {
			files: map[string]string{"part-0": lines(0, 4) + lines(6, 8)},
			want:  "rows=6 high=7 gaps=2 repeats=0 violations=0", first: "gaps=2",
		},
		"missing at the start": {
			files: map[string]string{"part-0": lines(5, 6)},
			want:  "rows=1 high=5 gaps=5 repeats=0 violations=0", first: "gaps=5",
		},
		"written twice, in two files": {
			files: map[string]string{"part-0": lines(0, 4), "part-1": lines(3, 5)},
			want:  "rows=6 high=4 gaps=0 repeats=1 violations=0", first: `part-1:1: repeated: "0,1,3\n"`,
		},
		"torn last line": { // 2,1,52 torn after the 5 fits its count by chance
			files: map[string]string{"part-0": lines(0, 5) + "2,1,5"},
			want:  "rows=6 high=4 gaps=0 repeats=0 violations=1", first: `part-0:6: torn: "2,1,5"`,
		},
		"count too low: state was lost": {
			files: map[string]string{"part-0": lines(0, 3) + "0,0,3\n"},
			want:  "rows=4 high=3 gaps=0 repeats=0 violations=1", first: `part-0:4: the count does not fit: "0,0,3\n"`,
		},
		"source went back, counts did not": {
			files: map[string]string{"part-0": lines(0, 3) + "2,1,2\n"},
			want:  "rows=4 high=2 gaps=0 repeats=1 violations=1", first: "does not fit, repeated",
		},
		"key of another job": { // 4*3+... would fit if keys were not bounded
			files: map[string]string{"part-0": lines(0, 4) + "4,0,4\n"},
			want:  "rows=5 high=4 gaps=0 repeats=0 violations=1", first: "does not fit",
		},
		"no lines of a ledger": {
			files: map[string]string{"part-0": lines(0, 3) + "\n1,2\na,b,c\n-1,0,-1\n1,1,4,\n"},
			want:  "rows=8 high=2 gaps=0 repeats=0 violations=5", first: "part-0:4: torn",
		},
		"one wild number": {
			files: map[string]string{"part-0": lines(0, 3) + "1,1,9223372036854775807\n"},
			want:  "rows=4 high=9223372036854775807 gaps=9223372036854775804 repeats=0 violations=1", first: "does not fit",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Check(write(t, tc.files), 3)
			if err != nil {
				t.Fatal(err)
			}
			if r.String() != tc.want {
				t.Errorf("got  %s\nwant %s", r, tc.want)
			}
			err = r.Err()
			if (err == nil) != (tc.first == "") || err != nil && !strings.Contains(err.Error(), tc.first) {
				t.Errorf("got error %v, want %q", err, tc.first)
			}
		})
	}
}

func TestOtherKeysMakeEveryFollowingLineAViolation(t *testing.T) {
	r, err := Check(write(t, map[string]string{"part-0": lines(0, 9)}), 4)
	if err != nil || r.Violations == 0 || r.Gaps != 0 {
		t.Errorf("got %s, %v", r, err)
	}
}

func TestALineWithoutEndIsReadInPieces(t *testing.T) {
	r, err := Check(write(t, map[string]string{"part-0": strings.Repeat("7", 1<<20)}), 3)
	if err != nil || r.Violations == 0 || r.HighMark != -1 || len(r.First) > 300 {
		t.Errorf("got %s, %v, first of %d bytes", r, err, len(r.First))
	}
}

func TestCheckCountsTheLinesThatWereTakenOutAndPutIn(t *testing.T) {
	const total = 300_000 // several pages of the bitmap
	rnd := rand.New(rand.NewPCG(1, 2))
	parts := make([]strings.Builder, 5)
	gaps, repeats := 0, 0
	for n := range total {
		times := 1
		switch rnd.IntN(1000) {
		case 0:
			if n < total-1 {
				times, gaps = 0, gaps+1
			}
		case 1:
			times, repeats = 2, repeats+1
		}
		for range times {
			parts[rnd.IntN(len(parts))].WriteString(lines(n, n+1))
		}
	}
	files := map[string]string{}
	for i := range parts {
		files[fmt.Sprint("part-", i)] = parts[i].String()
	}
	r, err := Check(write(t, files), 3)
	want := fmt.Sprintf("rows=%d high=%d gaps=%d repeats=%d violations=0", total-gaps+repeats, total-1, gaps, repeats)
	if err != nil || r.String() != want || r.Files != 5 {
		t.Errorf("got  %s files=%d, %v\nwant %s", r, r.Files, err, want)
	}
}

func TestCheckRefusesWhatItCannotRead(t *testing.T) {
	if _, err := Check(filepath.Join(t.TempDir(), "gone"), 3); err == nil {
		t.Error("no error for a directory that is not there")
	}
	if _, err := Check(t.TempDir(), 0); err == nil {
		t.Error("no error for 0 keys")
	}
}
