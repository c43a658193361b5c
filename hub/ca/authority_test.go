package ca_test

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waterwheel-io/waterwheel/hub/ca"
	"github.com/waterwheel-io/waterwheel/internal/identity"
)

func TestAuthorityIsTheSameAfterOpeningAndIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	made, err := ca.Create(dir, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	opened, err := ca.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if opened.Pin() != made.Pin() || opened.TrustDomain() != "example.org" {
		t.Errorf("opened %s of %s, made %s", opened.Pin(), opened.TrustDomain(), made.Pin())
	}
	if _, err := ca.Create(dir, "example.org"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made a second time: %v, want it refused", err)
	}
	info, err := os.Stat(filepath.Join(dir, "root.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("root.key: %v %v, want 0600", info.Mode(), err)
	}
}

func TestOpenRefusesAKeyOfAnotherRoot(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	for _, dir := range []string{a, b} {
		if _, err := ca.Create(dir, "example.org"); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(b, "root.key"), filepath.Join(a, "root.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := ca.Open(a); err == nil {
		t.Error("opened a root with the key of another")
	}
}

func TestTrustDomainMustBeOne(t *testing.T) {
	for _, td := range []string{"", "a/b", "Upper Case", "x y"} {
		if _, err := ca.Create(filepath.Join(t.TempDir(), "ca"), td); err == nil {
			t.Errorf("%q became a trust domain", td)
		}
	}
}

func TestCertificateBeginsBeforeNowEndsInTimeAndServesOneSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, now := authority(t), time.Now()
		key, err := identity.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		cluster := must(identity.ClusterID("example.org", "c1"))(t)
		leaf := must(a.Issue(cluster, &key.PublicKey, time.Hour))(t)[0]
		if !leaf.NotBefore.Equal(now.Add(-ca.Skew)) || !leaf.NotAfter.Equal(now.Add(time.Hour)) {
			t.Errorf("valid %s to %s, at %s", leaf.NotBefore, leaf.NotAfter, now)
		}
		if got := must(identity.IDOf(leaf))(t); got != cluster {
			t.Errorf("it is of %s, want %s", got, cluster)
		}
		if !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}) {
			t.Errorf("a cluster's certificate is for %v, want the client side alone", leaf.ExtKeyUsage)
		}
		if _, err := a.Issue(must(identity.ClusterID("other.org", "c1"))(t), &key.PublicKey, time.Hour); err == nil {
			t.Error("signed for another trust domain")
		}
	})
}

func TestCertificateNeverOutlivesTheRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := authority(t)
		key := must(identity.NewKey())(t)
		id := must(identity.AdminID("example.org", "jo"))(t)
		time.Sleep(ca.RootLife - time.Minute)
		leaf := must(a.Issue(id, &key.PublicKey, time.Hour))(t)[0]
		if left := time.Until(leaf.NotAfter); left != time.Minute {
			t.Errorf("ends in %s, want the root's minute", left)
		}
		time.Sleep(time.Minute)
		if _, err := a.Issue(id, &key.PublicKey, time.Hour); err == nil {
			t.Error("signed with an ended root")
		}
	})
}

func TestHubCertificateStandsForItsNamesAndIsRenewedAtHalfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := authority(t)
		src := must(a.HubSource([]string{"hub.example.org", "127.0.0.1"}, slog.New(slog.DiscardHandler)))(t)
		first := src.Certificate().Leaf
		for _, name := range []string{"hub.example.org", "127.0.0.1"} {
			_, err := first.Verify(x509.VerifyOptions{DNSName: name, Roots: src.Roots(), CurrentTime: time.Now()})
			if err != nil {
				t.Errorf("as curl checks it for %s: %v", name, err)
			}
		}
		time.Sleep(ca.HubLife/2 - 1)
		if got := src.Certificate().Leaf; got != first {
			t.Error("renewed before half life")
		}
		time.Sleep(time.Nanosecond)
		second := src.Certificate().Leaf
		if second == first || !second.NotAfter.Equal(time.Now().Add(ca.HubLife)) {
			t.Errorf("at half life: ends %s, want a new one", second.NotAfter)
		}
		if got := src.Certificate().Leaf; got != second {
			t.Error("a new certificate at each call")
		}
	})
}

func authority(t *testing.T) *ca.Authority {
	t.Helper()

	return must(ca.Create(filepath.Join(t.TempDir(), "ca"), "example.org"))(t)
}

// must ends the test on an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}

		return v
	}
}
