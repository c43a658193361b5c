package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// World is a running `waterwheel dev` world.
type World struct {
	Dir string    // of the world
	Bin string    // directory of the binaries
	Log io.Writer // everything that is typed and answered
}

// Build makes the binaries.
func Build(ctx context.Context, bin string) error {
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	c := exec.CommandContext(ctx, "go", "build", "-o", bin+string(filepath.Separator), "./cmd/...")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build binaries: %w\n%s", err, out)
	}
	return nil
}

// CLI types a command and returns what it printed on stdout. The error carries stderr.
func (w *World) CLI(ctx context.Context, stdin string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, filepath.Join(w.Bin, "waterwheel"), args...)
	c.Env = append(os.Environ(), "WATERWHEEL_CONFIG="+filepath.Join(w.Dir, "config.yaml"))
	c.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, io.MultiWriter(&errs, w.Log)
	err := c.Run()
	fmt.Fprintf(w.Log, "%s $ waterwheel %s\n", time.Now().UTC().Format("15:04:05.000"), strings.Join(args, " "))
	if len(args) > 0 && args[0] != "get" {
		fmt.Fprintf(w.Log, "%s", out.String())
	}
	if err != nil {
		return out.String(), fmt.Errorf("waterwheel %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// Dev types `waterwheel dev …` for this world.
func (w *World) Dev(ctx context.Context, args ...string) (string, error) {
	return w.CLI(ctx, "", append([]string{"dev"}, append(args, "--dir", w.Dir)...)...)
}

// Apply applies a manifest.
func (w *World) Apply(ctx context.Context, manifest string) error {
	_, err := w.CLI(ctx, manifest, "apply", "-f", "-")
	return err
}

// Job is what stories read of a job, as `get -o json` and an agent's own view print it.
type Job struct {
	Metadata struct {
		Name       string `json:"name"`
		UID        string `json:"uid"`
		Generation int32  `json:"generation"`
	} `json:"metadata"`
	Status Status `json:"status"`
}

// Status is what stories read of a job's status.
type Status struct {
	ObservedGeneration int32     `json:"observedGeneration"`
	RecordedGeneration int32     `json:"recordedGeneration"`
	State              string    `json:"state"`
	Run                int32     `json:"run"`
	Situation          string    `json:"situation"`
	Message            string    `json:"message"`
	Freshness          string    `json:"freshness"`
	AsOf               time.Time `json:"asOf"`
	Flink              struct {
		JobID        string `json:"jobId"`
		TasksRunning int32  `json:"tasksRunning"`
		TasksTotal   int32  `json:"tasksTotal"`
		Checkpoints  int32  `json:"checkpoints"`
		Version      string `json:"version"`
	} `json:"flink"`
	Snapshot struct {
		Path string `json:"path"`
		Kind string `json:"kind"`
	} `json:"snapshot"`
	Restored struct {
		Intended string `json:"intended"`
		Actual   string `json:"actual"`
		Proven   bool   `json:"proven"`
	} `json:"restored"`
	Conditions []struct {
		Type   string `json:"type"`
		Status string `json:"status"`
		Reason string `json:"reason"`
	} `json:"conditions"`
	Links struct {
		FlinkUI string   `json:"flinkUi"`
		Logs    []string `json:"logs"`
	} `json:"links"`
}

// Ready reports whether the condition Ready is True.
func (s Status) Ready() bool {
	for _, c := range s.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

// Job reads one job from the hub.
func (w *World) Job(ctx context.Context, name string) (Job, error) {
	out, err := w.CLI(ctx, "", "get", "job", name, "-o", "json")
	if err != nil {
		return Job{}, err
	}
	var j Job
	if err := json.Unmarshal([]byte(out), &j); err != nil {
		return Job{}, fmt.Errorf("get job %s: %w", name, err)
	}
	return j, nil
}

// WaitJob reads a job from the hub until ok says so.
func (w *World) WaitJob(ctx context.Context, name, what string, limit time.Duration, ok func(Job) bool) (Job, error) {
	var last Job
	err := Poll(ctx, limit, 300*time.Millisecond, func(ctx context.Context) (bool, error) {
		j, err := w.Job(ctx, name)
		if err != nil {
			return false, err
		}
		last = j
		return ok(j), nil
	})
	if err != nil {
		return last, fmt.Errorf("job %s: waiting for %s: %w; last seen: %s, %s: %s", name, what, err, last.Status.State, last.Status.Situation, last.Status.Message)
	}
	return last, nil
}

// Own is a job as its agent sees it, told by the agent's loopback listener.
type Own struct {
	UID    string `json:"uid"`
	Name   string `json:"name"`
	Status Status `json:"status"`
}

// Own reads an agent's own view of a job, with no hub in between.
func (w *World) Own(ctx context.Context, cluster, name string) (Own, error) {
	addr, err := w.agentAddr(cluster)
	if err != nil {
		return Own{}, err
	}
	var view struct {
		Jobs []Own `json:"jobs"`
	}
	if err := getJSON(ctx, "http://"+addr+"/status", &view); err != nil {
		return Own{}, err
	}
	for _, j := range view.Jobs {
		if j.Name == name {
			return j, nil
		}
	}
	return Own{}, fmt.Errorf("agent of %s does not have job %s", cluster, name)
}

// agentAddr reads where an agent's loopback listener stands from its config file.
func (w *World) agentAddr(cluster string) (string, error) {
	text, err := os.ReadFile(filepath.Join(w.Dir, "agents", cluster, "agent.yaml"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "listen:"); ok {
			return strings.Trim(strings.TrimSpace(rest), `"'`), nil
		}
	}
	return "", fmt.Errorf("agent %s: no listen address in its config", cluster)
}

// Poll calls f until it says so, ctx ends, or limit has passed. An error of f
// is remembered and told at the end; it does not stop the polling.
func Poll(ctx context.Context, limit, every time.Duration, f func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not within %s", limit))
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last error
	for {
		ok, err := f(ctx)
		if ok {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}

// Line prints one line of figures: name key=value ….
func Line(out io.Writer, name string, kv ...any) {
	var b strings.Builder
	b.WriteString(name)
	for i := 0; i+1 < len(kv); i += 2 {
		v := kv[i+1]
		switch x := v.(type) {
		case time.Duration:
			v = strconv.FormatFloat(x.Seconds(), 'f', 1, 64)
		case float64:
			v = strconv.FormatFloat(x, 'f', 2, 64)
		}
		fmt.Fprintf(&b, " %v=%v", kv[i], v)
	}
	fmt.Fprintln(out, b.String())
}
