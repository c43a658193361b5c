package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnknownKeyOfTheFileIsRefusedWithItsLineInOneLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(path, []byte("dir: /x\nhub:\n  adress: h:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := LoadConfig(path)
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "[3:3]") || !strings.Contains(err.Error(), `"adress"`) {
		t.Errorf("got %v, want one line that names the key and its place", err)
	}
}
