package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// runtime is the runc to become; the build sets it.
var runtime = "/usr/sbin/runc"

const withheld = "CAP_SYS_RESOURCE"

func main() {
	for _, path := range documents(os.Args[1:]) {
		if err := narrowFile(path); err != nil {
			fmt.Fprintln(os.Stderr, "narrowrunc:", err)
			os.Exit(1)
		}
	}
	err := syscall.Exec(runtime, append([]string{"runc"}, os.Args[1:]...), os.Environ())
	fmt.Fprintln(os.Stderr, "narrowrunc:", runtime, err)
	os.Exit(1)
}

// documents lists the files among the arguments that hold capabilities. Flags
// come as two words or as one, with one dash or two.
func documents(args []string) []string {
	var paths []string
	for i, arg := range args {
		if !strings.HasPrefix(arg, "-") {
			continue
		}
		name, value, one := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !one {
			if i+1 == len(args) {
				continue
			}
			value = args[i+1]
		}
		switch name {
		case "bundle", "b":
			paths = append(paths, filepath.Join(value, "config.json"))
		case "process", "p":
			paths = append(paths, value)
		}
	}
	return paths
}

func narrowFile(path string) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // runc will say so
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	out, changed := narrow(b)
	if !changed {
		return nil
	}
	half := path + ".narrow"
	if err := os.WriteFile(half, out, info.Mode().Perm()); err != nil {
		return err
	}
	return os.Rename(half, path)
}

// narrow returns the document without the capability; false: it holds none or is
// none. Numbers keep their digits.
func narrow(doc []byte) (out []byte, changed bool) {
	if !bytes.Contains(doc, []byte(withheld)) {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader(doc))
	decoder.UseNumber()
	var root map[string]any
	if err := decoder.Decode(&root); err != nil {
		return nil, false
	}
	process := root // of an exec
	if p, ok := root["process"].(map[string]any); ok {
		process = p
	}
	sets, ok := process["capabilities"].(map[string]any)
	if !ok {
		return nil, false
	}
	for name, set := range sets {
		list, ok := set.([]any)
		if !ok {
			continue
		}
		kept := slices.DeleteFunc(slices.Clone(list), func(c any) bool { return c == any(withheld) })
		if len(kept) != len(list) {
			sets[name], changed = kept, true
		}
	}
	if !changed {
		return nil, false
	}
	out, err := json.Marshal(root)
	return out, err == nil
}
