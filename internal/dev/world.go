package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/waterwheel-io/waterwheel/internal/dev/relay"
)

// loopback is where everything of a world listens.
const loopback = "127.0.0.1"

// Names of processes; an agent's is its cluster's name behind agentPrefix.
const (
	hubName        = "hub"
	supervisorName = "supervisor"
	agentPrefix    = "agent-"
)

// world is what dev.json holds: what was chosen once and stays so.
type world struct {
	Hub       hubPorts  `json:"hub"`
	Clusters  []cluster `json:"clusters"`
	Memory    string    `json:"memory"`              // declared memory that each agent may hand out
	NoRestart []string  `json:"noRestart,omitempty"` // names of processes that stay down once they end
	Relays    relays    `json:"-"`
}

type hubPorts struct {
	Agents  int `json:"agents"`
	Admin   int `json:"admin"`
	Metrics int `json:"metrics"`
}

type cluster struct {
	Name   string `json:"name"`
	Relay  int    `json:"relay"`  // port that its agent dials in place of the hub's
	Listen int    `json:"listen"` // port of its agent's metrics, health and own view
}

// relays is relays.json: the state of each relay that is not open, by cluster.
type relays map[string]relay.State

func (w *world) cluster(name string) (cluster, bool) {
	i := slices.IndexFunc(w.Clusters, func(c cluster) bool { return c.Name == name })
	if i < 0 {
		return cluster{}, false
	}
	return w.Clusters[i], true
}

func (c cluster) process() string { return agentPrefix + c.Name }

func names(clusters []cluster) string {
	all := make([]string, len(clusters))
	for i, c := range clusters {
		all[i] = c.Name
	}
	return strings.Join(all, ", ")
}

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

// layout is where things are below the directory of a world. It is absolute.
type layout string

func (l layout) path(parts ...string) string {
	return filepath.Join(append([]string{string(l)}, parts...)...)
}

func (l layout) worldFile() string              { return l.path("dev.json") }
func (l layout) relaysFile() string             { return l.path("relays.json") }
func (l layout) lockFile(name string) string    { return l.path(name + ".lock") }
func (l layout) context() string                { return l.path("config.yaml") }
func (l layout) hub() string                    { return l.path("hub") }
func (l layout) hubConfig() string              { return l.path("hub", "hub.yaml") }
func (l layout) hubAdmin(file string) string    { return l.path("hub", "admin", adminName, file) }
func (l layout) agent(name string) string       { return l.path("agents", name) }
func (l layout) agentConfig(name string) string { return l.path("agents", name, "agent.yaml") }
func (l layout) agentToken(name string) string  { return l.path("agents", name, "token") }
func (l layout) agentRoots(name string) string  { return l.path("agents", name, "hub-ca.pem") }
func (l layout) usrlib() string                 { return l.path("usrlib") }
func (l layout) state() string                  { return l.path("state") }
func (l layout) logs() string                   { return l.path("logs") }
func (l layout) log(process string) string      { return l.path("logs", process+".log") }
func (l layout) exists() bool                   { return isFile(l.worldFile()) }

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// clusterName is what a cluster may be called: it becomes a file name and a process name.
var clusterName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// load reads the world; the zero world and false when there is none.
func (l layout) load() (world, bool, error) {
	var w world
	found, err := readJSON(l.worldFile(), &w)
	if err != nil || !found {
		return world{}, false, err
	}
	for _, c := range w.Clusters {
		if !clusterName.MatchString(c.Name) {
			return world{}, false, fmt.Errorf("%s: %q is no name of a cluster", l.worldFile(), c.Name)
		}
	}
	w.Relays = relays{}
	if _, err := readJSON(l.relaysFile(), &w.Relays); err != nil {
		return world{}, false, err
	}
	return w, true, nil
}

func (l layout) save(w world) error        { return writeJSON(l.worldFile(), w) }
func (l layout) saveRelays(r relays) error { return writeJSON(l.relaysFile(), r) }

// grow adds ports and clusters until there are n of them, dev-1, dev-2 and so on. It takes none away.
func (w *world) grow(n int, free func() (int, error)) error {
	for _, p := range []*int{&w.Hub.Agents, &w.Hub.Admin, &w.Hub.Metrics} {
		if *p == 0 {
			port, err := free()
			if err != nil {
				return err
			}
			*p = port
		}
	}
	for i := len(w.Clusters); i < n; i++ {
		relay, err := free()
		if err != nil {
			return err
		}
		listen, err := free()
		if err != nil {
			return err
		}
		w.Clusters = append(w.Clusters, cluster{Name: "dev-" + strconv.Itoa(i+1), Relay: relay, Listen: listen})
	}
	return nil
}

// Ports are taken from below the range that the kernel gives to outgoing connections and to who asks for any port, and
// from below that of Flink's: none of these comes in between choice and use, nor while a process is down.
const portLow, portHigh = 12000, 20000

// freePorts gives free loopback ports, no two alike: it holds each until done is called.
func freePorts() (free func() (int, error), done func()) {
	var held []net.Listener
	free = func() (int, error) {
		var refused error
		for range 100 {
			lis, err := net.Listen("tcp", address(portLow+rand.IntN(portHigh-portLow))) //nolint:noctx // nothing to wait for
			if err != nil {
				refused = err
				continue
			}
			held = append(held, lis)
			return lis.Addr().(*net.TCPAddr).Port, nil
		}
		return 0, fmt.Errorf("find a free port: %w", refused)
	}
	done = func() {
		for _, lis := range held {
			lis.Close()
		}
	}
	return free, done
}

func readJSON(path string, into any) (bool, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, nil
}

func writeJSON(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(path, append(raw, '\n'), 0o644)
}

// replaceFile writes a file so that readers see the old or the new content whole.
func replaceFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error tells
	}
	return err
}
