# `make` alone, or `make help`, lists the targets. CI runs `make test` and
# `make check` and nothing else: what passes here passes there.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GO    ?= go
TOOL  := $(GO) tool -modfile=tools/go.mod
TALLY := $(GO) run ./test/tally

# How long each fuzz target runs under `make fuzz`.
FUZZTIME ?= 30s
# How long `make soak` keeps the load up.
SOAKTIME ?= 10m
# How long the one with loads of every kind at once takes.
MIXTIME  ?= 30m
# Which benchmarks `make bench` runs, and how often: ten runs feed benchstat.
BENCH ?= .
COUNT ?= 1
# What `make bench-compare` compares with, and which packages; six runs each
# are the fewest of which benchstat makes anything.
REF      ?= main
PACKAGES ?= ./...
# What `make bench-peers` runs, with whom, and how often; without a name, all.
WORKLOADS ?=
PEERS     ?=
ROUNDS    ?= 5
QUICK     ?=
# Where its results go; `OUT=` only prints them.
OUT       ?= $(if $(WORKLOADS)$(PEERS)$(QUICK),,bench/results)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/mintmark
	$(GO) build -trimpath -o bin/mintmark ./cmd/mintmark

.PHONY: demo
demo: build ## run the main job on embedded defaults: four servers, two balancers, one restart, one drain
	./bin/mintmark demo

.PHONY: test
test: ## run every test with the race detector, against real servers too (root installs what is missing)
	./scripts/install-test-packages
	$(GO) test -json -race -count=1 -timeout 18m ./... | $(TALLY)
	@for dir in $$(./scripts/modules); do \
		echo "$$dir, a module of its own:"; \
		(cd $$dir && $(GO) test -json -race -count=1 -timeout 10m ./...) | $(TALLY); \
	done
	@echo 'the order of a rollout over 100,000 random histories, the learned list under 10,000,000 IDs (without the race detector):'
	$(GO) test -json -count=1 -timeout 15m ./internal/control/rollout ./internal/learn | $(TALLY)

.PHONY: check
check: ## everything else that CI enforces: format, vet, lint, dead code, tidiness, fuzz smoke, cross-builds
	./scripts/check

.PHONY: generate
generate: ## make Go code and the OpenAPI document from the schema in api
	./scripts/generate

.PHONY: fmt
fmt: ## format the tree
	$(TOOL) golangci-lint fmt

.PHONY: bench
bench: ## run the benchmarks; BENCH=regexp and COUNT=n narrow and repeat
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) -timeout 60m ./...

.PHONY: bench-compare
bench-compare: ## compare the benchmarks with those of another commit: REF=main BENCH=regexp COUNT=n PACKAGES=./idspace/...
	./scripts/bench-compare '$(REF)' '$(BENCH)' $(if $(filter 1,$(COUNT)),6,$(COUNT)) $(PACKAGES)

.PHONY: bench-peers
bench-peers: ## side by side with HAProxy and nginx; WORKLOADS=a,b PEERS=a,b ROUNDS=n QUICK=1
	./scripts/install-test-packages
	$(GO) run ./bench/peers -workload '$(WORKLOADS)' -peers '$(PEERS)' -rounds $(ROUNDS) $(if $(QUICK),-quick) $(if $(OUT),-out $(OUT))

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (30s)
	./scripts/fuzz $(FUZZTIME)

.PHONY: soak
soak: ## hold a load for SOAKTIME (10m) while replicas are killed, reloaded and drained, and again while servers restart with new keys; and loads of every kind for MIXTIME (30m)
	./scripts/install-test-packages
	$(GO) test -tags soak -count=1 -v -timeout 0 -skip TestSoakMixed ./test/soak -duration $(SOAKTIME)
	$(GO) test -tags soak -count=1 -v -timeout 0 -run TestSoakMixed ./test/soak -duration $(MIXTIME)
	cd test/datagram && $(GO) test -tags soak -count=1 -v -timeout 0 -run Soak . -duration $(SOAKTIME)
	$(GO) test -count=1 -v -timeout 30m -run TestControlPlaneKilled ./test -kills 200

.PHONY: screenshots
screenshots: ## make the pictures of the web UI in docs/images/web-ui
	./scripts/install-test-packages
	MINTMARK_SCREENSHOTS=$(CURDIR)/docs/images/web-ui $(GO) test -count=1 -timeout 10m ./internal/webui -run '^(TestPagesLookRight|TestThreeThousandOwners)$$'

.PHONY: clean
clean: ## remove what the targets above built
	rm -rf bin test/web/node/node_modules
