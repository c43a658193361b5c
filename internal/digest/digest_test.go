package digest

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func row(t *rapid.T, i int) Row {
	return Row{
		UID:         fmt.Sprintf("job-%d", i),
		EpochNumber: rapid.Int64Range(1, 3).Draw(t, "epoch"),
		Revision:    rapid.Int64Range(1, 1000).Draw(t, "revision"),
		Hash:        rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash"),
	}
}

func TestRootIsTheSameInAnyOrderAndAfterAnyDetour(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "rows")
		rows := make([]Row, n)
		for i := range rows {
			rows[i] = row(t, i)
		}
		var one, other Tree
		for _, r := range rows {
			one.Add(r)
		}
		detour := row(t, 1000)
		other.Add(detour)
		for _, i := range rapid.Permutation(indices(n)).Draw(t, "order") {
			other.Add(rows[i])
		}
		other.Remove(detour)
		if one != other || one.Root() != other.Root() {
			t.Fatal("roots differ although the rows are the same")
		}
		for _, r := range rows {
			one.Remove(r)
		}
		if (one != Tree{}) {
			t.Fatal("something is left after all rows were taken out")
		}
	})
}

func TestEachPartOfARowChangesTheRoot(t *testing.T) {
	base := Row{UID: "a", EpochNumber: 1, Revision: 2, Hash: []byte("12")}
	root := func(r Row) [Size]byte {
		var t Tree
		t.Add(r)

		return t.Root()
	}
	for name, other := range map[string]Row{
		"uid":                          {UID: "b", EpochNumber: 1, Revision: 2, Hash: []byte("12")},
		"epoch":                        {UID: "a", EpochNumber: 2, Revision: 2, Hash: []byte("12")},
		"revision":                     {UID: "a", EpochNumber: 1, Revision: 3, Hash: []byte("12")},
		"hash":                         {UID: "a", EpochNumber: 1, Revision: 2, Hash: []byte("21")},
		"the border of uid and others": {UID: "a\x00", EpochNumber: 1 << 8, Revision: 2 << 8, Hash: []byte("2")},
	} {
		if root(other) == root(base) {
			t.Errorf("another %s gives the same root", name)
		}
	}
	var empty Tree
	if root(base) == empty.Root() {
		t.Error("a row gives the root of no rows")
	}
}

func TestSumsAddModulo2To256(t *testing.T) {
	tree := Tree{}
	r := Row{UID: "a", EpochNumber: 1, Revision: 1}
	b := Bucket("a")
	tree.sums[b] = sum{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)} // −1
	tree.Add(r)
	tree.Add(Row{UID: "a", EpochNumber: 1, Revision: 2})
	tree.Remove(Row{UID: "a", EpochNumber: 1, Revision: 2})
	x := leaf(r)
	want := Tree{}
	want.sums[b] = sum{x[0] - 1, x[1], x[2], x[3]} // the carry went through all words
	got, exp := tree.Sum(b), want.Sum(b)
	if x[0] != 0 && !bytes.Equal(got[:], exp[:]) {
		t.Errorf("sum = %x, want %x", got, exp)
	}
}

func indices(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}

	return out
}
