package image

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// discard removes a directory of a build. One that was killed may have left
// mounts of the kernel's file systems in it, which must not be walked.
func discard(dir string) error {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, point := range slices.Backward(mountsBelow(b, dir)) {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return os.RemoveAll(dir)
}

// mountsBelow lists mount points below dir, the outer before the inner.
func mountsBelow(mountinfo []byte, dir string) []string {
	var all []string
	lines := bufio.NewScanner(bytes.NewReader(mountinfo))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			all = append(all, fields[4])
		}
	}
	return all
}
