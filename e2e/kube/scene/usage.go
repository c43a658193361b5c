package scene

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

// Usage is what a process holds and has used.
type Usage struct {
	Resident int64 // bytes
	CPU      time.Duration
}

// UsageOf asks the kernel about a process.
func UsageOf(pid int) (Usage, error) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(proc, "stat"))
	if err != nil {
		return Usage{}, fmt.Errorf("read what a process has used: %w", err)
	}
	return readUsage(string(stat), int64(os.Getpagesize()))
}

// readUsage reads /proc/PID/stat. Its second field is the program's name in parentheses, which may hold anything.
func readUsage(stat string, page int64) (Usage, error) {
	_, rest, ok := strings.Cut(stat[max(strings.LastIndexByte(stat, ')'), 0):], " ")
	fields := strings.Fields(rest)
	const utime, stime, rss = 11, 12, 21 // from the third field on
	if !ok || len(fields) <= rss {
		return Usage{}, fmt.Errorf("the kernel's word on a process is not understood: %q", stat)
	}
	var n [3]int64
	for i, at := range []int{utime, stime, rss} {
		var err error
		if n[i], err = strconv.ParseInt(fields[at], 10, 64); err != nil {
			return Usage{}, fmt.Errorf("the kernel's word on a process is not understood: %w", err)
		}
	}
	return Usage{Resident: n[2] * page, CPU: time.Duration(n[0]+n[1]) * time.Second / ticks}, nil
}

// Spent is the CPU time that this process and those that it started have used so far.
func Spent() (time.Duration, error) {
	self := os.Getpid()
	pids := []int{self}
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return 0, err
	}
	for _, file := range tasks {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has ended
		}
		for word := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				return 0, fmt.Errorf("the kernel's list of processes is not understood: %w", err)
			}
			pids = append(pids, pid)
		}
	}
	var sum time.Duration
	for _, pid := range pids {
		u, err := UsageOf(pid)
		if err != nil {
			return 0, err
		}
		sum += u.CPU
	}
	return sum, nil
}
