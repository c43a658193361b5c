package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"
)

// LoadImage makes the images of an archive (as docker save writes them) known to
// the node. Those that the node has already, by content, are not sent again;
// sent says whether they were.
func (c *Cluster) LoadImage(ctx context.Context, archive string) (sent bool, err error) {
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(archive) })
	if err == nil && c.hasAll(ctx, manifest) {
		return false, nil
	}
	nodes, err := c.provider.ListInternalNodes(c.Name)
	if err != nil {
		return false, err
	}
	for _, node := range nodes {
		f, err := os.Open(archive)
		if err != nil {
			return false, err
		}
		err = nodeutils.LoadImageArchive(node, f)
		_ = f.Close()
		if err != nil {
			return false, fmt.Errorf("load %s into %s: %w", archive, c.Name, err)
		}
	}
	return true, nil
}

func (c *Cluster) hasAll(ctx context.Context, manifest tarball.Manifest) bool {
	if len(manifest) == 0 {
		return false
	}
	for _, image := range manifest {
		if len(image.RepoTags) == 0 {
			return false
		}
		for _, tag := range image.RepoTags {
			id, err := c.imageID(ctx, tag)
			if err != nil || id != image.Config {
				return false
			}
		}
	}
	return true
}

// imageID returns the digest of the configuration of an image in the node.
func (c *Cluster) imageID(ctx context.Context, ref string) (string, error) {
	out, err := c.Exec(ctx, "crictl", "inspecti", "-o", "json", ref)
	if err != nil {
		return "", err
	}
	var image struct {
		Status struct {
			ID string `json:"id"`
		} `json:"status"`
	}
	if err := json.Unmarshal([]byte(out), &image); err != nil {
		return "", fmt.Errorf("crictl inspecti %s: %w", ref, err)
	}
	return image.Status.ID, nil
}
