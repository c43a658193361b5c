package world

import "testing"

func TestPlainLines(t *testing.T) {
	for line, want := range map[string]string{
		`msg="commands built" names="a b" seconds=0.9`: `commands built names="a b" seconds=0.9`,
		`msg=downloading count=3`:                      `downloading count=3`,
		`msg="it said \"no\""`:                         `it said "no"`,
		`Docker started in 2.5 s`:                      `Docker started in 2.5 s`,
	} {
		if got := plain(line); got != want {
			t.Errorf("plain(%q) = %q, want %q", line, got, want)
		}
	}
}

func TestAClusterBelongsToOneWorld(t *testing.T) {
	for full, want := range map[string]bool{
		"ww-story-vendor": true, "ww-story-c1": true, "ww-story-c12": true,
		"ww-story-two-vendor": false, "ww-story-c1-vendor": false, "ww-story-c": false, "ww-storyc1": false, "ww-other-c1": false, "story-c1": false,
	} {
		if got := belongs(full, "story"); got != want {
			t.Errorf("belongs(%q) = %t", full, got)
		}
	}
}
