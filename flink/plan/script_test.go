package plan_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/waterwheel-io/waterwheel/flink"
	"github.com/waterwheel-io/waterwheel/flink/plan"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata; review the difference")

// TestStories plays each story of testdata in the small world and compares what
// the planner said and did, change by change, with what is on file.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("stories: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Files) == 0 || a.Files[0].Name != "story" {
				t.Fatalf("%s: its first file must be named story", file)
			}
			s := newScript()
			for n, line := range strings.Split(strings.TrimSpace(string(a.Files[0].Data)), "\n") {
				if err := s.do(line); err != nil {
					t.Fatalf("%s: line %d, %q: %v", file, n+1, line, err)
				}
			}
			for _, sin := range s.w.sins {
				t.Errorf("law broken: %s", sin)
			}
			got := s.out.String()
			if *update {
				a.Files = []txtar.File{a.Files[0], {Name: "told", Data: []byte(got)}}
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(a.Files) < 2 || string(a.Files[1].Data) != got {
				t.Errorf("%s: told otherwise than on file (-update rewrites it):\n%s", file, got)
			}
		})
	}
}

// script plays the verbs of a story.
type script struct {
	w    *world
	out  strings.Builder
	last string
	gone bool
}

func newScript() *script {
	s := &script{w: newWorld(time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC))}
	s.w.order = flink.Order{
		UID: worldUID, Tenant: worldTenant, Name: "clicks", Generation: 1, Term: 1,
		Spec: flink.Default(flink.Spec{
			FlinkVersion: "2.3", UpgradeMode: flink.UpgradeSavepoint, StateStorage: flink.StateStorage{Root: "/s"},
			Jar: flink.Jar{URI: "local:///opt/flink/usrlib/job.jar", EntryClass: "com.example.Main"},
		}),
	}
	return s
}

// do plays one line. An empty line and one that starts with # say nothing.
func (s *script) do(line string) error {
	line = strings.TrimSpace(line)
	verb, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	if verb == "" || verb == "#" {
		return nil
	}
	fmt.Fprintf(&s.out, "> %s\n", line)
	if f, ok := verbs[verb]; ok {
		return f(s, rest)
	}
	return fmt.Errorf("no such verb; there are %s", strings.Join(slices.Sorted(maps.Keys(verbs)), ", "))
}

var verbs = map[string]func(s *script, rest string) error{
	"order": (*script).setOrder,
	"run":   (*script).run,
	"kill":  (*script).kill,
	"fault": (*script).setFault,
	"fail":  (*script).failJob,
	"cancel": func(s *script, _ string) error {
		return s.withJob(func(s *script, r *run) { r.job.become(flink.JobCanceled, s.w.now) })
	},
	"finish":  func(s *script, _ string) error { return s.withJob((*script).finishJob) },
	"restart": (*script).restart,
	"kubernetes": func(s *script, rest string) error {
		s.w.kubernetes, s.w.keepsHA = true, rest != "forgets"
		return nil
	},
	"ha": (*script).setHA,
	"wait": func(s *script, rest string) error {
		part, words, _ := strings.Cut(rest, " ")
		return s.setWait(part, words)
	},
	"drift": func(s *script, rest string) error {
		r, err := s.current()
		if err == nil {
			r.kube.drift = append(r.kube.drift, rest)
		}
		return err
	},
	"hold": func(s *script, rest string) error {
		by, why, _ := strings.Cut(rest, " ")
		s.w.hold = &flink.Hold{By: by, Reason: why, Since: s.w.now}
		return nil
	},
	"unhold": func(s *script, _ string) error { s.w.hold = nil; return nil },
	"quota":  func(s *script, rest string) error { s.w.limit = rest; return nil },
	"delete": func(s *script, rest string) error {
		s.w.order.Deleted, s.w.order.Policy = true, flink.DeletePolicy(rest)
		return nil
	},
	"forget": func(s *script, _ string) error {
		s.w.mem = plan.Memory{}
		return nil
	},
	"room": func(s *script, rest string) error {
		total, other, _ := strings.Cut(rest, " ")
		var err error
		if s.w.total, err = flink.ParseMemory(total); err != nil {
			return err
		}
		if other != "" {
			s.w.other, err = flink.ParseMemory(strings.TrimPrefix(other, "others="))
		}
		return err
	},
	"snapshot": func(s *script, rest string) error {
		s.w.disk[flink.NormalizePath(rest)] = snapshot{pos: 1000, kind: flink.KindSavepoint}
		return nil
	},
	"lose":  func(s *script, _ string) error { s.move(s.w.disk, s.w.hid); return nil },
	"bring": func(s *script, _ string) error { s.move(s.w.hid, s.w.disk); return nil },
}

// restart asks for a new run, from a snapshot that is named: "newest" is the newest there is in truth.
func (s *script) restart(rest string) error {
	from := strings.TrimSpace(strings.TrimPrefix(rest, "--from"))
	if from == "newest" {
		from = s.w.newestInTruth()
		if from == "" {
			return fmt.Errorf("there is none")
		}
	}
	s.w.order.Restart++
	s.w.order.RestartFrom = from
	return nil
}

func (s *script) move(from, to map[string]snapshot) {
	for path, snap := range from {
		to[path] = snap
		delete(from, path)
	}
}

// setOrder edits the order: key=value, each a field of the spec. Any change counts a generation.
func (s *script) setOrder(rest string) error {
	spec := s.w.order.Spec.Clone()
	for f := range strings.FieldsSeq(rest) {
		key, value, ok := strings.Cut(f, "=")
		if !ok {
			return fmt.Errorf("%q is no key=value", f)
		}
		switch key {
		case "parallelism":
			n, err := strconv.ParseInt(value, 10, 32)
			if err != nil {
				return err
			}
			spec.Parallelism = int32(n)
		case "state":
			spec.State = value
		case "upgradeMode":
			spec.UpgradeMode = value
		case "switch":
			spec.Switch = value
		case "root":
			spec.StateStorage.Root = value
		case "startFrom":
			spec.StartFrom.Snapshot = value
		case "class":
			spec.Jar.EntryClass = value
		case "memory":
			spec.TaskManager.Memory = value
		default:
			return fmt.Errorf("no field %q", key)
		}
	}
	if s.w.mem.Said.State != "" && !flink.SpecEqual(spec, s.w.order.Spec) {
		s.w.order.Generation++
	}
	s.w.order.Spec = spec
	return nil
}

// run passes for a while, as often as the planner asks for, and tells each change.
func (s *script) run(rest string) error {
	d, err := time.ParseDuration(rest)
	if err != nil {
		return err
	}
	end := s.w.now.Add(d)
	for !s.gone {
		p := s.w.pass()
		s.tell(p)
		if s.gone = p.Gone; s.gone {
			break
		}
		next := p.RequeueAt
		if latest := s.w.now.Add(5 * time.Second); next.After(latest) {
			next = latest
		}
		if !next.Before(end) {
			s.w.advance(end)
			break
		}
		s.w.advance(next)
	}
	return nil
}

func (s *script) tell(p plan.Plan) {
	act := "-"
	if p.Action != nil {
		act = p.Action.Kind() + " " + target(p.Action)
	}
	flags := ""
	for _, c := range p.Status.Conditions {
		if c.Status == flink.True && c.Type != flink.ConditionReconciling {
			flags += " " + c.Type
			if c.Type == flink.ConditionStalled {
				flags += "=" + c.Reason
			}
		}
	}
	head := fmt.Sprintf("%s %s %s%s", p.Situation, p.Status.State, act, flags)
	if head == s.last {
		return
	}
	s.last = head
	fmt.Fprintf(&s.out, "%s %s\n    %s\n", s.w.now.Format("15:04:05.00"), head, p.Status.Message)
}

func target(a plan.Action) string {
	switch a := a.(type) {
	case plan.EnsureRun:
		return a.Launch.Run.String()
	case plan.Preflight:
		return a.Run.String()
	case plan.Submit:
		from := a.Submission.SnapshotPath
		if from == "" {
			from = "empty"
		}
		return a.Run.String() + " from " + from
	case plan.StopJob:
		return a.Run.String() + " into " + a.Directory
	case plan.CancelJob:
		return a.Run.String()
	case plan.EndRun:
		return a.Run.String()
	}
	return "?"
}

func (s *script) current() (*run, error) {
	for _, r := range slices.Backward(s.w.runs) {
		if r.alive() {
			return r, nil
		}
	}
	return nil, fmt.Errorf("no run is alive")
}

// kill ends a process of the newest run that lives, or of the one named.
func (s *script) kill(rest string) error {
	what, name, _ := strings.Cut(rest, " ")
	r, err := s.current()
	for _, other := range s.w.runs {
		if other.launch.Run.String() == name {
			r, err = other, nil
		}
	}
	if err != nil {
		return err
	}
	switch what {
	case "jm":
		s.w.killJM(r)
	case "tm":
		s.w.killTM(r)
	case "all":
		s.w.killAll(r)
	case "job":
		r.job = nil
	case "rest":
		r.silent = s.w.now
	case "keys":
		r.silent, r.strange = s.w.now, true
	default:
		return fmt.Errorf("kill jm, tm, all, rest or keys")
	}
	return nil
}

func (s *script) withJob(do func(*script, *run)) error {
	for _, r := range slices.Backward(s.w.runs) {
		if r.job != nil && !flink.JobTerminal(r.job.state) {
			do(s, r)
			return nil
		}
	}
	return fmt.Errorf("no run has a job")
}

func (s *script) finishJob(r *run) {
	s.w.commit(r, r.job)
	s.w.finish(r, r.job)
	s.w.unheard = r.job.id
	s.w.failTriggers(r, "the job is finished")
}

func (s *script) failJob(rest string) error {
	return s.withJob(func(s *script, r *run) {
		r.job.become(flink.JobFailed, s.w.now)
		r.job.cause = cause(rest)
		if r.kube != nil {
			r.kube.graph, r.kube.pointers, r.kube.done = false, false, true
		}
		if strings.Contains(rest, "checkpoint storage") {
			r.job.latest, r.job.restored, r.job.done = flink.Snapshot{}, nil, 0
		}
		s.w.failTriggers(r, "the job failed")
	})
}

// cause reads "class: message".
func cause(text string) *flink.Cause {
	class, msg, ok := strings.Cut(text, ": ")
	if !ok {
		return &flink.Cause{Message: text}
	}
	return &flink.Cause{Class: class, Message: msg}
}

// setFault says what goes wrong next, or stops going wrong with "off".
func (s *script) setFault(rest string) error {
	name, arg, _ := strings.Cut(rest, " ")
	f := &s.w.fault
	switch name {
	case "off":
		*f = faults{}
	case "preflight":
		f.preflight = &flink.Refusal{Kind: flink.RefusedProgram, Cause: *cause(arg)}
	case "jar":
		f.ensure = &flink.Refusal{Kind: flink.RefusedJar, Cause: flink.Cause{Message: arg}}
	case "ensure":
		n, err := strconv.Atoi(arg)
		f.ensureErr = n
		return err
	case "submit":
		f.submit = &flink.Refusal{Kind: flink.RefusedTransient, Cause: *cause(arg)}
	case "answer":
		f.answerLost = true
	case "two-jobs":
		f.twoJobs = true
	case "restores":
		if arg == "empty" {
			arg = ""
		}
		f.restore = &arg
	case "start-fails":
		f.startFails = cause(arg)
	case "vain": // tasks are deployed again and again and never run
		f.vain = cause(arg)
	case "savepoints":
		n, err := strconv.Atoi(arg)
		f.saveFails = n
		return err
	case "savepoint-hangs":
		f.saveStuck = true
	case "unreadable":
		f.unreadable = arg
	case "undead":
		f.undead = true
	case "crashes":
		f.crashes = arg
	case "jm-exits":
		f.jmExits = true
	case "stuck":
		f.stuck = true
		return s.withJob(func(s *script, r *run) {
			if r.job.state == flink.JobRunning {
				r.job.become(flink.JobRestarting, s.w.now)
				r.job.pos = r.job.from
				s.w.failTriggers(r, "a task failed")
			}
		})
	case "forgets":
		f.forgets = true
	case "swallows":
		f.swallows = true
	case "cancel-hangs":
		f.cancelHang = true
	case "no-room":
		f.ensure = &flink.Refusal{Kind: flink.RefusedNoRoom, Cause: flink.Cause{Message: arg}}
	case "submit-program":
		f.submit = &flink.Refusal{Kind: flink.RefusedProgram, Cause: *cause(arg)}
	case "fights":
		f.fights = arg
	case "no-proof":
		f.noProof = true
	case "crash":
		f.crash = arg
	case "late":
		d, err := time.ParseDuration(arg)
		f.late = d
		return err
	case "blind":
		f.blind = arg
	case "other-job":
		return s.withJob(func(_ *script, r *run) { r.others = []string{arg} })
	default:
		return fmt.Errorf("no fault %q", name)
	}
	return nil
}
