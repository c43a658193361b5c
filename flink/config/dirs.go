package config

import (
	"fmt"
	"strings"

	"github.com/waterwheel-io/waterwheel/flink"
)

// Directories are where the state of a run lives, as URIs without a trailing slash.
type Directories struct {
	Checkpoints string // of this run alone
	Savepoints  string // of all runs of the job
	HA          string // of this run alone
}

// Dirs places a run's state below root, a URI or an absolute path.
func Dirs(root, tenant string, run flink.Run) Directories {
	root = strings.TrimRight(root, "/")
	if strings.HasPrefix(root, "/") || root == "" {
		root = "file://" + root
	}
	job := root + "/" + tenant + "/" + run.UID
	own := fmt.Sprintf("%s/t%d/r%d", job, run.Term, run.Run)
	return Directories{Checkpoints: own + "/checkpoints", Savepoints: job + "/savepoints", HA: own + "/ha"}
}

// StateRoot is the root that a spec's state goes to: its own, else the place's.
func StateRoot(s flink.Spec, place string) string {
	if s.StateStorage.Root != "" {
		return s.StateStorage.Root
	}
	return place
}

// checkName refuses a word that would leave its place in a path.
func checkName(what, name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00\n") {
		return fmt.Errorf("%s %q cannot be part of a path", what, name)
	}
	return nil
}
