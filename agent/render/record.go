package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"

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
func remember(o *Objects, l flink.Launch) error {
	launch, err := encode(l)
	if err != nil {
		return fmt.Errorf("record the launch: %w", err)
	}
	objects, err := encode(o)
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
// anchor if it has a uid, and the anchor itself is part of them.
func ObjectsOf(anchor *corev1.ConfigMap) (Objects, error) {
	var o Objects
	if err := json.Unmarshal([]byte(anchor.Data[keyObjects]), &o); err != nil {
		return Objects{}, fmt.Errorf("read %s of ConfigMap %s: %w", keyObjects, anchor.Name, err)
	}
	if o.JobManager == nil || o.TaskManager == nil || o.REST == nil {
		return Objects{}, fmt.Errorf("read %s of ConfigMap %s: %w", keyObjects, anchor.Name, errors.New("an object is missing"))
	}
	o.ConfigMap = anchor.DeepCopy()
	o.ConfigMap.TypeMeta = typeMeta("v1", "ConfigMap")
	if anchor.UID == "" {
		return o, nil
	}
	return o.Owned(anchor.UID), nil
}
