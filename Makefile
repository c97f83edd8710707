# `make` alone lists the targets. build and demo need Go and nothing else; test
# runs all that CI runs, see .ci/run for what it wants on the machine.

# Without this tag hashicorp/raft's metrics go to the old armon/go-metrics and
# never reach Prometheus.
export GOFLAGS := $(strip $(filter-out -tags=%,$(GOFLAGS)) -tags=hashicorpmetrics)

VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS     := -s -w -X main.version=$(VERSION)
GOLANGCI    := go tool -modfile=tools/go.mod golangci-lint

# Packages tested at once; more only makes timers of the cluster tests starve.
PARALLEL    ?= 2
TESTTIMEOUT ?= 25m
GOTESTFLAGS ?=
RUN         ?=
PKG         ?= ./...
FUZZTIME    ?= 10s
BENCH       ?= .
PEER        ?=
BENCHFLAGS  ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build test check fmt vet lint race fuzz bench bench-peers gobench demo generate missing clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | \
	  awk -F '\t' '{ printf "  %-12s %s\n", $$1, $$2 }'

build: ## build bin/ha-dispatcher, a static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ha-dispatcher ./cmd/ha-dispatcher

test: fmt vet lint race ## run everything that CI runs

check: fmt vet lint ## the quick part of test: gofmt, vet, linter, repository rules
	go test ./internal/lint

fmt: ## fail if a file is not formatted
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || \
	  { echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; }

vet: ## go vet
	go vet ./...

lint: ## golangci-lint, pinned in tools/go.mod (built the first time: some minutes)
	$(GOLANGCI) run ./...

race: ## all tests with the race detector; PKG=./fsm RUN=TestX narrows
	go test -race -p $(PARALLEL) -timeout $(TESTTIMEOUT) $(if $(RUN),-run '$(RUN)') $(GOTESTFLAGS) $(PKG)

fuzz: ## every fuzz test for FUZZTIME (10s)
	@grep -rlE '^func Fuzz' --include='*_test.go' . | while read -r file; do \
	  for f in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/p' "$$file"); do \
	    echo "$$file: $$f"; \
	    go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -parallel $(PARALLEL) "$$(dirname "$$file")" || exit 1; \
	  done; \
	done

bench: build ## measure processes and write docs/performance.md; BENCHFLAGS='-only rest' narrows
	go run ./internal/bench -write docs/performance.md $(BENCHFLAGS)

bench-peers: build ## the same load beside Spark's dispatcher, with the scripts in PEER=dir
	@[ -d "$(PEER)" ] || { echo "usage: make bench-peers PEER=directory of the peers"; exit 2; }
	go run ./internal/bench -only peer -peer '$(abspath $(PEER))' -write docs/performance.md $(BENCHFLAGS)

gobench: ## Go benchmarks; BENCH=regexp PKG=./fsm narrow
	go test -run '^$$' -bench '$(BENCH)' -benchmem -p 1 -timeout 60m $(PKG)

demo: build ## three nodes, a Mesos, drivers, and the leader killed while they run
	go run ./internal/demo

generate: ## regenerate protobuf code (needs protoc) and the diagrams in docs/
	go generate ./...

missing: ## list the packages without a test
	@go list -f '{{if not (or .TestGoFiles .XTestGoFiles)}}{{.ImportPath}}{{end}}' ./...

clean: ## remove what was built
	rm -rf bin .cache
