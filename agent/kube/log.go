package kube

import (
	"log/slog"

	"k8s.io/klog/v2"
)

// LogTo has the client library write its own lines where everything else is written. It holds for the whole process: it is
// for a command to call, once, before anything else here.
func LogTo(log *slog.Logger) { klog.SetSlogLogger(log.With("part", "client-go")) }
