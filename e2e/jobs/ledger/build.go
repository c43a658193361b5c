package ledger

import (
	"archive/zip"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

// MainClass is the job's entry class.
const MainClass = "dev.waterwheel.e2e.Ledger"

//go:embed Ledger.java
var source []byte

// release is the Java that the jar runs on, and any newer one.
const release = "11"

// Options says what to build against and where to keep the jar.
type Options struct {
	// FlinkLib is the lib directory of a distribution. Build against the oldest
	// Flink in use: such a jar runs on the newer ones too, not the other way round.
	FlinkLib string
	CacheDir string // default: flinkdist.DefaultCacheDir
	Javac    string // path of a compiler; default: the one flinkdist.FindJDK finds
}

// Build returns the path of the job's jar, compiling it if it is not cached:
// some seconds. Safe to call from many goroutines and processes at once.
func Build(ctx context.Context, opts Options) (jar string, err error) {
	if opts.CacheDir == "" {
		if opts.CacheDir, err = flinkdist.DefaultCacheDir(); err != nil {
			return "", fmt.Errorf("build the ledger job: %w", err)
		}
	}
	jar, err = jarPath(opts)
	if err != nil {
		return "", fmt.Errorf("build the ledger job: %w", err)
	}
	if _, err := os.Stat(jar); err == nil {
		return jar, nil
	}
	if opts.Javac == "" {
		jdk, err := flinkdist.FindJDK(ctx, flinkdist.Compiler, nil)
		if err != nil {
			return "", fmt.Errorf("build the ledger job: %w", err)
		}
		opts.Javac = jdk.Javac
	}
	if err := build(ctx, opts, jar); err != nil {
		return "", fmt.Errorf("build the ledger job: %w", err)
	}
	return jar, nil
}

// jarPath names the jar by all that decides about its content.
func jarPath(opts Options) (string, error) {
	version, err := libVersion(opts.FlinkLib)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", version, release, source)
	dir, err := filepath.Abs(filepath.Join(opts.CacheDir, "jobs"))
	return filepath.Join(dir, fmt.Sprintf("ledger-%x.jar", h.Sum(nil)[:8])), err
}

// libVersion is the Flink version whose jars lie in lib.
func libVersion(lib string) (string, error) {
	for _, prefix := range []string{"flink-dist-", "flink-runtime-"} {
		jars, err := filepath.Glob(filepath.Join(lib, prefix+"[0-9]*.jar"))
		if err != nil {
			return "", err
		}
		if len(jars) == 1 {
			return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(jars[0]), prefix), ".jar"), nil
		}
	}
	return "", fmt.Errorf("no flink-dist jar in %q", lib)
}

// build compiles in a directory beside the jar and publishes it by a rename, so
// that racing builders replace a jar by an equal one.
func build(ctx context.Context, opts Options, jar string) error {
	if err := os.MkdirAll(filepath.Dir(jar), 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(jar), ".build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	java, classes, out := filepath.Join(work, "Ledger.java"), filepath.Join(work, "classes"), filepath.Join(work, "ledger.jar")
	if err := os.WriteFile(java, source, 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, opts.Javac, "-J-Xmx256m", "-J-XX:+UseSerialGC", "-J-XX:TieredStopAtLevel=1",
		"-encoding", "UTF-8", "--release", release, "-proc:none", "-cp", filepath.Join(opts.FlinkLib, "*"), "-d", classes, java)
	cmd.WaitDelay = 5 * time.Second
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("javac: %w: %s", cmp.Or(context.Cause(ctx), err), strings.TrimSpace(string(said)))
	}
	if err := pack(classes, out); err != nil {
		return fmt.Errorf("pack the jar: %w", err)
	}
	return os.Rename(out, jar)
}

// pack writes a jar of the class files. Its bytes depend on theirs alone: the
// entries are in order and carry no times.
func pack(classes, out string) (err error) {
	file, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	z := zip.NewWriter(file)
	manifest, err := z.Create("META-INF/MANIFEST.MF")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(manifest, "Manifest-Version: 1.0\r\nMain-Class: %s\r\n\r\n", MainClass); err != nil {
		return err
	}
	err = filepath.WalkDir(classes, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(classes, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		w, err := z.Create(filepath.ToSlash(name))
		if err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return file.Sync()
}
