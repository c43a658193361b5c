package cli

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/waterwheel-io/waterwheel/flink"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

// dnsLabel is a name of Kubernetes. An agent's words become commands here only if they are such names.
var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// service is a run's REST in Kubernetes.
type service struct{ name, namespace, port string }

// serviceOf reads the service out of an address within a cluster, such as https://x-rest.team-a.svc:8081.
func serviceOf(address string) (service, bool) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" {
		return service{}, false
	}
	name, rest, _ := strings.Cut(u.Hostname(), ".")
	namespace, rest, _ := strings.Cut(rest, ".")
	if rest != "svc" && !strings.HasPrefix(rest, "svc.") || !dnsLabel.MatchString(name) || !dnsLabel.MatchString(namespace) {
		return service{}, false
	}
	return service{name, namespace, orElse(u.Port(), "443")}, true
}

// flinkUI says how to see a run's Flink UI: on a host at its address, in Kubernetes by a tunnel and the run's client key.
func (p *sheet) flinkUI(address string) {
	s, ok := serviceOf(address)
	if !ok {
		p.field("Flink UI", "%s", orElse(address, "none while nothing runs"))
		return
	}
	p.field("Flink UI", "%s inside its cluster. From outside, with kubectl there:", address)
	p.command("kubectl -n %s port-forward service/%s 8081:%s", s.namespace, s.name, s.port)
	p.command("kubectl -n %[1]s get secret %[2]s -o go-template='{{index .data \"client.p12\" | base64decode}}' > client.p12 &&\n"+
		"    kubectl -n %[1]s get secret %[2]s -o go-template='its password: {{.data.password | base64decode}}{{\"\\n\"}}'", s.namespace, s.name)
	fmt.Fprintf(p, "  then, client.p12 imported, https://127.0.0.1:8081 in a browser, or\n")
	p.command("curl --insecure --cert-type P12 --cert client.p12:PASSWORD https://127.0.0.1:8081/overview")
	fmt.Fprintf(p, "  (the run's own authority signed both certificates: no browser knows it; who has the client key can run code in this Flink)\n")
}

// command writes what can be copied into a shell.
func (p *sheet) command(format string, args ...any) { fmt.Fprintf(p, "  "+format+"\n", args...) }

// held is the hold of a job, nil if there is none.
func held(s *flinkv1.JobStatus) *flinkv1.Condition {
	if c := condition(s, flink.ConditionHeld); c.GetStatus() == flink.True {
		return c
	}
	return nil
}

// hold says who holds a job and since when.
func (p *sheet) hold(s *flinkv1.JobStatus) {
	if c := held(s); c != nil {
		p.field("On hold", "%s (set %s ago); the agent watches and changes nothing", orElse(c.GetMessage(), "Held"), age(p.now, c.GetLastTransitionTime()))
	}
}

// situation is a job's situation, marked if the job is held.
func situation(s *flinkv1.JobStatus) string {
	if held(s) == nil || s.GetSituation() == flink.ConditionHeld {
		return s.GetSituation()
	}
	return strings.TrimSpace(s.GetSituation() + " (held)")
}
