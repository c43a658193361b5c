package image

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1" // the format's own checksum
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// deb is the file system part of a made-up package.
func deb(t *testing.T, entries ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(h.Name))
		}
		h.Mode = 0o755
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(h.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestAPackagesFilesGoWhereTheSystemHasThem(t *testing.T) {
	got := tree{}
	err := unpackTar(deb(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir},
		tar.Header{Name: "./bin/", Typeflag: tar.TypeDir},
		tar.Header{Name: "./bin/chmod"},
		tar.Header{Name: "./bin/chmod2", Typeflag: tar.TypeLink, Linkname: "./bin/chmod"},
		tar.Header{Name: "./lib64/ld.so", Typeflag: tar.TypeSymlink, Linkname: "/lib/ld.so"},
		tar.Header{Name: "./usr/share/doc/x/copyright"},
		tar.Header{Name: "./usr/share/doc/x/changelog.gz"},
		tar.Header{Name: "./usr/share/man/man1/chmod.1.gz"},
		tar.Header{Name: "../../outside"},
	), t.TempDir(), got)
	if err != nil {
		t.Fatal(err)
	}
	for name, holds := range map[string]string{
		"usr/bin/chmod": "./bin/chmod", "usr/bin/chmod2": "./bin/chmod", "usr/share/doc/x/copyright": "./usr/share/doc/x/copyright", "outside": "../../outside",
	} {
		b, err := os.ReadFile(got[name].source)
		if err != nil || string(b) != holds || got[name].mode != 0o755 {
			t.Errorf("%s holds %q, %v, mode %o", name, b, err, got[name].mode)
		}
		delete(got, name)
	}
	if got["usr/lib64/ld.so"].link != "/lib/ld.so" {
		t.Errorf("link: %+v", got["usr/lib64/ld.so"])
	}
	delete(got, "usr/lib64/ld.so")
	if len(got) != 0 {
		t.Errorf("not wanted: %v", got)
	}
}

func TestALinkToNothingIsAnError(t *testing.T) {
	err := unpackTar(deb(t, tar.Header{Name: "./bin/a", Typeflag: tar.TypeLink, Linkname: "./bin/b"}), t.TempDir(), tree{})
	if err == nil || !strings.Contains(err.Error(), "usr/bin/a") {
		t.Errorf("got %v", err)
	}
}

func TestAMissingLibraryIsNamed(t *testing.T) {
	dynamic := dynamicProgram(t)
	needed, err := needs(dynamic)
	if err != nil || len(needed) == 0 {
		t.Fatalf("%s needs %v, %v", dynamic, needed, err)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	image := tree{"usr/bin/tool": {source: dynamic}, "usr/bin/script": {source: script}}
	if err := whole(image); err == nil || !strings.Contains(err.Error(), "usr/bin/tool needs "+needed[0]) {
		t.Errorf("got %v", err)
	}
	for _, lib := range needed {
		image["usr/lib/"+lib] = node{link: "elsewhere"}
	}
	if err := whole(image); err != nil {
		t.Errorf("with all of them: %v", err)
	}
}

// dynamicProgram is any program of this machine that needs a library.
func dynamicProgram(t *testing.T) string {
	t.Helper()
	for _, file := range []string{"/bin/sh", "/bin/ls", "/usr/bin/env"} {
		if needed, err := needs(file); err == nil && len(needed) > 0 {
			return file
		}
	}
	t.Fatal("this machine has no program that needs a library")
	return ""
}

func TestAnImageHasOneJava(t *testing.T) {
	if err := finish(tree{}); err == nil || !strings.Contains(err.Error(), "java homes") {
		t.Errorf("none: %v", err)
	}
	got := tree{"usr/lib/jvm/java-17-openjdk-x/bin/java": {source: "x"}}
	if err := finish(got); err != nil {
		t.Fatal(err)
	}
	if link := got["opt/java/openjdk"].link; link != "../../usr/lib/jvm/java-17-openjdk-x" {
		t.Errorf("/opt/java/openjdk leads to %s", link)
	}
	if !strings.Contains(got["etc/passwd"].content, "flink:x:9999:9999:") {
		t.Error("there is no user flink")
	}
}

func TestTheTrustStoreHoldsEveryAuthority(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "ca")
	if err := os.WriteFile(source, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	store, err := trustStore(tree{
		"usr/share/ca-certificates/mozilla/One.crt":  {source: source},
		"usr/share/ca-certificates/mozilla/Zwö.crt":  {source: source},
		"usr/share/ca-certificates/mozilla/note.txt": {source: source},
	})
	if err != nil {
		t.Fatal(err)
	}
	body, sum := store[:len(store)-sha1.Size], store[len(store)-sha1.Size:]
	if magic, count := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[8:]); magic != 0xfeedfeed || count != 2 {
		t.Errorf("head: %x, %d entries", magic, count)
	}
	if n := bytes.Count(body, der); n != 2 {
		t.Errorf("the certificate is there %d times", n)
	}
	password := []byte("\x00c\x00h\x00a\x00n\x00g\x00e\x00i\x00t")
	if want := sha1.Sum(append(append(password, "Mighty Aphrodite"...), body...)); !bytes.Equal(sum, want[:]) {
		t.Error("the checksum is not that of the password that all have")
	}
	if !bytes.Contains(body, []byte("\x00\x03zw_")) {
		t.Error("an alias is not written in the letters that both encodings share")
	}
}
