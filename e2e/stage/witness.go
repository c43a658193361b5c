package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FlinkJob is what Flink's own REST says of one job.
type FlinkJob struct {
	ID           string
	State        string
	Running      int
	Total        int
	Parallelism  int
	StartTime    time.Time
	Completed    int    // checkpoints
	Restored     string // latest.restored.external_path, as Flink writes it
	Version      string
	Restarts     int
	RestoredSeen bool
}

// AllRunning reports whether every task runs.
func (f FlinkJob) AllRunning() bool {
	return f.State == "RUNNING" && f.Total > 0 && f.Running == f.Total
}

// Flink asks a JobManager for its one job.
func Flink(ctx context.Context, endpoint string) (FlinkJob, error) {
	var over struct {
		Jobs []struct {
			JID   string         `json:"jid"`
			State string         `json:"state"`
			Start int64          `json:"start-time"`
			Tasks map[string]int `json:"tasks"`
		} `json:"jobs"`
	}
	if err := getJSON(ctx, endpoint+"/jobs/overview", &over); err != nil {
		return FlinkJob{}, err
	}
	if len(over.Jobs) != 1 {
		return FlinkJob{}, fmt.Errorf("%s lists %d jobs, not one", endpoint, len(over.Jobs))
	}
	o := over.Jobs[0]
	f := FlinkJob{
		ID: o.JID, State: o.State, Running: o.Tasks["running"] + o.Tasks["finished"], Total: o.Tasks["total"],
		StartTime: time.UnixMilli(o.Start),
	}
	var detail struct {
		Vertices []struct {
			Parallelism int `json:"parallelism"`
		} `json:"vertices"`
	}
	if err := getJSON(ctx, endpoint+"/jobs/"+o.JID, &detail); err != nil {
		return f, err
	}
	for _, v := range detail.Vertices {
		f.Parallelism = max(f.Parallelism, v.Parallelism)
	}
	var cp struct {
		Counts struct{ Completed, Restored int }
		Latest struct {
			Restored *struct {
				Path string `json:"external_path"`
			}
		}
	}
	if err := getJSON(ctx, endpoint+"/jobs/"+o.JID+"/checkpoints", &cp); err != nil {
		return f, err
	}
	f.Completed, f.Restarts = cp.Counts.Completed, cp.Counts.Restored
	if cp.Latest.Restored != nil {
		f.Restored, f.RestoredSeen = cp.Latest.Restored.Path, true
	}
	var conf struct {
		Version string `json:"flink-version"`
	}
	if err := getJSON(ctx, endpoint+"/config", &conf); err != nil {
		return f, err
	}
	f.Version = conf.Version
	return f, nil
}

// Told is Flink, asked again while it does not answer: a JobManager on a busy
// machine may be slow to answer and does its work all the same.
func Told(ctx context.Context, endpoint string) (f FlinkJob, err error) {
	err = Poll(ctx, time.Minute, 500*time.Millisecond, func(ctx context.Context) (bool, error) {
		var err error
		f, err = Flink(ctx, endpoint)
		return err == nil, err
	})
	return f, err
}

func getJSON(ctx context.Context, u string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %.200s", u, resp.Status, body)
	}
	return json.Unmarshal(body, v)
}

// Process is a living process that belongs to a run, as the kernel lists it.
type Process struct {
	PID  int
	Run  string // name of the run: <uid>-t1-r4
	Role string // jm-1, tm-0-1, …: part and start
	Java bool   // the JVM itself, not the wrapper around it
}

// Processes lists the living processes whose run's name begins with prefix.
func Processes(prefix string) []Process {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var all []Process
	for _, d := range dirs {
		env, err := os.ReadFile(filepath.Join(d, "environ"))
		if err != nil || len(env) == 0 {
			continue
		}
		for v := range strings.SplitSeq(string(env), "\x00") {
			rest, ok := strings.CutPrefix(v, "WATERWHEEL_RUN=")
			if !ok {
				continue
			}
			parts := strings.Split(rest, "/")
			if len(parts) != 3 || !strings.HasPrefix(parts[1], prefix) {
				continue
			}
			pid, _ := strconv.Atoi(filepath.Base(d))
			exe, _ := os.Readlink(filepath.Join(d, "exe"))
			all = append(all, Process{PID: pid, Run: parts[1], Role: parts[2], Java: filepath.Base(exe) == "java"})
		}
	}
	return all
}

// Kill kills the JVMs of a job's runs with SIGKILL, those of one role only when role is not empty. It returns how many.
func Kill(uid, role string) (int, error) {
	n := 0
	for _, p := range Processes(uid + "-") {
		if !p.Java || role != "" && !strings.HasPrefix(p.Role, role) {
			continue
		}
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			return n, fmt.Errorf("kill %s of %s: %w", p.Role, p.Run, err)
		}
		n++
	}
	return n, nil
}

// Left lists the processes whose command line names a path: what a world that is down must not have.
func Left(path string) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var left []int
	for _, d := range dirs {
		cmd, err := os.ReadFile(filepath.Join(d, "cmdline"))
		if err == nil && strings.Contains(string(cmd), path) {
			if pid, err := strconv.Atoi(filepath.Base(d)); err == nil && pid != os.Getpid() {
				left = append(left, pid)
			}
		}
	}
	return left
}

// Born is when a directory was made, by the kernel's file times.
func Born(path string) (time.Time, error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BTIME, &st); err != nil {
		return time.Time{}, fmt.Errorf("birth time of %s: %w", path, err)
	}
	if st.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}, fmt.Errorf("birth time of %s: this file system keeps none", path)
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)), nil
}

// Local is the path of a file: URI.
func Local(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" {
		return uri
	}
	return u.Path
}

// Normal brings a snapshot path to the form in which Flink answers it: file:/a/b.
func Normal(p string) string {
	p = strings.TrimSuffix(strings.TrimSuffix(p, "/"), "/_metadata")
	if rest, ok := strings.CutPrefix(p, "file:"); ok {
		return "file:/" + strings.TrimLeft(rest, "/")
	}
	return p
}

// Minor is the version as manifests name it: 2.3 of 2.3.0.
func Minor(version string) (string, error) {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return "", fmt.Errorf("version %q: want major.minor.patch", version)
	}
	return parts[0] + "." + parts[1], nil
}

// Keep copies the logs of a world into the artifacts, as far as they can be read.
func Keep(world, artifacts string) {
	for _, f := range logs(world) {
		rel, err := filepath.Rel(world, f)
		if err != nil {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		to := filepath.Join(artifacts, rel)
		if os.MkdirAll(filepath.Dir(to), 0o755) == nil {
			_ = os.WriteFile(to, text, 0o644) // what cannot be kept is not kept
		}
	}
}

// logs lists what is worth keeping below a directory.
func logs(dir string) []string {
	var found []string
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && slices.Contains([]string{".log", ".out", ".yaml"}, filepath.Ext(path)) {
			found = append(found, path)
		}
		return nil // what cannot be read is not kept
	})
	return found
}

// Agent finds the process of the agent of one of the world's clusters: of this
// world, whatever others there are on the machine.
func (w *World) Agent(cluster string) (pid int, ok bool) {
	dir, err := filepath.Abs(w.Dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return 0, false
	}
	return daemon("waterwheel-agent", filepath.Join(dir, "agents", cluster, "agent.yaml"))
}

// daemon finds the process of a binary whose command line names a path.
func daemon(binary, path string) (pid int, ok bool) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		cmd, err := os.ReadFile(filepath.Join(d, "cmdline"))
		if err != nil {
			continue
		}
		args := strings.Split(string(cmd), "\x00")
		if filepath.Base(args[0]) == binary && strings.Contains(string(cmd), path) {
			pid, err := strconv.Atoi(filepath.Base(d))
			return pid, err == nil
		}
	}
	return 0, false
}
