package charts_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	sigyaml "sigs.k8s.io/yaml"
)

// Namespaces of the two releases.
const (
	agentSpace = "waterwheel"
	hubSpace   = "waterwheel-hub"
)

// foreign are the kinds that the scheme does not know. Of these only the form is checked.
func foreign() []string { return []string{"CustomResourceDefinition", "ServiceMonitor"} }

// helm runs the pinned Helm, away from whatever the user has configured, and returns both of its outputs.
func helm(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	all := append([]string{"tool", "-modfile=.ci/tools/helm.mod", "helm"}, args...)
	cmd := exec.CommandContext(t.Context(), "go", all...)
	cmd.Dir = "../.."
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+home+"/none")
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	err = cmd.Run()

	return out.String(), words.String(), err
}

// chart is one of the two, with the values of a file.
type chart struct {
	name   string // hub or agent
	values string // the file's name without its end
}

func (c chart) String() string { return c.name + "/" + c.values }

func (c chart) dir() string { return "charts/waterwheel-" + c.name }

func (c chart) file() string { return filepath.Join("e2e/charts/testdata", c.name, c.values+".yaml") }

func (c chart) namespace() string {
	if c.name == "hub" {
		return hubSpace
	}

	return agentSpace
}

// charts are both, with each file of values.
func charts(t *testing.T) []chart {
	t.Helper()
	var out []chart
	for _, name := range []string{"hub", "agent"} {
		files, err := filepath.Glob(filepath.Join("testdata", name, "*.yaml"))
		if err != nil || len(files) < 4 {
			t.Fatalf("files of values for %s: %v, %v", name, files, err)
		}
		for _, f := range files {
			out = append(out, chart{name, strings.TrimSuffix(filepath.Base(f), ".yaml")})
		}
	}

	return out
}

// rendered are both charts with each file of values, as Kubernetes would get them.
type rendered map[chart][]object

// charts are what was rendered, in order.
func (r rendered) charts() []chart {
	return slices.SortedFunc(maps.Keys(r), func(a, b chart) int { return strings.Compare(a.String(), b.String()) })
}

// Helm is slow to start: each chart is rendered once, and looked at from many sides.
func TestRendered(t *testing.T) {
	r := rendered{}
	for _, c := range charts(t) {
		r[c] = c.render(t)
	}
	for promise, check := range map[string]func(*testing.T, rendered){
		"every object stands where it should": everyObjectStandsWhereItShould,
		"the agent reads its file":            theAgentReadsItsFile,
		"the hub reads its file":              theHubReadsItsFile,
		"the token is in its secret alone":    theTokenIsInItsSecretAlone,
		"what stays after an uninstall":       whatStaysAfterAnUninstall,
		"a removed tenants namespace stays":   aRemovedTenantsNamespaceStays,
		"the custom resource is the file":     theCustomResourceIsTheFile,
		"the chart grants the table":          theChartGrantsTheTable,
		"bindings":                            bindings,
		"the hub has no rights":               theHubHasNoRights,
		"pods are restricted":                 podsAreRestricted,
		"selectors":                           selectors,
		"probes":                              probes,
		"the agent reaches nothing else":      theAgentReachesNothingElse,
		"the hub dials nobody":                theHubDialsNobody,
		"the hubs volume":                     theHubsVolume,
	} {
		t.Run(promise, func(t *testing.T) { check(t, r) })
	}
}

// object is one object of a rendered chart.
type object struct {
	meta metav1.Object
	gvk  schema.GroupVersionKind
	obj  runtime.Object // typed, or unstructured for what is foreign
	text string
}

func (o object) kind() string { return o.gvk.Kind }

func (o object) String() string {
	return o.kind() + " " + o.meta.GetNamespace() + "/" + o.meta.GetName()
}

// render is the chart as Kubernetes would get it. It fails where an object has a field that its kind does not have.
func (c chart) render(t *testing.T, args ...string) []object {
	t.Helper()
	out, words, err := helm(t, append([]string{"template", "ww", c.dir(), "-n", c.namespace(), "-f", c.file()}, args...)...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", c, err, words)
	}
	docs := yaml.NewYAMLReader(bufio.NewReader(strings.NewReader(out)))
	var objects []object
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if o, ok := decode(t, c, doc); ok {
			objects = append(objects, o)
		}
	}
	if len(objects) < 4 {
		t.Fatalf("%s renders %d objects", c, len(objects))
	}

	return objects
}

func decode(t *testing.T, c chart, doc []byte) (object, bool) {
	t.Helper()
	var u unstructured.Unstructured
	if err := sigyaml.UnmarshalStrict(doc, &u.Object); err != nil {
		t.Fatalf("%s: %v in\n%s", c, err, doc)
	}
	if len(u.Object) == 0 {
		return object{}, false
	}
	o := object{meta: &u, gvk: u.GroupVersionKind(), obj: &u, text: string(doc)}
	if slices.Contains(foreign(), o.kind()) {
		return o, true
	}
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	obj, _, err := strict.Decode(doc, nil, nil)
	if err != nil {
		t.Fatalf("%s: %s: %v in\n%s", c, o, err, doc)
	}
	o.obj = obj
	if o.meta, err = meta.Accessor(obj); err != nil {
		t.Fatal(err)
	}

	return o, true
}

// of are the objects of one kind, as their type.
func of[T runtime.Object](objects []object) []T {
	var out []T
	for _, o := range objects {
		if typed, ok := o.obj.(T); ok {
			out = append(out, typed)
		}
	}

	return out
}

// one is the only object of its kind.
func one[T runtime.Object](t *testing.T, objects []object) T {
	t.Helper()
	all := of[T](objects)
	if len(all) != 1 {
		t.Fatalf("%d objects of type %T, want 1", len(all), *new(T))
	}

	return all[0]
}

func isHook(o metav1.Object) bool { return o.GetAnnotations()["helm.sh/hook"] != "" }
