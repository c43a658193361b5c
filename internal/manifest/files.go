package manifest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// maxFile bounds one file.
const maxFile = 8 << 20

// Load reads files, directories (their *.yaml, *.yml and *.json, sorted, not
// below) and "-", which is stdin. Faults of all files are told at once, as
// Faults; any other error is one of reading. No document at all is an error.
func (f Form[M]) Load(paths []string, stdin io.Reader) ([]Document[M], error) {
	var docs []Document[M]
	var faults Faults
	for _, path := range paths {
		files, err := expand(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			name, data, err := read(file, stdin)
			if err != nil {
				return nil, err
			}
			more, err := f.Read(name, data)
			if bad, ok := errors.AsType[Faults](err); ok {
				faults = append(faults, bad...)
			} else if len(more) == 0 {
				faults = append(faults, &Fault{File: name, Text: "has no " + f.Kind + " in it"})
			}
			docs = append(docs, more...)
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return docs, nil
}

func expand(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading manifests: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("reading manifests: %w", err)
	}
	var files []string
	for _, e := range entries {
		if slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) && !e.IsDir() {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("reading manifests: %s holds no .yaml, .yml or .json", path)
	}
	return files, nil
}

func read(path string, stdin io.Reader) (name string, data []byte, err error) {
	source, name := stdin, "stdin"
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", nil, fmt.Errorf("reading manifests: %w", err)
		}
		defer file.Close()
		source, name = file, path
	}
	data, err = io.ReadAll(io.LimitReader(source, maxFile+1))
	if err != nil {
		return "", nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(data) > maxFile {
		return "", nil, fmt.Errorf("reading %s: larger than %d bytes", name, maxFile)
	}
	return name, data, nil
}
