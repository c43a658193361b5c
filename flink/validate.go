package flink

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a spec.
const (
	MaxSpecBytes     = 256 << 10
	MaxPathBytes     = 4 << 10 // of a snapshot
	MaxParallelism   = 1024
	MaxSlots         = 64
	MaxArgs          = 256
	MaxLabels        = 64
	MinCheckpointing = 100 * time.Millisecond
	MaxCheckpointing = 24 * time.Hour
)

// UserLib is the directory that a jar's local:// URI must be below.
const UserLib = "/opt/flink/usrlib"

// Fault is one thing wrong with a job, what stands there, and what would be right.
type Fault struct {
	Field  string // path of the manifest, such as spec.parallelism
	Value  string // shortened when long, hidden when it may be a secret
	Remedy string
}

// String is the fault in one line.
func (f Fault) String() string {
	if f.Value == "" {
		return f.Field + ": " + f.Remedy
	}
	return fmt.Sprintf("%s: %q: %s", f.Field, f.Value, f.Remedy)
}

var (
	nameForm       = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,43}[a-z0-9])?$`)
	labelKeyForm   = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	labelValueForm = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)
	classForm      = regexp.MustCompile(`^[\p{L}_$][\p{L}\p{N}_$]*(\.[\p{L}_$][\p{L}\p{N}_$]*)*$`)
	keyForm        = regexp.MustCompile(`^[A-Za-z0-9$]([-A-Za-z0-9_.$]*[A-Za-z0-9_$])?$`)
	imageForm      = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._:/@-]{0,511}$`)
)

// storageSchemes are the schemes under which Flink keeps and reads state.
var storageSchemes = []string{"file", "s3", "s3a", "s3p", "gs", "abfs", "abfss", "wasb", "wasbs", "hdfs", "viewfs", "oss"}

// Validate names every fault of a job at once, in the order of the manifest;
// none means that it may be taken. What Default fills in may be left open.
// Whether the tenant and the cluster exist is the caller's to ask.
func Validate(tenant, name string, labels map[string]string, s Spec) []Fault {
	var f faults
	if !nameForm.MatchString(name) {
		f.add("metadata.name", name, nameRemedy)
	}
	if !nameForm.MatchString(tenant) {
		f.add("metadata.tenant", tenant, nameRemedy)
	}
	f.labels(labels)
	if n := size(labels, s); n > MaxSpecBytes {
		f.add("spec", "", fmt.Sprintf("is %d bytes, must be at most %d: put large things into the jar or into files", n, MaxSpecBytes))
		return f.list // the rest would only repeat megabytes
	}
	s = Default(s)
	f.placement(s)
	f.program(s)
	f.shape(s)
	f.state(s)
	f.configuration(s.FlinkConfiguration)
	if s.StartFrom.Snapshot != "" {
		f.location("spec.startFrom.snapshot", s.StartFrom.Snapshot)
	}
	f.oneOf("spec.switch", s.Switch, SwitchWarm, SwitchCold)
	return f.list
}

const nameRemedy = "must be 1 to 45 of a-z, 0-9 and -, beginning with a letter and not ending with -"

// faults collects; each method looks at one part of a job.
type faults struct{ list []Fault }

// add is the only way into the list, so that no fault repeats a secret.
func (f *faults) add(field, value, remedy string) {
	switch {
	case credentialIn(value) != "":
		value = masked(value)
	case len(value) > 120:
		value = strings.ToValidUTF8(value[:100], "") + "…"
	}
	f.list = append(f.list, Fault{Field: field, Value: strings.ToValidUTF8(value, "\uFFFD"), Remedy: remedy})
}

func (f *faults) secret(field, value, what string) {
	f.list = append(f.list, Fault{
		Field: field, Value: masked(value),
		Remedy: "looks like " + what + ": the hub keeps no secrets, so give it to the job where it runs and only name it here",
	})
}

// text checks what holds for every text: it is UTF-8, one line, and no secret.
func (f *faults) text(field, value string) bool {
	if what := credentialIn(value); what != "" {
		f.secret(field, value, what)
		return false
	}
	if !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		f.add(field, value, "must be one line of UTF-8 without control characters")
		return false
	}
	return true
}

func (f *faults) oneOf(field, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		f.add(field, value, "must be "+strings.Join(allowed, " or ")+meant(value, allowed))
	}
}

func (f *faults) between(field string, value, low, high int32) {
	if value < low || value > high {
		f.add(field, fmt.Sprint(value), fmt.Sprintf("must be %d to %d", low, high))
	}
}

func (f *faults) labels(labels map[string]string) {
	if len(labels) > MaxLabels {
		f.add("metadata.labels", fmt.Sprint(len(labels)), fmt.Sprintf("must be at most %d", MaxLabels))
		return
	}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		field := fmt.Sprintf("metadata.labels[%q]", k)
		switch v := labels[k]; {
		case !labelKeyForm.MatchString(k):
			f.add("metadata.labels", k, "a label's name must be at most 63 of A-Z, a-z, 0-9, -, _ and ., perhaps after a DNS name and /")
		case strings.HasPrefix(k, "waterwheel.dev/"):
			f.add("metadata.labels", k, "labels below waterwheel.dev/ are written by Waterwheel only")
		case credentialIn(v) != "":
			f.secret(field, v, credentialIn(v))
		case !labelValueForm.MatchString(v):
			f.add(field, v, "must be at most 63 of A-Z, a-z, 0-9, -, _ and ., beginning and ending with a letter or digit")
		}
	}
}

func (f *faults) placement(s Spec) {
	switch {
	case s.Cluster == "":
		f.add("spec.cluster", "", "is required: the name of the cluster that runs the job")
	case !nameForm.MatchString(s.Cluster):
		f.add("spec.cluster", s.Cluster, nameRemedy)
	}
	f.oneOf("spec.state", s.State, StateRunning, StateSuspended)
	f.version(s.FlinkVersion)
	if s.Image != "" && f.text("spec.image", s.Image) && !imageForm.MatchString(s.Image) {
		f.add("spec.image", s.Image, "must be a container image such as registry.example.org/team/flink:2.3")
	}
}

func (f *faults) version(v string) {
	supported := "supported are " + strings.Join(flinkVersions, " and ")
	if slices.Contains(flinkVersions, v) {
		return
	}
	if v == "" {
		f.add("spec.flinkVersion", "", "is required: "+supported)
		return
	}
	for _, known := range flinkVersions {
		if rest, ok := strings.CutPrefix(strings.TrimPrefix(v, "v"), known); ok && (rest == "" || rest[0] == '.') {
			f.add("spec.flinkVersion", v, fmt.Sprintf("write %q: major and minor only (%s)", known, supported))
			return
		}
	}
	f.add("spec.flinkVersion", v, supported)
}

func (f *faults) program(s Spec) {
	f.jar(s.Jar.URI)
	switch {
	case s.Jar.EntryClass == "":
		f.add("spec.jar.entryClass", "", "is required: the class whose main() builds the job, such as com.example.Main")
	case !f.text("spec.jar.entryClass", s.Jar.EntryClass):
	case !classForm.MatchString(s.Jar.EntryClass) || len(s.Jar.EntryClass) > 512:
		f.add("spec.jar.entryClass", s.Jar.EntryClass, "must be the full name of a Java class, such as com.example.Main")
	}
	if len(s.Jar.Args) > MaxArgs {
		f.add("spec.jar.args", fmt.Sprint(len(s.Jar.Args)), fmt.Sprintf("must be at most %d", MaxArgs))
		return
	}
	for i, arg := range s.Jar.Args {
		f.argument(s.Jar.Args, i, arg)
	}
}

// argument refuses secrets also where the flag before it, or the part before =, tells what it is.
func (f *faults) argument(args []string, i int, arg string) {
	field := fmt.Sprintf("spec.jar.args[%d]", i)
	name, value, assigned := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	switch {
	case assigned && value != "" && credentialName(name) && !reference.MatchString(value):
		f.secret(field, value, "the value of a secret")
	case i > 0 && isFlag(args[i-1]) && !isFlag(arg) && arg != "" && !reference.MatchString(arg) &&
		credentialName(strings.TrimLeft(args[i-1], "-")):
		f.secret(field, arg, "the value of "+shown(args[i-1]))
	case assigned && reference.MatchString(value):
	default:
		f.text(field, arg)
	}
}

func isFlag(arg string) bool {
	return strings.HasPrefix(arg, "-") && strings.TrimLeft(arg, "-") != "" && !strings.Contains(arg, "=")
}

// shown is a flag as a remedy may repeat it.
func shown(flag string) string {
	if len(flag) > 60 || credentialIn(flag) != "" {
		return "a flag for secrets"
	}
	return flag
}

func (f *faults) jar(uri string) {
	const field, remedy = "spec.jar.uri", "must be local://" + UserLib + "/NAME.jar or file:///PATH/NAME.jar"
	switch {
	case uri == "":
		f.add(field, "", "is required: "+remedy[len("must be "):])
		return
	case !f.text(field, uri):
		return
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Host != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" ||
		strings.ContainsAny(uri, "%#?"):
		f.add(field, uri, remedy)
	case u.Scheme != "local" && u.Scheme != "file":
		f.add(field, uri, remedy+": the jar must be where the job runs")
	case u.Path != path.Clean(u.Path):
		f.add(field, uri, "must have no .., no // and no . in its path")
	case !strings.HasPrefix(u.Path, "/") || !strings.HasSuffix(u.Path, ".jar"):
		f.add(field, uri, remedy)
	case u.Scheme == "local" && !strings.HasPrefix(u.Path, UserLib+"/"):
		f.add(field, uri, "must be below local://"+UserLib+"/")
	}
}

func (f *faults) shape(s Spec) {
	f.between("spec.parallelism", s.Parallelism, 1, MaxParallelism)
	f.memory("spec.jobManager.memory", s.JobManager.Memory, MinJobManagerMemory)
	f.cpu("spec.jobManager.cpu", s.JobManager.CPU)
	f.memory("spec.taskManager.memory", s.TaskManager.Memory, MinTaskManagerMemory)
	f.cpu("spec.taskManager.cpu", s.TaskManager.CPU)
	f.between("spec.taskManager.slots", s.TaskManager.Slots, 1, MaxSlots)
}

func (f *faults) memory(field, value string, least int64) {
	n, err := ParseMemory(value)
	switch {
	case err != nil:
		f.add(field, value, ErrMemory.Error())
	case n < least:
		f.add(field, value, fmt.Sprintf("must be at least %dMi: the process does not start with less", least>>20))
	}
}

func (f *faults) cpu(field, value string) {
	n, err := ParseCPU(value)
	switch {
	case err != nil:
		f.add(field, value, ErrCPU.Error())
	case n < 10:
		f.add(field, value, `must be at least "10m"`)
	}
}

func (f *faults) state(s Spec) {
	if s.UpgradeMode == UpgradeLastState {
		f.add("spec.upgradeMode", s.UpgradeMode, "last-state comes later: use savepoint or stateless")
	} else {
		f.oneOf("spec.upgradeMode", s.UpgradeMode, UpgradeSavepoint, UpgradeStateless)
	}
	if s.StateStorage.Root != "" {
		f.location("spec.stateStorage.root", s.StateStorage.Root)
	}
	d, err := time.ParseDuration(s.Checkpointing.Interval)
	switch {
	case err != nil:
		f.add("spec.checkpointing.interval", s.Checkpointing.Interval, `must be a duration such as "10s" or "5m"`)
	case d < MinCheckpointing || d > MaxCheckpointing:
		f.add("spec.checkpointing.interval", s.Checkpointing.Interval, "must be 100ms to 24h")
	}
}

// ValidateSnapshot holds the path of a snapshot that a person names: a URI of
// state storage, or an absolute path.
func ValidateSnapshot(field, path string) []Fault {
	var f faults
	uri := path
	if strings.HasPrefix(path, "/") {
		uri = "file://" + path
	}
	switch {
	case len(path) > MaxPathBytes:
		f.add(field, path, fmt.Sprintf("is %d bytes, must be at most %d", len(path), MaxPathBytes))
	case assignsCredential(path):
		f.secret(field, path, "the value of a secret")
	default:
		f.location(field, uri)
	}
	return f.list
}

// location checks a place where state is kept or read from.
func (f *faults) location(field, uri string) {
	if !f.text(field, uri) {
		return
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Scheme == "" || u.Opaque != "":
		f.add(field, uri, "must be an absolute URI such as s3://bucket/prefix or file:///path")
	case !slices.Contains(storageSchemes, u.Scheme):
		f.add(field, uri, "must have one of the schemes "+strings.Join(storageSchemes, ", ")+meant(u.Scheme, storageSchemes))
	case u.RawQuery != "" || u.Fragment != "" || slices.Contains(strings.Split(u.Path, "/"), ".."):
		f.add(field, uri, "must be a plain path, without .., ? and #")
	case u.Scheme == "file" && (u.Host != "" || len(strings.Trim(u.Path, "/")) == 0):
		f.add(field, uri, "must be file:/// and an absolute path")
	case u.Scheme != "file" && u.Scheme != "hdfs" && u.Scheme != "viewfs" && u.Host == "":
		f.add(field, uri, "must name a bucket, such as "+u.Scheme+"://bucket/prefix")
	}
}

func (f *faults) configuration(c map[string]string) {
	keys := slices.Sorted(maps.Keys(c))
	for i, k := range keys {
		f.configurationEntry(k, c[k])
		for _, below := range keys[i+1:] {
			if strings.HasPrefix(below, k+".") {
				f.add(configurationField(k), c[k], fmt.Sprintf("is also a parent of %q, which Flink cannot read: drop one", below))
				break
			}
		}
	}
}

func (f *faults) configurationEntry(k, v string) {
	if credentialIn(k) != "" || !keyForm.MatchString(k) || len(k) > 256 {
		f.add("spec.flinkConfiguration", k, "a key must be at most 256 of A-Z, a-z, 0-9, -, _, $ and .")
		return
	}
	field := configurationField(k)
	if now := renamedTo(k); now != "" && reservedWhy(k) == "" {
		f.add(field, hiddenBy(k, v), fmt.Sprintf("is the old name of %q: write that", now))
	}
	if why := reservedWhy(k); why != "" {
		f.add(field, hiddenBy(k, v), "is reserved: "+why)
		return
	}
	if credentialName(k) && v != "" && !reference.MatchString(v) {
		f.secret(field, v, "the value of a secret")
		return
	}
	f.text(field, v)
}

// hiddenBy is a value as it may be repeated under its key. One that holds settings of its own, as Java options do, may
// not when one of these is a usual name for a secret.
func hiddenBy(key, value string) string {
	if credentialName(key) || assignsCredential(value) {
		return masked(value)
	}
	return value
}

// size is about how many bytes the labels and the spec take on the wire, never less.
func size(labels map[string]string, s Spec) int {
	const each = 8 // tag and length of a field, generously
	n := 32 * each
	for _, v := range []string{
		s.Cluster, s.State, s.FlinkVersion, s.Image, s.Jar.URI, s.Jar.EntryClass, s.UpgradeMode, s.Switch, s.StateStorage.Root,
		s.Checkpointing.Interval, s.JobManager.CPU, s.JobManager.Memory, s.TaskManager.CPU, s.TaskManager.Memory, s.StartFrom.Snapshot,
	} {
		n += len(v)
	}
	for _, v := range s.Jar.Args {
		n += each + len(v)
	}
	for _, m := range []map[string]string{labels, s.FlinkConfiguration} {
		for k, v := range m {
			n += 3*each + len(k) + len(v)
		}
	}
	return n
}
