package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// marked asks the kernel, not the runtime, for the processes of a run.
func marked(run string) ([]int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, path := range paths {
		env, err := os.ReadFile(path)
		if err != nil { // ended, or not ours
			continue
		}
		for v := range bytes.SplitSeq(env, []byte{0}) {
			if bytes.HasPrefix(v, []byte("WATERWHEEL_RUN=")) && bytes.Contains(v, []byte("/"+run+"/")) {
				pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
				if err != nil {
					return nil, err
				}
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

// killJVMs kills every java process of a run with -9 and says how many.
func killJVMs(run flink.Run) (int, error) {
	pids, err := marked(run.Name())
	if err != nil {
		return 0, err
	}
	n := 0
	for _, pid := range pids {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil || string(bytes.TrimSpace(comm)) != "java" {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return n, fmt.Errorf("kill %d: %w", pid, err)
		}
		n++
	}
	return n, nil
}

// awaitGone returns when no process of a run is left.
func awaitGone(ctx context.Context, run string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := marked(run)
		if err != nil || len(left) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes of %s are left: %w", len(left), run, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
