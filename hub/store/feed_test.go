package store

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The feed's laws, against a list of all writes: no row at or below the cursor is missing, a superseded row comes again
// later and never earlier, the rows of one write come together.
func TestFeedNeverHidesARowBehindACursor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var f feed
		newest := map[string]*FeedRow{}
		cursor, recorded, head := Revision(0), map[string]Revision{}, Revision(0)
		liveOnly := rapid.Bool().Draw(t, "live only")
		read := func(maxBytes int) {
			rows, upTo, done := f.since(cursor, maxBytes, liveOnly)
			checkFrame(t, rows, cursor, upTo, maxBytes)
			for _, r := range rows {
				if r.Version.Revision <= recorded[r.UID] {
					t.Fatalf("%s came at %d after %d", r.UID, r.Version.Revision, recorded[r.UID])
				}
				recorded[r.UID] = r.Version.Revision
			}
			cursor = upTo
			if done {
				cursor = max(cursor, head)
			}
			for uid, r := range newest {
				if r.Version.Revision <= cursor && recorded[uid] != r.Version.Revision && !(liveOnly && r.Deleted) {
					t.Fatalf("cursor %d passed %s at %d; recorded %d", cursor, uid, r.Version.Revision, recorded[uid])
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "read") == 0 {
				read(rapid.IntRange(1, 2000).Draw(t, "max bytes"))
				continue
			}
			head++
			for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 12), 1, 4, rapid.ID).Draw(t, "uids") {
				uid := fmt.Sprint(n)
				if newest[uid] != nil && rapid.IntRange(0, 5).Draw(t, "drop") == 0 {
					f.set(uid, nil)
					delete(newest, uid)
					continue
				}
				r := &FeedRow{UID: uid, Version: Version{1, head}, Deleted: rapid.Bool().Draw(t, "deleted"), Body: make([]byte, rapid.IntRange(0, 300).Draw(t, "size"))}
				f.set(uid, r)
				newest[uid] = r
			}
		}
		for cursor < head {
			read(1 << 20)
		}
		checkKept(t, &f, newest)
	})
}

func checkFrame(t *rapid.T, rows []FeedRow, after, upTo Revision, maxBytes int) {
	t.Helper()
	size, first := 0, Revision(0)
	for i, r := range rows {
		if r.Version.Revision <= after || r.Version.Revision > upTo {
			t.Fatalf("row at %d is not within %d and %d", r.Version.Revision, after, upTo)
		}
		if i > 0 && r.Version.Revision < rows[i-1].Version.Revision {
			t.Fatalf("rows are not in order")
		}
		if i == 0 {
			first = r.Version.Revision
		}
		size += len(r.Body) + rowOverhead
	}
	if size > maxBytes && rows[len(rows)-1].Version.Revision != first {
		t.Fatalf("%d bytes of %d, and more than one write", size, maxBytes)
	}
}

func checkKept(t *rapid.T, f *feed, newest map[string]*FeedRow) {
	t.Helper()
	all, _, _ := f.since(0, 1<<30, false)
	live := 0
	for _, r := range newest {
		if !r.Deleted {
			live++
		}
	}
	if len(all) != len(newest) || f.live != live || len(f.places) > 2*len(newest)+34 {
		t.Fatalf("%d rows in %d places, %d live; want %d rows, %d live", len(all), len(f.places), f.live, len(newest), live)
	}
	if !slices.IsSortedFunc(all, func(a, b FeedRow) int { return cmp.Compare(a.Version.Revision, b.Version.Revision) }) {
		t.Fatalf("not in revision order")
	}
}

func TestFeedOfAWriteComesWholeAndTheCursorGoesToTheHead(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), Init: true})
	defer s.stop(t)
	put := func(cluster string, uids ...string) Revision {
		return s.write(t, func(txn *Txn) {
			for _, uid := range uids {
				txn.PutOrder(FeedRow{ClusterUID: cluster, UID: uid, Body: make([]byte, 1000)})
			}
		})
	}
	put("c1", "a")
	second := put("c1", "b", "c", "d")
	put("c1", "e")
	other := put("c2", "x")
	rows, upTo, more := s.Feed("c1", 0, 2500, false)
	if !slices.Equal(uids(rows), []string{"a"}) || upTo != 1 || more {
		t.Errorf("first frame %v up to %d more=%v", uids(rows), upTo, more)
	}
	rows, upTo, _ = s.Feed("c1", upTo, 2500, false)
	if len(rows) != 3 || upTo != second {
		t.Errorf("second frame %v up to %d", uids(rows), upTo)
	}
	rows, upTo, _ = s.Feed("c1", upTo, 2500, false)
	if !slices.Equal(uids(rows), []string{"e"}) || upTo != other {
		t.Errorf("last frame %v up to %d, want the log's head %d", uids(rows), upTo, other)
	}
	if head, n := s.FeedState("c1"); head != other || n != 5 {
		t.Errorf("state of the feed: head %d, %d rows", head, n)
	}
	s.write(t, func(txn *Txn) { txn.PutOrder(FeedRow{ClusterUID: "c1", UID: "a", Deleted: true}) })
	live, _, _ := s.Feed("c1", 0, 1<<20, true)
	every, _, _ := s.Feed("c1", 0, 1<<20, false)
	if _, n := s.FeedState("c1"); len(live) != 4 || len(every) != 5 || n != 4 || !every[4].Deleted {
		t.Errorf("%d live rows, %d rows, counted %d", len(live), len(every), n)
	}
	if rows, upTo, _ := s.Feed("c9", 0, 1000, false); len(rows) != 0 || upTo != other+1 {
		t.Errorf("a cluster without orders: %v up to %d", uids(rows), upTo)
	}
}
