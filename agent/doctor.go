package agent

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/waterwheel-io/waterwheel/agent/doctor"
	"github.com/waterwheel-io/waterwheel/agent/enrol"
	"github.com/waterwheel-io/waterwheel/agent/kube"
	"github.com/waterwheel-io/waterwheel/agent/kube/checks"
	"github.com/waterwheel-io/waterwheel/agent/rbac"
	"github.com/waterwheel-io/waterwheel/agent/render"
)

// Doctor looks at all that an agent with this file needs of its place, and changes nothing.
func Doctor(ctx context.Context, cfg Config) ([]doctor.Finding, error) {
	hub := doctor.Hub{Address: cfg.Hub.Address, TrustDomain: cfg.Hub.TrustDomain, Pin: cfg.Hub.CAPin}
	if cfg.Hub.CAFile != "" {
		text, err := os.ReadFile(cfg.Hub.CAFile)
		if err != nil {
			return nil, fmt.Errorf("hub.caFile: %w", err)
		}
		hub.Roots = x509.NewCertPool()
		if !hub.Roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("hub.caFile: no certificate in %s", cfg.Hub.CAFile)
		}
	}
	look := []doctor.Check{doctor.HubCheck(hub), identityCheck(cfg)}
	if cfg.Runtime.Kind == kindKubernetes {
		return doctor.Run(ctx, append(look, kubernetesChecks(cfg)...)), nil
	}

	return doctor.Run(ctx, append(look, doctor.HostChecks(doctor.Host{Dir: cfg.Dir, Java: cfg.Runtime.Java, Flink: cfg.Runtime.Flink})...)), nil
}

// identityCheck looks at the agent's own certificate, or how it will come by one.
func identityCheck(cfg Config) doctor.Check {
	kept, err := membership(cfg)
	i := doctor.Identity{Running: func(ctx context.Context) string { return runningSays(ctx, cfg) }}
	if kept.Token != nil {
		i.Token = kept.Token.String()
	} else {
		i.Token = cfg.Hub.TokenFile
	}
	i.Kept = func(context.Context) (doctor.Membership, error) {
		if err != nil {
			return doctor.Membership{}, err
		}
		k, err := enrol.Look(kept)
		if err != nil || k.NotAfter.IsZero() {
			return doctor.Membership{Returns: k.Returns, Token: k.Token}, err
		}

		return doctor.Membership{Cluster: k.Cluster, ID: k.ID.String(), NotAfter: k.NotAfter, Returns: k.Returns, Token: k.Token}, nil
	}

	return doctor.IdentityCheck(i)
}

// membership says where the agent's identity and its token are kept.
func membership(cfg Config) (enrol.Config, error) {
	if cfg.Runtime.Kind != kindKubernetes {
		return enrol.Config{Dir: filepath.Join(cfg.Dir, identityDir), TokenFile: cfg.Hub.TokenFile}, nil
	}

	return inSecrets(cfg.Runtime.Kubernetes)
}

// runningSays is what an agent that runs here with this file says is wrong with its membership: "" if all is well, or if
// none answers, as in another pod.
func runningSays(ctx context.Context, cfg Config) string {
	if cfg.Listen == "" || cfg.Listen == NoListener {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+cfg.Listen+"/status", http.NoBody)
	if err != nil {
		return ""
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // straight to loopback
	resp, err := client.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var says viewJSON
	if json.NewDecoder(resp.Body).Decode(&says) != nil || says.Hub.Address != cfg.Hub.Address {
		return "" // another replica acts, or that is another agent
	}

	return says.Membership
}

// kubernetesChecks look at the cluster that the file names, or that this is a pod of.
func kubernetesChecks(cfg Config) []doctor.Check {
	api, err := kube.Connect(cfg.Runtime.Kubernetes.Kubeconfig)
	if err != nil {
		return noServer(err)
	}
	server, err := checks.New(api)
	if err != nil {
		return noServer(err)
	}

	return doctor.KubernetesChecks(examined(cfg, server))
}

func noServer(err error) []doctor.Check {
	return []doctor.Check{{What: "API server", Look: func(context.Context) []doctor.Finding {
		return []doctor.Finding{{
			Level: doctor.Fail, What: "API server", Finding: err.Error(),
			Remedy: "run this in the agent's pod (kubectl exec), or name a kubeconfig in runtime.kubernetes.kubeconfig",
		}}
	}}}
}

// examined is the file in the doctor's words, with a server that answers.
func examined(cfg Config, server *checks.Server) doctor.Kubernetes {
	k := cfg.Runtime.Kubernetes
	var tenants []doctor.Tenant
	for _, t := range k.Tenants {
		root := t.StateStorage.Root
		if root == "" {
			root = cfg.StateStorage.Root
		}
		tenants = append(tenants, doctor.Tenant{
			Namespace: t.Namespace, Rights: rights(rbac.Of(rbac.Agent, rbac.Tenant)), StateRoot: root, Endpoint: t.Settings["s3.endpoint"],
		})
	}
	accounts := []string{k.ServiceAccounts.JobManager, k.ServiceAccounts.TaskManager}
	for i, usual := range []string{render.DefaultJobManagerSA, render.DefaultTaskManagerSA} {
		if accounts[i] == "" {
			accounts[i] = usual
		}
	}

	return doctor.Kubernetes{
		Namespace: k.Namespace, Own: rights(rbac.Of(rbac.Agent, rbac.Own)), Tenants: tenants, Accounts: accounts,
		Records: doctor.Kind{GroupVersion: "agent.waterwheel.dev/v1", Resource: "flinkjobs"}, Images: k.Images,
		Server: server.Version, Served: server.Served, Account: server.Account,
		Missing: func(ctx context.Context, namespace string, want []doctor.Right) ([]doctor.Right, error) {
			asked := make([]checks.Right, len(want))
			for i, r := range want {
				asked[i] = checks.Right(r)
			}
			missing, err := server.Missing(ctx, namespace, asked)
			out := make([]doctor.Right, len(missing))
			for i, r := range missing {
				out[i] = doctor.Right(r)
			}

			return out, err
		},
		Quotas: func(ctx context.Context, namespace string) ([]doctor.Left, error) {
			left, err := server.Quotas(ctx, namespace)
			out := make([]doctor.Left, len(left))
			for i, l := range left {
				out[i] = doctor.Left(l)
			}

			return out, err
		},
	}
}

// rights are grants, verb by verb and name by name.
func rights(grants []rbac.Grant) []doctor.Right {
	var out []doctor.Right
	for _, g := range grants {
		names := g.Names
		if len(names) == 0 {
			names = []string{""}
		}
		for _, name := range names {
			for _, verb := range g.Verbs {
				out = append(out, doctor.Right{Verb: verb, Group: g.Group, Resource: g.Resource, Name: name})
			}
		}
	}

	return out
}
