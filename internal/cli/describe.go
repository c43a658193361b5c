package cli

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/admin/v1"
	flinkv1 "github.com/waterwheel-io/waterwheel/proto/gen/waterwheel/flink/v1"
)

// nothingDeletes is said wherever snapshots are shown.
const nothingDeletes = "Nothing deletes old checkpoints and savepoints yet: remove by hand what no run needs any more."

func (a *app) describeCmd() *cobra.Command {
	return &cobra.Command{
		Use: "describe job|cluster NAME", Short: "Show all that is known of a job or a cluster", Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, name, err := object(args)
			if err != nil {
				return err
			}
			if name == "" {
				return usagef("use it as: waterwheel describe job NAME")
			}
			return a.run(func(cmd *cobra.Command, h *hub, _ []string) error {
				p := &sheet{now: a.now()}
				if kind == "clusters" {
					resp, err := h.clusters.GetCluster(cmd.Context(), adminv1.GetClusterRequest_builder{Name: name}.Build())
					if err != nil {
						return err
					}
					jobs, err := h.allJobs(cmd.Context(), name)
					if err != nil {
						return err
					}
					p.cluster(resp.GetCluster(), jobs)
				} else {
					j, err := h.job(cmd.Context(), name)
					if err != nil {
						return err
					}
					p.job(j)
				}
				_, err := cmd.OutOrStdout().Write(p.Bytes())
				return err
			})(cmd, args)
		},
	}
}

// sheet is a description being written.
type sheet struct {
	bytes.Buffer
	now time.Time
}

// field writes one line, or nothing for an empty value.
func (p *sheet) field(name, format string, args ...any) {
	if value := oneLine(fmt.Sprintf(format, args...)); value != "" {
		fmt.Fprintf(p, "%-18s %s\n", name+":", value)
	}
}

func (p *sheet) section(name string) { fmt.Fprintf(p, "\n%s\n", name) }

func (p *sheet) at(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return fmt.Sprintf("%s (%s ago)", t.AsTime().Format(time.RFC3339), age(p.now, t))
}

func (p *sheet) job(j *flinkv1.Job) {
	m, spec, s := j.GetMetadata(), j.GetSpec(), j.GetStatus()
	p.field("Name", "%s", m.GetName())
	p.field("Tenant", "%s", m.GetTenant())
	p.field("UID", "%s", m.GetUid())
	p.field("Labels", "%s", pairs(m.GetLabels()))
	p.field("Cluster", "%s", orElse(s.GetCluster(), spec.GetCluster()))
	p.field("Generation", "%d (recorded by the agent: %d, running: %d)", m.GetGeneration(), s.GetRecordedGeneration(), s.GetObservedGeneration())
	p.field("Created", "%s", p.at(m.GetCreatedAt()))
	p.field("Deleted", "%s", p.at(m.GetDeletedAt()))
	p.section("Spec")
	p.spec(spec)
	p.section("Status")
	p.status(s)
	p.section("Where to look")
	p.links(s.GetLinks())
	p.section("Conditions")
	p.conditions(s.GetConditions())
	p.section("Changes of situation, the newest last")
	p.transitions(s.GetTransitions())
}

func (p *sheet) spec(s *flinkv1.JobSpec) {
	p.field("State", "%s", s.GetState())
	p.field("Flink", "%s %s", s.GetFlinkVersion(), s.GetImage())
	p.field("Jar", "%s", s.GetJar().GetUri())
	p.field("Entry class", "%s", s.GetJar().GetEntryClass())
	p.field("Arguments", "%s", strings.Join(s.GetJar().GetArgs(), " "))
	p.field("Parallelism", "%d", s.GetParallelism())
	p.field("Upgrade mode", "%s, %s", s.GetUpgradeMode(), s.GetSwitch())
	p.field("Checkpoints", "every %s", s.GetCheckpointing().GetInterval())
	p.field("State storage", "%s", orElse(s.GetStateStorage().GetRoot(), "the agent's"))
	p.field("JobManager", "cpu %s, memory %s", s.GetJobManager().GetCpu(), s.GetJobManager().GetMemory())
	tm := s.GetTaskManager()
	p.field("TaskManager", "cpu %s, memory %s, slots %d", tm.GetCpu(), tm.GetMemory(), tm.GetSlots())
	p.field("Configuration", "%s", pairs(s.GetFlinkConfiguration()))
	p.field("First start from", "%s", s.GetStartFrom().GetSnapshot())
}

func (p *sheet) status(s *flinkv1.JobStatus) {
	p.field("State", "%s", stateCell(s).text)
	p.field("Situation", "%s", s.GetSituation())
	p.field("Message", "%s", sentence(s))
	p.hold(s)
	p.field("As of", "%s", freshness(p.now, s))
	p.field("Run", "%s", runName(s))
	f := s.GetFlink()
	p.field("Flink job", "%s %s %s", f.GetJobId(), f.GetState(), f.GetVersion())
	if t := tasks(s); t != "" {
		p.field("Tasks", "%s running, parallelism %d", t, f.GetParallelism())
	}
	if f.GetCheckpoints() > 0 {
		p.field("Checkpoints", "%d completed since its JobManager started", f.GetCheckpoints())
	}
	if n := s.GetSnapshot(); n != nil {
		p.field("Newest snapshot", "%s %s %s", n.GetKind(), n.GetPath(), p.at(n.GetCompletedAt()))
	}
	if r := s.GetRestored(); r.GetIntended() != "" || r.GetActual() != "" {
		word := "not proven"
		if r.GetProven() {
			word = "proven"
		}
		p.field("Started from", "%s (%s)", orElse(r.GetActual(), "not known yet; meant: "+r.GetIntended()), word)
	}
}

func (p *sheet) links(l *flinkv1.Links) {
	p.flinkUI(l.GetFlinkUi())
	for _, log := range l.GetLogs() {
		p.field("Log", "%s", log)
	}
	p.field("Checkpoints", "%s", l.GetCheckpointsDir())
	p.field("Savepoints", "%s", l.GetSavepointsDir())
	fmt.Fprintln(p, nothingDeletes)
}

func (p *sheet) conditions(all []*flinkv1.Condition) {
	if len(all) == 0 {
		fmt.Fprintln(p, "none yet")
		return
	}
	t := newTable("TYPE", "STATUS", "SINCE", "REASON", "MESSAGE")
	for _, c := range all {
		t.add(plain(c.GetType()), plain(c.GetStatus()), plain(age(p.now, c.GetLastTransitionTime())), plain(c.GetReason()), plain(c.GetMessage()))
	}
	_ = t.write(p, false) // a Buffer takes everything
}

func (p *sheet) transitions(all []*flinkv1.Transition) {
	if len(all) == 0 {
		fmt.Fprintln(p, "none yet")
		return
	}
	t := newTable("TIME", "AGO", "RUN", "STATE", "SITUATION", "MESSAGE")
	for _, x := range all {
		run := ""
		if x.GetRun() > 0 {
			run = fmt.Sprintf("r%d", x.GetRun())
		}
		t.add(plain(x.GetAt().AsTime().Format(time.RFC3339)), plain(age(p.now, x.GetAt())), plain(run), plain(x.GetState()),
			plain(x.GetSituation()), plain(x.GetMessage()))
	}
	_ = t.write(p, false) // a Buffer takes everything
}

func (p *sheet) cluster(c *adminv1.Cluster, jobs []*flinkv1.Job) {
	p.field("Name", "%s", c.GetName())
	p.field("UID", "%s", c.GetUid())
	p.field("State", "%s", c.GetState())
	p.field("Connected", "%s", connectedCell(c).text)
	p.field("Message", "%s", c.GetMessage())
	p.field("Created", "%s", p.at(c.GetCreatedAt()))
	p.field("Joined", "%s", p.at(c.GetJoinedAt()))
	p.field("Last seen", "%s", p.at(c.GetLastSeen()))
	p.field("Agent version", "%s", c.GetAgentVersion())
	if c.GetCertificateExpiresAt() != nil {
		p.field("Certificate ends", "%s (%s)", c.GetCertificateExpiresAt().AsTime().Format(time.RFC3339), until(p.now, c.GetCertificateExpiresAt()))
	}
	p.field("Rows pending", "%d of %d", c.GetRowsPending(), c.GetRows())
	p.field("Resumed streams", "%d since the hub started", c.GetResumes())
	p.field("Memory", "%s", memory(c))
	p.field("Flink", "%s", strings.Join(c.GetFlinkVersions(), ", "))
	p.section("Jobs")
	if len(jobs) == 0 {
		fmt.Fprintln(p, "none")
		return
	}
	a := app{now: func() time.Time { return p.now }}
	_ = a.jobTable(jobs, false).write(p, false) // a Buffer takes everything
}

// freshness says how old a status is and what that is worth.
func freshness(now time.Time, s *flinkv1.JobStatus) string {
	if s.GetAsOf() == nil {
		return "nothing heard yet"
	}
	seen := fmt.Sprintf("seen %s ago", age(now, s.GetAsOf()))
	switch s.GetFreshness() {
	case freshnessLive:
		return "live, " + seen
	case "frozen":
		return "frozen, " + seen + ": its cluster was removed"
	}
	return "stale, " + seen + ": its cluster is not heard of, things may have changed"
}

func pairs(m map[string]string) string {
	out := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, ", ")
}
