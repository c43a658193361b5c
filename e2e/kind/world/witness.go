package world

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/waterwheel-io/waterwheel/agent/flinkrest"
	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/e2e/kind/cluster"
	"github.com/waterwheel-io/waterwheel/flink"
)

// Witness asks Flink itself how the runs of one cluster do, past hub and agent: by a port of the node, with the client's
// key from the run's Secret, as a person with a right to read Secrets there could. It may be used from many goroutines.
type Witness struct {
	cluster   *cluster.Cluster
	namespace string
	rest      *flinkrest.Client

	mu   sync.Mutex     // guards ways
	ways map[string]way // by host name of a run's REST
}

// way is how a run's REST is reached from this machine.
type way struct {
	addr string
	tls  *tls.Config
}

// NewWitness makes a Witness of the jobs' namespace of a cluster.
func NewWitness(c *cluster.Cluster) *Witness {
	w := &Witness{cluster: c, namespace: JobNamespace, ways: map[string]way{}}
	w.rest = flinkrest.New(flinkrest.Config{HTTP: &http.Client{Transport: &http.Transport{DialTLSContext: w.dial, MaxIdleConnsPerHost: 2}}})
	return w
}

// Observe asks the JobManager of a run. What cannot be had is part of the answer.
func (w *Witness) Observe(ctx context.Context, run flink.Run) flink.REST {
	return w.rest.Observe(ctx, render.Endpoint(run, w.namespace), flink.RESTQuery{JobID: run.JobID()})
}

func (w *Witness) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at, ok := w.ways[host]
	if !ok {
		if at, err = w.find(ctx, host); err != nil {
			return nil, fmt.Errorf("find a way to %s: %w", host, err)
		}
		w.ways[host] = at
	}
	return (&tls.Dialer{NetDialer: &net.Dialer{Timeout: 3 * time.Second}, Config: at.tls}).DialContext(ctx, network, at.addr)
}

// find opens a port of the node for a run's REST and reads its client's key.
func (w *Witness) find(ctx context.Context, host string) (way, error) {
	service, _, _ := strings.Cut(host, ".")
	name := strings.TrimSuffix(service, "-rest") + "-witness"
	text, err := w.kubectl(ctx, "", "get", "service", service, "-o", "jsonpath={.spec.selector}")
	if err != nil {
		return way{}, err
	}
	spec := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Service", "metadata": {"name": %q}, "spec": {"type": "NodePort", "publishNotReadyAddresses": true,
		"selector": %s, "ports": [{"port": 8081, "targetPort": 8081}]}}`, name, text)
	if _, err := w.kubectl(ctx, spec, "apply", "-f", "-"); err != nil {
		return way{}, err
	}
	port, err := w.kubectl(ctx, "", "get", "service", name, "-o", "jsonpath={.spec.ports[0].nodePort}")
	if err != nil {
		return way{}, err
	}
	conf, err := w.client(ctx, service)
	if err != nil {
		return way{}, err
	}
	conf.ServerName = host
	at := way{addr: net.JoinHostPort(w.cluster.NodeIP.String(), port), tls: conf}
	return at, w.opened(ctx, at.addr)
}

// opened waits until a new port of the node leads somewhere.
func (w *Witness) opened(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("port of the node: %w", err)
		}
	}
}

// client reads the client's key of a run from its Secret.
func (w *Witness) client(ctx context.Context, secret string) (*tls.Config, error) {
	text, err := w.kubectl(ctx, "", "get", "secret", secret, "-o", "jsonpath={.data}")
	if err != nil {
		return nil, err
	}
	var data map[string]string
	if err := json.Unmarshal([]byte(text), &data); err != nil {
		return nil, fmt.Errorf("read Secret %s: %w", secret, err)
	}
	file := func(key string) []byte {
		b, _ := base64.StdEncoding.DecodeString(data[key]) // what is wrong shows when it is used
		return b
	}
	key, cert, _, err := pkcs12.DecodeChain(file(render.ClientStore), string(file(render.KeyPassword)))
	if err != nil {
		return nil, fmt.Errorf("read the client's key of Secret %s: %w", secret, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(file(render.KeyCA)) {
		return nil, fmt.Errorf("read Secret %s: no certificate in %s", secret, render.KeyCA)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots,
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}},
	}, nil
}

func (w *Witness) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	return w.cluster.KubectlWith(ctx, strings.NewReader(stdin), append([]string{"-n", w.namespace}, args...)...)
}

// Forget drops what is known of ways to runs: after nodes were restarted, or Services deleted.
func (w *Witness) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.ways)
}
