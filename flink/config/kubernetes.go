package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Ports of a run in Kubernetes. Each pod has an address of its own, so they are
// the same for all runs, and policies can name them.
const (
	PortREST           = 8081
	PortJobManagerRPC  = 6123
	PortBlob           = 6124
	PortTaskManagerRPC = 6122
	PortData           = 6121 // between TaskManagers
	PortQuery          = 6125 // metrics that the JobManager asks its TaskManagers for
)

// Environment variables that the arguments of a Kubernetes place refer to, as
// $(NAME): the kubelet puts the values in.
const (
	EnvPodIP    = "POD_IP"
	EnvPodName  = "POD_NAME"
	EnvPassword = "REST_PASSWORD" // of the key and trust stores; JobManager only
)

// Kubernetes is what a run in a Kubernetes cluster is told beyond a host's.
type Kubernetes struct {
	ClusterID  string // names the run's high availability data; begins with a letter
	Namespace  string
	HA         bool   // keep the run's graph and checkpoint pointers in the cluster, so that a new JobManager goes on by itself
	RPC        string // host name of the JobManager for TaskManagers, without HA
	Lease      Lease
	KeyStore   string // path of the REST server's PKCS #12 key store; empty: REST without TLS
	TrustStore string // path of the PKCS #12 store of those who may call REST
	Metrics    int    // port of the Prometheus reporter; 0: none
}

// Lease is how long a JobManager leads without renewing. Zero fields mean the
// defaults, see DefaultLease.
type Lease struct{ Duration, RenewDeadline, RetryPeriod time.Duration }

// DefaultLease lets a JobManager that was killed be followed by another within
// about fifteen seconds. A longer one outlasts a longer absence of the API server
// undisturbed, at the price of as long an outage after each such kill.
func DefaultLease() Lease {
	return Lease{Duration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second}
}

// withDefaults fills in what is left open.
func (l Lease) withDefaults() Lease {
	d := DefaultLease()
	for _, f := range []struct{ to, from *time.Duration }{
		{&l.Duration, &d.Duration}, {&l.RenewDeadline, &d.RenewDeadline}, {&l.RetryPeriod, &d.RetryPeriod},
	} {
		if *f.to == 0 {
			*f.to = *f.from
		}
	}
	return l
}

func (l Lease) check() error {
	if l.RetryPeriod <= 0 || l.RenewDeadline <= l.RetryPeriod || l.Duration <= l.RenewDeadline {
		return fmt.Errorf("lease of JobManagers: want retry period %s < renew deadline %s < duration %s", l.RetryPeriod, l.RenewDeadline, l.Duration)
	}
	return nil
}

// check refuses what would start and then lose state, or not start at all.
func (k *Kubernetes) check(spec flink.Spec, root string) error {
	switch {
	case root == "" && spec.Stateful():
		return errors.New("spec.stateStorage.root is empty, and this cluster has no default: name where state goes, such as s3://bucket/prefix, or set spec.upgradeMode to stateless")
	case k.HA && root == "":
		return errors.New("spec.stateStorage.root is empty: high availability keeps its data there")
	case k.HA && (k.ClusterID == "" || k.Namespace == ""):
		return errors.New("high availability needs a cluster id and a namespace")
	case !k.HA && k.RPC == "":
		return errors.New("without high availability TaskManagers need the JobManager's host name")
	case (k.KeyStore == "") != (k.TrustStore == ""):
		return errors.New("REST over TLS needs a key store and a trust store")
	}
	return k.Lease.withDefaults().check()
}

// defaults are settings of a Kubernetes place that a spec may change.
func (k *Kubernetes) defaults(s *settings, dirs Directories) {
	// A TaskManager that asks a JobManager which does not lead yet would look
	// again after thirty seconds, all of it outage.
	s.set("cluster.registration.refused-registration-delay", "1 s")
	if k.Metrics != 0 {
		s.set("metrics.reporter.prom.factory.class", "org.apache.flink.metrics.prometheus.PrometheusReporterFactory")
		s.set("metrics.reporter.prom.port", strconv.Itoa(k.Metrics))
	}
	if scheme, _, _ := strings.Cut(dirs.Checkpoints, "://"); scheme == "s3" || scheme == "s3a" {
		// With the client's own numbers a job whose storage is gone, or refuses its
		// key, waits many minutes in state CREATED and says nothing. These let it
		// fail with the cause within about one; what lasts longer is the agent's to retry.
		s.set("s3.attempts.maximum", "2")
		s.set("s3.retry.limit", "2")
		s.set("s3.retry.interval", "500ms")
		s.set("s3.connection.establish.timeout", "5000")
		s.set("s3.connection.timeout", "10000")
	}
}

// addresses open all ports to the pod network; which of them may be reached is
// a NetworkPolicy's to say, and who may call REST the certificates'.
func (k *Kubernetes) addresses(s *settings) {
	const all = "0.0.0.0"
	if !k.HA {
		s.set("jobmanager.rpc.address", k.RPC)
	}
	s.set("jobmanager.rpc.port", strconv.Itoa(PortJobManagerRPC))
	s.set("jobmanager.bind-host", all)
	s.set("taskmanager.bind-host", all)
	s.set("taskmanager.rpc.port", strconv.Itoa(PortTaskManagerRPC))
	s.set("taskmanager.data.port", strconv.Itoa(PortData))
	s.set("rest.bind-address", all)
	s.set("rest.port", strconv.Itoa(PortREST))
	s.set("rest.bind-port", strconv.Itoa(PortREST))
	s.set("blob.server.port", strconv.Itoa(PortBlob))
	s.set("metrics.internal.query-service.port", strconv.Itoa(PortQuery))
}

func (k *Kubernetes) highAvailability(s *settings, dirs Directories) {
	if !k.HA {
		s.set("high-availability.type", "NONE")
		return
	}
	s.set("high-availability.type", "kubernetes")
	s.set("kubernetes.cluster-id", k.ClusterID)
	s.set("high-availability.cluster-id", k.ClusterID)
	s.set("kubernetes.namespace", k.Namespace)
	s.set("high-availability.storageDir", dirs.HA)
	s.set("high-availability.jobmanager.port", strconv.Itoa(PortJobManagerRPC))
	l := k.Lease.withDefaults()
	s.set("high-availability.kubernetes.leader-election.lease-duration", millis(l.Duration))
	s.set("high-availability.kubernetes.leader-election.renew-deadline", millis(l.RenewDeadline))
	s.set("high-availability.kubernetes.leader-election.retry-period", millis(l.RetryPeriod))
	// The record of a job's end outlives the end: a job handed in again, by
	// whatever mistake, is refused.
	s.set("job-result-store.delete-on-commit", "false")
}

// connections lets REST be called by holders of the run's client certificate
// alone. The passwords are arguments, see jobManagerArgs: this file is no secret.
func (k *Kubernetes) connections(s *settings) {
	if k.KeyStore == "" {
		return
	}
	s.set("security.ssl.rest.enabled", "true")
	s.set("security.ssl.rest.authentication-enabled", "true")
	s.set("security.ssl.rest.keystore", k.KeyStore)
	s.set("security.ssl.rest.truststore", k.TrustStore)
	// With Flink's older defaults and keys on elliptic curves no cipher suite fits.
	s.set("security.ssl.protocol", "TLSv1.3")
	s.set("security.ssl.algorithms", "TLS_AES_128_GCM_SHA256")
}

func (k *Kubernetes) jobManagerArgs() []string {
	var args []string
	if k.HA {
		// What it announces as leader; a pod has no name that others could resolve.
		args = append(args, "-D", "jobmanager.rpc.address="+ref(EnvPodIP))
	}
	if k.KeyStore != "" {
		for _, key := range []string{"keystore-password", "key-password", "truststore-password"} {
			args = append(args, "-D", "security.ssl.rest."+key+"="+ref(EnvPassword))
		}
	}
	return args
}

func (k *Kubernetes) taskManagerArgs() []string {
	return []string{"-D", "taskmanager.host=" + ref(EnvPodIP)}
}

func ref(env string) string { return "$(" + env + ")" }
