package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

// image is the API as the last closed issue left it; `buf breaking` compares with it.
const image = "proto/waterwheel.binpb"

// tool is the command line of a pinned tool, built by the Go command and cached by it.
func tool(file string, args ...string) []string {
	return append([]string{"go", "tool", "-modfile=.ci/tools/" + file + ".mod"}, args...)
}

// testSteps prove that the thing works, from the cheapest proof to the dearest.
func testSteps(version string) []step {
	return []step{
		{"cc", 10 * time.Minute, compiler},
		{"modules", 15 * time.Minute, modules},
		{"fetch", 15 * time.Minute, command("go", "run", "./e2e/fetch", "-install")},
		{"apiserver", 30 * time.Minute, in("e2e/node", "go", "run", ".", "bin", "-out", "-", "etcd", "kube-apiserver", "kube-controller-manager")},
		{"helm", 30 * time.Minute, command(tool("helm", "helm", "version")...)},
		{"unit", 30 * time.Minute, tests([]string{world}, "-shuffle=on")},
		{"unit-kind", 15 * time.Minute, in("e2e/kind", "go", "test", "-shuffle=on", "./...")},
		{"world", 15 * time.Minute, command("go", "test", "-count=1", "-v", "./e2e/world")},
		{"ground", 15 * time.Minute, command("go", "run", "./e2e/ground")},
		{"story", 20 * time.Minute, command("go", "run", "./e2e/story", "-short", "-version", version)},
	}
}

// checkSteps prove that the tree is in order.
func checkSteps() []step {
	return []step{
		{"generated", 15 * time.Minute, generated},
		{"tidy", 5 * time.Minute, command("go", "mod", "tidy", "-diff")},
		{"tidy-kind", 5 * time.Minute, in("e2e/kind", "go", "mod", "tidy", "-diff")},
		{"tidy-node", 5 * time.Minute, in("e2e/node", "go", "mod", "tidy", "-diff")},
		{"format", 5 * time.Minute, formatted},
		{"buf-lint", 5 * time.Minute, command(tool("buf", "buf", "lint")...)},
		{"buf-breaking", 5 * time.Minute, unbroken},
		{"lint", 20 * time.Minute, command(tool("lint", "golangci-lint", "run")...)},
		{"lint-kind", 15 * time.Minute, in("e2e/kind", "go", "tool", "-modfile=../../.ci/tools/lint.mod", "golangci-lint", "run", "--config=../../.golangci.yml")},
		{"race", 30 * time.Minute, tests([]string{charts, planner}, "-race", "-short", "-shuffle=on")},
	}
}

// lastSteps need everything before them, and take longest when nothing is cached.
func lastSteps() []step {
	return []step{
		{"story-kind", 50 * time.Minute, in("e2e/kind", "go", "run", "./story", "-short", "-artifacts", "../../artifacts/story-kind", "-deadline", "47m")},
	}
}

// choose turns the arguments into steps.
func choose(args []string, version string) ([]step, error) {
	all := slices.Concat(testSteps(version), checkSteps(), lastSteps())
	switch {
	case slices.Equal(args, []string{"test"}):
		return all, nil
	case slices.Equal(args, []string{"check"}):
		return checkSteps(), nil
	}
	var chosen []step
	for _, name := range args {
		i := slices.IndexFunc(all, func(s step) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no step %q: use test, check, or of %s", name, names(all))
		}
		chosen = append(chosen, all[i])
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("what to run? test, check, or of %s", names(all))
	}

	return chosen, nil
}

func names(steps []step) string {
	var out []string
	for _, s := range steps {
		out = append(out, s.name)
	}

	return strings.Join(out, " ")
}

// Packages that not every step runs.
const (
	world   = "/e2e/world"  // its tests are a step of their own, since their lines are wanted
	charts  = "/e2e/charts" // what runs there is helm
	planner = "/flink/plan" // pure, with no goroutine, and long properties
)

// each is how long the tests of one package may take: less than their step, so that one that hangs says where.
const each = "-timeout=20m"

// tests runs the tests of every package but some, named by how their paths end.
func tests(without []string, flags ...string) func(context.Context, io.Writer) error {
	return func(ctx context.Context, out io.Writer) error {
		list, err := exec.CommandContext(ctx, "go", "list", "./...").Output()
		if err != nil {
			return fmt.Errorf("listing the packages: %w", err)
		}
		packages := slices.DeleteFunc(strings.Fields(string(list)), func(p string) bool {
			return slices.ContainsFunc(without, func(end string) bool { return strings.HasSuffix(p, end) })
		})

		return command(slices.Concat([]string{"go", "test", each}, flags, packages)...)(ctx, out)
	}
}

// compiler has a C compiler installed where the Go command finds none: the race detector needs one. First of all, since
// the Go command builds differently where it finds one.
func compiler(ctx context.Context, out io.Writer) error {
	said, err := exec.CommandContext(ctx, "go", "env", "CC").Output()
	if err != nil {
		return fmt.Errorf("asking the Go command for its C compiler: %w", err)
	}
	cc := strings.Fields(string(said))
	if len(cc) > 0 {
		if at, err := exec.LookPath(cc[0]); err == nil {
			fmt.Fprintf(out, "cc path=%s\n", at)

			return nil
		}
	}
	say := func(line string) { fmt.Fprintln(out, line) }
	if err := flinkdist.InstallPackages(ctx, say, "gcc", "libc6-dev"); err != nil {
		return fmt.Errorf("the race detector needs a C compiler: %w", err)
	}

	return nil
}

// generated makes the code anew beside the committed one and compares. The plugins are built first, one after another,
// since buf would have them built side by side and do their common work several times.
func generated(ctx context.Context, out io.Writer) error {
	for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc", "protoc-gen-connect-go"} {
		if err := command(tool("gen", plugin, "--version")...)(ctx, out); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "waterwheel-generated-")
	if err != nil {
		return fmt.Errorf("making room for generated code: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := command(tool("buf", "buf", "generate", "-o", dir)...)(ctx, out); err != nil {
		return err
	}
	diffs, err := differences(os.DirFS("proto/gen"), os.DirFS(dir+"/proto/gen"))
	if err != nil {
		return err
	}
	for _, d := range diffs {
		fmt.Fprintln(out, d)
	}
	if len(diffs) > 0 {
		return errors.New("generated code is not fresh: run `make generate` and commit proto/gen")
	}

	return nil
}

// differences lists the files that are not the same in both trees.
func differences(committed, fresh fs.FS) ([]string, error) {
	have, err := contents(committed)
	if err != nil {
		return nil, err
	}
	want, err := contents(fresh)
	if err != nil {
		return nil, err
	}
	var out []string
	for name, text := range want {
		switch got, ok := have[name]; {
		case !ok:
			out = append(out, "missing: "+name)
		case !bytes.Equal(got, text):
			out = append(out, "differs: "+name)
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok {
			out = append(out, "left over: "+name)
		}
	}
	slices.Sort(out)

	return out, nil
}

func contents(tree fs.FS) (map[string][]byte, error) {
	out := make(map[string][]byte)
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		out[name], err = fs.ReadFile(tree, name)

		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading generated code: %w", err)
	}

	return out, nil
}

// formatted wants every committed file as gofumpt and buf write it.
func formatted(ctx context.Context, out io.Writer) error {
	list, err := exec.CommandContext(ctx, "git", "ls-files", "--", "*.go", ":!proto/gen").Output()
	if err != nil {
		return fmt.Errorf("listing Go files: %w", err)
	}
	// Built first: a tool that is fetched says so in the output that is looked at below.
	if err := command(tool("dev", "gofumpt", "--version")...)(ctx, out); err != nil {
		return err
	}
	var found bytes.Buffer
	args := append(tool("dev", "gofumpt", "-l"), strings.Fields(string(list))...)
	if err := command(args...)(ctx, io.MultiWriter(out, &found)); err != nil {
		return err
	}
	if found.Len() > 0 {
		return errors.New("these files are not formatted: run `make fmt`")
	}

	return command(tool("buf", "buf", "format", "-d", "--exit-code")...)(ctx, out)
}

// unbroken wants the API to be readable by everybody who could read the last closed issue's.
func unbroken(ctx context.Context, out io.Writer) error {
	if _, err := os.Stat(image); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(out, "not checked: there is no %s, so no API was released yet (`make image` writes it)\n", image)
		return nil
	}

	return command(tool("buf", "buf", "breaking", "--against", image)...)(ctx, out)
}
