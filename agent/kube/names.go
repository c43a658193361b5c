package kube

import (
	"regexp"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/waterwheel-io/waterwheel/agent/render"
	"github.com/waterwheel-io/waterwheel/flink"
)

// Manager is the one field manager of all that the agent applies.
const Manager = "waterwheel-agent"

// The labels that Flink gives its high availability ConfigMaps. The cluster id is the run's name.
const (
	labelApp  = "app"
	labelType = "type"
	haType    = "flink-native-kubernetes"
)

// Selectors of what is watched.
const (
	selectOurs = render.LabelManagedBy + "=" + render.ManagedBy
	selectHA   = labelType + "=" + haType
)

// selectRun selects the objects of one run.
func selectRun(r flink.Run) string { return labels.FormatLabels(render.Selector(r, "")) }

// selectRunHA selects the high availability ConfigMaps of one run.
func selectRunHA(r flink.Run) string {
	return labels.FormatLabels(render.HighAvailabilitySelector(r))
}

// restHosts are all names under which a run's REST server may be called.
func restHosts(r flink.Run, namespace string) []string {
	name, host := render.RESTName(r), render.RESTHost(r, namespace)
	return []string{host, host + ".cluster.local", name + "." + namespace, name, "localhost"}
}

var runName = regexp.MustCompile(`^j([-0-9a-z]+)-t([1-9][0-9]*)-r([1-9][0-9]*)$`)

// parseRunName reads a run from its name in the cluster.
func parseRunName(name string) (flink.Run, bool) {
	m := runName.FindStringSubmatch(name)
	if m == nil {
		return flink.Run{}, false
	}
	term, err := strconv.ParseInt(m[2], 10, 32)
	if err != nil {
		return flink.Run{}, false
	}
	n, err := strconv.ParseInt(m[3], 10, 32)
	if err != nil {
		return flink.Run{}, false
	}
	return flink.Run{UID: m[1], Term: int32(term), Run: int32(n)}, true
}

// runOf reads the run of an object of ours, or of Flink's own.
func runOf(o metav1.Object) (flink.Run, bool) {
	if l := o.GetLabels(); l[labelType] == haType {
		return parseRunName(l[labelApp])
	}
	return render.RunOf(o.GetLabels())
}
