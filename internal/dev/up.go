package dev

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

// Times that the parts of a world get to come up.
const (
	supervisorTimeout = time.Minute
	hubTimeout        = time.Minute
	joinTimeout       = 2 * time.Minute
)

// defaultFlink is what a world has without being asked; what the cache holds comes along.
const defaultFlink = "2.3"

// What a world gets at its first up unless it is told, and keeps.
const (
	firstClusters = 2
	maxClusters   = 50
	firstMemory   = "8Gi"
)

// upOptions is what `up` is asked for.
type upOptions struct {
	clusters  int // at least; 0: as many as there are
	flink     []string
	memory    string // declared memory that each agent may hand out; empty: as before
	noRestart []string
	install   bool // a JDK and pip may be installed when there is none
}

func (o upOptions) fetch(ctx context.Context, opts flinkdist.Options) (flinkdist.Dist, error) {
	if o.install {
		return flinkdist.FetchOrInstall(ctx, opts)
	}
	return flinkdist.Fetch(ctx, opts)
}

// findJDK finds a Java that runs Flink. One that has to be installed can compile too.
func (o upOptions) findJDK(ctx context.Context, say func(string)) (flinkdist.JDK, error) {
	if o.install {
		return flinkdist.FindOrInstallJDK(ctx, flinkdist.Compiler, say)
	}
	return flinkdist.FindJDK(ctx, flinkdist.Runtime, nil)
}

// up brings up what is missing of a world. It may be asked again at any time.
func (d dev) up(ctx context.Context, o upOptions) error {
	if err := os.MkdirAll(d.at.logs(), 0o755); err != nil {
		return err
	}
	unlock, err := waitLock(ctx, d.at.lockFile("up"))
	if err != nil {
		return err
	}
	defer unlock()
	p := newProgress(d.out)
	g, err := d.ground(ctx, p, o)
	if err != nil {
		return err
	}
	w, err := d.choose(o)
	if err != nil {
		return err
	}
	if err := d.hubUp(ctx, p, w); err != nil {
		return err
	}
	for _, c := range w.Clusters {
		if err := d.invite(ctx, p, w, c, g); err != nil {
			return err
		}
	}
	if err := d.bringExamples(ctx, p, g); err != nil {
		return err
	}
	if err := d.joined(ctx, p, w); err != nil {
		return err
	}
	d.whatNext(p, w, d.shareContext(ctx, p, w))
	return nil
}

// ground finds, or fetches, Flink and Java.
func (d dev) ground(ctx context.Context, p *progress, o upOptions) (ground, error) {
	g := ground{Flink: map[string]string{}}
	versions := o.flink
	if len(versions) == 0 {
		versions = []string{defaultFlink}
	}
	for _, v := range versions {
		if err := p.step("flink "+v, func(say func(string)) error {
			dist, err := o.fetch(ctx, flinkdist.Options{Version: v, Progress: say})
			if err != nil {
				return err
			}
			g.Flink[minor(dist.Version)] = dist.Home
			say(dist.Home)
			return nil
		}); err != nil {
			return ground{}, err
		}
	}
	for _, v := range slices.Backward(flinkdist.Versions()) { // the oldest last
		if home := g.Flink[minor(v)]; home != "" {
			g.Lib = filepath.Join(home, "lib")
			continue
		}
		if dist, ok, err := flinkdist.Cached(flinkdist.Options{Version: v}); err == nil && ok {
			g.Flink[minor(v)], g.Lib = dist.Home, dist.Lib
			p.note("flink "+v, "in the cache too")
		}
	}
	err := p.step("java", func(say func(string)) error {
		jdk, err := o.findJDK(ctx, say)
		g.Java = jdk.Java
		say(fmt.Sprintf("%d at %s", jdk.Version, jdk.Java))
		return err
	})
	return g, err
}

// minor is the version as manifests name it: 2.3 of 2.3.0.
func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// choose keeps what was chosen before, and adds what is asked for beyond it.
func (d dev) choose(o upOptions) (world, error) {
	w, _, err := d.at.load()
	if err != nil {
		return world{}, err
	}
	free, done := freePorts()
	defer done()
	if o.clusters == 0 && len(w.Clusters) == 0 {
		o.clusters = firstClusters
	}
	if err := w.grow(o.clusters, free); err != nil {
		return world{}, err
	}
	if w.Memory = cmp.Or(o.memory, w.Memory); w.Memory == "" {
		w.Memory = firstMemory
	}
	w.NoRestart = o.noRestart
	for i, name := range w.NoRestart {
		if _, ok := w.cluster(name); ok {
			w.NoRestart[i] = agentPrefix + name
		}
	}
	return w, d.at.save(w)
}

// hubUp makes the hub at the first time, and has supervisor and hub run.
func (d dev) hubUp(ctx context.Context, p *progress, w world) error {
	if !isFile(d.at.hubConfig()) {
		if err := p.step("hub made", func(func(string)) error {
			// Its file comes last: what lies there without it was never a hub.
			if err := os.RemoveAll(d.at.hub()); err != nil {
				return err
			}
			_, err := d.run(ctx, d.bin.hubInit(d.at, w))
			return err
		}); err != nil {
			return err
		}
	}
	if err := d.at.writeContext(w); err != nil {
		return err
	}
	if err := p.step("supervisor", func(say func(string)) error {
		if _, err := d.at.supervision(ctx); err == nil {
			say("there already")
			return d.at.control(ctx, http.MethodPost, "/reload", nil, nil)
		}
		return d.startSupervisor(ctx)
	}); err != nil {
		return err
	}
	return p.step("hub", func(say func(string)) error {
		ctx, cancel := context.WithTimeoutCause(ctx, hubTimeout, fmt.Errorf("not ready within %s: see %s", hubTimeout, d.at.log(hubName)))
		defer cancel()
		say(address(w.Hub.Admin))
		return withLastLine(poll(ctx, func() (bool, error) { return ready(ctx, w.Hub.Metrics), nil }), d.at.log(hubName))
	})
}

// startSupervisor starts it in a session of its own and waits until it answers.
func (d dev) startSupervisor(ctx context.Context) error {
	limit := fmt.Errorf("no answer within %s: see %s", supervisorTimeout, d.at.log(supervisorName))
	ctx, cancel := context.WithTimeoutCause(ctx, supervisorTimeout, limit)
	defer cancel()
	// The one before may have been killed a moment ago, and not have let go of everything.
	unlock, err := waitLock(ctx, d.at.lockFile(supervisorName))
	if err != nil {
		return err
	}
	unlock()
	c, err := spawn(string(d.at), supervisorName, d.at.log(supervisorName), d.bin.supervise(d.at))
	if err != nil {
		return err
	}
	return poll(ctx, func() (bool, error) {
		if _, err := d.at.supervision(ctx); err == nil {
			return true, nil
		}
		select {
		case <-c.Done:
			return false, fmt.Errorf("it ended, %s: see %s", c.Exit(), d.at.log(supervisorName))
		default:
			return false, nil
		}
	})
}

// ready asks a process's loopback listener.
func ready(ctx context.Context, port int) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address(port)+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := direct.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// direct reaches loopback, past any proxy.
var direct = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// hubCluster is what is read of a cluster at the hub.
type hubCluster struct {
	Name      string    `json:"name"`
	State     string    `json:"state"`
	Connected bool      `json:"connected"`
	LastSeen  string    `json:"lastSeen"`
	CertEnds  time.Time `json:"certificateExpiresAt,omitzero"`
}

// needsToken reports whether its agent has to join, for the first time or again: with a certificate that ended, as it
// does while a world is down for longer than that is valid, it can do nothing else.
func (c hubCluster) needsToken(now time.Time) bool {
	return c.State != "joined" || !c.Connected && !c.CertEnds.IsZero() && !now.Before(c.CertEnds)
}

// hubClusters reads the clusters through the waterwheel command, as a user would.
func (d dev) hubClusters(ctx context.Context) (map[string]hubCluster, error) {
	out, err := d.run(ctx, []string{d.bin.cli, "get", "clusters", "-o", "json"})
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []hubCluster `json:"items"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("read clusters: %w", err)
	}
	all := map[string]hubCluster{}
	for _, c := range list.Items {
		all[c.Name] = c
	}
	return all, nil
}

// invite has a cluster invited where its agent needs a token, and the agent kept up.
func (d dev) invite(ctx context.Context, p *progress, w world, c cluster, g ground) error {
	known, err := d.hubClusters(ctx)
	if err != nil {
		return err
	}
	before, _ := os.ReadFile(d.at.agentConfig(c.Name)) // what cannot be read has changed
	var inv invitation
	if known[c.Name].needsToken(time.Now()) {
		if err := p.step("invite "+c.Name, func(func(string)) error {
			out, err := d.run(ctx, []string{d.bin.cli, "cluster", "invite", c.Name, "-o", "json"})
			if err != nil {
				return err
			}
			return json.Unmarshal(out, &inv)
		}); err != nil {
			return err
		}
	}
	if err := d.at.writeAgent(c, inv, g, w.Memory); err != nil {
		return err
	}
	after, err := os.ReadFile(d.at.agentConfig(c.Name))
	if err != nil {
		return err
	}
	if before != nil && (inv.Token != "" || !slices.Equal(before, after)) {
		if err := d.restart(c.process()); err != nil { // its jobs go on
			return err
		}
	}
	return d.at.control(ctx, http.MethodPost, "/reload", nil, nil)
}

// restart ends a process that the supervisor brings back, with its files as they are now.
func (d dev) restart(name string) error {
	all, err := findProcesses(string(d.at))
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.name == name {
			err = errors.Join(err, f.signal(string(d.at), syscall.SIGTERM))
		}
	}
	return err
}

// joined waits until each agent has its stream. One that is cut off cannot have it, nor one that is not to be restarted.
func (d dev) joined(ctx context.Context, p *progress, w world) error {
	for _, c := range w.Clusters {
		if state := w.Relays[c.Name]; state != "" {
			p.note("agent of "+c.Name, string(state)+" off the hub")
			continue
		}
		if err := p.step("agent of "+c.Name, func(say func(string)) error {
			limit := fmt.Errorf("not connected within %s: see %s", joinTimeout, d.at.log(c.process()))
			ctx, cancel := context.WithTimeoutCause(ctx, joinTimeout, limit)
			defer cancel()
			return withLastLine(poll(ctx, func() (bool, error) {
				known, err := d.hubClusters(ctx)
				if ctx.Err() != nil {
					return false, context.Cause(ctx)
				}
				if err == nil && known[c.Name].Connected {
					say("joined and connected")
					return true, nil
				}
				s, err := d.at.supervision(ctx)
				if st := s.process(c.process()); err == nil && st.State == ProcessStopped {
					say("stopped, and not to be restarted")
					return true, nil
				}
				return false, nil
			}), d.at.log(c.process()))
		}); err != nil {
			return err
		}
	}
	return nil
}

// whatNext is said last; current says that the waterwheel command calls this world anyway.
func (d dev) whatNext(p *progress, w world, current bool) {
	p.line("")
	p.line("The world is up in %s: a hub, and agents of %s.", d.at, names(w.Clusters))
	p.line("Its jars lie in %s.", d.at.usrlib())
	p.line("")
	switch {
	case current:
	case d.at.isDefault():
		p.line("  waterwheel config use-context %s", userContext)
	default:
		p.line("  export %s=%q", configVariable, d.at.context())
	}
	p.line("  waterwheel get clusters")
	p.line("  waterwheel apply -f FILE")
	p.line("  waterwheel dev status | cut %s | heal %s | down", w.Clusters[0].Name, w.Clusters[0].Name)
}

// run runs a program of the world to its end, with the world's context; its
// stdout is returned, its stderr is in the error.
func (d dev) run(ctx context.Context, argv []string) ([]byte, error) {
	return runWith(ctx, append(withoutMarker(os.Environ()), configVariable+"="+d.at.context()), argv)
}

func runWith(ctx context.Context, env, argv []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = env
	cmd.WaitDelay = time.Second
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", strings.Join(argv[:min(3, len(argv))], " "), err, strings.TrimSpace(errs.String()))
	}
	return out, nil
}
