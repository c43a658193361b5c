package process

import (
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/waterwheel-io/waterwheel/flink"
)

// usrlib is the place in Flink images that stands for Config.UsrLib.
const usrlib = "/opt/flink/usrlib/"

// installJar copies the program's jar to where its JobManager looks for it, once
// per run. It is a copy, not a link: somebody who builds anew writes over the
// original, and a JVM whose open jar changes crashes.
func (e *ensuring) installJar() error {
	target := e.dir.jar()
	if st, err := os.Stat(target); err == nil && st.Mode().IsRegular() {
		return nil
	}
	source, err := e.resolveJar(e.launch.Spec.Jar.URI)
	if err != nil {
		return err
	}
	in, err := os.Open(source)
	if err != nil {
		return refuse(flink.RefusedJar, "jar %s cannot be read: %v", e.launch.Spec.Jar.URI, err)
	}
	defer in.Close()
	if st, err := in.Stat(); err != nil || !st.Mode().IsRegular() {
		return refuse(flink.RefusedJar, "jar %s is not a file: %s", e.launch.Spec.Jar.URI, source)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return err
	}
	tmp := target + ".part"
	out, err := os.Create(tmp)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, target)
}

// resolveJar turns the URI of a spec into a path of this host.
func (r *Runtime) resolveJar(uri string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Host != "" || !filepath.IsAbs(u.Path) {
		return "", refuse(flink.RefusedJar, "jar %q is not understood: want local://%sX.jar or file:///X.jar", uri, usrlib)
	}
	switch u.Scheme {
	case "file":
		return u.Path, nil
	case "local":
		if name, ok := strings.CutPrefix(u.Path, usrlib); ok && filepath.IsLocal(name) {
			return filepath.Join(r.cfg.UsrLib, name), nil
		}
		return "", refuse(flink.RefusedJar, "jar %q is not below local://%s: on a host use that or file:///", uri, usrlib)
	}
	return "", refuse(flink.RefusedJar, "jar %q: a host knows local:// and file:// alone", uri)
}
