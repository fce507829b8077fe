# Everything that is done to this project, each target setting itself up. Python 3.11 or newer and make are enough.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV_VERSION := 0.13.9
export UV_PROJECT_ENVIRONMENT := $(VENV)
unexport VIRTUAL_ENV
PYTEST_ARGS ?=

# What `make generate` writes, all of it committed. One place to add to, together with the recipe of `generate`.
GENERATED := crds charts/inferplan/files docs/accuracy.md docs/seed.md README.md

.PHONY: help
help: ## Say what can be done
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1 \2/p' $(MAKEFILE_LIST) | awk '{ printf "  %-5s%-12s", $$1, $$2; $$1 = $$2 = ""; print }'

# ── set-up ───────────────────────────────────────────────────────────────────────────────────────────────────

.PHONY: setup
setup: $(READY) ## Make .venv with the locked dependencies

# uv installs from the addresses that the lock records. Where only a mirror of the package index can be reached,
# pip installs the same versions, checked against the same hashes, from wherever it is configured to look.
$(READY): pyproject.toml uv.lock
	@python=; \
	for candidate in $${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do \
		if $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
		then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "setup: no Python 3.11 or newer with venv and pip was found; name one with PYTHON=..." >&2; exit 1; \
	fi; \
	echo "setup: making $(VENV) with $$($$python --version)"; \
	[ -x $(BIN)/python ] || $$python -m venv $(VENV); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); \
	echo "setup: installing the locked dependencies"; \
	if ! $(BIN)/uv sync --frozen --quiet --compile-bytecode --python $(BIN)/python --no-build-isolation-package inferplan; then \
		echo "setup: uv could not; trying pip with the same hashes"; \
		mkdir -p build; \
		$(BIN)/uv export --frozen --quiet --no-emit-project --output-file build/locked.txt; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r build/locked.txt; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .; \
	fi
	@$(BIN)/python -m compileall -q operator/inferplan # an environment may forbid Python to write it later
	@touch $@
	@echo "setup: done"

.PHONY: lock
lock: $(READY) ## Bring uv.lock up to date with pyproject.toml
	$(BIN)/uv lock --no-config --default-index https://pypi.org/simple

# ── use ──────────────────────────────────────────────────────────────────────────────────────────────────────

.PHONY: demo
demo: $(READY) ## Plan examples, then run them on a real control plane (KEEP=1 leaves it)
	@$(BIN)/python -m examples.demo $(if $(KEEP),--keep)

# ── check ────────────────────────────────────────────────────────────────────────────────────────────────────

.PHONY: test
test: lint verify pytest test-wheel e2e ## Everything that CI does; the first run builds a control plane (about 15 minutes)
	@echo "test: all passed"

.PHONY: lint
lint: $(READY) ## Style, types and the direction of imports
	@echo "lint: ruff"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@echo "lint: mypy"
	@$(BIN)/mypy
	@echo "lint: import-linter"
	@$(BIN)/lint-imports --no-logo

.PHONY: pytest
pytest: $(READY) ## The tests that need no cluster and no network (PYTEST_ARGS="-k name")
	@echo "pytest: unit, property, golden, contract and accuracy tests, and doctests"
	@$(BIN)/pytest --numprocesses auto $(PYTEST_ARGS)

.PHONY: test-wheel
test-wheel: $(READY) ## Build the wheel and use it from an environment of its own
	@echo "test-wheel: building"
	@rm -rf build/wheel && mkdir -p build/wheel
	@$(BIN)/hatchling build --target wheel --directory build/wheel >/dev/null
	@$(BIN)/uv export --frozen --quiet --no-dev --no-emit-project --output-file build/wheel/locked.txt
	@echo "test-wheel: installing"
	@$(BIN)/python -m venv build/wheel/venv
	@$(BIN)/uv pip install --quiet --python build/wheel/venv/bin/python --require-hashes -r build/wheel/locked.txt \
		|| build/wheel/venv/bin/python -m pip install --quiet --require-hashes -r build/wheel/locked.txt
	@build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index build/wheel/*.whl
	@echo "test-wheel: using"
	@cp examples/chatbot-scenario.yaml build/wheel/
	@cd build/wheel \
		&& venv/bin/inferplan --version \
		&& venv/bin/inferplan plan chatbot-scenario.yaml >/dev/null \
		&& venv/bin/inferplan render chatbot-scenario.yaml >/dev/null \
		&& venv/bin/inferplan schema >/dev/null \
		&& venv/bin/python -c 'from inferplan._assets import asset_folder; assert list(asset_folder("crds").glob("*.yaml"))'
	@echo "test-wheel: passed"

.PHONY: e2e
e2e: $(READY) ## Tests against a real Kubernetes control plane; the first run builds it (0.5 GB kept)
	@echo "e2e: the definition, the chart, the operator and the demo on a real control plane"
	@$(BIN)/pytest tests/e2e -m e2e $(PYTEST_ARGS)

.PHONY: test-engine
test-engine: $(READY) ## Put plans to vLLM's own code on simulated GPUs; the first run installs it (7 GB kept)
	@echo "test-engine: the parser, the configuration and the attention kernels of the engine that is rendered"
	@$(BIN)/pytest tests/engine -m engine $(PYTEST_ARGS)

.PHONY: bench
bench: $(READY) ## Measure the speed and the memory of planning
	@$(BIN)/pytest tests/bench -m bench --capture=no $(PYTEST_ARGS)

# ── generated files ──────────────────────────────────────────────────────────────────────────────────────────

.PHONY: generate
generate: $(READY) ## Write the generated files anew
	@echo "generate: $(GENERATED)"
	@$(BIN)/inferplan schema -o crds/
	@$(BIN)/inferplan schema -o charts/inferplan/files/ # Helm packs no file from outside the chart, Flux no link to one
	@$(BIN)/inferplan docs accuracy -o docs/accuracy.md
	@$(BIN)/inferplan docs seed --examples examples/seed -o docs/seed.md
	@$(BIN)/inferplan docs samples README.md

# Without git (a source archive) the files from before stand in for the committed ones.
.PHONY: verify
verify: $(READY) ## Fail if a generated file is not what its generator writes
	@rm -rf build/verify && mkdir -p build/verify && touch docs/accuracy.md docs/seed.md && cp -R $(GENERATED) build/verify/
	@$(MAKE) --no-print-directory generate
	@if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then \
		git diff --exit-code -- $(GENERATED); \
		new=$$(git ls-files --others --exclude-standard -- $(GENERATED)); \
		if [ -n "$$new" ]; then echo "verify: generated but not committed: $$new" >&2; exit 1; fi; \
	else \
		for path in $(GENERATED); do diff -r "build/verify/$$(basename "$$path")" "$$path"; done; \
	fi
	@echo "verify: generated files are up to date"

.PHONY: golden
golden: $(READY) ## Rewrite the golden files; read the diff before committing it
	@$(BIN)/pytest tests/golden --update-golden $(PYTEST_ARGS)
	@git --no-pager diff --stat -- tests/golden || true

.PHONY: format
format: $(READY) ## Format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

.PHONY: clean
clean: ## Remove .venv and everything built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find operator tests -name __pycache__ -type d -prune -exec rm -rf {} +
