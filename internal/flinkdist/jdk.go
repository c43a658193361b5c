package flinkdist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// MinJava is the oldest Java that runs the Flink versions known here.
const MinJava = 11

// ErrNoJDK is returned by FindJDK when no Java here will do. InstallJDK may help.
var ErrNoJDK = errors.New("no suitable Java")

// Need says what a Java is wanted for.
type Need int

// Runtime runs Flink, Compiler also builds jobs.
const (
	Runtime Need = iota
	Compiler
)

// JDK is an installed Java.
type JDK struct {
	Home    string
	Java    string // path of the java command
	Javac   string // path of the compiler; empty if this is a runtime alone
	Version int    // 11, 17, 21, …
}

// FindJDK returns the Java of JAVA_HOME, or else that of PATH, whichever first
// is new enough and has what is needed. It starts each once to ask for its
// version. A nil getenv is os.Getenv.
func FindJDK(ctx context.Context, need Need, getenv func(string) string) (JDK, error) {
	if getenv == nil {
		getenv = os.Getenv
	}
	var candidates []string
	if home := getenv("JAVA_HOME"); home != "" {
		candidates = append(candidates, filepath.Join(home, "bin", "java"))
	}
	for _, dir := range filepath.SplitList(getenv("PATH")) {
		java := filepath.Join(dir, "java")
		if st, err := os.Stat(java); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			candidates = append(candidates, java)
		}
	}
	var why []string
	for _, java := range candidates {
		jdk, err := ask(ctx, java)
		if err == nil {
			err = jdk.fits(need)
		}
		if err == nil {
			return jdk, nil
		}
		if ctx.Err() != nil {
			return JDK{}, fmt.Errorf("find a JDK: %w", context.Cause(ctx))
		}
		why = append(why, err.Error())
	}
	if why == nil {
		why = []string{"none in JAVA_HOME or PATH"}
	}
	return JDK{}, fmt.Errorf("%w (%s): install a JDK of version %d or newer (Debian, Ubuntu: openjdk-17-jdk-headless) or set JAVA_HOME", ErrNoJDK, strings.Join(why, "; "), MinJava)
}

func (j JDK) fits(need Need) error {
	switch {
	case j.Version < MinJava:
		return fmt.Errorf("%s is version %d", j.Java, j.Version)
	case need == Compiler && j.Javac == "":
		return fmt.Errorf("%s has no compiler beside it", j.Java)
	}
	return nil
}

// ask starts java to learn what it is.
func ask(ctx context.Context, java string) (JDK, error) {
	out, err := command(ctx, java, "-XshowSettings:properties", "-version").CombinedOutput()
	if err != nil {
		return JDK{}, fmt.Errorf("%s: %w", java, err)
	}
	jdk := JDK{Java: java}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		switch key {
		case "java.home":
			jdk.Home = value
		case "java.specification.version":
			jdk.Version, _ = strconv.Atoi(strings.TrimPrefix(value, "1."))
		}
	}
	if jdk.Home == "" || jdk.Version == 0 {
		return JDK{}, fmt.Errorf("%s does not say its home and version", java)
	}
	for _, home := range []string{jdk.Home, filepath.Dir(jdk.Home)} { // of Java 8 the home is jre/ inside the JDK
		if st, err := os.Stat(filepath.Join(home, "bin", "javac")); err == nil && st.Mode().IsRegular() {
			jdk.Javac = filepath.Join(home, "bin", "javac")
			break
		}
	}
	return jdk, nil
}

// CanInstall reports whether InstallJDK and InstallPip can work here: as root,
// where there is apt-get.
func CanInstall() bool {
	_, err := exec.LookPath("apt-get")
	return err == nil && os.Geteuid() == 0
}

// InstallJDK installs Java 17, or where the system has no such package the JDK
// it prefers. Call it only with the user's permission: it changes the machine.
func InstallJDK(ctx context.Context, progress func(line string)) error {
	err := InstallPackages(ctx, progress, "openjdk-17-jdk-headless")
	if err != nil && ctx.Err() == nil {
		return InstallPackages(ctx, progress, "default-jdk-headless")
	}
	return err
}

// InstallPip installs pip and what it builds in. Call it only with the user's
// permission: it changes the machine.
func InstallPip(ctx context.Context, progress func(line string)) error {
	return InstallPackages(ctx, progress, "python3-pip", "python3-venv")
}

// InstallMaven installs Maven, which brings the plugins. Call it only with the
// user's permission: it changes the machine.
func InstallMaven(ctx context.Context, progress func(line string)) error {
	return InstallPackages(ctx, progress, "maven")
}
