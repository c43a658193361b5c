package flink

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func validSpec() Spec {
	return Spec{
		Cluster: "eu-1", FlinkVersion: "2.3",
		Jar: Jar{URI: "local:///opt/flink/usrlib/job.jar", EntryClass: "com.example.Main", Args: []string{"--rate", "100"}},
	}
}

func TestValidateTakesWhatIsRight(t *testing.T) {
	for name, edit := range map[string]func(*Spec){
		"least":               func(*Spec) {},
		"defaulted":           func(s *Spec) { *s = Default(*s) },
		"file jar":            func(s *Spec) { s.Jar.URI = "file:///srv/jobs/a.jar" },
		"inner class":         func(s *Spec) { s.Jar.EntryClass = "com.example.Outer$Main" },
		"older flink":         func(s *Spec) { s.FlinkVersion = "1.20" },
		"image":               func(s *Spec) { s.Image = "registry.example.org:5000/team/flink:2.3@sha256:abc" },
		"s3 root":             func(s *Spec) { s.StateStorage.Root = "s3://bucket/prefix" },
		"azure root":          func(s *Spec) { s.StateStorage.Root = "abfs://container@account.dfs.core.windows.net/p" },
		"file root":           func(s *Spec) { s.StateStorage.Root = "file:///var/lib/state" },
		"snapshot":            func(s *Spec) { s.StartFrom.Snapshot = "s3://bucket/savepoints/savepoint-1" },
		"restart strategy":    func(s *Spec) { s.FlinkConfiguration = map[string]string{"restart-strategy.type": "exponential-delay"} },
		"num retained":        func(s *Spec) { s.FlinkConfiguration = map[string]string{"execution.checkpointing.num-retained": "3"} },
		"flag with a path":    func(s *Spec) { s.Jar.Args = []string{"--password-file", "/etc/secret/x"} },
		"flag with reference": func(s *Spec) { s.Jar.Args = []string{"--password", "${DB_PASSWORD}", "--token=$(TOKEN)"} },
		"credentials provider": func(s *Spec) {
			s.FlinkConfiguration = map[string]string{"fs.s3a.aws.credentials.provider": "com.amazonaws.auth.WebIdentityTokenCredentialsProvider"}
		},
		"token by reference": func(s *Spec) { s.FlinkConfiguration = map[string]string{"my.api-token": "${API_TOKEN}"} },
		"random text": func(s *Spec) {
			s.Jar.Args = []string{"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
		},
		"url without user": func(s *Spec) { s.Jar.Args = []string{"jdbc:postgresql://db:5432/x", "http://a.b:80/@c"} },
	} {
		t.Run(name, func(t *testing.T) {
			s := validSpec()
			edit(&s)
			if faults := Validate("default", "clicks", map[string]string{"team": "web", "example.org/x": ""}, s); len(faults) > 0 {
				t.Errorf("faults: %v", faults)
			}
		})
	}
}

func TestValidateNamesFieldValueAndRemedy(t *testing.T) {
	config := func(kv ...string) func(*Spec) {
		return func(s *Spec) {
			s.FlinkConfiguration = map[string]string{}
			for i := 0; i < len(kv); i += 2 {
				s.FlinkConfiguration[kv[i]] = kv[i+1]
			}
		}
	}
	for name, tc := range map[string]struct {
		edit func(*Spec)
		want string // begins the one fault
	}{
		"no cluster":       {func(s *Spec) { s.Cluster = "" }, "spec.cluster: is required"},
		"bad cluster":      {func(s *Spec) { s.Cluster = "EU" }, `spec.cluster: "EU": must be 1 to 45`},
		"state":            {func(s *Spec) { s.State = "runing" }, `spec.state: "runing": must be running or suspended (did you mean "running"?)`},
		"no version":       {func(s *Spec) { s.FlinkVersion = "" }, "spec.flinkVersion: is required: supported are 1.20 and 2.3"},
		"patch version":    {func(s *Spec) { s.FlinkVersion = "1.20.5" }, `spec.flinkVersion: "1.20.5": write "1.20"`},
		"other version":    {func(s *Spec) { s.FlinkVersion = "2.2" }, `spec.flinkVersion: "2.2": supported are 1.20 and 2.3`},
		"not quite 2.3":    {func(s *Spec) { s.FlinkVersion = "2.30" }, `spec.flinkVersion: "2.30": supported`},
		"image":            {func(s *Spec) { s.Image = "has space" }, "spec.image"},
		"no jar":           {func(s *Spec) { s.Jar.URI = "" }, "spec.jar.uri: is required: local://"},
		"http jar":         {func(s *Spec) { s.Jar.URI = "https://x.org/a.jar" }, `spec.jar.uri: "https://x.org/a.jar": must be`},
		"jar climbs":       {func(s *Spec) { s.Jar.URI = "local:///opt/flink/usrlib/../conf/a.jar" }, "spec.jar.uri"},
		"jar climbs coded": {func(s *Spec) { s.Jar.URI = "local:///opt/flink/usrlib/%2e%2e/a.jar" }, "spec.jar.uri"},
		"jar elsewhere":    {func(s *Spec) { s.Jar.URI = "local:///opt/flink/lib/a.jar" }, `spec.jar.uri: "local:///opt/flink/lib/a.jar": must be below local:///opt/flink/usrlib/`},
		"no jar file":      {func(s *Spec) { s.Jar.URI = "file:///a/b" }, "spec.jar.uri"},
		"no class":         {func(s *Spec) { s.Jar.EntryClass = "" }, "spec.jar.entryClass: is required"},
		"class":            {func(s *Spec) { s.Jar.EntryClass = "com..Main" }, `spec.jar.entryClass: "com..Main": must be`},
		"many args":        {func(s *Spec) { s.Jar.Args = make([]string, MaxArgs+1) }, `spec.jar.args: "257": must be at most 256`},
		"arg with NUL":     {func(s *Spec) { s.Jar.Args = []string{"a\x00b"} }, "spec.jar.args[0]"},
		"parallelism":      {func(s *Spec) { s.Parallelism = -1 }, `spec.parallelism: "-1": must be 1 to 1024`},
		"parallelism high": {func(s *Spec) { s.Parallelism = 1025 }, `spec.parallelism: "1025": must be 1 to 1024`},
		"slots":            {func(s *Spec) { s.TaskManager.Slots = 65 }, `spec.taskManager.slots: "65": must be 1 to 64`},
		"jm memory":        {func(s *Spec) { s.JobManager.Memory = "64Mi" }, `spec.jobManager.memory: "64Mi": must be at least 320Mi`},
		"tm memory":        {func(s *Spec) { s.TaskManager.Memory = "1 GB" }, `spec.taskManager.memory: "1 GB": want bytes`},
		"cpu":              {func(s *Spec) { s.TaskManager.CPU = "half" }, `spec.taskManager.cpu: "half": want cores`},
		"no cpu":           {func(s *Spec) { s.JobManager.CPU = "0" }, "spec.jobManager.cpu"},
		"last state":       {func(s *Spec) { s.UpgradeMode = "last-state" }, `spec.upgradeMode: "last-state": last-state comes later`},
		"mode":             {func(s *Spec) { s.UpgradeMode = "savepiont" }, `spec.upgradeMode: "savepiont": must be savepoint or stateless (did you mean "savepoint"?)`},
		"switch":           {func(s *Spec) { s.Switch = "hot" }, `spec.switch: "hot": must be warm or cold`},
		"interval":         {func(s *Spec) { s.Checkpointing.Interval = "10" }, `spec.checkpointing.interval: "10": must be a duration`},
		"interval low":     {func(s *Spec) { s.Checkpointing.Interval = "99ms" }, `spec.checkpointing.interval: "99ms": must be 100ms to 24h`},
		"root scheme":      {func(s *Spec) { s.StateStorage.Root = "ftp://x/y" }, `spec.stateStorage.root: "ftp://x/y": must have one of the schemes`},
		"root relative":    {func(s *Spec) { s.StateStorage.Root = "state" }, `spec.stateStorage.root: "state": must be an absolute URI`},
		"root no bucket":   {func(s *Spec) { s.StateStorage.Root = "s3:///y" }, "spec.stateStorage.root"},
		"root climbs":      {func(s *Spec) { s.StateStorage.Root = "s3://b/../c" }, "spec.stateStorage.root"},
		"snapshot":         {func(s *Spec) { s.StartFrom.Snapshot = "/a/b" }, "spec.startFrom.snapshot"},
		"too large":        {func(s *Spec) { s.Jar.Args = []string{strings.Repeat("x", MaxSpecBytes)} }, "spec: is 2"},

		"reserved":          {config("rest.port", "8081"), `spec.flinkConfiguration["rest.port"]: "8081": is reserved: the REST endpoint belongs to the agent alone`},
		"reserved slots":    {config("taskmanager.numberOfTaskSlots", "2"), `spec.flinkConfiguration["taskmanager.numberOfTaskSlots"]: "2": is reserved: set spec.taskManager.slots`},
		"reserved ha":       {config("high-availability.type", "kubernetes"), `spec.flinkConfiguration["high-availability.type"]`},
		"reserved internal": {config("$internal.x", "1"), `spec.flinkConfiguration["$internal.x"]: "1": is reserved`},
		"old key":           {config("state.backend", "rocksdb"), `spec.flinkConfiguration["state.backend"]: "rocksdb": is the old name of "state.backend.type"`},
		"old prefix":        {config("akka.ask.timeout", "10 s"), `spec.flinkConfiguration["akka.ask.timeout"]: "10 s": is the old name of "pekko.ask.timeout"`},
		"parent":            {config("a.b", "1", "a.b.c", "2"), `spec.flinkConfiguration["a.b"]: "1": is also a parent of "a.b.c"`},
		"bad key":           {config("a b", "1"), `spec.flinkConfiguration: "a b": a key must be`},
		"value of lines":    {config("a.b", "x\ny"), `spec.flinkConfiguration["a.b"]`},
	} {
		t.Run(name, func(t *testing.T) {
			s := validSpec()
			tc.edit(&s)
			faults := Validate("default", "clicks", nil, s)
			if len(faults) != 1 || !strings.HasPrefix(faults[0].String(), tc.want) {
				t.Errorf("got %v, want one beginning %s", faults, tc.want)
			}
		})
	}
}

func TestValidateNamesAllFaultsAtOnce(t *testing.T) {
	s := Spec{Parallelism: -1, UpgradeMode: "last-state", FlinkConfiguration: map[string]string{"rest.port": "1", "web.tmpdir": "x"}}
	got := map[string]int{}
	for _, f := range Validate("Default", "Clicks!", map[string]string{"": "x", "waterwheel.dev/a": "b"}, s) {
		got[f.Field]++
	}
	want := map[string]int{
		"metadata.name": 1, "metadata.tenant": 1, "metadata.labels": 2, "spec.cluster": 1, "spec.flinkVersion": 1, "spec.jar.uri": 1,
		"spec.jar.entryClass": 1, "spec.parallelism": 1, "spec.upgradeMode": 1,
		`spec.flinkConfiguration["rest.port"]`: 1, `spec.flinkConfiguration["web.tmpdir"]`: 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("fields %v\nwant   %v", got, want)
	}
}

func TestValidateRefusesCredentialsWithoutRepeatingThem(t *testing.T) {
	secret := strings.Repeat("s", 4) + "Zq81" // not a word of any message
	config := func(k, v string) func(*Spec) {
		return func(s *Spec) { s.FlinkConfiguration = map[string]string{k: v} }
	}
	args := func(a ...string) func(*Spec) { return func(s *Spec) { s.Jar.Args = a } }
	for name, tc := range map[string]struct {
		edit   func(*Spec)
		secret string
	}{
		"s3 secret key":     {config("s3.secret-key", secret), secret},
		"s3a camel":         {config("fs.oss.accessKeySecret", secret), secret},
		"azure key":         {config("fs.azure.account.key.acc.blob.core.windows.net", secret), secret},
		"jaas":              {config("properties.sasl.jaas.config", secret), secret},
		"reserved password": {config("security.ssl.rest.key-password", secret), secret},
		"aws id anywhere":   {config("a.b", "x AKIAIOSFODNN7EXAMPLE y"), "AKIAIOSFODNN7EXAMPLE"},
		"pem":               {args("-----BEGIN RSA PRIVATE KEY-----" + secret), secret},
		"jwt":               {args("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc" + secret), secret},
		"github":            {args("--x", "ghp_"+strings.Repeat("a", 36)), strings.Repeat("a", 36)},
		"slack":             {args("xoxb-123456789012-abc"), "123456789012"},
		"google":            {args("AIza" + strings.Repeat("B", 35)), strings.Repeat("B", 35)},
		"flag and value":    {args("--db-password", secret), secret},
		"flag assigned":     {args("--api-token=" + secret), secret},
		"assignment":        {args("user=me password=" + secret), secret},
		"url in arg":        {args("postgres://me:" + secret + "@db/x"), secret},
		"url in root":       {func(s *Spec) { s.StateStorage.Root = "s3://id:" + secret + "@bucket/x" }, secret},
		"url in snapshot":   {func(s *Spec) { s.StartFrom.Snapshot = "s3://id:" + secret + "@bucket/x" }, secret},
		"url in jar":        {func(s *Spec) { s.Jar.URI = "https://id:" + secret + "@host/x.jar" }, secret},
		"url in state":      {func(s *Spec) { s.State = "x://id:" + secret + "@host/x.jar" }, secret},
		"java options":      {config("env.java.opts.all", "-Xmx1g -Djavax.net.ssl.keyStorePassword="+secret), secret},
		"entry class":       {func(s *Spec) { s.Jar.EntryClass = "AKIAIOSFODNN7EXAMPLE" }, "AKIAIOSFODNN7EXAMPLE"},
		"authorization":     {config("a.header", "Bearer abcdefghijklmnop"+secret), secret},
	} {
		t.Run(name, func(t *testing.T) {
			s := validSpec()
			tc.edit(&s)
			faults := Validate("default", "clicks", nil, s)
			if len(faults) == 0 {
				t.Fatal("taken")
			}
			for _, f := range faults {
				if strings.Contains(f.String(), tc.secret) {
					t.Errorf("fault repeats the secret: %s", f)
				}
			}
		})
	}
}

func TestEveryReservedKeyHasItsReason(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range reserved {
		if r.why == "" || seen[r.key] {
			t.Errorf("%q: no reason, or twice", r.key)
		}
		seen[r.key] = true
	}
	for _, key := range []string{
		"rest.bind-port", "jobmanager.rpc.address", "jobmanager.bind-host", "taskmanager.host", "taskmanager.resource-id", "blob.server.port",
		"parallelism.default", "execution.checkpointing.dir", "execution.checkpointing.savepoint-dir", "execution.checkpointing.interval",
		"state.checkpoints.dir", "state.savepoints.dir", "execution.savepoint.path", "execution.state-recovery.path", "high-availability",
		"kubernetes.cluster-id", "web.upload.dir", "jobmanager.scheduler", "scheduler-mode", "jobmanager.memory.process.size",
		"taskmanager.memory.network.min", "taskmanager.cpu.cores", "security.ssl.rest.enabled", "io.tmp.dirs", "env.java.opts.all",
		"pipeline.jars", "pipeline.classpaths", "$internal.application.main", "job-result-store.storage-path", "execution.savepoint-restore-mode",
	} {
		if reservedWhy(key) == "" {
			t.Errorf("%q is not reserved", key)
		}
	}
	for _, key := range []string{"restart-strategy.type", "metrics.reporter.prom.port", "pekko.ask.timeout", "taskmanager.network.x", "pipeline.object-reuse"} {
		if why := reservedWhy(key); why != "" {
			t.Errorf("%q is reserved: %s", key, why)
		}
	}
}

func anySpec() *rapid.Generator[Spec] {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"", "running", "savepoint", "stateless", "warm", "1Gi", "0.5", "10s", "2.3", "eu-1", "s3://b/p", "local:///opt/flink/usrlib/a.jar", "com.A",
		"--password", "--x=y", "file:///a/b.jar", "s3://a:b@c", "%zz://",
	}))
	return rapid.Custom(func(t *rapid.T) Spec {
		draw := func(what string) string { return text.Draw(t, what) }
		s := Spec{
			Cluster: draw("cluster"), State: draw("state"), FlinkVersion: draw("version"), Image: draw("image"),
			Jar:         Jar{URI: draw("uri"), EntryClass: draw("class"), Args: rapid.SliceOfN(text, 0, 4).Draw(t, "args")},
			Parallelism: rapid.Int32Range(-2, 1030).Draw(t, "parallelism"), UpgradeMode: draw("mode"), Switch: draw("switch"),
			StateStorage: StateStorage{draw("root")}, Checkpointing: Checkpointing{draw("interval")},
			JobManager: Resources{draw("cpu"), draw("memory")}, StartFrom: StartFrom{draw("snapshot")},
			FlinkConfiguration: rapid.MapOfN(text, text, 0, 3).Draw(t, "configuration"),
		}
		s.TaskManager = TaskManager{Resources{draw("tmcpu"), draw("tmmemory")}, rapid.Int32Range(-1, 70).Draw(t, "slots")}
		return s
	})
}

func TestDefaultIsIdempotentAndValidityDoesNotDependOnIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySpec().Draw(t, "spec")
		once := Default(s)
		if d := Diff(once, Default(once)); len(d) > 0 {
			t.Fatalf("a second Default changed %v", d)
		}
		open, filled := Validate("t", "n", nil, s), Validate("t", "n", nil, once)
		if !slices.Equal(open, filled) {
			t.Fatalf("faults differ:\n%v\n%v", open, filled)
		}
		for _, f := range open {
			if f.Field == "" || f.Remedy == "" || len(f.Value) > 400 {
				t.Fatalf("fault without field or remedy: %+v", f)
			}
		}
	})
}

func TestDefaultOfValidIsValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := validSpec()
		s.Parallelism = rapid.Int32Range(0, MaxParallelism).Draw(t, "parallelism")
		s.TaskManager.Slots = rapid.Int32Range(0, MaxSlots).Draw(t, "slots")
		s.UpgradeMode = rapid.SampledFrom([]string{"", UpgradeStateless, UpgradeSavepoint}).Draw(t, "mode")
		s.Switch = rapid.SampledFrom([]string{"", SwitchWarm, SwitchCold}).Draw(t, "switch")
		if f := Validate("default", "clicks", nil, Default(s)); len(f) > 0 {
			t.Fatal(f)
		}
	})
}

func TestDiffNamesEachFieldByItsPath(t *testing.T) {
	before := Default(validSpec())
	after := before.Clone()
	after.Cluster, after.State, after.FlinkVersion, after.Image = "a", "b", "c", "d"
	after.Jar = Jar{"e", "f", []string{"g"}}
	after.Parallelism, after.UpgradeMode, after.StateStorage.Root, after.Checkpointing.Interval = 9, "h", "i", "j"
	after.JobManager, after.TaskManager = Resources{"k", "l"}, TaskManager{Resources{"m", "n"}, 9}
	after.FlinkConfiguration = map[string]string{"x.y": ""}
	after.StartFrom.Snapshot, after.Switch = "o", "p"
	want := []string{
		"spec.cluster", "spec.state", "spec.flinkVersion", "spec.image", "spec.jar.uri", "spec.jar.entryClass", "spec.jar.args", "spec.parallelism",
		"spec.upgradeMode", "spec.stateStorage.root", "spec.checkpointing.interval", "spec.jobManager.cpu", "spec.jobManager.memory",
		"spec.taskManager.cpu", "spec.taskManager.memory", "spec.taskManager.slots", `spec.flinkConfiguration["x.y"]`, "spec.startFrom.snapshot",
		"spec.switch",
	}
	if got := Diff(before, after); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	empty := before.Clone()
	empty.FlinkConfiguration = map[string]string{}
	if got := Diff(before, empty); len(got) > 0 {
		t.Errorf("none and empty differ: %q", got)
	}
}

func TestNearFindsTheWordThatWasMeant(t *testing.T) {
	words := []string{"parallelism", "jar", "switch", "flinkVersion"}
	for in, want := range map[string]string{
		"paralelism": "parallelism", "prallelism": "parallelism", "jra": "jar", "flinkversion": "flinkVersion", "zzz": "", "": "", "image": "",
	} {
		if got := Near(in, words); got != want {
			t.Errorf("Near(%q) = %q, want %q", in, got, want)
		}
	}
}
