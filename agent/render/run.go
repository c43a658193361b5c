package render

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// Run writes the objects of a run. An error is a *flink.Refusal: nothing but
// another spec or another place helps, and it names the field.
func Run(l flink.Launch, p Place) (Objects, error) {
	p = p.withDefaults()
	if err := errors.Join(checkNames(l), p.check()); err != nil {
		return Objects{}, refuse(flink.RefusedProgram, err)
	}
	r := rendering{launch: l, place: p, names: names(Name(l.Run))}
	var err error
	if r.image, err = image(l.Spec, p.Images); err != nil {
		return Objects{}, refuse(flink.RefusedVersion, err)
	}
	if r.jar, err = jar(l.Spec.Jar.URI); err != nil {
		return Objects{}, refuse(flink.RefusedJar, err)
	}
	o, err := r.objects()
	if err != nil {
		return Objects{}, refuse(flink.RefusedProgram, err)
	}
	return o, nil
}

func refuse(kind flink.RefusalKind, err error) *flink.Refusal {
	return &flink.Refusal{Kind: kind, Cause: flink.Cause{Message: err.Error()}}
}

// rendering is one call of Run.
type rendering struct {
	launch flink.Launch
	place  Place
	names  names
	image  string
	jar    string // path in the image
	ha     bool
	config config.Config
}

func (r *rendering) objects() (Objects, error) {
	root := config.StateRoot(r.launch.Spec, r.place.StateRoot)
	if err := r.reachable(root); err != nil {
		return Objects{}, err
	}
	r.ha = root != ""
	c, err := config.For(r.launch, config.Place{
		FlinkVersion: r.launch.Spec.FlinkVersion, StateRoot: r.place.StateRoot, Upload: uploadDir, Settings: r.place.Settings,
		Kubernetes: &config.Kubernetes{
			ClusterID: string(r.names), Namespace: r.place.Namespace, HA: r.ha, RPC: r.names.rpc(), Lease: r.place.Lease,
			KeyStore: keysDir + "/" + KeyStore, TrustStore: keysDir + "/" + TrustStore, Metrics: PortMetrics,
		},
	})
	if err != nil {
		return Objects{}, err
	}
	r.config = c
	o := Objects{
		ConfigMap: &corev1.ConfigMap{
			TypeMeta: typeMeta("v1", "ConfigMap"), ObjectMeta: r.meta(string(r.names), ""),
			Data: map[string]string{keyConfig: c.YAML, keyLog4j: c.Log4j},
		},
		REST:     r.restService(),
		Policies: r.policies(),
	}
	if !r.ha {
		o.RPC = r.rpcService()
	}
	if o.JobManager, err = r.deployment(r.names.jobManager(), JobManager, 1, r.jobManagerPod(), r.place.JobManager); err != nil {
		return Objects{}, err
	}
	workers := r.launch.Spec.TaskManagers()
	if o.TaskManager, err = r.deployment(r.names.taskManager(), TaskManager, workers, r.taskManagerPod(), r.place.TaskManager); err != nil {
		return Objects{}, err
	}
	return o, remember(o, r.launch)
}

// image is the spec's own, else the place's for the version.
func image(s flink.Spec, images map[string]string) (string, error) {
	if s.Image != "" {
		return s.Image, nil
	}
	if ref := images[s.FlinkVersion]; ref != "" {
		return ref, nil
	}
	known := "no images at all"
	if len(images) > 0 {
		known = "images for " + strings.Join(slices.Sorted(maps.Keys(images)), ", ")
	}
	return "", fmt.Errorf("spec.flinkVersion: no image for Flink %s here, this cluster has %s: set spec.image, or have the agent's chart name one", s.FlinkVersion, known)
}

// jar is the path of the program in the image.
func jar(uri string) (string, error) {
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Scheme == "" || u.Host != "":
		return "", fmt.Errorf("spec.jar.uri: %q is not understood: want local://%s/NAME.jar, a file of the image", uri, flink.UserLib)
	case u.Scheme == "local" && strings.HasPrefix(u.Path, flink.UserLib+"/") && u.Path == path.Clean(u.Path):
		return u.Path, nil
	case u.Scheme == "file":
		return "", fmt.Errorf("spec.jar.uri: %q is a file of a host, and a pod sees none: put the jar into the image and write local://%s/%s", uri, flink.UserLib, path.Base(u.Path))
	}
	return "", fmt.Errorf("spec.jar.uri: %q cannot be had in a pod: put the jar into the image and write local://%s/NAME.jar", uri, flink.UserLib)
}

// reachable refuses state on a path of a pod that nobody but the pod sees, and that goes with it.
func (r *rendering) reachable(root string) error {
	dir, ok := strings.CutPrefix(root, "file://")
	if !ok && !strings.HasPrefix(root, "/") {
		return nil
	}
	if !ok {
		dir = root
	}
	for _, t := range []struct {
		template corev1.PodTemplateSpec
		name     string
	}{{r.place.JobManager, JobManager}, {r.place.TaskManager, TaskManager}} {
		if !mounted(t.template, t.name, path.Clean(dir)) {
			return fmt.Errorf("spec.stateStorage.root: %s is in the pod itself and would go with it: use object storage such as s3://bucket/prefix, or have the agent's chart mount a volume there in the pod template", root)
		}
	}
	return nil
}

// mounted reports whether a template mounts a volume at or above dir in its main container.
func mounted(t corev1.PodTemplateSpec, container, dir string) bool {
	for _, c := range t.Spec.Containers {
		for _, m := range c.VolumeMounts {
			at := path.Clean(m.MountPath)
			if c.Name == container && !m.ReadOnly && (dir == at || strings.HasPrefix(dir, at+"/")) {
				return true
			}
		}
	}
	return false
}

func typeMeta(version, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version, Kind: kind}
}

// meta is the metadata of an object of the run.
func (r *rendering) meta(name, component string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: r.place.Namespace,
		Labels: labels(r.launch, r.place.Cluster, component), Annotations: facts(r.launch),
	}
}

// deadline is after how long a Deployment calls itself stuck. Nothing follows
// from it: how long a start may take is the planner's to say.
const deadline = 3600

// deployment keeps pods of one component. Recreate, since two JobManagers of one
// run are one too many, and a surge of TaskManagers more than was declared.
func (r *rendering) deployment(name, component string, replicas int32, pod corev1.PodSpec, more corev1.PodTemplateSpec) (*appsv1.Deployment, error) {
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels(r.launch, r.place.Cluster, component)},
		Spec:       pod,
	}
	if err := merge(&template, more, component); err != nil {
		return nil, err
	}
	return &appsv1.Deployment{
		TypeMeta: typeMeta("apps/v1", "Deployment"), ObjectMeta: r.meta(name, component),
		Spec: appsv1.DeploymentSpec{
			Replicas:                new(replicas),
			Selector:                &metav1.LabelSelector{MatchLabels: Selector(r.launch.Run, component)},
			Template:                template,
			Strategy:                appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			RevisionHistoryLimit:    new(int32(0)), // a run's pods never change: there is nothing to go back to
			ProgressDeadlineSeconds: new(int32(deadline)),
		},
	}, nil
}
