# Waterwheel. `make help` lists what there is; what a target needs, it fetches and caches.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

VERSION ?= 2.3.0
RELEASE ?= dev
BUF := go tool -modfile=.ci/tools/buf.mod buf
GOFUMPT := go tool -modfile=.ci/tools/dev.mod gofumpt
LINT := go tool -modfile=.ci/tools/lint.mod golangci-lint

##@ To see it work

.PHONY: demo
demo: ## a hub, two agents, a real Flink job, and a tour of what may go wrong
	go run ./e2e/demo

.PHONY: demo-down
demo-down: build ## stop everything the demo left running
	./bin/waterwheel dev down

.PHONY: demo-kind
demo-kind: ## a vendor's and two customers' Kubernetes clusters, installed by Helm, with a real Flink job on object storage
	go -C e2e/kind run ./demo

.PHONY: demo-kind-down
demo-kind-down: ## remove those clusters and all that belongs to them; caches stay
	go -C e2e/kind run ./demo -down

.PHONY: fetch
fetch: ## get real Flink, a JDK where this may install one, and the ledger job
	go run ./e2e/fetch -install

##@ To build

.PHONY: build
build: ## the binaries, into bin/
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(RELEASE)' -o bin/ ./cmd/...

.PHONY: generate
generate: ## Go code from proto/, into proto/gen
	for p in protoc-gen-go protoc-gen-go-grpc protoc-gen-connect-go; do go tool -modfile=.ci/tools/gen.mod $$p --version; done
	$(BUF) generate

.PHONY: image
image: ## the API as it is now, for later issues to stay compatible with; when an issue closes
	$(BUF) build -o proto/waterwheel.binpb

.PHONY: fmt
fmt: ## format Go and proto
	git ls-files '*.go' ':!proto/gen' | xargs $(GOFUMPT) -w
	$(BUF) format -w

##@ To test

.PHONY: test
test: ## everything: unit, world, ground, a short story, and check
	go run ./e2e/ci -version $(VERSION) test

.PHONY: check
check: ## the tree is in order: generated, tidy, formatted, linted, compatible, without races
	go run ./e2e/ci check

.PHONY: lint
lint: ## golangci-lint and buf lint
	$(LINT) run
	$(BUF) lint

.PHONY: test-unit
test-unit: ## unit and property tests, the house rules, the world
	go test -shuffle=on ./...

.PHONY: explore
explore: ## property tests from random seeds, a thousand checks each
	go test -count=1 -timeout 30m ./flink/... ./hub/store ./internal/manifest ./internal/wire -rapid.checks=1000

.PHONY: world
world: ## hub and agents in one process under false time
	go test -count=1 -v ./e2e/world

.PHONY: ground
ground: ## real Flink, killed and brought back, for each supported version
	go run ./e2e/ground

.PHONY: story
story: ## a job's whole life on real Flink; VERSION=2.3.0
	go run ./e2e/story -version $(VERSION)

.PHONY: ground-kind
ground-kind: ## real Flink in a real cluster with Kubernetes HA and object storage, for each supported version
	go -C e2e/kind run ./ground -artifacts ../../artifacts

.PHONY: e2e
e2e: ## a job's whole life in real clusters: Helm, real Flink, object storage, faults
	go -C e2e/kind run ./story -artifacts ../../artifacts/story-kind

.PHONY: idle
idle: ## what an agent asks of its API server when 100 jobs are in sync, for ten minutes
	go run ./e2e/kube/idle

.PHONY: converge
converge: ## how fast 1,000 orders become objects, against a loop that only writes the objects
	go run ./e2e/kube/converge

.PHONY: clean-e2e
clean-e2e: ## remove the clusters, the container engine and the storage of end-to-end tests
	go -C e2e/kind run ./clean

.PHONY: bench
bench: ## benchmarks
	go test -run '^$$' -bench . -benchmem ./...

##@ Else

.PHONY: clean
clean: ## remove what was built and the artifacts of tests; caches stay
	rm -rf bin artifacts

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^##@/ {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
