package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Limits of logs: each process has at most two files of about maxLog bytes.
const (
	maxLog        = 8 << 20
	trimLogsEvery = 10 * time.Second
)

// trimLogs bounds the logs of a directory until ctx ends. Processes write to
// their files themselves, so as to outlive the supervisor, and append: a file that
// is too long is copied aside and emptied. Lines written in that instant may be lost.
func trimLogs(ctx context.Context, dir string, limit int64, note func(error)) {
	tick := time.NewTicker(trimLogsEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := trimOnce(dir, limit); err != nil {
				note(err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func trimOnce(dir string, limit int64) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		return fmt.Errorf("list logs: %w", err)
	}
	for _, path := range logs {
		info, serr := os.Stat(path)
		if serr != nil || info.Size() <= limit {
			continue
		}
		if terr := trim(path, limit); terr != nil {
			err = errors.Join(err, fmt.Errorf("trim %s: %w", filepath.Base(path), terr))
		}
	}
	return err
}

// maxLastLine bounds what an error takes from a log, in bytes.
const maxLastLine = 500

// withLastLine adds to an error what the process of a log said last: most often that is why.
func withLastLine(err error, path string) error {
	if err == nil {
		return nil
	}
	text, rerr := os.ReadFile(path)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if last := lines[len(lines)-1]; rerr == nil && last != "" {
		return fmt.Errorf("%w; it said last: %.*s", err, maxLastLine, last)
	}
	return err
}

// trim keeps the last limit bytes of a file in path.1 and empties it.
func trim(path string, limit int64) error {
	src, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	if _, err := src.Seek(-limit, io.SeekEnd); err != nil {
		return err
	}
	dst, err := os.OpenFile(path+".1", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, io.LimitReader(src, limit))
	return errors.Join(err, dst.Close(), src.Truncate(0))
}
