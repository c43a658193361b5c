package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// Exec runs a command in the node and returns its output.
func (c *Cluster) Exec(ctx context.Context, args ...string) (string, error) {
	return c.engine.Docker(ctx, append([]string{"exec", c.NodeName}, args...)...)
}

// ExecWith is Exec with something to read.
func (c *Cluster) ExecWith(ctx context.Context, in io.Reader, args ...string) (string, error) {
	return c.engine.DockerWith(ctx, in, append([]string{"exec", "-i", c.NodeName}, args...)...)
}

// Pause freezes the node with all that runs in it.
func (c *Cluster) Pause(ctx context.Context) error {
	_, err := c.engine.Docker(ctx, "pause", c.NodeName)
	return err
}

// Unpause lets a paused node go on.
func (c *Cluster) Unpause(ctx context.Context) error {
	_, err := c.engine.Docker(ctx, "unpause", c.NodeName)
	return err
}

// Restart restarts the node, as a machine is restarted: every pod with it. It
// returns when the node runs again; what is in it takes longer (see WaitReady).
func (c *Cluster) Restart(ctx context.Context) error {
	if _, err := c.engine.Docker(ctx, "restart", "-t", "10", c.NodeName); err != nil {
		return err
	}
	return c.locate(ctx)
}

const (
	apiManifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	apiAway     = "/etc/kubernetes/kube-apiserver.yaml.away"
)

// StopAPIServer takes the API server away; everything else in the cluster goes
// on as it can. It returns when the server is gone. The returned function brings
// it back and returns when it answers.
func (c *Cluster) StopAPIServer(ctx context.Context) (start func(context.Context) error, err error) {
	start = func(ctx context.Context) error {
		if _, err := c.Exec(ctx, "mv", "-n", apiAway, apiManifest); err != nil {
			return fmt.Errorf("bring the API server of %s back: %w", c.Name, err)
		}
		return until(ctx, 200*time.Millisecond, func() error { return c.apiAnswers(ctx) })
	}
	if _, err := c.Exec(ctx, "mv", "-n", apiManifest, apiAway); err != nil {
		return nil, fmt.Errorf("take the API server of %s away: %w", c.Name, err)
	}
	err = until(ctx, 200*time.Millisecond, func() error {
		ids, err := c.Exec(ctx, "crictl", "ps", "-q", "--name", "^kube-apiserver$")
		if err != nil {
			return err
		}
		list := strings.Fields(ids)
		if len(list) == 0 {
			return nil
		}
		// left alone it would go on serving open watches for half a minute
		if _, err := c.Exec(ctx, append([]string{"crictl", "stop", "-t", "1"}, list...)...); err != nil {
			return err
		}
		return errors.New("the API server still runs")
	})
	if err != nil {
		return nil, errors.Join(err, start(context.WithoutCancel(ctx)))
	}
	return start, nil
}

func (c *Cluster) apiAnswers(ctx context.Context) error {
	conf, err := c.Config()
	if err != nil {
		return err
	}
	conf.Timeout = 2 * time.Second
	conf = rest.AnonymousClientConfig(conf)
	client, err := rest.HTTPClientFor(conf)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, conf.Host+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("readyz: %s", resp.Status)
	}
	return nil
}
