package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/dev/relay"
)

// socketName is the supervisor's socket in the directory of the world.
const socketName = "control.sock"

// maxControl bounds a message on the socket, in bytes.
const maxControl = 1 << 20

// errNoSupervisor says that nobody answers at the socket.
var errNoSupervisor = errors.New("no supervisor is running")

// supervision is what the supervisor tells of itself.
type supervision struct {
	PID       int             `json:"pid"`
	Since     time.Time       `json:"since"`
	Processes []ProcessStatus `json:"processes"`
	Relays    []relayStatus   `json:"relays"`
}

type relayStatus struct {
	Cluster     string      `json:"cluster"`
	Address     string      `json:"address"`
	State       relay.State `json:"state"`
	Connections int         `json:"connections"`
}

func (s supervision) process(name string) ProcessStatus {
	for _, p := range s.Processes {
		if p.Name == name {
			return p
		}
	}
	return ProcessStatus{Name: name}
}

func (s supervision) relay(cluster string) relayStatus {
	for _, r := range s.Relays {
		if r.Cluster == cluster {
			return r
		}
	}
	return relayStatus{Cluster: cluster}
}

// Requests on the socket.
type (
	relayRequest struct {
		Cluster string      `json:"cluster"`
		State   relay.State `json:"state"`
	}
	restartRequest struct {
		Name    string `json:"name"`
		Restart bool   `json:"restart"`
	}
)

// socket gives an address of the socket that is short enough for the kernel,
// however deep the directory lies. It is valid until done is called.
func (l layout) socket() (path string, done func(), err error) {
	dir, err := os.Open(string(l))
	if err != nil {
		return "", nil, err
	}
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), socketName), func() { dir.Close() }, nil
}

func (l layout) listenControl() (net.Listener, error) {
	path, done, err := l.socket()
	if err != nil {
		return nil, err
	}
	defer done()
	if err := os.Remove(l.path(socketName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	lis, err := net.Listen("unix", path) //nolint:noctx // nothing to wait for
	if err != nil {
		return nil, fmt.Errorf("listen for control: %w", err)
	}
	lis.(*net.UnixListener).SetUnlinkOnClose(false) // its path is gone by then; the next one removes the file
	return lis, os.Chmod(l.path(socketName), 0o600)
}

// control asks the supervisor. It returns errNoSupervisor when none answers.
func (l layout) control(ctx context.Context, method, path string, body, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			socket, done, err := l.socket()
			if err != nil {
				return nil, err
			}
			defer done()
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://supervisor"+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("ask the supervisor: %w", context.Cause(ctx))
		}
		return fmt.Errorf("%w (%w)", errNoSupervisor, errors.Unwrap(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxControl))
	if err != nil {
		return fmt.Errorf("ask the supervisor: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(answer)))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

func (l layout) supervision(ctx context.Context) (supervision, error) {
	var s supervision
	err := l.control(ctx, http.MethodGet, "/status", nil, &s)
	return s, err
}
