package telemetry

import (
	"fmt"
	"io"
	"log/slog"
)

// Keys of log attributes. Messages are constant; what varies stands under one of these.
const (
	KeyTenant     = "tenant"
	KeyCluster    = "cluster"
	KeyJob        = "job" // the name, tenant/name where the tenant is not clear
	KeyUID        = "uid" // of a job
	KeyGeneration = "generation"
	KeyRevision   = "revision"
	KeyEpoch      = "epoch"
	KeyTerm       = "term"
	KeyRun        = "run"
	KeySituation  = "situation"
	KeyAction     = "action"
	KeyOutcome    = "outcome"
	KeyFlinkJob   = "flink_job" // Flink's id of a job
	KeyPath       = "path"
	KeyAddr       = "addr"
	KeyPeer       = "peer"   // a SPIFFE ID
	KeySerial     = "serial" // of a certificate
	KeyMethod     = "method"
	KeyCode       = "code"
	KeyRows       = "rows"
	KeyAttempt    = "attempt"
	KeyWait       = "wait"
	KeyTook       = "took"
	KeyPID        = "pid"
	KeyError      = "err"
)

// NewLogger makes the logger of a process. The format is text or json, the level debug, info, warn or error ("" is text
// and info). It may be used from any goroutine.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var at slog.Level
	if level != "" {
		if err := at.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("log level %q: use debug, info, warn or error", level)
		}
	}
	opts := &slog.HandlerOptions{Level: at}
	switch format {
	case "", "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}

	return nil, fmt.Errorf("log format %q: use text or json", format)
}

// Err is an error as a log attribute.
func Err(err error) slog.Attr { return slog.Any(KeyError, err) }
