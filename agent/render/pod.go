package render

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// Places in a pod. /tmp is the only one that can be written to.
const (
	home      = "/opt/flink"
	confDir   = home + "/conf"
	tmpDir    = "/tmp"
	uploadDir = tmpDir + "/web"
	keysDir   = "/etc/waterwheel/rest"
)

// Names of volumes and of the init container that brings the program.
const (
	volumeConf = "conf"
	volumeTmp  = "tmp"
	volumeKeys = "rest-keys"
	jarLoader  = "jar"
)

// user runs all processes: Flink's in its official images.
const user = 9999

// grace is how long a pod has after TERM. Flink itself ends within seconds; what
// takes longer is user code that closes connections and commits, and to kill it
// in the middle leaves transactions to time out. Nobody waits for it in an
// upgrade: there the job has ended before its pods are told.
const grace = 60

func (r *rendering) jobManagerPod() corev1.PodSpec {
	p := r.pod(r.place.Accounts.JobManager)
	c := r.container(JobManager, r.launch.Spec.JobManager, r.config.JobManager)
	c.Env = append(c.Env, secretEnv(config.EnvPassword, r.names.rest(), KeyPassword))
	if r.ha {
		// The client's own back-off is up to a minute and a half: a JobManager cut
		// off from the API server would lead on for long after its lease is another's.
		c.Env = append(c.Env, corev1.EnvVar{Name: "KUBERNETES_REQUEST_RETRY_BACKOFFLIMIT", Value: "3"})
	}
	c.Ports = []corev1.ContainerPort{
		port(portNameREST, config.PortREST), port("rpc", config.PortJobManagerRPC), port("blob", config.PortBlob),
		port("query", config.PortQuery), port(portNameMetrics, PortMetrics),
	}
	probe(&c, portNameREST)
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volumeKeys, MountPath: keysDir, ReadOnly: true})
	p.Volumes = append(p.Volumes, corev1.Volume{Name: volumeKeys, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: r.names.rest(), DefaultMode: new(int32(0o440)),
		Items: []corev1.KeyToPath{{Key: KeyStore, Path: KeyStore}, {Key: TrustStore, Path: TrustStore}},
	}}})
	p.InitContainers = []corev1.Container{r.jarLoader()}
	p.Containers = []corev1.Container{c}
	return p
}

// jarLoader copies the program to where its JobManager looks for it. When the
// image has no such file, its last words say which.
func (r *rendering) jarLoader() corev1.Container {
	return corev1.Container{
		Name: jarLoader, Image: r.image, ImagePullPolicy: r.place.ImagePullPolicy,
		Command: []string{"cp", "--", dollar(r.jar), config.JarPath(uploadDir)},
		// Mounted at its own directory, which the kubelet makes: cp makes none.
		VolumeMounts:             []corev1.VolumeMount{{Name: volumeTmp, MountPath: uploadDir + "/flink-web-upload", SubPath: "web/flink-web-upload"}},
		Resources:                r.resources(r.launch.Spec.JobManager),
		SecurityContext:          restricted(),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}

func (r *rendering) taskManagerPod() corev1.PodSpec {
	p := r.pod(r.place.Accounts.TaskManager)
	c := r.container(TaskManager, r.launch.Spec.TaskManager.Resources, r.config.TaskManager)
	c.Ports = []corev1.ContainerPort{
		port("rpc", config.PortTaskManagerRPC), port("data", config.PortData), port("query", config.PortQuery), port(portNameMetrics, PortMetrics),
	}
	probe(&c, "rpc")
	p.Containers = []corev1.Container{c}
	return p
}

// pod is what both components have in common.
func (r *rendering) pod(account string) corev1.PodSpec {
	size, _ := resource.ParseQuantity(r.place.TmpSize) // checked by Place.check
	p := corev1.PodSpec{
		ServiceAccountName: account,
		// Flink reads and writes its high availability data with it; without
		// that, and for the program, there is no reason to have a token.
		AutomountServiceAccountToken:  new(r.ha),
		EnableServiceLinks:            new(false),
		TerminationGracePeriodSeconds: new(int64(grace)),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), RunAsUser: new(int64(user)), RunAsGroup: new(int64(user)), FSGroup: new(int64(user)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Volumes: []corev1.Volume{
			{Name: volumeConf, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: string(r.names)}, DefaultMode: new(int32(0o444)),
				Items: []corev1.KeyToPath{{Key: keyConfig, Path: keyConfig}, {Key: keyLog4j, Path: keyLog4j}},
			}}},
			{Name: volumeTmp, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &size}}},
		},
	}
	for _, name := range r.place.ImagePullSecrets {
		p.ImagePullSecrets = append(p.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	return p
}

// container is one JVM, started by itself: no entrypoint of an image, no script, no shell.
func (r *rendering) container(name string, res flink.Resources, process config.Process) corev1.Container {
	command := process.Command(config.Instance{
		ID: "$(" + config.EnvPodName + ")", Java: "java", ClassPath: home + "/lib/*", ConfDir: confDir, TmpDir: tmpDir,
	})
	c := corev1.Container{
		Name: name, Image: r.image, ImagePullPolicy: r.place.ImagePullPolicy, WorkingDir: home,
		Command: command[:1], Args: command[1:],
		Env: []corev1.EnvVar{
			fieldEnv(config.EnvPodIP, "status.podIP"), fieldEnv(config.EnvPodName, "metadata.name"),
			{Name: "FLINK_PLUGINS_DIR", Value: home + "/plugins"},
			// glibc's default, eight pools a core, is memory that no part of Flink's budget counts.
			{Name: "MALLOC_ARENA_MAX", Value: "2"},
		},
		Resources: r.resources(res),
		VolumeMounts: []corev1.VolumeMount{
			{Name: volumeConf, MountPath: confDir, ReadOnly: true},
			{Name: volumeTmp, MountPath: tmpDir},
		},
		SecurityContext:          restricted(),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	if s := r.place.Credentials.Secret; s != "" {
		for _, key := range r.place.Credentials.Keys {
			c.Env = append(c.Env, secretEnv(key, s, key))
		}
	}
	return c
}

// probe looks whether a port is open: for more, Flink wants a certificate, which
// a kubelet has not. A start may take half an hour, when image, storage or API
// server are slow; and an open port is all that is asked of a container later,
// since whether its Flink works is judged by the agent, which knows the job.
func probe(c *corev1.Container, port string) {
	tcp := corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString(port)}}
	c.StartupProbe = &corev1.Probe{ProbeHandler: tcp, PeriodSeconds: 2, TimeoutSeconds: 2, FailureThreshold: 900}
	c.ReadinessProbe = &corev1.Probe{ProbeHandler: tcp, PeriodSeconds: 5, TimeoutSeconds: 5, FailureThreshold: 3}
	c.LivenessProbe = &corev1.Probe{ProbeHandler: tcp, PeriodSeconds: 30, TimeoutSeconds: 10, FailureThreshold: 6}
}

func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), RunAsNonRoot: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// resources are what is declared, asked for and allowed alike, but for the CPU
// that the place lets a process have beyond. Quantities that do not parse were
// refused when the configuration was written.
func (r *rendering) resources(declared flink.Resources) corev1.ResourceRequirements {
	list := func(factor float64) corev1.ResourceList {
		l := corev1.ResourceList{}
		if milli, err := flink.ParseCPU(declared.CPU); err == nil && milli > 0 {
			l[corev1.ResourceCPU] = *resource.NewMilliQuantity(int64(float64(milli)*factor), resource.DecimalSI)
		}
		if bytes, err := flink.ParseMemory(declared.Memory); err == nil {
			l[corev1.ResourceMemory] = *resource.NewQuantity(bytes, resource.BinarySI)
		}
		return l
	}
	return corev1.ResourceRequirements{Requests: list(1), Limits: list(r.place.CPULimitFactor)}
}

func port(name string, n int32) corev1.ContainerPort {
	return corev1.ContainerPort{Name: name, ContainerPort: n, Protocol: corev1.ProtocolTCP}
}

func fieldEnv(name, field string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: field}}}
}

func secretEnv(name, secret, key string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key,
	}}}
}
