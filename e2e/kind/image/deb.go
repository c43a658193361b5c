package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"
)

// unpackDeb adds the package's files to t and keeps their content in files of
// directory dir. Nothing of the package runs.
func unpackDeb(ctx context.Context, deb, dir string, t tree) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	cmd.WaitDelay = 5 * time.Second
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = unpackTar(out, dir, t)
	if err == nil {
		_, err = io.Copy(io.Discard, out) // padding, so that the writer ends by itself
	} else {
		out.Close()
	}
	if werr := cmd.Wait(); err == nil && werr != nil {
		err = fmt.Errorf("dpkg-deb: %w: %s", werr, strings.TrimSpace(said.String()))
	}
	return err
}

func unpackTar(r io.Reader, dir string, t tree) error {
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := merged(path.Clean("/" + h.Name)[1:])
		if name == "" || unwanted(name) {
			continue
		}
		n, ok, err := keep(h, in, dir, t)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if ok {
			t[name] = n
		}
	}
}

// keep turns an entry into a node; ok is false for what an image does without:
// directories that nothing lies in, and devices.
func keep(h *tar.Header, content io.Reader, dir string, t tree) (n node, ok bool, err error) {
	mode := fs.FileMode(h.Mode).Perm()
	switch h.Typeflag {
	case tar.TypeReg:
		if h.Size == 0 {
			return node{}, false, nil
		}
		source := path.Join(dir, "file-"+strconv.Itoa(len(t)))
		return node{mode: mode, source: source}, true, save(source, content)
	case tar.TypeSymlink:
		return node{link: h.Linkname}, true, nil
	case tar.TypeLink:
		n, ok := t[merged(path.Clean("/" + h.Linkname)[1:])]
		if !ok {
			return node{}, false, fmt.Errorf("link to %s, which is not there", h.Linkname)
		}
		return n, true, nil
	default:
		return node{}, false, nil
	}
}

func save(name string, content io.Reader) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}

// merged is where a package's path lies in a system whose /bin, /sbin, /lib and
// /lib64 are links into /usr. Packages still name the old places.
func merged(name string) string {
	top, _, below := strings.Cut(name, "/")
	switch top {
	case "bin", "sbin", "lib", "lib64":
		if !below {
			return ""
		}
		return "usr/" + name
	}
	return name
}

// unwanted is what no program reads. The licences stay.
func unwanted(name string) bool {
	if strings.HasPrefix(name, "usr/share/doc/") {
		return path.Base(name) != "copyright"
	}
	for _, dir := range []string{
		"usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian", "usr/share/bug", "usr/share/menu",
		"usr/share/binfmts", "usr/lib/debug", "usr/lib/systemd", "usr/share/gdb",
	} {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	base := path.Base(name)
	return base == "ct.sym" || base == "classes_nocoops.jsa" // for compilers; for heaps above 32 GB
}
