package image

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cache"
	"github.com/waterwheel-io/waterwheel/internal/flinkdist"
)

// recipe changes when the same packages make another layer.
const recipe = "1"

// packages is the system below Flink. Dependencies are not followed: those of
// Java alone would bring printing, sound and fonts. What is left out by mistake
// is found by whole.
var packages = []string{
	"openjdk-17-jre-headless",
	"base-files", "libc6", "libgcc-s1", "libstdc++6", "zlib1g", // Java; RocksDB
	"bash", "libtinfo6", "dash", // init containers, Hadoop, people
	"coreutils", "libacl1", "libattr1", "libselinux1", "libpcre2-8-0", "libgmp10", // Hadoop runs chmod, id, ls
	"ca-certificates",
}

// system is the layer of the operating system and Java. It is made once: newer
// packages come into it when the cache is removed.
func system(ctx context.Context, log *slog.Logger) (*layer, error) {
	dir, err := cache.Dir("images")
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256([]byte(recipe + "\n" + runtime.GOARCH + "\n" + strings.Join(packages, "\n")))
	file := filepath.Join(dir, "system-"+hex.EncodeToString(key[:6])+".layer")
	if _, err := cache.Fill(ctx, file, func(ctx context.Context, temporary string) error { return makeSystem(ctx, log, temporary) }); err != nil {
		return nil, fmt.Errorf("system and Java: %w", err)
	}
	return tarLayer(file)
}

func makeSystem(ctx context.Context, log *slog.Logger, file string) error {
	work := file + ".work"
	if err := os.RemoveAll(work); err != nil { // left by a process that was killed
		return err
	}
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	began := time.Now()
	log.InfoContext(ctx, "downloading packages", "count", len(packages))
	debs, err := download(ctx, work)
	if err != nil {
		return err
	}
	t := tree{}
	for _, deb := range debs {
		if err := unpackDeb(ctx, deb, work, t); err != nil {
			return fmt.Errorf("unpack %s: %w", filepath.Base(deb), err)
		}
	}
	if err := finish(t); err != nil {
		return err
	}
	if err := whole(t); err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	if err := errors.Join(t.write(out), out.Close()); err != nil {
		return err
	}
	log.InfoContext(ctx, "system and Java made", "files", len(t), "seconds", time.Since(began).Seconds())
	return nil
}

// download brings the packages by this machine's apt, which checks them, in the
// order of the list.
func download(ctx context.Context, dir string) ([]string, error) {
	if err := flinkdist.DownloadPackages(ctx, dir, packages...); err != nil {
		return nil, err
	}
	var debs []string
	for _, name := range packages {
		found, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
		if err != nil {
			return nil, err
		}
		if len(found) != 1 {
			return nil, fmt.Errorf("apt-get download brought %d files for %s, want 1", len(found), name)
		}
		debs = append(debs, found[0])
	}
	return debs, nil
}

// finish adds what the packages' own scripts would have made.
func finish(t tree) error {
	homes := javaHomes(t)
	if len(homes) != 1 {
		return fmt.Errorf("java homes in the packages: %q, want one", homes)
	}
	trust, err := trustStore(t)
	if err != nil {
		return err
	}
	maps.Copy(t, tree{
		"bin": {link: "usr/bin"}, "sbin": {link: "usr/sbin"}, "lib": {link: "usr/lib"}, "lib64": {link: "usr/lib64"},
		"usr/bin/sh":                 {link: "dash"},
		"opt/java/openjdk":           {link: "../../" + homes[0]},
		"etc/passwd":                 {mode: 0o644, content: "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\nflink:x:9999:9999::/opt/flink:/bin/bash\n"},
		"etc/group":                  {mode: 0o644, content: "root:x:0:\nnogroup:x:65534:\nflink:x:9999:\n"},
		"etc/nsswitch.conf":          {mode: 0o644, content: "passwd: files\ngroup: files\nhosts: files dns\n"},
		"etc/ssl/certs/java/cacerts": {mode: 0o644, content: string(trust)},
		"tmp":                        {mode: 0o777 | fs.ModeSticky},
		"var/tmp":                    {mode: 0o777 | fs.ModeSticky},
		"root":                       {mode: 0o700},
	})
	return nil
}

func javaHomes(t tree) []string {
	var homes []string
	for name := range t {
		if home, ok := strings.CutSuffix(name, "/bin/java"); ok && strings.HasPrefix(name, "usr/lib/jvm/") {
			homes = append(homes, home)
		}
	}
	return homes
}

// whole says which library is missing for the programs that the image is for.
// Java's libraries for screens, printers and sound are not looked at.
func whole(t tree) error {
	libs := map[string]bool{}
	for name := range t {
		libs[path.Base(name)] = true
	}
	var missing []error
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if !essential(name) || t[name].source == "" {
			continue
		}
		needed, err := needs(t[name].source)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, lib := range needed {
			if !libs[lib] {
				missing = append(missing, fmt.Errorf("%s needs %s, which no package brought", name, lib))
			}
		}
	}
	return errors.Join(missing...)
}

func essential(name string) bool {
	if !strings.HasPrefix(name, "usr/lib/jvm/") {
		return strings.HasPrefix(name, "usr/bin/") || strings.Contains(name, ".so.")
	}
	return slices.Contains([]string{
		"java", "libjvm.so", "libjli.so", "libjava.so", "libjimage.so", "libverify.so", "libnet.so", "libnio.so", "libzip.so",
		"libmanagement.so", "libmanagement_ext.so", "libinstrument.so", "libextnet.so", "libjaas.so", "libprefs.so", "librmi.so",
	}, path.Base(name))
}

// needs lists the libraries that an executable names; other files need none.
func needs(file string) ([]string, error) {
	open, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer open.Close()
	var magic [len(elf.ELFMAG)]byte
	if _, err := io.ReadFull(open, magic[:]); err != nil || string(magic[:]) != elf.ELFMAG {
		return nil, nil // shorter than any executable, or no such thing
	}
	f, err := elf.NewFile(open)
	if err != nil {
		return nil, err
	}
	return f.ImportedLibraries()
}
