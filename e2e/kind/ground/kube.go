package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// around is what a cluster's owner makes for a tenant: in the product the agent's chart does. {namespace}, {key} and
// {secret} are put in.
const around = `
apiVersion: v1
kind: Namespace
metadata: {name: {namespace}, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: Secret
metadata: {name: state-storage, namespace: {namespace}}
stringData: {AWS_ACCESS_KEY_ID: "{key}", AWS_SECRET_ACCESS_KEY: "{secret}"}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: waterwheel-jobmanager, namespace: {namespace}}
automountServiceAccountToken: false
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: waterwheel-taskmanager, namespace: {namespace}}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: waterwheel-jobmanager, namespace: {namespace}}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, list, watch, create, update, patch, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: waterwheel-taskmanager, namespace: {namespace}}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: waterwheel-jobmanager, namespace: {namespace}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: waterwheel-jobmanager}
subjects: [{kind: ServiceAccount, name: waterwheel-jobmanager, namespace: {namespace}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: waterwheel-taskmanager, namespace: {namespace}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: waterwheel-taskmanager}
subjects: [{kind: ServiceAccount, name: waterwheel-taskmanager, namespace: {namespace}}]
`

// prepare makes the namespace with all that stands in it before a job comes.
func (g *ground) prepare(ctx context.Context) error {
	c := g.store.Credentials()
	text := strings.NewReplacer("{namespace}", g.place.Namespace, "{key}", c.AccessKey, "{secret}", c.SecretKey).Replace(around)
	_, err := g.cluster.KubectlWith(ctx, strings.NewReader(text), "apply", "-f", "-")
	return err
}

// portOf is the node port of a run's REST.
func portOf(run flink.Run) int32 { return 30080 + run.Run }

// nodePort lets this program reach a run's REST from outside of the cluster. The product's agent is inside.
func nodePort(run flink.Run, namespace string) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("ground-%d", run.Run), Namespace: namespace},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, Selector: render.Selector(run, render.JobManager), PublishNotReadyAddresses: true,
			Ports: []corev1.ServicePort{{Name: "rest", Port: config.PortREST, TargetPort: intstr.FromInt32(config.PortREST), NodePort: portOf(run)}},
		},
	}
}

// killJobManager kills the process of the JobManager's container, as a crash would. Its pod stays.
func (g *ground) killJobManager(ctx context.Context, run flink.Run) error {
	labels := metav1.FormatLabelSelector(metav1.SetAsLabelSelector(render.Selector(run, render.JobManager)))
	if _, err := g.cluster.Kill(ctx, g.place.Namespace, labels, render.JobManager); err != nil {
		return fmt.Errorf("run %s: kill its JobManager: %w", run, err)
	}
	return nil
}

// remove deletes a run: its anchor, and with it all it owns, and its high availability data, the job's graph first.
func (g *ground) remove(ctx context.Context, run flink.Run) error {
	for _, args := range [][]string{
		{"delete", "deployment", render.JobManagerName(run), render.TaskManagerName(run), "--cascade=foreground"},
		{"delete", "service", fmt.Sprintf("ground-%d", run.Run)},
		{"delete", "configmap", render.Name(run)},
		{"delete", "configmap", render.LeaderConfigMap(run), render.CheckpointConfigMap(run), "--ignore-not-found"},
	} {
		if _, err := g.kubectl(ctx, "", append(args, "--timeout=90s")...); err != nil {
			return fmt.Errorf("run %s: remove it: %w", run, err)
		}
	}
	return nil
}

// refusesStrangers makes sure that REST does not answer who has no certificate, another run's, or no TLS.
func (g *ground) refusesStrangers(ctx context.Context, run flink.Run) error {
	addr := net.JoinHostPort(g.node, fmt.Sprint(portOf(run)))
	other, err := g.ring.Run(ctx, render.Name(flink.Run{UID: g.uid, Term: 9, Run: 9}))
	if err != nil {
		return err
	}
	certificate := other.TLS("").Certificates
	for name, with := range map[string][]tls.Certificate{"no certificate": nil, "another run's certificate": certificate} {
		// Who calls is to be refused whatever it thinks of the server's certificate.
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, Certificates: with},
		}}
		if code, err := status(ctx, client, "https://"+addr+"/config"); err == nil {
			return fmt.Errorf("run %s: REST answered %d to one with %s", run, code, name)
		}
		client.CloseIdleConnections()
	}
	plain := &http.Client{Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if code, err := status(ctx, plain, "http://"+addr+"/config"); err == nil && code < 300 {
		return fmt.Errorf("run %s: REST answered %d without TLS", run, code)
	}
	if s := g.rest.Observe(ctx, g.endpoint(run), flink.RESTQuery{JobID: run.JobID()}); !s.Reachable {
		return errors.New("REST does not answer the agent's certificate either: " + s.Err)
	}
	return nil
}

func status(ctx context.Context, c *http.Client, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}
