package programs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// unused is how long content is kept that nobody asks for.
const unused = 7 * 24 * time.Hour

// Use says whether path is there, and that it is in use.
func Use(path string) bool {
	now := time.Now()
	return os.Chtimes(path, now, now) == nil
}

// Prune removes what matches the pattern in root and was not used for long; keep
// stays in any case.
func Prune(root, pattern, keep string) error {
	paths, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range paths {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || path == keep {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if time.Since(info.ModTime()) > unused {
			errs = append(errs, os.RemoveAll(path))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what is not used any more: %w", err)
	}
	return nil
}
