package render

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/config"
)

// restService leads to the run's REST, also before its pod is ready: a
// JobManager that is not is what the agent has to look at.
func (r *rendering) restService() *corev1.Service {
	return service(r.meta(r.names.rest(), JobManager), Selector(r.launch.Run, JobManager), true, servicePort(portNameREST, config.PortREST))
}

// rpcService is the JobManager's name for its TaskManagers, and for itself.
func (r *rendering) rpcService() *corev1.Service {
	return service(r.meta(r.names.rpc(), JobManager), Selector(r.launch.Run, JobManager), true,
		servicePort("rpc", config.PortJobManagerRPC), servicePort("blob", config.PortBlob), servicePort("query", config.PortQuery))
}

// JobService leads to the current run of a job. It outlives runs: no run owns it.
func JobService(l flink.Launch, p Place) (*corev1.Service, error) {
	if err := checkNames(l); err != nil {
		return nil, refuse(flink.RefusedProgram, err)
	}
	all := labels(l, p.Cluster, "")
	delete(all, LabelTerm)
	delete(all, LabelRun)
	meta := metav1.ObjectMeta{Name: JobServiceName(l.Name), Namespace: p.Namespace, Labels: all}
	return service(meta, Selector(l.Run, JobManager), false, servicePort(portNameREST, config.PortREST)), nil
}

func service(meta metav1.ObjectMeta, selector map[string]string, unready bool, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		TypeMeta: typeMeta("v1", "Service"), ObjectMeta: meta,
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Selector: selector, PublishNotReadyAddresses: unready, Ports: ports},
	}
}

func servicePort(name string, n int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Port: n, TargetPort: intstr.FromString(name), Protocol: corev1.ProtocolTCP}
}

// policies let in what a run needs: REST from the agent, everything between its
// own processes from these, metrics from where they are collected. What its pods
// may reach is their tenant's namespace to say.
func (r *rendering) policies() []*networkingv1.NetworkPolicy {
	inside := []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: Selector(r.launch.Run, "")}}}
	metrics := networkingv1.NetworkPolicyIngressRule{From: r.scrapers(), Ports: ports(PortMetrics)}
	return []*networkingv1.NetworkPolicy{
		r.policy(r.names.jobManager(), JobManager,
			networkingv1.NetworkPolicyIngressRule{From: r.agent(), Ports: ports(config.PortREST)},
			networkingv1.NetworkPolicyIngressRule{From: inside, Ports: ports(config.PortJobManagerRPC, config.PortBlob, config.PortQuery)},
			metrics),
		r.policy(r.names.taskManager(), TaskManager,
			networkingv1.NetworkPolicyIngressRule{From: inside, Ports: ports(config.PortTaskManagerRPC, config.PortData, config.PortQuery)},
			metrics),
	}
}

func (r *rendering) policy(name, component string, rules ...networkingv1.NetworkPolicyIngressRule) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		TypeMeta: typeMeta("networking.k8s.io/v1", "NetworkPolicy"), ObjectMeta: r.meta(name, component),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: Selector(r.launch.Run, component)},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress:     rules,
		},
	}
}

// agent are the pods that may call REST.
func (r *rendering) agent() []networkingv1.NetworkPolicyPeer {
	return []networkingv1.NetworkPolicyPeer{{
		NamespaceSelector: namespace(r.place.Agent.Namespace),
		PodSelector:       &metav1.LabelSelector{MatchLabels: r.place.Agent.Labels},
	}}
}

// scrapers are the pods that may read metrics: of all namespaces unless the place names some.
func (r *rendering) scrapers() []networkingv1.NetworkPolicyPeer {
	if len(r.place.MetricsNamespaces) == 0 {
		return []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}}
	}
	var peers []networkingv1.NetworkPolicyPeer
	for _, name := range r.place.MetricsNamespaces {
		peers = append(peers, networkingv1.NetworkPolicyPeer{NamespaceSelector: namespace(name)})
	}
	return peers
}

// namespace selects one by the label that each has of itself.
func namespace(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: name}}
}

func ports(numbers ...int32) []networkingv1.NetworkPolicyPort {
	var out []networkingv1.NetworkPolicyPort
	for _, n := range numbers {
		out = append(out, networkingv1.NetworkPolicyPort{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(n))})
	}
	return out
}
