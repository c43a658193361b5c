package kube

import (
	"strings"
	"testing"

	kubejson "k8s.io/apimachinery/pkg/util/json"
)

func parse(t *testing.T, text string) fields {
	t.Helper()
	var f map[string]any
	if err := kubejson.Unmarshal([]byte(text), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOnlyWhatWasMadeIsCompared(t *testing.T) {
	for name, c := range map[string]struct{ want, live, told string }{
		"the same":               {`{"a":{"b":1}}`, `{"a":{"b":1}}`, ""},
		"defaults and status":    {`{"spec":{"x":1}}`, `{"spec":{"x":1,"y":2},"status":{"z":3}}`, ""},
		"kind is the resource's": {`{"apiVersion":"v1","kind":"Service","x":1}`, `{"x":1}`, ""},
		"another value":          {`{"spec":{"replicas":2}}`, `{"spec":{"replicas":3}}`, "spec.replicas is 3, made as 2"},
		"gone":                   {`{"spec":{"x":"a"}}`, `{"spec":{}}`, "spec.x is missing, made as a"},
		"zero left out":          {`{"spec":{"x":false,"n":0}}`, `{"spec":{}}`, ""},
		"an empty one, left out": {`{"spec":{"emptyDir":{}}}`, `{"spec":{}}`, ""},
		"a label removed":        {`{"metadata":{"labels":{"a.b/c":"x"}}}`, `{"metadata":{"labels":{"other":"y"}}}`, "metadata.labels.a.b/c is missing, made as x"},
		"quantities":             {`{"limits":{"cpu":"500m","memory":"1024Mi"}}`, `{"limits":{"cpu":"0.5","memory":"1Gi"}}`, ""},
		"quantities differ":      {`{"limits":{"memory":"1Gi"}}`, `{"limits":{"memory":"2Gi"}}`, "limits.memory is 2Gi, made as 1Gi"},
		"text is no quantity":    {`{"x":"1024Mi"}`, `{"x":"1Gi"}`, "x is 1Gi, made as 1024Mi"},
		"arguments":              {`{"args":["a","b"]}`, `{"args":["a","c"]}`, "args.1 is c, made as b"},
		"an argument more":       {`{"args":["a"]}`, `{"args":["a","b"]}`, "args is [a b], made as [a]"},
		"a container more":       {`{"c":[{"name":"a","x":1}]}`, `{"c":[{"name":"z"},{"name":"a","x":1}]}`, ""},
		"a container changed":    {`{"c":[{"name":"a","x":1}]}`, `{"c":[{"name":"a","x":2}]}`, "c.a.x is 2, made as 1"},
		"a container gone":       {`{"c":[{"name":"a","x":1}]}`, `{"c":[]}`, "c.a is missing"},
		"mounts by path":         {`{"m":[{"mountPath":"/tmp","name":"v"},{"mountPath":"/x","name":"v"}]}`, `{"m":[{"mountPath":"/x","name":"v"},{"mountPath":"/tmp","name":"v"}]}`, ""},
		"rules one by one":       {`{"ingress":[{"ports":[{"port":1}]}]}`, `{"ingress":[{"ports":[{"port":1,"protocol":"TCP"}]},{}]}`, "ingress is [map[ports:[map[port:1 protocol:TCP]]] map[]], made as [map[ports:[map[port:1]]]]"},
		"no list any more":       {`{"x":[1]}`, `{"x":"a"}`, "x is [], made as [1]"},
		"a variable changed":     {`{"c":[{"name":"m","env":[{"name":"K","value":"old-secret"}]}]}`, `{"c":[{"name":"m","env":[{"name":"K","value":"new-secret"}]}]}`, "c.m.env.K.value is not as it was made"},
		"a variable gone":        {`{"env":[{"name":"K","value":"secret"}]}`, `{"env":[{"name":"K"}]}`, "env.K.value is missing"},
		"variables elsewhere":    {`{"t":{"c":[{"name":"m","env":[{"name":"K","value":"secret"}]}]}}`, `{"t":"x"}`, "t is not as it was made"},
		"cut inside a letter":    {`{"x":"a"}`, `{"x":"` + strings.Repeat("é", 40) + `"}`, "x is " + strings.Repeat("é", 30) + "…, made as a"},
		"cut inside another":     {`{"x":"a"}`, `{"x":"a` + strings.Repeat("é", 40) + `"}`, "x is a" + strings.Repeat("é", 29) + "…, made as a"},
		"no object any more":     {`{"x":{"a":1}}`, `{"x":"a"}`, "x is a, made as map[a:1]"},
	} {
		var words []string
		for _, d := range differences(parse(t, c.want), parse(t, c.live)) {
			words = append(words, d.words)
		}
		if got := strings.Join(words, "; "); got != c.told {
			t.Errorf("%s: %q, wanted %q", name, got, c.told)
		}
	}
}

func TestEachDifferenceIsFound(t *testing.T) {
	want := parse(t, `{"spec":{"image":"a","args":["x","y"],"replicas":2,"c":[{"name":"m","n":1},{"name":"s"}]}}`)
	live := parse(t, `{"spec":{"image":"b","args":["x","z"],"replicas":2,"c":[{"name":"m","n":2}]}}`)
	var paths []string
	for _, d := range differences(want, live) {
		paths = append(paths, d.path+"="+d.live)
	}
	if got, all := strings.Join(paths, " "), "spec.args.1=z spec.c.m.n=2 spec.c.s=<nil> spec.image=b"; got != all {
		t.Errorf("%s, wanted %s", got, all)
	}
}

func TestAListWithoutNamesHasNone(t *testing.T) {
	for text, want := range map[string]string{
		`{"l":[]}`: "", `{"l":["a"]}`: "", `{"l":[{"name":"a"},{"name":"b"}]}`: "name", `{"l":[{"name":"a"},{"name":"a"}]}`: "",
		`{"l":[{"name":"a"},{"x":1}]}`: "", `{"l":[{"name":"v","mountPath":"/a"},{"name":"v","mountPath":"/b"}]}`: "mountPath", `{"l":[{"uid":"1"}]}`: "uid",
	} {
		if got := nameOf(parse(t, text)["l"].([]any)); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}
