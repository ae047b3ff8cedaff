# The one list of commands. `make` prints it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rockbot
export CARGO_TARGET_DIR ?= $(CACHE)/target
BIN := $(CARGO_TARGET_DIR)/$(shell uname -m)-unknown-linux-gnu/release
PRODUCT := -p rockbot -p rockbot-operator -p rockbot-scripts-manager -p rockbot-agent-server -p custom-agent -p team-agents -p rockbot-fakes -p rockbot-bench

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## build, then serve crds/examples/quickstart.yaml on localhost:8080
	tests/tools python compiler
	cargo build --release --locked -p rockbot
	$(BIN)/rockbot dev -f crds/examples/quickstart.yaml

.PHONY: test
test: ## everything: lint, unit and chart tests, then a real Kubernetes
	tests/run lint unit chart cluster

.PHONY: unit
unit: ## tests that need no cluster; seconds once built
	tests/run unit

.PHONY: lint
lint: ## format, clippy, dependency rules, shell scripts
	tests/run lint

.PHONY: crds
crds: ## regenerate what is generated: CRDs, golden files, chart docs
	UPDATE=1 cargo test --locked -q -p rockbot-crds -p rockbot-operator-plan -p rockbot-sandbox -p rockbot-chart-tests

.PHONY: build
build: ## release binaries
	cargo build --release --locked $(PRODUCT)

.PHONY: images
images: build ## OCI archives of every image, in the cache
	tests/images/build-product
	tests/images/build test-mcp-everything

.PHONY: cluster-up
cluster-up: ## a real single-node Kubernetes; CLUSTER=kind or E2E_KUBECONFIG=FILE for another
	tests/cluster/up

.PHONY: cluster-down
cluster-down: ## remove that cluster without a trace
	tests/cluster/down

.PHONY: bench
bench: ## ratios against baselines of the same run; JSON in bench-results/
	tests/run bench
