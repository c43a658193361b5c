package disk

import (
	"path/filepath"
	"testing"

	"github.com/waterwheel-io/waterwheel/agent/records"
	"github.com/waterwheel-io/waterwheel/agent/records/recordstest"
)

func TestAFileIsABackend(t *testing.T) {
	recordstest.Run(t, func(t *testing.T) func(*testing.T) *records.Store {
		path := filepath.Join(t.TempDir(), "agent.db")

		return func(t *testing.T) *records.Store {
			s, err := Open(path, Options{Create: true, Decode: recordstest.Decode})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })

			return s.Store
		}
	})
}
