package flink

import "fmt"

// Near returns the candidate that a mistyped word most likely meant, or "" when
// none is near: at most a third of its letters, and at most three, are wrong,
// missing, too many or swapped.
func Near(word string, candidates []string) string {
	best, at := "", min(3, max(1, len(word)/3))+1
	for _, c := range candidates {
		if d := distance(word, c); d < at {
			best, at = c, d
		}
	}
	return best
}

func meant(word string, candidates []string) string {
	if near := Near(word, candidates); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

// distance counts edits, a swap of neighbours as one. Words of 64 bytes and more are never near.
func distance(a, b string) int {
	const far = 64
	if len(a) >= far || len(b) >= far {
		return far
	}
	var d [far][far]int
	for i := range len(a) + 1 {
		for j := range len(b) + 1 {
			switch {
			case i == 0 || j == 0:
				d[i][j] = i + j
				continue
			case a[i-1] == b[j-1]:
				d[i][j] = d[i-1][j-1]
			default:
				d[i][j] = 1 + min(d[i-1][j], d[i][j-1], d[i-1][j-1])
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
