package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Kubernetes is what an agent needs of its cluster. The funcs ask the API server; none of them changes anything.
type Kubernetes struct {
	Namespace string // of the agent
	Own       []Right
	Tenants   []Tenant
	Accounts  []string          // ServiceAccounts that pods of runs need in each tenant's namespace
	Records   Kind              // of the agent's own objects
	Images    map[string]string // by Flink version

	// Server is the server's version, and its clock, zero if it does not tell.
	Server func(context.Context) (version string, clock time.Time, err error)
	// Missing are those of the rights in a namespace that the agent does not have.
	Missing func(ctx context.Context, namespace string, want []Right) ([]Right, error)
	// Served tells that the server knows a resource.
	Served func(ctx context.Context, groupVersion, resource string) (bool, error)
	// Account tells that a ServiceAccount exists.
	Account func(ctx context.Context, namespace, name string) (bool, error)
	// Quotas are what is left of a namespace's quotas.
	Quotas func(ctx context.Context, namespace string) ([]Left, error)
	// Dial; nil: the real network.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Now; nil: the clock.
	Now func() time.Time
}

// Tenant is a tenant's namespace and what the agent has to do there.
type Tenant struct {
	Namespace string
	Rights    []Right
	StateRoot string // where the state of jobs goes that name no root of their own
	Endpoint  string // URL or host:port of that storage; "": as StateRoot has it
}

// Kind is a kind of objects.
type Kind struct{ GroupVersion, Resource string }

// Right is one verb on one kind of object, or on one object by name.
type Right struct {
	Verb, Group, Resource, Name string
}

func (r Right) String() string {
	s := r.Verb + " " + r.Resource
	if r.Group != "" {
		s += "." + r.Group
	}
	if r.Name != "" {
		s += "/" + r.Name
	}

	return s
}

// Left is what is left of one resource of a quota.
type Left struct {
	Quota, Resource string
	Left, Hard      string // quantities
	Bytes           int64  // of Left, if it is memory; else 0
	None            bool   // nothing is left
}

// needMemory is the memory of a small run: a JobManager and one TaskManager of 1 GiB.
const needMemory = 2 << 30

// maxSkew is how far clocks of one cluster may be apart before somebody should look.
const maxSkew = 30 * time.Second

// tooMuch are rights that the agent must not have in a tenant's namespace.
var tooMuch = []Right{{Verb: "get", Resource: "secrets"}, {Verb: "list", Resource: "secrets"}, {Verb: "create", Resource: "pods"}, {Verb: "create", Resource: "pods/exec"}}

const chartRemedy = "helm upgrade the agent's chart"

// KubernetesChecks look at the API server, the agent's rights, its own kind of objects, the tenants' namespaces, images
// and the state storage.
func KubernetesChecks(k Kubernetes) []Check {
	if k.Dial == nil {
		k.Dial = new(net.Dialer).DialContext
	}
	if k.Now == nil {
		k.Now = time.Now
	}
	checks := []Check{
		{What: "API server", Look: k.server},
		{What: "CRD", Look: k.crd},
		{What: "rights in " + k.Namespace, Look: func(ctx context.Context) []Finding {
			return []Finding{k.rights(ctx, k.Namespace, k.Own)}
		}},
	}
	if len(k.Tenants) == 0 {
		checks = append(checks, told(Finding{Warn, "tenants", "none: no job can run here", "name namespaces in tenants[] of the chart's values, and " + chartRemedy}))
	}
	for _, t := range k.Tenants {
		checks = append(checks,
			Check{What: "rights in " + t.Namespace, Look: func(ctx context.Context) []Finding {
				return []Finding{k.rights(ctx, t.Namespace, t.Rights), k.excess(ctx, t.Namespace)}
			}},
			Check{What: "accounts in " + t.Namespace, Look: func(ctx context.Context) []Finding { return []Finding{k.accounts(ctx, t.Namespace)} }},
			Check{What: "quota of " + t.Namespace, Look: func(ctx context.Context) []Finding { return []Finding{k.quota(ctx, t.Namespace)} }},
			Check{What: "state of " + t.Namespace, Look: func(ctx context.Context) []Finding { return []Finding{k.storage(ctx, t)} }},
		)
	}

	return append(checks, told(k.images()))
}

// reason is an error without the address that was asked: the line says what that was about.
func reason(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}

	return err.Error()
}

// told is a check that needs nobody's answer.
func told(f Finding) Check {
	return Check{What: f.What, Look: func(context.Context) []Finding { return []Finding{f} }}
}

func (k Kubernetes) server(ctx context.Context) []Finding {
	version, at, err := k.Server(ctx)
	if err != nil {
		return []Finding{{
			Fail, "API server", "does not answer: " + reason(err),
			"run this in the agent's pod or with a kubeconfig; see that NetworkPolicies let it out to the API server",
		}, unknown("cluster clock", "the API server does not answer")}
	}
	found := []Finding{{OK, "API server", "Kubernetes " + version, ""}}
	if at.IsZero() {
		return append(found, unknown("cluster clock", "the API server does not tell its time"))
	}
	skew := k.Now().Sub(at)
	if skew.Abs() > maxSkew {
		return append(found, Finding{
			Fail, "cluster clock", fmt.Sprintf("this node's clock and the API server's differ by %s", skew.Abs().Round(time.Second)),
			"set the nodes' clocks (NTP): leases and certificates depend on them",
		})
	}

	return append(found, Finding{OK, "cluster clock", fmt.Sprintf("the API server's, within %s", maxSkew), ""})
}

func (k Kubernetes) crd(ctx context.Context) []Finding {
	name := k.Records.Resource + " of " + k.Records.GroupVersion
	there, err := k.Served(ctx, k.Records.GroupVersion, k.Records.Resource)
	switch {
	case err != nil:
		return []Finding{{Fail, "CRD", fmt.Sprintf("whether %s are served could not be asked: %s", name, reason(err)), "see the line of the API server"}}
	case !there:
		return []Finding{{
			Fail, "CRD", name + " are not served: the agent has nowhere to keep its records",
			"install the CRD of the agent's chart: " + chartRemedy + "; whoever does so must be allowed to create CustomResourceDefinitions",
		}}
	}

	return []Finding{{OK, "CRD", name + " are served", ""}}
}

func (k Kubernetes) rights(ctx context.Context, namespace string, want []Right) Finding {
	what := "rights in " + namespace
	missing, err := k.Missing(ctx, namespace, want)
	switch {
	case err != nil:
		return Finding{Fail, what, "could not be asked: " + reason(err), "see the line of the API server"}
	case len(missing) > 0:
		return Finding{
			Fail, what, fmt.Sprintf("the agent may not %s", list(missing)),
			chartRemedy + " by somebody who may create Roles there; waterwheel-agent rbac says what each right is for",
		}
	}

	return Finding{OK, what, fmt.Sprintf("all %d that the agent needs", len(want)), ""}
}

// excess warns of rights beyond those of the chart. Nobody needs them: they make the agent worth stealing.
func (k Kubernetes) excess(ctx context.Context, namespace string) Finding {
	what := "limits in " + namespace
	missing, err := k.Missing(ctx, namespace, tooMuch)
	if err != nil {
		return unknown(what, reason(err))
	}
	has := slices.DeleteFunc(slices.Clone(tooMuch), func(r Right) bool { return slices.Contains(missing, r) })
	if len(has) > 0 {
		return Finding{
			Warn, what, fmt.Sprintf("the agent may %s, which it never needs", list(has)),
			"somebody bound its account to a further Role or ClusterRole: take that away",
		}
	}

	return Finding{OK, what, "it may not read Secrets, nor create pods or run commands in them", ""}
}

func list(rights []Right) string {
	const most = 4
	var words []string
	for _, r := range rights[:min(len(rights), most)] {
		words = append(words, r.String())
	}
	if n := len(rights) - most; n > 0 {
		words = append(words, fmt.Sprintf("%d more", n))
	}

	return strings.Join(words, ", ")
}

func (k Kubernetes) accounts(ctx context.Context, namespace string) Finding {
	what := "accounts in " + namespace
	var missing []string
	for _, name := range k.Accounts {
		there, err := k.Account(ctx, namespace, name)
		if err != nil {
			return Finding{Fail, what, fmt.Sprintf("%s could not be asked for: %s", name, reason(err)), "see the line of the rights there"}
		}
		if !there {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return Finding{
			Fail, what, "missing: " + strings.Join(missing, ", "),
			"does the namespace exist, and is it in tenants[] of the chart's values? " + chartRemedy,
		}
	}

	return Finding{OK, what, strings.Join(k.Accounts, ", "), ""}
}

func (k Kubernetes) quota(ctx context.Context, namespace string) Finding {
	what := "quota of " + namespace
	left, err := k.Quotas(ctx, namespace)
	if err != nil {
		return Finding{Fail, what, "could not be asked: " + reason(err), "see the line of the rights there"}
	}
	if len(left) == 0 {
		return Finding{OK, what, "none: what its nodes have", ""}
	}
	var words, short []string
	for _, l := range left {
		words = append(words, fmt.Sprintf("%s %s of %s", l.Resource, l.Left, l.Hard))
		if l.None || strings.HasSuffix(l.Resource, "memory") && l.Bytes < needMemory {
			short = append(short, l.Resource+" of "+l.Quota)
		}
	}
	f := Finding{OK, what, "left: " + strings.Join(words, ", "), ""}
	if len(short) > 0 {
		f.Level, f.Remedy = Warn, "no further small run has room: raise "+strings.Join(short, ", ")+", or end something"
	}

	return f
}

func (k Kubernetes) images() Finding {
	if len(k.Images) == 0 {
		return Finding{Fail, "images", "none is configured: only jobs that name their own image can run", "name one for each Flink version in the chart's values"}
	}
	var words, empty []string
	for version, image := range k.Images {
		if strings.TrimSpace(image) == "" || strings.ContainsAny(image, " \t\n") {
			empty = append(empty, version)
		}
		words = append(words, version+" "+image)
	}
	slices.Sort(words)
	slices.Sort(empty)
	if len(empty) > 0 {
		return Finding{Fail, "images", "no usable image for Flink " + strings.Join(empty, ", "), "name one in the chart's values"}
	}

	return Finding{OK, "images", strings.Join(words, ", ") + " (whether nodes can pull them, the first run tells)", ""}
}

// storage looks at a state root by a connection: the agent has no credentials to go further.
func (k Kubernetes) storage(ctx context.Context, t Tenant) Finding {
	what := "state of " + t.Namespace
	if t.StateRoot == "" {
		return Finding{Warn, what, "no root is configured: only jobs without state, and jobs that name their own root, can run", "name stateStorage.root, such as s3://bucket/prefix"}
	}
	u, err := url.Parse(t.StateRoot)
	if err != nil || u.Scheme == "" {
		return Finding{Fail, what, fmt.Sprintf("%q is not an address", t.StateRoot), "name stateStorage.root as s3://bucket/prefix"}
	}
	if u.Scheme == "file" {
		return Finding{
			Warn, what, t.StateRoot + " is a path in each pod: unless a shared volume is mounted there, state ends with its pod",
			"name an object store, or mount a volume of a storage class with ReadWriteMany in the pod template",
		}
	}
	probe := storageHost(u, t.Endpoint)
	if probe == "" {
		return Finding{OK, what, t.StateRoot + " (whether it answers, the first checkpoint tells)", ""}
	}
	conn, err := k.Dial(ctx, "tcp", probe)
	if err != nil {
		return Finding{
			Warn, what, fmt.Sprintf("%s: no connection from here to %s: %v", t.StateRoot, probe, err),
			"jobs' pods need that way: see that egress is allowed from " + t.Namespace + " (this looked from the agent's own place)",
		}
	}
	conn.Close()

	return Finding{OK, what, fmt.Sprintf("%s, connected to %s (whether its credentials are right, the first checkpoint tells)", t.StateRoot, probe), ""}
}

// storageHost is where a root is served: at its endpoint, or where its kind is well known for; "" if that cannot be told.
func storageHost(root *url.URL, endpoint string) string {
	if endpoint != "" {
		if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
			port := u.Port()
			if port == "" {
				port = map[string]string{"http": "80"}[u.Scheme]
			}

			return net.JoinHostPort(u.Hostname(), cmp.Or(port, "443"))
		}

		return endpoint
	}
	switch root.Scheme {
	case "s3", "s3a", "s3p":
		return "s3.amazonaws.com:443"
	case "gs":
		return "storage.googleapis.com:443"
	case "abfs", "abfss", "wasb", "wasbs":
		return net.JoinHostPort(root.Hostname(), "443")
	case "hdfs":
		if root.Port() != "" {
			return root.Host
		}
	}

	return ""
}
