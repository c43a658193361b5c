package session

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// One agent must not be able to fill the table that people see of all of them.
func TestWhatAnAgentSaysOfItsVersionsIsBounded(t *testing.T) {
	in := make([]string, 20_000)
	for i := range in {
		in[i] = strings.Repeat("é", 1000)
	}
	got := versions(in)
	if len(got) != maxVersions {
		t.Errorf("%d versions are kept, want %d", len(got), maxVersions)
	}
	for _, v := range got {
		if len(v) > versionText || !utf8.ValidString(v) {
			t.Fatalf("kept %d bytes, want at most %d of UTF-8", len(v), versionText)
		}
	}
	if got := versions([]string{"1.20", "2.3"}); len(got) != 2 || got[0] != "1.20" || got[1] != "2.3" {
		t.Errorf("got %q", got)
	}
}
