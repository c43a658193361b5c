package checks

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// maxQuotas bounds how many quotas of a namespace are looked at.
const maxQuotas = 50

// maxVersion bounds the server's answer about its version, in bytes.
const maxVersion = 64 << 10

// Server is an API server as one account sees it. Its methods may be called from many goroutines.
type Server struct {
	client kubernetes.Interface
	http   *http.Client
	base   *url.URL
}

// New prepares to ask. Nothing is connected yet.
func New(cfg *rest.Config) (*Server, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1 // a look is a few dozen small questions, once
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	direct, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return &Server{client: client, http: direct, base: base}, nil
}

// Version is the server's version, and its clock, zero if it does not tell.
func (s *Server) Version(ctx context.Context) (string, time.Time, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.JoinPath("version").String(), http.NoBody)
	if err != nil {
		return "", time.Time{}, err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return "", time.Time{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxVersion))
	if err != nil {
		return "", time.Time{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return "", time.Time{}, fmt.Errorf("asked for its version, it answers %s", resp.Status)
	}
	at, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		at = time.Time{} // it need not say
	}
	return parseVersion(body), at, nil
}

// parseVersion reads the answer; what is no such answer is a version of its own kind.
func parseVersion(body []byte) string {
	var v version.Info
	if err := decode(body, &v); err != nil || v.GitVersion == "" {
		return "of an unknown version"
	}
	return v.GitVersion
}

// Served tells that the server knows a resource.
func (s *Server) Served(ctx context.Context, groupVersion, resource string) (bool, error) {
	body, err := s.client.Discovery().RESTClient().Get().AbsPath("apis", groupVersion).Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var list metav1.APIResourceList
	if err := decode(body, &list); err != nil {
		return false, fmt.Errorf("read what %s has: %w", groupVersion, err)
	}
	for _, r := range list.APIResources {
		if r.Name == resource {
			return true, nil
		}
	}
	return false, nil
}

// Account tells that a ServiceAccount exists.
func (s *Server) Account(ctx context.Context, namespace, name string) (bool, error) {
	_, err := s.client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// Left is what is left of one resource of a quota.
type Left struct {
	Quota, Resource string
	Left, Hard      string // quantities
	Bytes           int64  // of Left, if it is memory; else 0
	None            bool   // nothing is left
}

// counted are the resources of quotas that runs take from.
var counted = []corev1.ResourceName{
	corev1.ResourceRequestsMemory, corev1.ResourceMemory, corev1.ResourceLimitsMemory,
	corev1.ResourceRequestsCPU, corev1.ResourceCPU, corev1.ResourceLimitsCPU,
	corev1.ResourcePods, "count/pods", "count/deployments.apps", corev1.ResourceConfigMaps, "count/configmaps",
	corev1.ResourceSecrets, "count/secrets", corev1.ResourceServices, "count/services",
}

// Quotas are what is left of a namespace's quotas, of what runs take from.
func (s *Server) Quotas(ctx context.Context, namespace string) ([]Left, error) {
	list, err := s.client.CoreV1().ResourceQuotas(namespace).List(ctx, metav1.ListOptions{Limit: maxQuotas})
	if err != nil {
		return nil, err
	}
	var out []Left
	for _, q := range list.Items {
		for _, name := range counted {
			hard, ok := q.Status.Hard[name]
			if !ok {
				hard, ok = q.Spec.Hard[name] // not counted yet
			}
			if !ok {
				continue
			}
			left := hard.DeepCopy()
			left.Sub(q.Status.Used[name])
			l := Left{Quota: q.Name, Resource: string(name), Left: left.String(), Hard: hard.String(), None: left.Sign() <= 0}
			if strings.HasSuffix(string(name), "memory") {
				l.Bytes = max(left.Value(), 0)
			}
			out = append(out, l)
		}
	}
	return out, nil
}
