package dev

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary stands in for the three programs, under their names: what is
// tested is the world around them. The supervisor is the real one.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "waterwheel-hub":
		os.Exit(standInHub(os.Args[1:]))
	case "waterwheel-agent":
		os.Exit(standInAgent(os.Args[1:]))
	case "waterwheel":
		os.Exit(standInCLI(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func after(args []string, flag string) string {
	if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// standInHub is made by `init` and is ready as long as it runs.
func standInHub(args []string) int {
	if args[0] == "init" {
		dir := after(args, "--dir")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return 1
		}
		if os.WriteFile(filepath.Join(dir, "hub.yaml"), []byte(after(args, "--metrics")), 0o600) != nil {
			return 1
		}
		return 0
	}
	addr, err := os.ReadFile(after(args, "--config"))
	if err != nil {
		return 1
	}
	return serveUntilAsked(string(addr), "{}")
}

var listenLine = regexp.MustCompile(`(?m)^listen: (\S+)$`)

// standInAgent joins when it has a token, and shows a view. Its `down` leaves a note.
func standInAgent(args []string) int {
	config := after(args, "--config")
	dir := filepath.Dir(config)
	if args[0] == "down" {
		return boolCode(os.WriteFile(filepath.Join(dir, "runs-ended"), nil, 0o600))
	}
	text, err := os.ReadFile(config)
	token, err2 := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil || err2 != nil || len(token) == 0 {
		return 1
	}
	if err := os.WriteFile(filepath.Join(dir, "joined"), token, 0o600); err != nil {
		return 1
	}
	view := `{"hub":{"state":"connected"},"memoryTotal":8589934592,"memoryUsed":1073741824,
		"jobs":[{"tenant":"default","name":"clicks","status":{"state":"Running","run":4,"flink":{"state":"RUNNING","tasksRunning":3,"tasksTotal":3}}}]}`
	return serveUntilAsked(listenLine.FindStringSubmatch(string(text))[1], view)
}

func serveUntilAsked(addr, view string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM) //nolint:forbidigo // a program, not a test
	defer stop()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, view) })
	srv := http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { srv.Close() })
	if err := srv.ListenAndServe(); ctx.Err() == nil {
		return boolCode(err)
	}
	return 0
}

// standInCLI is the real `dev`, and a hub's word on clusters made of files.
func standInCLI(args []string) int {
	if args[0] == "dev" {
		c := Command()
		c.SetArgs(args[1:])
		return boolCode(c.Execute())
	}
	dir := filepath.Dir(os.Getenv("WATERWHEEL_CONFIG"))
	switch strings.Join(args[:2], " ") {
	case "get clusters":
		var list struct {
			Items []hubCluster `json:"items"`
		}
		for _, path := range must(filepath.Glob(filepath.Join(dir, "invited-*"))) {
			c := hubCluster{Name: strings.TrimPrefix(filepath.Base(path), "invited-"), State: "invited"}
			if isFile(filepath.Join(dir, "agents", c.Name, "joined")) {
				c.State, c.Connected = "joined", true
			}
			list.Items = append(list.Items, c)
		}
		return boolCode(json.NewEncoder(os.Stdout).Encode(list))
	case "cluster invite":
		if os.WriteFile(filepath.Join(dir, "invited-"+args[2]), nil, 0o600) != nil {
			return 1
		}
		fmt.Fprintf(os.Stdout, `{"cluster":{"name":%q},"token":"t-%s","caBundle":"PEM","trustDomain":"dev.waterwheel"}`, args[2], args[2])
		return 0
	}
	return 2
}

func must[T any](v T, _ error) T { return v }

func boolCode(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
