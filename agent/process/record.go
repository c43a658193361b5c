package process

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// record is launch.json: what was asked for, written before anything starts.
type record struct {
	Launch  flink.Launch
	Version string // of the distribution
	Ports   config.Ports
}

// runDir is the directory of one run.
type runDir string

func (d runDir) path(parts ...string) string {
	return filepath.Join(append([]string{string(d)}, parts...)...)
}

func (d runDir) upload() string { return d.path("upload") }
func (d runDir) jar() string    { return config.JarPath(d.upload()) }

// read returns the record; false when there is none yet.
func (d runDir) read() (record, bool, error) {
	data, err := os.ReadFile(d.path("launch.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, false, nil
	}
	if err != nil {
		return record{}, false, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, false, fmt.Errorf("read %s: %w", d.path("launch.json"), err)
	}
	return r, true, nil
}

func (d runDir) write(r record) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(d.path("launch.json"), data)
}

// replaceFile writes a file so that readers see the old or the new content whole, also after a power cut.
func replaceFile(path string, data []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// role names one start of a process.
type role struct {
	jobManager bool
	index      int // of a TaskManager, from 1
	start      int // from 1
}

func (r role) String() string {
	if r.jobManager {
		return fmt.Sprintf("jm-%d", r.start)
	}
	return fmt.Sprintf("tm-%d-%d", r.index, r.start)
}

func parseRole(s string) (role, bool) {
	var r role
	words := strings.Split(s, "-")
	var err1, err2 error
	switch {
	case len(words) == 2 && words[0] == "jm":
		r.jobManager = true
		r.start, err1 = strconv.Atoi(words[1])
	case len(words) == 3 && words[0] == "tm":
		r.index, err1 = strconv.Atoi(words[1])
		r.start, err2 = strconv.Atoi(words[2])
	default:
		return role{}, false
	}
	return r, err1 == nil && err2 == nil && r.String() == s
}

// started is one recorded start.
type started struct {
	role role
	at   time.Time
}

// starts lists the recorded starts, oldest first.
func (d runDir) starts() ([]started, error) {
	entries, err := os.ReadDir(d.path("starts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []started
	for _, e := range entries {
		r, ok := parseRole(e.Name())
		if !ok {
			continue
		}
		s := started{role: r}
		if info, err := e.Info(); err == nil {
			s.at = info.ModTime()
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b started) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.role.start, b.role.start), cmp.Compare(a.role.index, b.role.index))
	})
	return all, nil
}

// recordStart notes a start before it happens.
func (d runDir) recordStart(r role, at time.Time) error {
	return replaceFile(d.path("starts", r.String()), []byte(at.UTC().Format(time.RFC3339Nano)+"\n"))
}

// exit reads how a start ended: -1 when nothing says so.
func (d runDir) exit(r role) int {
	data, err := os.ReadFile(d.path("exits", r.String()))
	if err != nil {
		return -1
	}
	code, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return -1
	}
	return code
}

func (d runDir) log(r role) string { return d.path("logs", r.String()+".log") }
func (d runDir) out(r role) string { return d.path("logs", r.String()+".out") }

// forget removes what is kept of a start that is long over.
func (d runDir) forget(r role) error {
	logs, err := filepath.Glob(d.path("logs", r.String()) + ".*")
	if err != nil {
		return err
	}
	for _, path := range append(logs, d.path("exits", r.String()), d.path("starts", r.String())) {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return errors.Join(err, os.RemoveAll(d.path("tmp", r.String())))
}

// parseRun reads a run back from its name <uid>-t<term>-r<run>.
func parseRun(name string) (flink.Run, bool) {
	rest, run, ok1 := cutLast(name, "-r")
	uid, term, ok2 := cutLast(rest, "-t")
	t, err1 := strconv.ParseInt(term, 10, 32)
	n, err2 := strconv.ParseInt(run, 10, 32)
	r := flink.Run{UID: uid, Term: int32(t), Run: int32(n)}
	return r, ok1 && ok2 && err1 == nil && err2 == nil && uid != "" && r.Name() == name
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
