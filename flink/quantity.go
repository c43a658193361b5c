package flink

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// Errors of ParseMemory and ParseCPU, wrapped with the text that did not parse.
var (
	ErrMemory = errors.New(`want bytes such as "512Mi", "1Gi" or "1500M"`)
	ErrCPU    = errors.New(`want cores such as "0.5", "500m" or "2"`)
)

// maxMemory bounds what ParseMemory returns, so that sums over many processes cannot overflow.
const maxMemory = 1 << 50

// maxMilliCPU bounds what ParseCPU returns: a million cores.
const maxMilliCPU = 1_000_000_000

// memoryUnits are the suffixes of Kubernetes quantities that make sense for memory.
var memoryUnits = []struct {
	suffix string
	bytes  uint64
}{
	{"Ki", 1 << 10},
	{"Mi", 1 << 20},
	{"Gi", 1 << 30},
	{"Ti", 1 << 40},
	{"k", 1e3},
	{"M", 1e6},
	{"G", 1e9},
	{"T", 1e12},
}

// ParseMemory reads a memory quantity in bytes: digits, perhaps with decimals,
// perhaps followed by Ki, Mi, Gi, Ti, k, M, G or T. A part of a byte is rounded
// up. At most 1 Pi. The error wraps ErrMemory.
func ParseMemory(s string) (int64, error) {
	digits, unit := s, uint64(1)
	for _, u := range memoryUnits {
		if d, ok := strings.CutSuffix(s, u.suffix); ok {
			digits, unit = d, u.bytes
			break
		}
	}
	n, ok := scaled(digits, unit)
	if !ok || n > maxMemory {
		return 0, fmt.Errorf("%q: %w", s, ErrMemory)
	}
	return n, nil
}

// ParseCPU reads cores in thousandths of a core: "2" is 2000, "0.5" and "500m"
// are 500. A part of a thousandth is rounded up. The error wraps ErrCPU.
func ParseCPU(s string) (int64, error) {
	digits, unit := s, uint64(1000)
	if d, ok := strings.CutSuffix(s, "m"); ok {
		digits, unit = d, 1
	}
	n, ok := scaled(digits, unit)
	if !ok || n > maxMilliCPU {
		return 0, fmt.Errorf("%q: %w", s, ErrCPU)
	}
	return n, nil
}

// scaled multiplies a decimal number by unit (at most 2^40), rounding up. It
// refuses signs, exponents, more than six decimals, and what does not fit.
func scaled(s string, unit uint64) (int64, bool) {
	whole, fraction, point := strings.Cut(s, ".")
	if point && fraction == "" || len(whole) > 18 || len(fraction) > 6 {
		return 0, false
	}
	n, ok := decimal(whole)
	if !ok {
		return 0, false
	}
	hi, lo := bits.Mul64(n, unit)
	if hi != 0 || lo > math.MaxInt64/2 {
		return 0, false
	}
	if fraction == "" {
		return int64(lo), true
	}
	f, ok := decimal(fraction)
	if !ok {
		return 0, false
	}
	ten := uint64(1)
	for range len(fraction) {
		ten *= 10
	}
	return int64(lo + (f*unit+ten-1)/ten), true
}

func decimal(s string) (uint64, bool) {
	if s == "" {
		return 0, false
	}
	var n uint64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + uint64(s[i]-'0')
	}
	return n, true
}
