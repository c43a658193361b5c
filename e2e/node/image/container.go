package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// container is an image of one layer. The same files give the same digest.
type container struct {
	Refs       []string
	Entrypoint []string
	Files      []file
}

// file is one entry of a layer: a file of this machine, or a symbolic link.
type file struct {
	From string
	To   string // without a leading slash
	Mode fs.FileMode
	Link string
}

func (c container) write(path string) error {
	layer, err := c.layer()
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return err
	}
	conf, err := img.ConfigFile()
	if err != nil {
		return err
	}
	conf = conf.DeepCopy()
	conf.Architecture, conf.OS = runtime.GOARCH, "linux"
	conf.Config = v1.Config{
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Entrypoint: c.Entrypoint,
	}
	if img, err = mutate.ConfigFile(img, conf); err != nil {
		return err
	}
	refs := map[name.Reference]v1.Image{}
	for _, s := range c.Refs {
		ref, err := name.ParseReference(s)
		if err != nil {
			return err
		}
		refs[ref] = img
	}
	return tarball.MultiRefWriteToFile(path, refs)
}

func (c container) layer() (v1.Layer, error) {
	var buf bytes.Buffer
	if err := writeTar(&buf, c.Files); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithCompressionLevel(gzip.NoCompression)) // the node archive is compressed; each new node would inflate it again
}

// writeTar writes files in the order of their names, each directory before what
// is in it, without times or owners.
func writeTar(out io.Writer, files []file) error {
	tw := tar.NewWriter(out)
	dirs := map[string]bool{}
	for _, f := range slices.SortedFunc(slices.Values(files), func(a, b file) int { return strings.Compare(a.To, b.To) }) {
		for _, dir := range parents(f.To) {
			if dirs[dir] {
				continue
			}
			dirs[dir] = true
			if err := tw.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
				return err
			}
		}
		if err := writeEntry(tw, f); err != nil {
			return fmt.Errorf("%s: %w", f.To, err)
		}
	}
	return tw.Close()
}

func parents(path string) []string {
	var all []string
	for dir := filepath.Dir(path); dir != "."; dir = filepath.Dir(dir) {
		all = append(all, dir)
	}
	slices.Reverse(all)
	return all
}

func writeEntry(tw *tar.Writer, f file) error {
	if f.Link != "" {
		return tw.WriteHeader(&tar.Header{Name: f.To, Typeflag: tar.TypeSymlink, Linkname: f.Link, Mode: 0o777})
	}
	in, err := os.Open(f.From)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := tw.WriteHeader(&tar.Header{Name: f.To, Mode: int64(f.Mode.Perm()), Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(tw, in)
	return err
}

// closure returns the libraries below root that the given programs and plugins
// need, and those that these need in turn.
func closure(root, libDir string, paths []string) ([]string, error) {
	found := map[string]bool{}
	for queue := slices.Clone(paths); len(queue) > 0; queue = queue[1:] {
		needs, err := imported(filepath.Join(root, queue[0]))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", queue[0], err)
		}
		for _, lib := range needs {
			path, err := findLibrary(root, libDir, lib)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", queue[0], err)
			}
			if !found[path] {
				found[path] = true
				queue = append(queue, path)
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

func imported(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return f.ImportedLibraries()
}

func findLibrary(root, libDir, lib string) (string, error) {
	for _, dir := range []string{libDir, "usr/lib"} {
		path := dir + "/" + lib
		if _, err := os.Stat(filepath.Join(root, path)); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("no library %s in the base", lib)
}
