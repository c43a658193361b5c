package hub_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waterwheel-io/waterwheel/hub"
)

func TestConfigFileStandsOverTheDefaults(t *testing.T) {
	got, err := hub.LoadConfig(file(t, "dir: /d\nagents: {listen: ':1', advertise: 'hub.example.org:1'}\ncertificateLife: 90m\nnames: [hub.example.org]\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := hub.DefaultConfig()
	want.Dir, want.Agents, want.CertificateLife = "/d", hub.Endpoint{Listen: ":1", Advertise: "hub.example.org:1"}, 90*time.Minute
	want.Names = []string{"hub.example.org"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownKeyIsRefusedWithItsLineInOneLine(t *testing.T) {
	_, err := hub.LoadConfig(file(t, "dir: /d\nadmin:\n  listne: ':1'\n"))
	if err == nil || !strings.Contains(err.Error(), "[3:3]") || !strings.Contains(err.Error(), "listne") ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want line 3, the key, one line", err)
	}
}

func TestEveryFaultOfAConfigIsToldAtOnce(t *testing.T) {
	c := hub.DefaultConfig()
	c.Agents.Listen, c.Admin.Advertise, c.CertificateLife = "7443", "hub", time.Second
	c.Names = []string{"a b", "hub.example.org", "::1"}
	err := c.Validate()
	if err == nil {
		t.Fatal("want an error")
	}
	for _, field := range []string{"dir:", "agents.listen:", "admin.advertise:", "certificateLife:", `names: "a b"`} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 5 {
		t.Errorf("%d faults, want 5: %v", n, err)
	}
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hub.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	return name
}
