package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticks is how many of the kernel's units of CPU time there are in a second, on every Linux that Go runs on.
const ticks = 100

// usage is what a process holds and has used.
type usage struct {
	resident int64 // bytes
	cpu      time.Duration
}

func usageOf(pid int) (usage, error) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return usage{}, fmt.Errorf("read the agent's CPU time: %w", err)
	}
	return readUsage(string(stat), int64(os.Getpagesize()))
}

// readUsage reads /proc/PID/stat. Its second field is the program's name in parentheses, which may hold anything.
func readUsage(stat string, page int64) (usage, error) {
	_, rest, ok := strings.Cut(stat[max(strings.LastIndexByte(stat, ')'), 0):], " ")
	fields := strings.Fields(rest)
	const utime, stime, rss = 11, 12, 21 // from the third field on
	if !ok || len(fields) <= rss {
		return usage{}, fmt.Errorf("the kernel's word on a process is not understood: %q", stat)
	}
	var n [3]int64
	for i, at := range []int{utime, stime, rss} {
		var err error
		if n[i], err = strconv.ParseInt(fields[at], 10, 64); err != nil {
			return usage{}, fmt.Errorf("the kernel's word on a process is not understood: %w", err)
		}
	}
	return usage{resident: n[2] * page, cpu: time.Duration(n[0]+n[1]) * time.Second / ticks}, nil
}
