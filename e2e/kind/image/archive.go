package image

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/waterwheel-io/waterwheel/e2e/kind/cache"
)

// Archive is an image in a file that a container engine or a node can load.
type Archive struct {
	Path   string
	Ref    string // as pods name it; the tag names the content
	Bytes  int64
	Cached bool // it stood there already
}

// kept is how many archives of one name stay in the cache.
const kept = 3

// part is a layer and what it holds, for the image's history.
type part struct {
	holds string
	layer *layer
}

// archive writes the image into the cache, if its like is not there.
func archive(ctx context.Context, log *slog.Logger, repository string, config v1.Config, parts ...part) (Archive, error) {
	img, err := assemble(config, parts)
	if err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", repository, err)
	}
	id, err := img.ConfigName()
	if err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", repository, err)
	}
	tag, err := name.NewTag(repository+":"+id.Hex[:12], name.WithDefaultRegistry(""))
	if err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", repository, err)
	}
	dir, err := cache.Dir("images")
	if err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", repository, err)
	}
	a := Archive{Path: filepath.Join(dir, repository+"-"+id.Hex[:12]+".tar"), Ref: tag.Name()}
	began := time.Now()
	a.Cached, err = cache.Fill(ctx, a.Path, func(_ context.Context, temporary string) error { return tarball.WriteToFile(temporary, tag, img) })
	if err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", repository, err)
	}
	st, err := os.Stat(a.Path)
	if err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", repository, err)
	}
	a.Bytes = st.Size()
	if !a.Cached {
		log.InfoContext(ctx, "image written", "ref", a.Ref, "mb", a.Bytes/1e6, "seconds", time.Since(began).Seconds())
	}
	if err := cache.Touch(a.Path, time.Now()); err != nil {
		return Archive{}, fmt.Errorf("image %s: %w", repository, err)
	}
	return a, cache.Prune(filepath.Join(dir, repository+"-????????????.tar"), kept)
}

// assemble makes an image of the layers, lowest first.
func assemble(config v1.Config, parts []part) (v1.Image, error) {
	created := v1.Time{Time: epoch()}
	adds := make([]mutate.Addendum, 0, len(parts))
	for _, p := range parts {
		adds = append(adds, mutate.Addendum{Layer: p.layer, MediaType: types.DockerUncompressedLayer, History: v1.History{Created: created, CreatedBy: p.holds}})
	}
	img, err := mutate.Append(empty.Image, adds...)
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created, file.Config = "linux", runtime.GOARCH, created, config
	return mutate.ConfigFile(img, file)
}

// treePart is the part that holds the tree.
func treePart(holds string, t tree) (part, error) {
	l, err := newLayer(t.write)
	if err != nil {
		return part{}, fmt.Errorf("%s: %w", holds, err)
	}
	return part{holds: holds, layer: l}, nil
}
