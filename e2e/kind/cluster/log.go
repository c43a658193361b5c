package cluster

import (
	"fmt"
	"strings"

	"sigs.k8s.io/kind/pkg/log"
)

// kindLog passes on what kind says to its user. Its animated lines are left out.
type kindLog struct{ say func(string, ...any) }

// Warn implements log.Logger. That control groups are old is known: the clusters are configured for it.
func (l kindLog) Warn(s string) {
	if !strings.Contains(s, "cgroup v1 is deprecated") {
		l.say("kind: %s", strings.TrimSpace(s))
	}
}

func (l kindLog) Warnf(f string, a ...any)   { l.Warn(fmt.Sprintf(f, a...)) }
func (l kindLog) Error(s string)             { l.say("kind: %s", strings.TrimSpace(s)) }
func (l kindLog) Errorf(f string, a ...any)  { l.Error(fmt.Sprintf(f, a...)) }
func (l kindLog) V(log.Level) log.InfoLogger { return log.NoopInfoLogger{} }
