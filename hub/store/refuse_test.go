package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// settled is a directory with a store of so many jobs that has rows of every kind in both of its files.
func settled(t *testing.T, jobs int) string {
	t.Helper()
	dir := t.TempDir()
	s := start(t, Options{Dir: dir, Init: true})
	for i := range jobs {
		s.write(t, func(txn *Txn) {
			putJob(txn, "c1", fmt.Sprintf("j%d", i), fmt.Sprintf("job-%d", i), 1)
			switch i {
			case 0:
				txn.PutOrder(FeedRow{ClusterUID: "c1", UID: "gone"})
			case 1:
				txn.DropOrder("c1", "gone")
			}
		})
	}
	if err := s.PutStatuses(t.Context(), "c1", []StatusRow{{JobUID: "j1", Status: statusOf(1)}}, true); err != nil {
		t.Fatal(err)
	}
	if err := s.checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range min(10, 2*jobs) {
		n := i % jobs
		s.write(t, func(txn *Txn) { putJob(txn, "c1", fmt.Sprintf("j%d", n), fmt.Sprintf("job-%d", n), int32(2+i/jobs)) })
	}
	s.stop(t)
	return dir
}

func edit(t *testing.T, path string, fn func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, fn(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tamper changes a file's content, and its sum with it.
func tamper(t *testing.T, path string, fn func(*bbolt.Tx) error) {
	t.Helper()
	change(t, path, func(tx *bbolt.Tx) error { return errors.Join(fn(tx), sealAll(tx)) })
}

// newerMeta damages the newer meta page: bbolt would go on from the older.
func newerMeta(t *testing.T) func([]byte) []byte {
	return func(b []byte) []byte {
		m, err := newestMeta(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		b[int(m.txid%2)*int(m.pageSize)+pageHead+48] ^= 1
		return b
	}
}

// change changes a file's content, but not its sum.
func change(t *testing.T, path string, fn func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, boltOptions())
	if err == nil {
		err = errors.Join(db.Update(fn), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesWhatItCannotTrustAndSaysWhatHelps(t *testing.T) {
	base := settled(t, 40)
	log, rows := func(dir string) string { return filepath.Join(dir, logFile) }, func(dir string) string { return filepath.Join(dir, rowsFile) }
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:min(n, len(b))] } }
	flip := func(what string) func([]byte) []byte {
		return func(b []byte) []byte {
			i := bytes.LastIndex(b, []byte(what))
			if i < 0 {
				t.Fatalf("%q is not in the file", what)
			}
			for ; i >= 0; i = bytes.LastIndex(b[:i], []byte(what)) {
				b[i] ^= 1
			}
			return b
		}
	}
	for name, c := range map[string]struct {
		do   func(dir string)
		file string
		says string
	}{
		"no directory":      {func(dir string) { _ = os.RemoveAll(dir) }, logFile, "is missing"},
		"log missing":       {func(dir string) { _ = os.Remove(log(dir)) }, logFile, "is missing"},
		"rows missing":      {func(dir string) { _ = os.Remove(rows(dir)) }, rowsFile, "is missing"},
		"log empty":         {func(dir string) { edit(t, log(dir), cut(0)) }, logFile, "is empty"},
		"rows empty":        {func(dir string) { edit(t, rows(dir), cut(0)) }, rowsFile, "is empty"},
		"log cut to 1 page": {func(dir string) { edit(t, log(dir), cut(4096)) }, logFile, "cut off"},
		"rows cut to 8 KiB": {func(dir string) { edit(t, rows(dir), cut(8192)) }, rowsFile, "cut off"},
		"another format": {func(dir string) {
			edit(t, log(dir), func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) })
		}, logFile, "not a store's file"},
		"bit in a log record": {
			func(dir string) { edit(t, log(dir), flip("j7 generation 2")) }, logFile, "checksum",
		},
		"bit in a row": {func(dir string) { edit(t, rows(dir), flip("j33 generation 1")) }, rowsFile, "checksum"},
		"gap in the log": {func(dir string) {
			tamper(t, log(dir), func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketLog)).Delete(be8(Revision(45))) })
		}, logFile, "revisions 45 to 45 are missing"},
		"log begins too late": {func(dir string) {
			tamper(t, log(dir), func(tx *bbolt.Tx) error {
				b := tx.Bucket([]byte(bucketLog))
				return errors.Join(b.Delete(be8(Revision(40))), b.Delete(be8(Revision(41))))
			})
		}, logFile, "revisions 41 to 41 are missing"},
		"log older than the rows": {func(dir string) {
			tamper(t, log(dir), func(tx *bbolt.Tx) error {
				b := tx.Bucket([]byte(bucketLog))
				for rev := Revision(40); rev <= 50; rev++ {
					if err := b.Delete(be8(rev)); err != nil {
						return err
					}
				}
				return nil
			})
		}, logFile, "it is older"},
		"log of another hub": {func(dir string) {
			other := settled(t, 40)
			b, err := os.ReadFile(log(other))
			if err != nil {
				t.Fatal(err)
			}
			edit(t, log(dir), func([]byte) []byte { return b })
		}, logFile, "another hub"},
		"newer schema": {func(dir string) {
			tamper(t, rows(dir), func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte(bucketMeta)).Put([]byte(metaSchema), []byte{0, Schema + 1})
			})
		}, rowsFile, "newer version"},
		"newer meta page of the log":  {func(dir string) { edit(t, log(dir), newerMeta(t)) }, logFile, "meta page"},
		"newer meta page of the rows": {func(dir string) { edit(t, rows(dir), newerMeta(t)) }, rowsFile, "meta page"},
		"head of the rows": {func(dir string) {
			change(t, rows(dir), func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte(bucketMeta)).Put([]byte(metaHead), be8(Revision(41)))
			})
		}, rowsFile, "checksum"},
		"a row less": {func(dir string) {
			change(t, rows(dir), func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte(bucketRows)).Bucket([]byte(tableJobs)).Delete([]byte("j20"))
			})
		}, rowsFile, "checksum"},
		"a table with another name": {func(dir string) {
			edit(t, rows(dir), func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("assignments"), []byte("assignmentt")) })
		}, rowsFile, "checksum"},
		"no sum": {func(dir string) {
			change(t, rows(dir), func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketMeta)).Delete([]byte(metaSum)) })
		}, rowsFile, "checksum"},
		"a row in another's place": {func(dir string) {
			tamper(t, rows(dir), func(tx *bbolt.Tx) error {
				b := tx.Bucket([]byte(bucketRows)).Bucket([]byte(tableJobs))
				return b.Put([]byte("j1"), bytes.Clone(b.Get([]byte("j2"))))
			})
		}, rowsFile, "stands in the place of"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyFiles(t, base, dir)
			c.do(dir)
			_, err := Open(t.Context(), Options{Dir: dir})
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("open: %v, want ErrDamaged", err)
			}
			for _, want := range []string{filepath.Join(dir, c.file), c.says, "restore", "backup", "waterwheel-hub init"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestInitRefusesAnExistingStore(t *testing.T) {
	for _, name := range []string{logFile, rowsFile} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), Options{Dir: dir, Init: true}); err == nil || !strings.Contains(err.Error(), name+" exists") {
			t.Errorf("init beside %s: %v", name, err)
		}
	}
}

func TestInitMakesFilesForTheOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "hub")
	_ = mustOpen(t, Options{Dir: dir, Init: true}).Close()
	for _, name := range []string{"", logFile, rowsFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// Of all that a single wrong bit can do, in any byte that a file uses, Open refuses it or has the very rows that were
// written. Most flips never get as far as bbolt: inspect refuses them. The others are opened for real.
func TestEveryFlippedBitIsRefusedOrHarmless(t *testing.T) {
	base := settled(t, 2)
	want := contents(t, base)
	for _, name := range []string{logFile, rowsFile} {
		b, size := usedBytes(t, filepath.Join(base, name))
		tried, passed := 0, 0
		ranges, page := used(t, b)
		for _, r := range ranges {
			for i := r[0]; i < r[1]; i++ {
				for bit := range 8 {
					if testing.Short() && i-r[0] > 256 && bit != i%8 {
						continue // far into a page there are values
					}
					tried++
					b[i] ^= 1 << bit
					if inspect(bytes.NewReader(b), size) == nil {
						passed++
						refusedOrHarmless(t, base, name, b, want, fmt.Sprintf("page %d, byte %d, bit %d", i/page, i%page, bit))
					}
					b[i] ^= 1 << bit
				}
			}
		}
		t.Logf("%s: %d flips, %d harmless", name, tried, passed)
		if tried < 8*2*metaLen || passed > tried/4 {
			t.Errorf("%s: of %d flips %d passed: the test does not reach what it means to", name, tried, passed)
		}
	}
}

// The same of a store with more pages, branches among them, and of bytes in no use: a spread over the files.
func TestRandomDamageNeverGivesOtherRows(t *testing.T) {
	base := settled(t, 40)
	want := contents(t, base)
	random := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{logFile, rowsFile} {
		b, _ := usedBytes(t, filepath.Join(base, name))
		const rounds = 50
		for n := range rounds {
			i, bit := (n*len(b)+random.IntN(len(b)))/rounds, random.IntN(8)
			b[i] ^= 1 << bit
			refusedOrHarmless(t, base, name, b, want, fmt.Sprintf("byte %d, bit %d", i, bit))
			b[i] ^= 1 << bit
		}
	}
}

// A pointer that leads to a page of the past finds good rows: some, or older ones. Every such page is tried at every
// pointer to a page in use. (A page may have been written again as it was: then nothing is lost.)
func TestAPointerToAPageOfThePastIsRefused(t *testing.T) {
	base := settled(t, 40)
	want := contents(t, base)
	for _, name := range []string{logFile, rowsFile} {
		b, size := usedBytes(t, filepath.Join(base, name))
		m, err := newestMeta(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		w := newWalker(bytes.NewReader(b), m)
		if err := w.page(m.root, where{}); err != nil {
			t.Fatal(err)
		}
		page, tried, refused := int(m.pageSize), 0, 0
		for past := uint64(2); past < m.pages; past++ {
			if at := int(past) * page; w.seen[past] || le.Uint64(b[at:]) != past || le.Uint16(b[at+10:]) == 0 {
				continue
			}
			for now := range w.seen {
				pointer := le.AppendUint64(nil, now)
				for i := 2 * page; i+8 <= len(b); i++ { // a page's number at its head is no pointer
					if i%page == 0 || !w.seen[uint64(i/page)] || !bytes.Equal(b[i:i+8], pointer) {
						continue
					}
					tried++
					le.PutUint64(b[i:], past)
					if inspect(bytes.NewReader(b), size) != nil || refusedOrHarmless(t, base, name, b, want, fmt.Sprintf("page %d for %d", past, now)) {
						refused++
					}
					le.PutUint64(b[i:], now)
				}
			}
		}
		t.Logf("%s: %d pointers, %d refused", name, tried, refused)
		if refused == 0 {
			t.Errorf("%s: of %d pointers none was refused: the test does not reach what it means to", name, tried)
		}
	}
}

// What bbolt does not survive must not keep the file's lock: the next Open of this process would be told of another hub.
func TestAFileThatBboltPanicsOverIsUnlocked(t *testing.T) {
	dir := settled(t, 2)
	path := filepath.Join(dir, rowsFile)
	_, err := openBolt(t.Context(), path, func(path string, mode os.FileMode, o *bbolt.Options) (*bbolt.DB, error) {
		_, _ = bbolt.Open(path, mode, o) // locked and mapped, and nobody has it
		panic("page 3")
	})
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "damaged pages: page 3") {
		t.Fatalf("open: %v, want the panic", err)
	}
	_ = mustOpen(t, Options{Dir: dir}).Close()
}

// contents is all that a copy of a store tells.
func contents(t *testing.T, base string) string {
	t.Helper()
	dir := t.TempDir()
	copyFiles(t, base, dir)
	s := mustOpen(t, Options{Dir: dir})
	defer s.Close()
	return told(t, s)
}

// used are the bytes of the pages in use, without the room left in them.
func used(t *testing.T, b []byte) (ranges [][2]int, page int) {
	t.Helper()
	m, err := newestMeta(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	w := newWalker(bytes.NewReader(b), m)
	if err := w.page(m.root, where{}); err != nil {
		t.Fatal(err)
	}
	page = int(m.pageSize)
	ranges = [][2]int{{0, metaLen}, {page, page + metaLen}}
	for _, id := range slices.Sorted(maps.Keys(w.seen)) {
		from := int(id) * page
		last := len(bytes.TrimRight(b[from:from+page], "\x00"))
		ranges = append(ranges, [2]int{from, from + min(last+8, page)})
	}
	return ranges, page
}

// told is all that a store tells, but of its epochs, the newest of which is its own.
func told(t *testing.T, s *Store) string {
	t.Helper()
	out := []any{everything(s.View()), s.Ancestry()[:1]}
	audit, err := s.AuditTail(1000)
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, audit)
	for _, uid := range s.View().JobsOf("c1") {
		specs, err := s.SpecHistory(uid)
		if err != nil {
			t.Fatal(err)
		}
		status, ok := s.Status(uid)
		out = append(out, specs, status, ok)
	}
	v, ok, err := s.Stub("c1", "gone")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(append(out, v, ok)...)
}

// refusedOrHarmless opens a copy of a store with other bytes in one file. Without an epoch: it has to wait for the disk.
func refusedOrHarmless(t *testing.T, base, name string, b []byte, want, what string) (refused bool) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	copyFiles(t, base, dir)
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt(b, 0)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := read(t.Context(), Options{Dir: dir})
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s, %s: %v, want ErrDamaged", name, what, err)
		}
		return true
	}
	defer s.Close()
	if got := told(t, s); got != want {
		t.Errorf("%s, %s: other rows:\n%s\nwant\n%s", name, what, got, want)
	}
	return false
}
