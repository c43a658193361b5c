package scene

import (
	"os"
	"testing"
	"time"
)

func TestUsageIsReadWhateverTheProgramIsCalled(t *testing.T) {
	stat := "42 (a ) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 100 1000000 30 18446744073709551615 1"
	u, err := readUsage(stat, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if u.CPU != 3*time.Second || u.Resident != 30*4096 {
		t.Errorf("%+v", u)
	}
	for _, bad := range []string{"", "42 (x) S 1 2", "42 (x) S 1 42 42 0 -1 4194304 100 0 0 0 some 50 0 0 20 0 9 0 100 1000000 30 1"} {
		if _, err := readUsage(bad, 4096); err == nil {
			t.Errorf("%q is understood", bad)
		}
	}
}

func TestThisProcessHoldsMemory(t *testing.T) {
	u, err := UsageOf(os.Getpid())
	if err != nil || u.Resident == 0 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := Spent(); err != nil {
		t.Error(err)
	}
}
