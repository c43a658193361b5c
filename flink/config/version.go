package config

import (
	"fmt"
	"strings"
)

// names are keys that say the same under other names in each generation of
// Flink. Flink ignores a key of the other generation without a word.
type names struct {
	waitTimeout               string
	stabilizationAtSubmit     string
	stabilizationWhileRunning string // empty: the version has one key for both
	cooldown                  string
}

var (
	names1 = names{
		waitTimeout:           "jobmanager.adaptive-scheduler.resource-wait-timeout",
		stabilizationAtSubmit: "jobmanager.adaptive-scheduler.resource-stabilization-timeout",
		cooldown:              "jobmanager.adaptive-scheduler.scaling-interval.min",
	}
	names2 = names{
		waitTimeout:               "jobmanager.adaptive-scheduler.submission.resource-wait-timeout",
		stabilizationAtSubmit:     "jobmanager.adaptive-scheduler.submission.resource-stabilization-timeout",
		stabilizationWhileRunning: "jobmanager.adaptive-scheduler.executing.resource-stabilization-timeout",
		cooldown:                  "jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling",
	}
)

func namesOf(version string) (names, error) {
	switch {
	case strings.HasPrefix(version, "1.20"):
		return names1, nil
	case strings.HasPrefix(version, "2."):
		return names2, nil
	}
	return names{}, fmt.Errorf("spec.flinkVersion: Flink %q is not supported: use 1.20 or 2.x", version)
}
