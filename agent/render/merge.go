package render

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/waterwheel-io/waterwheel/flink/config"
)

// merge adds the place's pod template to a pod, containers by name: the one named
// as the component is Flink's, and gets more variables and mounts; all others are
// the place's own. The template says where pods are scheduled and what stands
// beside Flink. What Flink itself is given follows from the spec, and what pods
// may do from the restricted pod security standard: a template that says
// otherwise is refused, field by field.
func merge(pod *corev1.PodTemplateSpec, more corev1.PodTemplateSpec, component string) error {
	m := merging{pod: pod, component: component}
	if err := m.merge(*more.DeepCopy()); err != nil {
		return fmt.Errorf("pod template of the %s: %w", component, err)
	}
	return nil
}

// CheckTemplate refuses a place's pod template of a component, JobManager or
// TaskManager, that no run could be made with. An error names the field.
func CheckTemplate(component string, t corev1.PodTemplateSpec) error {
	r := rendering{place: Place{}.withDefaults(), ha: true}
	pod := corev1.PodTemplateSpec{Spec: r.taskManagerPod()}
	if component == JobManager {
		pod.Spec = r.jobManagerPod()
	}
	return merge(&pod, t, component)
}

type merging struct {
	pod       *corev1.PodTemplateSpec
	component string
}

func (m *merging) merge(more corev1.PodTemplateSpec) error {
	if field := beyond(more); field != "" {
		return fmt.Errorf("%s: is not the template's to set: it follows from the job's spec and from what restricts all pods of runs", field)
	}
	if err := m.metadata(more.ObjectMeta); err != nil {
		return err
	}
	m.scheduling(more.Spec)
	if err := m.volumes(more.Spec.Volumes); err != nil {
		return err
	}
	for i := range more.Spec.InitContainers {
		c := &more.Spec.InitContainers[i]
		if err := m.foreign(c, "spec.initContainers"); err != nil {
			return err
		}
	}
	// Theirs come first: one of them may fetch the program.
	m.pod.Spec.InitContainers = append(more.Spec.InitContainers, m.pod.Spec.InitContainers...)
	for i := range more.Spec.Containers {
		c := &more.Spec.Containers[i]
		if c.Name == m.component {
			if err := m.own(*c); err != nil {
				return err
			}
			continue
		}
		if err := m.foreign(c, "spec.containers"); err != nil {
			return err
		}
		m.pod.Spec.Containers = append(m.pod.Spec.Containers, *c)
	}
	return nil
}

// beyond is the first field of a template that is none of those that merge takes
// or looks at; empty: there is none. What a later Kubernetes adds is refused by itself.
func beyond(t corev1.PodTemplateSpec) string {
	t = *t.DeepCopy()
	t.Labels, t.Annotations = nil, nil
	s := &t.Spec
	s.NodeSelector, s.Tolerations, s.Affinity, s.TopologySpreadConstraints = nil, nil, nil, nil
	s.PriorityClassName, s.SchedulerName, s.RuntimeClassName = "", "", nil
	s.DNSConfig, s.DNSPolicy, s.HostAliases, s.ImagePullSecrets = nil, "", nil, nil
	s.Volumes, s.Containers, s.InitContainers = nil, nil, nil
	return firstField(&t)
}

// firstField is the path of the first field of a struct that is set; empty: none is.
func firstField(v any) string {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(v)
	if err != nil {
		return err.Error()
	}
	return firstSet(fields)
}

func firstSet(fields map[string]any) string {
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		switch v := fields[key].(type) {
		case nil:
		case map[string]any:
			if below := firstSet(v); below != "" {
				return key + "." + below
			}
		case string:
			if v != "" {
				return key
			}
		default:
			return key
		}
	}
	return ""
}

// foreignPrefixes are of labels and annotations that mean something to us, or that loosen confinement.
var foreignPrefixes = []string{ours, "container.apparmor.security.beta.kubernetes.io/", "container.seccomp.security.alpha.kubernetes.io/", "seccomp.security.alpha.kubernetes.io/"}

func (m *merging) metadata(more metav1.ObjectMeta) error {
	for _, part := range []struct {
		field string
		from  map[string]string
		to    *map[string]string
	}{{"labels", more.Labels, &m.pod.Labels}, {"annotations", more.Annotations, &m.pod.Annotations}} {
		for _, key := range slices.Sorted(maps.Keys(part.from)) {
			for _, prefix := range foreignPrefixes {
				if strings.HasPrefix(key, prefix) {
					return fmt.Errorf("metadata.%s[%s]: keys below %s are not the template's to set", part.field, key, prefix)
				}
			}
			if *part.to == nil {
				*part.to = make(map[string]string)
			}
			(*part.to)[key] = part.from[key]
		}
	}
	return nil
}

func (m *merging) scheduling(more corev1.PodSpec) {
	s := &m.pod.Spec
	s.NodeSelector, s.Tolerations, s.Affinity = more.NodeSelector, more.Tolerations, more.Affinity
	s.PriorityClassName, s.SchedulerName, s.RuntimeClassName = more.PriorityClassName, more.SchedulerName, more.RuntimeClassName
	s.DNSConfig, s.DNSPolicy, s.HostAliases = more.DNSConfig, more.DNSPolicy, more.HostAliases
	for _, c := range more.TopologySpreadConstraints {
		if c.LabelSelector == nil {
			// Nobody can know a run's labels beforehand: left open, its own pods are meant.
			c.LabelSelector = &metav1.LabelSelector{MatchLabels: m.selector()}
		}
		s.TopologySpreadConstraints = append(s.TopologySpreadConstraints, c)
	}
	for _, secret := range more.ImagePullSecrets {
		if !slices.Contains(s.ImagePullSecrets, secret) {
			s.ImagePullSecrets = append(s.ImagePullSecrets, secret)
		}
	}
}

// selector selects the pods of this run and component.
func (m *merging) selector() map[string]string {
	run, _ := RunOf(m.pod.Labels)
	return Selector(run, m.component)
}

func (m *merging) volumes(more []corev1.Volume) error {
	for _, v := range more {
		field := fmt.Sprintf("spec.volumes[%s]", v.Name)
		if slices.ContainsFunc(m.pod.Spec.Volumes, func(o corev1.Volume) bool { return o.Name == v.Name }) {
			return fmt.Errorf("%s: there is a volume of that name already", field)
		}
		left := v.VolumeSource
		left.ConfigMap, left.CSI, left.DownwardAPI, left.EmptyDir, left.Ephemeral = nil, nil, nil, nil, nil
		left.PersistentVolumeClaim, left.Projected, left.Secret = nil, nil, nil
		if left != (corev1.VolumeSource{}) {
			return fmt.Errorf("%s: restricted pods may have volumes of configMap, csi, downwardAPI, emptyDir, ephemeral, persistentVolumeClaim, projected and secret alone", field)
		}
		m.pod.Spec.Volumes = append(m.pod.Spec.Volumes, v)
	}
	return nil
}

// own adds to Flink's container.
func (m *merging) own(more corev1.Container) error {
	field := fmt.Sprintf("spec.containers[%s]", more.Name)
	left := more.DeepCopy()
	left.Name, left.Env, left.EnvFrom, left.VolumeMounts = "", nil, nil, nil
	if set := firstField(left); set != "" {
		return fmt.Errorf("%s.%s: is not the template's to set for this container: env, envFrom and volumeMounts are", field, set)
	}
	c := &m.pod.Spec.Containers[0]
	for _, e := range more.Env {
		if slices.Contains([]string{config.EnvPodIP, config.EnvPodName, config.EnvPassword}, e.Name) {
			return fmt.Errorf("%s.env[%s]: is not the template's to set: Flink's arguments refer to it", field, e.Name)
		}
		if i := slices.IndexFunc(c.Env, func(o corev1.EnvVar) bool { return o.Name == e.Name }); i >= 0 {
			c.Env[i] = e
			continue
		}
		c.Env = append(c.Env, e)
	}
	c.EnvFrom = append(c.EnvFrom, more.EnvFrom...)
	for _, mount := range more.VolumeMounts {
		if taken := covers(mount.MountPath); taken != "" {
			return fmt.Errorf("%s.volumeMounts[%s]: would cover or change %s, which is Flink's own", field, mount.MountPath, taken)
		}
		c.VolumeMounts = append(c.VolumeMounts, mount)
		// What brings the program sees what the program's JobManager sees: it may lie in a volume.
		for i := range m.pod.Spec.InitContainers {
			if init := &m.pod.Spec.InitContainers[i]; init.Name == jarLoader {
				init.VolumeMounts = append(init.VolumeMounts, mount)
			}
		}
	}
	return nil
}

// covers names the place of Flink's container that a mount would hide or change; empty: none.
func covers(mount string) string {
	p := path.Clean(mount)
	for _, taken := range []string{confDir, keysDir, uploadDir} {
		if p == "/" || p == taken || strings.HasPrefix(taken, p+"/") || strings.HasPrefix(p, taken+"/") {
			return taken
		}
	}
	return ""
}

// foreign confines a container that the template adds.
func (m *merging) foreign(c *corev1.Container, list string) error {
	field := fmt.Sprintf("%s[%s]", list, c.Name)
	if c.Name == jarLoader || c.Name == m.component {
		return fmt.Errorf("%s: is the name of a container of Flink's own", field)
	}
	for _, mount := range c.VolumeMounts {
		if mount.Name == volumeKeys {
			return fmt.Errorf("%s.volumeMounts[%s]: the keys of the run's REST are its JobManager's alone", field, mount.MountPath)
		}
	}
	for _, p := range c.Ports {
		if p.HostPort != 0 || p.HostIP != "" {
			return fmt.Errorf("%s.ports[%d].hostPort: restricted pods have no ports of their node", field, p.ContainerPort)
		}
	}
	if host := handlerHost(*c); host != "" {
		return fmt.Errorf("%s: a probe or hook goes to host %s: restricted pods may probe themselves alone", field, host)
	}
	sc, err := confine(c.SecurityContext)
	if err != nil {
		return fmt.Errorf("%s.securityContext.%w", field, err)
	}
	c.SecurityContext = sc
	return nil
}

// handlerHost is a host that a probe or a hook of the container names; empty: none does.
func handlerHost(c corev1.Container) string {
	var handlers []corev1.ProbeHandler
	for _, p := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
		if p != nil {
			handlers = append(handlers, p.ProbeHandler)
		}
	}
	if c.Lifecycle != nil {
		for _, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h != nil {
				handlers = append(handlers, corev1.ProbeHandler{HTTPGet: h.HTTPGet, TCPSocket: h.TCPSocket})
			}
		}
	}
	for _, h := range handlers {
		if h.HTTPGet != nil && h.HTTPGet.Host != "" {
			return h.HTTPGet.Host
		}
		if h.TCPSocket != nil && h.TCPSocket.Host != "" {
			return h.TCPSocket.Host
		}
	}
	return ""
}

// confine restricts a security context as far as it does not itself, and refuses
// what would loosen it. An error begins with the field.
func confine(given *corev1.SecurityContext) (*corev1.SecurityContext, error) {
	full := restricted()
	if given == nil {
		return full, nil
	}
	sc := given.DeepCopy()
	for _, f := range []struct {
		name     string
		is, want **bool
	}{
		{"allowPrivilegeEscalation", &sc.AllowPrivilegeEscalation, &full.AllowPrivilegeEscalation},
		{"readOnlyRootFilesystem", &sc.ReadOnlyRootFilesystem, &full.ReadOnlyRootFilesystem},
		{"runAsNonRoot", &sc.RunAsNonRoot, &full.RunAsNonRoot},
	} {
		if *f.is == nil {
			*f.is = *f.want
		}
		if **f.is != **f.want {
			return nil, fmt.Errorf("%s: must be %t", f.name, **f.want)
		}
	}
	if sc.Capabilities == nil {
		sc.Capabilities = full.Capabilities
	}
	left := sc.DeepCopy()
	left.AllowPrivilegeEscalation, left.ReadOnlyRootFilesystem, left.RunAsNonRoot = nil, nil, nil
	left.Capabilities, left.RunAsUser, left.RunAsGroup = nil, nil, nil
	if p := left.SeccompProfile; p != nil && (p.Type == corev1.SeccompProfileTypeRuntimeDefault || p.Type == corev1.SeccompProfileTypeLocalhost) {
		left.SeccompProfile = nil
	}
	if p := left.Privileged; p != nil && !*p {
		left.Privileged = nil
	}
	switch field := firstField(left); {
	case field != "":
		return nil, fmt.Errorf("%s: would loosen what restricts all pods of runs", field)
	case sc.RunAsUser != nil && *sc.RunAsUser == 0:
		return nil, fmt.Errorf("runAsUser: must not be 0")
	case len(sc.Capabilities.Add) > 0:
		return nil, fmt.Errorf("capabilities.add: must be empty")
	case !slices.Contains(sc.Capabilities.Drop, "ALL"):
		return nil, fmt.Errorf("capabilities.drop: must have ALL")
	}
	return sc, nil
}
