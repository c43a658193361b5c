package doctor

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Host is what an agent needs of a host on which its runs are processes.
type Host struct {
	Dir   string            // of the agent
	Java  string            // the java binary; "": from PATH
	Flink map[string]string // home of a distribution by version
}

// HostChecks look at this host.
func HostChecks(h Host) []Check {
	return []Check{
		{What: "java", Look: func(context.Context) []Finding { return []Finding{h.java()} }},
		{What: "Flink", Look: func(context.Context) []Finding { return h.flink() }},
		{What: "directory", Look: func(context.Context) []Finding { return []Finding{h.dir()} }},
	}
}

func (h Host) java() Finding {
	name := h.Java
	if name == "" {
		name = "java"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return Finding{Fail, "java", err.Error(), "install Java 11 or newer, or name the binary in runtime.java"}
	}

	return Finding{OK, "java", path, ""}
}

func (h Host) flink() []Finding {
	var found []Finding
	for _, version := range slices.Sorted(maps.Keys(h.Flink)) {
		what, home := "Flink "+version, h.Flink[version]
		jars, err := filepath.Glob(filepath.Join(home, "lib", "flink-dist*.jar"))
		if err != nil || len(jars) == 0 {
			found = append(found, Finding{Fail, what, fmt.Sprintf("no lib/flink-dist*.jar in %s", home), "name the directory of an unpacked distribution in runtime.flink"})
			continue
		}
		found = append(found, Finding{OK, what, home, ""})
	}

	return found
}

// dir looks whether the directory, or the one that it will be made in, is there.
func (h Host) dir() Finding {
	info, err := os.Stat(h.Dir)
	if err != nil {
		info, err = os.Stat(filepath.Dir(h.Dir))
	}
	switch {
	case err != nil:
		return Finding{Fail, "directory", err.Error(), "make the directory above dir, writable for the agent"}
	case !info.IsDir():
		return Finding{Fail, "directory", h.Dir + " is a file", "name another dir"}
	}

	return Finding{OK, "directory", h.Dir, ""}
}
