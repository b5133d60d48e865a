# `make demo` and `make test` set up all they need; the second time they find it there.
PYTHON ?= python3
MODEL_MB ?= 500
LINK ?= 1gbit
RUNTIME ?= local
REGISTRY ?= ghcr.io/boundaryless
BUILDER ?= docker
VENV := .venv
ENGINE := .engine

.DEFAULT_GOAL := help
.PHONY: help demo test check unit conformance integration e2e bench crds placement-parity samples interop images setup clean

help: ## What the targets are
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: setup ## From nothing to a model answering on the best of two clusters [MODEL_MB=500] [LINK=1gbit] [RUNTIME=local|juicefs]
	$(VENV)/bin/fleetadm demo --model-mb $(MODEL_MB) --link $(LINK) --runtime $(RUNTIME) --output build/demo

test: setup check ## Lint, types, structure, unit, conformance, integration, and a short end-to-end with a real answer
	$(VENV)/bin/pytest -n auto tests

check: $(VENV)/.ready ## ruff, mypy --strict, import directions, generated files
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python hack/generate_crds.py --check

unit: $(VENV)/.ready ## Logic alone, seconds
	$(VENV)/bin/pytest tests/unit

conformance: $(VENV)/.ready ## How a Kubernetes API server behaves: embedded, KUBEBUILDER_ASSETS, or BOUNDARYLESS_TEST_KUBECONFIG
	$(VENV)/bin/pytest tests/conformance

integration: $(VENV)/.ready ## Controllers against an API server (the same choice as conformance)
	$(VENV)/bin/pytest tests/integration

e2e: setup ## The whole fleet, with a real vLLM
	$(VENV)/bin/pytest tests/e2e

bench: setup ## hack/bench/NAME, ratios into build/bench/NAME.json: BENCH=name [QUICK=1]
	@test -n "$(BENCH)" || { echo "say which: make bench BENCH=<one of: $$(ls hack/bench | sed -n 's/\.py$$//p' | xargs)>"; exit 2; }
	$(VENV)/bin/python hack/bench/$(BENCH).py --output build/bench/$(BENCH).json $(if $(QUICK),--quick)

crds: $(VENV)/.ready ## Generates manifests/crds from the typed API
	$(VENV)/bin/python hack/generate_crds.py

placement-parity: $(VENV)/.ready ## Does a hub place as OCM's controller does? KUBECONFIG=its administrator's [ARGS="--not-strict case ..."]
	@test -n "$(KUBECONFIG)" || { echo "say which hub: make placement-parity KUBECONFIG=..."; exit 2; }
	$(VENV)/bin/python -m tests.parity --kubeconfig $(KUBECONFIG) $(ARGS)

samples: $(VENV)/.ready ## Is all that Fluid's CRDs accept accepted here? FLUID_SOURCE=a checkout or git directory of Fluid
	@test -n "$(FLUID_SOURCE)" || { echo "say where Fluid's files are: make samples FLUID_SOURCE=..."; exit 2; }
	FLUID_SOURCE=$(FLUID_SOURCE) $(VENV)/bin/pytest -n0 -q -s tests/integration/cache_runtime/test_upstream_samples.py

interop: $(VENV)/.ready ## Ours beside OCM's own programs: OCM_BIN=their folder [OCM_SOURCE=checkout] [ARGS="-k all-ocm | --all-casts"]
	@test -n "$(OCM_BIN)" || { echo "say where OCM's programs are: make interop OCM_BIN=..."; exit 2; }
	OCM_BIN=$(abspath $(OCM_BIN)) $(if $(OCM_SOURCE),OCM_SOURCE=$(abspath $(OCM_SOURCE))) $(VENV)/bin/pytest -n0 -v tests/interop $(ARGS)

images: ## Container images for clusters of your own [REGISTRY=ghcr.io/boundaryless] [BUILDER=docker|podman|buildah]
	set -e; for each in $(notdir $(wildcard images/*)); do \
	  $(BUILDER) build --tag $(REGISTRY)/$$each --file images/$$each/Containerfile .; done

setup: $(VENV)/.ready $(ENGINE)/.ready ## Both environments and the Debian packages, without running anything

$(VENV)/.ready: pyproject.toml hack/setup/system-packages
	hack/setup/system-packages
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --editable '.[local,dev]'
	touch $@

$(ENGINE)/.ready: hack/setup/engine
	hack/setup/engine $(ENGINE)
	touch $@

clean: ## Removes the environments and what was built
	rm -rf $(VENV) $(ENGINE) build
