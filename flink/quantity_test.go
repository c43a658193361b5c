package flink

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestParseMemoryReadsQuantities(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1": 1, "1024": 1024, "1k": 1000, "1Ki": 1024, "512Mi": 512 << 20, "1.5Gi": 3 << 29, "1500M": 1_500_000_000, "2G": 2_000_000_000,
		"1Ti": 1 << 40, "1T": 1e12, "0.5Gi": 1 << 29, "1.000001k": 1001, "0001": 1,
	} {
		if got, err := ParseMemory(in); err != nil || got != want {
			t.Errorf("ParseMemory(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "Gi", "-1", "+1", "1.", ".5Gi", "1e9", "1GB", "1 Gi", "1gi", "1Pi", "9999Ti", "99999999999999999999", "1.2.3", "0x10", "1.1234567Gi", "١",
		"18446744073709551615Ti", "999999999999999999Ki",
	} {
		if got, err := ParseMemory(in); !errors.Is(err, ErrMemory) || got != 0 {
			t.Errorf("ParseMemory(%q) = %d, %v, want ErrMemory", in, got, err)
		}
	}
}

func TestParseCPUReadsCores(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "1": 1000, "0.5": 500, "500m": 500, "2": 2000, "0.25": 250, "1.5m": 2, "0.0001": 1} {
		if got, err := ParseCPU(in); err != nil || got != want {
			t.Errorf("ParseCPU(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "m", "-1", "1k", "one", "1.", "99999999999"} {
		if got, err := ParseCPU(in); !errors.Is(err, ErrCPU) || got != 0 {
			t.Errorf("ParseCPU(%q) = %d, %v, want ErrCPU", in, got, err)
		}
	}
}

func TestParsedQuantitiesAreNeverNegative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.StringMatching(`[0-9]{0,20}(\.[0-9]{0,8})?(Ki|Mi|Gi|Ti|k|M|G|T|m)?`).Draw(t, "in")
		if n, err := ParseMemory(in); n < 0 || n > maxMemory || err != nil && n != 0 {
			t.Fatalf("ParseMemory(%q) = %d, %v", in, n, err)
		}
		if n, err := ParseCPU(in); n < 0 || n > maxMilliCPU || err != nil && n != 0 {
			t.Fatalf("ParseCPU(%q) = %d, %v", in, n, err)
		}
	})
}
