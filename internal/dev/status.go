package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// maxView bounds an agent's view, in bytes.
const maxView = 16 << 20

// worldStatus is what `status -o json` prints.
type worldStatus struct {
	Dir        string          `json:"dir"`
	Context    string          `json:"context"` // for WATERWHEEL_CONFIG
	Supervisor *supervisorView `json:"supervisor"`
	Hub        hubView         `json:"hub"`
	Clusters   []clusterView   `json:"clusters"`
}

type supervisorView struct {
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

type hubView struct {
	ProcessStatus
	Admin   string `json:"admin"`
	Agents  string `json:"agents"`
	Metrics string `json:"metrics"`
	Ready   bool   `json:"ready"`
}

type clusterView struct {
	Name  string          `json:"name"`
	Agent ProcessStatus   `json:"agent"`
	Relay relayStatus     `json:"relay"`
	View  *agentView      `json:"-"`
	Raw   json.RawMessage `json:"view,omitempty"` // the agent's own word, whole
	Err   string          `json:"viewError,omitempty"`
}

// agentView is what is shown of an agent's own view.
type agentView struct {
	Hub struct {
		State     string    `json:"state"`
		LastHeard time.Time `json:"lastHeard"`
		Error     string    `json:"error"`
	} `json:"hub"`
	MemoryTotal int64     `json:"memoryTotal"`
	MemoryUsed  int64     `json:"memoryUsed"`
	Jobs        []viewJob `json:"jobs"`
}

type viewJob struct {
	Tenant  string `json:"tenant"`
	Name    string `json:"name"`
	Deleted bool   `json:"deleted"`
	Status  struct {
		State   string `json:"state"`
		Run     int32  `json:"run"`
		Message string `json:"message"`
		Flink   struct {
			State        string `json:"state"`
			TasksRunning int32  `json:"tasksRunning"`
			TasksTotal   int32  `json:"tasksTotal"`
		} `json:"flink"`
	} `json:"status"`
}

// status looks at everything at once; what cannot be seen is part of it.
func (d dev) status(ctx context.Context) (worldStatus, error) {
	w, ok, err := d.at.load()
	if err != nil {
		return worldStatus{}, err
	}
	if !ok {
		return worldStatus{}, fmt.Errorf("%s holds no world: begin with `waterwheel dev up`", d.at)
	}
	out := worldStatus{Dir: string(d.at), Context: d.at.context(), Clusters: make([]clusterView, len(w.Clusters))}
	s, err := d.at.supervision(ctx)
	switch {
	case err == nil:
		out.Supervisor = &supervisorView{PID: s.PID, Since: s.Since}
	case errors.Is(err, errNoSupervisor):
		if s, err = d.unsupervised(); err != nil {
			return worldStatus{}, err
		}
	default:
		return worldStatus{}, err
	}
	out.Hub = hubView{
		ProcessStatus: s.process(hubName),
		Admin:         address(w.Hub.Admin), Agents: address(w.Hub.Agents), Metrics: address(w.Hub.Metrics),
	}
	var wg sync.WaitGroup
	wg.Go(func() { out.Hub.Ready = ready(ctx, w.Hub.Metrics) })
	for i, c := range w.Clusters {
		out.Clusters[i] = clusterView{Name: c.Name, Agent: s.process(c.process()), Relay: s.relay(c.Name)}
		wg.Go(func() { out.Clusters[i].look(ctx, c) })
	}
	wg.Wait()
	return out, nil
}

// unsupervised is what lives while no supervisor does.
func (d dev) unsupervised() (supervision, error) {
	all, err := findProcesses(string(d.at))
	if err != nil {
		return supervision{}, err
	}
	var s supervision
	for _, f := range all {
		s.Processes = append(s.Processes, ProcessStatus{Name: f.name, State: ProcessRunning, PID: f.pid, Since: f.at})
	}
	return s, nil
}

// look asks an agent for its own view, which it has with the hub gone too.
func (v *clusterView) look(ctx context.Context, c cluster) {
	raw, err := getBounded(ctx, "http://"+address(c.Listen)+"/status")
	if err == nil {
		var view agentView
		if err = json.Unmarshal(raw, &view); err == nil {
			v.View, v.Raw = &view, raw
		}
	}
	if err != nil {
		v.Err = err.Error()
	}
}

func getBounded(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := direct.Do(req)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxView))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("http %d", resp.StatusCode)
	}
	return raw, err
}

// print writes the tables for people.
func (s worldStatus) print(out io.Writer, now time.Time) error {
	fmt.Fprintf(out, "world    %s\n", s.Dir)
	if s.Supervisor == nil {
		fmt.Fprintf(out, "no supervisor is running: `waterwheel dev up` brings back what is missing\n")
	}
	fmt.Fprintln(out)
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "PROCESS\tSTATE\tPID\tAGE\tRESTARTS\tRELAY\tHUB\tMEMORY\tJOBS")
	fmt.Fprintf(t, "%s\t%s\t\t%s\t\t\n", hubName, s.Hub.row(now), readyWord(s.Hub.Ready))
	for _, c := range s.Clusters {
		fmt.Fprintf(t, "%s%s\t%s\t%s\t%s\n", agentPrefix, c.Name, c.Agent.row(now), dash(string(c.Relay.State)), c.own(now))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return s.printJobs(out)
}

func (s worldStatus) printJobs(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	headed := false
	for _, c := range s.Clusters {
		if c.View == nil {
			continue
		}
		for _, j := range c.View.Jobs {
			if !headed {
				fmt.Fprintln(out)
				fmt.Fprintln(t, "JOB\tCLUSTER\tSTATE\tRUN\tFLINK\tTASKS\tMESSAGE")
				headed = true
			}
			st := j.Status
			fmt.Fprintf(t, "%s/%s\t%s\t%s\t%d\t%s\t%d/%d\t%s\n", j.Tenant, j.Name, c.Name, dash(st.State), st.Run, dash(st.Flink.State), st.Flink.TasksRunning, st.Flink.TasksTotal, clip(st.Message))
		}
	}
	return t.Flush()
}

// row is a process's columns STATE, PID, AGE, RESTARTS.
func (p ProcessStatus) row(now time.Time) string {
	if p.State == "" {
		return "absent\t-\t-\t-"
	}
	pid := "-"
	if p.PID > 0 {
		pid = fmt.Sprint(p.PID)
	}
	state := string(p.State)
	if p.LastExit != "" && p.State != ProcessRunning {
		state += " (" + clip(p.LastExit) + ")"
	}
	return fmt.Sprintf("%s\t%s\t%s\t%d", state, pid, age(now.Sub(p.Since)), p.Restarts)
}

// own is the agent's own word on hub, memory and jobs.
func (v clusterView) own(now time.Time) string {
	if v.View == nil {
		return "?\t?\t?"
	}
	hub := v.View.Hub.State
	if heard := v.View.Hub.LastHeard; !heard.IsZero() && !strings.EqualFold(hub, "connected") {
		hub += ", heard " + age(now.Sub(heard)) + " ago"
	}
	memory := bytesWord(v.View.MemoryUsed)
	if v.View.MemoryTotal > 0 {
		memory += " of " + bytesWord(v.View.MemoryTotal)
	}
	return fmt.Sprintf("%s\t%s\t%d", dash(hub), memory, len(v.View.Jobs))
}

func readyWord(ready bool) string {
	if ready {
		return "ready"
	}
	return "not ready"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// age is a duration as kubectl shows it: two digits are enough.
func age(d time.Duration) string {
	switch d = max(d, 0); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func bytesWord(n int64) string {
	const mi, gi = 1 << 20, 1 << 30
	if n >= gi {
		return fmt.Sprintf("%.1fGi", float64(n)/gi)
	}
	return fmt.Sprintf("%dMi", n/mi)
}
