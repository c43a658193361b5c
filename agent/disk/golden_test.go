package disk

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/internal/feed"
)

func marshal(v any) []byte { return records.Marshal(v) }

// The database of each released schema opens for ever. This one was written by the first release; its bytes are not ours to change.
func TestTheDatabaseOfTheFirstReleaseOpens(t *testing.T) {
	packed, err := os.ReadFile(filepath.Join("testdata", "schema1", "agent.db.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	db, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{"agent.db": db, siteFile: []byte("00112233445566778899aabbccddeeff\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(filepath.Join(dir, "agent.db"), Options{Decode: decode})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	st := s.Standing()
	if st.SiteUID != "00112233445566778899aabbccddeeff" || st.Cursor != (feed.Cursor{EpochID: "e1", Revision: 8}) || st.MaxEpoch != 4 || st.Count != 2 ||
		hex.EncodeToString(st.Root[:]) != "d89b7067d74b42f353a52596cca115e49d26f7a7d81b4129391174f1a74cdc66" {
		t.Errorf("standing = %+v", st)
	}
	if uids, err := s.Jobs(t.Context()); err != nil || !slices.Equal(uids, []string{"a", "b", "c"}) {
		t.Errorf("jobs = %v %v", uids, err)
	}
	if a, ok, err := s.Load(t.Context(), "a"); err != nil || !ok || !a.Order.Deleted || a.Order.Policy != flink.DeleteCancel || a.Order.Name != "n-a" {
		t.Errorf("a = %+v %v %v", a, ok, err)
	}
	b, ok, err := s.Load(t.Context(), "b")
	if err != nil || !ok || b.Order.Generation != 7 || b.Memory.LastRun != 9 || b.Memory.Snapshot.Path != "file:/s/chk-7" ||
		!b.Memory.Snapshot.CompletedAt.Equal(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("b = %+v %v %v", b, ok, err)
	}
	if n := s.Rejected(); len(n) != 1 || n[0].UID != "c" || n[0].Version.Revision != 6 || n[0].Code != feed.CodeInvalid {
		t.Errorf("rejected = %+v", n)
	}
	if r := s.Reports(); len(r) != 2 || r[0].UID != "d" || !r[0].Status.Gone || r[1].UID != "b" || r[1].Status.State != flink.Failed || r[1].ID != 2 {
		t.Errorf("reports = %+v", r)
	}
}
