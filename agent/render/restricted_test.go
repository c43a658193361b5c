package render_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/waterwheel-io/waterwheel/agent/render"
)

func TestEveryPodIsRestricted(t *testing.T) {
	for name, s := range shapes() {
		o, err := render.Run(s.launch, s.place)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []*appsv1.Deployment{o.JobManager, o.TaskManager} {
			for _, broken := range unrestricted(d.Spec.Template) {
				t.Errorf("%s: %s: %s", name, d.Name, broken)
			}
		}
	}
}

// unrestricted lists what breaks the restricted pod security standard, and our own two rules beyond it: a read-only root
// and the same user everywhere.
func unrestricted(t corev1.PodTemplateSpec) []string {
	var out []string
	must := func(ok bool, format string, args ...any) {
		if !ok {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	s := t.Spec
	must(!s.HostNetwork && !s.HostPID && !s.HostIPC, "namespaces of the node")
	must(s.HostUsers == nil, "hostUsers")
	must(len(s.EphemeralContainers) == 0, "ephemeral containers")
	must(s.SecurityContext != nil, "no security context")
	sc := s.SecurityContext
	must(is(sc.RunAsNonRoot, true), "runAsNonRoot")
	must(sc.RunAsUser != nil && *sc.RunAsUser == 9999 && sc.FSGroup != nil && *sc.FSGroup == 9999, "user")
	must(sc.SeccompProfile != nil && sc.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault, "seccomp")
	must(sc.SELinuxOptions == nil && sc.WindowsOptions == nil && sc.AppArmorProfile == nil && len(sc.Sysctls) == 0, "options of the node")
	must(is(s.EnableServiceLinks, false), "service links")
	for k := range t.Annotations {
		must(!strings.Contains(k, "apparmor") && !strings.Contains(k, "seccomp"), "annotation %s", k)
	}
	for _, v := range s.Volumes {
		o := v.VolumeSource
		must(o.ConfigMap != nil || o.CSI != nil || o.DownwardAPI != nil || o.EmptyDir != nil || o.Ephemeral != nil ||
			o.PersistentVolumeClaim != nil || o.Projected != nil || o.Secret != nil, "volume %s", v.Name)
	}
	for _, c := range slices.Concat(s.InitContainers, s.Containers) {
		sc := c.SecurityContext
		must(sc != nil, "%s: no security context", c.Name)
		if sc == nil {
			continue
		}
		must(sc.Privileged == nil || !*sc.Privileged, "%s: privileged", c.Name)
		must(is(sc.AllowPrivilegeEscalation, false), "%s: privilege escalation", c.Name)
		must(is(sc.ReadOnlyRootFilesystem, true), "%s: root can be written to", c.Name)
		must(is(sc.RunAsNonRoot, true), "%s: runAsNonRoot", c.Name)
		must(sc.RunAsUser == nil || *sc.RunAsUser != 0, "%s: root", c.Name)
		must(sc.Capabilities != nil && slices.Contains(sc.Capabilities.Drop, "ALL") && len(sc.Capabilities.Add) == 0, "%s: capabilities", c.Name)
		must(sc.SeccompProfile == nil || sc.SeccompProfile.Type != corev1.SeccompProfileTypeUnconfined, "%s: seccomp", c.Name)
		must(sc.ProcMount == nil && sc.SELinuxOptions == nil && sc.AppArmorProfile == nil && sc.WindowsOptions == nil, "%s: options of the node", c.Name)
		must(len(c.Resources.Limits) == 2 && c.Resources.Limits.Memory().Equal(*c.Resources.Requests.Memory()), "%s: resources", c.Name)
		for _, p := range c.Ports {
			must(p.HostPort == 0, "%s: port of the node", c.Name)
		}
	}
	return out
}

func is(p *bool, want bool) bool { return p != nil && *p == want }

func TestATemplateThatLoosensOrOverridesIsRefusedByField(t *testing.T) {
	sidecar := func(change func(*corev1.Container)) func(*corev1.PodTemplateSpec) {
		return func(p *corev1.PodTemplateSpec) {
			c := corev1.Container{Name: "extra", Image: "x", SecurityContext: &corev1.SecurityContext{}}
			change(&c)
			p.Spec.Containers = append(p.Spec.Containers, c)
		}
	}
	flinks := func(change func(*corev1.Container)) func(*corev1.PodTemplateSpec) {
		return func(p *corev1.PodTemplateSpec) { change(&p.Spec.Containers[0]) }
	}
	for want, change := range map[string]func(*corev1.PodTemplateSpec){
		"spec.hostNetwork:":     func(p *corev1.PodTemplateSpec) { p.Spec.HostNetwork = true },
		"spec.hostPID:":         func(p *corev1.PodTemplateSpec) { p.Spec.HostPID = true },
		"spec.hostUsers:":       func(p *corev1.PodTemplateSpec) { p.Spec.HostUsers = new(true) },
		"spec.restartPolicy:":   func(p *corev1.PodTemplateSpec) { p.Spec.RestartPolicy = corev1.RestartPolicyNever },
		"spec.serviceAccount":   func(p *corev1.PodTemplateSpec) { p.Spec.ServiceAccountName = "admin" },
		"spec.automountService": func(p *corev1.PodTemplateSpec) { p.Spec.AutomountServiceAccountToken = new(true) },
		"spec.securityContext.runAsUser:": func(p *corev1.PodTemplateSpec) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(0))}
		},
		"spec.ephemeralContainers:": func(p *corev1.PodTemplateSpec) {
			p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{}}
		},
		"metadata.name:":                      func(p *corev1.PodTemplateSpec) { p.Name = "x" },
		"metadata.labels[waterwheel.dev/run]": func(p *corev1.PodTemplateSpec) { p.Labels[render.LabelRun] = "9" },
		"metadata.annotations[container.apparmor.s": func(p *corev1.PodTemplateSpec) {
			p.Annotations["container.apparmor.security.beta.kubernetes.io/x"] = "unconfined"
		},
		"spec.volumes[host]": func(p *corev1.PodTemplateSpec) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}})
		},
		"spec.volumes[tmp]": func(p *corev1.PodTemplateSpec) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		},
		"spec.containers[jobmanager].image:":     flinks(func(c *corev1.Container) { c.Image = "other" }),
		"spec.containers[jobmanager].command:":   flinks(func(c *corev1.Container) { c.Command = []string{"sh"} }),
		"spec.containers[jobmanager].resources.": flinks(func(c *corev1.Container) { c.Resources = some() }),
		"spec.containers[jobmanager].securityContext.privileged": flinks(func(c *corev1.Container) {
			c.SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
		}),
		"spec.containers[jobmanager].env[POD_IP]": flinks(func(c *corev1.Container) { c.Env = []corev1.EnvVar{{Name: "POD_IP", Value: "1.2.3.4"}} }),
		"spec.containers[jobmanager].volumeMounts[/opt/flink/]": flinks(func(c *corev1.Container) {
			c.VolumeMounts = []corev1.VolumeMount{{Name: "spool", MountPath: "/opt/flink/"}}
		}),
		"volumeMounts[/tmp/web/flink-web-upload]": flinks(func(c *corev1.Container) {
			c.VolumeMounts = []corev1.VolumeMount{{Name: "spool", MountPath: "/tmp/web/flink-web-upload"}}
		}),
		"spec.containers[extra].securityContext.privileged:": sidecar(func(c *corev1.Container) { c.SecurityContext.Privileged = new(true) }),
		"spec.containers[extra].securityContext.allowPrivilegeEscalation:": sidecar(func(c *corev1.Container) {
			c.SecurityContext.AllowPrivilegeEscalation = new(true)
		}),
		"spec.containers[extra].securityContext.readOnlyRootFilesystem:": sidecar(func(c *corev1.Container) { c.SecurityContext.ReadOnlyRootFilesystem = new(false) }),
		"spec.containers[extra].securityContext.runAsNonRoot:":           sidecar(func(c *corev1.Container) { c.SecurityContext.RunAsNonRoot = new(false) }),
		"spec.containers[extra].securityContext.runAsUser:":              sidecar(func(c *corev1.Container) { c.SecurityContext.RunAsUser = new(int64(0)) }),
		"spec.containers[extra].securityContext.capabilities.add:": sidecar(func(c *corev1.Container) {
			c.SecurityContext.Capabilities = &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN"}}
		}),
		"spec.containers[extra].securityContext.capabilities.drop:": sidecar(func(c *corev1.Container) {
			c.SecurityContext.Capabilities = &corev1.Capabilities{}
		}),
		"spec.containers[extra].securityContext.seccompProfile.type:": sidecar(func(c *corev1.Container) {
			c.SecurityContext.SeccompProfile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}
		}),
		"spec.containers[extra].securityContext.procMount:": sidecar(func(c *corev1.Container) {
			c.SecurityContext.ProcMount = new(corev1.UnmaskedProcMount)
		}),
		"spec.containers[extra].ports[80].hostPort:": sidecar(func(c *corev1.Container) { c.Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 80}} }),
		"spec.containers[extra].volumeMounts[/k]":    sidecar(func(c *corev1.Container) { c.VolumeMounts = []corev1.VolumeMount{{Name: "rest-keys", MountPath: "/k"}} }),
		"goes to host 169.254.169.254": sidecar(func(c *corev1.Container) {
			c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Host: "169.254.169.254", Port: intstr.FromInt32(80)}}}
		}),
		"spec.initContainers[jar]": func(p *corev1.PodTemplateSpec) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: "jar", Image: "x"})
		},
	} {
		t.Run(want, func(t *testing.T) {
			template := customers(render.JobManager)
			change(&template)
			_, err := render.Run(launch(nil), place(func(p *render.Place) { p.JobManager = template }))
			if err == nil || !strings.Contains(err.Error(), "pod template of the jobmanager: ") || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want it to name %s", err, want)
			}
		})
	}
}

func TestATemplateIsNotChangedByWhatItIsMergedInto(t *testing.T) {
	p := place(func(p *render.Place) { p.JobManager = customers(render.JobManager) })
	before := p.JobManager.DeepCopy()
	first, err := render.Run(launch(nil), p)
	if err != nil {
		t.Fatal(err)
	}
	first.JobManager.Spec.Template.Spec.NodeSelector["pool"] = "other"
	first.JobManager.Spec.Template.Spec.Containers[1].Image = "other"
	if diff := cmp.Diff(*before, p.JobManager); diff != "" {
		t.Errorf("rendering, or its result, reaches into the place:\n%s", diff)
	}
}
