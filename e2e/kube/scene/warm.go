package scene

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Warm makes and deletes a FlinkJob: the first write of a new kind has the API server build what all later ones use.
func Warm(ctx context.Context, c *Cluster) error {
	const name = "warm"
	if err := c.Namespaces(ctx, name); err != nil {
		return err
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}}
	u.SetAPIVersion(FlinkJobs().GroupVersion().String())
	u.SetKind("FlinkJob")
	u.SetName(name)
	jobs := c.Any.Resource(FlinkJobs()).Namespace(name)
	made, err := jobs.Create(ctx, u, metav1.CreateOptions{})
	if err == nil {
		made.Object["status"] = map[string]any{"message": name}
		_, err = jobs.UpdateStatus(ctx, made, metav1.UpdateOptions{})
	}
	if err == nil {
		err = jobs.Delete(ctx, name, metav1.DeleteOptions{})
	}
	if err != nil {
		return fmt.Errorf("warm the API server: %w", err)
	}
	return nil
}
