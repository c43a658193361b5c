package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Keys of the anchor's data.
const (
	keyConfig  = "config.yaml"
	keyLog4j   = "log4j.properties"
	keyLaunch  = "launch.json"
	keyObjects = "objects.json"
)

// SpecHash tells specs apart: equal specs, and almost surely only these, have equal hashes.
func SpecHash(s flink.Spec) string {
	if len(s.Jar.Args) == 0 {
		s.Jar.Args = nil
	}
	if len(s.FlinkConfiguration) == 0 {
		s.FlinkConfiguration = nil
	}
	b, err := encode(s)
	if err != nil { // a struct of strings and numbers
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// facts are the annotations by which a run is known for what it was launched from.
func facts(l flink.Launch) map[string]string {
	return map[string]string{
		AnnotationGeneration: strconv.Itoa(int(l.Generation)),
		AnnotationRestart:    strconv.Itoa(int(l.Restart)),
		AnnotationSpecHash:   SpecHash(l.Spec),
	}
}

// remember writes the launch and the objects into the anchor.
func remember(o Objects, l flink.Launch) error {
	launch, err := encode(l)
	if err != nil {
		return fmt.Errorf("record the launch: %w", err)
	}
	var bodies []json.RawMessage
	for _, obj := range o.All()[1:] {
		body, err := Apply(obj)
		if err != nil {
			return fmt.Errorf("record the objects: %w", err)
		}
		bodies = append(bodies, body)
	}
	objects, err := encode(bodies)
	if err != nil {
		return fmt.Errorf("record the objects: %w", err)
	}
	o.ConfigMap.Data[keyLaunch] = string(launch)
	o.ConfigMap.Data[keyObjects] = string(objects)
	return nil
}

// LaunchOf reads the launch that a run's anchor records.
func LaunchOf(anchor *corev1.ConfigMap) (flink.Launch, error) {
	var l flink.Launch
	if err := json.Unmarshal([]byte(anchor.Data[keyLaunch]), &l); err != nil {
		return flink.Launch{}, fmt.Errorf("read %s of ConfigMap %s: %w", keyLaunch, anchor.Name, err)
	}
	if run, ok := RunOf(anchor.Labels); !ok || run != l.Run || anchor.Name != Name(l.Run) {
		return flink.Launch{}, fmt.Errorf("ConfigMap %s records the launch of another run, %s", anchor.Name, Name(l.Run))
	}
	return l, nil
}

// ObjectsOf reads the objects that a run's anchor records: the run as it was
// made, whatever a newer agent or another place would make of it. By it a run
// that was damaged is put back without being changed. They are owned by the
// anchor if it has a uid; the anchor itself is there with what is applied of it.
func ObjectsOf(anchor *corev1.ConfigMap) (Objects, error) {
	fail := func(err error) (Objects, error) {
		return Objects{}, fmt.Errorf("read %s of ConfigMap %s: %w", keyObjects, anchor.Name, err)
	}
	var bodies []json.RawMessage
	if err := json.Unmarshal([]byte(anchor.Data[keyObjects]), &bodies); err != nil {
		return fail(err)
	}
	o := Objects{ConfigMap: &corev1.ConfigMap{
		TypeMeta: typeMeta("v1", "ConfigMap"),
		ObjectMeta: metav1.ObjectMeta{
			Name: anchor.Name, Namespace: anchor.Namespace, Labels: maps.Clone(anchor.Labels), Annotations: maps.Clone(anchor.Annotations),
		},
		Data: maps.Clone(anchor.Data),
	}}
	for _, body := range bodies {
		if err := o.add(body, names(anchor.Name)); err != nil {
			return fail(err)
		}
	}
	if o.JobManager == nil || o.TaskManager == nil || o.REST == nil {
		return fail(errors.New("an object is missing"))
	}
	if anchor.UID == "" {
		return o, nil
	}
	return o.Owned(anchor.UID), nil
}

// add reads one recorded object into its place.
func (o *Objects) add(body []byte, n names) error {
	var head metav1.PartialObjectMetadata
	if err := json.Unmarshal(body, &head); err != nil {
		return err
	}
	var into any
	switch id := head.Kind + " " + head.Name; id {
	case "Deployment " + n.jobManager():
		o.JobManager = new(appsv1.Deployment)
		into = o.JobManager
	case "Deployment " + n.taskManager():
		o.TaskManager = new(appsv1.Deployment)
		into = o.TaskManager
	case "Service " + n.rest():
		o.REST = new(corev1.Service)
		into = o.REST
	case "Service " + n.rpc():
		o.RPC = new(corev1.Service)
		into = o.RPC
	case "NetworkPolicy " + n.jobManager(), "NetworkPolicy " + n.taskManager():
		p := new(networkingv1.NetworkPolicy)
		o.Policies = append(o.Policies, p)
		into = p
	default:
		return fmt.Errorf("%s is no object of a run", id)
	}
	return json.Unmarshal(body, into)
}
