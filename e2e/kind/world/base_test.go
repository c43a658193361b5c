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
