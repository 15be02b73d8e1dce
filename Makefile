# The habits. `make demo` and `make test` are each the only thing to type on a fresh Debian machine, as root.
SHELL := /bin/bash -euo pipefail
RUN := e2e/cluster/.run
export KUBECONFIG ?= $(abspath $(RUN)/kubeconfig)
export PATH := $(abspath $(RUN)/bin):$(HOME)/.cargo/bin:$(PATH)
# dev for tests and the demo (one profile, minutes sooner); release is what is shipped.
PROFILE ?= dev
VERSIONS ?= 20
SCRIPTS := .ci/run e2e/images e2e/install-tools e2e/run-stories e2e/demo/run sidecar/tests/node-binaries \
  sidecar/tests/launchers profile/tests/pprof operator/tests/seaweedfs $(addprefix e2e/cluster/,up down node-image load-image run check)

.PHONY: help demo test unit e2e bench lint crds images app-images cluster cluster-down install uninstall tools

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: tools ## a cluster, Pitwall, a slow shop under load, and its profile
	@e2e/demo/run

test: tools lint unit e2e ## lint, unit tests, and the stories against a real cluster

unit: tools ## unit and integration tests, without a cluster
	sidecar/tests/node-binaries
	sidecar/tests/launchers
	profile/tests/pprof
	cargo test --workspace --exclude pitwall-e2e

e2e: tools cluster ## the stories against a real cluster
	helm lint --strict --quiet charts/pitwall
	$(MAKE) images app-images VERSIONS="18 20 22 24 26"
	$(MAKE) install
	e2e/run-stories

bench: tools cluster ## what Pitwall takes, as a table: the release images on the real cluster
	$(MAKE) images PROFILE=release
	$(MAKE) app-images VERSIONS=22
	$(MAKE) install
	sidecar/tests/node-binaries
	cargo build -q --release -p pitwall-cli
	cargo run -q -p pitwall-e2e --bin bench
	cargo run -q --release -p pitwall-sidecar --example discovery "$${PITWALL_CACHE:-$$HOME/.cache/pitwall}/node/22.23.3/bin/node"

lint: tools ## formatting, clippy, the scripts
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	shellcheck -x $(SCRIPTS)

crds: ## write crds/yaml and the chart's copy from the types
	cargo run -q -p pitwall-crds

cluster: tools ## a real Kubernetes on this machine; its kubeconfig is e2e/cluster/.run/kubeconfig
	@e2e/cluster/up

cluster-down: ## take it down, and leave nothing behind
	@e2e/cluster/down

images: tools ## build the operator and the sidecar, and load their images into the cluster
	e2e/images $(PROFILE)

app-images: ## images of the test programs, for the Node.js VERSIONS, and one that says no user
	@for version in $(VERSIONS); do e2e/cluster/node-image $$version e2e/apps pitwall.local/apps:node$$version; done
	@e2e/cluster/node-image 22 e2e/apps pitwall.local/apps:root ""

install: ## install the chart with the local images into the current cluster
	helm upgrade --install pitwall charts/pitwall --namespace pitwall-system --create-namespace \
	  --set image.repository=pitwall.local/operator,image.tag=dev,image.pullPolicy=Never \
	  --set sidecar.image.repository=pitwall.local/sidecar,sidecar.image.tag=dev,sidecar.image.pullPolicy=Never \
	  --wait --timeout 3m $(INSTALL_ARGS)
	@# The tag is the same each time: only new pods have new images.
	kubectl -n pitwall-system rollout restart deployment,statefulset
	kubectl -n pitwall-system rollout status deployment/pitwall-operator --timeout=2m
	@if kubectl -n pitwall-system get statefulset/pitwall-store >/dev/null 2>&1; then \
	  kubectl -n pitwall-system rollout status statefulset/pitwall-store --timeout=2m; fi

uninstall: ## remove Pitwall from the current cluster; the CRDs stay
	helm uninstall pitwall --namespace pitwall-system --wait

tools: ## install what is missing (Rust)
	@e2e/install-tools
